//! Lets the simulator follow another arm: one exchange at a time, replaying decisions until the observations match.

mod loss;

pub(crate) use loss::{COURSES_MAX, LossyEnds};

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use sim::arrivals::{Arrival, Seen};
use sim::draws::{Enumerate, Purpose, Recorded};
use sim::hook::Family;
use sim::ids::NetnsId;
use sim::release::Release;
use sim::time::Instant;
use sim::timer_wheel::TimerWheel;
use sim::trace::{DeviceEvent, Event, Kept, Level, TraceEvent};
use sim::world::World;

use loss::Losses;

use super::script::run_script;
use super::{KeptSocket, PATHS_MAX, SimArm, conntrack, endless, run_flow};
use crate::arm::ArmError;
use crate::arm::script::{ScriptState, known_packets};
use crate::counters::{CounterListing, RuleCounter, counted_since};
use crate::frame::{
    Attempt, FlowStart, Frame, FrameDirection, PacketId, Source, TranslatedPort, attempts, parted,
    ports_since,
};
use crate::netns::NetnsName;
use crate::observation::{ConntrackObservation, Mismatch, RawFlow, Transport};
use crate::prepare::{FlowPlan, ScriptPlan};

/// Longer than neighbour resolution and delayed ACKs, shorter than the retransmission timeout of unanswered TCP
/// segments.
const UNREST_MAX: Duration = Duration::from_millis(500);

/// How much later than the simulator a kernel may send the same frame: its timers are less precise the longer they run
/// (8 ms from 64 ms on, kernel/time/timer.c), and the machine may be busy.
const LATENESS_MAX: Duration = Duration::from_millis(40);

/// An exchange that can be followed: a connection or a script.
pub(crate) trait Exchange {
    /// The observations.
    type Seen: Clone + PartialEq;

    /// What it leaves for a later step.
    type Rest;

    /// The netns of the client.
    fn from(&self) -> &NetnsName;

    /// The protocol.
    fn transport(&self) -> Transport;

    /// The source port; zero if a kernel chooses it.
    fn source_port(&self) -> u16;

    /// The packets that start flows.
    fn opening(&self) -> FlowStart<'_>;

    /// The same, and packets that start one on a node which has deleted the first.
    fn reopening(&self) -> FlowStart<'_> {
        self.opening()
    }

    /// The observations in one line.
    fn describe(seen: &Self::Seen) -> String;

    /// Runs it to completion.
    fn run(&self, world: &mut World, netns: NetnsId) -> Result<(Self::Seen, Self::Rest), ArmError>;
}

impl Exchange for FlowPlan {
    type Seen = RawFlow;
    type Rest = KeptSocket;

    fn from(&self) -> &NetnsName {
        &self.from
    }

    fn transport(&self) -> Transport {
        self.transport
    }

    fn source_port(&self) -> u16 {
        self.source_port.unwrap_or(0)
    }

    fn opening(&self) -> FlowStart<'_> {
        FlowStart::Request(&self.request, self.source_port())
    }

    fn reopening(&self) -> FlowStart<'_> {
        FlowStart::RequestOrContinued(&self.request, self.source_port())
    }

    fn describe(seen: &RawFlow) -> String {
        seen.to_string()
    }

    fn run(&self, world: &mut World, netns: NetnsId) -> Result<(RawFlow, KeptSocket), ArmError> {
        run_flow(world, netns, self).map(|ran| (ran.flow, ran.socket))
    }
}

/// The script of a step, and what its connection kept from earlier steps.
pub(crate) struct ScriptExchange<'a> {
    plan: &'a ScriptPlan,
    /// The packets that it sends.
    packets: Vec<(PacketId, Source)>,
    pub(super) state: ScriptState,
    /// When its lines send, in times of the run.
    sent_at: Vec<Duration>,
}

impl<'a> ScriptExchange<'a> {
    pub(super) fn new(plan: &'a ScriptPlan, state: ScriptState, sent_at: Vec<Duration>) -> Self {
        Self { plan, packets: known_packets(plan), state, sent_at }
    }
}

