//! What a subsystem gets beside the packet that it handles, and the effects that it leaves to the stack.
//!
//! A subsystem never acts on the world. It returns a verdict and pushes [`Effect`]s, which `stack` drains.

use crate::draws::Draws;
use crate::hook::HookState;
use crate::ids::{DeviceId, FlowId, NetnsId, PacketId, SocketTimer};
use crate::packet::{Meta, Origin, Packet, QueuedPacket};
use crate::time::Instant;
use crate::trace::{Event, Terminal, Trace};
use crate::wire::MacAddr;
use std::net::Ipv4Addr;

/// The parts of a run that every function on the packet path needs.
#[derive(Debug)]
pub struct Context<'a> {
    /// Virtual time; constant while one event is handled.
    pub now: Instant,
    /// The netns that is handling the packet.
    pub netns: NetnsId,
    /// The source of every random decision.
    pub draws: &'a mut Draws,
    /// The recorder, which also accounts for every packet.
    pub trace: &'a mut Trace,
    /// Effects, in order.
    pub effects: &'a mut Vec<Effect>,
}

impl Context<'_> {
    /// Appends an event of [`crate::trace::Level::Everything`] about this moment and netns.
    #[inline]
    pub fn record(&mut self, packet: Option<PacketId>, event: impl FnOnce() -> Event) {
        self.trace.record(self.now, self.netns, packet, event);
    }

    /// Appends an event of [`crate::trace::Level::Flows`] about this moment and netns.
    #[inline]
    pub fn record_flow(&mut self, packet: Option<PacketId>, event: impl FnOnce() -> Event) {
        self.trace.record_flow(self.now, self.netns, packet, event);
    }

    /// Ends a packet in this netns now.
    pub fn end(&mut self, packet: Packet, terminal: Terminal) {
        self.trace.end(self.now, self.netns, packet, terminal);
    }

    /// Creates a packet in this netns now; see [`Trace::create`].
    pub fn create(
        &mut self,
        origin: Origin,
        cause: Option<PacketId>,
        flow: Option<FlowId>,
        bytes: Vec<u8>,
    ) -> Packet {
        self.trace.create(self.now, self.netns, origin, cause, flow, bytes)
    }
}

/// An effect that a subsystem leaves to others. `stack` carries it out as soon as the subsystem has returned; links and timers
/// are left to `world`.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Put a frame on the link of a veth or loopback. For the world.
    Link {
        /// The sending device.
        device: DeviceId,
        /// The frame.
        packet: QueuedPacket,
    },
    /// End a packet that a subsystem held and gives up.
    End {
        /// The packet.
        packet: QueuedPacket,
        /// How it ends.
        terminal: Terminal,
    },
    /// Send a frame by a device (`dev_queue_xmit`).
    Transmit {
        /// The sending device.
        device: DeviceId,
        /// The frame.
        packet: QueuedPacket,
    },
    /// Send an ICMP destination unreachable about `original` (`icmp_send`, net/ipv4/icmp.c).
    IcmpUnreachable {
        /// A copy of the IP packet, from its IP header on, as it was when refused.
        original: Box<OriginalPacket>,
        /// ICMP code (RFC 792; 3 is port unreachable).
        code: u8,
    },
    /// Answer a TCP segment with a RST (`nf_send_reset`, net/ipv4/netfilter/nf_reject_ipv4.c).
    TcpReset {
        /// The refused segment.
        original: Box<OriginalPacket>,
    },
    /// Wake a socket later.
    SocketTimer {
        /// When.
        at: Instant,
        /// Which timer of which socket.
        timer: SocketTimer,
    },
    /// Look later for fragments that have waited too long.
    DefragTimer {
        /// When.
        at: Instant,
    },
    /// Look at an unresolved neighbour again later (ARP retransmission).
    NeighTimer {
        /// When.
        at: Instant,
        /// Device on which the neighbour is.
        device: DeviceId,
        /// The neighbour's address.
        addr: Ipv4Addr,
    },
}

impl Effect {
    /// Left for the world to carry out: what reaches beyond the netns, or into the future.
    pub const fn is_for_world(&self) -> bool {
        match self {
            Self::Link { .. }
            | Self::SocketTimer { .. }
            | Self::DefragTimer { .. }
            | Self::NeighTimer { .. } => true,
            Self::End { .. }
            | Self::Transmit { .. }
            | Self::IcmpUnreachable { .. }
            | Self::TcpReset { .. } => false,
        }
    }
}

impl OriginalPacket {
    /// A copy of a packet that is being refused.
    pub fn of(packet: &Packet, state: HookState) -> Self {
        Self {
            id: packet.id,
            flow: packet.flow,
            bytes: packet.l3().to_vec(),
            src_mac: packet.ethernet().src(),
            dst_mac: packet.ethernet().dst(),
            meta: (*packet.meta).clone(),
            state,
        }
    }
}

/// A packet that was refused, kept for the answer that tells its sender. A copy for reading, not accounted as a packet.
#[derive(Clone, Debug)]
pub struct OriginalPacket {
    /// The packet that was refused; the answer names it as its cause.
    pub id: PacketId,
    /// Its flow, which the answer inherits.
    pub flow: Option<FlowId>,
    /// Its bytes from the IP header on, as they were when refused.
    pub bytes: Vec<u8>,
    /// Source MAC of the frame that brought it.
    pub src_mac: MacAddr,
    /// Destination MAC of that frame.
    pub dst_mac: MacAddr,
    /// Its metadata; a reset inherits the conntrack entry (`nf_ct_attach`).
    pub meta: Meta,
    /// Where it was refused.
    pub state: HookState,
}
