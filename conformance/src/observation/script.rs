//! Scripts of raw packets: whether they went as they are written.

use std::fmt;

use super::DropObservation;

/// What was seen of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scripted {
    /// The first line that did not go as it is written; the script ended there.
    pub mismatch: Option<Mismatch>,
    /// Packets of the script and answers to them that were dropped, in order; `None` if this arm cannot see drops. What the
    /// sender itself drops, so that it stays silent, is not among them.
    pub drops: Option<Vec<DropObservation>>,
}

/// A line of a script that did not go as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Which line, from 1.
    pub number: usize,
    /// The line.
    pub line: String,
    /// What was seen instead.
    pub found: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}, {}: {}", self.number, self.line, self.found)
    }
}
