//! The cluster that results from manifests: the work of the API server, the scheduler, the controllers, the kubelet and
//! the CNI plugin.
//!
//! A [`Cluster`] is a value. Applying, deleting and setting return a new state that keeps what existed before:
//! addresses, nodes of Pods, NodePorts. The order of documents does not matter; where an order is needed, names are
//! compared, with numbers in them compared as numbers.
//!
//! Omitted fields and objects get these defaults:
//!
//! | omitted | default |
//! |---|---|
//! | a node's pod CIDR | the n-th node gets the n-th /24 of the cluster CIDR, from 1: `10.244.1.0/24` |
//! | a workload's Pods | `NAME-0`, `NAME-1`, …, to make up `replicas` together with existing Pods that match the selector |
//! | a Pod's node | among nodes with fewer than 110 Pods, the one with the fewest Pods of the same workload (or of none) |
//! | a Pod's address | the next address of its node's pod CIDR, from `.2`; `.1` is the gateway |
//! | a Pod's condition | running and ready |
//! | ClusterIP, NodePort, EndpointSlices | see `proxy_core::controller` |

mod address;
mod assume;
mod endpoints;
mod listeners;
mod natural;
mod nodes;
mod pods;
mod problem;
mod ranges;
mod schedule;
mod services;
mod status;
mod store;
mod target;
mod validate;
mod workloads;

pub use natural::natural_cmp;
pub use problem::ClusterProblem;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use proxy_core::objects::{EndpointSlice, Kind, KubeProxyConfiguration, Object, Protocol, Service};

use crate::manifest::Facts;
use crate::scenario::{Cni, ExternalHost, Network, NodeAddress, ObjectKey, ObjectName};
use ranges::Ranges;

/// A snapshot of a cluster and its network.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    network: Network,
    ranges: Ranges,
    /// Objects as stored by the API server after admission, except derived slices.
    stored: BTreeMap<ObjectKey, Object>,
    /// The workload that owns each generated Pod.
    owners: BTreeMap<ObjectKey, ObjectKey>,
    /// The number of the next Pod of each workload; only those of StatefulSets are reused.
    serials: BTreeMap<ObjectKey, u32>,
    /// The last address allocated on each node.
    last_given: BTreeMap<String, Ipv4Addr>,
    /// Derived state.
    state: State,
}

/// A change of a cluster's objects.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterChange {
    /// `kubectl apply` of these objects.
    Apply(Vec<Object>),
    /// `kubectl delete` of these objects, one after the other.
    Delete(Vec<ObjectKey>),
    /// Pods whose readiness probe returned a result, one after the other.
    Ready(Vec<(ObjectName, bool)>),
}

/// A cluster with its warnings, or all problems, at least one of which is an error.
pub type Settled = Result<(Cluster, Vec<ClusterProblem>), Vec<ClusterProblem>>;

/// State derived from the objects.
#[derive(Debug, Clone, PartialEq)]
struct State {
    lan: Ipv4Net,
    gateway: Option<Ipv4Addr>,
    nodes: Vec<ClusterNode>,
    pods: Vec<ClusterPod>,
    /// All objects, including derived slices.
    objects: Vec<Object>,
    /// The addresses of nodes besides the first InternalIP.
    node_addresses: BTreeMap<String, Vec<NodeAddress>>,
    /// Ports on which processes of a node listen that are not Pods of the manifests.
    node_listens: BTreeMap<String, Vec<(Protocol, u16)>>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNode {
    /// Its name.
    pub name: String,
    /// The address on the node network.
    pub ip: Ipv4Addr,
    /// The range of its Pods' addresses.
    pub pod_cidr: Ipv4Net,
    /// The first address of the pod CIDR: the CNI bridge, which is the gateway of the Pods.
    pub pod_gateway: Ipv4Addr,
}

/// A running Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPod {
    /// Its namespace and name.
    pub name: ObjectName,
    /// The node.
    pub node: String,
    /// The address; that of the node for hostNetwork Pods.
    pub ip: Ipv4Addr,
    /// True if it uses the node's network namespace.
    pub is_host_network: bool,
    /// Listening ports, sorted.
    pub listens: Vec<(Protocol, u16)>,
    /// The ports that its containers declare, sorted.
    pub declared: Vec<(Protocol, u16)>,
    /// Ports by name.
    pub named_ports: BTreeMap<String, (Protocol, u16)>,
    /// The ports of its node that its containers declare, in their order; without effect for hostNetwork Pods.
    pub host_ports: Vec<HostPort>,
}

