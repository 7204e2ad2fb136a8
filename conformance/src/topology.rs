//! The network that every arm builds: network namespaces, devices, addresses, routes, sysctls, listeners.
//!
//! Plain data in a fixed order, so that simulator and kernel receive the same. It contains what the CNI plugin and the
//! administrator would set up; kube-proxy's rules are added later.
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
pub(crate) use plan::{CNI_BRIDGE, is_executed, port_name};

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use proxy_core::objects::Protocol;
use sim::wire::MacAddr;

use crate::dns::Zone;
use crate::http::Page;
use crate::netns::NetnsName;
use crate::prepare::LinkEnd;
use crate::scenario::NodeNetwork;

/// Ends of links that are down, by the netns that the link attaches.
pub(crate) type DownEnds = BTreeSet<(NetnsName, LinkEnd)>;

/// Everything that an arm builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Network namespaces: the switch, hosts, nodes, Pods; each kind ordered by name.
    pub netns: BTreeMap<NetnsName, NetnsPlan>,
    /// veth pairs, in order of creation.
    pub veths: Vec<VethPlan>,
}

/// A link of a topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkPlan<'a> {
    /// The bridge of a network namespace.
    Bridge(&'a NetnsName, &'a BridgePlan),
    /// A veth pair.
    Veth(&'a VethPlan),
}

impl Topology {
    /// The veth pair that attaches a host, a node or a Pod to the network.
    ///
    /// # Panics
    /// If the netns is not part of this topology. hostNetwork Pods are not.
    pub fn attachment(&self, netns: &NetnsName) -> &VethPlan {
        let veth = self.veths.iter().find(|veth| veth.leaf.netns == *netns);
        veth.unwrap_or_else(|| panic!("{netns} is not attached to the network"))
    }

    /// One end of the veth pair that attaches a host, a node or a Pod.
    ///
    /// # Panics
    /// As [`Topology::attachment`].
    pub fn link_end(&self, netns: &NetnsName, end: LinkEnd) -> &VethEndPlan {
        let VethPlan { port, leaf, .. } = self.attachment(netns);
        match end {
            LinkEnd::Device => leaf,
            LinkEnd::Port => port,
        }
    }

    /// The names of all devices in a network namespace.
    pub fn devices(&self, netns: &NetnsName) -> Vec<&str> {
        let ends = self.veths.iter().flat_map(|veth| [&veth.port, &veth.leaf]);
        let ends = ends.filter(|end| end.netns == *netns).map(|end| end.device.as_str());
        let bridge = self.netns.get(netns).and_then(|plan| plan.bridge.as_ref());
        ["lo"].into_iter().chain(bridge.map(|bridge| bridge.name.as_str())).chain(ends).collect()
    }

    /// Every link, in order of creation: as on a real node, the uplink exists before the CNI plugin creates its bridge,
    /// and the bridge before the first Pod. The kernel visits devices in order of creation, for example when it selects
    /// an address for masquerading (`inet_select_addr`, net/ipv4/devinet.c).
    pub fn links(&self) -> Vec<LinkPlan<'_>> {
        let mut bridges: BTreeMap<&NetnsName, &BridgePlan> =
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

/// The contents of a network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetnsPlan {
    /// Its bridge, if any; [`Topology::links`] defines when it is created.
    pub bridge: Option<BridgePlan>,
    /// Addresses, in order of addition.
    pub addresses: Vec<AddressPlan>,
    /// Routes, in order of addition; those that addresses imply are omitted.
    pub routes: Vec<RoutePlan>,
    /// Sysctls to set before any device is created, because devices inherit them.
    pub early_sysctls: Vec<(String, String)>,
    /// Sysctls to set after everything else.
    pub sysctls: Vec<(String, String)>,
    /// Rules and routes of its own, before those of kube-proxy and after [`NetnsPlan::routes`].
    pub own: NodeNetwork,
    /// Servers.
    pub listeners: Vec<ListenerPlan>,
}

/// A bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgePlan {
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: MacAddr,
}

/// A veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VethPlan {
    /// The end towards the core: a port of the switch or of a node.
    pub port: VethEndPlan,
    /// The end of the attached netns.
    pub leaf: VethEndPlan,
    /// The bridge that has `port` as port, and its hairpin flag; `None` for a routed port.
    pub master: Option<(String, bool)>,
    /// The MTU of both ends, in bytes; `None` for the default. A bridge takes the smallest of its ports.
    pub mtu: Option<u16>,
}

/// One end of a veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VethEndPlan {
    /// Its netns.
    pub netns: NetnsName,
    /// Its name.
    pub device: String,
    /// Its MAC address.
    pub mac: MacAddr,
}

/// An address of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPlan {
    /// The device.
    pub device: String,
    /// The address and its prefix length.
    pub net: IpNet,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePlan {
    /// Destinations; `0.0.0.0/0` for a default route.
    pub to: IpNet,
    /// Next hop; `None` for an on-link route.
    pub via: Option<IpAddr>,
    /// The device.
    pub device: String,
}

/// A server on a port, on every address of the network namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenerPlan {
    /// Protocol.
    pub protocol: Protocol,
    /// Port.
    pub port: u16,
    /// The name in its responses: `NAMESPACE/NAME` of a Pod, or the address of an external host.
    pub name: String,
    /// The zone of a DNS server; other servers respond with their identity.
    pub zone: Option<Zone>,
    /// What an HTTP server answers.
    pub page: Option<Box<Page>>,
}

#[cfg(test)]
mod tests;
