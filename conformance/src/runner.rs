//! Runs a scenario: executes steps in order on one arm, and checks each against its expectations.

mod drain;

use std::net::IpAddr;

use drain::DrainTimes;
use proxy_core::load::Load;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use sim::trace::Level;

use crate::arm::against::PairedArm;
use crate::arm::kernel::KernelArm;
use crate::arm::sim::SimArm;
use crate::arm::{Arm, ArmError};
use crate::backend::Backend;
use crate::cluster::{Cluster, ClusterChange};
use crate::cni::Plugins;
use crate::expect::{self, Observed};
use crate::observation::{Answer, EndpointName, FlowObservation, RawFlow, Scripted, Transport};
use crate::prepare::{
    FlowPlan, KeptPlan, Prepared, PreparedAction, PreparedExpectation, PreparedStep, ResolvePlan,
};
use crate::proxy::Proxies;
use crate::result::{Course, Run, RunResult, StepResult, Subject};
use crate::scenario::{IpFamilies, ProxyMode};
use crate::shares;
use crate::topology::{Topology, changes};

/// Options of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunOptions {
    /// How kube-proxy implements Services; one of [`Prepared::modes`].
    pub mode: ProxyMode,
    /// Address families; must be available in this version.
    pub family: IpFamilies,
    /// The seed of every random decision.
    pub seed: u64,
    /// What the simulator records. Hashes of different levels differ.
    pub level: Level,
    /// True if the run returns its recording ([`Run::recording`]), about 100 KB per connection. The hash does not need
    /// it.
    pub is_recorded: bool,
    /// True if steps may change sysctls of the whole machine on which the kernel runs: in a virtual machine.
    pub owns_machine: bool,
}

impl RunOptions {
    /// Options for a mode, with defaults otherwise: IPv4, seed 0, everything recorded.
    pub const fn new(mode: ProxyMode) -> Self {
        Self {
            mode,
            family: IpFamilies::Ipv4,
            seed: 0,
            level: Level::Everything,
            is_recorded: true,
            owns_machine: false,
        }
    }

    /// Like [`RunOptions::new`], without a recording.
    pub const fn unrecorded(mode: ProxyMode) -> Self {
        Self { is_recorded: false, ..Self::new(mode) }
    }
}

/// Runs a scenario on the simulator.
///
/// # Errors
/// See [`ArmError`].
pub fn run_sim(prepared: &Prepared, options: &RunOptions) -> Result<Run, ArmError> {
    let arm = match options.is_recorded {
        true => SimArm::new(options.seed, options.level),
        false => SimArm::unrecorded(options.seed, options.level),
    };
    run(prepared, options, arm)
}

/// Runs many scenarios on the simulator, on all processors. Worlds share nothing, so the results are the same as in a
/// sequential run, in the same order.
pub fn run_all_sim(cases: &[(&Prepared, RunOptions)]) -> Vec<Result<Run, ArmError>> {
    cases.par_iter().map(|(prepared, options)| run_sim(prepared, options)).collect()
}

/// Runs a scenario twice on the simulator and compares all events.
///
/// # Errors
/// See [`ArmError`]; also if the two runs differ, which is a bug of the simulator.
pub fn run_twice_sim(prepared: &Prepared, options: &RunOptions) -> Result<Run, ArmError> {
    let unrecorded = RunOptions { is_recorded: false, ..*options };
    let (first, second) = (run_sim(prepared, options)?, run_sim(prepared, &unrecorded)?);
    if first.result == second.result {
        return Ok(first);
    }
    // The hashes differ, so the events are needed after all.
    let recorded = RunOptions { is_recorded: true, ..*options };
    let events = |run: Run| run.recording.map_or_else(Vec::new, |recording| recording.events);
    let (first, second) = (events(run_sim(prepared, &recorded)?), events(run_sim(prepared, &recorded)?));
    let at = first.iter().zip(&second).take_while(|(first, second)| first == second).count();
    let event = |events: &[sim::trace::TraceEvent]| format!("{:?}", events.get(at));
    Err(ArmError::Internal(format!(
        "two runs with seed {} differ from event {at} on: {} and {}",
        options.seed,
        event(&first),
        event(&second)
    )))
}

/// Runs a scenario on this machine's kernel, beside the simulator; differences are part of the result.
///
/// # Errors
/// See [`ArmError`].
pub fn run_against_kernel(
    prepared: &Prepared,
    options: &RunOptions,
    backend: Backend,
) -> Result<Run, ArmError> {
    let generator = options.mode.available_generator();
    let lacks = KernelArm::lacks_for(generator);
    if !lacks.is_empty() {
        return Err(ArmError::Missing(lacks.join("\n")));
    }
    let mut arms = PairedArm::new(backend, generator, options.seed, options.is_recorded);
    if options.owns_machine {
        arms.own_machine();
    }
    let mut run = run(prepared, options, &mut arms)?;
    run.result.backend = Some(backend);
    run.result.disagreements = arms.disagreements().to_vec();
    Ok(run)
}

