//! The arm: executes the steps of a scenario in a lab.

mod kept;

pub(crate) use kept::KeptConnection;
use kept::KeptConnections;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::utsname::uname;
use proxy_core::generator::Generator;
use proxy_core::load::Load;
use proxy_core::objects::Protocol;
use proxy_core::stale_flows::{Frontends, UdpFlow};

use super::capture::{Capture, merge};
use super::client::{ClientRequest, End, Keeper, Report, exchange};
use super::clocks::Clocks;
use super::failure::{failed, refused};
use super::lab::{Lab, LabNetns};
use super::of_machine::{MachineSysctls, OF_THE_MACHINE};
use super::outcome::outcome;
use super::prompt::Prompt;
use super::quiet::wait_until_quiet;
use super::requirement::{Requirement, always, missing, of_generator, require};
use super::rules::own_routes;
use super::script::{OpenScript, run_script};
use super::server::{self, ServerId, Servers};
use super::{build, conntrack, descriptors, ipvs, link, load, ticks};
use crate::arm::ipv4::ipv4_only;
use crate::arm::script::ScriptPace;
use crate::arm::{Arm, ArmError, TEARDOWN};
use crate::backend::Backend;
use crate::counters::{CounterListing, RuleCounter};
use crate::frame::{Frame, FrameDirection};
use crate::netns::NetnsName;
use crate::observation::{
    ConntrackObservation, Flows, IpvsObservation, Mismatch, RawFlow, Scripted, Transport, read_answer,
};
use crate::prepare::{FlowPlan, KeptPlan, ScriptPlan, StateChange};
use crate::proxy::NodeUpdate;
use crate::result::{ArmKind, Recording};
use crate::scenario::LinkState;
use crate::shares::Distribution;
use crate::topology::{DownEnds, ListenerPlan, Topology, TopologyChange};
use sim::release::Release;
use sim::timer_wheel::TimerWheel;
use sim::wire::Ethernet;

/// A step is quiet when no frame has arrived for this long.
const QUIET: Duration = Duration::from_millis(15);

/// The maximum time that frames stay unread. While a capture holds a frame, TCP does not coalesce its data with other
/// data for retransmission (`tcp_can_collapse`, net/ipv4/tcp_output.c): the capture would change what it observes.
const UNREAD_MAX: Duration = Duration::from_millis(20);

/// The maximum time a frame takes from one end of the lab to the other.
const ON_ITS_WAY: Duration = Duration::from_millis(2);

/// The maximum time to wait for a step to settle, once its clients have their outcomes.
const SETTLING_MAX: Duration = Duration::from_secs(2);

/// TCP repeats a segment after 0.2, 0.4, 0.8 and 1.6 s, if its peer is near.
const SILENCE: Duration = Duration::from_secs(2);

/// A peer that is gone is not waited for any longer.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What a kernel has shown of a connection.
#[derive(Debug)]
pub(crate) struct Exchanged {
    pub(crate) flow: RawFlow,
    /// The frames captured meanwhile.
    pub(crate) frames: Vec<Frame>,
    /// How long its client ran.
    pub(crate) lasted: Duration,
}

/// Network namespaces of this machine.
#[derive(Debug)]
pub struct KernelArm {
    backend: Backend,
    topology: Topology,
    ports: BTreeMap<(NetnsName, ListenerPlan), ServerId>,
    frames: Vec<Frame>,
    /// Ends of links that a step has set down.
    down: DownEnds,
    /// Started when the lab was built.
    clocks: Clocks,
    /// Connections of scripts that later steps continue, by sender.
    scripts: BTreeMap<NetnsName, OpenScript>,
    /// Connections that later steps use, by name.
    kept: BTreeMap<String, KeptConnections>,
    sysctls: MachineSysctls,
    // Sockets keep a namespace alive, so they must be dropped before the lab: fields are dropped in this order.
    running: Option<Running>,
}

/// State that exists once the lab is built.
#[derive(Debug)]
struct Running {
    /// Started with the first connection.
    keeper: Option<Keeper>,
    captures: BTreeMap<String, Capture>,
    clients: Prompt,
    servers: Servers,
    lab: Lab,
}

