//! Two nodes with bridge CNI and host-gw routes, one Service with an endpoint on each, a client on the nodes' LAN.
//!
//! The rules are those that kube-proxy loads in iptables mode, written out by hand: this crate knows no generator.

use super::{addr, mac};
use crate::device::NetnsId;
use crate::fib::Route;
use crate::link::Link;
use crate::socket::Server;
use crate::trace::Level;
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
