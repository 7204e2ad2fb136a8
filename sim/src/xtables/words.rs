//! Splits a line into words, like `iptables-restore` and like a shell.

use super::error::{Parse, Problem, RuleErrorKind};
pub(super) use crate::text::words::{Value, Word};
use std::borrow::Cow;

/// Splits input of `iptables-restore`: words end at blanks; within quotation marks blanks are kept and a backslash
/// escapes the next character; a closing mark ends the word.
///
/// Linux: `add_param_to_argv`, iptables/xshared.c. The real tool accepts an unclosed mark and includes the line break
/// in the word; that is rejected here, because `iptables-save` then prints text that no tool can read.
///
/// Appends to `words`, whose buffer is reused from line to line.
pub(super) fn restore_words<'t>(line: &'t str, from: usize, words: &mut Vec<Word<'t>>) -> Parse<()> {
    words.clear();
    let bytes = line.as_bytes();
    let mut rest = from;
    while let Some(start) = skip_blanks(line, rest) {
        let ends_plain = |byte: &u8| matches!(byte, b' ' | b'\t' | b'"');
        let plain = bytes[start..].iter().position(ends_plain).map_or(line.len(), |length| start + length);
        if bytes.get(plain) == Some(&b'"') {
            let mut text = line[start..plain].to_owned();
            rest = quoted(line, plain, &mut text)?;
            words.push(Word { text: Cow::Owned(text), at: start });
        } else {
            words.push(Word { text: Cow::Borrowed(&line[start..plain]), at: start });
            rest = plain;
        }
    }
    Ok(())
}

/// Splits a command line like a POSIX shell, without expansions.
pub(super) fn shell_words(line: &str) -> Parse<Vec<Word<'_>>> {
    let mut words = Vec::new();
    let mut rest = 0;
    while let Some(start) = skip_blanks(line, rest) {
        if line[start..].starts_with('#') {
            break;
        }
        let mut text = String::new();
        rest = shell_word(line, start, &mut text)?;
        words.push(Word { text: Cow::Owned(text), at: start });
    }
    Ok(words)
}

fn skip_blanks(line: &str, from: usize) -> Option<usize> {
    let is_letter = |byte: &u8| !matches!(byte, b' ' | b'\t');
    line.as_bytes()[from..].iter().position(is_letter).map(|skipped| from + skipped)
}

/// Appends the text between the quotation mark at `open` and the closing one; returns the offset after that.
fn quoted(line: &str, open: usize, text: &mut String) -> Parse<usize> {
    let mut from = open + 1;
    loop {
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\');
        let length = line.as_bytes()[from..].iter().position(is_special).ok_or_else(|| unclosed(open))?;
        let at = from + length;
        text.push_str(&line[from..at]);
        if line.as_bytes()[at] == b'"' {
            return Ok(at + 1);
        }
        let escaped = line[at + 1..].chars().next().ok_or_else(|| unclosed(open))?;
        text.push(escaped);
        from = at + 1 + escaped.len_utf8();
    }
}

fn unclosed(open: usize) -> Box<Problem> {
    Problem::new(RuleErrorKind::Syntax, open, "a closing quotation mark in the same line", "none")
}

fn shell_word(line: &str, start: usize, text: &mut String) -> Parse<usize> {
    let mut at = start;
    while let Some(letter) = line[at..].chars().next() {
        let after = at + letter.len_utf8();
        at = match letter {
            ' ' | '\t' => return Ok(at),
            '\'' => {
                let length = line[after..].find('\'').ok_or_else(|| unclosed(at))?;
                text.push_str(&line[after..after + length]);
                after + length + 1
            }
            '"' => shell_double_quoted(line, at, text)?,
            '\\' => {
                let escaped = line[after..].chars().next().ok_or_else(|| not_plain(at, letter))?;
                text.push(escaped);
                after + escaped.len_utf8()
            }
            '$' | '`' | ';' | '&' | '|' | '<' | '>' | '(' | ')' | '*' | '?' | '~' => {
                return Err(not_plain(at, letter));
            }
            other => {
                text.push(other);
                after
            }
        };
    }
    Ok(at)
}

/// Within double quotation marks, a backslash escapes only special characters (POSIX.1-2024, XCU 2.2.3).
fn shell_double_quoted(line: &str, open: usize, text: &mut String) -> Parse<usize> {
    let mut letters = line[open + 1..].char_indices();
    while let Some((offset, letter)) = letters.next() {
        match letter {
            '"' => return Ok(open + 1 + offset + 1),
            '$' | '`' => return Err(not_plain(open + 1 + offset, letter)),
            '\\' => match letters.next() {
                Some((_, escaped @ ('"' | '\\' | '$' | '`'))) => text.push(escaped),
                Some((_, other)) => text.extend(['\\', other]),
                None => break,
            },
            other => text.push(other),
        }
    }
    Err(unclosed(open))
}

fn not_plain(at: usize, letter: char) -> Box<Problem> {
    Problem::new(RuleErrorKind::Unsupported, at, "a plain word", format!("`{letter}`"))
        .help("command lines are split like in a shell, but without expansion and redirection")
}
