//! One neighbour: its state and transitions (net/core/neighbour.c).

use crate::addr_hash::hash_addr;
use crate::ids::DeviceId;
use crate::packet::QueuedPacket;
use crate::time::{Duration, Instant};
use crate::wire::MacAddr;
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

/// State of a neighbour (`NUD_*`, include/uapi/linux/neighbour.h), as in `ip neigh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NeighState {
    /// Being resolved; packets are queued.
    Incomplete,
    /// Recently confirmed.
    Reachable,
    /// Known, but not recently confirmed.
    Stale,
    /// In use while stale; will be probed unless confirmed.
    Delay,
    /// Being probed; packets are still sent.
    Probe,
    /// Resolution failed.
    Failed,
    /// Set by the user.
    Permanent,
}

impl NeighState {
    /// True if it has a MAC address to send to (`NUD_VALID`).
    pub const fn is_valid(self) -> bool {
        match self {
            Self::Reachable | Self::Stale | Self::Delay | Self::Probe | Self::Permanent => true,
            Self::Incomplete | Self::Failed => false,
        }
    }

    /// True if packets are sent without probing (`NUD_CONNECTED`).
    pub const fn is_connected(self) -> bool {
        match self {
            Self::Reachable | Self::Permanent => true,
            Self::Incomplete | Self::Stale | Self::Delay | Self::Probe | Self::Failed => false,
        }
    }
}

/// The device and address of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NeighKey(pub(super) DeviceId, pub(super) IpAddr);

impl Hash for NeighKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self(DeviceId(device), addr) = *self;
        state.write_u16(device);
        hash_addr(addr, state);
    }
}

/// A neighbour (`struct neighbour`).
#[derive(Clone, Debug)]
pub(super) struct Neighbour {
    pub(super) state: NeighState,
    /// Zero until resolved.
    pub(super) mac: MacAddr,
    /// Last confirmation; `None` if never.
    pub(super) confirmed_at: Option<Instant>,
    /// Last change of state or address.
    pub(super) updated_at: Instant,
    /// Requests sent in this resolution; a new resolution counts unicast probes as sent.
    pub(super) probes: u32,
    /// Expiry of its timer; events with another time are outdated.
    pub(super) timer: Option<Instant>,
    /// A packet has been sent to it, so its Ethernet header is cached (`hh_cache`, `neigh_hh_init`).
    pub(super) has_header: bool,
    /// Queued packets.
    pub(super) queue: VecDeque<QueuedPacket>,
}

impl Neighbour {
    /// A new neighbour (`NUD_NONE`, which is treated as failed).
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: NeighState::Failed,
            mac: MacAddr::ZERO,
            confirmed_at: None,
            updated_at: now,
            probes: 0,
            timer: None,
            has_header: false,
            queue: VecDeque::new(),
        }
    }

    /// Makes a reachable entry stale if it is old, in place of a timer.
    pub(super) fn age(&mut self, now: Instant, reachable_time: Duration) {
        if self.state == NeighState::Reachable && self.confirmed_at.is_none_or(|at| now > at + reachable_time)
        {
            self.state = NeighState::Stale;
        }
    }

    /// Updates this neighbour from an ARP packet. Returns true if queued packets can be sent now.
    ///
    /// `state` is reachable or stale. `may_override` allows a different address to replace a valid one.
    /// Linux: __neigh_update.
    pub(super) fn update(
        &mut self,
        now: Instant,
        mac: MacAddr,
        state: NeighState,
        may_override: bool,
    ) -> bool {
        if self.state == NeighState::Permanent {
            return false;
        }
        let was_valid = self.state.is_valid();
        let is_same = was_valid && mac == self.mac;
        if state.is_connected() {
            self.confirmed_at = Some(now);
        }
        let mut state = state;
        if was_valid && !is_same && !may_override {
            return false;
        }
        if is_same && state == NeighState::Stale {
            state = self.state;
        }
        if state != self.state || !is_same {
            self.updated_at = now;
        }
        if state != self.state {
            self.timer = None;
            self.state = state;
        }
        if !is_same {
            self.mac = mac;
            if !state.is_connected() {
                // Linux sets it so far back that the next use finds it unconfirmed.
                self.confirmed_at = None;
            }
        }
        !was_valid
    }
}
