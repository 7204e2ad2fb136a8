//! Packets queued for an unresolved neighbour.

use super::entry::Neighbour;
use crate::context::{Context, Effect, OriginalPacket};
use crate::device::Devices;
use crate::drop_reason::DropReason;
use crate::hook::{Family, Hook, HookState};
use crate::ids::DeviceId;
use crate::mutation::Mutation;
use crate::packet::{Packet, QueuedPacket};
use crate::sysctl::{DeviceSetting, Sysctls};
use crate::trace::Terminal;
use crate::wire::{EtherType, Ethernet, MacAddr};

/// Queues a packet, and drops older ones if the queue would exceed its limit in bytes.
pub(super) fn enqueue(
    cx: &mut Context<'_>,
    sysctls: &Sysctls,
    device: DeviceId,
    entry: &mut Neighbour,
    packet: Packet,
) {
    let limit = match Mutation::ArpQueueHoldsOne.is_on() {
        true => true_size(&packet),
        false => sysctls.neigh_count(DeviceSetting::UnresQlenBytes, device) as usize,
    };
    let mut waiting: usize = entry.queue.iter().map(|QueuedPacket(packet)| true_size(packet)).sum();
    while waiting + true_size(&packet) > limit {
        let Some(QueuedPacket(oldest)) = entry.queue.pop_front() else { break };
        waiting -= true_size(&oldest);
        cx.effects.push(Effect::End {
            packet: QueuedPacket(oldest),
            terminal: Terminal::Dropped(DropReason::NeighQueueFull),
        });
    }
    entry.queue.push_back(QueuedPacket(packet));
}

/// The memory that a packet uses in the kernel (`skb->truesize`), which the queue limit counts: `struct sk_buff`, and
/// headroom, data and `struct skb_shared_info` in one slab object.
///
/// Measured with UDP on 6.18 (x86-64): 256 small datagrams fit into the default limit, 166 of 400 bytes, 92 of 1,400.
fn true_size(packet: &Packet) -> usize {
    const SK_BUFF: usize = 256;
    const SMALLEST_SLAB: usize = 576;
    let data = packet.bytes.len() + 336;
    let slab = if data <= SMALLEST_SLAB { SMALLEST_SLAB } else { data.next_power_of_two() };
    SK_BUFF + slab
}

/// Writes the Ethernet header of a queued packet, and sends it.
pub(super) fn transmit(
    cx: &mut Context<'_>,
    devices: &Devices,
    device: DeviceId,
    to: MacAddr,
    mut packet: Packet,
) {
    if let Some(mut ethernet) = Ethernet::new_checked(&mut packet.bytes[..]) {
        ethernet.set(to, devices.get(device).mac, EtherType::Ipv4);
    }
    cx.effects.push(Effect::Transmit { device, packet: QueuedPacket(packet) });
}

/// Drops all packets queued for a deleted neighbour.
pub(super) fn fail_queue(cx: &mut Context<'_>, device: DeviceId, entry: Neighbour) {
    for QueuedPacket(packet) in entry.queue {
        report_failure(cx, device, packet);
    }
}

/// Drops a packet whose neighbour did not reply, and requests an ICMP error to its sender.
/// Linux: arp_error_report, net/ipv4/arp.c; ipv4_link_failure, net/ipv4/route.c.
pub(super) fn report_failure(cx: &mut Context<'_>, device: DeviceId, mut packet: Packet) {
    // The timer follows the kernel's requests, so the error is about this moment.
    packet.meta.lateness = 0;
    let state =
        HookState { family: Family::Ipv4, hook: Hook::Postrouting, in_dev: None, out_dev: Some(device) };
    let original = OriginalPacket::of(&packet, state);
    if !Mutation::ArpFailureSilent.is_on() {
        cx.effects.push(Effect::IcmpUnreachable { original: Box::new(original), code: 1 });
    }
    cx.effects.push(Effect::End {
        packet: QueuedPacket(packet),
        terminal: Terminal::Rejected(DropReason::NeighFailed),
    });
}
