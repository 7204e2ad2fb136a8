//! IPVS at its hooks: reads packets, asks [`crate::ipvs`], which decides, and carries out the decisions
//! (net/netfilter/ipvs/ip_vs_core.c, ip_vs_xmit.c, ip_vs_nfct.c).
//!
//! ```text
//!   client ── PREROUTING ── INPUT: ip_vs_in_hook ── ip_vs_nat_xmit ── OUTPUT ── POSTROUTING ── server
//!   process ──────────────  OUTPUT: ip_vs_in_hook ─────┘
//!
//!   server ── PREROUTING ── FORWARD: ip_vs_out_hook ── POSTROUTING ── client
//!                └───────── INPUT:   ip_vs_out_hook ── process
//! ```
//!
//! A packet for a virtual service is never forwarded: it is delivered to this netns, which sends it on.

mod conntrack;
mod icmp;
mod input;
mod output;
mod route;
mod tunnel;
mod xmit;

pub(crate) use conntrack::drop_ended;
pub(super) use icmp::ip_vs_forward_icmp;
pub(super) use input::ip_vs_in_hook;
pub(super) use output::ip_vs_out_hook;

use super::defrag;
use crate::context::Context;
use crate::ct::PacketCt;
use crate::defrag::DefragUser;
use crate::hook::{Hook, HookState};
use crate::ids::DeviceId;
use crate::ipvs::{SctpEvent, Segment, Transport};
use crate::netns::Netns;
use crate::packet::Packet;
use crate::wire::{Headers, L4, be16, protocol};
use std::net::SocketAddr;

/// Length of the common header of SCTP (RFC 9260 §3.1), and of a chunk header.
const SCTP_HEADER_LEN: usize = 12;
const CHUNK_HEADER_LEN: usize = 4;

/// Ends the connections whose time has come, with their conntrack entries.
#[inline]
pub(crate) fn expire(ns: &mut Netns, cx: &mut Context) {
    if ns.ipvs.is_due(cx.now) {
        let clock = ns.clock(cx.now);
        ns.ipvs.expire(clock);
        drop_ended(ns, cx);
    }
}

/// What IPVS reads of a packet; `None` for protocols that it does not handle, and headers that are cut.
fn segment(ns: &Netns, state: HookState, packet: &Packet) -> Option<Segment> {
    let headers = packet.headers()?;
    let transport = transport(&headers, packet.ipv4().payload())?;
    let (src_port, dst_port) = headers.l4.ports()?;
    let has_confirmed_entry = match packet.meta.ct {
        PacketCt::Entry { id, .. } => ns.conntrack.entry(id).is_some_and(|entry| entry.is_confirmed()),
        PacketCt::None | PacketCt::Untracked => false,
    };
    Some(Segment {
        src: SocketAddr::new(headers.src, src_port),
        dst: SocketAddr::new(headers.dst, dst_port),
        transport,
        mark: packet.meta.mark,
        is_local: is_local(state),
        has_confirmed_entry,
    })
}

/// True for packets of this netns, and those on the loopback device.
fn is_local(state: HookState) -> bool {
    state.in_dev.is_none_or(|device| device == DeviceId::LOOPBACK)
}

fn transport(headers: &Headers, l4: &[u8]) -> Option<Transport> {
    match headers.l4 {
        L4::Tcp { flags, .. } => Some(Transport::Tcp(flags)),
        L4::Udp { .. } => Some(Transport::Udp),
        L4::Sctp { .. } => sctp_event(l4).map(Transport::Sctp),
        L4::Icmp { .. } | L4::Other | L4::Fragment | L4::Truncated => None,
    }
}

/// The event of the first two chunks.
fn sctp_event(l4: &[u8]) -> Option<SctpEvent> {
    let first = l4.get(SCTP_HEADER_LEN..).filter(|chunk| chunk.len() >= CHUNK_HEADER_LEN)?;
    let padded = usize::from(be16(first, 2)).next_multiple_of(4);
    let second = first.get(padded..).and_then(|chunk| chunk.first().copied());
    Some(SctpEvent::of(first[0], second))
}

/// A complete packet of a protocol that IPVS handles (`ip_vs_gather_frags`). Fragments of others pass as they are.
fn whole(ns: &mut Netns, cx: &mut Context, state: HookState, packet: Packet) -> Option<Packet> {
    match packet.ipv4().protocol() {
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::ICMP => {}
        _ => return Some(packet),
    }
    // Linux: ip_vs_defrag_user. Packets at INPUT are complete.
    let user = match state.hook {
        Hook::Forward => DefragUser::IpvsForward,
        Hook::Prerouting | Hook::Input | Hook::Output | Hook::Postrouting => DefragUser::IpvsOut,
    };
    defrag::whole(ns, cx, user, packet)
}
