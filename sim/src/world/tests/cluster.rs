//! Two nodes with bridge CNI and host-gw routes, a Service with an endpoint on each, and a client on the nodes' LAN.
//!
//! The rules are those of kube-proxy in iptables mode, written by hand because this crate has no generator.

use super::{ConnectSpec, addr, losses, mac, quiesce, run, spec};
use crate::draws::Enumerate;
use crate::drop_reason::DropReason;
use crate::fib::Route;
use crate::ids::NetnsId;
use crate::link::Link;
use crate::socket::{ClientProtocol, Server};
use crate::time::Duration;
use crate::trace::{Level, Outcome, Refusal, Unreachable};
use crate::world::{VethEnd, World, WorldOptions};
use crate::xtables::RestoreOptions;

pub(super) struct Cluster {
    pub(super) world: World,
    pub(super) client: NetnsId,
    pub(super) node_1: NetnsId,
    pub(super) node_2: NetnsId,
    pub(super) pod_a: NetnsId,
    pub(super) pod_b: NetnsId,
}

const COMMANDS: &[&str] = &[
    "iptables -t nat -N KUBE-SERVICES",
    "iptables -t nat -I OUTPUT -j KUBE-SERVICES",
    "iptables -t nat -I PREROUTING -j KUBE-SERVICES",
    "iptables -t nat -N KUBE-POSTROUTING",
    "iptables -t nat -I POSTROUTING -j KUBE-POSTROUTING",
    "iptables -t filter -N KUBE-SERVICES",
    "iptables -t filter -I FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES",
    "iptables -t filter -I OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES",
];

const RULES: &str = "\
*filter
:KUBE-SERVICES - [0:0]
-A KUBE-SERVICES -m comment --comment \"default/empty has no endpoints\" -m tcp -p tcp -d 10.96.0.11 --dport 80 -j REJECT
COMMIT
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SVC-A - [0:0]
:KUBE-EXT-A - [0:0]
:KUBE-SEP-1 - [0:0]
:KUBE-SEP-2 - [0:0]
-A KUBE-POSTROUTING -m mark ! --mark 0x00004000/0x00004000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x00004000
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark 0x00004000
-A KUBE-SERVICES -m tcp -p tcp -d 10.96.0.10 --dport 80 -j KUBE-SVC-A
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -m tcp -p tcp --dport 30080 -j KUBE-EXT-A
-A KUBE-EXT-A -j KUBE-MARK-MASQ
-A KUBE-EXT-A -j KUBE-SVC-A
-A KUBE-SVC-A -m tcp -p tcp -d 10.96.0.10 --dport 80 ! -s 10.244.0.0/16 -j KUBE-MARK-MASQ
-A KUBE-SVC-A -m statistic --mode random --probability 0.5000000000 -j KUBE-SEP-1
-A KUBE-SVC-A -j KUBE-SEP-2
-A KUBE-SEP-1 -s 10.244.1.2 -j KUBE-MARK-MASQ
-A KUBE-SEP-1 -m tcp -p tcp -j DNAT --to-destination 10.244.1.2:8080
-A KUBE-SEP-2 -s 10.244.2.2 -j KUBE-MARK-MASQ
-A KUBE-SEP-2 -m tcp -p tcp -j DNAT --to-destination 10.244.2.2:8080
COMMIT
";

pub(super) fn cluster(seed: u64) -> Cluster {
    let mut world = World::new(WorldOptions { seed, level: Level::Everything });
    let names = ["lan", "client", "node-1", "node-2", "pod-a", "pod-b"];
    let [lan, client, node_1, node_2, pod_a, pod_b] = names.map(|name| world.add_netns(name));
    let switch = world.add_bridge(lan, "br0", mac(1)).unwrap();
    for (host, number, ip) in
        [(client, 2, "192.168.0.100"), (node_1, 3, "192.168.0.11"), (node_2, 4, "192.168.0.12")]
    {
        let host_end = VethEnd { netns: host, name: "eth0", mac: mac(number) };
        let lan_end = VethEnd { netns: lan, name: &format!("port{number}"), mac: mac(number + 16) };
        let (eth0, port) = world.add_veth(host_end, lan_end, Link::default()).unwrap();
        world.set_master(lan, port, Some(switch));
        world.add_address(host, eth0, format!("{ip}/24").parse().unwrap()).unwrap();
    }
    for (node, pod, number, other) in [(node_1, pod_a, 1, 2), (node_2, pod_b, 2, 1)] {
        let cni0 = world.add_bridge(node, "cni0", mac(32 + number)).unwrap();
        let pod_end = VethEnd { netns: pod, name: "eth0", mac: mac(48 + number) };
        let node_end = VethEnd { netns: node, name: "veth0", mac: mac(64 + number) };
        let (eth0, port) = world.add_veth(pod_end, node_end, Link::default()).unwrap();
        world.set_master(node, port, Some(cni0));
        world.set_hairpin(node, port, true);
        world.add_address(node, cni0, format!("10.244.{number}.1/24").parse().unwrap()).unwrap();
        world.add_address(pod, eth0, format!("10.244.{number}.2/24").parse().unwrap()).unwrap();
        world
            .add_route(pod, Route::via("0.0.0.0/0".parse().unwrap(), addr(&format!("10.244.{number}.1"))))
            .unwrap();
        let to_other = format!("10.244.{other}.0/24").parse().unwrap();
        world.add_route(node, Route::via(to_other, addr(&format!("192.168.0.1{other}")))).unwrap();
        for (name, value) in [("net.ipv4.ip_forward", "1"), ("net.ipv4.conf.all.route_localnet", "1")] {
            world.set_sysctl(node, name, value).unwrap();
        }
        for (line, command) in (1..).zip(COMMANDS) {
            world.iptables_command(node, "jumps", line, command).unwrap();
        }
        world
            .iptables_restore(node, "rules", RULES, RestoreOptions { noflush: true, counters: true })
            .unwrap();
        let name = ["pod-a", "pod-b"][usize::from(number) - 1];
        world.tcp_listen(pod, None, 8080, Server::Identify { name: name.into() }).unwrap();
    }
    Cluster { world, client, node_1, node_2, pod_a, pod_b }
}

