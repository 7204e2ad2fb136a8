//! The simulator as an arm.

mod build;
mod courses;
mod endless;
mod follow;
mod kept;
mod script;

pub(crate) use kept::KeptExchange;

pub(crate) use follow::{COURSES_MAX, CountersNeeded, Exchange, LossyEnds, ScriptExchange, Shown};

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proxy_core::ipvs::DEVICE;
use proxy_core::load::{Ensure, Load, Tool};
use proxy_core::stale_flows::{Frontends, UdpFlow};
use sim::ct::CtStatus;
use sim::draws::Enumerate;
use sim::ids::{FlowId, NetnsId, SocketId};
use sim::ipset::IpsetOptions;
use sim::ipvs::ListOrder;
use sim::netfilter::conntrack::{Entry, ListedEntry};
use sim::socket::{ClientProtocol, ConnectError, FlowResult};
use sim::time::Instant;
use sim::trace::{Event, Kept, Level, PacketEvent, Terminal};
use sim::tuple::{Direction, L4Key, Tuple};
use sim::wire::protocol;
use sim::wire::rewrite::Side;
use sim::world::{BuildError, ConnectSpec, World, WorldOptions};
use sim::xtables::{RestoreOptions, RuleError, RuleErrorKind};

use super::script::ScriptState;
use super::{Arm, ArmError};
use crate::netns::NetnsName;
use crate::observation::{
    Answer, ConntrackObservation, DropObservation, DropReason, Flows, IcmpKey, IpvsObservation, Outcome,
    RawFlow, Scripted, Transport, read_answer,
};
use crate::prepare::{FlowPlan, KeptPlan, ScriptPlan, StateChange};
use crate::proxy::NodeUpdate;
use crate::result::{ArmKind, NetnsNames, Recording};
use crate::shares::Distribution;
use crate::topology::{ListenerPlan, Topology, TopologyChange};
use kept::KeptSockets;

/// Idle time after the last connection of a step, in which it is closed on both sides.
const SETTLING: Duration = Duration::from_millis(100);

/// Time between attempts of a client that finds no free source port.
const PORT_WAIT: Duration = Duration::from_secs(1);

/// Total time of these attempts. A socket is in TIME_WAIT for 60 s (`TCP_TIMEWAIT_LEN`, include/net/tcp.h).
const PORT_WAIT_MAX: Duration = Duration::from_secs(61);

/// The maximum number of paths through all decisions of one connection. With more, the exact distribution is omitted.
const PATHS_MAX: usize = 10_000;

/// The name of the list of jumps, like [`Tool::file`] for text: the first jump on a node is `jumps:1`.
const JUMPS: &str = "jumps";

/// The name of the list of devices, in errors.
const DEVICES: &str = "devices";

