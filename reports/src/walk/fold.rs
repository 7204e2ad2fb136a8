//! The fold over the event stream.

use super::sequence::Sequences;
use super::{Acceptance, Beginning, Ending, FlowWalk, Hop, Journey, Opening, Walk, WalkStep, WalkStepKind};
use sim::hook::Hook;
use sim::ids::{FlowId, NetnsId, PacketId};
use sim::time::Instant;
use sim::trace::{Event, HookEvent, NatEvent, PacketEvent, RuleAction, RuleEvent, SocketEvent, TraceEvent};
use std::collections::BTreeMap;

/// Folds the events of a run part by part, such as step by step. Connections may go on from one part to the next.
#[derive(Debug, Default)]
pub struct Folder {
    sequences: Sequences,
}

impl Folder {
    /// Folds the events that follow those of the last call.
    pub fn fold<'a>(&mut self, events: &'a [TraceEvent]) -> Walk<'a> {
        let mut fold = Fold { sequences: std::mem::take(&mut self.sequences), ..Fold::default() };
        for event in events {
            fold.take(event);
        }
        self.sequences = std::mem::take(&mut fold.sequences);
        fold.finish()
    }
}

#[derive(Default)]
struct Fold<'a> {
    flows: BTreeMap<FlowId, FlowWalk<'a>>,
    packets: BTreeMap<PacketId, Track<'a>>,
    background: Vec<(NetnsId, WalkStep<'a>)>,
    /// Route lookups made before their packet existed, for the netns and time of the latest event.
    lookups: Vec<(NetnsId, WalkStep<'a>)>,
    sequences: Sequences,
}

/// A journey under construction, and where its packet currently is.
struct Track<'a> {
    flow: Option<FlowId>,
    journey: Journey<'a>,
    hook: Option<Hook>,
    chains: Vec<&'a str>,
}

impl<'a> Fold<'a> {
    fn take(&mut self, event: &'a TraceEvent) {
        let kind = match &event.event {
            Event::Packet(packet) => return self.take_packet(event, packet),
            Event::Device(it) => WalkStepKind::Device(it),
            Event::Bridge(it) => WalkStepKind::Bridge(it),
            Event::Hook(it) => WalkStepKind::Hook(it),
            Event::Rule(it) => WalkStepKind::Rule(it),
            Event::Conntrack(it) => WalkStepKind::Conntrack(it),
            Event::Nat(it) => WalkStepKind::Nat(it),
            Event::Ipvs(it) => WalkStepKind::Ipvs(it),
            Event::Route(it) => WalkStepKind::Route(it),
            Event::Neigh(it) => WalkStepKind::Neigh(it),
            Event::Socket(it) => {
                let is_told_by_flow = self.take_socket(event.netns, it);
                if is_told_by_flow && event.packet.is_none() {
                    return;
                }
                WalkStepKind::Socket(it)
            }
        };
        let step = WalkStep { at: event.at, hook: None, depth: 0, kind };
        match event.packet {
            Some(id) => self.track(id).take_step(event.netns, step),
            None => self.take_background(event.netns, step),
        }
    }

    /// Attaches a route lookup to a packet. A socket looks up its route before it creates a packet; the first packet of
    /// the same netns and time takes such steps along.
    fn take_background(&mut self, netns: NetnsId, step: WalkStep<'a>) {
        if let WalkStepKind::Route(_) = step.kind {
            self.settle_lookups(netns, step.at);
            self.lookups.push((netns, step));
        } else {
            self.background.push((netns, step));
        }
    }

    /// Flushes lookups of another netns or time: they led to no packet.
    fn settle_lookups(&mut self, netns: NetnsId, at: Instant) {
        let is_other = self.lookups.first().is_some_and(|(of, step)| (*of, step.at) != (netns, at));
        if is_other {
            self.background.append(&mut self.lookups);
        }
    }

    fn take_packet(&mut self, event: &TraceEvent, packet: &'a PacketEvent) {
        let Some(id) = event.packet else { return };
        match packet {
            PacketEvent::Created { origin, cause, flow, frame } => {
                let beginning =
                    Beginning { at: event.at, netns: event.netns, origin: *origin, cause: *cause, frame };
                let origins = self.sequences.of(id, &beginning);
                self.settle_lookups(event.netns, event.at);
                let steps = self.lookups.drain(..).map(|(_, step)| step).collect();
                let track = self.track(id);
                track.flow = *flow;
                track.journey.beginning = Some(beginning);
                track.journey.origins = origins;
                track.journey.hops.push(Hop { netns: event.netns, steps });
            }
            PacketEvent::Ended { flow, terminal } => {
                let track = self.track(id);
                track.flow = track.flow.or(*flow);
                track.journey.ending = Some(Ending { at: event.at, netns: event.netns, terminal: *terminal });
            }
        }
    }