impl KernelArm {
    /// An arm that loads rules with this back end.
    pub fn new(backend: Backend) -> Self {
        let topology = Topology { netns: BTreeMap::new(), veths: Vec::new() };
        Self {
            backend,
            topology,
            ports: BTreeMap::new(),
            frames: Vec::new(),
            down: DownEnds::new(),
            clocks: Clocks::begin(),
            scripts: BTreeMap::new(),
            kept: BTreeMap::new(),
            sysctls: MachineSysctls::default(),
            running: None,
        }
    }

    /// Permits steps that change sysctls of the whole machine, because nothing else runs on it.
    pub(crate) fn own_machine(&mut self) {
        self.sysctls.are_ours = true;
    }

    /// Prerequisites for this back end that the machine lacks, one per line; empty if it lacks none. Probed once per
    /// process.
    pub fn lacks(backend: Backend) -> Vec<String> {
        static LACKS: Mutex<BTreeMap<Backend, Vec<String>>> = Mutex::new(BTreeMap::new());
        // A thread that panicked with the lock has added nothing.
        let mut lacks = LACKS.lock().unwrap_or_else(PoisonError::into_inner);
        let tried = lacks.entry(backend).or_insert_with(|| {
            let mut wanted = always();
            wanted.extend(backend.requirements());
            missing(&wanted).iter().map(ToString::to_string).collect()
        });
        tried.clone()
    }

    /// Prerequisites of a proxy mode that the machine lacks, besides those of a back end. Probed once per process.
    pub fn lacks_for(generator: Generator) -> Vec<String> {
        static LACKS: Mutex<BTreeMap<Generator, Vec<String>>> = Mutex::new(BTreeMap::new());
        let mut lacks = LACKS.lock().unwrap_or_else(PoisonError::into_inner);
        let tried = lacks
            .entry(generator)
            .or_insert_with(|| missing(of_generator(generator)).iter().map(ToString::to_string).collect());
        tried.clone()
    }

    /// The kernel's timer wheel, for a world that started with the clocks of the lab.
    pub(crate) fn timer_wheel(&self) -> Option<TimerWheel> {
        ticks::timer_wheel(self.elapsed())
    }

    /// The release of the running kernel. `None` if it has another form than Linux's own.
    pub(crate) fn release() -> Option<Release> {
        uname().ok()?.release().to_str()?.parse().ok()
    }

    /// The largest receive buffer that an application may request, in bytes. `None` if the kernel does not report it:
    /// older ones do so only in the initial namespace.
    pub(crate) fn rmem_max() -> Option<u32> {
        fs::read_to_string("/proc/sys/net/core/rmem_max").ok()?.trim().parse().ok()
    }

    /// The frames that the next [`KernelArm::take_frames`] returns, so far.
    ///
    /// # Errors
    /// As for that.
    pub(crate) fn frames(&mut self) -> Result<&[Frame], ArmError> {
        self.drain()?;
        Ok(&self.frames)
    }

    /// All frames on all devices since the last call, in one order. Times are relative to the building of the lab.
    ///
    /// # Errors
    /// If frames were lost, their time stamps are invalid, or a server failed.
    pub fn take_frames(&mut self) -> Result<Vec<Frame>, ArmError> {
        self.drain()?;
        Ok(std::mem::take(&mut self.frames))
    }

    /// The current counters of all rules of a node.
    ///
    /// # Errors
    /// If the node's rules cannot be listed.
    pub fn counters(&self, listing: CounterListing, node: &str) -> Result<Vec<RuleCounter>, ArmError> {
        let text = match listing {
            CounterListing::IptablesSave => self.backend.save(self.node(node)?)?,
        };
        Ok(listing.parse(&text))
    }

    /// The namespace of a topology's netns.
    ///
    /// # Errors
    /// If nothing was built.
    pub fn netns(&self, netns: &NetnsName) -> Result<&LabNetns, ArmError> {
        Ok(self.running()?.lab.netns(&netns.to_string()))
    }

