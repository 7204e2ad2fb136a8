//! `DNAT`, `SNAT`, `MASQUERADE` and `REDIRECT`: request a NAT binding.
//!
//! Linux: net/netfilter/xt_nat.c, xt_MASQUERADE.c, xt_REDIRECT.c; options: extensions/libxt_NAT.c.

use crate::hook::{Family, Hook, Verdict};
use crate::netfilter::EvalCtx;
use crate::netfilter::nat::{self, NatFlags, NatRange};
use crate::packet::Packet;
use crate::text::ports::{PortRange, PortRangeSyntax};
use crate::wire::protocol;
use crate::wire::rewrite::Side;
use crate::xtables::chain::HookMask;
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::{plain_v4, plain_v6};
use crate::xtables::words::Value;
use std::fmt::Write as _;
use std::net::IpAddr;

/// The kind of NAT target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::xtables) enum NatKind {
    Dnat,
    Snat,
    Masquerade,
    Redirect,
}

/// A target that sets up a binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Nat {
    kind: NatKind,
    /// First and last address.
    addrs: Option<(IpAddr, IpAddr)>,
    ports: Option<PortRange>,
    flags: NatFlags,
}

const TO: u8 = 0;
const RANDOM: u8 = 1;
const RANDOM_FULLY: u8 = 2;
const PERSISTENT: u8 = 3;

const DNAT: &[Opt] = &[
    Opt::value("to-destination", TO).mandatory(),
    Opt::flag("random", RANDOM),
    Opt::flag("persistent", PERSISTENT),
];
const SNAT: &[Opt] = &[
    Opt::value("to-source", TO).mandatory(),
    Opt::flag("random", RANDOM),
    Opt::flag("random-fully", RANDOM_FULLY),
    Opt::flag("persistent", PERSISTENT),
];
const MASQUERADE: &[Opt] =
    &[Opt::value("to-ports", TO), Opt::flag("random", RANDOM), Opt::flag("random-fully", RANDOM_FULLY)];
const REDIRECT: &[Opt] = &[Opt::value("to-ports", TO), Opt::flag("random", RANDOM)];

impl Nat {
    pub(super) fn new(kind: NatKind) -> Self {
        Self { kind, addrs: None, ports: None, flags: NatFlags::default() }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self.kind {
            NatKind::Dnat => "DNAT",
            NatKind::Snat => "SNAT",
            NatKind::Masquerade => "MASQUERADE",
            NatKind::Redirect => "REDIRECT",
        }
    }