impl Exchange for ScriptExchange<'_> {
    type Seen = Option<Mismatch>;
    type Rest = ScriptState;

    fn from(&self) -> &NetnsName {
        &self.plan.from
    }

    fn transport(&self) -> Transport {
        self.plan.transport
    }

    fn source_port(&self) -> u16 {
        self.plan.source_port
    }

    fn opening(&self) -> FlowStart<'_> {
        FlowStart::Known(&self.packets)
    }

    fn describe(seen: &Option<Mismatch>) -> String {
        Mismatch::describe(seen.as_ref())
    }

    fn run(&self, world: &mut World, netns: NetnsId) -> Result<(Option<Mismatch>, ScriptState), ArmError> {
        let mut state = self.state.clone();
        let (_, mismatch) = run_script(world, netns, self.plan, &mut state, &self.sent_at)?;
        Ok((mismatch, state))
    }
}

/// What another arm shows of an exchange.
#[derive(Debug)]
pub(crate) struct Shown<S> {
    /// The observations.
    pub(crate) seen: S,
    /// The paths of the client's first packets.
    attempts: Vec<Attempt>,
    ports: Vec<TranslatedPort>,
    /// Where the mode's counters are listed.
    listing: CounterListing,
    /// Traces on nodes. Used if the choices may not be seen in frames: a packet that is dropped after translation, or
    /// waits in vain for its next hop, appears on no device.
    left: BTreeMap<String, Traces>,
    /// Where frames are lost, if links lose a share of them, and when the traces were read.
    losses: Option<(LossyEnds, Instant)>,
}

/// Traces of an exchange on a node, besides frames.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Traces {
    /// Its conntrack entries.
    entries: Vec<ConntrackObservation>,
    /// [`CounterListing::first_packets`], if needed: a packet dropped after translation leaves no other trace.
    first_packets: Option<BTreeMap<String, Vec<u64>>>,
}

/// When the counters of a node are needed beside its conntrack entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CountersNeeded {
    /// If there is no entry: every packet of a connection has the same addresses, so the first one that passes makes it.
    WithoutEntries,
    /// Always: of several packets of a script, some may have an entry and others not.
    Always,
}

impl<S> Shown<S> {
    /// From the frames captured meanwhile, which may include unrelated ones.
    pub(crate) fn new(
        exchange: &impl Exchange<Seen = S>,
        seen: S,
        frames: &[Frame],
        listing: CounterListing,
    ) -> Self {
        let of = |start| attempts(frames, &exchange.from().to_string(), start);
        let attempts = of(exchange.opening());
        let ports = ports_since(&attempts, of(exchange.reopening()));
        Self { seen, attempts, ports, listing, left: BTreeMap::new(), losses: None }
    }

    /// True if one of the client's first packets was seen in this netns.
    pub(crate) fn has_seen(&self, netns: &str) -> bool {
        self.attempts.iter().flat_map(|attempt| &attempt.hops).any(|hop| hop.place.netns == netns)
    }

    /// Adds the conntrack tables of nodes. `counters` reads the rule counters of a node, and is called only if needed.
    pub(crate) fn with_tables(
        mut self,
        exchange: &impl Exchange<Seen = S>,
        tables: BTreeMap<String, Vec<ConntrackObservation>>,
        needed: CountersNeeded,
        mut counters: impl FnMut(&str) -> Result<Vec<RuleCounter>, ArmError>,
    ) -> Result<Self, ArmError> {
        for (node, entries) in of_exchange(exchange, tables, self.decided()) {
            for entry in &entries {
                let port = translated_port(&node, entry);
                if self.ports.iter().all(|known| !known.is_of(&port) || !known.is_changed()) {
                    self.ports.retain(|known| !known.is_of(&port));
                    self.ports.push(port);
                }
            }
            let first_packets = match needed {
                CountersNeeded::WithoutEntries if !entries.is_empty() => None,
                CountersNeeded::WithoutEntries | CountersNeeded::Always => {
                    Some(self.listing.first_packets(&counters(&node)?))
                }
            };
            self.left.insert(node, Traces { entries, first_packets });
        }
        Ok(self)
    }

    /// What decisions determine of an entry.
    fn decided(&self) -> fn(ConntrackObservation) -> ConntrackObservation {
        if self.losses.is_some() { loss::with_phase } else { without_progress }
    }

    /// The time when the client's first packet was first seen.
    pub(crate) fn begun(&self) -> Option<Duration> {
        self.attempts.first()?.begun()
    }
}

/// One possible course of an exchange.
struct Alternative<S> {
    /// The decisions that lead to it.
    path: Enumerate,
    /// The observations.
    seen: S,
    /// The paths of the client's first packets.
    attempts: Vec<Attempt>,
    /// As [`Shown::left`], on the same nodes.
    left: BTreeMap<String, Traces>,
}