/// Why something was not loaded.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Sysctl(#[from] BuildError),
    #[error(transparent)]
    Rules(#[from] RuleError),
    #[error("{0} is not implemented yet")]
    NotExecuted(&'static str),
}

/// A simulated world.
#[derive(Debug)]
pub struct SimArm {
    world: World,
    topology: Topology,
    ids: BTreeMap<NetnsName, NetnsId>,
    servers: BTreeMap<(NetnsName, ListenerPlan), SocketId>,
    /// Events are kept to the end, for a [`Recording`]; else only while they are needed.
    is_recorded: bool,
    /// Number of events already returned by [`SimArm::take_frames`].
    frames_taken: usize,
    step_starts: Vec<usize>,
    /// Number of updates of each node.
    syncs: BTreeMap<String, u32>,
    /// The number of texts of its network plug-in that each node has loaded.
    plugged: BTreeMap<String, u32>,
    /// Connections of scripts that later steps continue, by sender.
    scripts: BTreeMap<NetnsName, ScriptState>,
    /// Connections that later steps use, by name.
    kept: BTreeMap<String, KeptSockets>,
    /// The last series of losses that was tried.
    loss_series: u32,
    /// IPVS chooses endpoints.
    has_ipvs: bool,
}

impl SimArm {
    /// An empty world with this seed, whose run ends with a [`Recording`]. `level` selects what is recorded:
    /// expectations about drops need [`Level::Flows`].
    pub fn new(seed: u64, level: Level) -> Self {
        Self {
            world: World::new(WorldOptions { seed, level }),
            topology: Topology { netns: BTreeMap::new(), veths: Vec::new() },
            ids: BTreeMap::new(),
            servers: BTreeMap::new(),
            is_recorded: true,
            frames_taken: 0,
            step_starts: Vec::new(),
            syncs: BTreeMap::new(),
            plugged: BTreeMap::new(),
            scripts: BTreeMap::new(),
            kept: BTreeMap::new(),
            loss_series: 0,
            has_ipvs: false,
        }
    }

    /// The script of a step, with what its connection kept. It sends when another arm did.
    pub(crate) fn script_exchange<'a>(
        &self,
        plan: &'a ScriptPlan,
        sent_at: Vec<Duration>,
    ) -> ScriptExchange<'a> {
        let kept = self.scripts.get(&plan.from).filter(|_| plan.is_continuation);
        ScriptExchange::new(plan, kept.cloned().unwrap_or_default(), sent_at)
    }

    /// Keeps the state of the connection if a later step continues it.
    pub(crate) fn keep_script(&mut self, plan: &ScriptPlan, state: ScriptState) {
        if plan.stays_open {
            self.scripts.insert(plan.from.clone(), state);
        } else {
            self.scripts.remove(&plan.from);
        }
    }

    /// Like [`SimArm::new`], without a recording at the end: the hash covers all events, and only the drops of a step
    /// take memory.
    pub fn unrecorded(seed: u64, level: Level) -> Self {
        let mut arm = Self { is_recorded: false, ..Self::new(seed, level) };
        arm.world.set_kept(Kept::Drops);
        arm
    }

    /// Changes how many events one wait may take before the scenario is refused as endless; [`sim::world::EVENTS_MAX`] by
    /// default.
    pub const fn set_events_max(&mut self, events_max: u64) {
        self.world.set_events_max(events_max);
    }

    fn id(&self, netns: &NetnsName) -> Result<NetnsId, ArmError> {
        self.ids.get(netns).copied().ok_or_else(|| ArmError::Internal(format!("{netns} was not built")))
    }

    fn node(&self, name: &str) -> Result<NetnsId, ArmError> {
        self.id(&NetnsName::Node(name.to_owned()))
    }

    /// Loads a list in order. `prefix` is prepended to the names of the texts.
    fn load_all(&mut self, node: &str, prefix: &str, load: &[Load]) -> Result<(), ArmError> {
        let netns = self.node(node)?;
        self.has_ipvs |=
            load.iter().any(|load| matches!(load, Load::Text { tool: Tool::IpvsadmRestore, .. }));
        let mut jumps = 0;
        load.iter()
            .try_for_each(|load| self.load_one(netns, prefix, load, &mut jumps))
            .map_err(|error| ArmError::Internal(format!("{node}: {error}")))
    }

    /// Loads one item. `jumps` counts the jumps created.
    fn load_one(
        &mut self,
        netns: NetnsId,
        prefix: &str,
        load: &Load,
        jumps: &mut u32,
    ) -> Result<(), LoadError> {
        match load {
            Load::Sysctl { name, value } => Ok(self.world.set_sysctl(netns, name, value)?),
            Load::Ensure(ensure @ Ensure::Device { .. }) => {
                let command = ensure.command();
                let arguments = command.strip_prefix(ensure.program()).unwrap_or_default();
                match self.world.ip_command(netns, &format!("{prefix}{DEVICES}"), 1, arguments) {
                    Err(error) if error.kind == RuleErrorKind::DeviceExists => Ok(()),
                    result => Ok(result?),
                }
            }
            Load::Ensure(ensure @ (Ensure::Chain { .. } | Ensure::Jump { .. })) => {
                *jumps += u32::from(matches!(ensure, Ensure::Jump { .. }));
                let source = format!("{prefix}{JUMPS}");
                // A node's own rules may have it (`EnsureRule`, pkg/util/iptables/iptables.go of kube-proxy).
                let exists =
                    |check: String| self.world.iptables_command(netns, &source, *jumps, &check).is_ok();
                if ensure.check().is_some_and(exists) {
                    return Ok(());
                }
                match self.world.iptables_command(netns, &source, *jumps, &ensure.command()) {
                    // A chain with two jumps is ensured twice.
                    Err(error) if error.kind == RuleErrorKind::ChainExists => Ok(()),
                    result => result.map(drop).map_err(LoadError::from),
                }
            }
            Load::Text { tool: tool @ Tool::IptablesRestore, text } => {
                let options = RestoreOptions { noflush: true, counters: false };
                let source = format!("{prefix}{}", tool.file());
                Ok(self.world.iptables_restore(netns, &source, text, options)?)
            }
            Load::Text { tool: Tool::Ip6tablesRestore, .. } => Err(LoadError::NotExecuted("IPv6")),
            Load::Text { tool: tool @ Tool::IpsetRestore, text } => {
                let source = format!("{prefix}{}", tool.file());
                Ok(self.world.ipset_restore(netns, &source, text, IpsetOptions::default())?)
            }
            Load::Text { tool: tool @ Tool::IpvsadmRestore, text } => {
                let source = format!("{prefix}{}", tool.file());
                Ok(self.world.ipvsadm_restore(netns, &source, text)?)
            }
            Load::Text { tool: tool @ Tool::IpBatch, text } => {
                let source = format!("{prefix}{}", tool.file());
                Ok(self.world.ip_batch(netns, &source, text)?)
            }
        }
    }

    /// The netns with this id.
    fn netns(&self, id: NetnsId) -> Option<&NetnsName> {
        self.ids.iter().find(|(_, known)| **known == id).map(|(netns, _)| netns)
    }

    /// Dropped packets of these flows among the events from `start` on. Flows of one step have consecutive numbers.
    fn drops(&mut self, flows: &[FlowId], start: usize) -> Option<Vec<DropObservation>> {
        if self.world.trace().level() == Level::Nothing {
            return None;
        }
        let mut drops = Vec::new();
        if let (Some(first), Some(last)) = (flows.first(), flows.last()) {
            for event in &self.world.trace().events()[start..] {
                let Event::Packet(PacketEvent::Ended { flow: Some(flow), terminal }) = &event.event else {
                    continue;
                };
                let (Terminal::Dropped(reason) | Terminal::Rejected(reason)) = terminal else { continue };
                if (first..=last).contains(&flow) {
                    let netns = self.netns(event.netns).cloned();
                    drops.extend(netns.map(|netns| DropObservation { netns, reason: *reason }));
                }
            }
        }
        if !self.is_recorded {
            self.world.take_events();
        }
        Some(drops)
    }

    /// The exact distribution of a connection in this world.
    fn distribution_in(&self, world: &World, plan: &FlowPlan) -> Result<Option<Distribution>, ArmError> {
        // Schedulers choose by what was before, so no distribution holds for more than one connection.
        if self.has_ipvs {
            return Ok(None);
        }
        let netns = self.id(&plan.from)?;
        let mut distribution = Distribution::default();
        let mut next = Some(Enumerate::first());
        let mut paths = 0;
        while let Some(path) = next {
            paths += 1;
            if paths > PATHS_MAX {
                return Ok(None);
            }
            let mut world = world.fork();
            world.set_level(Level::Nothing);
            world.draws_mut().enumerate(path);
            let Ran { flow, .. } = run_flow(&mut world, netns, plan)?;
            let Some(path) = world.draws().enumerated() else { return Ok(None) };
            // If a link may lose frames, this path is one sample of many.
            let Some(weight) = path.weight() else { return Ok(None) };
            let endpoint = flow.answer.as_ref().map(Answer::endpoint);
            distribution.add(flow.outcome, endpoint, &weight);
            next = path.next_path();
        }
        Ok(Some(distribution))
    }

    /// Lets time pass.
    fn run_until(&mut self, until: Instant) -> Result<(), ArmError> {
        let limit = self.world.run_until(until);
        endless::check(&self.world, limit)
    }
}

