//! `iprange`: source or destination within a range of addresses (net/netfilter/xt_iprange.c).

use crate::hook::Family;
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::look::Look;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::{addr_v4, plain_v6};
use crate::xtables::words::Value;
use std::fmt::Write as _;
use std::net::IpAddr;

const SRC: u8 = 0;
const DST: u8 = 1;

/// First and last address. The tool accepts a last one below the first; then no address matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: IpAddr,
    last: IpAddr,
    is_inverted: bool,
}

/// `-m iprange`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Iprange {
    family: Family,
    src: Option<Range>,
    dst: Option<Range>,
}

impl Iprange {
    pub(super) const OPTIONS: &'static [Opt] =
        &[Opt::value("src-range", SRC).invertible(), Opt::value("dst-range", DST).invertible()];

    pub(super) const fn new(family: Family) -> Self {
        Self { family, src: None, dst: None }
    }

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        let (first, last) = match call.value.text.split_once('-') {
            Some((first, last)) => (call.value.part(first), call.value.part(last)),
            None => (call.value, call.value),
        };
        let range =
            Range { first: self.address(first)?, last: self.address(last)?, is_inverted: call.is_inverted };
        *(if call.id == SRC { &mut self.src } else { &mut self.dst }) = Some(range);
        Ok(())
    }

    fn address(&self, value: Value<'_>) -> Parse<IpAddr> {
        match self.family {
            Family::Ipv4 => addr_v4(value).map(IpAddr::V4),
            Family::Ipv6 | Family::Bridge => plain_v6(value).map(IpAddr::V6),
        }
    }

    pub(super) fn finish(self: Box<Self>, seen: u32, at: usize) -> Parse<Box<Self>> {
        if seen == 0 {
            return Err(Problem::new(RuleErrorKind::Syntax, at, "`--src-range` or `--dst-range`", "none"));
        }
        Ok(self)
    }

    pub(super) fn print(&self, out: &mut String) {
        for (option, range) in [("--src-range", self.src), ("--dst-range", self.dst)] {
            if let Some(Range { first, last, is_inverted }) = range {
                _ = write!(out, "{} {option} {first}-{last}", if is_inverted { " !" } else { "" });
            }
        }
    }

    // Linux: iprange_mt4, iprange_mt6.
    pub(super) fn holds(&self, look: &Look<'_, '_, '_>) -> bool {
        let holds = |range: Option<Range>, addr: IpAddr| {
            range.is_none_or(|Range { first, last, is_inverted }| {
                (first <= addr && addr <= last) != is_inverted
            })
        };
        holds(self.src, look.headers.src) && holds(self.dst, look.headers.dst)
    }
}
