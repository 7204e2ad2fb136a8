//! The route to a real server (`__ip_vs_get_out_rt`, net/netfilter/ipvs/ip_vs_xmit.c).

use super::super::{icmp, ip_output, kfree_skb};
use crate::context::Context;
use crate::drop_reason::DropReason;
use crate::netns::Netns;
use crate::packet::Packet;
use crate::route::{RouteKind, RouteResult};
use crate::wire::icmpv4::{icmp_type, unreachable_code};
use std::net::Ipv4Addr;

/// What a transmitter accepts (`IP_VS_RT_MODE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mode {
    /// The server may be this netns.
    pub(super) may_be_local: bool,
    /// This netns may be the server for packets that were addressed to another host.
    pub(super) may_redirect: bool,
    /// The packet quotes one of the connection: it is fragmented, even with DF.
    pub(super) is_error: bool,
    /// Bytes that the transmitter adds to the packet.
    pub(super) overhead: u16,
    /// A packet with DF is not sent if it is too large.
    pub(super) obeys_dont_fragment: bool,
}

impl Mode {
    /// A packet of a connection, translated or not.
    pub(super) const SEGMENT: Self = Self {
        may_be_local: true,
        may_redirect: false,
        is_error: false,
        overhead: 0,
        obeys_dont_fragment: true,
    };
}

/// The way of a packet.
#[derive(Debug)]
pub(super) enum OutRoute {
    /// To another host, by the route that the packet has now.
    Remote(Packet),
    /// The server is this netns; the packet keeps its route.
    Local(Packet),
}

/// The least that a link carries, in bytes of IP (RFC 791 §3.2).
const MTU_MIN: u16 = 68;

/// Routes a packet to a server. The route depends on nothing but the server's address, and is independent of the packet's
/// source. The packet ends here if there is no route, its TTL expires or it is too large; its sender receives an ICMP error.
pub(super) fn ip_vs_get_out_rt(
    ns: &mut Netns,
    cx: &mut Context,
    mut packet: Packet,
    server: Ipv4Addr,
    mode: Mode,
) -> Option<OutRoute> {
    let Ok(route) = ip_output::ip_route_output(ns, cx, None, server) else {
        // Linux: ipv4_link_failure, net/ipv4/route.c.
        reject(ns, cx, packet, Error::unreachable(unreachable_code::HOST, 0), DropReason::IpNoRouteOut);
        return None;
    };
    let is_local = route.kind == RouteKind::Local;
    if crosses_local_route_boundary(&packet, mode, is_local) {
        kfree_skb(ns, cx, packet, DropReason::IpvsLocalBoundary);
        return None;
    }
    if is_local {
        return Some(OutRoute::Local(packet));
    }
    if packet.ipv4().ttl() <= 1 {
        reject(ns, cx, packet, Error::TIME_EXCEEDED, DropReason::TtlExpired);
        return None;
    }
    packet.ipv4_mut().decrement_ttl();
    let mtu = mtu(ns, &route).saturating_sub(mode.overhead);
    if mode.overhead > 0 && mtu < MTU_MIN {
        kfree_skb(ns, cx, packet, DropReason::PacketTooBig);
        return None;
    }
    let ip = packet.ipv4();
    if mode.obeys_dont_fragment && !mode.is_error && ip.dont_fragment() && ip.total_len() > mtu {
        let error = Error::unreachable(unreachable_code::FRAGMENTATION_NEEDED, u32::from(mtu));
        reject(ns, cx, packet, error, DropReason::PacketTooBig);
        return None;
    }
    packet.meta.route = Some(route);
    Some(OutRoute::Remote(packet))
}

fn mtu(ns: &Netns, route: &RouteResult) -> u16 {
    route.mtu(ns.devices.get(route.device).mtu)
}

/// True if the packet must not be sent to this netns, or from it.
fn crosses_local_route_boundary(packet: &Packet, mode: Mode, is_local: bool) -> bool {
    let was_local = packet.meta.route.is_some_and(|route| route.kind == RouteKind::Local);
    if is_local {
        !mode.may_be_local || (!mode.may_redirect && !was_local)
    } else {
        packet.ipv4().src().is_loopback()
    }
}

/// An ICMP error.
#[derive(Clone, Copy)]
struct Error {
    icmp_type: u8,
    code: u8,
    info: u32,
}

impl Error {
    const TIME_EXCEEDED: Self = Self { icmp_type: icmp_type::TIME_EXCEEDED, code: 0, info: 0 };

    const fn unreachable(code: u8, info: u32) -> Self {
        Self { icmp_type: icmp_type::DEST_UNREACHABLE, code, info }
    }
}

/// Ends a packet and sends an ICMP error about it, as it is now.
fn reject(ns: &mut Netns, cx: &mut Context, packet: Packet, error: Error, reason: DropReason) {
    let Error { icmp_type, code, info } = error;
    icmp::icmp_send(ns, cx, &icmp::About::packet(&packet), icmp_type, code, info);
    kfree_skb(ns, cx, packet, reason);
}
