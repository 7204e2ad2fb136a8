//! What devices bring with them: cost for the packets of others, and hooks.

use super::cluster::cluster;
use super::{MacAddr, run, spec};
use crate::device::visits;
use crate::hook::{Family, Hook};
use crate::hook_table::BR_NETFILTER;
use crate::link::Link;
use crate::socket::ClientProtocol;
use crate::time::Duration;
use crate::trace::{Level, Outcome};
use crate::world::{VethEnd, World, WorldOptions};

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
