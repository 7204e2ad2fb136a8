//! Validates the own rules and routes of nodes with the simulator's parsers.

use ipnet::IpNet;
use sim::fib::Route;
use sim::ids::NetnsId;
use sim::ipset::IpsetOptions;
use sim::trace::Level;
use sim::wire::MacAddr;
use sim::world::{World, WorldOptions};
use sim::xtables::{RestoreOptions, RuleError};

use super::Preparation;
use crate::cluster::Cluster;
use crate::netns::NetnsName;
use crate::scenario::{FieldFault, NodeNetwork, nearest};
use crate::topology::Topology;
use crate::yaml::inside;

impl Preparation {
    /// Validates `spec.network.nodes`.
    pub(super) fn check_nodes(&mut self, cluster: &Cluster) {
        let names: Vec<&str> = cluster.nodes().iter().map(|node| node.name.as_str()).collect();
        for (name, own) in &cluster.network().nodes {
            let path = format!("spec.network.nodes.{name}");
            if !names.contains(&name.as_str()) {
                let fault = FieldFault::new(format!("unknown node {name:?}")).expected(names.join(", "));
                let help = nearest(name, &names).map(|nearest| format!("did you mean {nearest:?}?"));
                self.scenario_fault(&fault.help(help.unwrap_or_default()).at_key(path));
            } else {
                self.check_node(&path, NetnsName::Node(name.clone()), own, cluster);
            }
        }
    }

    fn check_node(&mut self, path: &str, node: NetnsName, own: &NodeNetwork, cluster: &Cluster) {
        let (mut world, netns) = alone(&Topology::of(cluster), &node);
        for (index, line) in own.ip_routes.iter().enumerate() {
            let added = world.ip_route_add(netns, "ipRoutes", 1, line);
            self.text_fault(format!("{path}.ipRoutes[{index}]"), added);
        }
        for (index, line) in own.ip_rules.iter().enumerate() {
            let added = world.ip_rule_add(netns, "ipRules", 1, line);
            self.text_fault(format!("{path}.ipRules[{index}]"), added);
        }
        if let Some(sets) = &own.ipset {
            let loaded = world.ipset_restore(netns, "ipset", sets, IpsetOptions::default());
            self.text_fault(format!("{path}.ipset"), loaded);
        }
        if let Some(rules) = &own.iptables {
            let options = RestoreOptions { noflush: true, counters: false };
            let loaded = world.iptables_restore(netns, "iptables", rules, options);
            self.text_fault(format!("{path}.iptables"), loaded);
        }
    }

    /// Reports an error in the text at `path`, at its place inside the text.
    fn text_fault(&mut self, path: String, loaded: Result<(), RuleError>) {
        let Err(RuleError { tool, line, column, expected, found, help, .. }) = loaded else { return };
        let Some(origin) = &self.scenario else { return };
        let fault = FieldFault::new(format!("{tool}: found {found}")).expected(expected);
        let mut diagnostic = origin.fault(&fault.help(help.unwrap_or_default()).at(path.as_str()));
        let node = origin.node.at(&path);
        let source = self.sources.get(origin.source.0);
        if let Some((node, source)) = node.zip(source)
            && let Some(value) = node.text()
            && let Some(span) = inside(&source.text, &node.span, value, line, column)
        {
            diagnostic.place.span = span;
        }
        self.diagnostics.push(diagnostic);
    }
}

/// A node's netns with its devices, addresses and routes, without a network.
fn alone(topology: &Topology, node: &NetnsName) -> (World, NetnsId) {
    let mut world = World::new(WorldOptions { seed: 0, level: Level::Nothing });
    let netns = world.add_netns("node");
    for device in topology.devices(node).into_iter().filter(|device| *device != "lo") {
        world.add_dummy(netns, device, MacAddr::ZERO).expect("device names of a topology are unique");
    }
    let plan = &topology.netns[node];
    for address in &plan.addresses {
        if let (Ok(device), IpNet::V4(net)) = (world.device(netns, &address.device), address.net) {
            world.add_address(netns, device, net).expect("addresses of a topology are valid");
        }
    }
    for route in &plan.routes {
        if let (Ok(device), IpNet::V4(to)) = (world.device(netns, &route.device), route.to) {
            let route = match route.via {
                Some(std::net::IpAddr::V4(via)) => Route::via(to, via).on(device),
                Some(std::net::IpAddr::V6(_)) | None => Route::direct(to, device),
            };
            world.add_route(netns, route).expect("routes of a topology are valid");
        }
    }
    (world, netns)
}
