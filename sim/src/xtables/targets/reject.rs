//! `REJECT`: drops a packet and notifies its sender (net/ipv4/netfilter/ipt_REJECT.c, nf_reject_ipv4.c).

use crate::context::{Effect, OriginalPacket};
use crate::hook::Family;
use crate::mutation::Mutation;
use crate::netfilter::EvalCtx;
use crate::packet::Packet;
use crate::route::RouteKind;
use crate::wire::icmpv4::unreachable_code as code;
use crate::wire::{Headers, Icmpv4, TcpFlags, checksum, protocol};
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::is_beginning_of;
use std::fmt::Write as _;
use std::net::IpAddr;

/// The notification to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::xtables) enum RejectWith {
    /// An ICMP destination unreachable with this code.
    Icmp(u8),
    /// A TCP RST.
    TcpReset,
}

/// Name, alias and meaning.
type Type = (&'static str, &'static str, RejectWith);

/// Linux user space: `reject_table`, extensions/libipt_REJECT.c.
const TYPES: &[Type] = &[
    ("icmp-net-unreachable", "net-unreach", RejectWith::Icmp(code::NET)),
    ("icmp-host-unreachable", "host-unreach", RejectWith::Icmp(code::HOST)),
    ("icmp-proto-unreachable", "proto-unreach", RejectWith::Icmp(code::PROTOCOL)),
    ("icmp-port-unreachable", "port-unreach", RejectWith::Icmp(code::PORT)),
    ("icmp-net-prohibited", "net-prohib", RejectWith::Icmp(code::NET_PROHIBITED)),
    ("icmp-host-prohibited", "host-prohib", RejectWith::Icmp(code::HOST_PROHIBITED)),
    ("tcp-reset", "tcp-rst", RejectWith::TcpReset),
    ("icmp-admin-prohibited", "admin-prohib", RejectWith::Icmp(code::ADMIN_PROHIBITED)),
];

/// Like [`TYPES`], with the codes of ICMPv6 (RFC 4443 §3.1; extensions/libip6t_REJECT.c).
const TYPES_V6: &[Type] = &[
    ("icmp6-no-route", "no-route", RejectWith::Icmp(0)),
    ("icmp6-adm-prohibited", "adm-prohibited", RejectWith::Icmp(1)),
    ("icmp6-addr-unreachable", "addr-unreach", RejectWith::Icmp(3)),
    ("icmp6-port-unreachable", "port-unreach", RejectWith::Icmp(4)),
    ("tcp-reset", "tcp-reset", RejectWith::TcpReset),
    ("icmp6-policy-fail", "policy-fail", RejectWith::Icmp(5)),
    ("icmp6-reject-route", "reject-route", RejectWith::Icmp(6)),
];

/// `-j REJECT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Reject {
    is_v6: bool,
    with: RejectWith,
}

impl Reject {
    pub(super) const OPTIONS: &'static [Opt] = &[Opt::value("reject-with", 0)];

    pub(super) const fn new(family: Family) -> Self {
        match family {
            Family::Ipv4 | Family::Bridge => Self { is_v6: false, with: RejectWith::Icmp(code::PORT) },
            Family::Ipv6 => Self { is_v6: true, with: RejectWith::Icmp(4) },
        }
    }

