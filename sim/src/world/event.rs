//! What will happen, and when.

use crate::ids::{DeviceId, NetnsId, SocketTimer};
use crate::packet::QueuedPacket;
use crate::time::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;

/// Something that happens to a netns.
#[derive(Clone, Debug)]
pub(super) enum WorldEvent {
    /// A frame comes in.
    Receive { device: DeviceId, packet: QueuedPacket },
    /// A socket's timer fires.
    SocketTimer(SocketTimer),
    /// Some fragments may have waited too long.
    DefragTimer { due: Instant },
    /// A neighbour is due for another look.
    NeighTimer { device: DeviceId, addr: Ipv4Addr },
}

#[derive(Clone, Debug)]
pub(super) struct Scheduled {
    pub(super) at: Instant,
    pub(super) netns: NetnsId,
    pub(super) event: WorldEvent,
}

/// Events by time, and among equals by the order in which they were scheduled.
#[derive(Clone, Debug, Default)]
pub(super) struct EventQueue {
    /// When each event is due, its sequence number, and its slot. The heap moves these and not the packets.
    heap: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    slots: Vec<Option<(NetnsId, WorldEvent)>>,
    /// Slots without an event.
    free: Vec<usize>,
    next_seq: u64,
}

impl EventQueue {
    pub(super) fn schedule(&mut self, at: Instant, netns: NetnsId, event: WorldEvent) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some((netns, event));
                slot
            }
            None => {
                self.slots.push(Some((netns, event)));
                self.slots.len() - 1
            }
        };
        self.heap.push(Reverse((at, self.next_seq, slot)));
        self.next_seq += 1;
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub(super) fn pop(&mut self) -> Option<Scheduled> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        let (netns, event) = self.slots[slot].take().expect("a slot in the heap has an event");
        self.free.push(slot);
        Some(Scheduled { at, netns, event })
    }
}
