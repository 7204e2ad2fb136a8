//! Splits a line into words, as `ipset restore` does.

use crate::text::error::{Parse, Problem, RuleErrorKind};
use crate::text::words::{Value, Word};
use std::borrow::Cow;

/// Words end at white space. Text between quotation marks is kept, including white space, and joined with adjacent
/// text; there are no escapes. A word that consists of quotation marks only is dropped.
///
/// Linux user space: `build_argv`, lib/ipset.c.
pub(super) fn restore_words(line: &str) -> Parse<Vec<Word<'_>>> {
    let mut words = Vec::new();
    let mut rest = 0;
    while let Some(skipped) = line[rest..].find(|letter: char| !letter.is_ascii_whitespace()) {
        let at = rest + skipped;
        rest = word_end(line, at)?;
        let text = &line[at..rest];
        let text = if text.contains('"') { Cow::Owned(text.replace('"', "")) } else { Cow::Borrowed(text) };
        if !text.is_empty() {
            words.push(Word { text, at });
        }
    }
    Ok(words)
}

/// The offset after the word that starts at `at`.
fn word_end(line: &str, at: usize) -> Parse<usize> {
    let mut open = None;
    for (offset, letter) in line[at..].char_indices() {
        match letter {
            '"' => open = if open.is_some() { None } else { Some(at + offset) },
            blank if blank.is_ascii_whitespace() && open.is_none() => return Ok(at + offset),
            _ => {}
        }
    }
    open.map_or(Ok(line.len()), |open| {
        Err(Problem::new(
            RuleErrorKind::Syntax,
            open,
            "a quotation mark that is closed in the same line",
            "none",
        ))
    })
}

/// Stores the value of an option that may occur once.
pub(super) fn once<T>(name: Value<'_>, place: &mut Option<T>, value: T) -> Parse<()> {
    if place.replace(value).is_some() {
        let expected = format!("`{}` once", name.text);
        return Err(Problem::new(RuleErrorKind::Syntax, name.at, expected, "a duplicate"));
    }
    Ok(())
}