/// Sorted replies of a connection for every path of the endpoint draws, without ports.
fn all_replies(cluster: &Cluster, from: NetnsId, to: &ConnectSpec) -> Vec<String> {
    let mut replies = Vec::new();
    let mut next = Some(Enumerate::first());
    while let Some(path) = next {
        let mut world = cluster.world.clone();
        world.draws_mut().enumerate(path);
        let (_, outcome, reply) = run(&mut world, from, to.clone());
        let seen = reply.map_or_else(
            || format!("{outcome:?}"),
            |reply| reply.split(':').next().unwrap_or_default().to_owned(),
        );
        replies.push(seen);
        next = world.draws().enumerated().expect("the enumerate driver is set").next_path();
        quiesce(&mut world);
    }
    replies.sort();
    replies
}

#[test]
fn what_endpoints_see() {
    let cluster = cluster(0);
    let Cluster { client, node_1, node_2, pod_a, pod_b, .. } = cluster;
    // Measured on Linux 6.18 with this network; masqueraded connections come from the bridge's address.
    let cases: [(&str, NetnsId, &str, u16, &[&str]); 7] = [
        ("client to NodePort", client, "192.168.0.11", 30080, &["pod-a 10.244.1.1", "pod-b 192.168.0.11"]),
        (
            "client to the other node",
            client,
            "192.168.0.12",
            30080,
            &["pod-a 192.168.0.12", "pod-b 10.244.2.1"],
        ),
        ("pod to its own Service", pod_a, "10.96.0.10", 80, &["pod-a 10.244.1.1", "pod-b 10.244.1.2"]),
        ("the other pod", pod_b, "10.96.0.10", 80, &["pod-a 10.244.2.2", "pod-b 10.244.2.1"]),
        (
            "pod to NodePort of its node",
            pod_a,
            "192.168.0.11",
            30080,
            &["pod-a 10.244.1.1", "pod-b 192.168.0.11"],
        ),
        (
            "node to NodePort on localhost",
            node_1,
            "127.0.0.1",
            30080,
            &["pod-a 10.244.1.1", "pod-b 192.168.0.11"],
        ),
        (
            "node to NodePort of the other",
            node_2,
            "192.168.0.11",
            30080,
            &["pod-a 10.244.1.1", "pod-b 192.168.0.11"],
        ),
    ];
    for (name, from, dst, port, expected) in cases {
        let seen = all_replies(&cluster, from, &spec(ClientProtocol::Tcp, dst, port));
        assert_eq!(seen, expected, "{name}");
    }
}

#[test]
fn a_node_without_a_route_to_the_vip_is_told_at_once() {
    let Cluster { mut world, node_1, .. } = cluster(0);
    let (_, outcome, _) = run(&mut world, node_1, spec(ClientProtocol::Tcp, "10.96.0.10", 80));
    assert_eq!(outcome, Outcome::Unreachable(Unreachable::Network));
}

#[test]
fn a_service_without_endpoints_is_refused() {
    let Cluster { mut world, node_1, pod_a, .. } = cluster(0);
    let to_vip = spec(ClientProtocol::Tcp, "10.96.0.11", 80);
    // FORWARD comes after routing: a node without a route to the VIP reports that instead.
    let (_, outcome, _) = run(&mut world, pod_a, to_vip.clone());
    assert_eq!(outcome, Outcome::Unreachable(Unreachable::Network));
    let default = Route::via("0.0.0.0/0".parse().unwrap(), addr("192.168.0.100"));
    world.add_route(node_1, default).unwrap();
    let (flow, outcome, _) = run(&mut world, pod_a, to_vip);
    assert_eq!(outcome, Outcome::Refused(Refusal::IcmpPortUnreachable));
    assert_eq!(losses(&world, flow)[0], ("node-1".to_owned(), DropReason::NetfilterDrop));
}

#[test]
fn without_hairpin_mode_a_pod_does_not_reach_itself() {
    let mut cluster = cluster(0);
    let port = cluster.world.device(cluster.node_1, "veth0").unwrap();
    cluster.world.set_hairpin(cluster.node_1, port, false);
    let to_vip = spec(ClientProtocol::Tcp, "10.96.0.10", 80);
    let impatient = ConnectSpec { deadline: Duration::from_millis(900), ..to_vip.clone() };
    assert_eq!(all_replies(&cluster, cluster.pod_a, &impatient), ["Timeout", "pod-b 10.244.1.2"]);
    // The bridge drops the SYN before POSTROUTING, so its entry is never confirmed: each retry is load-balanced anew,
    // and after seven retries one connection in 128 has not reached the other pod.
    let patient = all_replies(&cluster, cluster.pod_a, &to_vip);
    assert_eq!((patient.len(), patient.iter().filter(|seen| *seen == "Timeout").count()), (8, 1));
}
