//! How fast packets and connections pass a node, by the number of Services that it has loaded.
//!
//! The rules are those that proxy-core prints; the Service under test is the last of its chain. After divan's table the
//! ratios are printed: what 10,000 Services cost against 10.

#![expect(clippy::print_stdout, reason = "a benchmark talks to whoever runs it")]

use divan::{Bencher, counter::ItemsCount};
use ipnet::Ipv4Net;
use proxy_core::cluster::Cluster;
use proxy_core::config::{Machine, NodeConfig};
use proxy_core::generator::Generator;
use proxy_core::load::Load;
use proxy_core::objects::{
    Endpoint, EndpointPort, EndpointSlice, IpFamily, KubeProxyConfiguration, Object, ObjectMeta, Protocol,
    Service, ServicePort, ServiceSpec, ServiceType,
};
use proxy_core::plan::Plan;
use sim::fib::Route;
use sim::ids::NetnsId;
use sim::link::Link;
use sim::socket::{ClientProtocol, Server};
use sim::time::Duration;
use sim::trace::{Level, Outcome};
use sim::wire::MacAddr;
use sim::world::{ConnectSpec, VethEnd, World, WorldOptions};
use sim::xtables::RestoreOptions;
use std::net::Ipv4Addr;
use std::time::Instant;

const SERVICES: [usize; 3] = [10, 1_000, 10_000];
const ENDPOINTS_PER_SERVICE: usize = 5;
const NODE: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 11);
const POD: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 2);
const NODE_PORT: u16 = 32_767;

fn main() {
    divan::main();
    print_ratios();
}

/// Connections through the NodePort of the last Service: handshake, request, answer, close.
#[divan::bench(args = SERVICES, sample_count = 20)]
fn connections(bencher: Bencher, services: usize) {
    let mut lab = Lab::new(services);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| lab.connect());
}

/// Datagrams of one flow that is tracked already: a request and its answer are two packets, each handled by three netns.
#[divan::bench(args = SERVICES, sample_count = 20)]
fn packets(bencher: Bencher, services: usize) {
    let mut lab = Lab::new(services);
    let mut flow = lab.open_udp();
    bencher.counter(ItemsCount::new(2_usize)).bench_local(|| flow = lab.exchange(flow));
}

/// Loading the rules of a node.
#[divan::bench(args = SERVICES, sample_count = 3, sample_size = 1)]
fn load(bencher: Bencher, services: usize) {
    let load = rules(services);
    bencher.bench_local(|| loaded_node(&load));
}

