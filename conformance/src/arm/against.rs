//! Runs the kernel and the simulator side by side; the simulator follows the kernel's choices, and differences are
//! recorded.
//!
//! Where the kernel makes a random choice (an endpoint, a masquerade port), the simulator is steered to the same
//! alternative. Everything else must follow: what clients and servers observe, every frame on every device, the
//! conntrack tables. Clients use the same ports on both sides. Over many connections, the kernel's choices are compared
//! with the exact probabilities that the simulator computes.

mod loss;
mod pace;
mod tables;

use loss::Counted;
use pace::{hastened, neigh_sysctls, new_devices};

use std::collections::BTreeMap;
use std::time::Duration;

use proxy_core::generator::Generator;
use proxy_core::load::Load;

use super::kernel::{Exchanged, KeptConnection, KernelArm};
use super::sim::{CountersNeeded, Exchange, KeptExchange, Shown, SimArm};
use super::{Arm, ArmError};
use crate::backend::Backend;
use crate::counters::CounterListing;
use crate::disagreement::{Disagreement, DisagreementKind};
use crate::frame::{Comparison, Frame, Observer, compare};
use crate::netns::NetnsName;
use crate::observation::{ConntrackObservation, Flows, IpvsObservation, RawFlow, Scripted, Transport};
use crate::prepare::{FlowPlan, KeptPlan, ScriptPlan, StateChange};
use crate::proxy::NodeUpdate;
use crate::result::{ArmKind, Recording};
use crate::scenario::Share;
use crate::settings::CLIENT_PORTS;
use crate::shares::Distribution;
use crate::topology::{Topology, TopologyChange};
use sim::trace::Level;

/// How long a system call takes that sends something. Links of a lab have no latency, so everything that a packet causes
/// happens within the call that sends it; on the simulator's links it takes up to this long.
const CALL_DURATION: Duration = Duration::from_millis(2);

/// The granularity of waiting.
const MOMENT: Duration = Duration::from_millis(1);

/// What both sides have captured since the start, in their own order.
#[derive(Debug, Default)]
struct Frames {
    sim: Vec<Frame>,
    kernel: Vec<Frame>,
}

/// What the kernel has shown of a connection.
struct Observed<'a> {
    /// When it began.
    begun: Duration,
    kernel: RawFlow,
    frames: Vec<Frame>,
    /// The node whose kube-proxy comes first.
    via: Option<&'a str>,
    /// Its number in the step.
    number: u32,
}

/// The kernel, with the simulator beside it.
#[derive(Debug)]
pub struct PairedArm {
    kernel: KernelArm,
    sim: SimArm,
    generator: Generator,
    /// The listing with the counters of the mode's rules.
    listing: CounterListing,
    topology: Topology,
    /// Netns attached by a lossy link, with the loss.
    losses: BTreeMap<NetnsName, Share>,
    /// Some link lost frames, not the same ones on both sides: tables may differ from now on.
    have_tables_parted: bool,
    /// Something happened since the last complete comparison.
    is_stale: bool,
    port_offset: u16,
    /// Start time of each step, on the clock of both sides.
    step_starts: Vec<Duration>,
    /// Captured frames that are compared.
    frames: Frames,
    /// How many of [`KernelArm::frames`] the simulator knows.
    frames_shown: usize,
    disagreements: Vec<Disagreement>,
}

impl PairedArm {
    /// Both arms, empty, for the rules of this generator. `seed` is for decisions of the simulator that are not observable. With `is_recorded`, the run
    /// ends with the recording of the simulator.
    pub fn new(backend: Backend, generator: Generator, seed: u64, is_recorded: bool) -> Self {
        let mut sim = match is_recorded {
            true => SimArm::new(seed, Level::Everything),
            false => SimArm::unrecorded(seed, Level::Everything),
        };
        sim.keep_frames();
        Self {
            kernel: KernelArm::new(backend),
            sim,
            generator,
            listing: CounterListing::of(generator),
            topology: Topology { netns: BTreeMap::new(), veths: Vec::new() },
            losses: BTreeMap::new(),
            have_tables_parted: false,
            is_stale: false,
            port_offset: 0,
            step_starts: Vec::new(),
            frames: Frames::default(),
            frames_shown: 0,
            disagreements: Vec::new(),
        }
    }

    /// Permits steps that change sysctls of the whole machine, because nothing else runs on it.
    pub(crate) fn own_machine(&mut self) {
        self.kernel.own_machine();
    }

