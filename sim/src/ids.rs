//! Identities: of netns, devices, packets, flows, sockets and their timers, conntrack entries.

use slotmap::new_key_type;

/// Index of a netns within its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetnsId(pub u32);

/// Index of a device within its netns, counted from 1 as the kernel's `ifindex`; 1 is `lo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u16);

impl DeviceId {
    /// The loopback device, which every netns has.
    pub const LOOPBACK: Self = Self(1);
}

/// Identity of a packet within its world, in order of creation. It survives NAT, forwarding and veth crossings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub u64);

/// Identity of a connection or exchange that a scenario step started. Recording only; nothing on the packet path reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u32);

/// Index of a socket within its netns; never used again after the socket is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

new_key_type! {
    /// Identity of a conntrack entry. It goes stale when the entry is freed; looking it up then gives nothing.
    pub struct EntryId;
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerKind {
    /// The user's patience with a flow ends.
    Deadline,
    /// Something unacknowledged is sent again, or a closed window is probed (`icsk_retransmit_timer`, `rsk_timer`).
    Retransmit,
    /// A delayed ACK is due (`icsk_delack_timer`).
    DelayedAck,
    /// TIME_WAIT, or FIN_WAIT2 without an owner, ends (`tw_timer`).
    TimeWait,
}

/// A timer of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketTimer {
    /// The socket.
    pub socket: SocketId,
    /// What for.
    pub kind: TimerKind,
    /// Distinguishes a set timer from one that was replaced or cancelled since.
    pub generation: u32,
}