    fn node(&self, name: &str) -> Result<&LabNetns, ArmError> {
        self.netns(&NetnsName::Node(name.to_owned()))
    }

    fn running(&self) -> Result<&Running, ArmError> {
        self.running.as_ref().ok_or_else(not_built)
    }

    fn running_mut(&mut self) -> Result<&mut Running, ArmError> {
        self.running.as_mut().ok_or_else(not_built)
    }

    fn open(&mut self, netns: &NetnsName, listener: &ListenerPlan) -> Result<(), ArmError> {
        let protocol = match listener.protocol {
            Protocol::Tcp => Transport::Tcp,
            Protocol::Udp => Transport::Udp,
            // No client connects over SCTP yet.
            Protocol::Sctp => return Ok(()),
        };
        let opened = server::Listener {
            protocol,
            address: None,
            port: listener.port,
            name: listener.name.clone(),
            zone: listener.zone.clone(),
            page: listener.page.clone(),
        };
        let running = self.running_mut()?;
        let id = running
            .servers
            .open(running.lab.netns(&netns.to_string()), &opened)
            .map_err(|error| refused(error.to_string(), &error))?;
        self.ports.insert((netns.clone(), listener.clone()), id);
        Ok(())
    }

    fn close(&mut self, netns: &NetnsName, listener: &ListenerPlan) -> Result<(), ArmError> {
        if let Some(id) = self.ports.remove(&(netns.clone(), listener.clone())) {
            self.running_mut()?.servers.close(id)?;
        }
        Ok(())
    }

    /// Ends the servers of removed Pods and of closed ports, and lets their connections close. A namespace lives as long as any
    /// of its sockets.
    fn end_processes(&mut self, changes: &[TopologyChange]) -> Result<(), ArmError> {
        let mut has_ended = false;
        for (netns, port) in changes.iter().filter_map(TopologyChange::ended_servers) {
            has_ended = true;
            let is_ended = |(owner, known): &(NetnsName, ListenerPlan)| {
                owner == netns && port.is_none_or(|port| port == known)
            };
            let ended: Vec<_> = self.ports.keys().filter(|key| is_ended(key)).cloned().collect();
            ended.iter().try_for_each(|(netns, listener)| self.close(netns, listener))?;
            if port.is_none() {
                self.end_clients(netns)?;
            }
        }
        if has_ended { self.sleep(TEARDOWN) } else { Ok(()) }
    }

    /// Reads the captures; returns the number of frames. Fails if they are not trustworthy: a stopped server or a
    /// changed clock would look like differences.
    fn drain(&mut self) -> Result<usize, ArmError> {
        let Some(Running { captures, lab, servers, keeper: _, clients: _ }) = self.running.as_mut() else {
            return Ok(0);
        };
        let mut drained = Vec::with_capacity(captures.len());
        for (name, capture) in captures {
            drained.push(capture.drain(lab.netns(name))?);
        }
        for (netns, script) in &mut self.scripts {
            script.drain(lab.netns(&netns.to_string()))?;
        }
        servers.check()?;
        self.clocks.check()?;
        let mut merged = merge(drained);
        for frame in &mut merged {
            frame.at = self.clocks.since_begin(frame.at);
            restore_bridge_mac(&self.topology, frame);
        }
        let count = merged.len();
        self.frames.extend(merged);
        Ok(count)
    }

    /// Waits until no device sees any more frames.
    pub(crate) fn settle(&mut self) -> Result<(), ArmError> {
        self.drain_until_silent(QUIET, SETTLING_MAX)
    }

    /// Waits until no device has seen a frame for as long as TCP waits before it repeats a segment for the fourth time.
    pub(crate) fn wait_for_silence(&mut self) -> Result<(), ArmError> {
        self.drain()?;
        self.drain_until_silent(SILENCE, SILENCE_MAX)
    }

