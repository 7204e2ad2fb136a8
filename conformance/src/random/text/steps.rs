//! Steps of a random world. Steps change what exists, so a step that would refer to a deleted object refers to another
//! of the same kind, or is omitted if there is none.

mod kept;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use proxy_core::objects::Protocol;
use serde_json::{Map, Value, json};

use super::nodes::Nodes;
use super::objects::{self, pod_name, service_name};
use super::script;
use super::{FIRST_JOINING_POD, FIRST_LATE_POD, HOSTS};
use crate::random::world::{
    RandomDestination, RandomEnd, RandomEvent, RandomEventKind, RandomLine, RandomLoss, RandomMtu,
    RandomNode, RandomPacket, RandomParty, RandomPieces, RandomPiecesKind, RandomPod, RandomService,
    RandomSetting, RandomStep, RandomSysctl, RandomWorld, ServiceKind,
};
use crate::scenario::Cni;

/// The clients' timeout. Many get no response, so this is the shortest time in which a busy machine reliably responds.
const TIMEOUT: &str = "300ms";

/// The source port of steps that share one.
const SOURCE_PORT: u16 = 39_999;

pub(super) fn print(world: &RandomWorld) -> Vec<Value> {
    let mut printer = Printer {
        world,
        nodes: Nodes::new(world),
        pods: taken(&world.pods),
        services: taken(&world.services),
        lossy: None,
        open: Vec::new(),
    };
    let mut steps: Vec<Value> = world.second_sysctls().into_iter().collect();
    steps.extend(
        world.ipvs.and_then(|ipvs| ipvs.step((1..=world.nodes.len()).map(|number| format!("node-{number}")))),
    );
    if let Some(RandomLoss { party, share }) = world.lossy_link() {
        let machine = printer.machine(party);
        steps.push(json!({"set": {&machine: {"link": {"loss": share}, "sysctl": with_losses()}}}));
        printer.lossy = Some(machine);
    }
    if let Some(RandomMtu { party: Some(party), bytes }) = world.mtu {
        let machine = printer.machine(party);
        steps.push(json!({"set": {&machine: {"link": {"mtu": bytes}}}}));
    }
    for (index, step) in (0..).zip(&world.steps) {
        steps.extend(printer.before(index..=index));
        steps.extend(printer.step(step));
    }
    let count = u8::try_from(world.steps.len()).unwrap_or(u8::MAX);
    steps.extend(printer.before(count..=u8::MAX));
    steps.extend(world.pieces.as_ref().map(|pieces| printer.pieces(pieces)));
    if steps.is_empty() {
        // A scenario must have a step.
        steps.push(json!({"sleep": "1ms"}));
    }
    steps
}

/// Raw packets to 0.0.0.0 are not modelled.
fn raw_destination(to: RandomDestination) -> RandomDestination {
    if to == RandomDestination::Nobody("0.0.0.0") { RandomDestination::Nobody("240.0.0.1") } else { to }
}

/// Sysctls of the machine on a link that loses frames. A redirect that is lost on one side only would lead later packets
/// along another path there.
fn with_losses() -> Value {
    json!({
        "net.ipv4.conf.all.accept_redirects": 0,
        "net.ipv4.conf.eth0.accept_redirects": 0,
        "net.ipv4.conf.all.send_redirects": 0,
        "net.ipv4.conf.eth0.send_redirects": 0,
    })
}

/// True if a sysctl changes what redirects do.
fn is_about_redirects(name: &str) -> bool {
    name == "net.ipv4.ip_forward" || name.ends_with("_redirects")
}

fn taken<T: Clone>(slots: &[Option<T>]) -> BTreeMap<u8, T> {
    (0..).zip(slots).filter_map(|(slot, thing)| Some((slot, thing.clone()?))).collect()
}

/// The object in a slot, or else the next one, or else the first one.
fn pick<T>(things: &BTreeMap<u8, T>, slot: u8) -> Option<(u8, &T)> {
    things.range(slot..).chain(things).next().map(|(slot, thing)| (*slot, thing))
}

