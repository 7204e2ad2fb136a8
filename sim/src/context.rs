//! What a subsystem may see and what it may wish for while it handles a packet.
//!
//! A subsystem never acts on the world. It returns a verdict and pushes [`Effect`]s, which `stack` drains.

use crate::device::{DeviceId, Devices, NetnsId};
use crate::draws::Draws;
use crate::fib::Fib;
use crate::ipset::Ipset;
use crate::netfilter::HookState;
use crate::netfilter::conntrack::Conntrack;
use crate::packet::{FlowId, Meta, Packet, PacketId, QueuedPacket};
use crate::socket::SocketTimer;
use crate::sysctl::Sysctls;
use crate::time::Instant;
use crate::trace::{Terminal, Trace};
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
    /// Wishes, in order.
    pub effects: &'a mut Vec<Effect>,
}

/// The disjoint borrows of a netns that a rule evaluator, conntrack and NAT may see.
#[derive(Debug)]
pub struct EvalCtx<'a, 'b> {
    /// Time, draws, recording and effects.
    pub cx: &'a mut Context<'b>,
    /// The hook at which the packet is.
    pub state: HookState,
    /// Devices and their addresses.
    pub devices: &'a Devices,
    /// Routing tables; rules ask for address types (`addrtype`).
    pub fib: &'a Fib,
    /// Settings, such as conntrack timeouts.
    pub sysctls: &'a Sysctls,
    /// Sets, which rules ask and change.
    pub ipset: &'a mut Ipset,
    /// The conntrack table, which also holds the NAT bindings.
    pub conntrack: &'a mut Conntrack,
}

/// A wish of a subsystem. `stack` carries it out as soon as the subsystem has returned; links and timers are left to `world`.
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
            meta: packet.meta.clone(),
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