impl Arm for SimArm {
    fn kind(&self) -> ArmKind {
        ArmKind::Sim
    }

    fn build(&mut self, topology: &Topology) -> Result<(), ArmError> {
        self.build_all(topology)
    }

    fn load(&mut self, node: &str, load: &[Load]) -> Result<(), ArmError> {
        self.load_all(node, "", load)
    }

    fn plug(&mut self, node: &str, load: &[Load]) -> Result<(), ArmError> {
        let number = self.plugged.entry(node.to_owned()).or_default();
        *number += 1;
        let prefix = format!("cni-{number}/");
        self.load_all(node, &prefix, load)
    }

    fn update(&mut self, node: &str, update: &NodeUpdate) -> Result<(), ArmError> {
        let number = self.syncs.entry(node.to_owned()).or_default();
        *number += 1;
        let prefix = format!("sync-{number}/");
        self.load_all(node, &prefix, &update.load)?;
        if let Some(frontends) = &update.stale {
            let (netns, now) = (self.node(node)?, self.world.now());
            let conntrack = &mut self.world.netns_mut(netns).conntrack;
            conntrack.delete_matching(now, |entry| is_stale(frontends, entry));
        }
        Ok(())
    }

    fn rebuild(&mut self, changes: &[TopologyChange], after: &Topology) -> Result<(), ArmError> {
        self.apply_changes(changes, after)
    }

