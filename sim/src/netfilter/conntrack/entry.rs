//! One tracked flow (`struct nf_conn`, include/net/netfilter/nf_conntrack.h).

use super::sctp::SctpTrack;
use super::tcp::TcpTrack;
use super::udp::UdpTrack;
use crate::ids::DeviceId;
use crate::time::{Duration, Instant};
use crate::tuple::{Direction, Tuple};
use crate::wire::rewrite::Side;

/// What happened to a flow (`enum ip_conntrack_status`, include/uapi/linux/netfilter/nf_conntrack_common.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Status(u16);

impl Status {
    /// `IPS_SEEN_REPLY`: packets went both ways.
    pub const SEEN_REPLY: Self = Self(1 << 0);
    /// `IPS_ASSURED`: not deleted to make room.
    pub const ASSURED: Self = Self(1 << 1);
    /// `IPS_CONFIRMED`: in the table.
    pub const CONFIRMED: Self = Self(1 << 2);
    /// `IPS_SRC_NAT`: the source is translated in the original direction.
    pub const SRC_NAT: Self = Self(1 << 3);
    /// `IPS_DST_NAT`: the destination is translated in the original direction.
    pub const DST_NAT: Self = Self(1 << 4);
    /// `IPS_SRC_NAT_DONE`: the source has its binding, which may be a null binding.
    pub const SRC_NAT_DONE: Self = Self(1 << 5);
    /// `IPS_DST_NAT_DONE`.
    pub const DST_NAT_DONE: Self = Self(1 << 6);
    /// `IPS_DYING`: left the table; some packet still holds it.
    pub const DYING: Self = Self(1 << 7);
    /// `IPS_FIXED_TIMEOUT`: packets do not renew it.
    pub const FIXED_TIMEOUT: Self = Self(1 << 8);
    /// `IPS_NAT_CLASH`: lost a clash, and is found in the reply direction only.
    pub const NAT_CLASH: Self = Self(1 << 9);
    /// `IPS_NAT_MASK`.
    pub const NAT: Self = Self(Self::SRC_NAT.0 | Self::DST_NAT.0);
    /// `IPS_NAT_DONE_MASK`.
    pub const NAT_DONE: Self = Self(Self::SRC_NAT_DONE.0 | Self::DST_NAT_DONE.0);

    /// Every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Some bit of `other` is set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// The bit that says that one side is translated.
    pub(crate) const fn translated(side: Side) -> Self {
        match side {
            Side::Src => Self::SRC_NAT,
            Side::Dst => Self::DST_NAT,
        }
    }

    /// The bit that says that one side has its binding.
    pub(crate) const fn bound(side: Side) -> Self {
        match side {
            Side::Src => Self::SRC_NAT_DONE,
            Side::Dst => Self::DST_NAT_DONE,
        }
    }
}

/// What the protocol of a flow remembers (`union nf_conntrack_proto`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolState {
    /// TCP: state and windows.
    Tcp(TcpTrack),
    /// UDP: since when it may be a stream.
    Udp(UdpTrack),
    /// SCTP: state and verification tags.
    Sctp(SctpTrack),
    /// Protocols that remember nothing: ICMP, and those without a tracker of their own.
    Stateless,
}

/// When an entry ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// Counts from the moment of confirmation.
    Waiting(Duration),
    /// Runs out at that moment.
    Running(Instant),
}

/// One tracked flow.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) tuples: [Tuple; 2],
    pub(super) status: Status,
    pub(super) protocol: ProtocolState,
    /// Device by which a masqueraded flow leaves (`masq_index`).
    pub(crate) masquerade_device: Option<DeviceId>,
    /// Order of creation; listings are sorted by it.
    pub(super) serial: u64,
    /// Packets that hold it.
    pub(super) holders: u32,
    timer: Timer,
    /// The conntrack mark (`CONNMARK`, `ct mark`).
    pub mark: u32,
}

impl Entry {
    pub(super) fn new(original: Tuple, reply: Tuple, protocol: ProtocolState, serial: u64) -> Self {
        Self {
            tuples: [original, reply],
            status: Status::default(),
            protocol,
            masquerade_device: None,
            serial,
            holders: 1,
            timer: Timer::Waiting(Duration::ZERO),
            mark: 0,
        }
    }

    /// The tuple of packets in that direction, as they are when they enter this netns.
    pub const fn tuple(&self, direction: Direction) -> &Tuple {
        &self.tuples[direction as usize]
    }

    /// What happened so far.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// What the protocol remembers.
    pub const fn protocol(&self) -> &ProtocolState {
        &self.protocol
    }

    /// In the table.
    pub const fn is_confirmed(&self) -> bool {
        self.status.contains(Status::CONFIRMED)
    }

    /// Left the table.
    pub const fn is_dying(&self) -> bool {
        self.status.contains(Status::DYING)
    }

    /// Time until it ends; zero if it has. Before confirmation, the time that it will be given.
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

    /// Starts its timer: the timeout counts from confirmation, not from the first packet (`__nf_conntrack_confirm`).
    pub(super) fn start_timer(&mut self, now: Instant) {
        if let Timer::Waiting(timeout) = self.timer {
            self.timer = Timer::Running(now + timeout);
        }
    }

    /// Gives it this long from now on, whatever its status.
    pub(super) fn set_timeout(&mut self, timeout: Duration, now: Instant) {
        self.timer = match self.timer {
            Timer::Waiting(_) => Timer::Waiting(timeout),
            Timer::Running(_) => Timer::Running(now + timeout),
        };
    }

    /// Linux: `__nf_ct_refresh_acct`, net/netfilter/nf_conntrack_core.c.
    pub(super) fn refresh(&mut self, timeout: Duration, now: Instant) {
        if !self.status.contains(Status::FIXED_TIMEOUT) {
            self.set_timeout(timeout, now);
        }
    }

    /// Changes what replies look like (`nf_conntrack_alter_reply`). Only before the table knows the tuples.
    pub(crate) fn alter_reply(&mut self, reply: Tuple) {
        assert!(!self.is_confirmed(), "the tuples of a confirmed entry never change");
        self.tuples[Direction::Reply as usize] = reply;
    }

    pub(crate) const fn status_mut(&mut self) -> &mut Status {
        &mut self.status
    }
}
