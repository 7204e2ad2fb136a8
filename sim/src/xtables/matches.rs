//! Matches: the conditions that `-m` adds to a rule. One variant per match, one file per group.

mod addrtype;
mod conntrack;
mod header;
mod icmp;
mod inert;
mod iprange;
mod ipvs;
mod kinds;
mod limit;
mod mark;
mod owner;
mod physdev;
mod policy;
mod ports;
mod recent;
mod rpfilter;
mod set;
mod socket;
mod statistic;

pub(super) use recent::Recent;
pub(super) use set::Named;

use super::chain::HookMask;
use super::error::{Parse, Problem, RuleErrorKind};
use super::kind::TableKind;
use super::look::Look;
use super::options::{Call, Opt};
use super::recent_lists::RecentLists;
use super::value::protocol_name;
use addrtype::Addrtype;
use conntrack::Conntrack;
use header::{Dscp, Length, Mac, Pkttype, Tos, Ttl};
use icmp::Icmp;
use inert::{Comment, Nfacct};
use iprange::Iprange;
use ipvs::Ipvs;
use limit::Limit;
use mark::MarkMatch;
use owner::Owner;
use physdev::Physdev;
use policy::Policy;
use ports::{Multiport, Sctp, Tcp, Udp};
use rpfilter::Rpfilter;
use set::SetMatch;
use smallvec::SmallVec;
use socket::Socket;
use statistic::{Nth, Random, Statistic};

/// The result of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MatchResult {
    Yes,
    No,
    /// The packet is too malformed to evaluate and is dropped at once (`hotdrop`, `struct xt_action_param`).
    HotDrop,
}

impl From<bool> for MatchResult {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// A condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Match {
    Addrtype(Addrtype),
    Comment(Comment),
    Connmark(MarkMatch),
    Conntrack(Box<Conntrack>),
    Dscp(Dscp),
    Icmp(Icmp),
    Iprange(Box<Iprange>),
    Ipvs(Box<Ipvs>),
    Length(Length),
    Limit(Limit),
    Mac(Mac),
    Mark(MarkMatch),
    Multiport(Box<Multiport>),
    Nfacct(Nfacct),
    Nth(Nth),
    Owner(Box<Owner>),
    Physdev(Box<Physdev>),
    Pkttype(Pkttype),
    Policy(Box<Policy>),
    Random(Random),
    Recent(Box<Recent>),
    Rpfilter(Rpfilter),
    Sctp(Sctp),
    Set(Box<SetMatch>),
    Socket(Socket),
    /// Only during parsing: becomes `Random` or `Nth`.
    Statistic(Box<Statistic>),
    Tcp(Tcp),
    Tos(Tos),
    Ttl(Ttl),
    Udp(Udp),
}

