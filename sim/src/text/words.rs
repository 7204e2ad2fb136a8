//! Words of a line and parts of them, with positions.

use super::error::{Problem, RuleErrorKind};
use std::borrow::Cow;

/// A word of a line.
#[derive(Clone, Debug)]
pub(crate) struct Word<'t> {
    /// Without quotation marks and escapes.
    pub(crate) text: Cow<'t, str>,
    /// Byte offset within the line.
    pub(crate) at: usize,
}

/// A word, or the part of one that is an option's value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'w> {
    pub(crate) text: &'w str,
    pub(crate) at: usize,
}

impl<'w> Value<'w> {
    pub(crate) fn of(word: &'w Word<'_>) -> Self {
        Self { text: &word.text, at: word.at }
    }

    /// A part of this value. `text` must be a slice of it.
    pub(crate) fn part(self, text: &'w str) -> Self {
        let offset = (text.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        Self { text, at: self.at + offset.min(self.text.len()) }
    }

    /// The problem that something else was expected here.
    pub(crate) fn expected(self, expected: impl Into<Cow<'static, str>>) -> Box<Problem> {
        Problem::new(RuleErrorKind::Syntax, self.at, expected, format!("`{}`", self.text))
    }

    /// Splits at commas.
    pub(crate) fn split_commas(self) -> impl Iterator<Item = Self> {
        self.text.split(',').map(move |text| self.part(text))
    }
}
