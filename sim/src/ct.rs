//! What a packet and an event say of conntrack (include/uapi/linux/netfilter/nf_conntrack_common.h, nf_conntrack_tcp.h).

use crate::ids::EntryId;
use crate::tuple::Direction;

/// Relation of a packet to its entry (`enum ip_conntrack_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CtInfo {
    /// `IP_CT_ESTABLISHED`: original direction, and a reply has been seen.
    Established,
    /// `IP_CT_RELATED`: starts a related flow or reports an error about this one, original direction.
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

/// Conntrack attachment of a packet (`skb->_nfct`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PacketCt {
    /// None: not looked at yet, or INVALID.
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
    /// Handshake done.
    Established,
    /// FIN seen from one side.
    FinWait,
    /// That FIN was acknowledged.
    CloseWait,
    /// FIN seen from the other side.
    LastAck,
    /// Both FINs acknowledged.
    TimeWait,
    /// RST seen.
    Close,
    /// Simultaneous open: SYN seen from both sides.
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

    /// The state that `conntrack -L` prints so.
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
