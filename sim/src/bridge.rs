//! The software bridge: learning, forwarding, flooding, hairpin mode (net/bridge/br_input.c, br_forward.c, br_device.c).
//!
//! STP, VLAN filtering and IGMP snooping are not modelled: every port that is up forwards, and multicast frames are
//! flooded.

mod netfilter;

use crate::context::Context;
use crate::drop_reason::DropReason;
use crate::fdb::FdbEntry;
use crate::ids::DeviceId;
use crate::mutation::Mutation;
use crate::netns::Netns;
use crate::packet::{Packet, PacketType};
use crate::stack::{dev, kfree_skb};
use crate::trace::{BridgeEvent, Event};
use crate::wire::MacAddr;

/// `VLAN_HLEN`, include/linux/if_vlan.h, in bytes.
const VLAN_HEADER_LEN: usize = 4;

/// A frame arrived at a bridge port (`br_handle_frame`, net/bridge/br_input.c).
pub(crate) fn br_handle_frame(ns: &mut Netns, cx: &mut Context, port: DeviceId, mut packet: Packet) {
    let Some(bridge) = ns.devices.get(port).master else { unreachable!("the device is a bridge port") };
    let ethernet = packet.ethernet();
    // Linux: is_valid_ether_addr, include/linux/etherdevice.h.
    if ethernet.src().is_multicast() || ethernet.src() == MacAddr::ZERO {
        return kfree_skb(ns, cx, packet, DropReason::NotForUs);
    }
    if ethernet.dst() == ns.devices.get(bridge).mac {
        packet.meta.packet_type = PacketType::Host;
    }
    if let Some(packet) = netfilter::br_nf_pre_routing(ns, cx, bridge, port, packet) {
        br_handle_frame_finish(ns, cx, bridge, port, packet);
    }
}

/// The forwarding decision (`br_handle_frame_finish`, net/bridge/br_input.c).
pub(crate) fn br_handle_frame_finish(
    ns: &mut Netns,
    cx: &mut Context,
    bridge: DeviceId,
    port: DeviceId,
    packet: Packet,
) {
    let (src, dst) = (packet.ethernet().src(), packet.ethernet().dst());
    if !Mutation::BridgeNeverLearns.is_on() && ns.fdb.learn(bridge, src, port, cx.now) {
        cx.record(Some(packet.id), || Event::Bridge(BridgeEvent::Learned { port, mac: src }));
    }
    let is_local_too = dst.is_multicast() || ns.devices.get(bridge).is_promiscuous;
    if dst.is_multicast() {
        return br_flood(ns, cx, bridge, Some(port), is_local_too, packet);
    }
    match ns.fdb.find(&ns.devices, bridge, dst, cx.now) {
        Some(FdbEntry::Local) => br_pass_frame_up(ns, cx, bridge, packet),
        Some(FdbEntry::Port(to)) => br_forward(ns, cx, bridge, to, Some(port), is_local_too, packet),
        None => br_flood(ns, cx, bridge, Some(port), is_local_too, packet),
    }
}

/// The netns itself sends through the bridge device (`br_dev_xmit`, net/bridge/br_device.c).
pub(crate) fn br_dev_xmit(ns: &mut Netns, cx: &mut Context, bridge: DeviceId, packet: Packet) {
    if packet.meta.bridge.is_some_and(|info| info.is_bridged_dnat) {
        return netfilter::br_nf_pre_routing_finish_bridge_slow(ns, cx, bridge, packet);
    }
    let dst = packet.ethernet().dst();
    if dst.is_multicast() {
        return br_flood(ns, cx, bridge, None, false, packet);
    }
    match ns.fdb.find(&ns.devices, bridge, dst, cx.now) {
        Some(FdbEntry::Port(to)) => br_forward(ns, cx, bridge, to, None, false, packet),
        // A local MAC has no egress port; the kernel passes such a frame to br_forward, which frees it.
        Some(FdbEntry::Local) => kfree_skb(ns, cx, packet, DropReason::BridgeNoEgressPort),
        None => br_flood(ns, cx, bridge, None, false, packet),
    }
}

/// Passes a frame to the bridge device and the IP stack of its netns (`br_pass_frame_up`).
fn br_pass_frame_up(ns: &mut Netns, cx: &mut Context, bridge: DeviceId, packet: Packet) {
    cx.record(Some(packet.id), || Event::Bridge(BridgeEvent::PassedUp));
    dev::netif_receive_skb(ns, cx, bridge, packet);
}

