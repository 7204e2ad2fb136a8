//! Targets: the actions of `-j` and `-g`. One variant per target, one file per group.

mod ct;
mod inert;
mod log;
mod mark;
mod nat;
mod reject;
mod set;
mod tcpmss;
mod tproxy;

use super::chain::ChainId;
use super::chain::HookMask;
use super::error::{Parse, Problem, RuleErrorKind};
use super::kind::TableKind;
use super::matches::Match;
use super::options::{Call, Opt};
use super::words::Value;
use crate::drop_reason::DropReason;
use crate::hook::{Family, Hook, Verdict};
use crate::netfilter::EvalCtx;
use crate::packet::Packet;
use crate::trace::RuleAction;
use crate::wire::Headers;
pub(super) use ct::Ct;
pub(super) use inert::{Checksum, Nflog};
pub(super) use log::Log;
pub(super) use mark::{Connmark, Mark};
pub(super) use nat::{Nat, NatKind};
pub(super) use reject::Reject;
pub(super) use set::SetTarget;
use std::fmt::Write as _;
use std::sync::Arc;
pub(super) use tcpmss::Tcpmss;
pub(super) use tproxy::Tproxy;

/// The action of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// No `-j`: counts, and evaluation continues.
    None,
    Accept,
    Drop,
    Return,
    Jump(ChainId),
    Goto(ChainId),
    Checksum(Checksum),
    Connmark(Box<Connmark>),
    Ct(Ct),
    Log(Box<Log>),
    Mark(Mark),
    Nat(Box<Nat>),
    Nflog(Box<Nflog>),
    Reject(Reject),
    Set(Box<SetTarget>),
    Tcpmss(Tcpmss),
    Tproxy(Box<Tproxy>),
    /// `TRACE`: logs the packet's path in the kernel; inert here, because the trace always contains it.
    Trace,
}

/// The result of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TargetVerdict {
    /// `XT_CONTINUE`: the next rule.
    Continue,
    /// The traversal of the table ends.
    Done(Verdict),
}

/// Targets that the real tool supports and this simulator does not.
const UNSUPPORTED: &[&str] = &[
    "AUDIT",
    "CLASSIFY",
    "CLUSTERIP",
    "CONNSECMARK",
    "DNPT",
    "DSCP",
    "ECN",
    "HL",
    "HMARK",
    "IDLETIMER",
    "LED",
    "NETMAP",
    "NFQUEUE",
    "QUEUE",
    "RATEEST",
    "SECMARK",
    "SNPT",
    "SYNPROXY",
    "TCPOPTSTRIP",
    "TEE",
    "TOS",
    "TTL",
    "ULOG",
];

impl Target {
    /// The target with that name; `None` if it can only be a chain.
    pub(super) fn begin(name: Value<'_>, family: Family) -> Parse<Option<Self>> {
        Ok(Some(match name.text {
            "ACCEPT" => Self::Accept,
            "DROP" => Self::Drop,
            "RETURN" => Self::Return,
            "CHECKSUM" => Self::Checksum(Checksum),
            "CONNMARK" => Self::Connmark(Box::default()),
            "CT" => Self::Ct(Ct::new(false)),
            "NOTRACK" => Self::Ct(Ct::new(true)),
            "DNAT" => Self::Nat(Box::new(Nat::new(NatKind::Dnat))),
            "LOG" => Self::Log(Box::default()),
            "MARK" => Self::Mark(Mark::default()),
            "MASQUERADE" => Self::Nat(Box::new(Nat::new(NatKind::Masquerade))),
            "NFLOG" => Self::Nflog(Box::default()),
            "REDIRECT" => Self::Nat(Box::new(Nat::new(NatKind::Redirect))),
            "REJECT" => Self::Reject(Reject::new(family)),
            "SNAT" => Self::Nat(Box::new(Nat::new(NatKind::Snat))),
            "SET" => Self::Set(Box::default()),
            "TCPMSS" => Self::Tcpmss(Tcpmss::default()),
            "TPROXY" => Self::Tproxy(Box::new(Tproxy::new(family))),
            "TRACE" => Self::Trace,
            other if UNSUPPORTED.contains(&other) => {
                return Err(name.expected("a supported target").kind(RuleErrorKind::Unsupported));
            }
            _ => return Ok(None),
        }))
    }

