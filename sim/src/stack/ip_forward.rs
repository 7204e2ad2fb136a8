//! Forwarding (net/ipv4/ip_forward.c).

use super::hooks::nf_hook;
use super::{fragment, icmp, ip_output, kfree_skb, redirect};
use crate::context::Context;
use crate::drop_reason::DropReason;
use crate::hook::{Family, Hook, HookState};
use crate::ids::DeviceId;
use crate::mutation::Mutation;
use crate::netns::Netns;
use crate::packet::{Packet, PacketType};
use crate::wire::icmpv4::{icmp_type, unreachable_code};

/// Forwards a routed packet: TTL, MTU, decrement, FORWARD, in the kernel's order (`ip_forward`).
pub(crate) fn ip_forward(ns: &mut Netns, cx: &mut Context, device: DeviceId, mut packet: Packet) {
    if packet.meta.packet_type != PacketType::Host {
        return kfree_skb(ns, cx, packet, DropReason::NotForUs);
    }
    let Some(route) = packet.meta.route else { unreachable!("routed by the caller") };
    let ip = packet.ipv4();
    if ip.ttl() <= Mutation::TtlZeroForwarded.or(0, 1) {
        let about = icmp::About::packet(&packet);
        icmp::icmp_send(ns, cx, &about, icmp_type::TIME_EXCEEDED, 0, 0);
        return kfree_skb(ns, cx, packet, DropReason::TtlExpired);
    }
    let mtu = route.forward_mtu(ns.devices.get(route.device).mtu);
    if fragment::ip_exceeds_mtu(&packet, mtu) {
        let about = icmp::About::packet(&packet);
        icmp::icmp_send(
            ns,
            cx,
            &about,
            icmp_type::DEST_UNREACHABLE,
            unreachable_code::FRAGMENTATION_NEEDED,
            u32::from(mtu),
        );
        return kfree_skb(ns, cx, packet, DropReason::PacketTooBig);
    }
    if !Mutation::TtlKept.is_on() {
        packet.ipv4_mut().decrement_ttl();
    }
    redirect::ip_rt_send_redirect(ns, cx, device, &packet);
    let state = HookState {
        family: Family::Ipv4,
        hook: Hook::Forward,
        in_dev: Some(device),
        out_dev: Some(route.device),
    };
    if let Ok(packet) = nf_hook(ns, cx, state, packet) {
        ip_output::ip_output(ns, cx, packet);
    }
}
