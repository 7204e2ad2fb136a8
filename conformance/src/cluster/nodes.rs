//! Nodes: addresses, pod CIDRs, and the network shared with external hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use proxy_core::objects::{self, Kind, Object};

use super::address::{ipv4, ipv4_net, is_host_address, nth};
use super::status::{is_finished, named_ip};
use super::{Cluster, ClusterNode, ClusterProblem, as_pod, natural_cmp};
use crate::netns::SWITCH;
use crate::scenario::{
    FieldFault, Gateway, Network, NodeAddress, NodeDevice, ObjectKey, ObjectName, Via, nearest,
};

/// Prefix length of allocated pod CIDRs (kube-controller-manager's --node-cidr-mask-size).
const POD_CIDR_PREFIX: u8 = 24;

/// Where pod CIDRs are taken from when the cluster CIDR is exhausted: the shared address space of RFC 6598.
const RESERVE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10);

impl Cluster {
    pub(super) fn settle_nodes(&mut self, problems: &mut Vec<ClusterProblem>) {
        let mut nodes: Vec<objects::Node> = self.stored.values().filter_map(as_node).cloned().collect();
        nodes.sort_by(|left, right| natural_cmp(&left.metadata.name, &right.metadata.name));
        let ips = node_ips(&nodes, problems);
        let cidrs = self.pod_cidrs(&mut nodes, &ips, problems);
        let pod_ips = self.pod_ips();
        for node in &nodes {
            check_name(&key(node), &node.metadata.name, problems);
            if node.metadata.name == SWITCH {
                let fault =
                    taken(SWITCH).expected("another name: it is reserved for the switch between nodes");
                problems.push(ClusterProblem::error(key(node), fault.at("metadata.name")));
            }
            self.stored.insert(key(node), Object::Node(node.clone()));
        }
        self.state.nodes = nodes
            .iter()
            .filter_map(|node| {
                let name = node.metadata.name.clone();
                let (ip, pod_cidr) = (*ips.get(&name)?, *cidrs.get(&name)?);
                // A network plugin that gives Pods the first address has no bridge with it.
                let pod_gateway = (1..254).filter_map(|index| nth(pod_cidr, index));
                let pod_gateway = pod_gateway.into_iter().find(|gateway| !pod_ips.contains(gateway))?;
                Some(ClusterNode { name, ip, pod_cidr, pod_gateway })
            })
            .collect();
        self.settle_lan(problems);
    }

    /// The pod CIDR of every node: the specified one, or the next free /24 of the cluster CIDR.
    fn pod_cidrs(
        &self,
        nodes: &mut [objects::Node],
        ips: &BTreeMap<String, Ipv4Addr>,
        problems: &mut Vec<ClusterProblem>,
    ) -> BTreeMap<String, Ipv4Net> {
        let cluster_cidr = self.ranges.cluster_cidr;
        let mut cidrs: BTreeMap<String, Ipv4Net> = BTreeMap::new();
        for node in nodes.iter() {
            let Some((path, net)) = named_pod_cidr(node, problems) else { continue };
            let overlapped = cidrs.iter().find(|(_, other)| other.contains(&net) || net.contains(*other));
            if let Some((other, _)) = overlapped {
                let fault = FieldFault::new(format!(
                    "the pod CIDR {net} overlaps that of {other}: {} gets another one, and a route to each of its Pods",
                    node.metadata.name
                ));
                problems.push(ClusterProblem::warning(key(node), fault.at(path)));
                continue;
            }
            if self.ranges.proxy_cidr.is_some_and(|cidr| !cidr.contains(&net)) {
                let fault =
                    FieldFault::new(format!("the pod CIDR {net} is outside the cluster CIDR {cluster_cidr}"))
                        .help("kube-proxy masquerades what comes from outside the cluster CIDR");
                problems.push(ClusterProblem::warning(key(node), fault.at(path)));
            }
            cidrs.insert(node.metadata.name.clone(), net);
        }
        let mut reserve = candidates(RESERVE).into_iter();
        let mut candidates = candidates(cluster_cidr).into_iter();
        for node in nodes {
            if cidrs.contains_key(&node.metadata.name) {
                continue;
            }
            let is_free = |candidate: &Ipv4Net| {
                cidrs.values().all(|taken| !taken.contains(candidate) && !candidate.contains(taken))
                    && !ips.values().any(|ip| candidate.contains(ip))
            };
            // A cluster whose network plugin uses no pod CIDRs may have more nodes than the range has room for.
            let Some(net) = candidates.by_ref().chain(reserve.by_ref()).find(is_free) else { continue };
            // A Node of a dump keeps what it says: kube-proxy reads it.
            if node.spec.pod_cidr.is_empty() && node.spec.pod_cidrs.is_empty() {
                node.spec.pod_cidr = net.to_string();
                node.spec.pod_cidrs = vec![net.to_string()];
            }
            cidrs.insert(node.metadata.name.clone(), net);
        }
        cidrs
    }

