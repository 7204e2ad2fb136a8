//! Changes from one topology to another while it runs.

use super::{AddressPlan, ListenerPlan, RoutePlan, Topology};
use crate::netns::NetnsName;

/// A single change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopologyChange {
    /// Remove a Pod's network namespace, which removes its veth and the port on its node.
    RemovePod(NetnsName),
    /// Create a Pod's network namespace and attach it, as in [`Topology`].
    AddPod(NetnsName),
    /// Add an address to a device that exists by then.
    AddAddress(NetnsName, AddressPlan),
    /// Add a route.
    AddRoute(NetnsName, RoutePlan),
    /// Stop the server on this port.
    Close(NetnsName, ListenerPlan),
    /// Start a server on this port.
    Open(NetnsName, ListenerPlan),
}

impl TopologyChange {
    /// The Pod that it removes.
    pub(crate) const fn removed_pod(&self) -> Option<&NetnsName> {
        match self {
            Self::RemovePod(netns) => Some(netns),
            Self::AddPod(_)
            | Self::AddAddress(..)
            | Self::AddRoute(..)
            | Self::Close(..)
            | Self::Open(..) => None,
        }
    }

    /// The servers that it ends: that of one port, or all of a network namespace.
    pub(crate) const fn ended_servers(&self) -> Option<(&NetnsName, Option<&ListenerPlan>)> {
        match self {
            Self::RemovePod(netns) => Some((netns, None)),
            Self::Close(netns, listener) => Some((netns, Some(listener))),
            Self::AddPod(_) | Self::AddAddress(..) | Self::AddRoute(..) | Self::Open(..) => None,
        }
    }
}

/// The changes that turn `before` into `after`, in order. Both have the same nodes and hosts, so routes are only
/// removed together with devices of Pods.
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
