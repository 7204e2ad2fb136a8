//! Conntrack state in packets and events (include/uapi/linux/netfilter/nf_conntrack_common.h, nf_conntrack_tcp.h).

use crate::ids::EntryId;
use crate::tuple::Direction;
use crate::wire::rewrite::Side;

/// Relation of a packet to its entry (`enum ip_conntrack_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CtInfo {
    /// `IP_CT_ESTABLISHED`: original direction, and a reply has been seen.
    Established,
    /// `IP_CT_RELATED`: starts a related flow, or is an ICMP error about this one; original direction.
    Related,
    /// `IP_CT_NEW`: original direction, no reply seen yet.
    New,
    /// `IP_CT_ESTABLISHED_REPLY`.
    EstablishedReply,
    /// `IP_CT_RELATED_REPLY`.
    RelatedReply,
}

impl CtInfo {
    /// Direction of the packet (`CTINFO2DIR`).
    pub const fn direction(self) -> Direction {
        match self {
            Self::Established | Self::Related | Self::New => Direction::Original,
            Self::EstablishedReply | Self::RelatedReply => Direction::Reply,
        }
    }
}

/// Conntrack association of a packet (`skb->_nfct`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PacketCt {
    /// None: not tracked yet, or INVALID.
    #[default]
    None,
    /// `IP_CT_UNTRACKED`.
    Untracked,
    /// Belongs to an entry.
    Entry {
        /// The entry.
        id: EntryId,
        /// Relation to it.
        info: CtInfo,
    },
}

/// TCP state of an entry (`enum tcp_conntrack`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TcpState {
    /// No segment seen.
    None,
    /// SYN seen.
    SynSent,
    /// SYN/ACK seen.
    SynRecv,
    /// Handshake complete.
    Established,
    /// FIN seen in one direction.
    FinWait,
    /// That FIN was acknowledged.
    CloseWait,
    /// FIN seen in the other direction.
    LastAck,
    /// Both FINs acknowledged.
    TimeWait,
    /// RST seen.
    Close,
    /// Simultaneous open: SYN seen in both directions.
    SynSent2,
}

impl TcpState {
    const ALL: [Self; 10] = [
        Self::None,
        Self::SynSent,
        Self::SynRecv,
        Self::Established,
        Self::FinWait,
        Self::CloseWait,
        Self::LastAck,
        Self::TimeWait,
        Self::Close,
        Self::SynSent2,
    ];

    /// The state that `conntrack -L` prints with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// As `conntrack -L` prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::SynSent2 => "SYN_SENT2",
        }
    }
}

/// SCTP state of an entry (`enum sctp_conntrack`): the state of the association, not of one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SctpState {
    /// No chunk seen.
    None,
    /// INIT seen, or SHUTDOWN COMPLETE.
    Closed,
    /// INIT ACK seen.
    CookieWait,
    /// COOKIE ECHO seen.
    CookieEchoed,
    /// COOKIE ACK seen.
    Established,
    /// SHUTDOWN seen from the initiator.
    ShutdownSent,
    /// SHUTDOWN seen from the responder.
    ShutdownRecd,
    /// SHUTDOWN ACK seen.
    ShutdownAckSent,
    /// HEARTBEAT seen on a new path.
    HeartbeatSent,
}

impl SctpState {
    /// As `conntrack -L` prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Closed => "CLOSED",
            Self::CookieWait => "COOKIE_WAIT",
            Self::CookieEchoed => "COOKIE_ECHOED",
            Self::Established => "ESTABLISHED",
            Self::ShutdownSent => "SHUTDOWN_SENT",
            Self::ShutdownRecd => "SHUTDOWN_RECD",
            Self::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            Self::HeartbeatSent => "HEARTBEAT_SENT",
        }
    }
}

/// Status of a flow (`enum ip_conntrack_status`, include/uapi/linux/netfilter/nf_conntrack_common.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CtStatus(u16);

impl CtStatus {
    /// `IPS_SEEN_REPLY`: packets were seen in both directions.
    pub const SEEN_REPLY: Self = Self(1 << 0);
    /// `IPS_ASSURED`: not evicted early.
    pub const ASSURED: Self = Self(1 << 1);
    /// `IPS_CONFIRMED`: in the table.
    pub const CONFIRMED: Self = Self(1 << 2);
    /// `IPS_SRC_NAT`: the source is translated in the original direction.
    pub const SRC_NAT: Self = Self(1 << 3);
    /// `IPS_DST_NAT`: the destination is translated in the original direction.
    pub const DST_NAT: Self = Self(1 << 4);
    /// `IPS_SRC_NAT_DONE`: the source has a binding, possibly a null binding.
    pub const SRC_NAT_DONE: Self = Self(1 << 5);
    /// `IPS_DST_NAT_DONE`.
    pub const DST_NAT_DONE: Self = Self(1 << 6);
    /// `IPS_DYING`: removed from the table, but still referenced by a packet.
    pub const DYING: Self = Self(1 << 7);
    /// `IPS_FIXED_TIMEOUT`: not refreshed by packets.
    pub const FIXED_TIMEOUT: Self = Self(1 << 8);
    /// `IPS_NAT_CLASH`: lost a clash, and matches in the reply direction only.
    pub const NAT_CLASH: Self = Self(1 << 9);
    /// `IPS_NAT_MASK`.
    pub const NAT: Self = Self(Self::SRC_NAT.0 | Self::DST_NAT.0);
    /// `IPS_NAT_DONE_MASK`.
    pub const NAT_DONE: Self = Self(Self::SRC_NAT_DONE.0 | Self::DST_NAT_DONE.0);

    /// True if all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if any bit of `other` is set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// The bit for a translation of one side.
    pub(crate) const fn translated(side: Side) -> Self {
        match side {
            Side::Src => Self::SRC_NAT,
            Side::Dst => Self::DST_NAT,
        }
    }

    /// The bit for a binding of one side.
    pub(crate) const fn bound(side: Side) -> Self {
        match side {
            Side::Src => Self::SRC_NAT_DONE,
            Side::Dst => Self::DST_NAT_DONE,
        }
    }
}
