//! What to do when a topology becomes another one while it runs.

use super::{Address, Listener, Netns, Route, Topology};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Remove a Pod's network namespace. Its veth goes with it, and the port on its node with the veth.
    RemovePod(Netns),
    /// Make a Pod's network namespace and attach it, as [`Topology`] says.
    AddPod(Netns),
    /// Add an address to a device that is there by then.
    AddAddress(Netns, Address),
    /// Add a route.
    AddRoute(Netns, Route),
    /// Nobody answers on this port any more.
    Close(Netns, Listener),
    /// Somebody answers on this port from now on.
    Open(Netns, Listener),
}

/// What turns `before` into `after`, in the order in which it is to be done. Both are of the same nodes and hosts, so
/// routes go only with the devices of Pods that go.
pub fn changes(before: &Topology, after: &Topology) -> Vec<Change> {
    let mut changes = Vec::new();
    let has_moved = |netns: &Netns| {
        let end = |topology: &Topology| topology.veths.iter().find(|veth| veth.leaf.netns == *netns).cloned();
        end(before) != end(after)
    };
    let stays = |netns: &Netns| after.netns.contains_key(netns) && !has_moved(netns);
    changes.extend(before.netns.keys().filter(|netns| !stays(netns)).cloned().map(Change::RemovePod));
    let is_new = |netns: &Netns| !before.netns.contains_key(netns) || has_moved(netns);
    changes.extend(after.netns.keys().filter(|netns| is_new(netns)).cloned().map(Change::AddPod));
    for (netns, plan) in after.netns.iter().filter(|(netns, _)| !is_new(netns)) {
        let previous = &before.netns[netns];
        let addresses = plan.addresses.iter().filter(|address| !previous.addresses.contains(address));
        changes.extend(addresses.map(|address| Change::AddAddress(netns.clone(), address.clone())));
        let routes = plan.routes.iter().filter(|route| !previous.routes.contains(route));
        changes.extend(routes.map(|route| Change::AddRoute(netns.clone(), route.clone())));
        let closed = previous.listeners.iter().filter(|listener| !plan.listeners.contains(listener));
        changes.extend(closed.map(|listener| Change::Close(netns.clone(), listener.clone())));
        let opened = plan.listeners.iter().filter(|listener| !previous.listeners.contains(listener));
        changes.extend(opened.map(|listener| Change::Open(netns.clone(), listener.clone())));
    }
    changes
}
