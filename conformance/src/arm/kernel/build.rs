//! From a topology to a wired lab.

use super::lab::{Lab, LabError};
use super::wiring::{self, End, Wiring};
use crate::topology::{Change, Link, Netns, NetnsPlan, Topology, Veth};

/// Makes the namespaces of a topology and everything in them but the listeners.
///
/// # Errors
/// If the kernel refuses something.
pub(super) fn build(topology: &Topology) -> Result<Lab, LabError> {
    let names: Vec<String> = topology.netns.keys().map(ToString::to_string).collect();
    let lab = Lab::create(names.iter().map(String::as_str))?;
    let mut wiring = Wiring::default();
    // Every device is there before the first address.
    for (netns, plan) in &topology.netns {
        begin(&mut wiring, &netns.to_string(), plan);
    }
    for link in topology.links() {
        match link {
            Link::Bridge(netns, bridge) => wiring.bridge(&netns.to_string(), &bridge.name, bridge.mac),
            Link::Veth(veth) => attach(&mut wiring, veth),
        }
    }
    for (netns, plan) in &topology.netns {
        finish(&mut wiring, &netns.to_string(), plan);
    }
    wiring.apply(&lab)?;
    Ok(lab)
}

/// Carries out changes of devices, addresses and routes; listeners are not the lab's business.
///
/// # Errors
/// If the kernel refuses something.
pub(super) fn rebuild(
    lab: &mut Lab,
    before: &Topology,
    changes: &[Change],
    after: &Topology,
) -> Result<(), LabError> {
    for change in changes {
        if let Change::RemovePod(netns) = change {
            // The kernel deletes a namespace in the background; until then its devices would still be there.
            for Veth { port, .. } in before.veths.iter().filter(|veth| veth.leaf.netns == *netns) {
                lab.netns(&port.netns.to_string()).run("ip", &["link", "del", "dev", &port.device], b"")?;
            }
            lab.remove(&netns.to_string())?;
        }
    }
    let added: Vec<String> = changes.iter().filter_map(added_pod).map(ToString::to_string).collect();
    lab.add(added.iter().map(String::as_str))?;
    let mut wiring = Wiring::default();
    for change in changes {
        plan_change(&mut wiring, change, after);
    }
    wiring.apply(lab)?;
    for (netns, bridge) in without_ports(changes, before, after) {
        wiring::wait_without_carrier(lab.netns(&netns.to_string()), bridge)?;
    }
    Ok(())
}

/// Bridges that have lost their last port.
fn without_ports<'a>(
    changes: &[Change],
    before: &'a Topology,
    after: &'a Topology,
) -> impl Iterator<Item = (&'a Netns, &'a str)> {
    let has_lost_some = changes.iter().any(|change| matches!(change, Change::RemovePod(_)));
    let has_ports = |topology: &Topology, netns: &Netns| {
        topology.veths.iter().any(|veth| veth.port.netns == *netns && veth.master.is_some())
    };
    let bridges = after.netns.iter().filter_map(|(netns, plan)| Some((netns, &*plan.bridge.as_ref()?.name)));
    bridges.filter(move |(netns, _)| has_lost_some && has_ports(before, netns) && !has_ports(after, netns))
}

fn plan_change(wiring: &mut Wiring, change: &Change, after: &Topology) {
    match change {
        Change::AddPod(netns) => {
            let plan = &after.netns[netns];
            begin(wiring, &netns.to_string(), plan);
            for veth in after.veths.iter().filter(|veth| veth.leaf.netns == *netns) {
                attach(wiring, veth);
            }
            finish(wiring, &netns.to_string(), plan);
        }
        Change::AddAddress(netns, address) => {
            wiring.address(&netns.to_string(), &address.device, address.net)
        }
        Change::AddRoute(netns, route) => {
            wiring.route(&netns.to_string(), route.to, route.via, &route.device);
        }
        Change::RemovePod(_) | Change::Close(..) | Change::Open(..) => {}
    }
}

fn added_pod(change: &Change) -> Option<&Netns> {
    match change {
        Change::AddPod(netns) => Some(netns),
        Change::RemovePod(_)
        | Change::AddAddress(..)
        | Change::AddRoute(..)
        | Change::Close(..)
        | Change::Open(..) => None,
    }
}

fn begin(wiring: &mut Wiring, node: &str, plan: &NetnsPlan) {
    wiring.begin(node);
    for (name, value) in &plan.early_sysctls {
        wiring.early_sysctl(node, name, value);
    }
}

fn attach(wiring: &mut Wiring, Veth { port, leaf, master }: &Veth) {
    let (port_node, leaf_node) = (port.netns.to_string(), leaf.netns.to_string());
    wiring.veth(
        End { node: &port_node, device: &port.device, mac: port.mac },
        End { node: &leaf_node, device: &leaf.device, mac: leaf.mac },
        master.as_ref().map(|(bridge, is_hairpin)| (bridge.as_str(), *is_hairpin)),
    );
}

fn finish(wiring: &mut Wiring, node: &str, plan: &NetnsPlan) {
    for address in &plan.addresses {
        wiring.address(node, &address.device, address.net);
    }
    for route in &plan.routes {
        wiring.route(node, route.to, route.via, &route.device);
    }
    for (name, value) in &plan.sysctls {
        wiring.sysctl(node, name, value);
    }
}
