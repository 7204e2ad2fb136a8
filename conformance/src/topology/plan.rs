//! Builds the topology of a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use proxy_core::objects::Protocol;
use sim::wire::MacAddr;

use super::{AddressPlan, BridgePlan, ListenerPlan, NetnsPlan, RoutePlan, Topology, VethEndPlan, VethPlan};
use crate::cluster::{Cluster, ClusterNode, ClusterPod};
use crate::dns::{self, Zone};
use crate::http;
use crate::netns::NetnsName;
use crate::scenario::{Cni, ExternalHost, NodeAddress, NodeDevice, Via};

/// The bridge of the switch.
const SWITCH_BRIDGE: &str = "lan0";
/// The bridge of a node, with the default name of the CNI plugin `bridge`.
pub(crate) const CNI_BRIDGE: &str = "cni0";
/// The uplink device of hosts, nodes and Pods.
const UPLINK: &str = "eth0";

/// Sysctls that the CNI plugin and Kubernetes installation guides set on a node. `rp_filter` is the kernel's default;
/// distributions differ, and a new namespace would inherit their value.
const NODE_SYSCTLS: [(&str, &str); 4] = [
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.bridge.bridge-nf-call-iptables", "1"),
];
const LEAF_SYSCTLS: [(&str, &str); 2] =
    [("net.ipv4.conf.all.rp_filter", "0"), ("net.ipv4.conf.default.rp_filter", "0")];
const SWITCH_SYSCTLS: [(&str, &str); 1] = [("net.bridge.bridge-nf-call-iptables", "0")];

impl Topology {
    /// The topology of a cluster. Only for CNIs for which `is_executed` is true.
    pub fn of(cluster: &Cluster) -> Self {
        let dns_servers = dns::servers(cluster);
        let mut builder = Builder { cluster, dns_servers, netns: BTreeMap::new(), veths: Vec::new() };
        builder.switch();
        for host in cluster.hosts() {
            builder.host(host);
        }
        for node in cluster.nodes() {
            builder.node(node);
        }
        for pod in cluster.pods() {
            builder.pod(pod);
        }
        Self { netns: builder.netns, veths: builder.veths }
    }
}

/// True if this version implements the CNI.
pub(crate) const fn is_executed(cni: Cni) -> bool {
    match cni {
        Cni::Bridge | Cni::Ptp => true,
        Cni::Vxlan => false,
    }
}

struct Builder<'a> {
    cluster: &'a Cluster,
    dns_servers: BTreeSet<(Ipv4Addr, u16)>,
    netns: BTreeMap<NetnsName, NetnsPlan>,
    veths: Vec<VethPlan>,
}