impl Match {
    /// The name after `-m`.
    pub(super) fn name(&self) -> &'static str {
        self.kind().name
    }

    /// Its options.
    pub(super) fn options(&self) -> &'static [Opt] {
        self.kind().options
    }

    /// Hooks from which a rule with this match may be reached.
    pub(super) fn allowed_hooks(&self) -> HookMask {
        self.kind().hooks
    }

    /// The tables that may contain a rule with this match.
    pub(super) fn tables(&self) -> &'static [TableKind] {
        self.kind().tables
    }

    /// True if evaluation has no side effect and never drops a packet that shows its ports, so that a rule which cannot
    /// match anyway need not be evaluated.
    pub(super) fn is_pure(&self) -> bool {
        self.kind().is_pure
    }

    /// Parses one of its options.
    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        match self {
            Self::Addrtype(one) => one.set(call),
            Self::Comment(one) => one.set(call),
            Self::Connmark(one) | Self::Mark(one) => one.set(call),
            Self::Conntrack(one) => one.set(call),
            Self::Dscp(one) => one.set(call),
            Self::Icmp(one) => one.set(call),
            Self::Iprange(one) => one.set(call),
            Self::Ipvs(one) => one.set(call),
            Self::Length(one) => one.set(call),
            Self::Limit(one) => one.set(call),
            Self::Mac(one) => one.set(call),
            Self::Multiport(one) => one.set(call),
            Self::Nfacct(one) => one.set(call),
            Self::Owner(one) => one.set(call),
            Self::Physdev(one) => one.set(call),
            Self::Pkttype(one) => one.set(call),
            Self::Policy(one) => one.set(call),
            Self::Recent(one) => one.set(call),
            Self::Rpfilter(one) => one.set(call),
            Self::Sctp(one) => one.set(call),
            Self::Set(one) => one.set(call),
            Self::Socket(one) => one.set(call),
            Self::Statistic(one) => one.set(call),
            Self::Nth(_) | Self::Random(_) => {
                unreachable!("a statistic match is complete only after its options")
            }
            Self::Tcp(one) => one.set(call),
            Self::Tos(one) => one.set(call),
            Self::Ttl(one) => one.set(call),
            Self::Udp(one) => one.set(call),
        }
    }

    /// Finishes parsing after all options of the rule have been read. `seen` has the bits of its options, `at` is where
    /// it was named, `protocol` is the protocol of the rule and true if inverted.
    pub(super) fn finish(
        self,
        seen: u32,
        at: usize,
        protocol: (u8, bool),
        lists: &mut RecentLists,
    ) -> Parse<Self> {
        self.check_protocol(at, protocol)?;
        Ok(match self {
            Self::Addrtype(one) => Self::Addrtype(one.finish(seen, at)?),
            Self::Conntrack(one) => Self::Conntrack(one.finish(seen, at)?),
            Self::Dscp(one) => Self::Dscp(one.finish(seen, at)?),
            Self::Iprange(one) => Self::Iprange(one.finish(seen, at)?),
            Self::Ipvs(one) => Self::Ipvs(one.finish(seen, at)?),
            Self::Limit(one) => Self::Limit(one.finish(at)?),
            Self::Multiport(one) => Self::Multiport(one.finish(seen, at)?),
            Self::Owner(one) => Self::Owner(one.finish(at)?),
            Self::Physdev(one) => Self::Physdev(one.finish(seen, at)?),
            Self::Policy(one) => Self::Policy(one.finish(at)?),
            Self::Recent(one) => Self::Recent(one.finish(at, lists)?),
            Self::Statistic(one) => one.finish(seen, at)?,
            Self::Ttl(one) => Self::Ttl(one.finish(seen, at)?),
            whole @ (Self::Comment(_)
            | Self::Connmark(_)
            | Self::Icmp(_)
            | Self::Length(_)
            | Self::Mac(_)
            | Self::Mark(_)
            | Self::Nfacct(_)
            | Self::Nth(_)
            | Self::Pkttype(_)
            | Self::Random(_)
            | Self::Rpfilter(_)
            | Self::Sctp(_)
            | Self::Set(_)
            | Self::Socket(_)
            | Self::Tcp(_)
            | Self::Tos(_)
            | Self::Udp(_)) => whole,
        })
    }

    /// Linux: `xt_check_match`, net/netfilter/x_tables.c, "only valid for protocol".
    fn check_protocol(&self, at: usize, (number, is_inverted): (u8, bool)) -> Parse<()> {
        let Some(needed) = self.kind().protocol else { return Ok(()) };
        if protocol_name(number) == Some(needed) && !is_inverted {
            return Ok(());
        }
        Err(Problem::new(
            RuleErrorKind::Refused,
            at,
            format!("`-p {needed}` in a rule with `-m {}`", self.name()),
            if is_inverted { "`!` before the protocol" } else { "another protocol, or none" },
        ))
    }

    /// Appends its options in the format of `iptables-save`.
    pub(super) fn print(&self, out: &mut String) {
        match self {
            Self::Addrtype(one) => one.print(out),
            Self::Comment(one) => one.print(out),
            Self::Connmark(one) | Self::Mark(one) => one.print(out),
            Self::Conntrack(one) => one.print(out),
            Self::Dscp(one) => one.print(out),
            Self::Icmp(one) => one.print(out),
            Self::Iprange(one) => one.print(out),
            Self::Ipvs(one) => one.print(out),
            Self::Length(one) => one.print(out),
            Self::Limit(one) => one.print(out),
            Self::Mac(one) => one.print(out),
            Self::Multiport(one) => one.print(out),
            Self::Nfacct(one) => one.print(out),
            Self::Nth(one) => one.print(out),
            Self::Owner(one) => one.print(out),
            Self::Physdev(one) => one.print(out),
            Self::Pkttype(one) => one.print(out),
            Self::Policy(one) => one.print(out),
            Self::Random(one) => one.print(out),
            Self::Recent(one) => one.print(out),
            Self::Rpfilter(one) => one.print(out),
            Self::Sctp(one) => one.print(out),
            Self::Set(one) => one.print(out),
            Self::Socket(one) => one.print(out),
            Self::Statistic(_) => unreachable!("parsing is finished"),
            Self::Tcp(one) => one.print(out),
            Self::Tos(one) => one.print(out),
            Self::Ttl(one) => one.print(out),
            Self::Udp(one) => one.print(out),
        }
    }

    /// Evaluates the match for a packet.
    #[inline]
    pub(super) fn answer(&self, look: &mut Look<'_, '_, '_>) -> MatchResult {
        // The matches of most rules, apart from the others, which need more registers.
        if let Self::Comment(_) = self {
            return MatchResult::Yes;
        }
        if let Self::Conntrack(one) = self {
            return one.holds(look).into();
        }
        self.answer_other(look)
    }

    #[inline(never)]
    fn answer_other(&self, look: &mut Look<'_, '_, '_>) -> MatchResult {
        match self {
            Self::Addrtype(one) => one.holds(look).into(),
            // Inert: matches every packet.
            Self::Comment(_) | Self::Nfacct(_) => MatchResult::Yes,
            Self::Connmark(one) => one.holds_for_connection(look).into(),
            Self::Conntrack(one) => one.holds(look).into(),
            Self::Dscp(one) => one.holds(look).into(),
            Self::Icmp(one) => one.answer(look),
            Self::Iprange(one) => one.holds(look).into(),
            Self::Ipvs(one) => one.holds(look).into(),
            Self::Length(one) => one.holds(look).into(),
            Self::Limit(one) => one.holds(look).into(),
            Self::Mac(one) => one.holds(look).into(),
            Self::Mark(one) => one.holds_for_packet(look).into(),
            Self::Multiport(one) => one.answer(look),
            Self::Nth(one) => one.holds(look).into(),
            Self::Owner(one) => one.holds(look).into(),
            Self::Physdev(one) => one.holds(look).into(),
            Self::Pkttype(one) => one.holds(look).into(),
            Self::Policy(one) => one.holds().into(),
            Self::Random(one) => one.holds(look).into(),
            Self::Recent(one) => one.holds(look).into(),
            Self::Rpfilter(one) => one.holds(look).into(),
            Self::Sctp(one) => one.answer(look),
            Self::Set(one) => one.holds(look).into(),
            Self::Socket(one) => one.holds(look).into(),
            Self::Statistic(_) => unreachable!("parsing is finished"),
            Self::Tcp(one) => one.answer(look),
            Self::Tos(one) => one.holds(look).into(),
            Self::Ttl(one) => one.holds(look).into(),
            Self::Udp(one) => one.answer(look),
        }
    }

    /// The destination ports one of which a packet must have, if the match is on single ports.
    pub(super) fn destination_ports(&self) -> Option<SmallVec<[u16; 4]>> {
        if let Self::Multiport(multiport) = self {
            return multiport.single_dsts();
        }
        if let Self::Tcp(Tcp { ports, .. }) | Self::Udp(Udp { ports }) | Self::Sctp(Sctp { ports }) = self {
            return ports.single_dst().map(|port| SmallVec::from_elem(port, 1));
        }
        None
    }
}
