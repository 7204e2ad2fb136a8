//! What to do when a topology becomes another one while it runs.

use super::{Address, Listener, Route, Topology};
use crate::netns::NetnsName;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopologyChange {
    /// Remove a Pod's network namespace. Its veth goes with it, and the port on its node with the veth.
    RemovePod(NetnsName),
    /// Make a Pod's network namespace and attach it, as [`Topology`] says.
    AddPod(NetnsName),
    /// Add an address to a device that is there by then.
    AddAddress(NetnsName, Address),
    /// Add a route.
    AddRoute(NetnsName, Route),
    /// Nobody answers on this port any more.
    Close(NetnsName, Listener),
    /// Somebody answers on this port from now on.
    Open(NetnsName, Listener),
}

/// What turns `before` into `after`, in the order in which it is to be done. Both are of the same nodes and hosts, so
/// routes go only with the devices of Pods that go.
pub fn changes(before: &Topology, after: &Topology) -> Vec<TopologyChange> {
    let mut changes = Vec::new();
    let has_moved = |netns: &NetnsName| {
        let end = |topology: &Topology| topology.veths.iter().find(|veth| veth.leaf.netns == *netns).cloned();
        end(before) != end(after)
    };
    let stays = |netns: &NetnsName| after.netns.contains_key(netns) && !has_moved(netns);
    changes.extend(before.netns.keys().filter(|netns| !stays(netns)).cloned().map(TopologyChange::RemovePod));
    let is_new = |netns: &NetnsName| !before.netns.contains_key(netns) || has_moved(netns);
    changes.extend(after.netns.keys().filter(|netns| is_new(netns)).cloned().map(TopologyChange::AddPod));
    for (netns, plan) in after.netns.iter().filter(|(netns, _)| !is_new(netns)) {
        let previous = &before.netns[netns];
        let addresses = plan.addresses.iter().filter(|address| !previous.addresses.contains(address));
        changes.extend(addresses.map(|address| TopologyChange::AddAddress(netns.clone(), address.clone())));
        let routes = plan.routes.iter().filter(|route| !previous.routes.contains(route));
        changes.extend(routes.map(|route| TopologyChange::AddRoute(netns.clone(), route.clone())));
        let closed = previous.listeners.iter().filter(|listener| !plan.listeners.contains(listener));
        changes.extend(closed.map(|listener| TopologyChange::Close(netns.clone(), listener.clone())));
        let opened = plan.listeners.iter().filter(|listener| !previous.listeners.contains(listener));
        changes.extend(opened.map(|listener| TopologyChange::Open(netns.clone(), listener.clone())));
    }
    changes
}
