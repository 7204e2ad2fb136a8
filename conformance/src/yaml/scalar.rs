//! Interprets scalars.

use std::sync::Arc;

/// A scalar as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text, with escapes resolved.
    pub text: Arc<str>,
    /// True if written without quotes, so that it may be something other than a string.
    pub is_plain: bool,
}

/// The value of a plain scalar (YAML 1.2, 10.3.2 "Core Schema").
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning<'a> {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(&'a str),
}

impl Scalar {
    /// `null`, `~` or empty.
    pub fn is_null(&self) -> bool {
        self.meaning() == Meaning::Null
    }

    pub(super) fn meaning(&self) -> Meaning<'_> {
        if !self.is_plain {
            return Meaning::Text(&self.text);
        }
        match &*self.text {
            "" | "~" | "null" | "Null" | "NULL" => Meaning::Null,
            "true" | "True" | "TRUE" => Meaning::Bool(true),
            "false" | "False" | "FALSE" => Meaning::Bool(false),
            text => number(text).unwrap_or(Meaning::Text(text)),
        }
    }
}

fn number(text: &str) -> Option<Meaning<'_>> {
    let (is_negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let radix = [("0x", 16), ("0o", 8)]
        .into_iter()
        .find_map(|(prefix, radix)| digits.strip_prefix(prefix).map(|rest| (rest, radix)));
    let (digits, radix) = radix.unwrap_or((digits, 10));
    if !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix)) {
        return integer(digits, radix, is_negative);
    }
    // `1e3`, `.5` and `1.` are floats; `1.2.3` and `e3` are not. Infinities and NaN do not occur in manifests.
    let has_digit_first = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let is_decimal =
        digits.chars().all(|one| one.is_ascii_digit() || matches!(one, '.' | 'e' | 'E' | '-' | '+'));
    (radix == 10 && has_digit_first && is_decimal).then(|| text.parse().ok().map(Meaning::Float)).flatten()
}

fn integer(digits: &str, radix: u32, is_negative: bool) -> Option<Meaning<'_>> {
    let magnitude = u64::from_str_radix(digits, radix);
    match (magnitude, is_negative) {
        (Ok(magnitude), false) => Some(Meaning::Unsigned(magnitude)),
        (Ok(magnitude), true) => 0_i64.checked_sub_unsigned(magnitude).map(Meaning::Signed),
        // Too large for an integer: a float, as in other parsers.
        (Err(_), _) => digits.parse().ok().map(Meaning::Float),
    }
}
