//! Timers of both arms: timeouts for which a run would have to wait are shortened, and random ones are made very long.

use crate::netns::NetnsName;
use crate::settings::{Place, sysctls};
use crate::topology::{NetnsPlan, Topology, TopologyChange};

/// An owned name and value.
fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The topology with these settings; sysctls of the scenario are applied after them.
pub(super) fn hastened(topology: &Topology) -> Topology {
    let mut topology = topology.clone();
    for plan in topology.netns.values_mut() {
        let own = std::mem::take(&mut plan.sysctls);
        let of_devices = devices(plan);
        let neigh = of_devices.iter().flat_map(|device| neigh_sysctls(device));
        plan.sysctls = sysctls(Place::Netns).map(owned).chain(neigh).chain(own).collect();
    }
    topology
}

/// The sysctls of one device.
pub(super) fn neigh_sysctls(device: &str) -> impl Iterator<Item = (String, String)> {
    sysctls(Place::Device).map(move |(name, value)| (name.replace("DEVICE", device), value.to_owned()))
}

/// Devices that a change gives their first address, by network namespace: those of routed ports.
pub(super) fn new_devices(changes: &[TopologyChange]) -> Vec<(NetnsName, String)> {
    let device = |change: &TopologyChange| match change {
        TopologyChange::AddAddress(netns, address) => Some((netns.clone(), address.device.clone())),
        TopologyChange::Remove(_)
        | TopologyChange::Add(_)
        | TopologyChange::RemoveRoute(..)
        | TopologyChange::AddRoute(..)
        | TopologyChange::Close(..)
        | TopologyChange::Open(..) => None,
    };
    changes.iter().filter_map(device).collect()
}

/// Devices with addresses, each once; `lo` has no neighbours.
fn devices(plan: &NetnsPlan) -> Vec<String> {
    let mut devices: Vec<String> = Vec::new();
    for address in plan.addresses.iter().filter(|address| address.device != "lo") {
        if !devices.contains(&address.device) {
            devices.push(address.device.clone());
        }
    }
    devices
}

#[cfg(test)]
mod tests;