impl Builder<'_> {
    fn switch(&mut self) {
        let bridge = BridgePlan { name: SWITCH_BRIDGE.to_owned(), mac: MacAddr([0x0a, 0x5a, 0, 0, 0, 1]) };
        let plan =
            NetnsPlan { bridge: Some(bridge), early_sysctls: owned(&SWITCH_SYSCTLS), ..NetnsPlan::default() };
        self.netns.insert(NetnsName::Switch, plan);
    }

    fn host(&mut self, host: &ExternalHost) {
        let netns = NetnsName::Host(host.name.clone());
        self.attach_to_switch(&netns, host.ip, UPLINK);
        let next_hop = |via: &Via| match via {
            Via::Address(address) => Some((*address).into()),
            Via::Node(name) => self.cluster.node(name).map(|node| node.ip.into()),
            Via::Link => None,
        };
        let routes = host.routes.iter().map(|route| (route.to.into(), next_hop(&route.via)));
        let default = host.gateway.iter().map(|via| (everything(), next_hop(via)));
        let routes = routes.chain(default).map(|(to, via)| RoutePlan { to, via, device: UPLINK.to_owned() });
        // The cloud's network delivers what is for a Pod with an address of the nodes' network to the Pod's node.
        let pods = self.cluster.pods().iter().filter(|pod| self.cluster.lan().contains(&pod.ip));
        let routes = routes.chain(pods.filter_map(|pod| self.route_to(pod)));
        let name = |port: u16| format!("{}:{port}", host.ip);
        let listeners = host.listen.iter();
        let plan = NetnsPlan {
            addresses: vec![self.lan_address(host.ip)],
            routes: routes.collect(),
            early_sysctls: owned(&LEAF_SYSCTLS),
            listeners: listeners
                .map(|(protocol, port)| ListenerPlan {
                    protocol: *protocol,
                    port: *port,
                    name: name(*port),
                    zone: None,
                    page: None,
                })
                .collect(),
            ..NetnsPlan::default()
        };
        self.netns.insert(netns, plan);
    }

    fn node(&mut self, node: &ClusterNode) {
        let netns = NetnsName::Node(node.name.clone());
        self.attach_to_switch(&netns, node.ip, UPLINK);
        let more = self.cluster.node_addresses(&node.name);
        if let Some(second) = more.iter().find(|address| address.device == NodeDevice::SecondUplink) {
            self.attach_to_switch(&netns, second.net.addr(), second.device.name());
        }
        let mut plan = NetnsPlan {
            addresses: vec![self.lan_address(node.ip)],
            early_sysctls: owned(&NODE_SYSCTLS),
            sysctls: self.cluster.network().sysctls.clone().into_iter().collect(),
            own: self.cluster.network().nodes.get(&node.name).cloned().unwrap_or_default(),
            ..NetnsPlan::default()
        };
        match self.cluster.cni() {
            Cni::Bridge | Cni::Vxlan => {
                let mac = hardware_address(HOLDER, node.pod_gateway);
                plan.bridge = Some(BridgePlan { name: CNI_BRIDGE.to_owned(), mac });
                let net = prefix(node.pod_gateway, node.pod_cidr.prefix_len());
                plan.addresses.push(AddressPlan { device: CNI_BRIDGE.to_owned(), net });
            }
            Cni::Ptp => {}
        }
        plan.addresses.extend(more.iter().map(|NodeAddress { device, net }| AddressPlan {
            device: device.name().to_owned(),
            net: (*net).into(),
        }));
        for other in self.cluster.nodes().iter().filter(|other| other.name != node.name) {
            plan.routes.push(RoutePlan {
                to: other.pod_cidr.into(),
                via: Some(other.ip.into()),
                device: UPLINK.to_owned(),
            });
        }
        let pods = self.cluster.pods().iter().filter(|pod| pod.node != node.name && self.is_elsewhere(pod));
        plan.routes.extend(pods.filter_map(|pod| self.route_to(pod)));
        let default = self.cluster.gateway().filter(|gateway| *gateway != node.ip);
        plan.routes.extend(default.map(|gateway| RoutePlan {
            to: everything(),
            via: Some(gateway.into()),
            device: UPLINK.to_owned(),
        }));
        let pods = self.cluster.pods().iter().filter(|pod| pod.is_host_network && pod.node == node.name);
        plan.listeners = pods.flat_map(|pod| self.listeners(pod)).collect();
        let own = self.cluster.node_listens(&node.name).iter();
        plan.listeners.extend(own.map(|(protocol, port)| ListenerPlan {
            protocol: *protocol,
            port: *port,
            name: format!("{}:{port}", node.ip),
            zone: None,
            page: None,
        }));
        for (port, page) in http::pages(self.cluster, node) {
            let is_free = |one: &ListenerPlan| (one.protocol, one.port) != (Protocol::Tcp, port);
            if plan.listeners.iter().all(is_free) {
                let name = format!("{}:{port}", node.ip);
                let protocol = Protocol::Tcp;
                plan.listeners.push(ListenerPlan {
                    protocol,
                    port,
                    name,
                    zone: None,
                    page: Some(Box::new(page)),
                });
            }
        }
        self.netns.insert(netns, plan);
    }

    fn pod(&mut self, pod: &ClusterPod) {
        let Some(node) = self.cluster.node(&pod.node).filter(|_| !pod.is_host_network) else { return };
        let netns = NetnsName::Pod(pod.name.clone());
        let port_device = port_name(pod.ip);
        let is_hairpin = self.cluster.network().is_hairpin;
        let default =
            RoutePlan { to: everything(), via: Some(node.pod_gateway.into()), device: UPLINK.to_owned() };
        let mut plan = NetnsPlan {
            early_sysctls: owned(&LEAF_SYSCTLS),
            listeners: self.listeners(pod),
            ..NetnsPlan::default()
        };
        let mut address = |net| plan.addresses.push(AddressPlan { device: UPLINK.to_owned(), net });
        let cni = if self.is_elsewhere(pod) { Cni::Ptp } else { self.cluster.cni() };
        let master = match cni {
            Cni::Bridge | Cni::Vxlan => {
                address(prefix(pod.ip, node.pod_cidr.prefix_len()));
                plan.routes = vec![default];
                Some((CNI_BRIDGE.to_owned(), is_hairpin))
            }
            // CNI plugin ptp: every port has the gateway's address, and all traffic passes through it.
            Cni::Ptp => {
                address(prefix(pod.ip, 32));
                let gateway = prefix(node.pod_gateway, 32);
                plan.routes = vec![RoutePlan { to: gateway, via: None, device: UPLINK.to_owned() }, default];
                if let Some(plan) = self.netns.get_mut(&NetnsName::Node(node.name.clone())) {
                    plan.addresses.push(AddressPlan { device: port_device.clone(), net: gateway });
                    let to = prefix(pod.ip, 32);
                    plan.routes.push(RoutePlan { to, via: None, device: port_device.clone() });
                }
                None
            }
        };
        self.veths.push(VethPlan {
            port: VethEndPlan {
                netns: NetnsName::Node(node.name.clone()),
                device: port_device,
                mac: hardware_address(PORT, pod.ip),
            },
            leaf: VethEndPlan {
                netns: netns.clone(),
                device: UPLINK.to_owned(),
                mac: hardware_address(HOLDER, pod.ip),
            },
            master,
            mtu: self.cluster.network().pod_mtu,
        });
        self.netns.insert(netns, plan);
    }

    /// True for a Pod whose address is outside the pod CIDR of its node.
    fn is_elsewhere(&self, pod: &ClusterPod) -> bool {
        let node = self.cluster.node(&pod.node);
        !pod.is_host_network && node.is_some_and(|node| !node.pod_cidr.contains(&pod.ip))
    }

    /// The route from another machine to a Pod; `None` for hostNetwork Pods.
    fn route_to(&self, pod: &ClusterPod) -> Option<RoutePlan> {
        let node = self.cluster.node(&pod.node).filter(|_| !pod.is_host_network)?;
        Some(RoutePlan { to: prefix(pod.ip, 32), via: Some(node.ip.into()), device: UPLINK.to_owned() })
    }

    fn listeners(&self, pod: &ClusterPod) -> Vec<ListenerPlan> {
        let listens = pod.listens.iter();
        let listener = |(protocol, port): &(Protocol, u16)| ListenerPlan {
            protocol: *protocol,
            port: *port,
            name: format!("{}/{}", pod.name.namespace, pod.name.name),
            zone: (*protocol == Protocol::Udp && self.dns_servers.contains(&(pod.ip, *port)))
                .then(|| Zone::of(self.cluster)),
            page: None,
        };
        listens.map(listener).collect()
    }

    /// `ip` is the first address of the device.
    fn attach_to_switch(&mut self, netns: &NetnsName, ip: Ipv4Addr, device: &str) {
        self.veths.push(VethPlan {
            port: VethEndPlan {
                netns: NetnsName::Switch,
                device: port_name(ip),
                mac: hardware_address(PORT, ip),
            },
            leaf: VethEndPlan {
                netns: netns.clone(),
                device: device.to_owned(),
                mac: hardware_address(HOLDER, ip),
            },
            master: Some((SWITCH_BRIDGE.to_owned(), false)),
            mtu: None,
        });
    }

    fn lan_address(&self, ip: Ipv4Addr) -> AddressPlan {
        let net = prefix(ip, self.cluster.lan().prefix_len());
        AddressPlan { device: UPLINK.to_owned(), net }
    }
}

fn owned(sysctls: &[(&str, &str)]) -> Vec<(String, String)> {
    sysctls.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// An address with a prefix length that fits it.
fn prefix(ip: Ipv4Addr, len: u8) -> IpNet {
    Ipv4Net::new_assert(ip, len).into()
}

fn everything() -> IpNet {
    prefix(Ipv4Addr::UNSPECIFIED, 0)
}

/// Second byte of the MAC address of a device with that IP address. CNI plugins used to use 0a:58 in this way
/// (containernetworking/plugins, pkg/utils/hwaddr).
const HOLDER: u8 = 0x58;
/// The same for the bridge port of such a device.
const PORT: u8 = 0x59;

/// Locally administered, and unique because IP addresses are.
fn hardware_address(role: u8, ip: Ipv4Addr) -> MacAddr {
    let [a, b, c, d] = ip.octets();
    MacAddr([0x0a, role, a, b, c, d])
}

/// The name of the port towards this address: 12 of at most 15 bytes, unique and readable.
pub(crate) fn port_name(ip: Ipv4Addr) -> String {
    format!("veth{:08x}", u32::from(ip))
}