    /// The differences, in order of detection.
    pub fn disagreements(&self) -> &[Disagreement] {
        &self.disagreements
    }

    fn note(&mut self, kind: DisagreementKind) {
        self.disagreements.push(Disagreement { step: self.step_starts.len(), kind });
    }

    /// The plan of one connection, with a port that was not used recently.
    fn single(&mut self, plan: &FlowPlan) -> FlowPlan {
        let own = self.topology.netns.get(&plan.from);
        let is_served = |port| own.is_some_and(|own| own.listeners.iter().any(|known| known.port == port));
        let port = loop {
            let (first, count) = CLIENT_PORTS;
            let port = first + self.port_offset;
            // The last connection of the first port has long ended when it is reused.
            self.port_offset = (self.port_offset + 1) % count;
            if !is_served(port) {
                break port;
            }
        };
        FlowPlan { count: 1, source_port: plan.source_port.or(Some(port)), ..plan.clone() }
    }

    /// Runs one connection on the kernel, then the same on the simulator.
    fn run_flow(&mut self, plan: &FlowPlan, number: u32) -> Result<RawFlow, ArmError> {
        let plan = &self.single(plan);
        let before_losses = self.counters_before_losses()?;
        let begun = self.kernel.elapsed();
        let Exchanged { flow: kernel, frames, lasted } = self.kernel.run_flow(plan)?;
        // A busy machine wakes a client late that gives up. Its socket goes on meanwhile, and may send another SYN, so the
        // simulator's client gives up as late.
        let plan = &FlowPlan { timeout: plan.timeout.max(lasted), ..plan.clone() };
        let shown = Observed { begun, kernel, frames, via: plan.via.as_deref(), number };
        let (kernel, socket) = self.follow_flow(plan, shown, before_losses)?;
        self.sim.keep(plan, socket);
        Ok(kernel)
    }

    /// Sends a request on a kept connection on the kernel, or closes it, then the same on the simulator.
    fn run_kept(
        &mut self,
        plan: &KeptPlan,
        connection: KeptConnection,
        exchange: KeptExchange<'_>,
        number: u32,
    ) -> Result<RawFlow, ArmError> {
        let before_losses = self.counters_before_losses()?;
        let begun = self.kernel.elapsed();
        let (kernel, frames) = self.kernel.run_kept(plan, connection)?;
        let shown = Observed { begun, kernel, frames, via: plan.opened.via.as_deref(), number };
        self.follow_flow(&exchange, shown, before_losses).map(|(kernel, ())| kernel)
    }

    /// Runs on the simulator what the kernel has run, with the kernel's choices.
    fn follow_flow<E: Exchange<Seen = RawFlow>>(
        &mut self,
        exchange: &E,
        observed: Observed<'_>,
        before_losses: Option<Counted>,
    ) -> Result<(RawFlow, E::Rest), ArmError> {
        let Observed { begun, kernel, frames, via, number } = observed;
        self.show_frames()?;
        let frames = self.without_lost(frames);
        let mut shown = Shown::new(exchange, kernel.clone(), &frames, self.listing);
        if kernel.answer.is_none() && before_losses.is_none() {
            let nodes = self.nodes_on_the_way(&shown, via);
            shown = self.with_tables(exchange, shown, nodes, CountersNeeded::WithoutEntries)?;
        }
        // Synchronizes the simulator's clock to the start of the connection, so that state which depends on time, such
        // as tokens for ICMP errors, is equal.
        self.sim.catch_up(shown.begun().unwrap_or(begun))?;
        if let Some(before) = before_losses {
            let rest = self.follow_through_losses(exchange, shown, &before, Some(number))?;
            return Ok((kernel, rest));
        }
        let (sim, rest) = self.sim.follow(exchange, &shown)?;
        if sim != kernel {
            self.note(DisagreementKind::Flow {
                number,
                sim: Box::new(sim),
                kernel: Box::new(kernel.clone()),
            });
        }
        Ok((kernel, rest))
    }

    /// The nodes where an exchange was seen, and the one where its client is or whose kube-proxy comes first.
    fn nodes_on_the_way<S>(&self, shown: &Shown<S>, first: Option<&str>) -> Vec<String> {
        let is_on_the_way = |node: &String| first == Some(node.as_str()) || shown.has_seen(node);
        self.nodes().into_iter().filter(is_on_the_way).collect()
    }

