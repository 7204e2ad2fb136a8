use super::*;
use crate::cluster::Cluster;
use crate::diagnostic::Source;
use crate::manifest::{self, Facts};
use crate::scenario::{Cni, ExternalHost, HostRoute, Network, Via};
use std::net::Ipv4Addr;

const OBJECTS: &str = "
apiVersion: v1
kind: Node
metadata: {name: node-1}
status: {addresses: [{type: InternalIP, address: 192.168.0.11}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-2}
status: {addresses: [{type: InternalIP, address: 192.168.0.12}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0}
spec: {nodeName: node-1, containers: [{ports: [{containerPort: 8080}, {containerPort: 53, protocol: UDP}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: agent, namespace: kube-system}
spec: {nodeName: node-2, hostNetwork: true, containers: [{ports: [{containerPort: 9100}]}]}
";

fn network(cni: Cni) -> Network {
    let client = ExternalHost {
        name: "client".into(),
        ip: Ipv4Addr::new(192, 168, 0, 100),
        gateway: Some(Via::Address(Ipv4Addr::new(192, 168, 0, 1))),
        routes: vec![HostRoute { to: "198.51.100.0/24".parse().unwrap(), via: Via::Node("node-1".into()) }],
        listen: vec![(Protocol::Tcp, 80)],
    };
    Network { cni: Some(cni), external_hosts: vec![client], ..Network::default() }
}

fn cluster(cni: Cni, text: &str) -> Cluster {
    let manifests = manifest::load(vec![Source { name: "test.yaml".into(), text: text.into() }]);
    let objects = manifests.objects.into_iter().map(|loaded| loaded.object).collect();
    Cluster::new(&network(cni), &Facts::default(), objects).unwrap().0
}

/// The topology as ip(8) commands.
fn listing(topology: &Topology) -> String {
    let mut lines = Vec::new();
    for (netns, plan) in &topology.netns {
        lines.push(format!("{netns}:"));
        lines.extend(plan.early_sysctls.iter().map(|(name, value)| format!("  sysctl -w {name}={value}")));
        lines.extend(
            plan.bridge
                .iter()
                .map(|BridgePlan { name, mac }| format!("  link add {name} address {mac} type bridge")),
        );
        lines.extend(
            plan.addresses
                .iter()
                .map(|AddressPlan { device, net }| format!("  address add {net} dev {device}")),
        );
        lines.extend(
            plan.routes
                .iter()
                .map(|RoutePlan { to, via, device }| format!("  route add {to} via {via:?} dev {device}")),
        );
        lines.extend(plan.sysctls.iter().map(|(name, value)| format!("  sysctl -w {name}={value}")));
        lines.extend(plan.listeners.iter().map(|ListenerPlan { protocol, port, name, .. }| {
            format!("  {name} listens on {}/{port}", protocol.lower())
        }));
    }
    for VethPlan { port, leaf, master, mtu: _ } in &topology.veths {
        lines.push(format!(
            "veth {} {} {} -- {} {} {} master {master:?}",
            port.netns, port.device, port.mac, leaf.netns, leaf.device, leaf.mac
        ));
    }
    lines.join("\n")
}

#[test]
fn a_cluster_with_bridges() {
    insta::assert_snapshot!(listing(&Topology::of(&cluster(Cni::Bridge, OBJECTS))));
}

#[test]
fn a_cluster_with_routed_veths() {
    insta::assert_snapshot!(listing(&Topology::of(&cluster(Cni::Ptp, OBJECTS))));
}

#[test]
fn device_names_fit_and_are_unique() {
    let topology = Topology::of(&cluster(Cni::Bridge, OBJECTS));
    let ends = || topology.veths.iter().flat_map(|veth| [&veth.port, &veth.leaf]);
    let mut seen = BTreeSet::new();
    let mut macs = BTreeSet::new();
    for end in ends() {
        assert!(end.device.len() <= 15 && seen.insert((end.netns.clone(), end.device.clone())), "{end:?}");
        assert!(macs.insert(end.mac.0) && end.mac.0[0] & 3 == 2, "{end:?}");
    }
}

#[test]
fn pods_come_go_and_move_while_the_rest_stays() {
    let more = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: web-1}\nspec: {nodeName: node-2, containers: [{ports: [{containerPort: 80}]}]}\n";
    for cni in [Cni::Bridge, Cni::Ptp] {
        let first = Topology::of(&cluster(cni, OBJECTS));
        let second = Topology::of(&cluster(cni, &format!("{OBJECTS}{more}")));
        let third = Topology::of(&cluster(
            cni,
            &OBJECTS
                .replace("name: web-0}\nspec: {nodeName: node-1", "name: web-0}\nspec: {nodeName: node-2"),
        ));
        let fourth = Topology::of(&cluster(cni, &OBJECTS.replace("9100", "9101").replace("8080", "8081")));
        assert_eq!(changes(&first, &first), []);
        let text = [(&first, &second), (&second, &first), (&first, &third), (&first, &fourth)]
            .map(|(before, after)| {
                changes(before, after).iter().map(|change| format!("{change:?}\n")).collect::<String>()
            })
            .join("\n");
        insta::assert_snapshot!(format!("changes_{cni:?}"), text);
    }
}
