//! Generates random worlds with proptest's strategies, which can shrink values step by step.
//!
//! Alternatives are ordered from plain to unusual, because values shrink towards the first.

mod events;
mod kept;
mod script;

use proptest::array;
use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proxy_core::objects::Protocol;
use sim::socket::Sizes;

use super::ipvs;
use super::world::{
    DetectLocal, ExternalIp, Ingress, RandomAddress, RandomDestination, RandomEndpoint, RandomGateway,
    RandomHost, RandomLoss, RandomMtu, RandomNextHop, RandomNode, RandomNodePortAddresses, RandomParty,
    RandomPod, RandomPort, RandomProxy, RandomRoute, RandomSecond, RandomSecondAddress, RandomService,
    RandomSetting, RandomSourceRanges, RandomStep, RandomSysctl, RandomWorld, ServiceKind, TargetPort, Time,
};
use crate::scenario::{Cni, PAYLOAD_MAX, ProxyMode, RECEIVE_MIN};

/// A world and its possible reductions.
pub type WorldTree = Box<dyn ValueTree<Value = RandomWorld>>;

/// World number `index` of a seed, for a proxy mode. It depends only on these; `time` says how it is printed. In IPVS mode,
/// it has in addition settings of that mode.
///
/// # Panics
/// Never: no strategy here rejects values.
pub fn generate(mode: ProxyMode, seed: u64, index: u64, time: Time) -> WorldTree {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&index.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let world = match mode {
        ProxyMode::Iptables | ProxyMode::Nftables | ProxyMode::Userspace => world(time),
        ProxyMode::Ipvs => (world(time), ipvs::strategy())
            .prop_map(|(world, ipvs)| RandomWorld { ipvs: Some(ipvs), ..world })
            .boxed(),
    };
    match world.new_tree(&mut runner) {
        Ok(tree) => Box::new(tree),
        Err(reason) => panic!("a strategy rejected a world: {reason}"),
    }
}

const APPS: [&str; 2] = ["web", "db"];
const NODES_MAX: u8 = 3;
/// Slots of Pods: six that may exist initially, and those that steps add.
const PODS: u8 = 8;
const SERVICES: u8 = 3;
/// Slots of external hosts; the first one exists.
pub(super) const HOSTS: u8 = 4;
/// Maximum number of ports of a Service.
pub(super) const PORTS_MAX: u8 = 2;

/// Sysctls that affect packets on nodes, except those whose effect needs a long run on a kernel.
const SYSCTLS: [RandomSysctl; 30] = [
    sysctl("net.ipv4.ip_forward", "0"),
    sysctl("net.ipv4.conf.all.rp_filter", "1"),
    sysctl("net.ipv4.conf.all.rp_filter", "2"),
    sysctl("net.ipv4.conf.eth0.rp_filter", "1"),
    sysctl("net.bridge.bridge-nf-call-iptables", "0"),
    sysctl("net.ipv4.conf.all.route_localnet", "0"),
    sysctl("net.ipv4.conf.all.route_localnet", "1"),
    sysctl("net.ipv4.conf.all.accept_local", "1"),
    sysctl("net.ipv4.conf.all.arp_ignore", "1"),
    sysctl("net.ipv4.conf.all.arp_ignore", "2"),
    sysctl("net.ipv4.conf.all.arp_ignore", "8"),
    sysctl("net.ipv4.conf.all.arp_announce", "1"),
    sysctl("net.ipv4.conf.all.arp_announce", "2"),
    sysctl("net.ipv4.conf.all.arp_filter", "1"),
    sysctl("net.ipv4.conf.all.send_redirects", "0"),
    sysctl("net.ipv4.conf.eth0.send_redirects", "0"),
    sysctl("net.ipv4.conf.eth0.forwarding", "0"),
    sysctl("net.ipv4.conf.all.src_valid_mark", "1"),
    sysctl("net.ipv4.conf.all.shared_media", "0"),
    sysctl("net.ipv4.icmp_echo_ignore_all", "1"),
    sysctl("net.ipv4.icmp_errors_use_inbound_ifaddr", "1"),
    sysctl("net.ipv4.icmp_ratelimit", "0"),
    sysctl("net.ipv4.ip_default_ttl", "2"),
    sysctl("net.ipv4.ip_nonlocal_bind", "1"),
    sysctl("net.netfilter.nf_conntrack_tcp_loose", "0"),
    sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", "1"),
    sysctl("net.netfilter.nf_conntrack_tcp_ignore_invalid_rst", "1"),
    sysctl("net.netfilter.nf_conntrack_checksum", "0"),
    sysctl("net.netfilter.nf_conntrack_udp_timeout", "300"),
    sysctl("net.netfilter.nf_conntrack_tcp_timeout_close", "100"),
];