    /// The addresses of Pods in manifests.
    fn pod_ips(&self) -> BTreeSet<Ipv4Addr> {
        let pods = self.stored.values().filter_map(as_pod).filter(|pod| !is_finished(pod));
        pods.filter_map(|pod| Some(named_ip(pod).ok()??.1)).collect()
    }

    /// The network of nodes and external hosts, and its members.
    fn settle_lan(&mut self, problems: &mut Vec<ClusterProblem>) {
        let mut owners: BTreeMap<Ipv4Addr, String> = BTreeMap::new();
        for node in &self.state.nodes {
            if let Some(other) = owners.insert(node.ip, node.name.clone()) {
                let key = ObjectKey { kind: Kind::Node, name: ObjectName::new("default", &node.name) };
                let fault =
                    FieldFault::new(format!("the address {} of this node is in use by {other}", node.ip));
                problems.push(ClusterProblem::error(key, fault.at("status.addresses")));
            }
        }
        for (node, own) in &self.network.nodes {
            for (index, NodeAddress { net, .. }) in own.addresses.iter().enumerate() {
                let path = format!("spec.network.nodes.{node}.addresses[{index}].address");
                if let Some(other) = owners.insert(net.addr(), node.clone()) {
                    let fault = FieldFault::new(format!("the address {} is in use by {other}", net.addr()));
                    problems.push(ClusterProblem::of_scenario(fault.at(path)));
                    continue;
                }
                let services = self.ranges.service_cidrs.iter().map(|cidr| ("the service CIDR", *cidr));
                let networks: Vec<_> =
                    services.chain([("the cluster CIDR", self.ranges.cluster_cidr)]).collect();
                for (what, other) in networks.iter().filter(|(_, other)| other.contains(&net.addr())) {
                    let fault = FieldFault::new(format!("the address {} is in {what} {other}", net.addr()));
                    problems.push(ClusterProblem::of_scenario(fault.at(path.as_str())));
                }
            }
        }
        let mut names = BTreeSet::from([SWITCH]);
        for (index, host) in self.network.external_hosts.iter().enumerate() {
            let path = format!("spec.network.externalHosts[{index}]");
            if !names.insert(&*host.name) || self.node(&host.name).is_some() {
                let fault = taken(&host.name)
                    .expected("a name that is not used by another external host, a node or the switch");
                problems.push(ClusterProblem::of_scenario(fault.at(format!("{path}.name"))));
            }
            if let Some(other) = owners.insert(host.ip, host.name.clone()) {
                let fault = FieldFault::new(format!("the address {} is in use by {other}", host.ip));
                problems.push(ClusterProblem::of_scenario(fault.at(format!("{path}.ip"))));
            }
            let routes = host.routes.iter().enumerate();
            let routes = routes.map(|(index, route)| (format!("{path}.routes[{index}].via"), &route.via));
            let gateway = host.gateway.iter().map(|via| (format!("{path}.gateway"), via));
            for (path, via) in routes.chain(gateway) {
                if let Via::Node(name) = via
                    && self.node_object(name).is_none()
                {
                    problems.push(ClusterProblem::of_scenario(self.no_next_hop(name).at(path)));
                }
            }
        }
        let addresses: Vec<Ipv4Addr> = self.state.nodes.iter().map(|node| node.ip).collect();
        self.state.lan = self.network.node_cidr.unwrap_or_else(|| smallest_lan(&addresses));
        self.state.gateway = match self.network.gateway {
            Gateway::None => None,
            Gateway::Address(address) => Some(address),
            Gateway::First => nth(self.state.lan, 1),
        };
        self.state.node_addresses = self.further_addresses();
        self.check_lan(problems);
    }

