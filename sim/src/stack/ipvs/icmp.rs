//! ICMP errors about connections: destination unreachable, source quench and time exceeded. Other types, such as redirects,
//! pass untranslated.

use super::super::hooks::Handled;
use super::super::kfree_skb;
use super::input::{reason_of, record};
use super::output::ip_vs_route_me_harder;
use super::route::{Mode, OutRoute, ip_vs_get_out_rt};
use super::{conntrack, is_local, whole, xmit};
use crate::context::Context;
use crate::drop_reason::DropReason;
use crate::hook::{Hook, HookState};
use crate::ipvs::{FlowKey, Forward, Forwarding, Protocol, SctpEvent, Segment, Transport};
use crate::netns::Netns;
use crate::packet::Packet;
use crate::trace::{Event, IpvsEvent};
use crate::tuple::Tuple;
use crate::wire::icmpv4::icmp_type;
use crate::wire::rewrite::{self, Side};
use crate::wire::{Icmpv4, TcpFlags, protocol};
use std::net::{IpAddr, SocketAddr};

/// At FORWARD: an error from the client's side that this netns routes to a server, because the virtual address is not local
/// (`ip_vs_forward_icmp`, net/netfilter/ipvs/ip_vs_core.c).
pub(in crate::stack) fn ip_vs_forward_icmp(
    ns: &mut Netns,
    cx: &mut Context,
    state: HookState,
    packet: Packet,
) -> Handled {
    if packet.ipv4().protocol() != protocol::ICMP {
        return Handled::Next(packet);
    }
    let Some(packet) = whole(ns, cx, state, packet) else { return Handled::Stolen };
    ip_vs_in_icmp(ns, cx, state, packet)
}

/// An error about a packet to a client: it goes to the server that sent the packet (`ip_vs_in_icmp`,
/// net/netfilter/ipvs/ip_vs_core.c).
pub(super) fn ip_vs_in_icmp(ns: &mut Netns, cx: &mut Context, state: HookState, packet: Packet) -> Handled {
    let Some(quote) = quoted(&packet) else { return Handled::Next(packet) };
    // The quote has source and destination in reverse order.
    let about = Segment {
        src: quote.dst,
        dst: quote.src,
        transport: opening(quote.protocol),
        mark: packet.meta.mark,
        is_local: is_local(state),
        has_confirmed_entry: false,
    };
    let clock = ns.clock(cx.now);
    let found = ns.ipvs.input_error(clock, cx.draws, cx.netns, &about);
    conntrack::drop_ended(ns, cx);
    let forwarding = match found {
        Ok(Some(forwarding)) => forwarding,
        Ok(None) => return Handled::Next(packet),
        // Linux: ip_vs_leave. No error is sent about an error.
        Err(refusal) => match reason_of(refusal) {
            Some(reason) => return Handled::Dropped(packet, reason),
            None => return Handled::Next(packet),
        },
    };
    record(ns, cx, &packet, &forwarding);
    match forwarding.forward {
        Forward::Masquerade if !is_checksum_valid(&packet) => {
            Handled::Dropped(packet, DropReason::IcmpChecksum)
        }
        Forward::Masquerade => ip_vs_icmp_xmit(ns, cx, state, packet, &forwarding),
        Forward::Route | Forward::Tunnel => xmit::packet_xmit(ns, cx, state, packet, &forwarding),
    }
}

/// Translates the destination of an error, and the source of its quote (`ip_vs_icmp_xmit`, net/netfilter/ipvs/ip_vs_xmit.c).
fn ip_vs_icmp_xmit(
    ns: &mut Netns,
    cx: &mut Context,
    state: HookState,
    packet: Packet,
    forwarding: &Forwarding,
) -> Handled {
    let IpAddr::V4(server) = forwarding.server.ip() else { return Handled::Next(packet) };
    let is_local_permitted = state.hook != Hook::Forward;
    let mode = Mode {
        may_be_local: is_local_permitted,
        may_redirect: is_local_permitted,
        is_error: true,
        ..Mode::SEGMENT
    };
    let Some(route) = ip_vs_get_out_rt(ns, cx, packet, server, mode) else { return Handled::Stolen };
    let (mut packet, is_local) = match route {
        OutRoute::Remote(packet) => (packet, false),
        OutRoute::Local(packet) => (packet, true),
    };
    if is_local && xmit::is_stopped_at_loopback(state, server) {
        kfree_skb(ns, cx, packet, DropReason::IpvsLocalBoundary);
        return Handled::Stolen;
    }
    ip_vs_nat_icmp(cx, &mut packet, Side::Dst, forwarding.server);
    conntrack::associate(ns, cx, &mut packet, forwarding, Side::Dst);
    xmit::send_or_cont(ns, cx, packet, is_local)
}