    const fn types(&self) -> &'static [Type] {
        if self.is_v6 { TYPES_V6 } else { TYPES }
    }

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        let text = call.value.text;
        // The tool takes the first name with this prefix.
        let found = self
            .types()
            .iter()
            .find(|(name, second, _)| is_beginning_of(text, name) || is_beginning_of(text, second));
        let (.., with) = found.ok_or_else(|| {
            let names: Vec<&str> = self.types().iter().map(|(name, ..)| *name).collect();
            call.value.expected(format!("one of {}", names.join(", ")))
        })?;
        self.with = *with;
        Ok(())
    }

    /// Linux: `reject_tg_check`, net/ipv4/netfilter/ipt_REJECT.c.
    pub(super) fn check(&self, at: usize, (number, is_inverted): (u8, bool)) -> Parse<()> {
        if self.with == RejectWith::TcpReset && (number != protocol::TCP || is_inverted) {
            return Err(Problem::new(
                RuleErrorKind::Refused,
                at,
                "`-p tcp` in a rule that rejects with `tcp-reset`",
                if is_inverted { "`!` before the protocol" } else { "another protocol, or none" },
            ));
        }
        Ok(())
    }

    pub(super) fn print(&self, out: &mut String) {
        let name = self.types().iter().find(|(.., with)| *with == self.with).map_or("", |(name, ..)| name);
        _ = write!(out, " -j REJECT --reject-with {name}");
    }

    // Linux: reject_tg, net/ipv4/netfilter/ipt_REJECT.c
    pub(super) fn act(&self, ctx: &mut EvalCtx<'_, '_>, packet: &Packet, headers: &Headers) {
        if ctx.state.family != Family::Ipv4 || packet.ip().fragment_offset() > 0 {
            return;
        }
        let is_answered = match self.with {
            RejectWith::Icmp(_) => may_answer_with_icmp(packet, headers),
            RejectWith::TcpReset => may_answer_with_reset(packet, headers),
        };
        if !is_answered {
            return;
        }
        let original = Box::new(OriginalPacket::of(packet, ctx.state));
        ctx.cx.effects.push(match self.with {
            RejectWith::Icmp(code) => {
                let code = Mutation::RejectWithHostUnreachable.or(1, code);
                Effect::IcmpUnreachable { original, code }
            }
            RejectWith::TcpReset => Effect::TcpReset { original },
        });
    }
}

/// Linux: `nf_send_unreach`, net/ipv4/netfilter/nf_reject_ipv4.c, and the check in `icmp_send`, net/ipv4/icmp.c, that
/// no error is sent in response to an error.
fn may_answer_with_icmp(packet: &Packet, headers: &Headers) -> bool {
    let bytes = packet.ip();
    let payload = bytes.payload();
    if headers.protocol == protocol::ICMP
        && Icmpv4::new_checked(payload).is_none_or(|message| message.is_error())
    {
        return false;
    }
    is_checksum_right(payload, headers)
}

/// Linux: `nf_reject_ip_tcphdr_get` and the check for broadcasts in `nf_send_reset`,
/// net/ipv4/netfilter/nf_reject_ipv4.c.
fn may_answer_with_reset(packet: &Packet, headers: &Headers) -> bool {
    let bytes = packet.ip();
    let Some(header) = bytes.payload().first_chunk::<20>() else { return false };
    let to_group = packet
        .meta
        .route
        .is_some_and(|route| matches!(route.kind, RouteKind::Broadcast | RouteKind::Multicast));
    headers.protocol == protocol::TCP
        && !TcpFlags(header[13]).contains(TcpFlags::RST)
        && !to_group
        && is_checksum_right(bytes.payload(), headers)
}

/// True if the transport checksum is right or cannot be verified.
///
/// Linux: `nf_reject_verify_csum`, include/net/netfilter/nf_reject.h, and `nf_ip_checksum`, net/netfilter/utils.c.
fn is_checksum_right(payload: &[u8], headers: &Headers) -> bool {
    const DCCP: u8 = 33;
    const GRE: u8 = 47;
    const ESP: u8 = 50;
    const AH: u8 = 51;
    const UDPLITE: u8 = 136;
    let (IpAddr::V4(_), IpAddr::V4(_)) = (headers.src, headers.dst) else { return true };
    let len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let pseudo_header = checksum::pseudo_header(headers.src, headers.dst, headers.protocol, len);
    match headers.protocol {
        UDPLITE | DCCP | GRE | ESP | AH | protocol::SCTP => true,
        // RFC 768: zero means that the sender computed no checksum.
        protocol::UDP if payload.get(6..8) == Some(&[0, 0]) => true,
        protocol::TCP | protocol::UDP => checksum::finish(pseudo_header + checksum::sum(payload)) == 0,
        _ => checksum::finish(checksum::sum(payload)) == 0,
    }
}
