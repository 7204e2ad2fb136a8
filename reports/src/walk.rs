//! The packet walk: a fold of the event stream into journeys, hops and steps.
//!
//! A [`Walk`] groups packets by the flow that a scenario step started. Each packet has one [`Journey`]; a journey is a
//! sequence of [`Hop`]s, one for each netns the packet entered; a hop is a sequence of [`WalkStep`]s in the order of
//! events. The fold adds what the stream leaves implicit: the hook of each step and the jump depth of each rule. It
//! decides nothing, so any output format can be built on it.

mod alike;
mod fold;
pub mod row;
mod sequence;
pub mod text;

pub use alike::Alike;
pub use fold::Folder;

use crate::frame::Origins;
use sim::hook::Hook;
use sim::ids::{DeviceId, FlowId, NetnsId, PacketId};
use sim::packet::Origin;
use sim::time::Instant;
use sim::trace::{
    BridgeEvent, ConntrackEvent, DeviceEvent, HookEvent, IpvsEvent, NatEvent, NeighEvent, Outcome,
    RouteEvent, RuleEvent, SocketEvent, Terminal, TraceEvent,
};
use std::net::IpAddr;

/// Everything that happened to the packets of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk<'a> {
    /// The flows that scenario steps started, ordered by id.
    pub flows: Vec<FlowWalk<'a>>,
    /// Packets that neither belong to a flow nor were caused by a packet of one, in order of creation.
    pub strays: Vec<Journey<'a>>,
    /// Events outside of packet processing: timeouts, neighbours that failed.
    pub background: Vec<(NetnsId, WalkStep<'a>)>,
}

impl<'a> Walk<'a> {
    /// Folds the events of a run.
    pub fn fold(events: &'a [TraceEvent]) -> Self {
        Folder::default().fold(events)
    }
}

/// A connection or exchange started by a scenario step, with every packet that it caused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowWalk<'a> {
    /// The flow id.
    pub flow: FlowId,
    /// How the client socket was opened; `None` if the packets were injected.
    pub opening: Option<Opening>,
    /// Servers that accepted the flow, in order; more than one if a retransmission was load-balanced anew.
    pub acceptances: Vec<Acceptance>,
    /// The outcome for the client; `None` if the run ended first.
    pub outcome: Option<Outcome>,
    /// Its packets in order of creation.
    pub journeys: Vec<Journey<'a>>,
}

/// The start of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The netns of the client socket.
    pub netns: NetnsId,
    /// Protocol number.
    pub protocol: u8,
    /// Local address and port.
    pub local: (IpAddr, u16),
    /// Remote address and port, as the client specified them.
    pub remote: (IpAddr, u16),
}

/// A flow as a server saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The netns of the server.
    pub netns: NetnsId,
    /// Local address and port.
    pub local: (IpAddr, u16),
    /// The client as the server saw it.
    pub remote: (IpAddr, u16),
}

/// One packet from creation to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journey<'a> {
    /// The packet.
    pub packet: PacketId,
    /// Its creation; `None` if it was not recorded.
    pub beginning: Option<Beginning<'a>>,
    /// What its TCP numbers are relative to; `None` for other protocols, and where the SYN was not recorded.
    pub origins: Option<Origins>,
    /// The netns that it entered, in order.
    pub hops: Vec<Hop<'a>>,
    /// Its end; `None` if it was still in flight when the run ended.
    pub ending: Option<Ending>,
}

/// The creation of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning<'a> {
    /// The time.
    pub at: Instant,
    /// The netns.
    pub netns: NetnsId,
    /// The reason.
    pub origin: Origin,
    /// The packet that it answers or copies.
    pub cause: Option<PacketId>,
    /// Its bytes, starting with the Ethernet header.
    pub frame: &'a [u8],
}

/// The end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The time.
    pub at: Instant,
    /// The netns.
    pub netns: NetnsId,
    /// The terminal event.
    pub terminal: Terminal,
}

/// The part of a packet's journey within one netns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop<'a> {
    /// The netns.
    pub netns: NetnsId,
    /// What happened there, in order.
    pub steps: Vec<WalkStep<'a>>,
}

impl Hop<'_> {
    /// The device through which the packet entered; `None` if it was created here.
    pub fn entered_by(&self) -> Option<DeviceId> {
        match self.steps.first()?.device()? {
            DeviceEvent::Received { device, .. } => Some(*device),
            DeviceEvent::Transmitted { .. } => None,
        }
    }

    /// The device that transmitted the packet last; `None` if none did.
    pub fn left_by(&self) -> Option<DeviceId> {
        self.steps.iter().rev().find_map(|step| match step.device()? {
            DeviceEvent::Transmitted { device, .. } => Some(*device),
            DeviceEvent::Received { .. } => None,
        })
    }
}

/// One thing that happened to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkStep<'a> {
    /// The time.
    pub at: Instant,
    /// The hook being traversed.
    pub hook: Option<Hook>,
    /// Jump depth of a rule's chain; zero for steps other than rules.
    pub depth: usize,
    /// What happened.
    pub kind: WalkStepKind<'a>,
}

impl<'a> WalkStep<'a> {
    /// The passage of a device, if it is one.
    fn device(&self) -> Option<&'a DeviceEvent> {
        match self.kind {
            WalkStepKind::Device(event) => Some(event),
            WalkStepKind::Bridge(_)
            | WalkStepKind::Hook(_)
            | WalkStepKind::Rule(_)
            | WalkStepKind::Conntrack(_)
            | WalkStepKind::Nat(_)
            | WalkStepKind::Ipvs(_)
            | WalkStepKind::Route(_)
            | WalkStepKind::Neigh(_)
            | WalkStepKind::Socket(_) => None,
        }
    }
}

/// The event of a step. Creation and end of a packet are not steps but [`Beginning`] and [`Ending`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkStepKind<'a> {
    /// A frame passed a device.
    Device(&'a DeviceEvent),
    /// A bridge decided.
    Bridge(&'a BridgeEvent),
    /// The packet entered or left a hook.
    Hook(&'a HookEvent),
    /// A rule matched, or a policy applied.
    Rule(&'a RuleEvent),
    /// Conntrack processed the packet.
    Conntrack(&'a ConntrackEvent),
    /// NAT bound the flow or translated the packet.
    Nat(&'a NatEvent),
    /// IPVS decided about the packet, or changed it.
    Ipvs(&'a IpvsEvent),
    /// A routing decision.
    Route(&'a RouteEvent),
    /// A neighbour was queried, or answered.
    Neigh(&'a NeighEvent),
    /// An event at a socket that its user observes.
    Socket(&'a SocketEvent),
}

#[cfg(test)]
mod tests;
