//! Filter expressions that select runs: `requirement(service.hairpin) and not mode(ipvs)`, in the style of
//! cargo-nextest.
//!
//! | term | matches |
//! |---|---|
//! | `name(TEXT)`, or just `TEXT` | scenarios whose name contains the text |
//! | `requirement(TEXT)` | scenarios that cover a requirement whose name contains the text |
//! | `mode(MODE)` | runs in that proxy mode |
//!
//! `=TEXT` in parentheses matches the whole name. `not` binds tightest, then `and`, then `or`.

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
    /// Negation.
    Not(Box<Filter>),
    /// Conjunction; never empty.
    All(Vec<Filter>),
    /// Disjunction; never empty.
    Any(Vec<Filter>),
}

/// A pattern for names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// Matches a substring.
    Contains(String),
    /// Matches the whole name.
    Is(String),
}

/// The attributes of a run that a filter matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The scenario's name.
    pub name: &'a str,
    /// Requirements that it covers.
    pub requirements: &'a [String],
    /// The mode of the run.
    pub mode: ProxyMode,
}

impl Filter {
    /// Parses an expression.
    ///
    /// # Errors
    /// The first error; its position is in [`source`] of the same text.
    pub fn parse(text: &str) -> Result<Self, Box<Diagnostic>> {
        parse::parse(text)
    }

    /// True if the run matches.
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
