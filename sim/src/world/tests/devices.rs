//! What devices bring with them: cost for the packets of others, and hooks.

use super::cluster::cluster;
use super::{MacAddr, run, spec};
use crate::device::visits;
use crate::fib::{Route, TableId};
use crate::hook::{Family, Hook};
use crate::hook_table::BR_NETFILTER;
use crate::link::Link;
use crate::socket::ClientProtocol;
use crate::time::Duration;
use crate::trace::{Level, Outcome, Refusal, Unreachable};
use crate::world::{VethEnd, World, WorldOptions};
use std::net::IpAddr;

#[test]
fn a_connection_does_not_visit_the_devices_of_its_node() {
    let mut cluster = cluster(0);
    let world = &mut cluster.world;
    let cni0 = world.device(cluster.node_1, "cni0").unwrap();
    let idle = world.add_netns("idle");
    for number in 0..300_u16 {
        let [high, low] = number.to_be_bytes();
        let end = |netns, name, side| VethEnd { netns, name, mac: MacAddr([2, 0, 1, side, high, low]) };
        let name = format!("veth-{number}");
        let (port, _) =
            world.add_veth(end(cluster.node_1, &name, 0), end(idle, &name, 1), Link::default()).unwrap();
        world.set_master(cluster.node_1, port, Some(cni0));
    }
    let mut visited_by = |connections: usize| {
        let before = visits::count();
        for _ in 0..connections {
            let to = spec(ClientProtocol::Tcp, "192.168.0.11", 30080);
            let (_, outcome, _) = run(world, cluster.client, to);
            assert_eq!(outcome, Outcome::Connected);
            world.run_until(world.now() + Duration::from_secs(1));
        }
        visits::count() - before
    };
    assert!(visited_by(8) > 300, "the first connections build the index of every netns");
    assert_eq!(visited_by(8), 0);
}

#[test]
fn br_netfilter_comes_with_the_first_bridge() {
    let mut world = World::new(WorldOptions { seed: 0, level: Level::Nothing });
    let node = world.add_netns("node");
    let entries = |world: &World| world.netns(node).hooks.entries(Family::Ipv4, Hook::Prerouting).to_vec();
    assert_eq!(entries(&world), []);
    for name in ["br0", "br1"] {
        world.add_bridge(node, name, MacAddr([2, 0, 0, 0, 0, 1])).unwrap();
        assert_eq!(entries(&world), BR_NETFILTER);
    }
}

/// As `ip route`, `ip neigh` and `bridge fdb` show it on Linux 6.18: a device that is set down loses its routes, the other
/// end of the link loses its carrier and keeps them; both forget their neighbours, and a bridge what it learned.
#[test]
fn what_a_link_that_goes_down_takes_with_it() {
    let mut world = World::new(WorldOptions { seed: 0, level: Level::Nothing });
    let (host, pod) = (world.add_netns("host"), world.add_netns("pod"));
    let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
    let bridge = world.add_bridge(host, "cni0", mac(1)).unwrap();
    let end = |netns, name, last| VethEnd { netns, name, mac: mac(last) };
    let (port, eth0) = world.add_veth(end(host, "veth0", 2), end(pod, "eth0", 3), Link::default()).unwrap();
    world.set_master(host, port, Some(bridge));
    world.add_address(host, bridge, "10.0.0.1/24".parse().unwrap()).unwrap();
    world.add_address(pod, eth0, "10.0.0.2/24".parse().unwrap()).unwrap();
    let default = Route::via("0.0.0.0/0".parse().unwrap(), "10.0.0.1".parse().unwrap());
    world.add_route(pod, default).unwrap();
    let (of_host, of_pod): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    // Routes and addresses of the Pod, neighbours of both, carrier of the bridge.
    let listed = |world: &World| {
        let knows = |netns, device, addr| {
            let ns = world.netns(netns);
            ns.neigh.get(world.now(), &ns.sysctls, device, addr).is_some()
        };
        let ns = world.netns(pod);
        let (routes, addresses) = (ns.fib.routes(TableId::Main).count(), ns.devices.get(eth0).addrs.len());
        let has_carrier = world.netns(host).devices.has_live_port(bridge);
        (routes, addresses, knows(pod, eth0, of_host), knows(host, bridge, of_pod), has_carrier)
    };
    let ask = |world: &mut World| run(world, pod, spec(ClientProtocol::Udp, "10.0.0.1", 9)).1;
    assert_eq!(ask(&mut world), Outcome::Refused(Refusal::IcmpPortUnreachable));
    assert_eq!(listed(&world), (2, 1, true, true, true));
    world.set_up(pod, eth0, false);
    assert_eq!(listed(&world), (0, 1, false, false, false));
    assert_eq!(ask(&mut world), Outcome::Unreachable(Unreachable::Network));
    world.set_up(pod, eth0, true);
    assert_eq!(listed(&world), (1, 1, false, false, true), "the default route does not come back");
    assert_eq!(ask(&mut world), Outcome::Refused(Refusal::IcmpPortUnreachable));
    world.set_up(host, port, false);
    assert_eq!(listed(&world), (1, 1, false, false, false));
    assert_eq!(
        ask(&mut world),
        Outcome::Timeout,
        "the address cannot be resolved, which UDP does not report"
    );
}
