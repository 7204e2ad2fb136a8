//! Lines of restore input.

use std::fmt;

/// Lines, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lines(String);

impl Lines {
    /// No lines, with room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// Adds a line.
    pub(super) fn push(&mut self, line: fmt::Arguments<'_>) {
        fmt::Write::write_fmt(&mut self.0, line).expect("a String takes everything");
        self.0.push('\n');
    }

    /// Adds a line made of these parts, given in groups; faster than formatting, for the lines that come by
    /// the hundred thousand.
    pub(super) fn concat(&mut self, groups: &[&[&str]]) {
        for part in groups.iter().copied().flatten() {
            self.0.push_str(part);
        }
        self.0.push('\n');
    }

    /// Adds lines as they are.
    pub(super) fn push_text(&mut self, lines: &str) {
        self.0.push_str(lines);
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The text.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}
