//! br_netfilter: passes bridged IPv4 frames through the IP hooks, with the bridge as their device
//! (net/bridge/br_netfilter_hooks.c).

use super::br_handle_frame_finish;
use crate::context::Context;
use crate::drop_reason::DropReason;
use crate::fib::{InputKey, Routing};
use crate::hook::{Family, Hook, HookState};
use crate::ids::DeviceId;
use crate::mutation::Mutation;
use crate::netns::Netns;
use crate::packet::{BridgeInfo, Packet, PacketType};
use crate::stack::hooks::nf_hook;
use crate::stack::{fragment, ip_output, kfree_skb};
use crate::trace::{BridgeEvent, Event};
use crate::wire::{EtherType, Ipv4};
use smallvec::{SmallVec, smallvec};
use std::net::IpAddr;

/// Passes a frame received on a port through PREROUTING (`br_nf_pre_routing`). A returned packet continues on the
/// bridge; `None` means that it took another path or ended.
pub(super) fn br_nf_pre_routing(
    ns: &mut Netns,
    cx: &mut Context,
    bridge: DeviceId,
    port: DeviceId,
    mut packet: Packet,
) -> Option<Packet> {
    if !ns.sysctls.bridge_nf_call_iptables()
        || Mutation::BridgeSkipsIptables.is_on()
        || packet.ethernet().ethertype() != EtherType::Ipv4
    {
        return Some(packet);
    }
    if let Err(reason) = br_validate_ipv4(&mut packet) {
        kfree_skb(ns, cx, packet, reason);
        return None;
    }
    packet.meta.bridge = Some(BridgeInfo {
        phys_in: port,
        phys_out: None,
        was_other_host: show_to_ip(&mut packet),
        is_in_prerouting: true,
        original_dst: packet.ipv4().dst().into(),
        src_mac: packet.ethernet().src(),
        is_bridged_dnat: false,
    });
    packet.meta.in_dev = Some(bridge);
    let state =
        HookState { family: Family::Ipv4, hook: Hook::Prerouting, in_dev: Some(bridge), out_dev: None };
    let packet = nf_hook(ns, cx, state, packet).ok()?;
    br_nf_pre_routing_finish(ns, cx, bridge, packet)
}

/// The checks of `br_validate_ipv4`, and the trimming of link-layer padding.
fn br_validate_ipv4(packet: &mut Packet) -> Result<(), DropReason> {
    let ip = Ipv4::new_checked(packet.l3()).ok_or(DropReason::IpHeader)?;
    if !ip.is_checksum_valid() {
        return Err(DropReason::IpHeader);
    }
    let len = packet.bytes.len() - packet.l3().len() + usize::from(ip.total_len());
    packet.bytes.truncate(len);
    packet.meta.defragmented = None;
    Ok(())
}

/// Clears the packet type, because IP would drop a frame for another host. Returns the argument of [`restore_type`].
fn show_to_ip(packet: &mut Packet) -> bool {
    let was_other_host = packet.meta.packet_type == PacketType::OtherHost;
    if was_other_host {
        packet.meta.packet_type = PacketType::Host;
    }
    was_other_host
}

fn restore_type(packet: &mut Packet) {
    if let Some(info) = &mut packet.meta.bridge
        && std::mem::take(&mut info.was_other_host)
    {
        packet.meta.packet_type = PacketType::OtherHost;
    }
}

/// If DNAT (or reverse SNAT) changed the destination, routes the packet: if it stays on the same bridge, it is bridged
/// with a new MAC, otherwise it is passed up to IP (`br_nf_pre_routing_finish`).
fn br_nf_pre_routing_finish(
    ns: &mut Netns,
    cx: &mut Context,
    bridge: DeviceId,
    mut packet: Packet,
) -> Option<Packet> {
    restore_type(&mut packet);
    let Some(info) = &mut packet.meta.bridge else { unreachable!("set before the hook") };
    info.is_in_prerouting = false;
    let (port, original_dst) = (info.phys_in, info.original_dst);
    let (src, dst) = (packet.ipv4().src(), packet.ipv4().dst());
    if IpAddr::V4(dst) == original_dst {
        packet.meta.in_dev = Some(port);
        return Some(packet);
    }
    let key = InputKey { in_dev: bridge, src, dst, tos: packet.ipv4().tos(), mark: packet.meta.mark };
    let routing = Routing { devices: &ns.devices, fib: &ns.fib, sysctls: &ns.sysctls };
    match ns.input_routes.route_input(routing, &key) {
        // The route leads through the bridge itself: the packet stays on it. This counts as forwarding, because with
        // forwarding off ip_route_input returns the loopback's error route.
        Ok(route)
            if route.device == bridge
                && ns.sysctls.forwarding(bridge)
                && !Mutation::BridgedDnatPassedUp.is_on() =>
        {
            packet.meta.in_dev = Some(port);
            packet.meta.route = Some(route);
            br_nf_pre_routing_finish_bridge(ns, cx, bridge, route.next_hop(dst.into()), packet);
            None
        }
        // Passed up to IP with this route. Without a route, or with forwarding off, the route is one to ip_error: IP
        // finds this again, and sends an ICMP error if permitted.
        Ok(_) | Err(DropReason::IpNoRouteIn | DropReason::ForwardingOff) => {
            packet.set_dst_mac(ns.devices.get(bridge).mac);
            packet.meta.packet_type = PacketType::Host;
            packet.meta.in_dev = Some(port);
            Some(packet)
        }
        Err(martian) => {
            kfree_skb(ns, cx, packet, martian);
            None
        }
    }
}