    /// True if a target has that name, so that a chain of that name would be unreachable.
    pub(super) fn is_name(name: &str) -> bool {
        let value = Value { text: name, at: 0 };
        !matches!(Self::begin(value, Family::Ipv4), Ok(None))
    }

    /// Its options.
    pub(super) const fn options(&self) -> &'static [Opt] {
        match self {
            Self::None
            | Self::Accept
            | Self::Drop
            | Self::Return
            | Self::Jump(_)
            | Self::Goto(_)
            | Self::Trace => &[],
            Self::Checksum(_) => Checksum::OPTIONS,
            Self::Connmark(_) => Connmark::OPTIONS,
            Self::Ct(ct) => ct.options(),
            Self::Log(_) => Log::OPTIONS,
            Self::Mark(_) => Mark::OPTIONS,
            Self::Nat(nat) => nat.options(),
            Self::Nflog(_) => Nflog::OPTIONS,
            Self::Reject(_) => Reject::OPTIONS,
            Self::Set(_) => SetTarget::OPTIONS,
            Self::Tcpmss(_) => Tcpmss::OPTIONS,
            Self::Tproxy(_) => Tproxy::OPTIONS,
        }
    }

    /// Parses one of its options.
    pub(super) fn set(&mut self, call: &Call<'_>, family: Family) -> Parse<()> {
        match self {
            Self::None
            | Self::Accept
            | Self::Drop
            | Self::Return
            | Self::Jump(_)
            | Self::Goto(_)
            | Self::Trace => unreachable!("it has no options"),
            Self::Checksum(_) => Ok(()),
            Self::Connmark(one) => one.set(call),
            Self::Ct(one) => one.set(call),
            Self::Log(one) => one.set(call),
            Self::Mark(one) => one.set(call),
            Self::Nat(one) => one.set(call, family),
            Self::Nflog(one) => one.set(call),
            Self::Reject(one) => one.set(call),
            Self::Set(one) => one.set(call),
            Self::Tcpmss(one) => one.set(call),
            Self::Tproxy(one) => one.set(call),
        }
    }

    /// Checks required options. `seen` has the bits of its options, `at` is where it was named.
    pub(super) fn check(&self, seen: u32, at: usize, protocol: (u8, bool)) -> Parse<()> {
        match self {
            Self::None
            | Self::Accept
            | Self::Drop
            | Self::Return
            | Self::Jump(_)
            | Self::Goto(_)
            | Self::Checksum(_)
            | Self::Log(_)
            | Self::Nat(_)
            | Self::Nflog(_)
            | Self::Trace => Ok(()),
            Self::Connmark(_) => Connmark::check(seen, at),
            Self::Ct(ct) => ct.check(at),
            Self::Mark(_) => Mark::check(seen, at),
            Self::Reject(reject) => reject.check(at, protocol),
            Self::Set(_) => SetTarget::check(seen, at),
            Self::Tcpmss(_) => Tcpmss::check(seen, at),
            Self::Tproxy(_) => Tproxy::check(at, protocol),
        }
    }

    /// Checks the matches of the rule.
    pub(super) fn check_matches(&self, at: usize, matches: &[Match]) -> Parse<()> {
        // Linux: tcpmss_tg4_check, net/netfilter/xt_TCPMSS.c. It leaves this out for rules of iptables-nft (`nft_compat`).
        let needs_syn = |one: &Match| matches!(one, Match::Tcp(tcp) if tcp.needs_syn());
        if !matches!(self, Self::Tcpmss(_)) || matches.iter().any(needs_syn) {
            return Ok(());
        }
        let expected = "`-p tcp --syn`, or other flags with SYN, in a rule with TCPMSS";
        Err(Problem::new(RuleErrorKind::Refused, at, expected, "none"))
    }

    /// The table that it is restricted to, if any, and the hooks from which it may be reached.
    ///
    /// Linux: `.table` and `.hooks` of the `struct xt_target` that the modules register.
    pub(super) fn place(&self) -> (Option<TableKind>, HookMask) {
        match self {
            Self::None
            | Self::Accept
            | Self::Drop
            | Self::Return
            | Self::Jump(_)
            | Self::Goto(_)
            | Self::Connmark(_)
            | Self::Log(_)
            | Self::Mark(_)
            | Self::Nflog(_)
            | Self::Set(_) => (None, HookMask::ALL),
            Self::Checksum(_) => (Some(TableKind::Mangle), HookMask::ALL),
            Self::Tcpmss(tcpmss) => (None, tcpmss.allowed_hooks()),
            Self::Tproxy(_) => (Some(TableKind::Mangle), Tproxy::ALLOWED_HOOKS),
            Self::Ct(_) | Self::Trace => (Some(TableKind::Raw), HookMask::ALL),
            Self::Nat(nat) => (Some(TableKind::Nat), nat.allowed_hooks()),
            Self::Reject(_) => {
                (Some(TableKind::Filter), HookMask::of(&[Hook::Input, Hook::Forward, Hook::Output]))
            }
        }
    }

    /// The name after `-j`, of targets that have one.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::None | Self::Jump(_) | Self::Goto(_) => "",
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
            Self::Return => "RETURN",
            Self::Checksum(_) => "CHECKSUM",
            Self::Connmark(_) => "CONNMARK",
            Self::Ct(ct) => ct.name(),
            Self::Log(_) => "LOG",
            Self::Mark(_) => "MARK",
            Self::Nat(nat) => nat.name(),
            Self::Nflog(_) => "NFLOG",
            Self::Reject(_) => "REJECT",
            Self::Set(_) => "SET",
            Self::Tcpmss(_) => "TCPMSS",
            Self::Tproxy(_) => "TPROXY",
            Self::Trace => "TRACE",
        }
    }

    /// Appends it in the format of `iptables-save`.
    pub(super) fn print(&self, out: &mut String, chain_name: impl Fn(ChainId) -> Arc<str>) {
        match self {
            Self::None => {}
            Self::Jump(chain) => _ = write!(out, " -j {}", chain_name(*chain)),
            Self::Goto(chain) => _ = write!(out, " -g {}", chain_name(*chain)),
            Self::Accept | Self::Drop | Self::Return | Self::Trace => _ = write!(out, " -j {}", self.name()),
            Self::Checksum(_) => Checksum::print(out),
            Self::Connmark(one) => one.print(out),
            Self::Ct(one) => one.print(out),
            Self::Log(one) => one.print(out),
            Self::Mark(one) => one.print(out),
            Self::Nat(one) => one.print(out),
            Self::Nflog(one) => one.print(out),
            Self::Reject(one) => one.print(out),
            Self::Set(one) => one.print(out),
            Self::Tcpmss(one) => one.print(out),
            Self::Tproxy(one) => one.print(out),
        }
    }

    /// Acts on a packet. The traversal handles the verdicts of chains (accept, return, jump, goto).
    pub(super) fn act(
        &self,
        ctx: &mut EvalCtx<'_, '_>,
        packet: &mut Packet,
        headers: &Headers,
    ) -> (TargetVerdict, RuleAction) {
        match self {
            Self::None
            | Self::Return
            | Self::Jump(_)
            | Self::Goto(_)
            | Self::Checksum(_)
            | Self::Log(_)
            | Self::Nflog(_)
            | Self::Trace => (TargetVerdict::Continue, RuleAction::Continue),
            Self::Accept => (TargetVerdict::Done(Verdict::Accept), RuleAction::Accept),
            Self::Drop | Self::Tproxy(_) => {
                (TargetVerdict::Done(Verdict::Drop(DropReason::NetfilterDrop)), RuleAction::Drop)
            }
            Self::Connmark(one) => (TargetVerdict::Continue, one.act(ctx, packet)),
            Self::Ct(one) => (TargetVerdict::Continue, one.act(packet)),
            Self::Mark(one) => (TargetVerdict::Continue, one.act(packet)),
            Self::Nat(one) => (TargetVerdict::Done(one.act(ctx, packet)), RuleAction::Nat),
            Self::Reject(one) => {
                one.act(ctx, packet, headers);
                (TargetVerdict::Done(Verdict::Drop(DropReason::NetfilterDrop)), RuleAction::Reject)
            }
            Self::Set(one) => {
                one.act(ctx, packet, headers);
                (TargetVerdict::Continue, RuleAction::Continue)
            }
            Self::Tcpmss(one) => match one.act(ctx, packet) {
                Ok(action) => (TargetVerdict::Continue, action),
                Err(reason) => (TargetVerdict::Done(Verdict::Drop(reason)), RuleAction::Drop),
            },
        }
    }
}

/// The error for missing options of a target.
fn lacks(at: usize, expected: &'static str) -> Box<Problem> {
    Problem::new(RuleErrorKind::Syntax, at, expected, "none")
}
