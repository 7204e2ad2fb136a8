//! Scheduled events.

use crate::ids::{DeviceId, NetnsId, SocketTimer};
use crate::packet::QueuedPacket;
use crate::time::Instant;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::IpAddr;

/// An event of a netns.
#[derive(Clone, Debug)]
pub(super) enum WorldEvent {
    /// A frame arrives.
    Receive { device: DeviceId, packet: QueuedPacket },
    /// A socket timer expires.
    SocketTimer(SocketTimer),
    /// Incomplete datagrams may have timed out.
    DefragTimer { due: Instant },
    /// A neighbour entry's timer expires.
    NeighTimer { device: DeviceId, addr: IpAddr },
}

#[derive(Clone, Debug)]
pub(super) struct Scheduled {
    pub(super) at: Instant,
    pub(super) netns: NetnsId,
    pub(super) event: WorldEvent,
}

/// Time, sequence number and slot of an event.
type Place = (Instant, u64, usize);

/// Events ordered by time, then by the order of scheduling.
#[derive(Clone, Debug, Default)]
pub(super) struct EventQueue {
    /// The heap and the queue move these and not the packets.
    heap: BinaryHeap<Reverse<Place>>,
    /// Frames on links, almost all of which arrive in the order in which they were sent. Others are in the heap.
    frames: VecDeque<Place>,
    slots: Vec<Option<(NetnsId, WorldEvent)>>,
    /// Slots without an event.
    free: Vec<usize>,
    next_seq: u64,
}

impl EventQueue {
    pub(super) fn schedule(&mut self, at: Instant, netns: NetnsId, event: WorldEvent) {
        let is_frame = matches!(event, WorldEvent::Receive { .. });
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
        let place = (at, self.next_seq, slot);
        self.next_seq += 1;
        if is_frame && self.frames.back().is_none_or(|last| *last < place) {
            self.frames.push_back(place);
        } else {
            self.heap.push(Reverse(place));
        }
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        let place = match (self.frames.front(), self.heap.peek()) {
            (Some(frame), Some(Reverse(other))) => frame.min(other),
            (Some(place), None) | (None, Some(Reverse(place))) => place,
            (None, None) => return None,
        };
        Some(place.0)
    }

    pub(super) fn pop(&mut self) -> Option<Scheduled> {
        let heap_is_next = match (self.frames.front(), self.heap.peek()) {
            (Some(frame), Some(Reverse(other))) => other < frame,
            (frame, _) => frame.is_none(),
        };
        let (at, _, slot) = if heap_is_next { self.heap.pop()?.0 } else { self.frames.pop_front()? };
        let (netns, event) = self.slots[slot].take().expect("a slot in the heap has an event");
        self.free.push(slot);
        Some(Scheduled { at, netns, event })
    }
}