/// Sysctls that affect packets on external hosts and Pods.
const END_SYSCTLS: [RandomSysctl; 16] = [
    sysctl("net.ipv4.ip_forward", "1"),
    sysctl("net.ipv4.ip_default_ttl", "2"),
    sysctl("net.ipv4.ip_default_ttl", "255"),
    sysctl("net.ipv4.icmp_echo_ignore_all", "1"),
    sysctl("net.ipv4.icmp_ratelimit", "0"),
    sysctl("net.ipv4.conf.all.rp_filter", "1"),
    sysctl("net.ipv4.conf.all.route_localnet", "1"),
    sysctl("net.ipv4.conf.all.accept_local", "1"),
    sysctl("net.ipv4.conf.all.arp_ignore", "8"),
    sysctl("net.ipv4.conf.all.arp_filter", "1"),
    sysctl("net.ipv4.conf.all.send_redirects", "0"),
    sysctl("net.ipv4.conf.all.accept_redirects", "0"),
    sysctl("net.ipv4.conf.all.secure_redirects", "0"),
    sysctl("net.ipv4.conf.all.shared_media", "0"),
    sysctl("net.ipv4.tcp_tw_reuse", "1"),
    sysctl("net.ipv4.tcp_syn_retries", "1"),
];

const fn sysctl(name: &'static str, value: &'static str) -> RandomSysctl {
    RandomSysctl { name, value }
}

fn world(time: Time) -> BoxedStrategy<RandomWorld> {
    let things = (
        vec(step(), 1..=6),
        array::uniform3(weighted(0.6, service())),
        array::uniform6(weighted(0.6, pod())),
        (host(), weighted(0.4, host()), weighted(0.2, host()), weighted(0.2, host())),
    );
    let gateway = prop_oneof![
        4 => Just(RandomGateway::Switch),
        2 => Just(RandomGateway::Missing),
        1 => (0..HOSTS).prop_map(RandomGateway::Host),
    ];
    let network = (
        weighted(0.4, proxy()),
        prop_oneof![2 => Just(Vec::new()), 1 => vec(select(&SYSCTLS[..]), 1..=2)],
        prop_oneof![2 => Just(Cni::Bridge), 1 => Just(Cni::Ptp)],
        prop_oneof![3 => Just(true), 1 => Just(false)],
        gateway,
        vec(a_node(), 1..=3),
    );
    // Drawn last, so that they do not change the rest of a world, each after those that were there before it.
    let later = (
        weighted(0.06, loss()),
        weighted(0.12, second()),
        weighted(0.06, mtu()),
        weighted(0.12, script::pieces()),
        weighted(0.1, events::policy()),
        weighted(0.2, events::events()),
        weighted(0.08, events::waits()),
        weighted(0.12, vec(kept::kept(), 1..=2)),
    );
    (things, network, later)
        .prop_map(move |(things, network, later)| {
            let (loss, second, mtu, pieces, policy, events, waits, kept) = later;
            let (steps, services, pods, (client, far, near, router)) = things;
            let (proxy, sysctls, cni, is_hairpin, gateway, nodes) = network;
            RandomWorld {
                steps,
                services: services.into(),
                pods: pods.into(),
                hosts: vec![Some(client), far, near, router],
                proxy,
                sysctls,
                cni,
                is_hairpin,
                gateway,
                nodes,
                loss,
                second,
                mtu,
                pieces,
                policy,
                events: events.unwrap_or_default(),
                waits: waits.unwrap_or_default(),
                time,
                ipvs: None,
                kept: kept.unwrap_or_default(),
            }
        })
        .boxed()
}

