//! Between IP and sockets: local delivery, and effects requested by sockets.

use super::hooks::Stopped;
use super::{end_packet, icmp, ip_output, kfree_skb};
use crate::context::{Context, Effect};
use crate::drop_reason::DropReason;
use crate::fib::Routing;
use crate::netns::{Netns, Tap, TapPlace};
use crate::packet::{Origin, Packet};
use crate::route::{RouteKind, RouteResult};
use crate::socket::{Delivery, SendError, SocketIo, SocketOut, Sockets};
use crate::trace::{Event, RouteEvent, Terminal};
use crate::wire::build::{self, Ipv4Fields};
use crate::wire::icmpv4::{icmp_type, unreachable_code};
use crate::wire::{ETHERNET_HEADER_LEN, protocol};
use std::net::IpAddr;

/// Default of `IP_MULTICAST_TTL`, in hops.
const MULTICAST_TTL: u8 = 1;

/// Delivers a packet to its protocol (`ip_protocol_deliver_rcu`, net/ipv4/ip_input.c).
pub(crate) fn ip_protocol_deliver(ns: &mut Netns, cx: &mut Context, packet: Packet) {
    Tap::copy(&mut ns.tap, TapPlace::LocalDelivery, &packet.bytes);
    match packet.ipv4().protocol() {
        protocol::ICMP => icmp::icmp_rcv(ns, cx, packet),
        protocol::TCP => tcp_v4_rcv(ns, cx, packet),
        protocol::UDP => udp_rcv(ns, cx, packet),
        _ => {
            unreachable_to_sender(ns, cx, &packet, unreachable_code::PROTOCOL);
            kfree_skb(ns, cx, packet, DropReason::ProtocolUnknown);
        }
    }
}

fn tcp_v4_rcv(ns: &mut Netns, cx: &mut Context, packet: Packet) {
    let delivery = deliver_to_sockets(ns, cx, &packet, Sockets::tcp_v4_rcv);
    end_delivered(ns, cx, packet, delivery);
}

/// A datagram without a socket is answered with port unreachable, unless it was broadcast (`__udp4_lib_rcv`).
fn udp_rcv(ns: &mut Netns, cx: &mut Context, packet: Packet) {
    let delivery = deliver_to_sockets(ns, cx, &packet, Sockets::udp_rcv);
    if delivery == Delivery::NoSocket {
        unreachable_to_sender(ns, cx, &packet, unreachable_code::PORT);
    }
    end_delivered(ns, cx, packet, delivery);
}

fn unreachable_to_sender(ns: &mut Netns, cx: &mut Context, packet: &Packet, code: u8) {
    let is_unicast = packet.meta.route.is_some_and(|route| route.kind == RouteKind::Local);
    if is_unicast {
        icmp::icmp_send(ns, cx, &icmp::About::packet(packet), icmp_type::DEST_UNREACHABLE, code, 0);
    }
}

/// Ends a packet according to its delivery. A rejected packet, whose sender gets a reply, is distinguished from a
/// dropped one.
pub(crate) fn end_delivered(ns: &mut Netns, cx: &mut Context, packet: Packet, delivery: Delivery) {
    let terminal = match delivery {
        Delivery::Delivered(socket) => Terminal::Delivered { socket },
        Delivery::Dropped(reason) => Terminal::Dropped(reason),
        Delivery::NoSocket => Terminal::Rejected(DropReason::NoSocket),
    };
    end_packet(ns, cx, packet, terminal);
}

/// Passes a packet to the sockets and carries out their effects.
pub(crate) fn deliver_to_sockets(
    ns: &mut Netns,
    cx: &mut Context,
    packet: &Packet,
    deliver: impl FnOnce(&mut Sockets, &mut SocketIo, &Packet) -> Delivery,
) -> Delivery {
    with_sockets(ns, cx, |sockets, io| deliver(sockets, io, packet))
}

/// Calls the sockets, then carries out the effects they request, in order.
pub(crate) fn with_sockets<R>(
    ns: &mut Netns,
    cx: &mut Context,
    act: impl FnOnce(&mut Sockets, &mut SocketIo) -> R,
) -> R {
    let mut out = std::mem::take(&mut ns.socket_out);
    let settings = ns.socket_settings();
    let routing = Routing { devices: &ns.devices, fib: &ns.fib, sysctls: &ns.sysctls };
    let result = act(&mut ns.sockets, &mut SocketIo { cx, out: &mut out, settings, routing });
    carry_out_sockets(ns, cx, out);
    result
}

/// Carries out the effects of sockets, and keeps the memory of the list.
fn carry_out_sockets(ns: &mut Netns, cx: &mut Context, mut out: Vec<SocketOut>) {
    for effect in out.drain(..) {
        match effect {
            SocketOut::Send { .. } => send(ns, cx, effect),
            SocketOut::Timer { at, timer } => cx.effects.push(Effect::SocketTimer { at, timer }),
        }
    }
    ns.socket_out = out;
}

