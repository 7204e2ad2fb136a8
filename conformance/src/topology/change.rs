//! Changes from one topology to another while it runs.

use super::{AddressPlan, ListenerPlan, RoutePlan, Topology};
use crate::netns::NetnsName;

/// A single change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopologyChange {
    /// Remove the network namespace of a Pod or a node, which removes its veth and the port on its node or the switch. The
    /// Pods of a node are removed before it.
    Remove(NetnsName),
    /// Create the network namespace of a Pod or a node and attach it, as in [`Topology`]. A node is added before its Pods.
    Add(NetnsName),
    /// Add an address to a device that exists by then.
    AddAddress(NetnsName, AddressPlan),
    /// Remove a route, if it is still there: it may have gone with its device.
    RemoveRoute(NetnsName, RoutePlan),
    /// Add a route, unless its device is down.
    AddRoute(NetnsName, RoutePlan),
    /// Stop the server on this port.
    Close(NetnsName, ListenerPlan),
    /// Start a server on this port.
    Open(NetnsName, ListenerPlan),
}

impl TopologyChange {
    /// The network namespace that it removes.
    pub(crate) const fn removed(&self) -> Option<&NetnsName> {
        match self {
            Self::Remove(netns) => Some(netns),
            Self::Add(_)
            | Self::AddAddress(..)
            | Self::RemoveRoute(..)
            | Self::AddRoute(..)
            | Self::Close(..)
            | Self::Open(..) => None,
        }
    }

    /// The servers that it ends: that of one port, or all of a network namespace.
    pub(crate) const fn ended_servers(&self) -> Option<(&NetnsName, Option<&ListenerPlan>)> {
        match self {
            Self::Remove(netns) => Some((netns, None)),
            Self::Close(netns, listener) => Some((netns, Some(listener))),
            Self::Add(_)
            | Self::AddAddress(..)
            | Self::RemoveRoute(..)
            | Self::AddRoute(..)
            | Self::Open(..) => None,
        }
    }
}

/// The changes that turn `before` into `after`, in order. Both have the same hosts, and nodes in both are the same. Routes
/// through a Pod's device are removed with it.
pub fn changes(before: &Topology, after: &Topology) -> Vec<TopologyChange> {
    let mut changes = Vec::new();
    let has_moved = |netns: &NetnsName| {
        let end = |topology: &Topology| topology.veths.iter().find(|veth| veth.leaf.netns == *netns).cloned();
        end(before) != end(after)
    };
    let stays = |netns: &NetnsName| after.netns.contains_key(netns) && !has_moved(netns);
    // Pods come after nodes in the order of names.
    changes
        .extend(before.netns.keys().rev().filter(|netns| !stays(netns)).cloned().map(TopologyChange::Remove));
    let is_new = |netns: &NetnsName| !before.netns.contains_key(netns) || has_moved(netns);
    changes.extend(after.netns.keys().filter(|netns| is_new(netns)).cloned().map(TopologyChange::Add));
    for (netns, plan) in after.netns.iter().filter(|(netns, _)| !is_new(netns)) {
        let previous = &before.netns[netns];
        let addresses = plan.addresses.iter().filter(|address| !previous.addresses.contains(address));
        changes.extend(addresses.map(|address| TopologyChange::AddAddress(netns.clone(), address.clone())));
        let devices = after.devices(netns);
        let stale = previous.routes.iter().filter(|route| !plan.routes.contains(route));
        let stale = stale.filter(|route| devices.contains(&route.device.as_str()));
        changes.extend(stale.map(|route| TopologyChange::RemoveRoute(netns.clone(), route.clone())));
        let routes = plan.routes.iter().filter(|route| !previous.routes.contains(route));
        changes.extend(routes.map(|route| TopologyChange::AddRoute(netns.clone(), route.clone())));
        let closed = previous.listeners.iter().filter(|listener| !plan.listeners.contains(listener));
        changes.extend(closed.map(|listener| TopologyChange::Close(netns.clone(), listener.clone())));
        let opened = plan.listeners.iter().filter(|listener| !previous.listeners.contains(listener));
        changes.extend(opened.map(|listener| TopologyChange::Open(netns.clone(), listener.clone())));
    }
    changes
}