impl SimArm {
    /// Runs an exchange as another arm did: with the decisions whose packets take the same paths, or the closest match.
    pub(crate) fn follow<E: Exchange>(
        &mut self,
        exchange: &E,
        shown: &Shown<E::Seen>,
    ) -> Result<(E::Seen, E::Rest), ArmError> {
        let path = self.path_of(exchange, shown)?;
        self.take_path(exchange, shown, path)
    }

    /// Runs an exchange with these decisions and the other arm's ports.
    fn take_path<E: Exchange>(
        &mut self,
        exchange: &E,
        shown: &Shown<E::Seen>,
        path: Enumerate,
    ) -> Result<(E::Seen, E::Rest), ArmError> {
        let netns = self.id(exchange.from())?;
        let recorded = self.nat_ports(exchange.transport(), &shown.ports);
        self.world.draws_mut().follow(path, recorded);
        let result = exchange.run(&mut self.world, netns);
        // Later decisions are drawn from the seed again.
        self.world.draws_mut().replay([]);
        result
    }

    /// Finds the decisions whose packets take the same paths as on the other arm. Does not change the state.
    ///
    /// Alternatives are tried in order. If a packet deviates, one of the decisions made up to that point is wrong, so
    /// all alternatives with the same prefix are skipped: a client with five attempts and ten endpoints each has
    /// 100,000 alternatives, of which fifty are tried.
    fn path_of<E: Exchange>(&self, exchange: &E, shown: &Shown<E::Seen>) -> Result<Enumerate, ArmError> {
        let mut best: Option<(Option<Instant>, Enumerate)> = None;
        let mut next = Some(Enumerate::first());
        for _ in 0..PATHS_MAX {
            let Some(path) = next.take() else { break };
            let Alternative { path, seen, attempts, left } = self.try_path(exchange, shown, path, None)?;
            let parted = parted(&attempts, &shown.attempts).map(|parting| instant(parting.at()));
            if parted.is_none() && seen == shown.seen && left == shown.left {
                return Ok(path.again());
            }
            next = match parted {
                Some(at) => path.next_path_that_differs_by(at),
                None => path.next_path(),
            };
            if best.as_ref().is_none_or(|(known, _)| is_later(*known, parted)) {
                best = Some((parted, path.again()));
            }
        }
        best.map(|(_, path)| path)
            .ok_or_else(|| ArmError::Internal("an exchange has no possible course".to_owned()))
    }

    fn try_path<E: Exchange>(
        &self,
        exchange: &E,
        shown: &Shown<E::Seen>,
        path: Enumerate,
        losses: Option<&Losses>,
    ) -> Result<Alternative<E::Seen>, ArmError> {
        let netns = self.id(exchange.from())?;
        let mut world = self.world.fork();
        if let Some(losses) = losses {
            world.draws_mut().redraw_deliveries(losses.series);
        }
        world.set_level(Level::Everything);
        world.set_kept(Kept::All);
        world.draws_mut().follow(path.clone(), self.nat_ports(exchange.transport(), &shown.ports));
        let (seen, _) = exchange.run(&mut world, netns)?;
        let path = world.draws().enumerated().cloned().unwrap_or(path);
        let mut frames = self.frames_of(world.trace().events());
        if let Some((ends, read_at)) = &shown.losses {
            frames.retain(|frame| !ends.hide(frame));
            // What the client sent when it closed changes tables, and is on its way.
            let limit = world.run_until(world.now().max(*read_at));
            endless::check(&world, limit)?;
        }
        let attempts = attempts(&frames, &exchange.from().to_string(), exchange.opening());
        let left = self.left_in(&world, exchange, shown, losses)?;
        Ok(Alternative { path, seen, attempts, left })
    }

    /// The traces of an exchange in a world, on the nodes where the other arm shows them.
    fn left_in<E: Exchange>(
        &self,
        world: &World,
        exchange: &E,
        shown: &Shown<E::Seen>,
        losses: Option<&Losses>,
    ) -> Result<BTreeMap<String, Traces>, ArmError> {
        let table = |node: &String| Ok((node.clone(), conntrack(world, self.node(node)?)));
        let tables = shown.left.keys().map(table).collect::<Result<_, ArmError>>()?;
        let traces = |(node, entries): (String, _)| {
            let are_counted = shown.left.get(&node).is_some_and(|traces| traces.first_packets.is_some());
            let counters = are_counted.then(|| self.counters_in(world, shown.listing, &node)).transpose()?;
            // If links lose frames, those of earlier exchanges may differ.
            let counters = counters.map(|now| match losses {
                Some(losses) => counted_since(&losses.before[&node], now),
                None => now,
            });
            let first_packets = counters.map(|counters| shown.listing.first_packets(&counters));
            Ok((node, Traces { entries, first_packets }))
        };
        of_exchange(exchange, tables, shown.decided()).into_iter().map(traces).collect()
    }