/// A port of a node that belongs to a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The port of the node.
    pub port: u16,
    /// Only for this address of the node; `Some(None)` is an address that is not an IPv4 address.
    pub address: Option<Option<Ipv4Addr>>,
    /// The port of the Pod.
    pub target: u16,
}

impl Cluster {
    /// Builds the cluster that results from `objects`, and from what other documents tell.
    ///
    /// # Errors
    /// All problems, including warnings; at least one is an error.
    pub fn new(network: &Network, facts: &Facts, objects: Vec<Object>) -> Settled {
        let mut problems = Vec::new();
        let ranges = Ranges::of(network, facts, &objects, &mut problems);
        let empty = State {
            lan: ranges.cluster_cidr,
            gateway: None,
            nodes: Vec::new(),
            pods: Vec::new(),
            objects: Vec::new(),
            node_addresses: BTreeMap::new(),
            node_listens: BTreeMap::new(),
        };
        let cluster = Self {
            network: network.clone(),
            ranges,
            stored: BTreeMap::new(),
            owners: BTreeMap::new(),
            serials: BTreeMap::new(),
            last_given: BTreeMap::new(),
            state: empty,
        };
        match cluster.stored_and_settled(objects) {
            Ok((cluster, more)) => Ok((cluster, problems.into_iter().chain(more).collect())),
            Err(more) => Err(problems.into_iter().chain(more).collect()),
        }
    }

    /// The cluster after `kubectl apply` of these objects.
    ///
    /// # Errors
    /// All problems, including warnings; at least one is an error.
    pub fn apply(&self, objects: Vec<Object>) -> Settled {
        self.with_live_slices().stored_and_settled(objects)
    }

    /// The cluster after `kubectl delete` of this object; `None` if it does not exist.
    ///
    /// # Errors
    /// All problems of the remaining objects, including warnings; at least one is an error.
    pub fn delete(&self, object: &ObjectKey) -> Option<Settled> {
        let mut next = self.with_live_slices();
        next.remove(object)?;
        Some(next.settle(&BTreeSet::new()))
    }

    /// The cluster after a Pod's readiness probe returned this result; `None` if the Pod does not exist.
    ///
    /// # Errors
    /// All problems of the result, including warnings; at least one is an error.
    pub fn set_ready(&self, pod: &ObjectName, is_ready: bool) -> Option<Settled> {
        let mut next = self.with_live_slices();
        let key = ObjectKey { kind: Kind::Pod, name: pod.clone() };
        let Some(Object::Pod(pod)) = next.stored.get_mut(&key) else { return None };
        pods::set_condition(pod, is_ready);
        Some(next.settle(&BTreeSet::new()))
    }

    /// The cluster after a change that was validated.
    ///
    /// # Panics
    /// If the change is invalid: if [`Cluster::apply`], [`Cluster::delete`] or [`Cluster::set_ready`] rejects a part.
    pub fn after(&self, change: &ClusterChange) -> Self {
        let valid = |settled: Settled| settled.expect("a validated change").0;
        match change {
            ClusterChange::Apply(objects) => valid(self.apply(objects.clone())),
            ClusterChange::Delete(keys) => keys
                .iter()
                .fold(self.clone(), |cluster, key| valid(cluster.delete(key).expect("the object exists"))),
            ClusterChange::Ready(pods) => pods.iter().fold(self.clone(), |cluster, (pod, is_ready)| {
                valid(cluster.set_ready(pod, *is_ready).expect("the Pod exists"))
            }),
        }
    }

    /// The network, as specified by the scenario.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network of nodes and external hosts.
    pub fn lan(&self) -> Ipv4Net {
        self.state.lan
    }

