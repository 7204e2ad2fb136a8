//! The machine plan that every arm builds: network namespaces, devices, addresses, routes, sysctls, listeners.
//!
//! Plain data in a fixed order, so that the simulator and a kernel are given the same. This is what the CNI plugin and
//! the administrator would have set up; what kube-proxy adds comes later.
//!
//! ```text
//!   client                node-1                              node-2
//!   eth0                  eth0        cni0 .1                 eth0
//!    |                     |           |     \                 |
//!    +------- lan0 --------+---------- | ---- veth… -- pod ----+ ...
//!           (switch)                 veth… -- pod
//! ```

mod change;
mod plan;

pub use change::{TopologyChange, changes};
pub(crate) use plan::is_executed;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use proxy_core::objects::Protocol;
use sim::wire::MacAddr;

use crate::dns::Zone;
use crate::netns::NetnsName;

/// Everything that an arm builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Network namespaces: the switch, hosts, nodes, Pods; each kind in the order of names.
    pub netns: BTreeMap<NetnsName, NetnsPlan>,
    /// Pairs of devices, in the order in which they are made.
    pub veths: Vec<Veth>,
}

/// One of the links of a topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkPlan<'a> {
    /// The bridge of a network namespace.
    Bridge(&'a NetnsName, &'a Bridge),
    /// A veth pair.
    Veth(&'a Veth),
}

impl Topology {
    /// The veth pair by which a host, a node or a Pod is attached to the network.
    ///
    /// # Panics
    /// If it is none of this topology. A Pod that shares the network of its node is none.
    pub fn attachment(&self, netns: &NetnsName) -> &Veth {
        let veth = self.veths.iter().find(|veth| veth.leaf.netns == *netns);
        veth.unwrap_or_else(|| panic!("{netns} is not attached to the network"))
    }

    /// The names of all devices in a network namespace.
    pub fn devices(&self, netns: &NetnsName) -> Vec<&str> {
        let ends = self.veths.iter().flat_map(|veth| [&veth.port, &veth.leaf]);
        let ends = ends.filter(|end| end.netns == *netns).map(|end| end.device.as_str());
        let bridge = self.netns.get(netns).and_then(|plan| plan.bridge.as_ref());
        ["lo"].into_iter().chain(bridge.map(|bridge| bridge.name.as_str())).chain(ends).collect()
    }

    /// Every link, in the order in which they are made: as on a real node, where the uplink is there before the CNI plugin
    /// makes its bridge, and the bridge before the first Pod. The kernel goes through devices in the order in which they were
    /// made, for instance when it looks for an address to masquerade with (`inet_select_addr`, net/ipv4/devinet.c).
    pub fn links(&self) -> Vec<LinkPlan<'_>> {
        let mut bridges: BTreeMap<&NetnsName, &Bridge> =
            self.netns.iter().filter_map(|(netns, plan)| Some((netns, plan.bridge.as_ref()?))).collect();
        let mut links = Vec::new();
        for veth in &self.veths {
            let master = bridges.remove_entry(&veth.port.netns).filter(|_| veth.master.is_some());
            links.extend(master.map(|(netns, bridge)| LinkPlan::Bridge(netns, bridge)));
            links.push(LinkPlan::Veth(veth));
        }
        links.extend(bridges.into_iter().map(|(netns, bridge)| LinkPlan::Bridge(netns, bridge)));
        links
    }
}

/// What is in a network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetnsPlan {
    /// Its bridge, if it has one; [`Topology::links`] says when it is made.
    pub bridge: Option<Bridge>,
    /// Addresses, in the order in which they are added.
    pub addresses: Vec<Address>,
    /// Routes, in the order in which they are added; those that come with addresses are left out.
    pub routes: Vec<Route>,
    /// sysctls to be set before any device is made, because devices inherit them.
    pub early_sysctls: Vec<(String, String)>,
    /// sysctls to be set when everything is there.
    pub sysctls: Vec<(String, String)>,
    /// Who answers on which port.
    pub listeners: Vec<Listener>,
}

/// A bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: MacAddr,
}

/// A veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Veth {
    /// The end towards the middle of the network: a port of a switch or of a node.
    pub port: VethEnd,
    /// The end of the one who is attached.
    pub leaf: VethEnd,
    /// The bridge of which `port` is a port, and its hairpin flag; `None` for a routed port.
    pub master: Option<(String, bool)>,
}

/// One end of a veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VethEnd {
    /// Where it is.
    pub netns: NetnsName,
    /// Its name.
    pub device: String,
    /// Its hardware address.
    pub mac: MacAddr,
}

/// An address of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The device.
    pub device: String,
    /// The address and its prefix length.
    pub net: Ipv4Net,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Destinations; `0.0.0.0/0` for a default route.
    pub to: Ipv4Net,
    /// Next hop; `None` if destinations are on the link.
    pub via: Option<Ipv4Addr>,
    /// The device.
    pub device: String,
}

/// Somebody who answers on a port, on every address of the network namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// Protocol.
    pub protocol: Protocol,
    /// Port.
    pub port: u16,
    /// Who answers, as the answer says: `NAMESPACE/NAME` of a Pod, or the address of an external host.
    pub name: String,
    /// What a DNS server answers from; others say who they are.
    pub zone: Option<Zone>,
}

#[cfg(test)]
mod tests;