fn loss() -> BoxedStrategy<RandomLoss> {
    (party(), select(&["1/4", "1/16", "1/2"][..]))
        .prop_map(|(party, share)| RandomLoss { party, share })
        .boxed()
}

/// Sysctls that matter for a node with addresses on several devices.
const SECOND_SYSCTLS: [RandomSysctl; 7] = [
    sysctl("net.ipv4.conf.DEVICE.rp_filter", "1"),
    sysctl("net.ipv4.conf.DEVICE.rp_filter", "2"),
    sysctl("net.ipv4.conf.all.rp_filter", "1"),
    sysctl("net.ipv4.conf.all.arp_ignore", "1"),
    sysctl("net.ipv4.conf.all.arp_ignore", "2"),
    sysctl("net.ipv4.conf.all.arp_filter", "1"),
    sysctl("net.ipv4.conf.DEVICE.forwarding", "0"),
];

fn second() -> BoxedStrategy<RandomSecond> {
    let address = (node(), rarely(3), of(select(&SECOND_SYSCTLS[..])))
        .prop_map(|(node, is_loopback, sysctl)| RandomSecondAddress { node, is_loopback, sysctl });
    // Without a next hop, both devices of a node on the switch receive each request of a host.
    (vec(address, 1..=2), prop_oneof![2 => Just(None), 1 => node().prop_map(Some)])
        .prop_map(|(addresses, via)| RandomSecond { addresses, via })
        .boxed()
}

fn mtu() -> BoxedStrategy<RandomMtu> {
    (of(party()), select(&[1_300_u16, 1_396, 576][..]))
        .prop_map(|(party, bytes)| RandomMtu { party, bytes })
        .boxed()
}

/// True with probability 1/`parts`.
fn rarely(parts: u32) -> impl Strategy<Value = bool> {
    prop_oneof![parts - 1 => Just(false), 1 => Just(true)]
}

fn node() -> std::ops::Range<u8> {
    0..NODES_MAX
}

fn a_node() -> BoxedStrategy<RandomNode> {
    select(&[None, Some("a"), Some("b")][..]).prop_map(|zone| RandomNode { zone }).boxed()
}

fn pod() -> BoxedStrategy<RandomPod> {
    (select(&APPS[..]), node(), rarely(6), rarely(6), rarely(8), rarely(4))
        .prop_map(|(app, node, is_host_network, is_unready, is_terminating, is_http_elsewhere)| RandomPod {
            app,
            node,
            is_host_network,
            is_unready,
            is_terminating,
            is_http_elsewhere,
        })
        .boxed()
}

fn host() -> BoxedStrategy<RandomHost> {
    const NETWORKS: [&str; 4] = ["203.0.113.0/24", "198.51.100.0/24", "10.96.0.0/12", "10.244.0.0/16"];
    let route = (select(&NETWORKS[..]), next_hop()).prop_map(|(to, via)| RandomRoute { to, via });
    (of(next_hop()), vec(route, 0..=2), any::<bool>())
        .prop_map(|(gateway, routes, is_listening)| RandomHost { gateway, routes, is_listening })
        .boxed()
}

fn next_hop() -> BoxedStrategy<RandomNextHop> {
    prop_oneof![4 => node().prop_map(RandomNextHop::Node), 1 => (0..HOSTS).prop_map(RandomNextHop::Host)]
        .boxed()
}

/// An endpoint of a hand-written slice. Loopback, multicast and link-local addresses are not valid there.
fn endpoint() -> BoxedStrategy<RandomEndpoint> {
    let addr = prop_oneof![
        4 => (node(), 0..3_u8).prop_map(|(node, place)| RandomAddress::Pod(node, place)),
        2 => (0..HOSTS).prop_map(RandomAddress::Host),
        1 => node().prop_map(RandomAddress::Node),
        // Outside the nodes' network: at an endpoint inside, a host would be assumed.
        1 => select(&["192.168.7.250", "203.0.113.77"][..]).prop_map(RandomAddress::Other),
    ];
    (addr, rarely(5)).prop_map(|(addr, is_unready)| RandomEndpoint { addr, is_ready: !is_unready }).boxed()
}

