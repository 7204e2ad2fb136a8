//! Builds a wired lab from a topology.

use super::lab::{Lab, LabError};
use super::wiring::{self, LinkEnd, Wiring};
use crate::netns::NetnsName;
use crate::prepare;
use crate::topology::{DownEnds, LinkPlan, NetnsPlan, Topology, TopologyChange, VethPlan};

/// Creates the namespaces of a topology and everything in them except listeners.
///
/// # Errors
/// If the kernel rejects something.
pub(super) fn build(topology: &Topology) -> Result<Lab, LabError> {
    let names: Vec<String> = topology.netns.keys().map(ToString::to_string).collect();
    let lab = Lab::create(names.iter().map(String::as_str))?;
    let mut wiring = Wiring::default();
    // All devices exist before the first address is added.
    for (netns, plan) in &topology.netns {
        begin(&mut wiring, &netns.to_string(), plan);
    }
    for link in topology.links() {
        match link {
            LinkPlan::Bridge(netns, bridge) => wiring.bridge(&netns.to_string(), &bridge.name, bridge.mac),
            LinkPlan::Veth(veth) => attach(&mut wiring, veth),
        }
    }
    for (netns, plan) in &topology.netns {
        finish(&mut wiring, &netns.to_string(), plan);
    }
    wiring.apply(&lab)?;
    settle(&lab, topology, &DownEnds::new())?;
    Ok(lab)
}

/// Applies changes of devices, addresses and routes; listeners are handled elsewhere.
///
/// # Errors
/// If the kernel rejects something.
pub(super) fn rebuild(
    lab: &mut Lab,
    before: &Topology,
    changes: &[TopologyChange],
    after: &Topology,
    down: &DownEnds,
) -> Result<(), LabError> {
    for change in changes {
        if let TopologyChange::Remove(netns) = change {
            // The kernel deletes a namespace in the background; until then its devices would still exist.
            for VethPlan { port, .. } in before.veths.iter().filter(|veth| veth.leaf.netns == *netns) {
                lab.netns(&port.netns.to_string()).run("ip", &["link", "del", "dev", &port.device], b"")?;
            }
            lab.remove(&netns.to_string())?;
        }
    }
    let names: Vec<String> = changes.iter().filter_map(added).map(ToString::to_string).collect();
    lab.add(names.iter().map(String::as_str))?;
    let mut wiring = Wiring::default();
    for netns in changes.iter().filter_map(added) {
        begin(&mut wiring, &netns.to_string(), &after.netns[netns]);
        for veth in after.veths.iter().filter(|veth| veth.leaf.netns == *netns) {
            attach(&mut wiring, veth);
        }
        if let Some(bridge) = &after.netns[netns].bridge {
            wiring.bridge(&netns.to_string(), &bridge.name, bridge.mac);
        }
    }
    for change in changes {
        plan_change(&mut wiring, change, after, down);
    }
    wiring.apply(lab)?;
    settle(lab, after, down)
}

/// Waits until every bridge with active ports has a carrier, and every other has none. Until then a bridge may still flush its
/// neighbours, and with them queued packets (`neigh_carrier_down`, net/core/neighbour.c).
pub(super) fn settle(lab: &Lab, topology: &Topology, down: &DownEnds) -> Result<(), LabError> {
    for (netns, plan) in &topology.netns {
        let Some(bridge) = &plan.bridge else { continue };
        let is_live = |veth: &&VethPlan| {
            let is_down = down.iter().any(|(leaf, _)| *leaf == veth.leaf.netns);
            // Further devices of a node stay up.
            !is_down || veth.leaf.device != topology.attachment(&veth.leaf.netns).leaf.device
        };
        let mut ports = topology.veths.iter().filter(is_live);
        let has_port = ports.any(|veth| veth.port.netns == *netns && veth.master.is_some());
        wiring::wait_for_link(lab.netns(&netns.to_string()), &bridge.name, has_port)?;
    }
    Ok(())
}

