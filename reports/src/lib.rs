//! Folds over a run. Nothing here decides anything about a packet: this crate formats the event stream of `sim::trace`
//! and the results of `conformance` as text, tables and JSON.
//!
//! | module | what it is |
//! |---|---|
//! s¦| [`text`] | a run as a terminal shows it |¦| [`text`] | a run as terminal text |¦
//! s¦runs as a document for other programs¦runs as a JSON document for other programs¦
//! s¦many runs as a table, and as JUnit XML¦many runs as a table or as JUnit XML¦
//! s¦which hops, hooks, rules and translations every packet met¦the hops, hooks, rules and translations of every
//! packet¦
//! s¦a frame in one line, as packet analysers print it¦a frame in one line, in tcpdump's notation¦
//! s¦outcomes in words¦outcomes as text¦
//! | [`share`] | exact probabilities for readers |
//! s¦the command that runs it again¦the command that reproduces a run¦
//! s¦what netns and devices are called¦names of netns and devices¦
//! s¦the few styles that text output uses¦styles of text output¦

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
