//! Transmitters: how packets reach their real server (net/netfilter/ipvs/ip_vs_xmit.c).

use super::super::hooks::{Handled, Stopped};
use super::super::{ip_output, kfree_skb};
use super::conntrack;
use super::route::{Mode, OutRoute, ip_vs_get_out_rt};
use super::tunnel::ip_vs_tunnel_xmit;
use crate::context::Context;
use crate::drop_reason::DropReason;
use crate::hook::{Hook, HookState};
use crate::ids::DeviceId;
use crate::ipvs::{Forward, Forwarding};
use crate::netns::Netns;
use crate::packet::Packet;
use crate::trace::{Event, IpvsEvent};
use crate::wire::rewrite::{self, Side};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Sends a packet by the forwarding method of its server (`cp->packet_xmit`).
pub(super) fn packet_xmit(
    ns: &mut Netns,
    cx: &mut Context,
    state: HookState,
    packet: Packet,
    forwarding: &Forwarding,
) -> Handled {
    // A service and its servers have the same family; the kernel permits otherwise for tunnels only.
    let IpAddr::V4(server) = forwarding.server.ip() else { return Handled::Next(packet) };
    match forwarding.forward {
        Forward::Masquerade => ip_vs_nat_xmit(ns, cx, state, packet, server, forwarding),
        Forward::Route => ip_vs_dr_xmit(ns, cx, packet, server, forwarding),
        Forward::Tunnel => ip_vs_tunnel_xmit(ns, cx, state, packet, server, forwarding),
    }
}

/// Translates the destination and sends the packet on.
fn ip_vs_nat_xmit(
    ns: &mut Netns,
    cx: &mut Context,
    state: HookState,
    packet: Packet,
    server: Ipv4Addr,
    forwarding: &Forwarding,
) -> Handled {
    let mode = Mode { may_redirect: true, ..Mode::SEGMENT };
    let Some(route) = ip_vs_get_out_rt(ns, cx, packet, server, mode) else { return Handled::Stolen };
    let (mut packet, is_local) = match route {
        OutRoute::Remote(packet) => (packet, false),
        OutRoute::Local(packet) => (packet, true),
    };
    if is_local && is_stopped_at_loopback(state, server) {
        kfree_skb(ns, cx, packet, DropReason::IpvsLocalBoundary);
        return Handled::Stolen;
    }
    translate(cx, &mut packet, Side::Dst, forwarding.flow.peer, forwarding.server);
    conntrack::associate(ns, cx, &mut packet, forwarding, Side::Dst);
    send_or_cont(ns, cx, packet, is_local)
}

/// A packet from another host is not sent to a server at 127.0.0.0/8.
pub(super) fn is_stopped_at_loopback(state: HookState, server: Ipv4Addr) -> bool {
    // Linux: rt_is_input_route, include/net/route.h.
    let was_input = state.hook != Hook::Output && state.in_dev != Some(DeviceId::LOOPBACK);
    server.is_loopback() && was_input
}

/// Sends the packet unchanged to the server, which has the virtual address too.
fn ip_vs_dr_xmit(
    ns: &mut Netns,
    cx: &mut Context,
    packet: Packet,
    server: Ipv4Addr,
    forwarding: &Forwarding,
) -> Handled {
    let Some(route) = ip_vs_get_out_rt(ns, cx, packet, server, Mode::SEGMENT) else {
        return Handled::Stolen;
    };
    let (mut packet, is_local) = match route {
        OutRoute::Remote(mut packet) => {
            // Linux: FLOWI_FLAG_KNOWN_NH. The neighbour is the server, not the destination.
            if let Some(route) = &mut packet.meta.route {
                route.gateway = Some(route.next_hop(server.into()));
            }
            (packet, false)
        }
        OutRoute::Local(packet) => (packet, true),
    };
    mark_sent(ns, cx, &mut packet, forwarding);
    send_or_cont(ns, cx, packet, is_local)
}

/// The packet is not translated, and its conntrack entry not altered (`ip_vs_send_or_cont`).
pub(super) fn mark_sent(ns: &mut Netns, cx: &mut Context, packet: &mut Packet, forwarding: &Forwarding) {
    packet.meta.is_ipvs = true;
    if !forwarding.owns_conntrack {
        conntrack::ip_vs_notrack(ns, cx, packet);
    }
}

/// Sends a packet to another host through OUTPUT and POSTROUTING, or lets it continue to this netns
/// (`ip_vs_nat_send_or_cont`, `ip_vs_send_or_cont`).
pub(super) fn send_or_cont(ns: &mut Netns, cx: &mut Context, mut packet: Packet, is_local: bool) -> Handled {
    if is_local {
        return Handled::Next(packet);
    }
    // An error for its sender would quote addresses that the sender does not know.
    packet.meta.ignore_df = true;
    // A packet dropped by OUTPUT is lost; a local sender does not learn of it.
    let _: Result<(), Stopped> = ip_output::ip_local_out(ns, cx, packet);
    Handled::Stolen
}

/// Rewrites address and port of one side.
pub(super) fn translate(cx: &mut Context, packet: &mut Packet, side: Side, from: SocketAddr, to: SocketAddr) {
    let is_done = rewrite::manip_pkt(packet.l3_mut(), side, to.ip(), to.port());
    debug_assert!(is_done, "the ports were read before");
    cx.record(Some(packet.id), || Event::Ipvs(IpvsEvent::Translated { side, from, to }));
}