fn service() -> BoxedStrategy<RandomService> {
    let kind = prop_oneof![
        3 => Just(ServiceKind::ClusterIp),
        3 => Just(ServiceKind::NodePort),
        4 => Just(ServiceKind::LoadBalancer),
        1 => Just(ServiceKind::Headless),
    ];
    let external_ip = prop_oneof![3 => Just(ExternalIp::Nobody), 1 => node().prop_map(ExternalIp::Node)];
    let ingress = prop_oneof![4 => Just(Ingress::Vip), 1 => Just(Ingress::Proxy)];
    let ranges = [
        RandomSourceRanges::Client,
        RandomSourceRanges::Lan,
        RandomSourceRanges::Pods,
        RandomSourceRanges::Nobody,
    ];
    let distribution = select(&["PreferClose", "PreferSameZone", "PreferSameNode"][..]);
    let inside = (
        kind,
        select(&APPS[..]),
        vec(port(), 1..=usize::from(PORTS_MAX)),
        weighted(0.25, of(select(&[60, 86_400, 1, 2][..]))),
        rarely(6),
        weighted(0.15, distribution),
    );
    let outside = (
        rarely(2),
        rarely(5),
        weighted(0.25, external_ip),
        weighted(0.8, ingress),
        weighted(0.3, select(ranges.to_vec())),
        rarely(5),
        weighted(0.15, vec(endpoint(), 1..=3)),
    );
    (inside, outside)
        .prop_map(|(inside, outside)| {
            let (kind, app, ports, affinity, publishes_not_ready, distribution) = inside;
            let (
                is_external_local,
                is_internal_local,
                external_ip,
                ingress,
                source_ranges,
                has_no_node_ports,
                slice,
            ) = outside;
            RandomService {
                kind,
                app,
                ports,
                is_external_local,
                is_internal_local,
                affinity,
                external_ip,
                ingress,
                source_ranges,
                has_no_node_ports,
                publishes_not_ready,
                distribution,
                slice,
            }
        })
        .boxed()
}

fn port() -> BoxedStrategy<RandomPort> {
    let target = prop_oneof![
        5 => Just(TargetPort::Named),
        3 => Just(TargetPort::Number),
        1 => Just(TargetPort::Same),
    ];
    (protocol(), target).prop_map(|(protocol, target)| RandomPort { protocol, target }).boxed()
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![2 => Just(Protocol::Tcp), 1 => Just(Protocol::Udp)]
}

fn proxy() -> BoxedStrategy<RandomProxy> {
    let detect = [
        DetectLocal::ClusterCidr,
        DetectLocal::NodeCidr,
        DetectLocal::BridgeInterface,
        DetectLocal::InterfaceNamePrefix,
        DetectLocal::Nothing,
    ];
    let addresses = [
        RandomNodePortAddresses::All,
        RandomNodePortAddresses::Primary,
        RandomNodePortAddresses::Lan,
        RandomNodePortAddresses::Loopback,
        RandomNodePortAddresses::Nowhere,
    ];
    (
        rarely(4),
        select(detect.to_vec()),
        select(addresses.to_vec()),
        of(any::<bool>()),
        of(select(&[0, 10, 31][..])),
        rarely(4),
    )
        .prop_map(
            |(is_masquerading_all, detect_local, node_port_addresses, localhost_node_ports, bit, liberal)| {
                RandomProxy {
                    is_masquerading_all,
                    detect_local,
                    node_port_addresses,
                    localhost_node_ports,
                    masquerade_bit: bit,
                    is_liberal: liberal,
                }
            },
        )
        .boxed()
}

/// The length of a request or response, if it is not the usual one: mostly a few segments, and sometimes full ones only.
fn payload(min: u16) -> BoxedStrategy<Option<u16>> {
    let length = prop_oneof![
        2 => min..=6_000_u16,
        1 => min..=PAYLOAD_MAX,
        1 => (1..=20_u16).prop_map(|segments| 1_448 * segments),
    ];
    prop_oneof![6 => Just(None), 1 => length.prop_map(Some)].boxed()
}