    /// From here on, system calls take that long; see [`World::set_call_duration`].
    pub(crate) fn set_call_duration(&mut self, duration: Duration) {
        self.world.set_call_duration(duration);
    }

    /// From here on, timers expire on the ticks of such a kernel.
    pub(crate) fn set_timer_wheel(&mut self, wheel: TimerWheel) {
        self.world.set_timer_wheel(wheel);
    }

    /// From here on, all nodes behave like that release of Linux.
    pub(crate) fn set_release(&mut self, release: Release) {
        self.world.set_release(release);
    }

    /// From here on, `net.core.rmem_max` has this value, in bytes.
    pub(crate) fn set_rmem_max(&mut self, bytes: u32) {
        self.world.set_rmem_max(bytes);
    }

    /// Passes on when the kernel received packets and sent ARP requests: rate limits follow its times (see
    /// [`sim::arrivals`]).
    pub(crate) fn show_arrivals(&mut self, frames: &[Frame]) {
        let ids: BTreeMap<String, NetnsId> =
            self.ids.iter().map(|(netns, id)| (netns.to_string(), *id)).collect();
        let arrivals = frames.iter().filter_map(|frame| {
            let what = match frame.direction {
                FrameDirection::Received => Seen::Packet(frame.ipv4()?),
                FrameDirection::Transmitted => Seen::Request(frame.arp_request()?),
            };
            Some(Arrival { netns: *ids.get(&frame.netns)?, at: Instant::START + frame.at, what })
        });
        self.world.draws_mut().add_arrivals(arrivals);
    }

    /// Advances the time to `elapsed` since the start, unless it has passed.
    pub(crate) fn catch_up(&mut self, elapsed: Duration) -> Result<(), ArmError> {
        let until = Instant::START + elapsed;
        if self.world.now() < until {
            self.run_until(until)?;
        }
        Ok(())
    }

    /// The time until no frame is sent for a while, if nothing else happens; zero if none is pending. Activity after a
    /// pause longer than [`UNREST_MAX`] is ignored.
    pub(crate) fn unrest(&self) -> Duration {
        let mut world = self.world.fork();
        world.set_level(Level::Everything);
        world.set_kept(Kept::All);
        world.run_until(world.now() + UNREST_MAX);
        let last = world.trace().events().iter().rfind(|event| matches!(event.event, Event::Device(_)));
        last.map_or(Duration::ZERO, |event| event.at.saturating_since(self.world.now()) + LATENESS_MAX)
    }

    /// The current counters of all rules of a node.
    pub(crate) fn counters(&self, listing: CounterListing, node: &str) -> Result<Vec<RuleCounter>, ArmError> {
        self.counters_in(&self.world, listing, node)
    }

    fn counters_in(
        &self,
        world: &World,
        listing: CounterListing,
        node: &str,
    ) -> Result<Vec<RuleCounter>, ArmError> {
        let netns = world.netns(self.node(node)?);
        let text = match listing {
            CounterListing::IptablesSave => netns.xtables.save(Family::Ipv4, true),
        };
        Ok(listing.parse(&text))
    }

    /// Frames on devices since the last call.
    pub(crate) fn take_frames(&mut self) -> Vec<Frame> {
        let frames = self.frames_of(&self.world.trace().events()[self.frames_taken..]);
        if self.is_recorded {
            self.frames_taken = self.world.trace().events().len();
        } else {
            self.world.take_events();
        }
        frames
    }

    /// Keeps every event from now on until its frame is taken.
    pub(crate) fn keep_frames(&mut self) {
        self.world.set_kept(Kept::All);
    }

    /// The random offsets with which searches for a free port started, by netns and source.
    fn nat_ports(&self, transport: Transport, ports: &[TranslatedPort]) -> Vec<Recorded> {
        let recorded = |port: &TranslatedPort| {
            let owner =
                self.ids.iter().find(|(netns, _)| netns.to_string() == port.netns).map(|(_, id)| *id)?;
            let (addr, before) = port.before;
            let value = search_start(transport, before, port.after)?;
            let source = addr.map(|addr| (addr.into(), before));
            Some(Recorded { owner, purpose: Purpose::NatPort, source, value })
        };
        ports.iter().filter_map(recorded).collect()
    }

