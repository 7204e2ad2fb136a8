//! Scheduled events.

use crate::ids::{DeviceId, NetnsId, SocketTimer};
use crate::packet::QueuedPacket;
use crate::time::Instant;
use std::cmp::{Ordering, Reverse};
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
    /// Order of scheduling.
    seq: u64,
    pub(super) netns: NetnsId,
    pub(super) event: WorldEvent,
}

impl Scheduled {
    /// Time and sequence number as one number.
    const fn key(&self) -> u128 {
        (self.at.as_nanos() as u128) << 64 | self.seq as u128
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
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
        self.key().cmp(&other.key())
    }
}

/// The place of the next event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Lane(usize),
    Heap,
}

/// Number of lanes.
const LANES: usize = 32;

/// Number of events before which an event may be inserted into a lane.
const INSERTED_BEFORE_MAX: usize = 16;

/// Events ordered by time, then by the order of scheduling.
///
/// There are few different delays: the latency of links, and the timeouts of each protocol. Events with similar delays
/// become due almost in the order in which they were scheduled, so that a queue for each magnitude needs no search.
/// The kernel's timer wheel (kernel/time/timer.c) has levels for the same reason.
#[derive(Clone, Debug, Default)]
pub(super) struct EventQueue {
    /// Events in order, by the magnitude of their delays.
    lanes: [VecDeque<Scheduled>; LANES],
    /// Bit `n` is set if lane `n` has events.
    occupied: u32,
    /// [`Scheduled::key`] of the first event of each lane that has events.
    first: [u128; LANES],
    /// Events that are due before many others of their lane.
    heap: BinaryHeap<Reverse<Scheduled>>,
    next_seq: u64,
}

impl EventQueue {
    /// Adds an event that is due at `at`.
    // Always inlined, so that the event is written only once.
    #[inline(always)]
    pub(super) fn schedule(&mut self, now: Instant, at: Instant, netns: NetnsId, event: WorldEvent) {
        let scheduled = Scheduled { at, seq: self.next_seq, netns, event };
        self.next_seq += 1;
        let number = lane_of(at.as_nanos().saturating_sub(now.as_nanos()));
        let lane = &mut self.lanes[number];
        if lane.back().is_none_or(|last| last.at <= at) {
            if lane.is_empty() {
                self.occupied |= 1 << number;
                self.first[number] = scheduled.key();
            }
            lane.push_back(scheduled);
        } else {
            self.insert(number, scheduled);
        }
    }

    /// Inserts an event before the last one of its lane, or into the heap.
    #[cold]
    fn insert(&mut self, number: usize, scheduled: Scheduled) {
        let lane = &mut self.lanes[number];
        let last = lane.iter().rev().take(INSERTED_BEFORE_MAX);
        let later = last.take_while(|other| other.at > scheduled.at).count();
        if later < INSERTED_BEFORE_MAX {
            lane.insert(lane.len() - later, scheduled);
            self.first[number] = lane[0].key();
        } else {
            self.heap.push(Reverse(scheduled));
        }
    }

    /// The time of the next event, and its place.
    pub(super) fn next(&self) -> Option<(Instant, Place)> {
        let mut first = self.heap.peek().map(|Reverse(event)| (event.key(), Place::Heap));
        let mut occupied = self.occupied;
        while occupied != 0 {
            let number = occupied.trailing_zeros() as usize;
            occupied &= occupied - 1;
            let key = self.first[number];
            if first.is_none_or(|(other, _)| key < other) {
                first = Some((key, Place::Lane(number)));
            }
        }
        first.map(|(key, place)| (time_of(key), place))
    }

    /// Removes the next event, whose place [`EventQueue::next`] returned.
    ///
    /// # Panics
    /// If the queue has changed in between.
    #[inline]
    pub(super) fn take(&mut self, place: Place) -> Scheduled {
        let next = match place {
            Place::Lane(number) => {
                let lane = &mut self.lanes[number];
                let next = lane.pop_front();
                match lane.front() {
                    Some(event) => self.first[number] = event.key(),
                    None => self.occupied &= !(1 << number),
                }
                next
            }
            Place::Heap => self.heap.pop().map(|Reverse(next)| next),
        };
        next.expect("an event is in this place")
    }
}

/// The time in a [`Scheduled::key`].
const fn time_of(key: u128) -> Instant {
    Instant::from_nanos((key >> 64) as u64)
}

/// The lane of events with a delay: each contains delays that differ by less than a factor of four.
const fn lane_of(delay: u64) -> usize {
    match delay.checked_ilog2() {
        Some(log) => log as usize / 2,
        None => 0,
    }
}

#[cfg(test)]
mod tests;