/// Runs every course that the connection of a scenario's only step may take, in order of enumeration, and calls `each` with
/// it. In IPVS mode, which chooses by what was before, there is one: that of the first connection.
///
/// # Errors
/// See [`ArmError`]; also if there are too many courses.
pub fn courses(
    prepared: &Prepared,
    options: &RunOptions,
    mut each: impl FnMut(Course),
) -> Result<(), ArmError> {
    let runner = Runner::start(prepared, options, SimArm::new(options.seed, options.level))?;
    for step in &prepared.steps {
        let PreparedAction::Flows(plan) = &step.action else {
            return Err(ArmError::Internal("a question has connections only".to_owned()));
        };
        runner.arm.courses(plan, |weight, flow, recording| {
            each(Course { weight, flow: runner.observation(plan, &flow), recording });
        })?;
    }
    Ok(())
}

/// Runs a scenario on an arm.
///
/// # Errors
/// See [`ArmError`].
pub fn run(prepared: &Prepared, options: &RunOptions, arm: impl Arm) -> Result<Run, ArmError> {
    let mut runner = Runner::start(prepared, options, arm)?;
    let mut steps = Vec::new();
    for (number, step) in (1..).zip(&prepared.steps) {
        steps.push(runner.step(step).map_err(|error| error.in_step(number, &step.name))?);
    }
    let arm = runner.arm.kind();
    let (trace_hash, recording) = runner.arm.finish()?;
    let scenario = &prepared.scenario;
    let result = RunResult {
        scenario: scenario.name.clone(),
        intent: scenario.intent.clone(),
        requirements: scenario.requirements.clone(),
        mode: options.mode,
        family: options.family,
        arm,
        backend: None,
        guest: None,
        seed: options.seed,
        trace_hash,
        steps,
        disagreements: Vec::new(),
    };
    Ok(Run { result, recording })
}

/// The state of a run.
struct Runner<A> {
    arm: A,
    topology: Topology,
    proxies: Proxies,
    plugins: Plugins,
    cluster: Cluster,
    mode: ProxyMode,
    drain_times: DrainTimes,
}

impl<A: Arm> Runner<A> {
    /// Builds the cluster on the arm, and starts kube-proxy on every node.
    fn start(prepared: &Prepared, options: &RunOptions, arm: A) -> Result<Self, ArmError> {
        let topology = Topology::of(&prepared.cluster);
        let (proxies, loads) = Proxies::start(options.mode, &prepared.cluster)
            .map_err(|error| ArmError::Refused(error.to_string()))?;
        let mut runner = Self {
            arm,
            topology,
            proxies,
            plugins: Plugins::default(),
            cluster: prepared.cluster.clone(),
            mode: options.mode,
            drain_times: DrainTimes::default(),
        };
        runner.arm.build(&runner.topology)?;
        for (node, load) in &loads {
            runner.start_proxy(node, load)?;
        }
        runner.plug(&prepared.cluster)?;
        Ok(runner)
    }

    fn start_proxy(&mut self, node: &str, load: &[Load]) -> Result<(), ArmError> {
        self.arm.load(node, load)?;
        self.drain_times.start(node, self.arm.elapsed());
        Ok(())
    }

    /// The network plug-in of every node adds the rules of new Pods, and removes those of Pods that are gone.
    fn plug(&mut self, cluster: &Cluster) -> Result<(), ArmError> {
        let loads = self.plugins.update(cluster);
        loads.iter().try_for_each(|(node, load)| self.arm.plug(node, load))
    }

    fn step(&mut self, step: &PreparedStep) -> Result<StepResult, ArmError> {
        self.arm.step_begins();
        self.drain_due()?;
        let nothing = PreparedExpectation::default();
        let expected = step.expect.get(&self.mode).unwrap_or(&nothing);
        let mut observed = match &step.action {
            PreparedAction::Flows(plan) => self.flows(plan, expected)?,
            PreparedAction::Kept(plan) => self.kept(plan, expected)?,
            PreparedAction::Resolve(plan) => self.resolve(plan, expected)?,
            PreparedAction::Script(plan) => {
                let Scripted { mismatch, drops } = self.arm.script(plan)?;
                Observed { mismatch, drops, ..Observed::default() }
            }
            PreparedAction::Cluster(change) => {
                self.change_cluster(change)?;
                Observed::default()
            }
            PreparedAction::Set { cluster, changes } => {
                if let Some(change) = cluster {
                    self.change_cluster(change)?;
                }
                for change in changes {
                    self.arm.change(change)?;
                }
                Observed::default()
            }
            PreparedAction::Sleep(duration) => {
                self.sleep(*duration)?;
                Observed::default()
            }
            PreparedAction::Look => Observed::default(),
        };
        for filter in &expected.conntrack {
            observed.conntrack.push(self.arm.conntrack(&filter.netns)?);
        }
        let verdict = expect::check(expected, &observed);
        let mut words = expect::words(expected);
        if matches!(step.action, PreparedAction::Script(_)) {
            words.insert(0, (Subject::Segments, "as written".to_owned()));
        }
        Ok(StepResult {
            name: step.name.clone(),
            action: step.keyword,
            flows: observed.flows,
            shares: observed.shares,
            expected: words,
            failures: verdict.failures,
            unseen: verdict.unseen,
        })
    }

