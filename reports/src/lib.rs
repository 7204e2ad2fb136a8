//! Folds over a run. Nothing here decides anything about a packet: what happened is in the event stream of `sim::trace`
//! and in the results of `conformance`, and this crate says it in words, tables and JSON.
//!
//! | module | what it is |
//! |---|---|
//! | [`walk`] | the packet walk: which hops, hooks, rules and translations every packet met |
//! | [`frame`] | a frame in one line, as packet analysers print it |
//! | [`names`] | what netns and devices are called |
//! | [`palette`] | the few styles that text output uses |

pub mod frame;
pub mod names;
pub mod palette;
pub mod walk;

#[cfg(test)]
mod sample;