    pub(super) const fn options(&self) -> &'static [Opt] {
        match self.kind {
            NatKind::Dnat => DNAT,
            NatKind::Snat => SNAT,
            NatKind::Masquerade => MASQUERADE,
            NatKind::Redirect => REDIRECT,
        }
    }

    pub(super) fn set(&mut self, call: &Call<'_>, family: Family) -> Parse<()> {
        match call.id {
            RANDOM => self.flags.random = true,
            RANDOM_FULLY => self.flags.random_fully = true,
            PERSISTENT => self.flags.persistent = true,
            _ => match self.kind {
                NatKind::Dnat | NatKind::Snat => self.set_addrs(call, family)?,
                NatKind::Masquerade | NatKind::Redirect => self.set_ports(call, call.value)?,
            },
        }
        Ok(())
    }

    /// `ADDR`, `ADDR-ADDR`, `ADDR:PORT`, `:PORT`, with a port range wherever a port is allowed; IPv6 addresses before a
    /// port are in brackets.
    ///
    /// Linux user space: `parse_to`, extensions/libxt_NAT.c.
    fn set_addrs(&mut self, call: &Call<'_>, family: Family) -> Parse<()> {
        let value = call.value;
        let (addrs, ports) = match value.text.strip_prefix('[') {
            Some(rest) if family == Family::Ipv6 => {
                let (addrs, after) =
                    rest.split_once(']').ok_or_else(|| value.expected("`]` after the address"))?;
                (value.part(addrs), after.strip_prefix(':').map(|ports| value.part(ports)))
            }
            Some(_) => return Err(value.expected("an IPv4 address without brackets")),
            // A single colon precedes a port, several belong to an IPv6 address.
            None => match value.text.split_once(':') {
                Some((addrs, ports)) if !ports.contains(':') => (value.part(addrs), Some(value.part(ports))),
                Some(_) | None => (value, None),
            },
        };
        if let Some(ports) = ports {
            self.set_ports(call, ports)?;
        }
        if addrs.text.is_empty() && ports.is_some() {
            return Ok(());
        }
        let (first, last) = addrs.text.split_once('-').unwrap_or((addrs.text, addrs.text));
        let read = |text| match family {
            Family::Ipv4 => plain_v4(value.part(text)).map(IpAddr::V4),
            Family::Ipv6 | Family::Bridge => plain_v6(value.part(text)).map(IpAddr::V6),
        };
        self.addrs = Some((read(first)?, read(last)?));
        Ok(())
    }

    fn set_ports(&mut self, call: &Call<'_>, ports: Value<'_>) -> Parse<()> {
        // The tool checks only the protocol number, so `! -p tcp` passes as well.
        let has_ports =
            matches!(call.protocol.0, protocol::TCP | protocol::UDP | protocol::SCTP | 33 | protocol::ICMP);
        if !has_ports {
            return Err(Problem::new(
                RuleErrorKind::Syntax,
                ports.at,
                "`-p tcp`, `-p udp`, `-p sctp`, `-p dccp` or `-p icmp` before the ports",
                "another protocol, or none",
            ));
        }
        if ports.text.contains('/') {
            let problem = ports.expected("a port range without a base port");
            return Err(problem.kind(RuleErrorKind::Unsupported));
        }
        self.ports = Some(PortRangeSyntax::NAT.parse(ports)?);
        Ok(())
    }

    /// Linux: `.hooks` in xt_nat_target_reg, masquerade_tg_reg and redirect_tg_reg.
    pub(super) fn allowed_hooks(&self) -> HookMask {
        match self.kind {
            NatKind::Dnat | NatKind::Redirect => HookMask::of(&[Hook::Prerouting, Hook::Output]),
            NatKind::Snat => HookMask::of(&[Hook::Postrouting, Hook::Input]),
            NatKind::Masquerade => HookMask::of(&[Hook::Postrouting]),
        }
    }

    // Linux user space: __NAT_print and sprint_range, extensions/libxt_NAT.c
    pub(super) fn print(&self, out: &mut String) {
        _ = write!(out, " -j {}", self.name());
        let (option, is_addressed) = match self.kind {
            NatKind::Dnat => ("--to-destination", true),
            NatKind::Snat => ("--to-source", true),
            NatKind::Masquerade | NatKind::Redirect => ("--to-ports", false),
        };
        if self.addrs.is_some() || self.ports.is_some() {
            _ = write!(out, " {option} ");
        }
        if let Some((first, last)) = self.addrs {
            let (open, close) = if first.is_ipv6() && self.ports.is_some() { ("[", "]") } else { ("", "") };
            _ = if first == last {
                write!(out, "{open}{first}{close}")
            } else {
                write!(out, "{open}{first}-{last}{close}")
            };
        }
        if let Some(ports) = self.ports {
            out.push_str(if is_addressed { ":" } else { "" });
            PortRangeSyntax::NAT.print(out, ports);
        }
        out.push_str(if self.flags.random { " --random" } else { "" });
        out.push_str(if self.flags.random_fully { " --random-fully" } else { "" });
        out.push_str(if self.flags.persistent { " --persistent" } else { "" });
    }

    pub(super) fn act(&self, ctx: &mut EvalCtx<'_, '_>, packet: &Packet) -> Verdict {
        let range = NatRange {
            min_addr: self.addrs.map(|(first, _)| first),
            max_addr: self.addrs.map(|(_, last)| last),
            min_port: self.ports.map(|ports| ports.first),
            max_port: self.ports.map(|ports| ports.last),
            flags: self.flags,
        };
        match self.kind {
            NatKind::Dnat => nat::setup_info(ctx, packet, &range, Side::Dst),
            NatKind::Snat => nat::setup_info(ctx, packet, &range, Side::Src),
            NatKind::Masquerade => nat::masquerade(ctx, packet, &range),
            NatKind::Redirect => nat::redirect(ctx, packet, &range),
        }
    }
}