    fn track(&mut self, id: PacketId) -> &mut Track<'a> {
        self.packets.entry(id).or_insert_with(|| Track::new(id))
    }

    /// Adds a socket event to its flow; false if the event belongs to no flow.
    fn take_socket(&mut self, netns: NetnsId, event: &SocketEvent) -> bool {
        match *event {
            SocketEvent::Opened { flow, protocol, local, remote, socket: _ } => {
                self.flow(flow).opening = Some(Opening { netns, protocol, local, remote });
            }
            SocketEvent::Accepted { flow: Some(flow), local, remote, socket: _ } => {
                self.flow(flow).acceptances.push(Acceptance { netns, local, remote });
            }
            SocketEvent::Accepted { flow: None, .. } => return false,
            SocketEvent::Finished { flow, outcome, socket: _ } => self.flow(flow).outcome = Some(outcome),
        }
        true
    }

    fn flow(&mut self, id: FlowId) -> &mut FlowWalk<'a> {
        self.flows.entry(id).or_insert_with(|| FlowWalk {
            flow: id,
            opening: None,
            acceptances: Vec::new(),
            outcome: None,
            journeys: Vec::new(),
        })
    }

    /// Sorts the journeys into their flows. A packet without a flow, such as the ARP request for a next hop, goes with
    /// its cause.
    fn finish(mut self) -> Walk<'a> {
        self.background.append(&mut self.lookups);
        let mut flow_of: BTreeMap<PacketId, FlowId> = BTreeMap::new();
        let mut strays = Vec::new();
        for (id, track) in std::mem::take(&mut self.packets) {
            let cause = track.journey.beginning.and_then(|beginning| beginning.cause);
            match track.flow.or_else(|| flow_of.get(&cause?).copied()) {
                Some(flow) => {
                    flow_of.insert(id, flow);
                    self.flow(flow).journeys.push(track.journey);
                }
                None => strays.push(track.journey),
            }
        }
        Walk { flows: self.flows.into_values().collect(), strays, background: self.background }
    }
}

impl<'a> Track<'a> {
    fn new(packet: PacketId) -> Self {
        Self {
            flow: None,
            journey: Journey { packet, beginning: None, origins: None, hops: Vec::new(), ending: None },
            hook: None,
            chains: Vec::new(),
        }
    }

    fn take_step(&mut self, netns: NetnsId, step: WalkStep<'a>) {
        if self.journey.hops.last().is_none_or(|hop| hop.netns != netns) {
            self.journey.hops.push(Hop { netns, steps: Vec::new() });
            self.hook = None;
        }
        if let WalkStepKind::Hook(HookEvent::Entered { hook, .. }) = step.kind {
            self.hook = Some(*hook);
            self.chains.clear();
        }
        let depth = match step.kind {
            WalkStepKind::Rule(RuleEvent::Matched { rule, action }) => self.enter_chain(&rule.chain, action),
            WalkStepKind::Rule(RuleEvent::Policy { .. })
            | WalkStepKind::Device(_)
            | WalkStepKind::Bridge(_)
            | WalkStepKind::Hook(_)
            | WalkStepKind::Conntrack(_)
            | WalkStepKind::Nat(_)
            | WalkStepKind::Ipvs(_)
            | WalkStepKind::Route(_)
            | WalkStepKind::Neigh(_)
            | WalkStepKind::Socket(_) => 0,
        };
        if let Some(hop) = self.journey.hops.last_mut() {
            push_step(&mut hop.steps, WalkStep { hook: self.hook, depth, ..step });
        }
        if let WalkStepKind::Hook(HookEvent::Accepted { .. } | HookEvent::Dropped { .. }) = step.kind {
            self.hook = None;
        }
    }

    /// Follows jumps: the depth of a rule is the number of chains to which evaluation will return.
    fn enter_chain(&mut self, chain: &'a str, action: &'a RuleAction) -> usize {
        match self.chains.iter().rposition(|open| *open == chain) {
            // The chains above it ended without a verdict, which the stream does not record.
            Some(at) => self.chains.truncate(at + 1),
            None => self.chains = vec![chain],
        }
        let depth = self.chains.len() - 1;
        match action {
            RuleAction::Jump(target) => self.chains.push(target),
            RuleAction::Goto(target) => self.chains[depth] = target,
            RuleAction::Continue
            | RuleAction::Accept
            | RuleAction::Drop
            | RuleAction::Reject
            | RuleAction::Return
            | RuleAction::Mark { .. }
            | RuleAction::CtMark { .. }
            | RuleAction::Mss { .. }
            | RuleAction::Nat
            | RuleAction::NoTrack => {}
        }
        depth
    }
}

/// Appends a step. A NAT rule is recorded after the binding that it created; the rule is moved before it, so that the
/// cause comes first.
fn push_step<'a>(steps: &mut Vec<WalkStep<'a>>, step: WalkStep<'a>) {
    let is_nat_rule =
        matches!(step.kind, WalkStepKind::Rule(RuleEvent::Matched { action: RuleAction::Nat, .. }));
    let follows_binding =
        steps.last().is_some_and(|last| matches!(last.kind, WalkStepKind::Nat(NatEvent::Bound { .. })));
    let at = if is_nat_rule && follows_binding { steps.len() - 1 } else { steps.len() };
    steps.insert(at, step);
}