    fn change(&mut self, change: &StateChange) -> Result<(), ArmError> {
        match change {
            StateChange::Sysctl { netns, name, value } => {
                let id = self.id(netns)?;
                self.world.set_sysctl(id, name, value).map_err(|error| ArmError::Refused(error.to_string()))
            }
            StateChange::Hairpin { pod, is_on } => self.set_hairpin(pod, *is_on),
            StateChange::Link { netns, latency, loss, mtu } => {
                self.set_link(netns, *latency, *loss)?;
                mtu.map_or(Ok(()), |mtu| self.set_mtu(netns, mtu))
            }
            StateChange::End { netns, end, state } => self.set_end(netns, *end, *state),
        }
    }

    fn flows(&mut self, plan: &FlowPlan) -> Result<Flows, ArmError> {
        let start = self.world.trace().events().len();
        let netns = self.id(&plan.from)?;
        let mut ids = Vec::new();
        let mut flows = Vec::new();
        for _ in 0..plan.count {
            let Ran { id, flow, socket } = run_flow(&mut self.world, netns, plan)?;
            ids.push(id);
            flows.push(flow);
            self.keep(plan, socket);
        }
        self.run_until(self.world.now() + SETTLING)?;
        let drops = self.drops(&ids, start);
        Ok(Flows { flows, drops })
    }

    fn kept(&mut self, plan: &KeptPlan) -> Result<Flows, ArmError> {
        let start = self.world.trace().events().len();
        let (mut ids, mut flows) = (Vec::new(), Vec::new());
        for exchange in self.kept_exchanges(plan) {
            let netns = self.id(&plan.opened.from)?;
            let (id, flow) = exchange.run_in(&mut self.world, netns)?;
            ids.push(id);
            flows.push(flow);
        }
        self.run_until(self.world.now() + SETTLING)?;
        let drops = self.drops(&ids, start);
        Ok(Flows { flows, drops })
    }

    fn script(&mut self, plan: &ScriptPlan) -> Result<Scripted, ArmError> {
        let start = self.world.trace().events().len();
        let netns = self.id(&plan.from)?;
        let ScriptExchange { mut state, .. } = self.script_exchange(plan, Vec::new());
        let (flow, mismatch) = script::run_script(&mut self.world, netns, plan, &mut state, &[])?;
        self.keep_script(plan, state);
        let mut drops = self.drops(&[flow], start);
        // Drops by the rule that silences the sender are not losses.
        let is_silence = |drop: &DropObservation| {
            drop.netns == plan.from && !plan.is_from_node() && drop.reason == DropReason::NetfilterDrop
        };
        drops.iter_mut().for_each(|drops| drops.retain(|drop| !is_silence(drop)));
        Ok(Scripted { mismatch, drops })
    }

