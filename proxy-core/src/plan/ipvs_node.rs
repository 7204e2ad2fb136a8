//! The part of a node's plan that only IPVS mode needs.

use std::net::IpAddr;

use ipnet::IpNet;

use super::NodePortAddresses;
use crate::address::{family_of, family_of_net};
use crate::config::{IpvsTimeouts, NodeConfig, Scheduler};
use crate::objects::IpFamily;

/// The part of a node's plan that only IPVS mode needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpvsNode {
    /// The scheduler of every virtual service.
    pub scheduler: Scheduler,
    /// Virtual services with these addresses are never deleted.
    pub excluded: Vec<IpNet>,
    /// The node answers ARP requests for an address only on the device that has it.
    pub strict_arp: bool,
    /// Timeouts of IPVS connections.
    pub timeouts: IpvsTimeouts,
    /// The node's own addresses, sorted. A VIP among them is not bound to `kube-ipvs0`.
    pub local_addresses: Vec<IpAddr>,
    /// Addresses with a virtual service for every NodePort: IPVS has no service for "every local address", so they are
    /// determined when the plan is made. Sorted, without loopback.
    pub node_port_addresses: Vec<IpAddr>,
}

impl IpvsNode {
    pub(super) fn new(config: &NodeConfig, family: IpFamily, node_ports: &NodePortAddresses) -> Self {
        let local_addresses = local_addresses(config, family);
        let node_port_addresses = match node_ports {
            NodePortAddresses::AllLocal => local_addresses.clone(),
            NodePortAddresses::Only(addresses) => {
                addresses.iter().copied().filter(|address| !address.is_loopback()).collect()
            }
        };
        let settings = &config.ipvs;
        Self {
            scheduler: settings.scheduler,
            excluded: settings.excluded.iter().copied().filter(|net| family_of_net(net) == family).collect(),
            strict_arp: settings.strict_arp,
            timeouts: settings.timeouts,
            local_addresses,
            node_port_addresses,
        }
    }

    /// True if a virtual service with this address is never deleted.
    pub(crate) fn excludes(&self, address: IpAddr) -> bool {
        self.excluded.iter().any(|net| net.contains(&address))
    }
}

/// kube-proxy: `GetAllLocalAddressesExcept` and `isValidForSet`, pkg/proxy/ipvs/netlink_linux.go.
fn local_addresses(config: &NodeConfig, family: IpFamily) -> Vec<IpAddr> {
    let is_link_local = |address: &IpAddr| match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let mut addresses: Vec<IpAddr> = config
        .interface_addresses
        .iter()
        .map(IpNet::addr)
        .filter(|address| family_of(*address) == family && !address.is_loopback() && !is_link_local(address))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