    /// The default gateway of the nodes, if any.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.state.gateway
    }

    /// The addresses of a node besides the first InternalIP of its Node object.
    pub fn node_addresses(&self, node: &str) -> &[NodeAddress] {
        self.state.node_addresses.get(node).map_or(&[], Vec::as_slice)
    }

    /// Nodes, ordered by name.
    pub fn nodes(&self) -> &[ClusterNode] {
        &self.state.nodes
    }

    /// The node with that name.
    pub fn node(&self, name: &str) -> Option<&ClusterNode> {
        self.state.nodes.iter().find(|node| node.name == name)
    }

    /// Running Pods, ordered by name.
    pub fn pods(&self) -> &[ClusterPod] {
        &self.state.pods
    }

    /// The running Pod with that name.
    pub fn pod(&self, name: &ObjectName) -> Option<&ClusterPod> {
        self.state.pods.iter().find(|pod| pod.name == *name)
    }

    /// The running Pod with that address, except hostNetwork Pods.
    pub fn pod_at(&self, ip: Ipv4Addr) -> Option<&ClusterPod> {
        self.state.pods.iter().find(|pod| pod.ip == ip && !pod.is_host_network)
    }

    /// Ports on which processes of a node listen that are not Pods of the manifests.
    pub fn node_listens(&self, node: &str) -> &[(Protocol, u16)] {
        self.state.node_listens.get(node).map_or(&[], Vec::as_slice)
    }

    /// External hosts, in the order of the scenario.
    pub fn hosts(&self) -> &[ExternalHost] {
        &self.network.external_hosts
    }

    /// The external host with that name.
    pub fn host(&self, name: &str) -> Option<&ExternalHost> {
        self.network.external_hosts.iter().find(|host| host.name == name)
    }

    /// All objects, sorted, with allocated addresses and ports and derived slices.
    pub fn objects(&self) -> &[Object] {
        &self.state.objects
    }

    /// The Service with that name.
    pub fn service(&self, name: &ObjectName) -> Option<&Service> {
        self.services().find(|service| {
            service.metadata.namespace() == name.namespace && service.metadata.name == name.name
        })
    }

    /// All Services.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.state.objects.iter().filter_map(as_service)
    }

    /// All slices, including derived ones.
    pub fn slices(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.state.objects.iter().filter_map(as_slice)
    }

    /// The Node object with that name.
    pub fn node_object(&self, name: &str) -> Option<&proxy_core::objects::Node> {
        let key = ObjectKey { kind: Kind::Node, name: ObjectName::new("default", name) };
        match self.stored.get(&key) {
            Some(Object::Node(node)) => Some(node),
            Some(_) | None => None,
        }
    }

    /// The range of the nodes' pod CIDRs.
    pub const fn cluster_cidr(&self) -> Ipv4Net {
        self.ranges.cluster_cidr
    }

    /// The CNI plugin.
    pub fn cni(&self) -> Cni {
        self.ranges.cni.unwrap_or(Cni::Bridge)
    }

    /// kube-proxy's configuration: from the manifests, or else the default with the cluster CIDR.
    pub fn kube_proxy_configuration(&self) -> KubeProxyConfiguration {
        let given = self.stored.values().find_map(as_configuration).cloned();
        let cluster_cidr = self.ranges.proxy_cidr.map_or_else(String::new, |cidr| cidr.to_string());
        match given {
            Some(given) if self.ranges.replaces_proxy_cidr => {
                KubeProxyConfiguration { cluster_cidr, ..given }
            }
            Some(given) => given,
            None => KubeProxyConfiguration { cluster_cidr, ..KubeProxyConfiguration::default() },
        }
    }

    fn stored_and_settled(mut self, objects: Vec<Object>) -> Settled {
        let fresh = objects.iter().map(ObjectKey::of).collect();
        for object in objects {
            self.store(object);
        }
        self.settle(&fresh)
    }

    /// Runs every controller, and validates the result. `fresh`: the objects that are new.
    fn settle(mut self, fresh: &BTreeSet<ObjectKey>) -> Settled {
        let mut problems = Vec::new();
        self.validate(&mut problems);
        self.settle_nodes(&mut problems);
        self.choose_cni();
        self.settle_pods(fresh, &mut problems);
        self.settle_services(&mut problems);
        self.settle_listeners(&mut problems);
        self.check_endpoints(fresh, &mut problems);
        self.check_proxy(&mut problems);
        if problems.iter().any(ClusterProblem::is_error) { Err(problems) } else { Ok((self, problems)) }
    }
}

fn as_service(object: &Object) -> Option<&Service> {
    if let Object::Service(service) = object { Some(service) } else { None }
}

fn as_slice(object: &Object) -> Option<&EndpointSlice> {
    if let Object::EndpointSlice(slice) = object { Some(slice) } else { None }
}

fn as_configuration(object: &Object) -> Option<&KubeProxyConfiguration> {
    if let Object::KubeProxyConfiguration(configuration) = object { Some(configuration) } else { None }
}

fn as_pod(object: &Object) -> Option<&proxy_core::objects::Pod> {
    if let Object::Pod(pod) = object { Some(pod) } else { None }
}

#[cfg(test)]
mod tests;
