//! `statistic`: matches every n-th packet, or a random share.
//!
//! Linux: net/netfilter/xt_statistic.c; options: extensions/libxt_statistic.c.

use super::Match;
use crate::draws::Purpose;
use crate::mutation::Mutation;
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::look::{Look, MatchState};
use crate::xtables::options::{Call, Opt, missing};
use crate::xtables::value::{any_u32, ranged};
use std::fmt::Write as _;

const MODE: u8 = 0;
const PROBABILITY: u8 = 1;
const EVERY: u8 = 2;
const PACKET: u8 = 3;

/// The options during parsing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Statistic {
    is_nth: bool,
    probability: u32,
    every: u32,
    packet: u32,
    is_inverted: bool,
}

/// `--mode random`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Random {
    /// The probability times 2^31.
    threshold: u32,
    is_inverted: bool,
}

/// `--mode nth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Nth {
    every: u32,
    packet: u32,
    is_inverted: bool,
}

impl Statistic {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::value("mode", MODE).mandatory(),
        Opt::value("probability", PROBABILITY).invertible().excluding(1 << EVERY | 1 << PACKET),
        Opt::value("every", EVERY).invertible().excluding(1 << PROBABILITY).requiring(1 << PACKET),
        Opt::value("packet", PACKET).excluding(1 << PROBABILITY).requiring(1 << EVERY),
    ];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        self.is_inverted |= call.is_inverted;
        match call.id {
            MODE => {
                self.is_nth = match call.value.text {
                    "nth" => true,
                    "random" => false,
                    _ => return Err(call.value.expected("`random` or `nth`")),
                }
            }
            PROBABILITY => {
                self.probability =
                    threshold(call.value.text).ok_or_else(|| call.value.expected("a number from 0 to 1"))?;
            }
            EVERY => self.every = ranged(call.value, 1..=u32::MAX)?,
            _ => self.packet = any_u32(call.value)?,
        }
        Ok(())
    }

    pub(super) fn finish(&self, seen: u32, at: usize) -> Parse<Match> {
        let Self { is_nth, probability, every, packet, is_inverted } = *self;
        if !is_nth {
            return if seen & 1 << PROBABILITY == 0 {
                Err(missing(at, "probability"))
            } else {
                Ok(Match::Random(Random { threshold: probability, is_inverted }))
            };
        }
        if seen & 1 << EVERY == 0 {
            return Err(missing(at, "every"));
        }
        if packet >= every {
            return Err(Problem::new(
                RuleErrorKind::Syntax,
                at,
                format!("`--packet` below `--every {every}`"),
                format!("`{packet}`"),
            ));
        }
        Ok(Match::Nth(Nth { every, packet, is_inverted }))
    }
}

/// The probability times 2^31, rounded half away from zero as `lround` does in user space (`statistic_parse`).
fn threshold(text: &str) -> Option<u32> {
    let probability: f64 = text.parse().ok().filter(|read| (0.0..=1.0).contains(read))?;
    let scaled = (probability * f64::from(1_u32 << 31)).round();
    // Between 0 and 2^31, and a whole number.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked by the range above")]
    let threshold = scaled as u32;
    Some(threshold)
}

impl Random {
    pub(super) fn print(&self, out: &mut String) {
        let not = if self.is_inverted { " !" } else { "" };
        let probability = f64::from(self.threshold) / f64::from(1_u32 << 31);
        _ = write!(out, " --mode random{not} --probability {probability:.11}");
    }

    // Linux: statistic_mt, net/netfilter/xt_statistic.c. The number is drawn when the rule is evaluated, not before.
    pub(super) fn holds(&self, look: &mut Look<'_, '_, '_>) -> bool {
        let owner = look.ctx.cx.netns;
        look.ctx.cx.draws.chance(
            owner,
            Purpose::Statistic,
            Mutation::StatisticHalved.or(self.threshold / 2, self.threshold),
        ) != self.is_inverted
    }
}

impl Nth {
    pub(super) fn print(&self, out: &mut String) {
        let Self { every, packet, is_inverted } = self;
        let not = if *is_inverted { " !" } else { "" };
        _ = write!(out, " --mode nth{not} --every {every} --packet {packet}");
    }

    // Linux: statistic_mt, net/netfilter/xt_statistic.c. User space sets the first count (`statistic_check`).
    pub(super) fn holds(&self, look: &mut Look<'_, '_, '_>) -> bool {
        let last = self.every - 1;
        let state = look.states.get_or_insert(look.key, MatchState::Nth(last - self.packet));
        let MatchState::Nth(count) = state else { unreachable!("a rule never changes its matches") };
        *count = if *count == last { 0 } else { *count + 1 };
        (*count == 0) != self.is_inverted
    }
}
