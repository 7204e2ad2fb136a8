//! Frames received and sent by devices (net/core/dev.c).

use super::{carry_out, ip_input, kfree_skb};
use crate::bridge;
use crate::context::{Context, Effect};
use crate::device::DeviceKind;
use crate::drop_reason::DropReason;
use crate::fib::Routing;
use crate::ids::DeviceId;
use crate::netns::{Netns, Tap, TapPlace};
use crate::packet::{Meta, Packet, PacketType, QueuedPacket};
use crate::trace::{DeviceEvent, Event};
use crate::wire::{EtherType, Ethernet, MacAddr};

/// A frame was received by a device from its peer, or from itself for the loopback device.
pub(crate) fn netif_rx(ns: &mut Netns, cx: &mut Context, device: DeviceId, mut packet: Packet) {
    let receiver = ns.devices.get(device);
    if !receiver.is_up {
        return kfree_skb(ns, cx, packet, DropReason::DeviceDown);
    }
    packet.meta.packet_type = eth_type_trans(packet.ethernet(), receiver.mac);
    netif_receive_skb(ns, cx, device, packet);
}

/// Delivers a frame (`__netif_receive_skb_core`): to a bridge if the device is a port, else to a protocol.
pub(crate) fn netif_receive_skb(ns: &mut Netns, cx: &mut Context, device: DeviceId, mut packet: Packet) {
    cx.record(Some(packet.id), || {
        Event::Device(DeviceEvent::Received { device, frame: packet.bytes.as_slice().into() })
    });
    packet.meta.in_dev = Some(device);
    Tap::copy(&mut ns.tap, TapPlace::Devices, &packet.bytes);
    if ns.devices.get(device).master.is_some() {
        return bridge::br_handle_frame(ns, cx, device, packet);
    }
    match packet.ethernet().ethertype() {
        EtherType::Ipv4 => ip_input::ip_rcv(ns, cx, device, packet),
        EtherType::Arp => arp_rcv(ns, cx, device, packet),
        EtherType::Ipv6 | EtherType::Other(_) => kfree_skb(ns, cx, packet, DropReason::UnhandledProtocol),
    }
}

/// Passes a multicast or broadcast back to the netns that sends it, as if the device had received it, with its conntrack
/// entry and route (`dev_loopback_xmit`, net/core/dev.c). Packet sockets do not see it (`PACKET_LOOPBACK`).
pub(crate) fn dev_loopback_xmit(ns: &mut Netns, cx: &mut Context, device: DeviceId, mut packet: Packet) {
    packet.meta.in_dev = Some(device);
    packet.meta.packet_type = PacketType::Multicast;
    ip_input::ip_rcv(ns, cx, device, packet);
}

/// Linux: `eth_type_trans`, net/ethernet/eth.c.
fn eth_type_trans(frame: Ethernet<&[u8]>, own: MacAddr) -> PacketType {
    match frame.dst() {
        MacAddr::BROADCAST => PacketType::Broadcast,
        dst if dst.is_multicast() => PacketType::Multicast,
        dst if dst == own => PacketType::Host,
        _ => PacketType::OtherHost,
    }
}

fn arp_rcv(ns: &mut Netns, cx: &mut Context, device: DeviceId, packet: Packet) {
    let effects_before = cx.effects.len();
    let routing = Routing { devices: &ns.devices, fib: &ns.fib, sysctls: &ns.sysctls };
    ns.neigh.arp_rcv(cx, routing, device, packet);
    carry_out(ns, cx, effects_before);
}

/// Sends a frame through a device (`dev_queue_xmit`).
pub(crate) fn dev_queue_xmit(ns: &mut Netns, cx: &mut Context, device: DeviceId, packet: Packet) {
    let sender = ns.devices.get(device);
    if !sender.is_up {
        return kfree_skb(ns, cx, packet, DropReason::DeviceDown);
    }
    let kind = sender.kind.clone();
    // Linux: dev_deactivate, net/sched/sch_generic.c, installs noop_qdisc when the carrier is lost;
    // br_port_state_selection, net/bridge/br_stp.c, turns off the carrier of a bridge without active ports.
    let has_carrier = match kind {
        DeviceKind::Bridge => ns.devices.has_live_port(device),
        DeviceKind::Veth { .. } | DeviceKind::Loopback | DeviceKind::Dummy => sender.has_carrier,
    };
    if !has_carrier {
        return kfree_skb(ns, cx, packet, DropReason::QdiscDrop);
    }
    cx.record(Some(packet.id), || {
        Event::Device(DeviceEvent::Transmitted { device, frame: packet.bytes.as_slice().into() })
    });
    match kind {
        DeviceKind::Loopback => loopback_xmit(cx, device, packet),
        DeviceKind::Veth { .. } => veth_xmit(ns, cx, device, packet),
        DeviceKind::Bridge => bridge::br_dev_xmit(ns, cx, device, packet),
        DeviceKind::Dummy => kfree_skb(ns, cx, packet, DropReason::DeviceDiscards),
    }
}

/// The loopback device keeps a packet's conntrack entry and route (`loopback_xmit`, drivers/net/loopback.c): it is
/// received with both.
fn loopback_xmit(cx: &mut Context, device: DeviceId, mut packet: Packet) {
    packet.meta.bridge = None;
    cx.effects.push(Effect::Link { device, packet: QueuedPacket(packet) });
}

/// Crossing a veth clears conntrack entry, route and bridge information, and a change of netns clears mark and IPVS flag
/// (`veth_xmit`, drivers/net/veth.c; `____dev_forward_skb`, include/linux/netdevice.h; `skb_scrub_packet`,
/// net/core/skbuff.c).
fn veth_xmit(ns: &mut Netns, cx: &mut Context, device: DeviceId, mut packet: Packet) {
    ns.conntrack.release(&packet);
    let crosses_netns = match ns.devices.get(device).kind {
        DeviceKind::Veth { peer_netns, .. } => peer_netns != ns.id,
        DeviceKind::Loopback | DeviceKind::Bridge | DeviceKind::Dummy => {
            unreachable!("the device is a veth")
        }
    };
    let Meta { mark, is_ipvs, confirms_neighbour, .. } = packet.meta;
    packet.meta = match crosses_netns {
        true => Meta { confirms_neighbour, ..Meta::default() },
        false => Meta { mark, is_ipvs, confirms_neighbour, ..Meta::default() },
    };
    cx.effects.push(Effect::Link { device, packet: QueuedPacket(packet) });
}