    fn flows(&mut self, plan: &FlowPlan, expected: &PreparedExpectation) -> Result<Observed, ArmError> {
        // Before the connections change anything.
        let distribution = match plan.transport {
            Transport::Tcp | Transport::Udp | Transport::Sctp => self.arm.distribution(plan)?,
            Transport::Icmp => None,
        };
        let seen = self.arm.flows(plan)?;
        let flows: Vec<_> = seen.flows.iter().map(|flow| self.observation(plan, flow)).collect();
        let shares = shares::endpoint_shares(&flows, distribution.as_ref(), expected.endpoints.as_deref());
        Ok(Observed { flows, shares, distribution, drops: seen.drops, ..Observed::default() })
    }

    /// The choices of these connections are made, so there is no distribution.
    fn kept(&mut self, plan: &KeptPlan, expected: &PreparedExpectation) -> Result<Observed, ArmError> {
        let seen = self.arm.kept(plan)?;
        let flows: Vec<_> = seen.flows.iter().map(|flow| self.observation(&plan.opened, flow)).collect();
        let shares = shares::endpoint_shares(&flows, None, expected.endpoints.as_deref());
        Ok(Observed { flows, shares, drops: seen.drops, ..Observed::default() })
    }

    /// Queries one name after the other, until one exists or there is no response.
    fn resolve(&mut self, plan: &ResolvePlan, expected: &PreparedExpectation) -> Result<Observed, ArmError> {
        let distribution = match plan.queries.first() {
            Some(query) => self.arm.distribution(query)?,
            None => None,
        };
        let (mut flows, mut drops, mut resolved) = (Vec::new(), Some(Vec::new()), None);
        for query in &plan.queries {
            let seen = self.arm.flows(query)?;
            flows.extend(seen.flows.iter().map(|flow| self.observation(query, flow)));
            drops = drops.zip(seen.drops).map(|(drops, new)| [drops, new].concat());
            resolved = seen.flows.into_iter().next().and_then(|flow| flow.resolved);
            if resolved.as_ref().is_none_or(|resolved| resolved.is_found) {
                break;
            }
        }
        let shares = shares::endpoint_shares(&flows, distribution.as_ref(), expected.endpoints.as_deref());
        Ok(Observed { flows, shares, distribution, drops, resolved, ..Observed::default() })
    }

    fn observation(&self, plan: &FlowPlan, flow: &RawFlow) -> FlowObservation {
        let answer = flow.answer.as_ref();
        let endpoint = match plan.transport {
            Transport::Tcp | Transport::Udp | Transport::Sctp => answer.map(Answer::endpoint),
            Transport::Icmp => flow.reply_from.and_then(|from| self.pinged(from)),
        };
        FlowObservation {
            from: plan.from_text.clone(),
            to: plan.to_text.clone(),
            protocol: plan.transport,
            outcome: flow.outcome,
            via: plan.via.clone(),
            connection: plan.keep.clone(),
            endpoint,
            source_seen: answer.map(|answer| answer.peer.ip()),
            reply_from: flow.reply_from,
            status: flow.fetched.as_ref().map(|fetched| fetched.status),
            answered: match (&flow.resolved, &flow.fetched) {
                (Some(resolved), _) => Some(resolved.to_string()),
                (None, fetched) => fetched.as_ref().map(ToString::to_string),
            },
        }
    }

    /// Echo replies do not name the responder; a Pod is identified by its address.
    fn pinged(&self, from: IpAddr) -> Option<EndpointName> {
        let IpAddr::V4(from) = from else { return None };
        self.cluster.pod_at(from).map(|pod| EndpointName::Pod(pod.name.clone()))
    }

    /// First adds and removes Pods and nodes, then updates kube-proxy on every node. Nothing is sent in between.
    fn change_cluster(&mut self, change: &ClusterChange) -> Result<(), ArmError> {
        let next = self.cluster.after(change);
        let after = Topology::of(&next);
        let changes = changes(&self.topology, &after);
        self.arm.rebuild(&changes, &after)?;
        self.topology = after;
        let updates = self.proxies.update(&next).map_err(|error| ArmError::Refused(error.to_string()))?;
        for (node, load) in &updates.started {
            self.start_proxy(node, load)?;
        }
        self.plug(&next)?;
        for (node, update) in &updates.changed {
            self.arm.update(node, update)?;
            self.drain(node)?;
        }
        self.cluster = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
