//! `limit`: a token bucket.
//!
//! Linux: net/netfilter/xt_limit.c; options: extensions/libxt_limit.c. Credits are computed as in the kernel, including
//! 32-bit overflows, but are refilled continuously and not once per jiffy.

use crate::time::Instant;
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::look::{Look, MatchState};
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::ranged;
use crate::xtables::words::Value;
use std::fmt::Write as _;

/// `XT_LIMIT_SCALE`: a period is stored in units of 100 microseconds.
const SCALE: u32 = 10_000;
/// `HZ * CREDITS_PER_JIFFY` for an `HZ` of 250 or 1000; it differs for 100 and 300.
const CREDITS_PER_SECOND: u32 = 32_000;
const LIMIT: u8 = 0;
const BURST: u8 = 1;

/// `--limit RATE --limit-burst NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Limit {
    /// Time between packets, in units of 1/[`SCALE`] s.
    period: u32,
    burst: u32,
}

impl Default for Limit {
    /// Three per hour, with a burst of five.
    fn default() -> Self {
        Self { period: SCALE * 3600 / 3, burst: 5 }
    }
}

impl Limit {
    pub(super) const OPTIONS: &'static [Opt] =
        &[Opt::value("limit", LIMIT), Opt::value("limit-burst", BURST)];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        if call.id == BURST {
            self.burst = ranged(call.value, 0..=10_000)?;
        } else {
            self.period = period(call.value)?;
        }
        Ok(())
    }

    /// Linux: `limit_mt_check`, net/netfilter/xt_limit.c, which detects some overflows and misses others.
    pub(super) fn finish(self, at: usize) -> Parse<Self> {
        if self.burst == 0 || self.full() < self.cost() {
            return Err(Problem::new(
                RuleErrorKind::Refused,
                at,
                "a burst of 1 or more whose credits fit 32 bits",
                format!("a burst of {}", self.burst),
            ));
        }
        Ok(self)
    }

    /// Cost of a packet, in credits.
    const fn cost(&self) -> u32 {
        credits(self.period)
    }

    /// Capacity of the bucket, in credits.
    const fn full(&self) -> u32 {
        credits(self.period.wrapping_mul(self.burst))
    }

    pub(super) fn print(&self, out: &mut String) {
        const UNITS: [(&str, u32); 4] =
            [("day", SCALE * 86_400), ("hour", SCALE * 3600), ("min", SCALE * 60), ("sec", SCALE)];
        // Linux user space: print_rate, extensions/libxt_limit.c: the smallest unit that gives a whole rate.
        let fits = |length: u32| self.period <= length && length / self.period >= length % self.period;
        let count = UNITS[1..].iter().take_while(|(_, length)| fits(*length)).count();
        let (name, length) = UNITS[count];
        _ = write!(out, " --limit {}/{name}", length / self.period);
        if self.burst != Self::default().burst {
            _ = write!(out, " --limit-burst {}", self.burst);
        }
    }

    // Linux: limit_mt, net/netfilter/xt_limit.c
    pub(super) fn holds(&self, look: &mut Look<'_, '_, '_>) -> bool {
        let now = look.ctx.cx.now;
        let initial = MatchState::Limit { at: now, credit: self.full() };
        let state = look.states.get_or_insert(look.key, initial);
        let MatchState::Limit { at, credit } = state else {
            unreachable!("a rule never changes its matches")
        };
        let increase = credits_until(now).wrapping_sub(credits_until(*at));
        *credit = credit.wrapping_add(increase).min(self.full());
        *at = now;
        let spent = credit.checked_sub(self.cost());
        *credit = spent.unwrap_or(*credit);
        spent.is_some()
    }
}

// Linux: user2credits, net/netfilter/xt_limit.c
const fn credits(period: u32) -> u32 {
    if period > u32::MAX / CREDITS_PER_SECOND {
        (period / SCALE).wrapping_mul(CREDITS_PER_SECOND)
    } else {
        period * CREDITS_PER_SECOND / SCALE
    }
}

/// Credits earned since the start of the world; only differences are meaningful.
const fn credits_until(now: Instant) -> u32 {
    const NANOS_PER_CREDIT: u64 = 1_000_000_000 / CREDITS_PER_SECOND as u64;
    // The kernel's counters wrap too.
    #[expect(clippy::cast_possible_truncation, reason = "only the low bits count")]
    let credits = (now.as_nanos() / NANOS_PER_CREDIT) as u32;
    credits
}

/// `5`, `5/s`, `5/minute`. Linux user space: `parse_rate`, extensions/libxt_limit.c.
fn period(value: Value<'_>) -> Parse<u32> {
    const UNITS: [(&str, u32); 4] = [("second", 1), ("minute", 60), ("hour", 3600), ("day", 86_400)];
    let expected = "a rate such as `5/second`, `5/minute`, `5/hour` or `5/day`";
    let (count, unit) = value.text.split_once('/').unwrap_or((value.text, "second"));
    let seconds = UNITS
        .iter()
        .find(|(name, _)| crate::xtables::value::is_beginning_of(unit, name))
        .map(|(_, seconds)| *seconds);
    let count = count.parse::<u32>().ok().filter(|count| *count > 0);
    let (Some(seconds), Some(count)) = (seconds, count) else { return Err(value.expected(expected)) };
    match SCALE * seconds / count {
        0 => Err(value.expected(expected).help("the highest rate is 10000/second")),
        period => Ok(period),
    }
}
