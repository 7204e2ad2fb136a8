//! Conntrack states that rules match.

use super::Conntrack;
use crate::ct::{CtInfo, CtStatus, PacketCt};
use crate::packet::Packet;

/// Conntrack states of a packet, as tested by `-m conntrack --ctstate` and `ct state`: exactly one of the first five,
/// and any of the last two (`conntrack_mt`, net/netfilter/xt_conntrack.c).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateBits(u8);

impl StateBits {
    /// No entry: not part of any flow, or not tracked yet.
    pub const INVALID: Self = Self(1 << 0);
    /// Part of a flow with packets in both directions.
    pub const ESTABLISHED: Self = Self(1 << 1);
    /// An error about a flow, or part of an expected flow.
    pub const RELATED: Self = Self(1 << 2);
    /// Part of a flow with packets in one direction only.
    pub const NEW: Self = Self(1 << 3);
    /// Exempt from tracking.
    pub const UNTRACKED: Self = Self(1 << 4);
    /// The flow's source is translated.
    pub const SNAT: Self = Self(1 << 5);
    /// The flow's destination is translated.
    pub const DNAT: Self = Self(1 << 6);

    /// True if any bit of `other` is set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The union of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The states of a packet.
pub fn state_bits(conntrack: &Conntrack, packet: &Packet) -> StateBits {
    match packet.meta.ct {
        PacketCt::None => StateBits::INVALID,
        PacketCt::Untracked => StateBits::UNTRACKED,
        PacketCt::Entry { id, info } => {
            let Some(entry) = conntrack.entry(id) else { return StateBits::INVALID };
            let has = |status, bit| {
                if entry.status().contains(status) { bit } else { StateBits::default() }
            };
            let state = match info {
                CtInfo::Established | CtInfo::EstablishedReply => StateBits::ESTABLISHED,
                CtInfo::Related | CtInfo::RelatedReply => StateBits::RELATED,
                CtInfo::New => StateBits::NEW,
            };
            state
                .union(has(CtStatus::SRC_NAT, StateBits::SNAT))
                .union(has(CtStatus::DST_NAT, StateBits::DNAT))
        }
    }
}
