//! The ranges of a cluster's addresses and ports: as options or the scenario say, or as a dump tells, or else those that
//! contain the addresses of its objects, or the defaults of kubeadm.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::Ipv4Net;
use proxy_core::controller::ServiceNetwork;
use proxy_core::objects::{Node, Object, Pod, Service, ServiceType};

use super::address::ipv4;
use super::{ClusterProblem, as_service};
use crate::manifest::Facts;
use crate::scenario::{Cni, FieldFault, Network, ObjectKey};

/// The ranges of a cluster, which do not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranges {
    /// The range of pod CIDRs.
    pub(super) cluster_cidr: Ipv4Net,
    /// What kube-proxy knows as cluster CIDR; `None` if Pods have addresses that no range explains.
    pub(super) proxy_cidr: Option<Ipv4Net>,
    /// True if the configuration of kube-proxy in a dump has another cluster CIDR, which is replaced.
    pub(super) replaces_proxy_cidr: bool,
    /// Ranges of ClusterIPs; at least one.
    pub(super) service_cidrs: Vec<Ipv4Net>,
    /// The range of NodePorts.
    pub(super) node_ports: RangeInclusive<u16>,
    /// The CNI plugin, when it is known.
    pub(super) cni: Option<Cni>,
}

/// kubeadm's defaults, with the cluster CIDR of flannel.
const CLUSTER_CIDR: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16);
const SERVICE_CIDR: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 12);

/// The usual size of ranges, and so of those that are derived.
const USUAL_PREFIX: u8 = 16;
/// The largest range of ClusterIPs: `validateClusterIPFlags`, cmd/kube-apiserver/app/options/validation.go.
const SERVICE_PREFIX_MIN: u8 = 12;
/// The smallest range of ClusterIPs to assume.
const SERVICE_PREFIX_MAX: u8 = 28;
/// The longest prefix that leaves a /24 for a node.
const CLUSTER_PREFIX_MAX: u8 = 24;

impl Ranges {
    pub(super) fn of(
        network: &Network,
        facts: &Facts,
        objects: &[Object],
        problems: &mut Vec<ClusterProblem>,
    ) -> Self {
        let found = Addresses::of(objects);
        let known = network.cluster_cidr.or_else(|| facts.cluster_cidr());
        let guess = if known.is_none() { found.cluster_cidr() } else { Guess::Default };
        let (cluster_cidr, proxy_cidr) = match (known, guess) {
            (Some(known), _) => (known, Some(known)),
            (None, Guess::Default) => (CLUSTER_CIDR, Some(CLUSTER_CIDR)),
            (None, Guess::Range(range)) => (range, Some(range)),
            (None, Guess::Unknown) => (CLUSTER_CIDR, None),
        };
        let has_configuration = objects.iter().any(|one| matches!(one, Object::KubeProxyConfiguration(_)));
        if !has_configuration {
            problems.extend(found.about(guess));
        }
        let service_cidrs = match (network.service_cidr, facts.service_cidrs()) {
            (Some(cidr), _) => vec![cidr],
            (None, told) if !told.is_empty() => told,
            (None, _) => vec![found.service_cidr(cluster_cidr)],
        };
        let is_small = cluster_cidr.prefix_len() > CLUSTER_PREFIX_MAX;
        Self {
            cluster_cidr: if is_small { CLUSTER_CIDR } else { cluster_cidr },
            proxy_cidr,
            replaces_proxy_cidr: network.cluster_cidr.is_some() && facts.proxy_yields,
            service_cidrs,
            node_ports: network
                .node_ports
                .clone()
                .or_else(|| facts.node_ports())
                .unwrap_or_else(|| ServiceNetwork::default().node_ports),
            cni: network.cni,
        }
    }

    /// What the API server allocates to Services.
    pub(super) fn service_network(&self) -> ServiceNetwork {
        // Further ranges would be used only when the first one is exhausted.
        let first = self.service_cidrs.first().copied().unwrap_or(SERVICE_CIDR);
        ServiceNetwork { cluster_ip_ranges: vec![first.into()], node_ports: self.node_ports.clone() }
    }

    /// All ranges of ClusterIPs as text.
    pub(super) fn service_cidrs_text(&self) -> String {
        self.service_cidrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// A range of Pods' addresses that nothing tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guess {
    /// Everything is in the default range.
    Default,
    /// The range that contains what is there.
    Range(Ipv4Net),
    /// Pods have addresses of the nodes' network.
    Unknown,
}

/// The addresses in manifests.
struct Addresses {
    first_node: Option<ObjectKey>,
    nodes: Vec<Ipv4Addr>,
    /// Pod CIDRs of nodes.
    pod_cidrs: Vec<Ipv4Net>,
    /// Addresses of Pods with a network of their own.
    pods: Vec<Ipv4Addr>,
    cluster_ips: Vec<Ipv4Addr>,
}

impl Addresses {
    fn of(objects: &[Object]) -> Self {
        let nodes: Vec<&Node> = objects
            .iter()
            .filter_map(|object| if let Object::Node(node) = object { Some(node) } else { None })
            .collect();
        let pods =
            objects.iter().filter_map(|object| if let Object::Pod(pod) = object { Some(pod) } else { None });
        let pods = pods.filter(|pod| !pod.spec.host_network && !super::status::is_finished(pod));
        Self {
            first_node: objects.iter().find(|one| matches!(one, Object::Node(_))).map(ObjectKey::of),
            nodes: nodes.iter().flat_map(|node| addresses_of(node)).collect(),
            pod_cidrs: nodes.iter().flat_map(|node| pod_cidrs_of(node)).collect(),
            pods: pods.filter_map(address_of).chain(addresses_of_endpoints(objects, &nodes)).collect(),
            cluster_ips: objects.iter().filter_map(as_service).flat_map(cluster_ips_of).collect(),
        }
    }