/// An error about a packet to a server: it goes to the client, from the virtual address (`ip_vs_out_icmp`,
/// net/netfilter/ipvs/ip_vs_core.c).
pub(super) fn ip_vs_out_icmp(
    ns: &mut Netns,
    cx: &mut Context,
    state: HookState,
    mut packet: Packet,
) -> Handled {
    let Some(quote) = quoted(&packet) else { return Handled::Next(packet) };
    let flow = FlowKey { protocol: Some(quote.protocol), client: quote.src, peer: quote.dst };
    let clock = ns.clock(cx.now);
    let found = ns.ipvs.output_error(clock, cx.draws, cx.netns, &flow);
    conntrack::drop_ended(ns, cx);
    let Some(forwarding) = found else { return Handled::Next(packet) };
    record(ns, cx, &packet, &forwarding);
    // Linux: handle_response_icmp.
    if forwarding.forward == Forward::Masquerade {
        if !is_checksum_valid(&packet) {
            return Handled::Dropped(packet, DropReason::IcmpChecksum);
        }
        ip_vs_nat_icmp(cx, &mut packet, Side::Src, forwarding.flow.peer);
        if let Err(reason) = ip_vs_route_me_harder(ns, cx, state, &mut packet) {
            return Handled::Dropped(packet, reason);
        }
    }
    conntrack::associate(ns, cx, &mut packet, &forwarding, Side::Src);
    Handled::Next(packet)
}

/// The packet that an error quotes.
struct Quoted {
    protocol: Protocol,
    src: SocketAddr,
    dst: SocketAddr,
}

/// The quote of an ICMP error that IPVS translates; `None` for other messages.
fn quoted(packet: &Packet) -> Option<Quoted> {
    /// Source quench (RFC 792); deprecated by RFC 6633.
    const SOURCE_QUENCH: u8 = 4;
    let ip = packet.ipv4();
    let icmp = Icmpv4::new_checked(ip.payload())?;
    match icmp.icmp_type() {
        icmp_type::DEST_UNREACHABLE | SOURCE_QUENCH | icmp_type::TIME_EXCEEDED => {}
        _ => return None,
    }
    let quote = icmp.payload();
    let tuple = Tuple::of_ipv4_quote(quote).filter(|_| quote[0] >> 4 == 4)?;
    let protocol = match tuple.protocol {
        protocol::TCP => Protocol::Tcp,
        protocol::UDP => Protocol::Udp,
        protocol::SCTP => Protocol::Sctp,
        _ => return None,
    };
    let src = SocketAddr::new(tuple.src, tuple.port(Side::Src));
    let dst = SocketAddr::new(tuple.dst, tuple.port(Side::Dst));
    Some(Quoted { protocol, src, dst })
}

fn is_checksum_valid(packet: &Packet) -> bool {
    Icmpv4::new_checked(packet.ipv4().payload()).is_some_and(|icmp| icmp.is_checksum_valid())
}

/// What opens a connection of a protocol.
const fn opening(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Tcp => Transport::Tcp(TcpFlags::SYN),
        Protocol::Udp => Transport::Udp,
        Protocol::Sctp => Transport::Sctp(SctpEvent::Init),
    }
}

/// Rewrites one side of an error, and the opposite side of its quote. The transport checksum of the quote stays as it is.
fn ip_vs_nat_icmp(cx: &mut Context, packet: &mut Packet, side: Side, to: SocketAddr) {
    let header_len = packet.ipv4().header_len();
    let end = usize::from(packet.ipv4().total_len());
    rewrite::set_addr(packet.l3_mut(), side, to.ip());
    rewrite::set_quoted_end(&mut packet.l3_mut()[header_len..end], side.opposite(), to);
    cx.record(Some(packet.id), || Event::Ipvs(IpvsEvent::ErrorTranslated { side, to }));
}