fn plan_change(wiring: &mut Wiring, change: &TopologyChange, after: &Topology, down: &DownEnds) {
    match change {
        TopologyChange::Add(netns) => finish(wiring, &netns.to_string(), &after.netns[netns]),
        TopologyChange::AddAddress(netns, address) => {
            wiring.address(&netns.to_string(), &address.device, address.net)
        }
        TopologyChange::RemoveRoute(netns, route) => {
            wiring.remove_route(&netns.to_string(), route.to, route.via, &route.device);
        }
        TopologyChange::AddRoute(netns, route) => {
            let is_down = down.contains(&(netns.clone(), prepare::LinkEnd::Device))
                && after.link_end(netns, prepare::LinkEnd::Device).device == route.device;
            if !is_down {
                wiring.route(&netns.to_string(), route.to, route.via, &route.device);
            }
        }
        TopologyChange::Remove(_) | TopologyChange::Close(..) | TopologyChange::Open(..) => {}
    }
}

fn added(change: &TopologyChange) -> Option<&NetnsName> {
    match change {
        TopologyChange::Add(netns) => Some(netns),
        TopologyChange::Remove(_)
        | TopologyChange::AddAddress(..)
        | TopologyChange::RemoveRoute(..)
        | TopologyChange::AddRoute(..)
        | TopologyChange::Close(..)
        | TopologyChange::Open(..) => None,
    }
}

fn begin(wiring: &mut Wiring, node: &str, plan: &NetnsPlan) {
    wiring.begin(node);
    for (name, value) in &plan.early_sysctls {
        wiring.early_sysctl(node, name, value);
    }
}

fn attach(wiring: &mut Wiring, VethPlan { port, leaf, master, mtu }: &VethPlan) {
    let (port_node, leaf_node) = (port.netns.to_string(), leaf.netns.to_string());
    wiring.veth(
        LinkEnd { node: &port_node, device: &port.device, mac: port.mac },
        LinkEnd { node: &leaf_node, device: &leaf.device, mac: leaf.mac },
        master.as_ref().map(|(bridge, is_hairpin)| (bridge.as_str(), *is_hairpin)),
    );
    if let Some(mtu) = *mtu {
        wiring.mtu(&port_node, &port.device, mtu);
        wiring.mtu(&leaf_node, &leaf.device, mtu);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arm::kernel::testing::can_run;
    use crate::topology::{BridgePlan, VethEndPlan};
    use sim::wire::MacAddr;
    use std::collections::BTreeMap;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn node(name: &str) -> NetnsName {
        NetnsName::Node(name.to_owned())
    }

    fn end(netns: NetnsName, device: &str, last: u8) -> VethEndPlan {
        VethEndPlan { netns, device: device.to_owned(), mac: MacAddr([2, 0, 0, 0, 1, last]) }
    }

    /// Checks the bridge state that the kernel has announced, which may lag behind the actual state: listing all
    /// devices does not update it.
    fn check(lab: &Lab, netns: &NetnsName, state: &str) {
        let listing = lab.netns(&netns.to_string()).run("ip", &["link"], b"").expect("a listing");
        let line = listing.lines().find(|line| line.contains(": cni0:")).expect("the bridge");
        assert!(line.contains(&format!(" state {state} ")), "{netns}: {line}");
    }

    #[test]
    fn nothing_is_left_to_be_said_about_the_link_of_a_bridge() {
        if !can_run("nothing_is_left_to_be_said_about_the_link_of_a_bridge") {
            return;
        }
        let bridge = Some(BridgePlan { name: "cni0".to_owned(), mac: MAC });
        let plan = NetnsPlan { bridge, ..NetnsPlan::default() };
        let (empty, used, other) = (node("empty"), node("used"), node("other"));
        let netns = BTreeMap::from([
            (empty.clone(), plan.clone()),
            (used.clone(), plan),
            (other.clone(), NetnsPlan::default()),
        ]);
        let veth = VethPlan {
            mtu: None,
            port: end(used.clone(), "veth0", 1),
            leaf: end(other, "eth0", 2),
            master: Some(("cni0".to_owned(), false)),
        };
        let lab = build(&Topology { netns, veths: vec![veth] }).expect("a lab");
        check(&lab, &empty, "DOWN");
        check(&lab, &used, "UP");
    }
}
