//! Option tables of commands, matches and targets.
//!
//! Repetition, negation, exclusion and dependencies follow `struct xt_option_entry` (include/xtables.h); names may be
//! abbreviated as in `getopt_long`.

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
    /// Number of values: 0, 1 or 2.
    pub(super) values: u8,
    pub(super) can_invert: bool,
    pub(super) is_mandatory: bool,
    /// It may be used several times (`XTOPT_MULTI`).
    pub(super) can_repeat: bool,
    /// Bits of options that exclude this one.
    pub(super) excludes: u32,
    /// Bits of options that this one requires.
    pub(super) requires: u32,
}

impl Opt {
    pub(super) const fn flag(name: &'static str, id: u8) -> Self {
        Self {
            name,
            id,
            values: 0,
            can_invert: false,
            is_mandatory: false,
            can_repeat: false,
            excludes: 0,
            requires: 0,
        }
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

    pub(super) const fn repeatable(self) -> Self {
        Self { can_repeat: true, ..self }
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

/// A use of an option.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'w> {
    pub(super) id: u8,
    /// The first value; the option itself if it takes none.
    pub(super) value: Value<'w>,
    /// The second value; the same as the first if there is none.
    pub(super) second: Value<'w>,
    pub(super) is_inverted: bool,
    /// Protocol of the rule read so far, and true if it is inverted.
    pub(super) protocol: (u8, bool),
    /// Family of the rule.
    pub(super) family: Family,
    /// The sets that a rule may reference.
    pub(super) sets: &'w Ipset,
}

/// The result of looking up an option, possibly abbreviated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<T> {
    None,
    /// An exact match, or a unique abbreviation, or several options with the same meaning.
    One(T),
    /// An ambiguous abbreviation.
    Ambiguous(&'static str, &'static str),
}

/// Looks up a name as `getopt_long` does: an exact match, else a unique abbreviation.
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

/// Checks a use of an option against earlier options of the same extension.
pub(super) fn check_use(options: &[Opt], option: &Opt, seen: u32, is_inverted: bool, at: usize) -> Parse<()> {
    if is_inverted && !option.can_invert {
        return Err(Problem::new(
            RuleErrorKind::Syntax,
            at,
            format!("`--{}` without `!`", option.name),
            "`!`",
        ));
    }
    if seen & option.bit() != 0 && !option.can_repeat {
        return Err(Problem::new(
            RuleErrorKind::Syntax,
            at,
            format!("`--{}` once", option.name),
            "a duplicate",
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

/// Checks the required options of an extension at the end of the rule. `at` is where the extension was named.
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
                format!("`--{}` with `--{}`", needed.name, option.name),
                "none",
            ));
        }
    }
    Ok(())
}

pub(super) fn missing(at: usize, name: &str) -> Box<Problem> {
    Problem::new(RuleErrorKind::Syntax, at, format!("`--{name}`"), "none")
}
