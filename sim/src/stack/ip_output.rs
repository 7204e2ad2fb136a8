//! Transmitted IP packets (net/ipv4/ip_output.c).

use super::hooks::{Stopped, nf_hook};
use super::{carry_out, dev, fragment};
use crate::context::Context;
use crate::draws::Purpose;
use crate::drop_reason::DropReason;
use crate::fib::{OutputKey, Routing, is_member, route_me_harder, route_output};
use crate::hook::{Family, Hook, HookState};
use crate::ids::DeviceId;
use crate::neigh::Resolution;
use crate::netns::Netns;
use crate::packet::Packet;
use crate::route::{RouteKind, RouteResult};
use crate::trace::{Event, RouteEvent};
use crate::wire::{EtherType, Ethernet, MacAddr};
use std::net::{IpAddr, Ipv4Addr};

/// Route lookup for a local sender (`ip_route_output_key`).
pub(crate) fn ip_route_output(
    ns: &Netns,
    cx: &mut Context,
    src: Option<Ipv4Addr>,
    dst: Ipv4Addr,
) -> Result<RouteResult, DropReason> {
    let key = OutputKey { src, ..OutputKey::to(dst) };
    let result = route_output(&ns.fib, &ns.devices, &ns.sysctls, &key);
    cx.record(None, || Event::Route(RouteEvent::Output { dst: dst.into(), result }));
    result
}

/// Route lookup of connect(2): once without a source, and again from the source that this chose, which may not be a local
/// address, or have a policy rule of its own (`ip_route_connect`, include/net/route.h).
pub(crate) fn ip_route_connect(
    ns: &Netns,
    cx: &mut Context,
    dst: Ipv4Addr,
) -> Result<RouteResult, DropReason> {
    let route = ip_route_output(ns, cx, None, dst)?;
    let IpAddr::V4(src) = route.source else { return Ok(route) };
    let again = route_output(&ns.fib, &ns.devices, &ns.sysctls, &OutputKey::to(dst).from(src));
    if again != Ok(route) {
        cx.record(None, || Event::Route(RouteEvent::Output { dst: dst.into(), result: again }));
    }
    again
}

/// An IP ID for a packet that may be fragmented (`__ip_select_ident`, net/ipv4/route.c). The kernel counts from a
/// secret start per addresses and protocol; here each is drawn.
pub(crate) fn ip_select_ident(cx: &mut Context) -> u16 {
    (cx.draws.u32(cx.netns, Purpose::IpId) & 0xffff) as u16
}

/// Sends a routed packet of this netns (`ip_local_out`).
pub(crate) fn ip_local_out(ns: &mut Netns, cx: &mut Context, packet: Packet) -> Result<(), Stopped> {
    let Some(route) = packet.meta.route else { unreachable!("senders route first") };
    let state =
        HookState { family: Family::Ipv4, hook: Hook::Output, in_dev: None, out_dev: Some(route.device) };
    let packet = nf_hook(ns, cx, state, packet)?;
    ip_output(ns, cx, packet);
    Ok(())
}

/// Passes a packet through POSTROUTING to the neighbour (`ip_output`).
pub(crate) fn ip_output(ns: &mut Netns, cx: &mut Context, packet: Packet) {
    let Some(route) = packet.meta.route else { unreachable!("the packet is routed") };
    if is_for_own_netns(route, &packet) {
        ip_mc_loop(ns, cx, route.device, &packet);
    }
    if let Ok(packet) = postrouting(ns, cx, route.device, packet) {
        ip_finish_output(ns, cx, packet);
    }
}

/// True for a broadcast, and for a multicast to a group of which the device is a member: their routes have `RTCF_LOCAL`
/// (`__mkroute_output`, net/ipv4/route.c). No application here clears `IP_MULTICAST_LOOP`.
fn is_for_own_netns(route: RouteResult, packet: &Packet) -> bool {
    let is_receiver = match route.kind {
        RouteKind::Broadcast => true,
        RouteKind::Multicast => is_member(packet.ipv4().dst()),
        RouteKind::Local
        | RouteKind::Unicast
        | RouteKind::Unreachable
        | RouteKind::Prohibit
        | RouteKind::Blackhole => false,
    };
    is_receiver && route.device != DeviceId::LOOPBACK
}

/// Returns a copy to this netns (`ip_mc_output`).
fn ip_mc_loop(ns: &mut Netns, cx: &mut Context, device: DeviceId, packet: &Packet) {
    let copy = cx.trace.fork(cx.now, cx.netns, packet);
    ns.conntrack.hold(&copy);
    if let Ok(copy) = postrouting(ns, cx, device, copy) {
        dev::dev_loopback_xmit(ns, cx, device, copy);
    }
}