struct Printer<'a> {
    world: &'a RandomWorld,
    /// What currently exists.
    nodes: Nodes,
    pods: BTreeMap<u8, RandomPod>,
    services: BTreeMap<u8, RandomService>,
    /// The machine whose link loses a share of its frames. Such a cluster has no step whose effect depends on what was
    /// lost earlier: no link changes, because frames are compared again when none is lost any more, no source port is
    /// used twice, and redirects stay off.
    lossy: Option<String>,
    /// Connections that are open.
    open: Vec<kept::OpenConnections>,
}

/// The destination of a step.
struct StepTarget {
    /// The reference without a port.
    name: String,
    port: String,
    protocol: Protocol,
}

impl Printer<'_> {
    fn step(&mut self, step: &RandomStep) -> Option<Value> {
        Some(match step {
            RandomStep::Connect { from, to, protocol, count, has_source_port, send, receive } => {
                let StepTarget { name, port, protocol } = self.place(*to, *protocol);
                let has_sizes = self.has_sizes(protocol);
                json!({"connect": {
                    "from": self.party(*from),
                    "to": format!("{name}:{port}"),
                    "protocol": (protocol == Protocol::Udp).then_some("udp"),
                    "count": (*count > 1).then_some(count),
                    "sourcePort": self.shares_port(*has_source_port).then_some(SOURCE_PORT),
                    "timeout": TIMEOUT,
                    "send": send.filter(|_| has_sizes),
                    "receive": receive.filter(|_| has_sizes),
                }})
            }
            RandomStep::Ping { from, to } => {
                let StepTarget { name, .. } = self.place(*to, Protocol::Tcp);
                json!({"ping": {"from": self.party(*from), "to": name, "timeout": TIMEOUT}})
            }
            RandomStep::Send { from, to, protocol, lines, has_source_port } => {
                let to = raw_destination(*to);
                let StepTarget { name, port, protocol } = self.place(to, *protocol);
                json!({"send": {
                    "from": self.sender(*from, protocol),
                    "to": format!("{name}:{port}"),
                    "protocol": (protocol == Protocol::Udp).then_some("udp"),
                    "sourcePort": self.shares_port(*has_source_port).then_some(SOURCE_PORT),
                    "timeout": TIMEOUT,
                    "segments": script::print(&self.lines(lines, to), protocol, self.shares_port(*has_source_port), self.world),
                }})
            }
            RandomStep::ApplyPod { slot, pod } => {
                let slot = FIRST_LATE_POD + slot;
                let pod = self.networked_like_before(slot, pod);
                json!({"apply": self.add_pod(slot, pod)})
            }
            RandomStep::ApplyService { slot, service } => {
                let service = self.headless_like_before(*slot, service);
                let mut manifests = vec![objects::service(*slot, &service, self.world)];
                manifests.extend(objects::slice(*slot, &service, self.world));
                self.services.insert(*slot, service);
                json!({"apply": manifests})
            }
            RandomStep::DeletePod(slot) => {
                let (slot, _) = pick(&self.pods, *slot)?;
                if self.lossy.as_ref().is_some_and(|lossy| *lossy == format!("pod/{}", pod_name(slot))) {
                    return None;
                }
                self.pods.remove(&slot);
                self.nodes.remove_pod(slot);
                let name = format!("pod/{}", pod_name(slot));
                self.forget_client(&name);
                json!({"delete": name})
            }
            RandomStep::DeleteService(slot) => {
                let (slot, _) = pick(&self.services, *slot)?;
                self.services.remove(&slot);
                json!({"delete": format!("service/{}", service_name(slot))})
            }
            RandomStep::Set(setting) => json!({"set": self.setting(*setting)?}),
            RandomStep::Sleep(milliseconds) => json!({"sleep": format!("{milliseconds}ms")}),
        })
    }

    /// True if frames tell how a large payload arrives. If some of the segments of a flight are lost, on a link that loses
    /// frames or at a port of the switch with a smaller MTU, the others reveal it to the kernel's TCP by SACK.
    fn has_sizes(&self, protocol: Protocol) -> bool {
        let is_narrow = self.world.mtu.is_some_and(|mtu| mtu.party.is_some());
        self.lossy.is_none() && (protocol == Protocol::Udp || !is_narrow)
    }

    fn shares_port(&self, has_source_port: bool) -> bool {
        has_source_port && self.lossy.is_none()
    }

    /// What happens between two steps.
    fn before(&mut self, indexes: RangeInclusive<u8>) -> Vec<Value> {
        let world = self.world;
        let events = world.events.iter().filter(|event| indexes.contains(&event.before));
        let mut steps: Vec<Value> = events.filter_map(|event| self.event(event)).collect();
        let waits = world.waits.iter().filter(|wait| indexes.contains(&wait.before));
        steps.extend(waits.map(|wait| json!({"sleep": world.wait(*wait)})));
        steps.extend(self.kept_steps(&indexes));
        steps
    }

    fn event(&mut self, event: &RandomEvent) -> Option<Value> {
        match &event.kind {
            RandomEventKind::End(..) if self.lossy.is_some() => None,
            RandomEventKind::End(party, end, is_up) => {
                let end = match end {
                    RandomEnd::Device => "device",
                    RandomEnd::Port => "port",
                };
                let state = if *is_up { "up" } else { "down" };
                Some(json!({"set": {self.machine(*party): {"link": {end: state}}}}))
            }
            RandomEventKind::Join(node, pod) => Some(self.join(node, pod)),
            RandomEventKind::Leave(slot) => self.leave(*slot),
        }
    }

    fn join(&mut self, node: &RandomNode, pod: &RandomPod) -> Value {
        let number = self.nodes.join();
        let slot = (FIRST_JOINING_POD..).find(|slot| !self.pods.contains_key(slot)).expect("few nodes join");
        let pod = RandomPod { node: u8::MAX, ..pod.clone() };
        json!({"apply": [super::node_manifest(node, number), self.add_pod(slot, pod)]})
    }

    fn leave(&mut self, slot: u8) -> Option<Value> {
        let number = self.nodes.number(slot);
        let name = format!("node/{}", self.nodes.name(slot));
        if self.lossy.is_some() || !self.nodes.may_leave(number, self.world) {
            return None;
        }
        for pod in self.nodes.leave(number) {
            self.pods.remove(&pod);
            self.forget_client(&format!("pod/{}", pod_name(pod)));
        }
        self.forget_client(&name);
        Some(json!({"delete": name}))
    }

    /// The manifest of a Pod that is added or changed.
    fn add_pod(&mut self, slot: u8, pod: RandomPod) -> Value {
        let manifest = objects::pod(slot, &pod, &self.nodes.place(slot, pod.node));
        self.pods.insert(slot, pod);
        manifest
    }

    /// A Pod does not move between its own network and the node's.
    fn networked_like_before(&self, slot: u8, pod: &RandomPod) -> RandomPod {
        let before = self.pods.get(&slot).unwrap_or(pod);
        RandomPod { is_host_network: before.is_host_network, ..pod.clone() }
    }

    /// A Service does not change between headless and not.
    fn headless_like_before(&self, slot: u8, service: &RandomService) -> RandomService {
        let is_headless = |service: &RandomService| service.kind == ServiceKind::Headless;
        match self.services.get(&slot) {
            Some(before) if is_headless(before) != is_headless(service) => {
                RandomService { kind: before.kind, ..service.clone() }
            }
            Some(_) | None => service.clone(),
        }
    }

    fn pieces(&self, pieces: &RandomPieces) -> Value {
        let RandomPieces { from, to, kind } = pieces;
        let StepTarget { name, port, protocol } = self.place(raw_destination(*to), Protocol::Udp);
        let is_echo = matches!(kind, RandomPiecesKind::Echo { .. });
        json!({"send": {
            "from": self.sender(*from, if is_echo { Protocol::Udp } else { protocol }),
            "to": if is_echo { name } else { format!("{name}:{port}") },
            "protocol": if is_echo { "icmp" } else { protocol.lower() },
            "timeout": TIMEOUT,
            "segments": script::pieces(kind, protocol),
        }})
    }

    fn setting(&self, setting: RandomSetting) -> Option<Value> {
        let (target, change) = match setting {
            RandomSetting::Ready(slot, is_ready) => {
                let (slot, _) = pick(&self.pods, slot)?;
                (format!("pod/{}", pod_name(slot)), json!({"ready": is_ready}))
            }
            RandomSetting::Hairpin(slot, is_on) => {
                let (slot, pod) = pick(&self.pods, slot)?;
                if pod.is_host_network || self.world.cni != Cni::Bridge {
                    return None;
                }
                (format!("pod/{}", pod_name(slot)), json!({"hairpin": is_on}))
            }
            RandomSetting::Node(_, RandomSysctl { name, .. })
            | RandomSetting::Sysctl(_, RandomSysctl { name, .. })
                if self.lossy.is_some() && is_about_redirects(name) =>
            {
                return None;
            }
            RandomSetting::Link(..) if self.lossy.is_some() => return None,
            RandomSetting::Node(slot, sysctl) => (
                format!("node/{}", self.nodes.name(slot)),
                json!({"sysctl": {sysctl.name: self.world.value(sysctl)}}),
            ),
            RandomSetting::Sysctl(party, sysctl) => {
                (self.party(party), json!({"sysctl": {sysctl.name: self.world.value(sysctl)}}))
            }
            RandomSetting::Link(party, is_up) => {
                (self.machine(party), json!({"link": {"loss": if is_up { 0 } else { 1 }}}))
            }
        };
        let mut settings = Map::new();
        settings.insert(target, change);
        Some(Value::Object(settings))
    }

    fn party(&self, party: RandomParty) -> String {
        match party {
            RandomParty::Host(slot) => self.host_name(slot),
            RandomParty::Pod(slot) => match pick(&self.pods, slot) {
                Some((slot, _)) => format!("pod/{}", pod_name(slot)),
                None => self.host_name(0),
            },
            RandomParty::Node(slot) => format!("node/{}", self.nodes.name(slot)),
        }
    }

    /// A node chooses an endpoint for a packet with a forged source and may then drop it, so that nothing shows its choice:
    /// such packets go to Services with one endpoint at most.
    fn lines(&self, lines: &[RandomLine], to: RandomDestination) -> Vec<RandomLine> {
        let may_forge = self.endpoints_max(to) <= 1;
        let line = |line: &RandomLine| match line {
            RandomLine::Send(packet) => {
                RandomLine::Send(RandomPacket { source: packet.source.filter(|_| may_forge), ..*packet })
            }
            RandomLine::AwaitSynAck => RandomLine::AwaitSynAck,
        };
        lines.iter().map(line).collect()
    }

    /// Maximum number of endpoints behind a destination.
    fn endpoints_max(&self, to: RandomDestination) -> usize {
        use RandomDestination as D;
        let slot = match to {
            D::Service(slot, _)
            | D::NodePort(_, slot, _)
            | D::LoadBalancer(slot, _)
            | D::ExternalIp(slot, _)
            | D::Loopback(slot, _) => slot,
            D::Pod(_)
            | D::Host(_)
            | D::HealthCheck(..)
            | D::NodeClosed(_)
            | D::ServiceClosed(_)
            | D::PodClosed(_)
            | D::Bridge(_)
            | D::Nobody(_) => return 0,
        };
        let Some(service) = self.service(slot).1 else { return 0 };
        let pods = self.pods.values().filter(|pod| pod.app == service.app).count();
        // A slice stays when a later manifest of the Service has a selector.
        let slices = self.world.services.iter().flatten().chain(self.services.values());
        let in_slices = slices.filter_map(|service| service.slice.as_ref()).map(Vec::len).max().unwrap_or(0);
        pods + in_slices
    }

    /// Nodes cannot play scripts over TCP.
    fn sender(&self, party: RandomParty, protocol: Protocol) -> String {
        match self.machine(party) {
            node if node.starts_with("node/") && protocol != Protocol::Udp => self.host_name(0),
            machine => machine,
        }
    }

    /// The party, or the node whose network it shares.
    fn machine(&self, party: RandomParty) -> String {
        match party {
            RandomParty::Pod(slot) => match pick(&self.pods, slot) {
                Some((slot, pod)) if pod.is_host_network => format!("node/{}", self.nodes.of_pod(slot)),
                Some(_) | None => self.party(party),
            },
            RandomParty::Host(_) | RandomParty::Node(_) => self.party(party),
        }
    }

    /// The first host always exists.
    fn host_name(&self, slot: u8) -> String {
        let is_there = self.world.hosts.get(usize::from(slot)).is_some_and(Option::is_some);
        let (name, _) = HOSTS[if is_there { usize::from(slot) } else { 0 }];
        format!("host/{name}")
    }

    fn node_reference(&self, slot: u8) -> String {
        self.world.node_reference(self.nodes.number(slot))
    }

    fn place(&self, to: RandomDestination, protocol: Protocol) -> StepTarget {
        use RandomDestination as D;
        match to {
            D::Service(slot, port) => self.by_port(slot, port, |slot, service| match service {
                Some(service) if service.kind != ServiceKind::Headless => {
                    format!("service/{}", service_name(slot))
                }
                Some(_) | None => objects::cluster_ip(slot),
            }),
            D::NodePort(node, slot, port) => self.by_node_port(slot, port, self.node_reference(node)),
            D::Loopback(slot, port) => self.by_node_port(slot, port, "127.0.0.1".to_owned()),
            D::LoadBalancer(slot, port) => {
                self.by_port(slot, port, |slot, _| objects::load_balancer_ip(slot))
            }
            D::ExternalIp(slot, port) => self.by_port(slot, port, |slot, service| match service {
                Some(service) => objects::external_ip(slot, service, self.world),
                None => "198.51.100.1".to_owned(),
            }),
            D::Pod(slot) => match pick(&self.pods, slot) {
                Some((slot, pod)) => StepTarget {
                    name: format!("pod/{}", pod_name(slot)),
                    port: objects::pod_port(slot, pod, protocol).to_string(),
                    protocol,
                },
                None => StepTarget { name: "10.244.1.2".to_owned(), port: "8080".to_owned(), protocol },
            },
            D::Host(slot) => {
                let port = if protocol == Protocol::Udp { "53" } else { "443" };
                StepTarget { name: self.host_name(slot), port: port.to_owned(), protocol }
            }
            D::HealthCheck(node, slot) => StepTarget {
                name: format!("node/{}", self.nodes.name(node)),
                port: objects::health_check_port(slot).to_string(),
                protocol: Protocol::Tcp,
            },
            D::NodeClosed(node) => closed(self.node_reference(node), protocol),
            D::ServiceClosed(slot) => closed(objects::cluster_ip(slot), protocol),
            D::PodClosed(slot) => match pick(&self.pods, slot) {
                Some((slot, _)) => closed(format!("pod/{}", pod_name(slot)), protocol),
                None => closed("10.244.1.2".to_owned(), protocol),
            },
            D::Bridge(node) => closed(format!("10.244.{}.1", self.nodes.number(node)), protocol),
            D::Nobody(address) => closed(address.to_owned(), protocol),
        }
    }

    /// A Service by one of its ports, if it exists; otherwise by a likely port.
    fn by_port(
        &self,
        slot: u8,
        port: u8,
        name: impl FnOnce(u8, Option<&RandomService>) -> String,
    ) -> StepTarget {
        let (slot, service) = self.service(slot);
        let (index, protocol) = port_of(service, port);
        let port = objects::port_number(index, protocol).to_string();
        StepTarget { name: name(slot, service), port, protocol }
    }

    fn by_node_port(&self, slot: u8, port: u8, name: String) -> StepTarget {
        let (slot, service) = self.service(slot);
        let (index, protocol) = port_of(service, port);
        StepTarget { name, port: objects::node_port(slot, index).to_string(), protocol }
    }

    fn service(&self, slot: u8) -> (u8, Option<&RandomService>) {
        match pick(&self.services, slot) {
            Some((slot, service)) => (slot, Some(service)),
            None => (slot, None),
        }
    }
}

/// The index of a Service's port, or of its last one, and its protocol.
fn port_of(service: Option<&RandomService>, index: u8) -> (u8, Protocol) {
    let ports = service.map_or(&[][..], |service| &service.ports);
    let last = (0..).zip(ports).take_while(|(at, _)| *at <= index).last();
    last.map_or((0, Protocol::Tcp), |(index, port)| (index, port.protocol))
}

fn closed(name: String, protocol: Protocol) -> StepTarget {
    StepTarget { name, port: "9".to_owned(), protocol }
}
