//! State of one end of a connection.

use super::options::SynOptions;

/// Flags of an end (`IP_CT_TCP_FLAG_*`, include/uapi/linux/netfilter/nf_conntrack_tcp.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PeerFlags(u8);

impl PeerFlags {
    /// It offered window scaling.
    pub(super) const WINDOW_SCALE: Self = Self(0x01);
    /// It offered selective acknowledgments.
    pub(super) const SACK_PERMITTED: Self = Self(0x02);
    /// It sent the first FIN.
    pub(super) const CLOSE_INITIATED: Self = Self(0x04);
    /// Its windows are not known well enough for checks.
    pub(super) const BE_LIBERAL: Self = Self(0x08);
    /// It sent data that has not been acknowledged.
    pub(super) const DATA_UNACKNOWLEDGED: Self = Self(0x10);
    /// `max_ack` is valid.
    pub(super) const MAX_ACK_SET: Self = Self(0x20);
    /// A SYN was passed in LAST_ACK; a challenge ACK may answer it.
    pub(super) const CHALLENGE_ACK_EXPECTED: Self = Self(0x40);
    /// Both ends have sent a SYN without ACK.
    pub(super) const SIMULTANEOUS_OPEN: Self = Self(0x80);

    pub(super) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) const fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    const fn retain(&mut self, other: Self) {
        self.0 &= other.0;
    }
}

/// One end (`struct ip_ct_tcp_state`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peer {
    /// The sequence number after everything it has sent (`td_end`).
    pub(super) end: u32,
    /// The highest sequence number that its peer permits (`td_maxend`).
    pub(super) max_end: u32,
    /// The largest window it has offered, scaled; zero until it has sent something (`td_maxwin`).
    pub(super) max_window: u32,
    /// The highest ACK it has sent (`td_maxack`).
    pub(super) max_ack: u32,
    /// Its window scale, as a shift count.
    pub(super) scale: u8,
    /// Flags.
    pub(super) flags: PeerFlags,
}

impl Peer {
    /// Records the options of a SYN (`tcp_options`). A header without options changes nothing.
    pub(super) fn learn(&mut self, options: &[u8]) {
        if options.is_empty() {
            return;
        }
        let offered = SynOptions::parse(options);
        self.flags.retain(PeerFlags::BE_LIBERAL);
        self.scale = offered.scale.unwrap_or(0);
        if offered.scale.is_some() {
            self.flags.insert(PeerFlags::WINDOW_SCALE);
        }
        if offered.sack_permitted {
            self.flags.insert(PeerFlags::SACK_PERMITTED);
        }
    }

    /// Resets all fields (`nf_ct_tcp_state_reset`).
    pub(super) fn reset(&mut self) {
        self.flags.retain(PeerFlags::BE_LIBERAL);
        *self = Self { flags: self.flags, ..Self::default() };
    }
}