    fn distribution(&self, plan: &FlowPlan) -> Result<Option<Distribution>, ArmError> {
        self.distribution_in(&self.world, plan)
    }

    fn conntrack(&mut self, netns: &NetnsName) -> Result<Option<Vec<ConntrackObservation>>, ArmError> {
        Ok(Some(conntrack(&self.world, self.id(netns)?)))
    }

    fn ipvs(&mut self, node: &str) -> Result<IpvsObservation, ArmError> {
        let netns = self.node(node)?;
        let services = self.world.ipvsadm_list(netns, ListOrder::Sorted);
        let connections = self.world.ipvsadm_list_connections(netns);
        let dummy = self.world.netns(netns).devices.by_name(DEVICE);
        let addrs = dummy.into_iter().flat_map(|device| &device.addrs);
        let addresses = addrs.map(|addr| IpAddr::V4(addr.net.addr())).collect();
        IpvsObservation::read(&services, &connections, &self.world.ipset_save(netns), addresses)
            .map_err(ArmError::Internal)
    }

    fn elapsed(&self) -> Duration {
        self.world.now().saturating_since(Instant::START)
    }

    fn sleep(&mut self, duration: Duration) -> Result<(), ArmError> {
        self.run_until(self.world.now() + duration)
    }

    fn step_begins(&mut self) {
        if !self.is_recorded {
            return;
        }
        self.step_starts.push(self.world.trace().events().len());
    }

    fn finish(mut self) -> Result<(Option<u64>, Option<Recording>), ArmError> {
        if self.world.trace().level() == Level::Nothing {
            return Ok((None, None));
        }
        let hash = Some(self.world.trace().hash());
        if !self.is_recorded {
            return Ok((hash, None));
        }
        let netns = netns_names(&self.world);
        let recording = Recording { events: self.world.take_events(), netns, step_starts: self.step_starts };
        Ok((hash, Some(recording)))
    }
}

/// The names of all netns and devices of a world.
fn netns_names(world: &World) -> Vec<NetnsNames> {
    let names = |netns: &sim::netns::Netns| NetnsNames {
        name: netns.name.to_string(),
        devices: netns.devices.iter().map(|device| device.name.to_string()).collect(),
    };
    world.all_netns().map(names).collect()
}

/// The entries that `conntrack -L` would list.
fn conntrack(world: &World, netns: NetnsId) -> Vec<ConntrackObservation> {
    let rows = world.netns(netns).conntrack.listing(world.now());
    let observation = |row: &ListedEntry| {
        Some(ConntrackObservation {
            protocol: transport(row.original.protocol)?,
            original: ends(&row.original),
            reply: ends(&row.reply),
            icmp: icmp_key(&row.original).zip(icmp_key(&row.reply)),
            tcp_state: row.tcp_state,
            is_replied: row.status.contains(CtStatus::SEEN_REPLY),
            is_assured: row.status.contains(CtStatus::ASSURED),
            mark: row.mark,
            expires_in: Duration::from_secs(row.timeout_seconds),
        })
    };
    rows.iter().filter_map(observation).collect()
}

/// The client socket of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeptSocket {
    /// Its id, in the netns of the client.
    id: SocketId,
    /// Its source port.
    port: u16,
    /// The outcome of its first exchange. Without a socket, because connect(2) failed, it is also that of later ones.
    outcome: Outcome,
}

/// A connection that was run.
struct Ran {
    id: FlowId,
    flow: RawFlow,
    socket: KeptSocket,
}