/// What most Services cost against fewest, as the median of several rounds.
fn print_ratios() {
    println!();
    let labs = [SERVICES[0], SERVICES[2]].map(Lab::new);
    let mut medians = labs.map(|mut lab| {
        let mut rounds: Vec<f64> = (0..9)
            .map(|_| {
                let start = Instant::now();
                (0..50).for_each(|_| lab.connect());
                start.elapsed().as_secs_f64() / 50.0
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        rounds[rounds.len() / 2]
    });
    println!(
        "connections per second: {:.0} at {} Services, {:.0} at {}",
        1.0 / medians[0],
        SERVICES[0],
        1.0 / medians[1],
        SERVICES[2]
    );
    medians[1] /= medians[0];
    println!("a connection at {} Services costs {:.2} times one at {}", SERVICES[2], medians[1], SERVICES[0]);
}

struct Lab {
    world: World,
    client: NetnsId,
}

impl Lab {
    fn new(services: usize) -> Self {
        let (mut world, node) = loaded_node(&rules(services));
        let [client, pod] = ["client", "pod"].map(|name| world.add_netns(name));
        join(&mut world, (client, "192.168.0.100/24"), (node, "eth0", "192.168.0.11/24"), 1);
        join(&mut world, (pod, "10.244.1.2/24"), (node, "veth0", "10.244.1.1/24"), 2);
        let default = Route::via(net("0.0.0.0/0"), Ipv4Addr::new(10, 244, 1, 1));
        world.add_route(pod, default).expect("the gateway is on the link");
        world.tcp_listen(pod, None, 8080, Server::Echo).expect("the port is free");
        world.udp_bind(pod, None, 8080, Server::Echo).expect("the port is free");
        Self { world, client }
    }

    fn connect(&mut self) {
        let flow = self.start(ClientProtocol::Tcp, false);
        self.finish(flow);
        // The pod's side of the connection closes, and TIME_WAIT ends: ports are never short.
        self.world.run_until(self.world.now() + Duration::from_secs(300));
    }

    fn open_udp(&mut self) -> sim::ids::FlowId {
        let flow = self.start(ClientProtocol::Udp, true);
        self.finish(flow);
        flow
    }

    fn exchange(&mut self, flow: sim::ids::FlowId) -> sim::ids::FlowId {
        let next = self
            .world
            .send_again(self.client, flow, b"ping\n".to_vec(), Duration::from_secs(1))
            .expect("the socket is kept open");
        self.finish(next);
        next
    }

    fn start(&mut self, protocol: ClientProtocol, is_kept_open: bool) -> sim::ids::FlowId {
        let spec = ConnectSpec {
            protocol,
            src_port: None,
            dst: NODE,
            dst_port: NODE_PORT,
            request: b"ping\n".to_vec(),
            deadline: Duration::from_secs(1),
            is_kept_open,
            may_broadcast: false,
        };
        self.world.connect(self.client, spec).expect("a port is free")
    }

    fn finish(&mut self, flow: sim::ids::FlowId) {
        self.world.run_until_finished(&[flow], self.world.now() + Duration::from_secs(2));
        let outcome = self.world.take_flow_result(flow).map(|result| result.outcome);
        assert_eq!(outcome, Some(Outcome::Connected));
    }
}

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a network")
}

fn join(world: &mut World, host: (NetnsId, &str), node: (NetnsId, &str, &str), number: u8) {
    let mac = |side| MacAddr([2, 0, 0, 0, side, number]);
    let host_end = VethEnd { netns: host.0, name: "eth0", mac: mac(0) };
    let node_end = VethEnd { netns: node.0, name: node.1, mac: mac(1) };
    let (host_dev, node_dev) = world.add_veth(host_end, node_end, Link::default()).expect("fresh names");
    world.add_address(host.0, host_dev, net(host.1)).expect("a fresh address");
    world.add_address(node.0, node_dev, net(node.2)).expect("a fresh address");
}

fn loaded_node(load: &[Load]) -> (World, NetnsId) {
    let mut world = World::new(WorldOptions { seed: 0, level: Level::Nothing });
    let node = world.add_netns("node");
    world.set_sysctl(node, "net.ipv4.ip_forward", "1").expect("a known sysctl");
    for load in load {
        match load {
            Load::Sysctl { .. } => {}
            Load::Ensure(ensure) => {
                // `-N` of a chain that is there fails, and harms nothing.
                let _ = world.iptables_command(node, "jumps", 1, &ensure.command());
            }
            Load::Text { text, .. } => world
                .iptables_restore(node, "restore", text, RestoreOptions { noflush: true, counters: true })
                .expect("what proxy-core prints is valid"),
        }
    }
    (world, node)
}

fn rules(services: usize) -> Vec<Load> {
    let objects: Vec<Object> =
        (0..services).flat_map(|index| service(index, index + 1 == services)).collect();
    let cluster = Cluster::new(&objects).expect("valid objects");
    let configuration =
        KubeProxyConfiguration { cluster_cidr: "10.244.0.0/16".to_owned(), ..Default::default() };
    let mut machine = Machine::new("node");
    machine.node_ips = vec![NODE.into()];
    let config = NodeConfig::new(machine, &configuration, None).expect("a valid configuration");
    Generator::Iptables.load(&Plan::new(&cluster, &config, IpFamily::V4))
}

/// One Service with its slice. The last one has a NodePort and one endpoint, which is real.
fn service(index: usize, is_last: bool) -> [Object; 2] {
    let name = if is_last { "zz".to_owned() } else { format!("svc-{index:05}") };
    let vip = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 10)) + u32::try_from(index).expect("few"));
    let port = |protocol| ServicePort {
        name: format!("{protocol:?}").to_lowercase(),
        protocol,
        port: 80,
        node_port: if is_last { NODE_PORT.into() } else { 0 },
        ..ServicePort::default()
    };
    let metadata = ObjectMeta { name: name.clone(), namespace: "default".to_owned(), ..Default::default() };
    let spec = ServiceSpec {
        service_type: if is_last { ServiceType::NodePort } else { ServiceType::default() },
        cluster_ip: vip.to_string(),
        ports: if is_last {
            vec![port(Protocol::Tcp), port(Protocol::Udp)]
        } else {
            vec![port(Protocol::Tcp)]
        },
        ..Default::default()
    };
    let service = Service { metadata: metadata.clone(), spec, ..Default::default() };
    let labels = [("kubernetes.io/service-name".to_owned(), name.clone())].into();
    let metadata = ObjectMeta { name: format!("{name}-a"), labels, ..metadata };
    let mut slice = EndpointSlice { metadata, ..Default::default() };
    slice.ports = service
        .spec
        .ports
        .iter()
        .map(|port| EndpointPort {
            name: Some(port.name.clone()),
            protocol: port.protocol,
            port: Some(8080),
            ..EndpointPort::default()
        })
        .collect();
    let count = if is_last { 1 } else { ENDPOINTS_PER_SERVICE };
    slice.endpoints = (0..count)
        .map(|endpoint| {
            let fake = 0x0af4_0200 + u32::try_from(index * ENDPOINTS_PER_SERVICE + endpoint).expect("few");
            let addr = if is_last { POD } else { Ipv4Addr::from(fake) };
            Endpoint { addresses: vec![addr.to_string()], ..Endpoint::default() }
        })
        .collect();
    [Object::Service(service), Object::EndpointSlice(slice)]
}
