//! One tracked flow (`struct nf_conn`, include/net/netfilter/nf_conntrack.h).

use super::sctp::SctpTrack;
use super::tcp::TcpTrack;
use super::udp::UdpTrack;
use crate::ct::{CtStatus, TcpState};
use crate::ids::DeviceId;
use crate::netfilter::conntrack::ConntrackTimeouts;
use crate::time::{Duration, Instant};
use crate::tuple::{Direction, Tuple};

/// Protocol state of a flow (`union nf_conntrack_proto`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolState {
    /// TCP: state and windows.
    Tcp(TcpTrack),
    /// UDP: when it may become a stream.
    Udp(UdpTrack),
    /// SCTP: state and verification tags.
    Sctp(SctpTrack),
    /// Protocols without state: ICMP, and those without a tracker.
    Stateless,
}

/// When an entry expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// Starts at confirmation.
    Waiting(Duration),
    /// Expires at that time.
    Running(Instant),
}

/// One tracked flow.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) tuples: [Tuple; 2],
    pub(super) status: CtStatus,
    pub(super) protocol: ProtocolState,
    /// The output device of a masqueraded flow (`masq_index`).
    pub(crate) masquerade_device: Option<DeviceId>,
    /// Order of creation; listings are sorted by it.
    pub(super) serial: u64,
    timer: Timer,
    /// The conntrack mark (`CONNMARK`, `ct mark`).
    pub mark: u32,
}

impl Entry {
    pub(super) fn new(original: Tuple, reply: Tuple, protocol: ProtocolState, serial: u64) -> Self {
        Self {
            tuples: [original, reply],
            status: CtStatus::default(),
            protocol,
            masquerade_device: None,
            serial,
            timer: Timer::Waiting(Duration::ZERO),
            mark: 0,
        }
    }

    /// The tuple of packets in that direction, as they enter this netns.
    pub const fn tuple(&self, direction: Direction) -> &Tuple {
        &self.tuples[direction as usize]
    }

    /// The status bits.
    pub const fn status(&self) -> CtStatus {
        self.status
    }

    /// The protocol state.
    pub const fn protocol(&self) -> &ProtocolState {
        &self.protocol
    }

    /// True if it is in the table.
    pub const fn is_confirmed(&self) -> bool {
        self.status.contains(CtStatus::CONFIRMED)
    }

    /// True if it was removed from the table.
    pub const fn is_dying(&self) -> bool {
        self.status.contains(CtStatus::DYING)
    }

    /// Time until it expires; zero if it has. Before confirmation, its initial timeout.
    pub const fn remaining(&self, now: Instant) -> Duration {
        match self.timer {
            Timer::Waiting(timeout) => timeout,
            Timer::Running(deadline) => deadline.saturating_since(now),
        }
    }

    /// Linux: `nf_ct_is_expired`, include/net/netfilter/nf_conntrack.h. An unconfirmed entry does not expire.
    pub fn is_expired(&self, now: Instant) -> bool {
        match self.timer {
            Timer::Waiting(_) => false,
            Timer::Running(deadline) => deadline <= now,
        }
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self.timer {
            Timer::Waiting(_) => None,
            Timer::Running(deadline) => Some(deadline),
        }
    }

    /// Starts the timer: the timeout counts from confirmation, not from the first packet (`__nf_conntrack_confirm`).
    pub(super) fn start_timer(&mut self, now: Instant) {
        if let Timer::Waiting(timeout) = self.timer {
            self.timer = Timer::Running(now + timeout);
        }
    }

    /// Sets the timeout from now on, regardless of status.
    pub(super) fn set_timeout(&mut self, timeout: Duration, now: Instant) {
        self.timer = match self.timer {
            Timer::Waiting(_) => Timer::Waiting(timeout),
            Timer::Running(_) => Timer::Running(now + timeout),
        };
    }

    /// Linux: `__nf_ct_refresh_acct`, net/netfilter/nf_conntrack_core.c.
    pub(super) fn refresh(&mut self, timeout: Duration, now: Instant) {
        if !self.status.contains(CtStatus::FIXED_TIMEOUT) {
            self.set_timeout(timeout, now);
        }
    }

    /// Changes the reply tuple (`nf_conntrack_alter_reply`). Only before the entry is in the table.
    pub(crate) fn alter_reply(&mut self, reply: Tuple) {
        assert!(!self.is_confirmed(), "the tuples of a confirmed entry never change");
        self.tuples[Direction::Reply as usize] = reply;
    }

    pub(crate) const fn status_mut(&mut self) -> &mut CtStatus {
        &mut self.status
    }

    /// The TCP state, for TCP flows.
    pub fn tcp_state(&self) -> Option<TcpState> {
        self.tcp().map(TcpTrack::state)
    }

    pub(crate) fn tcp(&self) -> Option<&TcpTrack> {
        match &self.protocol {
            ProtocolState::Tcp(track) => Some(track),
            ProtocolState::Udp(_) | ProtocolState::Sctp(_) | ProtocolState::Stateless => None,
        }
    }

    /// Linux: `nf_conntrack_tcp_set_closing`. Returns the new timeout, if it changes.
    pub(super) fn set_closing(&mut self, timeouts: &ConntrackTimeouts) -> Option<Duration> {
        let ProtocolState::Tcp(track) = &mut self.protocol else { return None };
        if !self.status.contains(CtStatus::CONFIRMED) {
            return None;
        }
        let changed = track.set_closing();
        (changed && !self.status.contains(CtStatus::FIXED_TIMEOUT)).then(|| timeouts.tcp(TcpState::Close))
    }

    /// True if the other entry is the same flow, in the same or the opposite direction (`nf_ct_can_merge`).
    pub(super) fn can_merge(&self, loser: &Self) -> bool {
        let tuples = |entry: &Self| -> (Tuple, Tuple) {
            (*entry.tuple(Direction::Original), *entry.tuple(Direction::Reply))
        };
        let (original, reply) = tuples(self);
        tuples(loser) == (original, reply) || tuples(loser) == (reply, original)
    }
}