    /// The addresses that the scenario gives nodes, and further InternalIPs of the Node objects, which are on `eth0`.
    fn further_addresses(&self) -> BTreeMap<String, Vec<NodeAddress>> {
        let mut all: BTreeMap<String, Vec<NodeAddress>> =
            self.network.nodes.iter().map(|(name, own)| (name.clone(), own.addresses.clone())).collect();
        let hosts = self.network.external_hosts.iter().map(|host| host.ip);
        let mut taken: BTreeSet<Ipv4Addr> =
            self.state.nodes.iter().map(|node| node.ip).chain(hosts).collect();
        taken.extend(all.values().flatten().map(|address| address.net.addr()));
        let lan = self.state.lan;
        for node in &self.state.nodes {
            let Some(object) = self.node_object(&node.name) else { continue };
            let internal = object.status.addresses.iter().filter(|one| one.address_type == "InternalIP");
            for ip in internal.filter_map(|one| one.address.parse::<Ipv4Addr>().ok()) {
                if taken.insert(ip) {
                    let prefix = if lan.contains(&ip) { lan.prefix_len() } else { 32 };
                    let net = Ipv4Net::new_assert(ip, prefix);
                    all.entry(node.name.clone())
                        .or_default()
                        .push(NodeAddress { device: NodeDevice::Uplink, net });
                }
            }
        }
        all
    }

    fn no_next_hop(&self, name: &str) -> FieldFault {
        let known: Vec<&str> = self.state.nodes.iter().map(|node| node.name.as_str()).collect();
        let nodes = known.iter().map(|known| format!("node/{known}")).collect::<Vec<_>>().join(", ");
        let fault =
            FieldFault::new(format!("no node {name:?}")).expected(format!("an address or one of {nodes}"));
        match nearest(name, &known) {
            Some(nearest) => fault.help(format!("did you mean \"node/{nearest}\"?")),
            None => fault,
        }
    }

    fn check_lan(&self, problems: &mut Vec<ClusterProblem>) {
        let lan = self.state.lan;
        for node in self.state.nodes.iter().filter(|node| !is_host_address(lan, node.ip)) {
            let key = ObjectKey { kind: Kind::Node, name: ObjectName::new("default", &node.name) };
            let fault = FieldFault::new(format!(
                "the address {} of {} is not on the nodes' network",
                node.ip, node.name
            ))
            .expected(format!("an address in {lan}, because of spec.network.nodeCIDR"));
            problems.push(ClusterProblem::error(key, fault.at("status.addresses")));
        }
        for (index, host) in self.network.external_hosts.iter().enumerate() {
            if !is_host_address(lan, host.ip) && !self.state.nodes.is_empty() {
                let fault = FieldFault::new(format!(
                    "the address {} of {} is not on the nodes' network",
                    host.ip, host.name
                ))
                .expected(format!("an address in {lan}"))
                .help("external hosts and nodes share one network; spec.network.nodeCIDR makes it larger");
                problems.push(ClusterProblem::of_scenario(
                    fault.at(format!("spec.network.externalHosts[{index}].ip")),
                ));
            }
        }
        // The API server accepts both; Pods in the nodes' network are usual in clouds. What a dump tells works somewhere.
        let Network { cluster_cidr, service_cidr, node_cidr, .. } = &self.network;
        let is_chosen = [cluster_cidr, service_cidr, node_cidr].into_iter().any(Option::is_some);
        for service_cidr in self.ranges.service_cidrs.iter().filter(|_| is_chosen) {
            let networks = [
                ("the nodes' network", lan, "spec.network.nodeCIDR"),
                ("the cluster CIDR", self.ranges.cluster_cidr, "spec.network.clusterCIDR"),
            ];
            for (what, net, path) in networks {
                if net.contains(service_cidr) || service_cidr.contains(&net) {
                    let fault =
                        FieldFault::new(format!("{what} {net} overlaps the service CIDR {service_cidr}"));
                    problems.push(ClusterProblem::warning_of_scenario(fault.at(path)));
                }
            }
        }
        if let Gateway::Address(address) = self.network.gateway
            && !is_host_address(lan, address)
        {
            let fault = FieldFault::new(format!("the gateway {address} is not on the nodes' network {lan}"));
            problems.push(ClusterProblem::of_scenario(fault.at("spec.network.gateway")));
        }
    }
}

fn as_node(object: &Object) -> Option<&objects::Node> {
    if let Object::Node(node) = object { Some(node) } else { None }
}

fn key(node: &objects::Node) -> ObjectKey {
    ObjectKey { kind: Kind::Node, name: ObjectName::new("default", &node.metadata.name) }
}

fn taken(name: &str) -> FieldFault {
    FieldFault::new(format!("the name {name:?} is taken"))
}

