//! Folds over a run. Nothing here decides anything about a packet: this crate formats the event stream of `sim::trace`
//! and the results of `conformance` as text, tables and JSON.
//!
//! | module | what it is |
//! |---|---|
//! | [`text`] | a run as terminal text |
//! | [`json`] | runs as a JSON document for other programs |
//! | [`suite`], [`junit`] | many runs as a table or as JUnit XML |
//! | [`answer`] | the answer to one question: outcomes, probabilities, and the rule that decides |
//! | [`walk`] | the packet walk: the hops, hooks, rules and translations of every packet |
//! | [`frame`] | a frame in one line, in tcpdump's notation |
//! | [`outcome`] | outcomes as text |
//! | [`share`] | exact probabilities as text |
//! | [`reproduce`] | the command that reproduces a run |
//! | [`names`] | names of netns and devices |
//! | [`palette`] | styles of text output |

pub mod answer;
pub mod frame;
pub mod json;
pub mod junit;
pub mod names;
pub mod outcome;
pub mod palette;
pub mod reproduce;
pub mod share;
pub mod suite;
pub mod text;
pub mod walk;

#[cfg(test)]
mod sample;
