//! Validates sysctls with the simulator's own table.

use sim::device::{DeviceKind, Devices};
use sim::ipvs;
use sim::sysctl::Sysctls;
use sim::wire::MacAddr;

use super::Preparation;
use crate::cluster::Cluster;
use crate::netns::NetnsName;
use crate::scenario::{FieldFault, nearest};
use crate::topology::Topology;

impl Preparation {
    /// Validates the sysctls of all nodes.
    pub(super) fn check_node_sysctls(&mut self, cluster: &Cluster) {
        let topology = Topology::of(cluster);
        let nodes: Vec<NetnsName> =
            cluster.nodes().iter().map(|node| NetnsName::Node(node.name.clone())).collect();
        for (name, value) in &cluster.network().sysctls {
            let path = format!("spec.network.sysctls.{name}");
            let fault = nodes.iter().find_map(|node| fault(&topology, node, &path, name, value));
            fault.iter().for_each(|fault| self.scenario_fault(fault));
        }
    }
}

/// The problem of the sysctl at `path`: of its name, reported at the key, or of its value.
pub(super) fn fault(
    topology: &Topology,
    netns: &NetnsName,
    path: &str,
    name: &str,
    value: &str,
) -> Option<FieldFault> {
    const ETHERNET_MTU: u16 = 1_500;
    let mut devices = Devices::default();
    for device in topology.devices(netns) {
        devices.add(device, MacAddr::ZERO, ETHERNET_MTU, DeviceKind::Dummy);
    }
    let (mut sysctls, mut ipvs) = (Sysctls::default(), ipvs::Settings::default());
    let is_of_ipvs = ipvs::Settings::has(name);
    let found = if is_of_ipvs { ipvs.get(name) } else { sysctls.get(&devices, name) };
    if let Err(error) = found {
        let fault =
            FieldFault::new(format!("unsupported sysctl {name:?} on {netns}")).expected(error.expected);
        let known: Vec<String> = match is_of_ipvs {
            true => ipvs::Settings::names().collect(),
            false => Sysctls::names(&devices),
        };
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let nearest = nearest(name, &known);
        let help = nearest.map(|nearest| format!("did you mean {nearest:?}?"));
        return Some(fault.help(help.unwrap_or_default()).at_key(path));
    }
    let set = if is_of_ipvs { ipvs.set(name, value) } else { sysctls.set(&devices, name, value) };
    let error = set.err()?;
    Some(FieldFault::new(format!("invalid value of {name}: {value:?}")).expected(error.expected).at(path))
}