/// The first InternalIP of each node, or else its first ExternalIP.
fn node_ips(nodes: &[objects::Node], problems: &mut Vec<ClusterProblem>) -> BTreeMap<String, Ipv4Addr> {
    let mut ips = BTreeMap::new();
    for node in nodes {
        let mut found = None;
        for wanted in ["InternalIP", "ExternalIP"] {
            let addresses = node.status.addresses.iter().enumerate();
            for (index, address) in addresses.filter(|(_, address)| address.address_type == wanted) {
                match ipv4(&address.address) {
                    Ok(ip) => found = found.or(ip),
                    Err(fault) => {
                        let path = format!("status.addresses[{index}].address");
                        problems.push(ClusterProblem::error(key(node), fault.at(path)));
                        return ips;
                    }
                }
            }
        }
        match found {
            Some(ip) => {
                ips.insert(node.metadata.name.clone(), ip);
            }
            None => {
                let name = &node.metadata.name;
                let fault = FieldFault::new(format!("node {name} has no address, and is left out"))
                    .expected("an IPv4 address of type InternalIP")
                    .help("add `status: {addresses: [{type: InternalIP, address: 192.168.0.11}]}`");
                problems.push(ClusterProblem::warning(key(node), fault.at("status.addresses")));
            }
        }
    }
    ips
}

/// The first IPv4 network in `podCIDRs` or `podCIDR`, and its path.
fn named_pod_cidr(node: &objects::Node, problems: &mut Vec<ClusterProblem>) -> Option<(String, Ipv4Net)> {
    let list = node.spec.pod_cidrs.iter().enumerate();
    let named = list.map(|(index, text)| (format!("spec.podCIDRs[{index}]"), text));
    let single = (!node.spec.pod_cidr.is_empty()).then(|| ("spec.podCIDR".to_owned(), &node.spec.pod_cidr));
    for (path, text) in named.chain(single) {
        match ipv4_net(text) {
            Ok(Some(net)) if net.prefix_len() > 30 => {
                let fault = FieldFault::new(format!("{net} is too small for a gateway and a Pod"));
                problems.push(ClusterProblem::error(key(node), fault.at(path)));
                return None;
            }
            Ok(Some(net)) => return Some((path, net)),
            Ok(None) => {}
            Err(fault) => {
                problems.push(ClusterProblem::error(key(node), fault.at(path)));
                return None;
            }
        }
    }
    None
}

/// The /24s of the cluster CIDR from the second on, the first one last: node 1 gets `10.244.1.0/24`.
fn candidates(cluster_cidr: Ipv4Net) -> Vec<Ipv4Net> {
    /// More than the nodes of any scenario.
    const CANDIDATES_MAX: usize = 4096;
    let subnets = cluster_cidr.subnets(POD_CIDR_PREFIX);
    let mut candidates: Vec<_> = subnets.into_iter().flatten().take(CANDIDATES_MAX).collect();
    if !candidates.is_empty() {
        candidates.rotate_left(1);
    }
    candidates
}

/// The smallest network, at least a /24, that contains all addresses as host addresses.
fn smallest_lan(addresses: &[Ipv4Addr]) -> Ipv4Net {
    let Some(first) = addresses.first() else {
        return Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 24);
    };
    (0..=24)
        .rev()
        .map(|prefix| Ipv4Net::new_assert(*first, prefix).trunc())
        .find(|net| addresses.iter().all(|address| is_host_address(*net, *address)))
        .unwrap_or_else(|| Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0))
}

/// Names and namespaces become part of network namespaces, rules, commands and responses.
///
/// Kubernetes: `IsDNS1123Subdomain`, `IsDNS1123Label`, apimachinery pkg/util/validation/validation.go.
pub(super) fn check_name(object: &ObjectKey, name: &str, problems: &mut Vec<ClusterProblem>) {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.iter().all(|byte| alphanumeric(*byte) || *byte == b'-')
            && bytes.first().is_some_and(|byte| alphanumeric(*byte))
            && bytes.last().is_some_and(|byte| alphanumeric(*byte))
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        let fault = FieldFault::new(format!("invalid name {name:?} of a {}", object.kind.name()))
            .expected("a DNS name: lower case letters, digits, '-' and '.'");
        problems.push(ClusterProblem::error(object.clone(), fault.at("metadata.name")));
    }
    let namespace = object.name.namespace.as_str();
    if namespace.len() > 63 || !is_label(namespace) {
        let fault = FieldFault::new(format!("invalid namespace {namespace:?}"))
            .expected("at most 63 lower case letters, digits and '-'");
        problems.push(ClusterProblem::error(object.clone(), fault.at("metadata.namespace")));
    }
}
