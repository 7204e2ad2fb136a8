//! What will happen, and when.

use crate::ids::{DeviceId, NetnsId, SocketTimer};
use crate::packet::QueuedPacket;
use crate::time::Instant;
use std::cmp::{Ordering, Reverse};
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
    seq: u64,
    pub(super) netns: NetnsId,
    pub(super) event: WorldEvent,
}

// Equality and order are by (at, seq) alone; seq is unique.
impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

/// Events by time, and among equals by the order in which they were scheduled.
#[derive(Clone, Debug, Default)]
pub(super) struct EventQueue {
    heap: BinaryHeap<Reverse<Scheduled>>,
    next_seq: u64,
}

impl EventQueue {
    pub(super) fn schedule(&mut self, at: Instant, netns: NetnsId, event: WorldEvent) {
        self.heap.push(Reverse(Scheduled { at, seq: self.next_seq, netns, event }));
        self.next_seq += 1;
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(scheduled)| scheduled.at)
    }

    pub(super) fn pop(&mut self) -> Option<Scheduled> {
        self.heap.pop().map(|Reverse(scheduled)| scheduled)
    }
}
