//! Ids of netns, devices, packets, flows, sockets and their timers, and conntrack entries.

use slotmap::new_key_type;

/// Index of a netns within its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetnsId(pub u32);

/// Index of a device within its netns, from 1 like the kernel's `ifindex`; 1 is `lo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u16);

impl DeviceId {
    /// The loopback device, which exists in every netns.
    pub const LOOPBACK: Self = Self(1);
}

/// Identity of a packet within its world, in order of creation. It is kept across NAT, forwarding and veth crossings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub u64);

/// Identity of a connection or exchange started by a scenario step. For recording only; the packet path never reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u32);

/// Index of a socket within its netns; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

new_key_type! {
    /// Identity of a conntrack entry. It becomes stale when the entry is freed; lookups then return nothing.
    pub struct EntryId;
}

/// The purpose of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerKind {
    /// The client's timeout for a flow.
    Deadline,
    /// Retransmission or window probe (`icsk_retransmit_timer`, `rsk_timer`).
    Retransmit,
    /// A delayed ACK (`icsk_delack_timer`).
    DelayedAck,
    /// End of TIME_WAIT, or of FIN_WAIT2 without an owner (`tw_timer`).
    TimeWait,
}

/// A timer of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketTimer {
    /// The socket.
    pub socket: SocketId,
    /// The purpose.
    pub kind: TimerKind,
    /// Distinguishes an active timer from a replaced or cancelled one.
    pub generation: u32,
}
