//! Options as data: what a command, a match or a target takes.
//!
//! The rules about repetition, negation, exclusion and companions are those of `struct xt_option_entry`
//! (include/xtables.h); names may be shortened as `getopt_long` allows.

use super::error::{Parse, Problem, RuleErrorKind};
use super::words::Value;
use crate::hook::Family;
use crate::ipset::Ipset;

/// An option of a match or a target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opt {
    pub(super) name: &'static str,
    /// Number of the option within its extension; synonyms share it.
    pub(super) id: u8,
    /// Values that follow: 0, 1 or 2.
    pub(super) values: u8,
    pub(super) can_invert: bool,
    pub(super) is_mandatory: bool,
    /// Bits of options that cannot stand beside it.
    pub(super) excludes: u32,
    /// Bits of options without which it means nothing.
    pub(super) requires: u32,
}

impl Opt {
    pub(super) const fn flag(name: &'static str, id: u8) -> Self {
        Self { name, id, values: 0, can_invert: false, is_mandatory: false, excludes: 0, requires: 0 }
    }

    pub(super) const fn value(name: &'static str, id: u8) -> Self {
        Self { values: 1, ..Self::flag(name, id) }
    }

    pub(super) const fn two_values(name: &'static str, id: u8) -> Self {
        Self { values: 2, ..Self::flag(name, id) }
    }

    pub(super) const fn invertible(self) -> Self {
        Self { can_invert: true, ..self }
    }

    pub(super) const fn mandatory(self) -> Self {
        Self { is_mandatory: true, ..self }
    }

    pub(super) const fn excluding(self, bits: u32) -> Self {
        Self { excludes: bits, ..self }
    }

    pub(super) const fn requiring(self, bits: u32) -> Self {
        Self { requires: bits, ..self }
    }

    pub(super) const fn bit(&self) -> u32 {
        1 << self.id
    }
}

/// An option as it was used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'w> {
    pub(super) id: u8,
    /// The first value; the option itself where it takes none.
    pub(super) value: Value<'w>,
    /// The second value; as the first where there is none.
    pub(super) second: Value<'w>,
    pub(super) is_inverted: bool,
    /// Protocol of the rule as far as it has been read, and whether `!` stood before it.
    pub(super) protocol: (u8, bool),
    /// Family of the rule.
    pub(super) family: Family,
    /// The sets that a rule may name.
    pub(super) sets: &'w Ipset,
}

/// What a name, possibly shortened, finds among options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<T> {
    None,
    /// The name itself, or else the only option that begins so, or several that mean the same.
    One(T),
    /// Several.
    Ambiguous(&'static str, &'static str),
}

/// Looks a name up as `getopt_long` does: the first exact match, else the only one that begins so.
pub(super) fn find<T: Copy + PartialEq>(
    name: &str,
    options: impl Iterator<Item = (&'static str, T)>,
) -> Found<T> {
    let mut shortened: Option<(&'static str, T)> = None;
    let mut ambiguous = None;
    for (known, option) in options {
        if known == name {
            return Found::One(option);
        }
        if known.starts_with(name) {
            match shortened {
                None => shortened = Some((known, option)),
                Some((_, first)) if first == option => {}
                Some((first, _)) => ambiguous = Some((first, known)),
            }
        }
    }
    match (ambiguous, shortened) {
        (Some((first, second)), _) => Found::Ambiguous(first, second),
        (None, Some((_, option))) => Found::One(option),
        (None, None) => Found::None,
    }
}

/// Checks one use of an option against those that came before it in the same extension.
pub(super) fn check_use(options: &[Opt], option: &Opt, seen: u32, is_inverted: bool, at: usize) -> Parse<()> {
    if is_inverted && !option.can_invert {
        return Err(Problem::new(
            RuleErrorKind::Syntax,
            at,
            format!("`--{}` without `!`", option.name),
            "`!`",
        ));
    }
    if seen & option.bit() != 0 {
        return Err(Problem::new(
            RuleErrorKind::Syntax,
            at,
            format!("`--{}` once", option.name),
            "it a second time",
        ));
    }
    let other = options.iter().find(|other| seen & option.excludes & other.bit() != 0);
    other.map_or(Ok(()), |other| {
        Err(Problem::new(
            RuleErrorKind::Syntax,
            at,
            format!("`--{}` without `--{}`", option.name, other.name),
            "both",
        ))
    })
}

/// Checks, at the end of the rule, what an extension must have. `at` is where the extension was named.
pub(super) fn check_complete(options: &[Opt], seen: u32, at: usize) -> Parse<()> {
    for option in options {
        if option.is_mandatory && seen & option.bit() == 0 {
            return Err(missing(at, option.name));
        }
        if seen & option.bit() == 0 || seen & option.requires == option.requires {
            continue;
        }
        let needed = options.iter().find(|other| option.requires & !seen & other.bit() != 0);
        if let Some(needed) = needed {
            return Err(Problem::new(
                RuleErrorKind::Syntax,
                at,
                format!("`--{}` beside `--{}`", needed.name, option.name),
                "none",
            ));
        }
    }
    Ok(())
}

pub(super) fn missing(at: usize, name: &str) -> Box<Problem> {
    Problem::new(RuleErrorKind::Syntax, at, format!("`--{name}`"), "none")
}