    /// Adds the kernel's tables of these nodes.
    fn with_tables<E: Exchange>(
        &mut self,
        exchange: &E,
        shown: Shown<E::Seen>,
        nodes: Vec<String>,
        needed: CountersNeeded,
    ) -> Result<Shown<E::Seen>, ArmError> {
        let mut tables = BTreeMap::new();
        for node in nodes {
            let table = self.kernel.conntrack(&NetnsName::Node(node.clone()))?;
            tables.insert(node, table.unwrap_or_default());
        }
        shown.with_tables(exchange, tables, needed, |node| self.kernel.counters(self.listing, node))
    }

    /// Waits until the effects of the connections have settled. The simulator knows how long that takes.
    fn settle(&mut self) -> Result<(), ArmError> {
        self.catch_up()?;
        self.kernel.sleep(self.sim.unrest())?;
        self.kernel.settle()?;
        self.catch_up()
    }

    /// Advances the simulator to the kernel's time, and lets it know what the kernel received until then.
    fn catch_up(&mut self) -> Result<(), ArmError> {
        let now = self.kernel.elapsed();
        // What is due by now may still be on its way on the kernel.
        self.kernel.sleep(MOMENT)?;
        self.show_frames()?;
        self.sim.catch_up(now)
    }

    /// Shows the kernel's new frames to the simulator, whose rate limits follow the kernel's times.
    fn show_frames(&mut self) -> Result<(), ArmError> {
        let frames = self.kernel.frames()?;
        self.sim.show_arrivals(&frames[self.frames_shown..]);
        self.frames_shown = frames.len();
        Ok(())
    }

    /// True if both sides lose the same frames: none, or all frames of some links.
    fn is_predictable(&self) -> bool {
        self.losses.values().all(|loss| *loss == Share::ONE)
    }

    /// Collects frames captured since the last call.
    fn collect_frames(&mut self) -> Result<(), ArmError> {
        let (sim, kernel) = (self.sim.take_frames(), self.kernel.take_frames()?);
        self.sim.show_arrivals(&kernel[self.frames_shown..]);
        self.frames_shown = 0;
        if !self.is_predictable() {
            // Frames in flight are lost on one side only; comparison resumes with the next step.
            self.frames = Frames::default();
            return Ok(());
        }
        let (sim, kernel) = (self.without_lost(sim), self.without_lost(kernel));
        self.frames.sim.extend(sim);
        self.frames.kernel.extend(kernel);
        Ok(())
    }

    /// A Pod's link is removed with it; if the Pod returns, it has a new link without loss.
    fn forget_links(&mut self, changes: &[TopologyChange]) -> Result<(), ArmError> {
        let lossy = |change: &TopologyChange| match change {
            TopologyChange::Remove(netns) if self.losses.contains_key(netns) => Some(netns.clone()),
            TopologyChange::Remove(_)
            | TopologyChange::Add(_)
            | TopologyChange::AddAddress(..)
            | TopologyChange::RemoveRoute(..)
            | TopologyChange::AddRoute(..)
            | TopologyChange::Close(..)
            | TopologyChange::Open(..) => None,
        };
        let gone: Vec<NetnsName> = changes.iter().filter_map(lossy).collect();
        if !gone.is_empty() {
            self.before_link_changes()?;
        }
        self.losses.retain(|netns, _| !gone.contains(netns));
        Ok(())
    }

    /// Removes frames that are lost on ingress: the kernel's capture sees them before they are dropped.
    fn without_lost(&self, mut frames: Vec<Frame>) -> Vec<Frame> {
        let ends = self.lossy_ends();
        frames.retain(|frame| !ends.hide(frame));
        frames
    }

    /// Compares frames captured so far, except the most recent ones: the other side may still be about to send them.
    /// Each flow on each device is reported once. Returns the time when undecided frames can be decided.
    fn compare_frames(&mut self) -> Result<Option<Duration>, ArmError> {
        self.collect_frames()?;
        let now = self.kernel.elapsed();
        let Frames { sim, kernel } = &self.frames;
        let Comparison { differences, undecided_until } =
            compare(side("simulator", sim), side("kernel", kernel), now);
        for difference in differences {
            let is_same = |known: &Disagreement| match &known.kind {
                DisagreementKind::Frame(known) => {
                    (&known.netns, &known.device, known.conversation)
                        == (&difference.netns, &difference.device, difference.conversation)
                }
                DisagreementKind::Flow { .. }
                | DisagreementKind::Script { .. }
                | DisagreementKind::Unexplained { .. }
                | DisagreementKind::Outcomes { .. }
                | DisagreementKind::Conntrack { .. }
                | DisagreementKind::Counters { .. }
                | DisagreementKind::Ipvs { .. }
                | DisagreementKind::Choices { .. }
                | DisagreementKind::Relayed { .. } => false,
            };
            if !self.disagreements.iter().any(is_same) {
                let step = self.step_starts.iter().filter(|start| **start <= difference.at).count();
                let kind = DisagreementKind::Frame(Box::new(difference));
                self.disagreements.push(Disagreement { step, kind });
            }
        }
        Ok(undecided_until)
    }