    fn frames_of(&self, events: &[TraceEvent]) -> Vec<Frame> {
        let frame = |event: &TraceEvent| {
            let Event::Device(device_event) = &event.event else { return None };
            let (device, bytes, direction) = match device_event {
                DeviceEvent::Received { device, frame } => (*device, frame, FrameDirection::Received),
                DeviceEvent::Transmitted { device, frame } => (*device, frame, FrameDirection::Transmitted),
            };
            Some(Frame {
                at: Duration::from_nanos(event.at.as_nanos()),
                netns: self.world.netns(event.netns).name.to_string(),
                device: plan_name(self.world.device_name(event.netns, device)).to_owned(),
                direction,
                bytes: bytes.clone(),
            })
        };
        events.iter().filter_map(frame).collect()
    }
}

/// A device's name in the plan. The port of a Pod recreated with its old address has a letter appended.
fn plan_name(name: &str) -> &str {
    const PORT_NAME_LEN: usize = "veth00000000".len();
    match name.starts_with("veth") {
        true => name.get(..PORT_NAME_LEN).unwrap_or(name),
        false => name,
    }
}

/// The entries of an exchange in the tables of nodes, reduced to what decisions determine: the progress of a TCP
/// connection depends on timing.
///
/// An entry has the client's source port, or the addresses that the exchange has after the translation of another one.
/// Entries are sorted, because a kernel lists them in the order of its hash table.
fn of_exchange(
    exchange: &impl Exchange,
    tables: BTreeMap<String, Vec<ConntrackObservation>>,
    decided: fn(ConntrackObservation) -> ConntrackObservation,
) -> BTreeMap<String, Vec<ConntrackObservation>> {
    let of_protocol = |entry: &ConntrackObservation| entry.protocol == exchange.transport();
    let all: Vec<_> = tables.values().flatten().filter(|entry| of_protocol(entry)).collect();
    let begins = |entry: &&ConntrackObservation| entry.source_ports().0 == exchange.source_port();
    let mut passed: BTreeSet<_> = all.iter().copied().filter(begins).map(|entry| entry.before()).collect();
    loop {
        let next = all.iter().filter(|entry| passed.contains(&entry.before())).map(|entry| entry.after());
        let next: Vec<_> = next.filter(|end| !passed.contains(end)).collect();
        if next.is_empty() {
            break;
        }
        passed.extend(next);
    }
    let is_own = |entry: &ConntrackObservation| of_protocol(entry) && passed.contains(&entry.before());
    let own = |table: Vec<_>| {
        let mut own: Vec<_> = table.into_iter().filter(is_own).map(decided).collect();
        own.sort_by_key(|entry| (entry.original, entry.reply));
        own
    };
    tables.into_iter().map(|(node, table)| (node, own(table))).collect()
}

/// What an entry on a node shows about the source port.
fn translated_port(node: &str, entry: &ConntrackObservation) -> TranslatedPort {
    let (before, after) = entry.source_ports();
    let addr = match entry.original.0.ip() {
        IpAddr::V4(addr) => Some(addr),
        IpAddr::V6(_) => None,
    };
    TranslatedPort { netns: node.to_owned(), before: (addr, before), after }
}

/// An entry without what depends on timing.
fn without_progress(entry: ConntrackObservation) -> ConntrackObservation {
    ConntrackObservation { tcp_state: None, is_assured: false, expires_in: Duration::ZERO, ..entry }
}

/// True if a course that parts at this time comes nearer than one that parts at the known time. `None` is later than any
/// time: it does not part.
fn is_later(known: Option<Instant>, parted: Option<Instant>) -> bool {
    match (known, parted) {
        (Some(known), Some(parted)) => parted > known,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// This long after the start.
fn instant(elapsed: Duration) -> Instant {
    Instant::from_nanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
}

/// The offset with which a search for a free port finds this one first.
///
/// Linux: the ranges of `nf_nat_l4proto_unique_tuple`, net/netfilter/nf_nat_core.c.
fn search_start(transport: Transport, before: u16, after: u16) -> Option<u32> {
    let first = match (transport, before) {
        (Transport::Icmp, _) => 0,
        (_, 0..512) => 1,
        (_, 512..1024) => 600,
        (_, 1024..) => 1024,
    };
    after.checked_sub(first).map(u32::from)
}

#[cfg(test)]
mod tests;
