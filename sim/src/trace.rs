//! The typed event stream of a run, and packet accounting.
//!
//! Subsystems append; reports are pure folds over the stream. Each packet is created once and ends once, in exactly one
//! [`Terminal`]. Recording is lazy: [`Trace::record`] takes a closure that runs only if its level is recorded. The hash over
//! all events is taken as they come, so that memory is needed only for the events that somebody will read ([`Kept`]).

mod event;

pub use event::*;

use crate::ids::{FlowId, NetnsId, PacketId};
use crate::packet::{Meta, Origin, Packet, Pool};
use crate::time::Instant;
use rustc_stable_hash::{FromStableHash, SipHasher128Hash, StableSipHasher128};
use std::hash::Hash;

/// How much is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing; packets are still counted.
    Nothing,
    /// What sockets observe: connections, their outcomes, and where packets ended.
    Flows,
    /// Every hop, rule, translation and frame.
    Everything,
}

/// Which recorded events are kept in memory until they are read. The hash always covers all events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// Only drops and rejections.
    Drops,
    /// All of them.
    All,
}

impl Kept {
    const fn keeps(self, event: &Event) -> bool {
        match self {
            Self::Drops => matches!(
                event,
                Event::Packet(PacketEvent::Ended {
                    terminal: Terminal::Dropped(_) | Terminal::Rejected(_),
                    ..
                })
            ),
            Self::All => true,
        }
    }
}

/// Packet counts. `created = ended + in flight` always holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Packets created since the start of the world, including copies.
    pub created: u64,
    /// Packets that reached a [`Terminal`].
    pub ended: u64,
}

impl Ledger {
    /// Existing packets: on links, in queues, or being processed.
    pub const fn in_flight(self) -> u64 {
        self.created - self.ended
    }
}

/// The recorder of a world.
#[derive(Clone, Debug)]
pub struct Trace {
    level: Level,
    kept: Kept,
    /// Recorded events that are kept and have not been taken yet.
    events: Vec<TraceEvent>,
    /// Hash state over all recorded events.
    hasher: StableSipHasher128,
    ledger: Ledger,
    pool: Pool,
}

impl Trace {
    /// A recorder of events up to `level`, which keeps them all.
    pub fn new(level: Level) -> Self {
        Self {
            level,
            kept: Kept::All,
            events: Vec::new(),
            hasher: StableSipHasher128::new(),
            ledger: Ledger { created: 0, ended: 0 },
            pool: Pool::default(),
        }
    }

    /// The same recorder without recorded events. Existing packets are still accounted for.
    pub(crate) fn without_events(&self) -> Self {
        Self { ledger: self.ledger, kept: self.kept, ..Self::new(self.level) }
    }

    /// True if [`Trace::record`] records: for events that need state from before a change.
    pub(crate) fn is_recording(&self) -> bool {
        self.level == Level::Everything
    }

    /// The recorded level.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Changes the level from here on.
    pub const fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// Changes which events are kept from now on.
    pub const fn set_kept(&mut self, kept: Kept) {
        self.kept = kept;
    }

    /// The kept events, in order.
    pub fn events(&self) -> &[TraceEvent] {
        &self.events
    }

    /// Takes the kept events. The hash still covers them.
    pub fn take_events(&mut self) -> Vec<TraceEvent> {
        std::mem::take(&mut self.events)
    }

    /// The packet counts.
    pub const fn ledger(&self) -> Ledger {
        self.ledger
    }

    /// Appends an event of [`Level::Everything`]. The closure does not run if that level is off.
    #[inline]
    pub fn record(
        &mut self,
        at: Instant,
        netns: NetnsId,
        packet: Option<PacketId>,
        event: impl FnOnce() -> Event,
    ) {
        if self.level == Level::Everything {
            self.push(TraceEvent { at, netns, packet, event: event() });
        }
    }

    /// Appends an event of [`Level::Flows`].
    #[inline]
    pub fn record_flow(
        &mut self,
        at: Instant,
        netns: NetnsId,
        packet: Option<PacketId>,
        event: impl FnOnce() -> Event,
    ) {
        if self.level >= Level::Flows {
            self.push(TraceEvent { at, netns, packet, event: event() });
        }
    }

    fn push(&mut self, event: TraceEvent) {
        event.hash(&mut self.hasher);
        if self.kept.keeps(&event.event) {
            self.events.push(event);
        }
    }

    /// Accounts for a new packet. `cause` is the packet that it answers or copies.
    pub fn create(
        &mut self,
        at: Instant,
        netns: NetnsId,
        origin: Origin,
        cause: Option<PacketId>,
        flow: Option<FlowId>,
        bytes: Vec<u8>,
    ) -> Packet {
        let id = PacketId(self.ledger.created);
        self.ledger.created += 1;
        self.record(at, netns, Some(id), || {
            Event::Packet(PacketEvent::Created { origin, cause, flow, frame: bytes.as_slice().into() })
        });
        self.pool.packet(id, flow, bytes)
    }

    /// Accounts for a copy of a packet with its metadata, as created by `skb_clone` for flooding.
    pub fn fork(&mut self, at: Instant, netns: NetnsId, original: &Packet) -> Packet {
        let mut copy =
            self.create(at, netns, Origin::Clone, Some(original.id), original.flow, original.bytes.clone());
        copy.meta = original.meta.clone();
        copy.crossings = original.crossings;
        copy
    }

    /// Accounts for a fragment of a packet, with its metadata (`ip_copy_metadata`).
    pub fn cut(&mut self, at: Instant, netns: NetnsId, original: &Packet, bytes: Vec<u8>) -> Packet {
        let mut part = self.create(at, netns, Origin::Fragment, Some(original.id), original.flow, bytes);
        part.meta = Meta { defragmented: None, ..original.meta.clone() };
        part.crossings = original.crossings;
        part
    }

    /// Ends a packet. It is taken by value, so it cannot end twice.
    pub fn end(&mut self, at: Instant, netns: NetnsId, packet: Packet, terminal: Terminal) {
        self.ledger.ended += 1;
        let flow = packet.flow;
        self.record_flow(at, netns, Some(packet.id), || Event::Packet(PacketEvent::Ended { flow, terminal }));
        self.pool.free(packet);
    }

    /// An empty buffer for the bytes of a packet.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.pool.buffer()
    }

    /// A hash over all recorded events, kept or not, equal for equal runs on every machine.
    pub fn hash(&self) -> u64 {
        self.hasher.clone().finish::<TraceHash>().0
    }
}

struct TraceHash(u64);

impl FromStableHash for TraceHash {
    type Hash = SipHasher128Hash;

    fn from(hash: SipHasher128Hash) -> Self {
        Self(hash.0[0])
    }
}