    /// Reads frames until none has come for `silence`, or until `max` has passed.
    fn drain_until_silent(&mut self, silence: Duration, max: Duration) -> Result<(), ArmError> {
        let deadline = Instant::now() + max;
        while Instant::now() < deadline {
            thread::sleep(silence);
            if self.drain()? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Runs one connection of the plan.
    pub(crate) fn run_flow(&mut self, plan: &FlowPlan) -> Result<Exchanged, ArmError> {
        let request = request(plan)?;
        let start = self.frames.len();
        let clients = &self.running()?.clients;
        let (report, socket) = exchange(self.netns(&plan.from)?, &request, clients).map_err(|error| {
            refused(format!("{} cannot connect to {}: {error}", plan.from_text, plan.to_text), &error)
        })?;
        let seen = self.seen_since(start, report.end)?;
        let flow = raw_flow(&request, &report, &plan.from.to_string(), &seen);
        self.keep(plan, socket, flow.outcome)?;
        Ok(Exchanged { flow, frames: seen, lasted: report.lasted })
    }

    /// The frames since this one, when an exchange has ended like this.
    fn seen_since(&mut self, start: usize, end: End) -> Result<Vec<Frame>, ArmError> {
        self.drain()?;
        if end != End::Answered {
            // A FIN may still be in flight.
            thread::sleep(ON_ITS_WAY);
            wait_until_quiet(&self.running()?.servers);
            self.drain()?;
        }
        Ok(self.frames[start..].to_vec())
    }

    /// Runs the script of the plan, and returns when it sent, and the frames captured meanwhile.
    pub(crate) fn run_script(
        &mut self,
        plan: &ScriptPlan,
    ) -> Result<(Option<Mismatch>, ScriptPace, Vec<Frame>), ArmError> {
        let start = self.frames.len();
        let open = self.scripts.remove(&plan.from).filter(|_| plan.is_continuation);
        let played = run_script(self.netns(&plan.from)?, &self.running()?.servers, self.backend, plan, open)?;
        self.scripts.extend(played.open.map(|open| (plan.from.clone(), open)));
        // On a busy machine, the last packets may not have passed every device yet.
        wait_until_quiet(&self.running()?.servers);
        self.drain()?;
        let sent_at = played.sent_at.iter().map(|at| self.clocks.at(*at)).collect();
        let pace = ScriptPace { begun: self.clocks.at(played.begun), sent_at };
        Ok((played.mismatch, pace, self.frames[start..].to_vec()))
    }

    /// Deletes every UDP entry that kube-proxy considers stale.
    fn delete_stale(&self, node: &str, frontends: &Frontends) -> Result<(), ArmError> {
        let netns = self.node(node)?;
        for entry in conntrack::list(netns)? {
            let flow = UdpFlow { original_destination: entry.original.1, reply_source: entry.reply.0 };
            if entry.protocol == Transport::Udp && frontends.is_stale(&flow) {
                conntrack::delete(netns, &entry)?;
            }
        }
        Ok(())
    }
}

impl Arm for KernelArm {
    fn kind(&self) -> ArmKind {
        ArmKind::Kernel
    }

    fn build(&mut self, topology: &Topology) -> Result<(), ArmError> {
        let lacks = Self::lacks(self.backend);
        if !lacks.is_empty() {
            return Err(ArmError::Missing(lacks.join("\n")));
        }
        let mut early = topology.netns.values().flat_map(|plan| &plan.sysctls);
        if let Some((name, _)) = early.find(|(name, _)| OF_THE_MACHINE.contains(&&**name)) {
            return Err(ArmError::Missing(format!(
                "{name} is a setting of the whole machine: set it in a step, and run the scenario in a virtual machine \
                 (--against vm)"
            )));
        }
        if topology.netns.values().any(|plan| plan.own.ipset.is_some()) {
            require(&[Requirement::Program("ipset")])?;
        }
        descriptors::raise_limit();
        let lab = build::build(topology)?;
        for (netns, plan) in &topology.netns {
            own_routes(lab.netns(&netns.to_string()), &plan.own)?;
            if let Some(sets) = &plan.own.ipset {
                lab.netns(&netns.to_string()).run("ipset", &["restore"], sets.as_bytes())?;
            }
            if let Some(rules) = &plan.own.iptables {
                self.backend.restore(lab.netns(&netns.to_string()), rules, false)?;
            }
        }
        let mut captures = BTreeMap::new();
        for netns in lab.all_netns() {
            let capture = Capture::open(netns)?;
            captures.insert(netns.name().to_owned(), capture);
        }
        let servers = Servers::start().map_err(|error| failed(&error))?;
        let clients = Prompt::start("clients").map_err(|error| failed(&error))?;
        self.running = Some(Running { keeper: None, captures, clients, servers, lab });
        self.clocks = Clocks::begin();
        for (netns, plan) in &topology.netns {
            for listener in &plan.listeners {
                self.open(netns, listener)?;
            }
        }
        self.topology = topology.clone();
        Ok(())
    }

    fn load(&mut self, node: &str, load: &[Load]) -> Result<(), ArmError> {
        let has_own_rules = self
            .topology
            .netns
            .iter()
            .any(|(name, plan)| name.to_string() == node && plan.own.iptables.is_some());
        load::load(self.node(node)?, self.backend, has_own_rules, load)
    }

    fn plug(&mut self, node: &str, load: &[Load]) -> Result<(), ArmError> {
        self.load(node, load)
    }

    fn update(&mut self, node: &str, update: &NodeUpdate) -> Result<(), ArmError> {
        self.load(node, &update.load)?;
        update.stale.as_ref().map_or(Ok(()), |frontends| self.delete_stale(node, frontends))
    }

    fn rebuild(&mut self, changes: &[TopologyChange], after: &Topology) -> Result<(), ArmError> {
        self.drain()?;
        self.end_processes(changes)?;
        for netns in changes.iter().filter_map(TopologyChange::removed) {
            self.scripts.remove(netns);
            self.down.retain(|(known, _)| known != netns);
            self.running_mut()?.captures.remove(&netns.to_string());
        }
        let running = self.running.as_mut().ok_or_else(not_built)?;
        build::rebuild(&mut running.lab, &self.topology, changes, after, &self.down)?;
        for change in changes {
            match change {
                TopologyChange::Add(netns) => {
                    let running = self.running_mut()?;
                    let capture = Capture::open(running.lab.netns(&netns.to_string()))?;
                    running.captures.insert(netns.to_string(), capture);
                    for listener in &after.netns[netns].listeners {
                        self.open(netns, listener)?;
                    }
                }
                TopologyChange::Open(netns, listener) => self.open(netns, listener)?,
                TopologyChange::Close(..)
                | TopologyChange::Remove(_)
                | TopologyChange::AddAddress(..)
                | TopologyChange::RemoveRoute(..)
                | TopologyChange::AddRoute(..) => {}
            }
        }
        self.topology = after.clone();
        Ok(())
    }

    fn change(&mut self, change: &StateChange) -> Result<(), ArmError> {
        if let StateChange::Sysctl { name, value, .. } = change
            && OF_THE_MACHINE.contains(&&**name)
        {
            return self.sysctls.write(name, value);
        }
        let lab = &self.running()?.lab;
        match change {
            StateChange::Sysctl { netns, name, value } => {
                let written = lab.netns(&netns.to_string()).set_sysctls([(&**name, &**value)]);
                written.map_err(|error| refused(error.to_string(), &error))
            }
            StateChange::Hairpin { pod, is_on } => link::set_hairpin(lab, &self.topology, pod, *is_on),
            StateChange::Link { netns, latency, loss, mtu } => {
                link::set_link(lab, &self.topology, netns, *latency, *loss)?;
                link::set_mtu(lab, &self.topology, netns, *mtu)
            }
            StateChange::End { netns, end, state } => {
                let changed = (netns.clone(), *end);
                let mut down = self.down.clone();
                match state {
                    LinkState::Up => down.remove(&changed),
                    LinkState::Down => down.insert(changed),
                };
                link::set_end(lab, &self.topology, &down, netns, *end)?;
                self.down = down;
                Ok(())
            }
        }
    }

    fn flows(&mut self, plan: &FlowPlan) -> Result<Flows, ArmError> {
        let flows = (0..plan.count)
            .map(|_| self.run_flow(plan).map(|exchanged| exchanged.flow))
            .collect::<Result<_, _>>()?;
        self.settle()?;
        Ok(Flows { flows, drops: None })
    }

    fn kept(&mut self, plan: &KeptPlan) -> Result<Flows, ArmError> {
        let connections = self.kept_connections(plan);
        let flow = |connection| self.run_kept(plan, connection).map(|(flow, _)| flow);
        let flows = connections.into_iter().map(flow).collect::<Result<_, _>>()?;
        self.settle()?;
        Ok(Flows { flows, drops: None })
    }

    fn script(&mut self, plan: &ScriptPlan) -> Result<Scripted, ArmError> {
        let (mismatch, ..) = self.run_script(plan)?;
        self.settle()?;
        Ok(Scripted { mismatch, drops: None })
    }

    fn distribution(&self, _plan: &FlowPlan) -> Result<Option<Distribution>, ArmError> {
        Ok(None)
    }

    fn conntrack(&mut self, netns: &NetnsName) -> Result<Option<Vec<ConntrackObservation>>, ArmError> {
        Ok(Some(conntrack::list(self.netns(netns)?)?))
    }

    fn ipvs(&mut self, node: &str) -> Result<IpvsObservation, ArmError> {
        Ok(ipvs::list(self.node(node)?)?)
    }

    fn elapsed(&self) -> Duration {
        self.clocks.elapsed()
    }

    fn sleep(&mut self, duration: Duration) -> Result<(), ArmError> {
        let end = Instant::now() + duration;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            thread::sleep(left.min(UNREAD_MAX));
            self.drain()?;
            if left <= UNREAD_MAX {
                return Ok(());
            }
        }
    }

    fn step_begins(&mut self) {}

    fn finish(mut self) -> Result<(Option<u64>, Option<Recording>), ArmError> {
        self.drain()?;
        Ok((None, None))
    }
}

fn request(plan: &FlowPlan) -> Result<ClientRequest, ArmError> {
    Ok(ClientRequest {
        protocol: plan.transport,
        to: ipv4_only(plan.to)?,
        source_port: plan.source_port,
        bytes: plan.request.clone(),
        timeout: plan.timeout,
        is_kept: plan.keep.is_some(),
    })
}

fn raw_flow(request: &ClientRequest, report: &Report, client: &str, frames: &[Frame]) -> RawFlow {
    let own: Vec<Frame> = frames.iter().filter(|frame| frame.netns == client).cloned().collect();
    let (answer, resolved, fetched) = read_answer(&report.reply);
    RawFlow {
        outcome: outcome(request, report, &own),
        answer,
        reply_from: report.reply_from.map(|from| IpAddr::V4(*from.ip())),
        resolved,
        fetched,
    }
}

/// Restores the source address that a frame had when a bridge device sent it.
///
/// When br_netfilter sends a translated packet through the bridge device, it restores the original sender's address
/// after the frame has entered the bridge, in bytes that the capture shares (`br_nf_pre_routing_finish_bridge_slow`,
/// net/bridge/br_netfilter_hooks.c). Frames that a device sends on its own have the device's address
/// (`neigh_resolve_output`, net/core/neighbour.c).
fn restore_bridge_mac(topology: &Topology, frame: &mut Frame) {
    if frame.direction != FrameDirection::Transmitted {
        return;
    }
    let named = topology.netns.iter().find(|(netns, _)| netns.to_string() == frame.netns);
    let bridge =
        named.and_then(|(_, plan)| plan.bridge.as_ref()).filter(|bridge| bridge.name == frame.device);
    if let (Some(bridge), Some(mut ethernet)) = (bridge, Ethernet::new_checked(&mut *frame.bytes)) {
        let (dst, ethertype) = (ethernet.dst(), ethernet.ethertype());
        ethernet.set(dst, bridge.mac, ethertype);
    }
}

fn not_built() -> ArmError {
    ArmError::Failed("no lab was built".to_owned())
}

#[cfg(test)]
mod tests;