/// Builds the IP header and sends (`ip_queue_xmit`, `ip_make_skb`, net/ipv4/ip_output.c). There is no IPv6 stack: its
/// addresses are unreachable.
// Inlined, so that the effect is read where it is in the list.
#[inline]
fn send(ns: &mut Netns, cx: &mut Context, effect: SocketOut) {
    let SocketOut::Send {
        src,
        dst,
        route,
        protocol,
        mut buffer,
        tos,
        dont_fragment,
        ident,
        socket,
        owner,
        flow,
        cause,
        confirms_neighbour,
    } = effect
    else {
        unreachable!("not a packet")
    };
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (src, dst) else {
        return fail(ns, cx, socket, SendError::NetworkUnreachable);
    };
    let (is_connected, is_anonymous) = (route.is_some(), route.is_none() && src.is_unspecified());
    let result = match route {
        Some(route) => {
            cx.record(None, || Event::Route(RouteEvent::Output { dst: dst.into(), result: Ok(route) }));
            Ok(route)
        }
        None => ip_output::ip_route_output(ns, cx, Some(src).filter(|_| !is_anonymous), dst),
    };
    let route = match result {
        Ok(route) => route,
        Err(reason) => return fail(ns, cx, socket, send_error(reason)),
    };
    // Linux: udp_sendmsg. No server here sets SO_BROADCAST, and a client that does is connected.
    if protocol == protocol::UDP && !is_connected && route.kind == RouteKind::Broadcast {
        return fail(ns, cx, socket, SendError::NotPermitted);
    }
    // Linux: ip_send_unicast_reply routes a RST for 0.0.0.0, to which a raw packet was sent, from any address. The checksum still
    // has 0.0.0.0.
    let src = if is_anonymous { route.ipv4_source() } else { src };
    let ttl = ip_select_ttl(ns, &route);
    let ident = ident.unwrap_or_else(|| ip_output::ip_select_ident(cx));
    // Linux: __ip_make_skb, net/ipv4/ip_output.c. A datagram that must be fragmented has DF clear; TCP never creates
    // such segments.
    let fits = buffer.len() - ETHERNET_HEADER_LEN <= usize::from(route.mtu(ns.devices.get(route.device).mtu));
    let dont_fragment = dont_fragment && route.permits_df() && (fits || protocol == protocol::TCP);
    let fields = Ipv4Fields { src, dst, protocol, ttl, tos, ident, dont_fragment };
    build::push_ipv4(fields, &mut buffer);
    let mut packet = cx.create(Origin::Socket, cause, flow, buffer);
    packet.meta.route = Some(route);
    packet.meta.confirms_neighbour = confirms_neighbour;
    packet.meta.owner = owner;
    // Linux: ip_sk_ignore_df, include/net/ip.h. A rule in OUTPUT may send it to a device with a smaller MTU.
    packet.meta.ignore_df = protocol != protocol::TCP;
    if let Err(Some(error)) = ip_output::ip_local_out(ns, cx, packet).map_err(output_error) {
        fail(ns, cx, socket, error);
    }
}

/// The TTL of a socket's packet (`__ip_make_skb`, net/ipv4/ip_output.c). No application here sets `IP_TTL` or
/// `IP_MULTICAST_TTL`, whose default is 1 (`inet_create`, net/ipv4/af_inet.c).
fn ip_select_ttl(ns: &Netns, route: &RouteResult) -> u8 {
    match route.kind {
        RouteKind::Multicast => MULTICAST_TTL,
        RouteKind::Unicast
        | RouteKind::Local
        | RouteKind::Broadcast
        | RouteKind::Unreachable
        | RouteKind::Prohibit
        | RouteKind::Blackhole => ns.sysctls.ip_default_ttl(),
    }
}

/// The errno of a failed route lookup for a local sender (`fib_props`, net/ipv4/fib_semantics.c).
pub(crate) fn send_error(reason: DropReason) -> SendError {
    const ERRORS: [(DropReason, SendError); 5] = [
        (DropReason::RouteUnreachable, SendError::HostUnreachable),
        (DropReason::RouteProhibited, SendError::NotPermitted),
        (DropReason::RouteBlackhole, SendError::InvalidRoute),
        (DropReason::IpInvalidSource, SendError::InvalidRoute),
        (DropReason::IpLocalnet, SendError::InvalidRoute),
    ];
    ERRORS
        .iter()
        .find(|(refused, _)| *refused == reason)
        .map_or(SendError::NetworkUnreachable, |(_, error)| *error)
}

/// The errno for the sender of a packet that did not pass OUTPUT. A packet that could not be routed again has that of its
/// route (`NF_DROP_ERR` in `ipt_mangle_out`, net/ipv4/netfilter/iptable_mangle.c, and `nf_nat_ipv4_local_fn`,
/// net/netfilter/nf_nat_proto.c). `None` for one that an entry keeps.
pub(crate) fn output_error(stopped: Stopped) -> Option<SendError> {
    match stopped {
        Stopped::Dropped(
            reason @ (DropReason::IpNoRouteOut
            | DropReason::RouteUnreachable
            | DropReason::RouteProhibited
            | DropReason::RouteBlackhole),
        ) => Some(send_error(reason)),
        Stopped::Dropped(_) => Some(SendError::NotPermitted),
        Stopped::Stolen => None,
    }
}

fn fail(ns: &mut Netns, cx: &mut Context, socket: Option<crate::ids::SocketId>, error: SendError) {
    if let Some(socket) = socket {
        with_sockets(ns, cx, |sockets, io| sockets.fail(io, socket, error));
    }
}
