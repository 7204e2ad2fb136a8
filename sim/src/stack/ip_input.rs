//! Received IP packets (net/ipv4/ip_input.c).

use super::hooks::nf_hook;
use super::{defrag, end_packet, icmp, ip_forward, kfree_skb, transport};
use crate::arrivals::Seen;
use crate::context::Context;
use crate::defrag::DefragUser;
use crate::drop_reason::DropReason;
use crate::fib::{InputKey, Routing, error_code};
use crate::hook::{Family, Hook, HookState};
use crate::ids::DeviceId;
use crate::mutation::Mutation;
use crate::netns::Netns;
use crate::packet::{Packet, PacketType};
use crate::route::{RouteKind, RouteResult};
use crate::trace::{Event, RouteEvent, Terminal};
use crate::wire::icmpv4::icmp_type;
use crate::wire::{ETHERNET_HEADER_LEN, Ipv4};

/// An IPv4 packet was received (`ip_rcv`).
pub(crate) fn ip_rcv(ns: &mut Netns, cx: &mut Context, device: DeviceId, mut packet: Packet) {
    if let Err(reason) = ip_rcv_core(&mut packet) {
        return kfree_skb(ns, cx, packet, reason);
    }
    packet.meta.lateness = cx.draws.lateness(cx.netns, Seen::Packet(packet.l3()));
    let state =
        HookState { family: Family::Ipv4, hook: Hook::Prerouting, in_dev: Some(device), out_dev: None };
    if let Ok(packet) = nf_hook(ns, cx, state, packet) {
        ip_rcv_finish(ns, cx, device, packet);
    }
}

/// Validates the header and trims link-layer padding (`ip_rcv_core`).
fn ip_rcv_core(packet: &mut Packet) -> Result<(), DropReason> {
    if packet.meta.packet_type == PacketType::OtherHost {
        return Err(DropReason::OtherHost);
    }
    let ip = Ipv4::new_checked(packet.l3()).ok_or(DropReason::IpHeader)?;
    if !ip.is_checksum_valid() {
        return Err(DropReason::IpChecksum);
    }
    let len = ETHERNET_HEADER_LEN + usize::from(ip.total_len());
    packet.bytes.truncate(len);
    packet.meta.defragmented = None;
    Ok(())
}

/// Routes the packet, unless it has a route: the loopback device keeps it, and so does a bridged packet passed up after
/// DNAT (`ip_rcv_finish_core`).
fn ip_rcv_finish(ns: &mut Netns, cx: &mut Context, device: DeviceId, mut packet: Packet) {
    let route = match packet.meta.route {
        Some(route) => route,
        None => match input_route(ns, cx, device, &packet) {
            Ok(route) => route,
            Err(reason) => return ip_error(ns, cx, device, packet, reason),
        },
    };
    packet.meta.route = Some(route);
    match route.kind {
        RouteKind::Local | RouteKind::Broadcast | RouteKind::Multicast => {
            ip_local_deliver(ns, cx, device, packet);
        }
        RouteKind::Unicast => ip_forward::ip_forward(ns, cx, device, packet),
        RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Blackhole => {
            unreachable!("routing returns these as errors")
        }
    }
}

fn input_route(
    ns: &mut Netns,
    cx: &mut Context,
    device: DeviceId,
    packet: &Packet,
) -> Result<RouteResult, DropReason> {
    let ip = packet.ipv4();
    let dst = ip.dst();
    let key = InputKey { in_dev: device, src: ip.src(), dst, tos: ip.tos(), mark: packet.meta.mark };
    let routing = Routing { devices: &ns.devices, fib: &ns.fib, sysctls: &ns.sysctls };
    let result = ns.input_routes.route_input(routing, &key);
    cx.record(Some(packet.id), || Event::Route(RouteEvent::Input { dst: dst.into(), result }));
    result
}

/// Drops a packet that cannot be routed, and sends an ICMP error if this netns forwards (`ip_error`, net/ipv4/route.c).
fn ip_error(ns: &mut Netns, cx: &mut Context, device: DeviceId, packet: Packet, reason: DropReason) {
    let code = error_code(reason).filter(|_| ns.sysctls.forwarding(device));
    let code = code.filter(|_| !Mutation::RouteErrorsUnsent.is_on());
    let Some(code) = code else { return kfree_skb(ns, cx, packet, reason) };
    let now = cx.limit_time(&packet.meta);
    if ns.icmp_limit.allow_route_error(now, packet.ipv4().src().into()) {
        icmp::icmp_send(ns, cx, &icmp::About::packet(&packet), icmp_type::DEST_UNREACHABLE, code, 0);
    }
    end_packet(ns, cx, packet, Terminal::Rejected(reason));
}

/// Delivers a reassembled packet through INPUT to its transport protocol (`ip_local_deliver`).
fn ip_local_deliver(ns: &mut Netns, cx: &mut Context, device: DeviceId, packet: Packet) {
    let user = DefragUser::LocalDeliver;
    let Some(packet) = defrag::whole(ns, cx, user, packet) else { return };
    let state = HookState { family: Family::Ipv4, hook: Hook::Input, in_dev: Some(device), out_dev: None };
    if let Ok(packet) = nf_hook(ns, cx, state, packet) {
        transport::ip_protocol_deliver(ns, cx, packet);
    }
}
