//! Which runs are meant: `requirement(service.hairpin) and not mode(ipvs)`, in the words of cargo-nextest.
//!
//! | term | holds for |
//! |---|---|
//! | `name(TEXT)`, or a word alone | scenarios with the text in their name |
//! | `requirement(TEXT)` | scenarios that cover a requirement with the text in its name |
//! | `mode(MODE)` | runs in that proxy mode |
//!
//! `=TEXT` in the parentheses is the whole name. `not` binds more tightly than `and`, and that more tightly than `or`.

mod parse;

use crate::diagnostic::{Diagnostic, Source};
use crate::scenario::ProxyMode;

/// A filter expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// By the scenario's name.
    Name(Pattern),
    /// By a requirement that the scenario covers.
    Requirement(Pattern),
    /// By the proxy mode.
    Mode(ProxyMode),
    /// What the other does not mean.
    Not(Box<Filter>),
    /// What every one of them means; never empty.
    All(Vec<Filter>),
    /// What at least one of them means; never empty.
    Any(Vec<Filter>),
}

/// A text that is looked for in a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// A part of it.
    Contains(String),
    /// All of it.
    Is(String),
}

/// What a filter looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The scenario's name.
    pub name: &'a str,
    /// Requirements that it covers.
    pub requirements: &'a [String],
    /// The mode in which it is run.
    pub mode: ProxyMode,
}

impl Filter {
    /// Reads an expression.
    ///
    /// # Errors
    /// The first mistake; its place is in [`source`] of the same text.
    pub fn parse(text: &str) -> Result<Self, Box<Diagnostic>> {
        parse::parse(text)
    }

    /// Whether it means this run.
    pub fn matches(&self, subject: &Candidate<'_>) -> bool {
        match self {
            Self::Name(pattern) => pattern.matches(subject.name),
            Self::Requirement(pattern) => subject.requirements.iter().any(|one| pattern.matches(one)),
            Self::Mode(mode) => *mode == subject.mode,
            Self::Not(filter) => !filter.matches(subject),
            Self::All(filters) => filters.iter().all(|filter| filter.matches(subject)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(subject)),
        }
    }
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Contains(part) => name.contains(part.as_str()),
            Self::Is(whole) => name == whole,
        }
    }
}

/// The expression as a source, for [`crate::diagnostic::render`].
pub fn source(text: &str) -> Source {
    Source { name: "--filter".to_owned(), text: text.to_owned() }
}

#[cfg(test)]
mod tests;