    /// Compares all captured frames: waits until undecided ones can be decided.
    fn compare_all_frames(&mut self) -> Result<(), ArmError> {
        self.catch_up()?;
        let Some(until) = self.compare_frames()? else { return Ok(()) };
        // The deadline itself is still within the tolerance.
        self.kernel.sleep((until + MOMENT).saturating_sub(self.kernel.elapsed()))?;
        self.catch_up()?;
        self.compare_frames().map(drop)
    }

    /// Lets the network settle, and compares everything observable.
    fn compare_all(&mut self) -> Result<(), ArmError> {
        self.settle()?;
        if !self.is_predictable() {
            return self.collect_frames();
        }
        self.compare_frames()?;
        self.compare_tables()
    }

    /// Frames lost so far, or from here on, may make the two sides incomparable: compare now.
    fn before_link_changes(&mut self) -> Result<(), ArmError> {
        if self.is_predictable() {
            return self.compare_all_frames();
        }
        self.catch_up()?;
        self.collect_frames()
    }

    /// Compares what remains at the end.
    fn conclude(&mut self) -> Result<(), ArmError> {
        if self.is_stale {
            self.settle()?;
        }
        if !self.is_predictable() {
            return Ok(());
        }
        self.compare_all_frames()?;
        if self.is_stale { self.compare_tables() } else { Ok(()) }
    }

    fn nodes(&self) -> Vec<String> {
        let name = |netns: &NetnsName| match netns {
            NetnsName::Node(name) => Some(name.clone()),
            NetnsName::Switch | NetnsName::Host(_) | NetnsName::Pod(_) => None,
        };
        self.topology.netns.keys().filter_map(name).collect()
    }
}

fn side<'a>(name: &'a str, frames: &'a [Frame]) -> Observer<'a> {
    Observer { name, frames }
}

impl Arm for &mut PairedArm {
    fn kind(&self) -> ArmKind {
        ArmKind::Kernel
    }

    fn build(&mut self, topology: &Topology) -> Result<(), ArmError> {
        let topology = hastened(topology);
        self.sim.build(&topology)?;
        self.sim.set_call_duration(CALL_DURATION);
        self.kernel.build(&topology)?;
        // Both clocks start here.
        if let Some(wheel) = self.kernel.timer_wheel() {
            self.sim.set_timer_wheel(wheel);
        }
        if let Some(release) = KernelArm::release() {
            self.sim.set_release(release);
        }
        if let Some(bytes) = KernelArm::rmem_max() {
            self.sim.set_rmem_max(bytes);
        }
        self.topology = topology;
        Ok(())
    }

    fn load(&mut self, node: &str, load: &[Load]) -> Result<(), ArmError> {
        self.kernel.load(node, load)?;
        self.sim.load(node, load)
    }

    fn plug(&mut self, node: &str, load: &[Load]) -> Result<(), ArmError> {
        self.is_stale = true;
        self.kernel.plug(node, load)?;
        self.sim.plug(node, load)
    }

    fn update(&mut self, node: &str, update: &NodeUpdate) -> Result<(), ArmError> {
        self.is_stale = true;
        self.kernel.update(node, update)?;
        self.sim.update(node, update)
    }

    fn rebuild(&mut self, changes: &[TopologyChange], after: &Topology) -> Result<(), ArmError> {
        let after = hastened(after);
        self.is_stale = true;
        self.forget_links(changes)?;
        self.catch_up()?;
        self.kernel.rebuild(changes, &after)?;
        self.sim.rebuild(changes, &after)?;
        for (netns, device) in new_devices(changes) {
            for (name, value) in neigh_sysctls(&device) {
                self.change(&StateChange::Sysctl { netns: netns.clone(), name, value })?;
            }
        }
        self.topology = after;
        Ok(())
    }