    fn cluster_cidr(&self) -> Guess {
        let nets: Vec<Ipv4Net> = match self.pod_cidrs.is_empty() {
            false => self.pod_cidrs.clone(),
            true => self.pods.iter().map(|ip| Ipv4Net::from(*ip)).collect(),
        };
        if nets.iter().all(|net| CLUSTER_CIDR.contains(net)) {
            return Guess::Default;
        }
        let others = self.nodes.iter().chain(&self.cluster_ips);
        let is_free = |range: &Ipv4Net| !others.clone().any(|ip| range.contains(ip));
        match smallest(&nets, 0).and_then(|range| widest_free(range, &nets, CLUSTER_PREFIX_MAX, is_free)) {
            Some(range) => Guess::Range(range),
            None => Guess::Unknown,
        }
    }

    /// A warning about a cluster CIDR that is not known for certain: kube-proxy masquerades by it.
    fn about(&self, guess: Guess) -> Option<ClusterProblem> {
        let (what, help) = match guess {
            Guess::Default => return None,
            Guess::Range(range) => (
                format!("kube-proxy's cluster CIDR is not known; assuming {range}, which contains the addresses of Pods"),
                "add kube-proxy's ConfigMap, or set it by --cluster-cidr or spec.network.clusterCIDR",
            ),
            Guess::Unknown => (
                "kube-proxy's cluster CIDR is not known; assuming none, because Pods have addresses of the nodes' network"
                    .to_owned(),
                "add kube-proxy's ConfigMap, or set it by --cluster-cidr or spec.network.clusterCIDR",
            ),
        };
        let key = self.first_node.clone()?;
        Some(ClusterProblem::warning(key, FieldFault::new(what).help(help).at("metadata.name")))
    }

    /// The range that contains all ClusterIPs, but no Pod and no node.
    fn service_cidr(&self, cluster_cidr: Ipv4Net) -> Ipv4Net {
        let ips: Vec<Ipv4Net> = self.cluster_ips.iter().map(|ip| Ipv4Net::from(*ip)).collect();
        if ips.iter().all(|ip| SERVICE_CIDR.contains(ip)) {
            return SERVICE_CIDR;
        }
        let is_free = |range: &Ipv4Net| {
            !self.nodes.iter().chain(&self.pods).any(|ip| range.contains(ip))
                && !self.pod_cidrs.iter().any(|net| range.contains(net))
                && !range.contains(&cluster_cidr)
        };
        let Some(least) = smallest(&ips, SERVICE_PREFIX_MIN) else { return SERVICE_CIDR };
        widest_free(least, &ips, SERVICE_PREFIX_MAX, is_free).unwrap_or(least)
    }
}

/// The widest part of a range that contains all of these, and is free.
fn widest_free(
    range: Ipv4Net,
    nets: &[Ipv4Net],
    prefix_max: u8,
    is_free: impl Fn(&Ipv4Net) -> bool,
) -> Option<Ipv4Net> {
    let first = nets.first()?;
    (range.prefix_len()..=prefix_max)
        .map(|prefix| Ipv4Net::new_assert(first.addr(), prefix).trunc())
        .find(|range| nets.iter().all(|net| range.contains(net)) && is_free(range))
}

/// The smallest network of a usual size that contains all of these; `None` if its prefix is shorter than `prefix_min`.
fn smallest(nets: &[Ipv4Net], prefix_min: u8) -> Option<Ipv4Net> {
    let first = nets.first()?;
    (prefix_min..=USUAL_PREFIX)
        .rev()
        .map(|prefix| Ipv4Net::new_assert(first.addr(), prefix).trunc())
        .find(|range| nets.iter().all(|net| range.contains(net)))
}

/// Addresses of Pods that only EndpointSlices name; those of nodes are of hostNetwork Pods.
fn addresses_of_endpoints(objects: &[Object], nodes: &[&Node]) -> Vec<Ipv4Addr> {
    let of_nodes: BTreeSet<Ipv4Addr> = nodes.iter().flat_map(|node| addresses_of(node)).collect();
    let slices = objects.iter().filter_map(super::as_slice).flat_map(|slice| &slice.endpoints);
    let pods = slices.filter(|one| one.target_ref.as_ref().is_some_and(|reference| reference.kind == "Pod"));
    let addresses = pods.flat_map(|one| &one.addresses).filter_map(|text| text.parse().ok());
    addresses.filter(|ip| !of_nodes.contains(ip)).collect()
}

fn addresses_of(node: &Node) -> Vec<Ipv4Addr> {
    node.status.addresses.iter().filter_map(|address| address.address.parse().ok()).collect()
}

fn pod_cidrs_of(node: &Node) -> impl Iterator<Item = Ipv4Net> {
    let list = node.spec.pod_cidrs.iter().chain([&node.spec.pod_cidr]);
    list.filter_map(|text| text.parse::<Ipv4Net>().ok()).take(1)
}

fn address_of(pod: &Pod) -> Option<Ipv4Addr> {
    let list = [&pod.status.pod_ip].into_iter().chain(pod.status.pod_ips.iter().map(|ip| &ip.ip));
    list.filter_map(|text| ipv4(text).ok().flatten()).next()
}

fn cluster_ips_of(service: &Service) -> Vec<Ipv4Addr> {
    if service.spec.service_type == ServiceType::ExternalName {
        return Vec::new();
    }
    let list = [&service.spec.cluster_ip].into_iter().chain(&service.spec.cluster_ips);
    list.filter_map(|text| text.parse().ok()).collect()
}
