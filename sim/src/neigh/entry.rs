//! One neighbour: its state and what changes it (net/core/neighbour.c).

use crate::packet::QueuedPacket;
use crate::time::{Duration, Instant};
use crate::wire::MacAddr;
use std::collections::VecDeque;

/// State of a neighbour (`NUD_*`, include/uapi/linux/neighbour.h), as `ip neigh` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NeighState {
    /// Being asked for; packets wait.
    Incomplete,
    /// Confirmed not long ago.
    Reachable,
    /// Known, but not confirmed for long.
    Stale,
    /// Used while stale; will be probed if nothing confirms it.
    Delay,
    /// Being asked whether it is still there; packets go out meanwhile.
    Probe,
    /// Did not answer.
    Failed,
    /// Set by the user.
    Permanent,
}

impl NeighState {
    /// There is a hardware address to send to (`NUD_VALID`).
    pub const fn is_valid(self) -> bool {
        match self {
            Self::Reachable | Self::Stale | Self::Delay | Self::Probe | Self::Permanent => true,
            Self::Incomplete | Self::Failed => false,
        }
    }

    /// Sending needs no second thought (`NUD_CONNECTED`).
    pub const fn is_connected(self) -> bool {
        match self {
            Self::Reachable | Self::Permanent => true,
            Self::Incomplete | Self::Stale | Self::Delay | Self::Probe | Self::Failed => false,
        }
    }
}

/// A neighbour (`struct neighbour`).
#[derive(Clone, Debug)]
pub(super) struct Neighbour {
    pub(super) state: NeighState,
    /// Zero until known.
    pub(super) mac: MacAddr,
    /// When it was last known to be there; `None` before it ever was.
    pub(super) confirmed_at: Option<Instant>,
    /// When state or address last changed.
    pub(super) updated_at: Instant,
    /// Requests sent since the question was raised; unicast probes count as done when asking anew.
    pub(super) probes: u32,
    /// When its timer fires; an event for another time is outdated.
    pub(super) timer: Option<Instant>,
    /// A packet has gone out to it, so that its Ethernet header is cached (`hh_cache`, `neigh_hh_init`).
    pub(super) has_header: bool,
    /// Packets that wait.
    pub(super) queue: VecDeque<QueuedPacket>,
}

impl Neighbour {
    /// A neighbour of which nothing is known (`NUD_NONE`, which a packet treats as failed).
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

    /// Makes up for the timer that a reachable entry does not have.
    pub(super) fn age(&mut self, now: Instant, reachable_time: Duration) {
        if self.state == NeighState::Reachable && self.confirmed_at.is_none_or(|at| now > at + reachable_time)
        {
            self.state = NeighState::Stale;
        }
    }

    /// Takes what ARP says about this neighbour. Returns whether packets that wait can go now.
    ///
    /// `state` is reachable or stale. `may_override` lets a different address replace one that is valid.
    // Linux: __neigh_update.
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
