//! Folds over a run. Nothing here decides anything about a packet: what happened is in the event stream of `sim::trace`
//! and in the results of `conformance`, and this crate says it in words, tables and JSON.
//!
//! | module | what it is |
//! |---|---|
//! | [`text`] | a run as a terminal shows it |
//! | [`json`] | runs as a document for other programs |
//! | [`suite`], [`junit`] | many runs as a table, and as JUnit XML |
//! | [`walk`] | the packet walk: which hops, hooks, rules and translations every packet met |
//! | [`frame`] | a frame in one line, as packet analysers print it |
//! | [`outcome`] | outcomes in words |
//! | [`share`] | exact probabilities for readers |
//! | [`reproduce`] | the command that runs it again |
//! | [`names`] | what netns and devices are called |
//! | [`palette`] | the few styles that text output uses |

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
