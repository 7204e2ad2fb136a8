//! Connection tracking (net/netfilter/nf_conntrack_core.c and the `nf_conntrack_proto_*.c` files).

mod tuple;

pub use tuple::{Direction, L4Key, Tuple};

use slotmap::new_key_type;

new_key_type! {
    /// Identity of a conntrack entry. It goes stale when the entry is freed; looking it up then gives nothing.
    pub struct EntryId;
}

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

/// The conntrack table of a netns.
#[derive(Clone, Debug, Default)]
pub struct Conntrack;