/// Forwards to one port (`br_forward`). `from` is the ingress port, or none for frames of the netns itself.
fn br_forward(
    ns: &mut Netns,
    cx: &mut Context,
    bridge: DeviceId,
    to: DeviceId,
    from: Option<DeviceId>,
    is_local_too: bool,
    packet: Packet,
) {
    let deliver = should_deliver(ns, cx, &packet, to, from);
    match (deliver, is_local_too) {
        (true, true) => {
            let copy = deliver_clone(ns, cx, &packet);
            forward_to(ns, cx, bridge, to, from, copy);
            br_pass_frame_up(ns, cx, bridge, packet);
        }
        (true, false) => {
            cx.record(Some(packet.id), || Event::Bridge(BridgeEvent::Forwarded { port: to }));
            forward_to(ns, cx, bridge, to, from, packet);
        }
        (false, true) => br_pass_frame_up(ns, cx, bridge, packet),
        (false, false) => kfree_skb(ns, cx, packet, DropReason::BridgeNoEgressPort),
    }
}

/// Floods to every eligible port (`br_flood`). Ports are visited newest first, because the kernel inserts new ports at
/// the head of its list (`br_add_if`, net/bridge/br_if.c).
fn br_flood(
    ns: &mut Netns,
    cx: &mut Context,
    bridge: DeviceId,
    from: Option<DeviceId>,
    is_local_too: bool,
    packet: Packet,
) {
    cx.record(Some(packet.id), || Event::Bridge(BridgeEvent::Flooded));
    let mut last = None;
    for index in (0..ns.devices.ports(bridge).len()).rev() {
        let to = ns.devices.ports(bridge)[index];
        if !should_deliver(ns, cx, &packet, to, from) {
            continue;
        }
        if let Some(previous) = last.replace(to) {
            let copy = deliver_clone(ns, cx, &packet);
            forward_to(ns, cx, bridge, previous, from, copy);
        }
    }
    match (last, is_local_too) {
        (Some(to), true) => {
            let copy = deliver_clone(ns, cx, &packet);
            forward_to(ns, cx, bridge, to, from, copy);
            br_pass_frame_up(ns, cx, bridge, packet);
        }
        (Some(to), false) => forward_to(ns, cx, bridge, to, from, packet),
        (None, true) => br_pass_frame_up(ns, cx, bridge, packet),
        (None, false) => kfree_skb(ns, cx, packet, DropReason::BridgeNoEgressPort),
    }
}

/// Never to the ingress port, unless it is in hairpin mode; never to a port that is down or has no carrier: it does not
/// forward (`should_deliver`; `br_port_carrier_check`, net/bridge/br_if.c).
fn should_deliver(
    ns: &Netns,
    cx: &mut Context,
    packet: &Packet,
    to: DeviceId,
    from: Option<DeviceId>,
) -> bool {
    let port = ns.devices.get(to);
    let deliver =
        port.is_running() && (port.is_hairpin || Mutation::HairpinAlwaysOn.is_on() || from != Some(to));
    if !deliver {
        cx.record(Some(packet.id), || Event::Bridge(BridgeEvent::NotDelivered { port: to }));
    }
    deliver
}

fn deliver_clone(ns: &mut Netns, cx: &mut Context, packet: &Packet) -> Packet {
    let mut copy = cx.trace.fork(cx.now, cx.netns, packet);
    // A packet with shared data is not split back into its fragments, but fragmented anew (ip_do_fragment: skb_cloned).
    if let Some(defragmented) = &mut copy.meta.defragmented {
        defragmented.sizes.clear();
    }
    ns.conntrack.hold(&copy);
    copy
}

/// Traverses FORWARD and POSTROUTING of br_netfilter, then transmits (`__br_forward`, `br_forward_finish`,
/// `br_dev_queue_push_xmit`).
fn forward_to(
    ns: &mut Netns,
    cx: &mut Context,
    bridge: DeviceId,
    to: DeviceId,
    from: Option<DeviceId>,
    packet: Packet,
) {
    let forwarded = match from {
        Some(from) => netfilter::br_nf_forward_ip(ns, cx, bridge, from, to, packet),
        None => Some(packet),
    };
    let Some(packet) = forwarded else { return };
    for packet in netfilter::br_nf_post_routing(ns, cx, bridge, to, packet) {
        // Linux: __is_skb_forwardable, include/linux/netdevice.h, leaves room for a VLAN header.
        if packet.l3().len() > usize::from(ns.devices.get(to).mtu) + VLAN_HEADER_LEN {
            kfree_skb(ns, cx, packet, DropReason::PacketTooBig);
        } else {
            dev::dev_queue_xmit(ns, cx, to, packet);
        }
    }
}
