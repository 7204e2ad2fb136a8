//! The context in which a subsystem processes a packet, and the effects that it requests.
//!
//! A subsystem does not change the world directly. It returns a verdict and pushes [`Effect`]s, which `stack` carries
//! out.

use crate::draws::Draws;
use crate::hook::HookState;
use crate::ids::{DeviceId, FlowId, NetnsId, PacketId, SocketTimer};
use crate::packet::{Meta, Origin, Packet, QueuedPacket};
use crate::time::Instant;
use crate::trace::{Event, Terminal, Trace};
use crate::wire::{MacAddr, build};
use std::net::IpAddr;

/// State that every function on the packet path needs.
#[derive(Debug)]
pub struct Context<'a> {
    /// Virtual time; constant while one event is processed.
    pub now: Instant,
    /// The current netns.
    pub netns: NetnsId,
    /// The source of every random decision.
    pub draws: &'a mut Draws,
    /// The event recorder, which also accounts for every packet.
    pub trace: &'a mut Trace,
    /// Effects, in order.
    pub effects: &'a mut Vec<Effect>,
}

impl Context<'_> {
    /// Appends an event of [`crate::trace::Level::Everything`] with the current time and netns.
    #[inline]
    pub fn record(&mut self, packet: Option<PacketId>, event: impl FnOnce() -> Event) {
        self.trace.record(self.now, self.netns, packet, event);
    }

    /// Appends an event of [`crate::trace::Level::Flows`] with the current time and netns.
    #[inline]
    pub fn record_flow(&mut self, packet: Option<PacketId>, event: impl FnOnce() -> Event) {
        self.trace.record_flow(self.now, self.netns, packet, event);
    }

    /// The current time for rate limits: that of the kernel that is followed, if it received the packet with this metadata.
    pub const fn limit_time(&self, meta: &Meta) -> Instant {
        Instant::from_nanos(self.now.as_nanos().saturating_add_signed(meta.lateness))
    }

    /// Ends a packet with the current time and netns.
    pub fn end(&mut self, packet: Packet, terminal: Terminal) {
        self.trace.end(self.now, self.netns, packet, terminal);
    }

    /// An empty buffer for a packet with headroom for the lower headers, and capacity for this many bytes after it.
    pub fn buffer(&mut self, capacity: usize) -> Vec<u8> {
        let mut buffer = self.trace.buffer();
        build::reserve_headroom(&mut buffer, capacity);
        buffer
    }

    /// Creates a packet with the current time and netns; see [`Trace::create`].
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

/// A side effect requested by a subsystem. `stack` carries it out as soon as the subsystem returns; links and timers are
/// passed on to `world`.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Put a frame on the link of a veth or loopback. Carried out by the world.
    Link {
        /// The sending device.
        device: DeviceId,
        /// The frame.
        packet: QueuedPacket,
    },
    /// Terminate a packet that a subsystem had queued.
    End {
        /// The packet.
        packet: QueuedPacket,
        /// The terminal event.
        terminal: Terminal,
    },
    /// Transmit a frame on a device (`dev_queue_xmit`).
    Transmit {
        /// The sending device.
        device: DeviceId,
        /// The frame.
        packet: QueuedPacket,
    },
    /// Send an ICMP destination unreachable error about `original` (`icmp_send`, net/ipv4/icmp.c).
    IcmpUnreachable {
        /// A copy of the rejected IP packet, starting with its IP header.
        original: Box<OriginalPacket>,
        /// ICMP code (RFC 792; 3 is port unreachable).
        code: u8,
    },
    /// Reply to a TCP segment with a RST (`nf_send_reset`, net/ipv4/netfilter/nf_reject_ipv4.c).
    TcpReset {
        /// The rejected segment.
        original: Box<OriginalPacket>,
    },
    /// Start a socket timer.
    SocketTimer {
        /// The expiry time.
        at: Instant,
        /// The socket and timer.
        timer: SocketTimer,
    },
    /// Start a timer for fragment queues.
    DefragTimer {
        /// The expiry time.
        at: Instant,
    },
    /// Start a timer for an unresolved neighbour (ARP retransmission).
    NeighTimer {
        /// The expiry time.
        at: Instant,
        /// The neighbour's device.
        device: DeviceId,
        /// The neighbour's address.
        addr: IpAddr,
    },
}

impl Effect {
    /// True for effects that the world carries out, because they reach beyond the netns or into the future.
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
    /// Copies a packet that is being rejected.
    pub fn of(packet: &Packet, state: HookState) -> Self {
        Self {
            id: packet.id,
            flow: packet.flow,
            bytes: packet.l3().to_vec(),
            src_mac: packet.ethernet().src(),
            dst_mac: packet.ethernet().dst(),
            meta: packet.meta.clone(),
            state,
        }
    }
}

/// A rejected packet, kept for the ICMP error or RST. A read-only copy, not accounted as a packet.
#[derive(Clone, Debug)]
pub struct OriginalPacket {
    /// The id of the rejected packet, which is the cause of the reply.
    pub id: PacketId,
    /// Its flow, which the reply inherits.
    pub flow: Option<FlowId>,
    /// Its bytes from the IP header on, at the time of rejection.
    pub bytes: Vec<u8>,
    /// Source MAC of its frame.
    pub src_mac: MacAddr,
    /// Destination MAC of its frame.
    pub dst_mac: MacAddr,
    /// Its metadata; a RST inherits the conntrack entry (`nf_ct_attach`).
    pub meta: Meta,
    /// The hook that rejected it.
    pub state: HookState,
}
