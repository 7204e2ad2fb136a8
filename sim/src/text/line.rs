//! Reads a line word by word, as the tools that have no syntax but options do.

use super::error::{Parse, Problem, RuleErrorKind};
use super::words::{Value, Word};

/// What the problems of a line that is too short have found.
const END: &str = "the end of the line";

/// The words of a line, in order.
pub(crate) struct Line<'w> {
    words: Vec<Value<'w>>,
    next: usize,
    /// Byte offset of the end of the line.
    end: usize,
}

impl<'w> Line<'w> {
    /// Words that were split before. `end` is the byte offset of the end of the line.
    pub(crate) fn new(words: &'w [Word<'_>], end: usize) -> Self {
        Self { words: words.iter().map(Value::of).collect(), next: 0, end }
    }

    /// Words that end at white space, without quotation marks.
    pub(crate) fn split(line: &'w str) -> Self {
        let whole = Value { text: line, at: 0 };
        let words = line.split_ascii_whitespace().map(|word| whole.part(word)).collect();
        Self { words, next: 0, end: line.trim_ascii_end().len() }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The next word.
    pub(crate) fn next(&mut self) -> Option<Value<'w>> {
        let word = self.words.get(self.next).copied()?;
        self.next += 1;
        Some(word)
    }

    /// The next word, which must exist.
    pub(crate) fn required(&mut self, expected: &'static str) -> Parse<Value<'w>> {
        self.next().ok_or_else(|| self.missing(expected))
    }

    /// The value of an option.
    pub(crate) fn value(&mut self, option: Value<'_>) -> Parse<Value<'w>> {
        let end = self.end;
        let expected = || format!("a value of `{}`", option.text);
        self.next().ok_or_else(|| Problem::new(RuleErrorKind::Syntax, end, expected(), END))
    }

    /// The next word if it is not an option.
    pub(crate) fn argument(&mut self) -> Option<Value<'w>> {
        let word = self.words.get(self.next).filter(|word| !word.text.starts_with('-')).copied()?;
        self.next += 1;
        Some(word)
    }

    /// The problem that something is missing in the line.
    pub(crate) fn missing(&self, expected: &'static str) -> Box<Problem> {
        Problem::new(RuleErrorKind::Syntax, self.end, expected, END)
    }

    pub(crate) fn nothing_more(&mut self) -> Parse<()> {
        self.next().map_or(Ok(()), |word| Err(word.expected(END)))
    }
}
