//! The packet walk: a fold of the event stream into journeys, hops and steps.
//!
//! A [`Walk`] groups packets by the flow that a scenario step started. Each packet has one [`Journey`]; a journey is a
//! sequence of [`Hop`]s, one for each netns that the packet entered; a hop is a sequence of [`Step`]s in the order in
//! which they happened. The fold adds what the stream leaves implicit: in which hook a step happened and how deep in
//! jumps a rule was. It decides nothing, so text and HTML can both be made of it.

mod alike;
mod fold;
pub mod row;
mod sequence;
pub mod text;

pub use alike::Alike;

use crate::frame::Origins;
use sim::device::{DeviceId, NetnsId};
use sim::netfilter::Hook;
use sim::packet::{FlowId, Origin, PacketId};
use sim::time::Instant;
use sim::trace::{
    BridgeEvent, ConntrackEvent, DeviceEvent, HookEvent, NatEvent, NeighEvent, Outcome, RouteEvent,
    RuleEvent, SocketEvent, Terminal, TraceEvent,
};
use std::net::Ipv4Addr;

/// Everything that happened to the packets of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk<'a> {
    /// The flows that scenario steps started, in order of their ids.
    pub flows: Vec<FlowWalk<'a>>,
    /// Packets that belong to no flow and were not caused by one of a flow, in order of creation.
    pub strays: Vec<Journey<'a>>,
    /// What happened while no packet was handled: timeouts, neighbours that failed.
    pub background: Vec<(NetnsId, Step<'a>)>,
}

impl<'a> Walk<'a> {
    /// Folds the events of a run.
    pub fn fold(events: &'a [TraceEvent]) -> Self {
        fold::fold(events)
    }
}

/// A connection or exchange that a scenario step started, with every packet that it caused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowWalk<'a> {
    /// Which flow.
    pub flow: FlowId,
    /// How the socket that started it was opened; `None` if the packets were injected.
    pub opening: Option<Opening>,
    /// Servers that accepted it, in order; a flow that is balanced anew can have more than one.
    pub acceptances: Vec<Acceptance>,
    /// How it ended for the one that started it; `None` if the run ended first.
    pub outcome: Option<Outcome>,
    /// Its packets in order of creation.
    pub journeys: Vec<Journey<'a>>,
}

/// How a flow began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The netns of the socket.
    pub netns: NetnsId,
    /// Protocol number.
    pub protocol: u8,
    /// Own end.
    pub local: (Ipv4Addr, u16),
    /// Other end, as the user named it.
    pub remote: (Ipv4Addr, u16),
}

/// How a server saw a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The netns of the server.
    pub netns: NetnsId,
    /// Its end.
    pub local: (Ipv4Addr, u16),
    /// The client as the server saw it.
    pub remote: (Ipv4Addr, u16),
}

/// One packet from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journey<'a> {
    /// The packet.
    pub packet: PacketId,
    /// How it began; `None` if the recording does not say.
    pub beginning: Option<Beginning<'a>>,
    /// From where its TCP numbers count; `None` for other protocols, and where the SYN was not recorded.
    pub origins: Option<Origins>,
    /// The netns that it entered, in order.
    pub hops: Vec<Hop<'a>>,
    /// How it ended; `None` if it was still under way when the run ended.
    pub ending: Option<Ending>,
}

/// How a packet began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning<'a> {
    /// When.
    pub at: Instant,
    /// In which netns.
    pub netns: NetnsId,
    /// Why.
    pub origin: Origin,
    /// The packet that it answers or copies.
    pub cause: Option<PacketId>,
    /// Its bytes from the Ethernet header on.
    pub frame: &'a [u8],
}

/// How a packet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When.
    pub at: Instant,
    /// In which netns.
    pub netns: NetnsId,
    /// How.
    pub terminal: Terminal,
}

/// A packet's stay in one netns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop<'a> {
    /// The netns.
    pub netns: NetnsId,
    /// What happened there, in order.
    pub steps: Vec<Step<'a>>,
}

impl Hop<'_> {
    /// The device by which the packet came in; `None` where it was made here.
    pub fn entered_by(&self) -> Option<DeviceId> {
        match self.steps.first()?.kind {
            StepKind::Device(DeviceEvent::Received { device, .. }) => Some(*device),
            StepKind::Device(DeviceEvent::Transmitted { .. })
            | StepKind::Bridge(_)
            | StepKind::Hook(_)
            | StepKind::Rule(_)
            | StepKind::Conntrack(_)
            | StepKind::Nat(_)
            | StepKind::Route(_)
            | StepKind::Neigh(_)
            | StepKind::Socket(_) => None,
        }
    }
}

/// One thing that happened to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// When.
    pub at: Instant,
    /// The hook in which the packet was.
    pub hook: Option<Hook>,
    /// How many jumps led to the chain of a rule; zero for everything that is no rule.
    pub depth: usize,
    /// What happened.
    pub kind: StepKind<'a>,
}

/// What happened in a step: every event but the packet's creation and end, which are [`Beginning`] and [`Ending`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind<'a> {
    /// A frame passed a device.
    Device(&'a DeviceEvent),
    /// A bridge decided.
    Bridge(&'a BridgeEvent),
    /// The packet entered a hook, or left it.
    Hook(&'a HookEvent),
    /// A rule matched, or a policy applied.
    Rule(&'a RuleEvent),
    /// Conntrack looked at the packet.
    Conntrack(&'a ConntrackEvent),
    /// NAT bound the flow or translated the packet.
    Nat(&'a NatEvent),
    /// A routing decision.
    Route(&'a RouteEvent),
    /// A neighbour was asked for, or answered.
    Neigh(&'a NeighEvent),
    /// A socket did something that its user sees.
    Socket(&'a SocketEvent),
}

#[cfg(test)]
mod tests;
