//! Results of scripts of raw packets.

use std::fmt;

use super::DropObservation;

/// The observations of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scripted {
    /// The first line that did not go as written; the script ended there.
    pub mismatch: Option<Mismatch>,
    /// Dropped packets of the script and dropped replies, in order; `None` if this arm cannot observe drops. Drops by
    /// the rule that silences the sender are not included.
    pub drops: Option<Vec<DropObservation>>,
}

/// A line of a script that did not go as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The line number, from 1.
    pub number: usize,
    /// The line.
    pub line: String,
    /// What was observed instead.
    pub found: String,
}

impl Mismatch {
    /// The result of a script in one line: its first mismatch, if any.
    pub(crate) fn describe(mismatch: Option<&Self>) -> String {
        mismatch.map_or_else(|| "as written".to_owned(), ToString::to_string)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}, {}: {}", self.number, self.line, self.found)
    }
}