    fn change(&mut self, change: &StateChange) -> Result<(), ArmError> {
        match change {
            StateChange::Link { .. } | StateChange::End { .. } => self.before_link_changes()?,
            StateChange::Sysctl { .. } | StateChange::Hairpin { .. } => {}
        }
        self.is_stale = true;
        self.kernel.change(change)?;
        self.sim.change(change)?;
        if let StateChange::Link { netns, loss: Some(loss), .. } = change {
            match *loss == Share::ZERO {
                true => self.losses.remove(netns),
                false => self.losses.insert(netns.clone(), *loss),
            };
            self.have_tables_parted |= !self.is_predictable();
        }
        Ok(())
    }

    fn flows(&mut self, plan: &FlowPlan) -> Result<Flows, ArmError> {
        let before = match plan.transport {
            Transport::Tcp | Transport::Udp | Transport::Sctp => self.sim.distribution(plan)?,
            Transport::Icmp => None,
        };
        let sample = self.sample_losses(plan)?;
        let flows =
            (1..=plan.count).map(|number| self.run_flow(plan, number)).collect::<Result<Vec<_>, _>>()?;
        self.compare_all()?;
        if let Some(before) = before {
            self.check_choices(&before, plan, &flows)?;
        }
        if let Some(sample) = sample {
            self.check_outcomes(sample, plan, &flows)?;
        }
        Ok(Flows { flows, drops: None })
    }

    fn kept(&mut self, plan: &KeptPlan) -> Result<Flows, ArmError> {
        let connections = self.kernel.kept_connections(plan);
        let exchanges = self.sim.kept_exchanges(plan);
        let mut flows = Vec::new();
        for ((connection, exchange), number) in connections.into_iter().zip(exchanges).zip(1..) {
            flows.push(self.run_kept(plan, connection, exchange, number)?);
        }
        self.compare_all()?;
        Ok(Flows { flows, drops: None })
    }

    fn script(&mut self, plan: &ScriptPlan) -> Result<Scripted, ArmError> {
        let before_losses = self.counters_before_losses()?;
        let (kernel, pace, frames) = self.kernel.run_script(plan)?;
        self.show_frames()?;
        let frames = self.without_lost(frames);
        let exchange = self.sim.script_exchange(plan, pace.sent_at);
        let shown = Shown::new(&exchange, kernel.clone(), &frames, self.listing);
        if let Some(before) = before_losses {
            self.sim.catch_up(pace.begun)?;
            let state = self.follow_through_losses(&exchange, shown, &before, None)?;
            self.sim.keep_script(plan, state);
            self.compare_all()?;
            return Ok(Scripted { mismatch: kernel, drops: None });
        }
        // A packet of a node that waits for a neighbour is in its tables, and on no device.
        let nodes = self.nodes_on_the_way(&shown, plan.from.node());
        let shown = self.with_tables(&exchange, shown, nodes, CountersNeeded::Always)?;
        self.sim.catch_up(pace.begun)?;
        // The frames that arrived between two steps are in the tap by now.
        let (sim, state) = self.sim.follow(&exchange, &shown)?;
        self.sim.keep_script(plan, state);
        if sim != kernel {
            self.note(DisagreementKind::Script { sim, kernel: kernel.clone() });
        }
        self.compare_all()?;
        Ok(Scripted { mismatch: kernel, drops: None })
    }

    fn distribution(&self, plan: &FlowPlan) -> Result<Option<Distribution>, ArmError> {
        self.sim.distribution(plan)
    }

    fn conntrack(&mut self, netns: &NetnsName) -> Result<Option<Vec<ConntrackObservation>>, ArmError> {
        if self.is_stale && self.is_predictable() {
            self.catch_up()?;
            self.compare_tables()?;
        }
        self.kernel.conntrack(netns)
    }

    fn ipvs(&mut self, node: &str) -> Result<IpvsObservation, ArmError> {
        self.catch_up()?;
        self.kernel.ipvs(node)
    }

    fn elapsed(&self) -> Duration {
        self.kernel.elapsed()
    }

    fn sleep(&mut self, duration: Duration) -> Result<(), ArmError> {
        self.is_stale = true;
        self.kernel.sleep(duration)?;
        self.catch_up()
    }

    fn step_begins(&mut self) {
        self.step_starts.push(self.kernel.elapsed());
        self.kernel.step_begins();
        self.sim.step_begins();
    }

    fn finish(self) -> Result<(Option<u64>, Option<Recording>), ArmError> {
        self.conclude()?;
        let empty = SimArm::new(0, Level::Nothing);
        std::mem::replace(&mut self.sim, empty).finish()
    }
}

#[cfg(test)]
mod tests;