fn postrouting(
    ns: &mut Netns,
    cx: &mut Context,
    device: DeviceId,
    packet: Packet,
) -> Result<Packet, Stopped> {
    let state =
        HookState { family: Family::Ipv4, hook: Hook::Postrouting, in_dev: None, out_dev: Some(device) };
    nf_hook(ns, cx, state, packet)
}

/// Fragments packets that exceed the MTU, or that were reassembled (`ip_finish_output`).
fn ip_finish_output(ns: &mut Netns, cx: &mut Context, packet: Packet) {
    let Some(route) = packet.meta.route else { unreachable!("the packet is routed") };
    let device_mtu = ns.devices.get(route.device).mtu;
    // Only a received packet can be one that is forwarded (`IPSKB_FORWARDED`).
    let is_own = packet.meta.in_dev.is_none();
    let mtu = if is_own { route.mtu(device_mtu) } else { route.forward_mtu(device_mtu) };
    if packet.ipv4().total_len() <= mtu && packet.meta.defragmented.is_none() {
        return ip_finish_output2(ns, cx, packet);
    }
    for part in fragment::ip_fragment(ns, cx, packet, mtu) {
        ip_finish_output2(ns, cx, part);
    }
}

/// Determines the next hop (`ip_finish_output2`).
fn ip_finish_output2(ns: &mut Netns, cx: &mut Context, packet: Packet) {
    let Some(route) = packet.meta.route else { unreachable!("only routed packets get here") };
    let next_hop = route.next_hop(packet.ipv4().dst().into());
    if route.device == DeviceId::LOOPBACK {
        return transmit(ns, cx, route.device, MacAddr::ZERO, packet);
    }
    if route.kind == RouteKind::Broadcast {
        return transmit(ns, cx, route.device, MacAddr::BROADCAST, packet);
    }
    // Linux: sock_confirm_neigh, include/net/sock.h.
    if packet.meta.confirms_neighbour {
        ns.neigh.confirm(cx.now, &ns.sysctls, route.device, next_hop);
    }
    neigh_output(ns, cx, route.device, next_hop, packet);
}

/// Sends to a neighbour, or queues the packet until its MAC is resolved (`neigh_output`, include/net/neighbour.h).
pub(crate) fn neigh_output(
    ns: &mut Netns,
    cx: &mut Context,
    device: DeviceId,
    next_hop: IpAddr,
    packet: Packet,
) {
    let effects_before = cx.effects.len();
    let routing = Routing { devices: &ns.devices, fib: &ns.fib, sysctls: &ns.sysctls };
    match ns.neigh.resolve(cx, routing, device, next_hop, packet) {
        Resolution::Resolved(mac, packet) => transmit(ns, cx, device, mac, packet),
        Resolution::Queued | Resolution::Dropped => {
            carry_out(ns, cx, effects_before);
        }
    }
}

/// The timer of a neighbour expired.
pub(crate) fn neigh_timer(ns: &mut Netns, cx: &mut Context, device: DeviceId, addr: IpAddr) {
    let effects_before = cx.effects.len();
    let routing = Routing { devices: &ns.devices, fib: &ns.fib, sysctls: &ns.sysctls };
    let has_failed = ns.neigh.on_timer(cx, routing, device, addr);
    carry_out(ns, cx, effects_before);
    let mut is_reporting = has_failed;
    while is_reporting {
        let effects_before = cx.effects.len();
        is_reporting = ns.neigh.neigh_invalidate(cx, device, addr);
        carry_out(ns, cx, effects_before);
    }
}

/// Writes the Ethernet header and sends.
fn transmit(ns: &mut Netns, cx: &mut Context, device: DeviceId, mac: MacAddr, mut packet: Packet) {
    let own = ns.devices.get(device).mac;
    if let Some(mut ethernet) = Ethernet::new_checked(&mut packet.bytes[..]) {
        ethernet.set(mac, own, EtherType::Ipv4);
    }
    dev::dev_queue_xmit(ns, cx, device, packet);
}

/// Reroutes a packet of this netns after a rule changed it, with its current source address (`ip_route_me_harder`,
/// net/ipv4/netfilter.c).
pub(crate) fn ip_route_me_harder(
    ns: &mut Netns,
    cx: &mut Context,
    packet: &mut Packet,
) -> Result<(), DropReason> {
    let (src, dst) = (packet.ipv4().src(), packet.ipv4().dst());
    let key = OutputKey { src: Some(src), mark: packet.meta.mark, ..OutputKey::to(dst) };
    let result = route_me_harder(&ns.fib, &ns.devices, &ns.sysctls, &key);
    cx.record(Some(packet.id), || Event::Route(RouteEvent::Output { dst: dst.into(), result }));
    packet.meta.route = Some(result?);
    Ok(())
}