/// Resolves the MAC of the new destination and continues bridging (`br_nf_pre_routing_finish_bridge`). If the neighbour
/// must be resolved or confirmed, the packet is sent through the bridge device, where a capture sees it, and
/// [`br_nf_pre_routing_finish_bridge_slow`] intercepts it there.
fn br_nf_pre_routing_finish_bridge(
    ns: &mut Netns,
    cx: &mut Context,
    bridge: DeviceId,
    next_hop: IpAddr,
    mut packet: Packet,
) {
    cx.record(Some(packet.id), || Event::Bridge(BridgeEvent::DnatBridged));
    let Some(info) = &mut packet.meta.bridge else { unreachable!("the packet is bridged") };
    if let Some(mac) = ns.neigh.connected(cx.now, &ns.sysctls, bridge, next_hop) {
        let port = info.phys_in;
        packet.set_dst_mac(mac);
        return br_handle_frame_finish(ns, cx, bridge, port, packet);
    }
    info.is_bridged_dnat = true;
    ip_output::neigh_output(ns, cx, bridge, next_hop, packet);
}

/// Bridges a packet after DNAT once its neighbour is resolved: sets the destination MAC and restores the sender's
/// source MAC (`br_nf_pre_routing_finish_bridge_slow`).
pub(super) fn br_nf_pre_routing_finish_bridge_slow(
    ns: &mut Netns,
    cx: &mut Context,
    bridge: DeviceId,
    mut packet: Packet,
) {
    let Some(info) = &mut packet.meta.bridge else { unreachable!("the packet is bridged") };
    info.is_bridged_dnat = false;
    info.phys_out = None;
    let (port, src_mac) = (info.phys_in, info.src_mac);
    if !Mutation::BridgedDnatTakesOwnMac.is_on() {
        packet.set_src_mac(src_mac);
    }
    br_handle_frame_finish(ns, cx, bridge, port, packet);
}

/// Passes a frame bridged from port to port through FORWARD (`br_nf_forward_ip`).
pub(super) fn br_nf_forward_ip(
    ns: &mut Netns,
    cx: &mut Context,
    bridge: DeviceId,
    from: DeviceId,
    to: DeviceId,
    mut packet: Packet,
) -> Option<Packet> {
    if packet.meta.bridge.is_none() || packet.ethernet().ethertype() != EtherType::Ipv4 {
        return Some(packet);
    }
    let was_other_host = show_to_ip(&mut packet);
    if let Some(info) = &mut packet.meta.bridge {
        info.was_other_host |= was_other_host;
        info.phys_in = from;
        info.phys_out = Some(to);
    }
    let state =
        HookState { family: Family::Ipv4, hook: Hook::Forward, in_dev: Some(bridge), out_dev: Some(bridge) };
    let mut packet = nf_hook(ns, cx, state, packet).ok()?;
    restore_type(&mut packet);
    Some(packet)
}

/// Passes a bridged frame through POSTROUTING (`br_nf_post_routing`). A routed packet that leaves through a bridge has
/// traversed it already: it has no physical output device. A returned packet leaves by port `to`.
pub(super) fn br_nf_post_routing(
    ns: &mut Netns,
    cx: &mut Context,
    bridge: DeviceId,
    to: DeviceId,
    mut packet: Packet,
) -> SmallVec<[Packet; 1]> {
    if packet.meta.bridge.is_none_or(|info| info.phys_out.is_none())
        || packet.ethernet().ethertype() != EtherType::Ipv4
    {
        return smallvec![packet];
    }
    show_to_ip(&mut packet);
    let state =
        HookState { family: Family::Ipv4, hook: Hook::Postrouting, in_dev: None, out_dev: Some(bridge) };
    let Ok(mut packet) = nf_hook(ns, cx, state, packet) else { return SmallVec::new() };
    packet.meta.bridge = None;
    br_nf_dev_queue_xmit(ns, cx, bridge, to, packet)
}

/// Restores the fragments of a reassembled packet, and fragments a packet that exceeds the port's MTU
/// (`br_nf_dev_queue_xmit`).
fn br_nf_dev_queue_xmit(
    ns: &mut Netns,
    cx: &mut Context,
    bridge: DeviceId,
    to: DeviceId,
    packet: Packet,
) -> SmallVec<[Packet; 1]> {
    let mtu = ns.devices.get(to).mtu;
    let room = packet.meta.defragmented.as_ref().map_or(mtu, |fragments| fragments.max_size.min(mtu));
    if packet.ipv4().total_len() <= room {
        return smallvec![packet];
    }
    let bridge_mtu = ns.devices.get(bridge).mtu;
    SmallVec::from_vec(fragment::br_nf_ip_fragment(ns, cx, packet, bridge_mtu))
}