fn step() -> BoxedStrategy<RandomStep> {
    let connect =
        (party(), destination(), protocol(), prop_oneof![3 => Just(1_u8), 1 => 1..=3_u8], rarely(5));
    let sizes = (payload(Sizes::SEND_MIN), payload(RECEIVE_MIN));
    let connect =
        (connect, sizes).prop_map(|((from, to, protocol, count, has_source_port), (send, receive))| {
            RandomStep::Connect {
                from,
                to,
                protocol,
                count: if has_source_port { 1 } else { count },
                has_source_port,
                send,
                receive,
            }
        });
    let ping = (party(), destination()).prop_map(|(from, to)| RandomStep::Ping { from, to });
    prop_oneof![
        12 => connect,
        3 => ping,
        4 => script::send(),
        1 => (0..2_u8, pod()).prop_map(|(slot, pod)| RandomStep::ApplyPod { slot, pod }),
        1 => (0..SERVICES, service()).prop_map(|(slot, service)| RandomStep::ApplyService { slot, service }),
        1 => (0..PODS).prop_map(RandomStep::DeletePod),
        1 => (0..SERVICES).prop_map(RandomStep::DeleteService),
        2 => setting().prop_map(RandomStep::Set),
        1 => prop_oneof![4 => 1..=150_u16, 1 => 1_000..=3_500_u16].prop_map(RandomStep::Sleep),
    ]
    .boxed()
}

fn setting() -> BoxedStrategy<RandomSetting> {
    prop_oneof![
        2 => (0..PODS, any::<bool>()).prop_map(|(slot, is_ready)| RandomSetting::Ready(slot, is_ready)),
        1 => (0..PODS, any::<bool>()).prop_map(|(slot, is_on)| RandomSetting::Hairpin(slot, is_on)),
        2 => (node(), select(&SYSCTLS[..])).prop_map(|(slot, sysctl)| RandomSetting::Node(slot, sysctl)),
        2 => (end(), select(&END_SYSCTLS[..])).prop_map(|(end, sysctl)| RandomSetting::Sysctl(end, sysctl)),
        1 => (party(), any::<bool>()).prop_map(|(party, is_up)| RandomSetting::Link(party, is_up)),
    ]
    .boxed()
}

/// An external host or a Pod.
fn end() -> BoxedStrategy<RandomParty> {
    prop_oneof![(0..HOSTS).prop_map(RandomParty::Host), (0..PODS).prop_map(RandomParty::Pod)].boxed()
}

fn party() -> BoxedStrategy<RandomParty> {
    prop_oneof![
        4 => (0..HOSTS).prop_map(RandomParty::Host),
        4 => (0..PODS).prop_map(RandomParty::Pod),
        2 => node().prop_map(RandomParty::Node),
    ]
    .boxed()
}

fn destination() -> BoxedStrategy<RandomDestination> {
    use RandomDestination as D;
    // Unused, broadcast, local and reserved addresses.
    const NOBODY: [&str; 12] = [
        "10.96.200.1",
        "192.168.0.250",
        "10.244.1.200",
        "192.168.0.255",
        "10.244.1.255",
        "255.255.255.255",
        "0.0.0.0",
        "127.0.0.5",
        "10.244.1.0",
        "169.254.1.1",
        "240.0.0.1",
        "203.0.113.77",
    ];
    let of_service = || (0..SERVICES, 0..PORTS_MAX);
    let on_node = || (node(), 0..SERVICES, 0..PORTS_MAX);
    prop_oneof![
        6 => of_service().prop_map(|(slot, port)| D::Service(slot, port)),
        6 => on_node().prop_map(|(node, slot, port)| D::NodePort(node, slot, port)),
        5 => of_service().prop_map(|(slot, port)| D::LoadBalancer(slot, port)),
        2 => of_service().prop_map(|(slot, port)| D::ExternalIp(slot, port)),
        2 => (0..PODS).prop_map(D::Pod),
        1 => of_service().prop_map(|(slot, port)| D::Loopback(slot, port)),
        1 => (0..HOSTS).prop_map(D::Host),
        1 => (node(), 0..SERVICES).prop_map(|(node, slot)| D::HealthCheck(node, slot)),
        1 => node().prop_map(D::NodeClosed),
        1 => (0..SERVICES).prop_map(D::ServiceClosed),
        1 => (0..PODS).prop_map(D::PodClosed),
        1 => node().prop_map(D::Bridge),
        1 => select(&NOBODY[..]).prop_map(D::Nobody),
    ]
    .boxed()
}