/// Runs one connection of the plan, from start to outcome.
fn run_flow(world: &mut World, netns: NetnsId, plan: &FlowPlan) -> Result<Ran, ArmError> {
    let spec = ConnectSpec {
        protocol: client_protocol(plan.transport)?,
        src_port: plan.source_port,
        dst: plan.to.ip(),
        dst_port: plan.to.port(),
        request: plan.request.clone(),
        deadline: plan.timeout,
        is_kept_open: plan.keep.is_some(),
        may_broadcast: false,
    };
    let flow = connect(world, netns, &spec).map_err(|error| {
        ArmError::Refused(format!("{} cannot connect to {}: {error}", plan.from_text, plan.to_text))
    })?;
    let result = finished(world, flow, plan)?;
    let socket = KeptSocket { id: result.socket, port: result.local.1, outcome: result.outcome };
    Ok(Ran { id: flow, flow: raw_flow(&result), socket })
}

/// Runs the world until a flow of the plan has an outcome.
fn finished(world: &mut World, flow: FlowId, plan: &FlowPlan) -> Result<FlowResult, ArmError> {
    // A timer ends every flow at its deadline.
    let until = world.now() + plan.timeout + Duration::from_secs(1);
    let limit = world.run_until_finished(&[flow], until);
    endless::check(world, limit)?;
    world.take_flow_result(flow).ok_or_else(|| {
        ArmError::Internal(format!("a flow to {} has no outcome after its deadline", plan.to_text))
    })
}

fn raw_flow(result: &FlowResult) -> RawFlow {
    let (answer, resolved, fetched) = result.reply.as_deref().map(read_answer).unwrap_or_default();
    let reply_from = result.reply_from.map(|(address, _)| address);
    RawFlow { outcome: result.outcome, answer, reply_from, resolved, fetched }
}

/// Connects as soon as a source port is free. A client with many connections to one destination uses up its ephemeral
/// ports (28,232 by default, see `ip_local_port_range`) before the first of them has left TIME_WAIT.
fn connect(world: &mut World, netns: NetnsId, spec: &ConnectSpec) -> Result<FlowId, ConnectError> {
    let give_up = world.now() + PORT_WAIT_MAX;
    loop {
        match world.connect(netns, spec.clone()) {
            Err(ConnectError::AddressNotAvailable) if spec.src_port.is_none() && world.now() < give_up => {
                world.run_until(world.now() + PORT_WAIT);
            }
            result => return result,
        }
    }
}

fn client_protocol(transport: Transport) -> Result<ClientProtocol, ArmError> {
    match transport {
        Transport::Tcp => Ok(ClientProtocol::Tcp),
        Transport::Udp => Ok(ClientProtocol::Udp),
        Transport::Icmp => Ok(ClientProtocol::IcmpEcho),
        Transport::Sctp => Err(ArmError::Internal("SCTP is not implemented".to_owned())),
    }
}

fn transport(number: u8) -> Option<Transport> {
    match number {
        protocol::TCP => Some(Transport::Tcp),
        protocol::UDP => Some(Transport::Udp),
        protocol::SCTP => Some(Transport::Sctp),
        protocol::ICMP => Some(Transport::Icmp),
        _ => None,
    }
}

/// Source and destination; the ICMP identifier is not a port.
fn ends(tuple: &Tuple) -> (SocketAddr, SocketAddr) {
    let has_ports = tuple.protocol != protocol::ICMP;
    let end = |side| SocketAddr::new(tuple.addr(side), if has_ports { tuple.port(side) } else { 0 });
    (end(Side::Src), end(Side::Dst))
}

fn icmp_key(tuple: &Tuple) -> Option<IcmpKey> {
    match tuple.l4 {
        L4Key::Icmp { id, icmp_type, code } => Some(IcmpKey { icmp_type, code, id }),
        L4Key::Ports { .. } | L4Key::Generic => None,
    }
}

fn is_stale(frontends: &Frontends, entry: &Entry) -> bool {
    let (original, reply) = (entry.tuple(Direction::Original), entry.tuple(Direction::Reply));
    original.protocol == protocol::UDP
        && frontends
            .is_stale(&UdpFlow { original_destination: ends(original).1, reply_source: ends(reply).0 })
}
