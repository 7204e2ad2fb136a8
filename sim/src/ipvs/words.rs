//! Splits a line of `ipvsadm --restore` into words and options.

use crate::text::error::{Parse, Problem, RuleErrorKind};
use crate::text::words::Value;

/// The words of a line up to a comment, in order.
pub(super) struct Line<'t> {
    words: Vec<Value<'t>>,
    next: usize,
    /// Byte offset of the end.
    end: usize,
}

impl<'t> Line<'t> {
    /// Words end at white space; `#` begins a comment (`config_stream_read`, config_stream.c of ipvsadm).
    pub(super) fn new(line: &'t str) -> Self {
        let text = line.find('#').map_or(line, |comment| &line[..comment]);
        let whole = Value { text: line, at: 0 };
        let words = text.split_ascii_whitespace().map(|word| whole.part(word)).collect();
        Self { words, next: 0, end: text.trim_ascii_end().len() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The next word.
    pub(super) fn next(&mut self) -> Option<Value<'t>> {
        let word = self.words.get(self.next).copied()?;
        self.next += 1;
        Some(word)
    }

    /// The next word, which must exist.
    pub(super) fn required(&mut self, expected: &'static str) -> Parse<Value<'t>> {
        let end = self.end;
        self.next().ok_or_else(|| Problem::new(RuleErrorKind::Syntax, end, expected, "the end of the line"))
    }

    /// The next word if it is not an option.
    pub(super) fn argument(&mut self) -> Option<Value<'t>> {
        let word = self.words.get(self.next).filter(|word| !word.text.starts_with('-')).copied()?;
        self.next += 1;
        Some(word)
    }

    /// The problem that something is missing in the line.
    pub(super) fn missing(&self, expected: &'static str) -> Box<Problem> {
        Problem::new(RuleErrorKind::Syntax, self.end, expected, "the end of the line")
    }
}
