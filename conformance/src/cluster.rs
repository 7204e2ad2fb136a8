//! The cluster that manifests come to: what the API server, the scheduler, the controllers, the kubelet and the CNI
//! plugin would have made of them.
//!
//! A [`Cluster`] is a value. Applying, deleting and setting give a new state in which what was there before stays as it
//! was: addresses, nodes of Pods, NodePorts. Nothing depends on the order of documents; where an order is needed it is
//! that of names, with numbers in them compared as numbers.
//!
//! What manifests leave out is chosen so:
//!
//! | left out | chosen |
//! |---|---|
//! | a node's pod CIDR | the n-th node gets the n-th /24 of the cluster CIDR, from 1: `10.244.1.0/24` |
//! | a Deployment's Pods | `NAME-0`, `NAME-1`, … as many as `replicas` says beyond those that its selector finds |
//! | a Pod's node | of those with fewer than 110 Pods, the one with the fewest of the same Deployment (or of none) |
//! | a Pod's address | the next one of its node's pod CIDR, from `.2`; `.1` is the gateway |
//! | a Pod's condition | running and ready |
//! | ClusterIP, NodePort, EndpointSlices | see `proxy_core::controller` |

mod address;
mod deployments;
mod natural;
mod nodes;
mod pods;
mod problem;
mod services;
mod store;
mod target;

pub use natural::natural_cmp;
pub use problem::Problem;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use proxy_core::controller::ServiceNetwork;
use proxy_core::objects::{EndpointSlice, Kind, KubeProxyConfiguration, Object, Protocol, Service};

use crate::manifest::ObjectKey;
use crate::scenario::{ExternalHost, Network, ObjectName, ObjectReference};

/// A cluster and the network beneath it, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    network: Network,
    /// Objects as the API server has them after admission, except slices that are derived.
    stored: BTreeMap<ObjectKey, Object>,
    /// The Deployment of every Pod that was made for one.
    owners: BTreeMap<ObjectKey, ObjectKey>,
    /// For each Deployment the number of its next Pod; numbers are not used twice.
    serials: BTreeMap<ObjectKey, u32>,
    /// For each node the address that was given last.
    last_given: BTreeMap<String, Ipv4Addr>,
    /// What follows from the above.
    state: State,
}

/// A cluster with its warnings, or everything that is wrong, of which at least one is an error.
pub type Settled = Result<(Cluster, Vec<Problem>), Vec<Problem>>;

/// What follows from the objects.
#[derive(Debug, Clone, PartialEq)]
struct State {
    lan: Ipv4Net,
    gateway: Option<Ipv4Addr>,
    nodes: Vec<Node>,
    pods: Vec<Pod>,
    /// All objects, derived slices included.
    objects: Vec<Object>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its address on the network of the nodes.
    pub ip: Ipv4Addr,
    /// From which its Pods have their addresses.
    pub pod_cidr: Ipv4Net,
    /// The first address of the pod CIDR: that of the CNI bridge, and the gateway of the Pods.
    pub pod_gateway: Ipv4Addr,
}

/// A running Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace and name.
    pub name: ObjectName,
    /// The node that it is on.
    pub node: String,
    /// Its address; that of the node for Pods in the node's network namespace.
    pub ip: Ipv4Addr,
    /// It shares the node's network namespace.
    pub is_host_network: bool,
    /// Ports on which it answers, sorted.
    pub listens: Vec<(Protocol, u16)>,
    /// Ports by name.
    pub named_ports: BTreeMap<String, (Protocol, u16)>,
}

impl Cluster {
    /// The cluster that `objects` come to.
    ///
    /// # Errors
    /// Everything that is wrong, warnings included; at least one is an error.
    pub fn new(network: &Network, objects: Vec<Object>) -> Settled {
        let empty = State {
            lan: network.service_cidr,
            gateway: None,
            nodes: Vec::new(),
            pods: Vec::new(),
            objects: Vec::new(),
        };
        let cluster = Self {
            network: network.clone(),
            stored: BTreeMap::new(),
            owners: BTreeMap::new(),
            serials: BTreeMap::new(),
            last_given: BTreeMap::new(),
            state: empty,
        };
        cluster.stored_and_settled(objects)
    }

    /// This cluster after `kubectl apply` of these objects.
    ///
    /// # Errors
    /// Everything that is wrong, warnings included; at least one is an error.
    pub fn apply(&self, objects: Vec<Object>) -> Settled {
        self.with_live_slices().stored_and_settled(objects)
    }

    /// This cluster after `kubectl delete` of this object; `None` if it is not there.
    ///
    /// # Errors
    /// Everything that is wrong with what is left, warnings included; at least one is an error.
    pub fn delete(&self, object: &ObjectReference) -> Option<Settled> {
        let mut next = self.with_live_slices();
        next.remove(&ObjectKey { kind: object.kind, name: object.name.clone() })?;
        Some(next.settle())
    }

    /// This cluster after the readiness probe of a Pod has given that answer; `None` if there is no such Pod.
    ///
    /// # Errors
    /// Everything that is wrong with the result, warnings included; at least one is an error.
    pub fn set_ready(&self, pod: &ObjectName, is_ready: bool) -> Option<Settled> {
        let mut next = self.with_live_slices();
        let key = ObjectKey { kind: Kind::Pod, name: pod.clone() };
        let Some(Object::Pod(pod)) = next.stored.get_mut(&key) else { return None };
        pods::set_condition(pod, is_ready);
        Some(next.settle())
    }

    /// The network beneath it, as the scenario says.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network that nodes and external hosts share.
    pub fn lan(&self) -> Ipv4Net {
        self.state.lan
    }

    /// The default gateway of the nodes, if they have one.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.state.gateway
    }

    /// Nodes in the order of their names.
    pub fn nodes(&self) -> &[Node] {
        &self.state.nodes
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.state.nodes.iter().find(|node| node.name == name)
    }

    /// Running Pods in the order of their names.
    pub fn pods(&self) -> &[Pod] {
        &self.state.pods
    }

    /// The running Pod of that name.
    pub fn pod(&self, name: &ObjectName) -> Option<&Pod> {
        self.state.pods.iter().find(|pod| pod.name == *name)
    }

    /// The running Pod with that address of its own.
    pub fn pod_at(&self, ip: Ipv4Addr) -> Option<&Pod> {
        self.state.pods.iter().find(|pod| pod.ip == ip && !pod.is_host_network)
    }

    /// Machines outside, in the order of the scenario.
    pub fn hosts(&self) -> &[ExternalHost] {
        &self.network.external_hosts
    }

    /// The machine outside of that name.
    pub fn host(&self, name: &str) -> Option<&ExternalHost> {
        self.network.external_hosts.iter().find(|host| host.name == name)
    }

    /// All objects, sorted: addresses and ports allocated, derived slices included.
    pub fn objects(&self) -> &[Object] {
        &self.state.objects
    }

    /// The Service of that name.
    pub fn service(&self, name: &ObjectName) -> Option<&Service> {
        self.services().find(|service| {
            service.metadata.namespace() == name.namespace && service.metadata.name == name.name
        })
    }

    /// All Services.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.state.objects.iter().filter_map(as_service)
    }

    /// All slices, derived ones included.
    pub fn slices(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.state.objects.iter().filter_map(as_slice)
    }

    /// The Node object of that name.
    pub fn node_object(&self, name: &str) -> Option<&proxy_core::objects::Node> {
        let key = ObjectKey { kind: Kind::Node, name: ObjectName::new("default", name) };
        match self.stored.get(&key) {
            Some(Object::Node(node)) => Some(node),
            Some(_) | None => None,
        }
    }

    /// kube-proxy's configuration: that of the manifests, or else one that knows the cluster CIDR.
    pub fn kube_proxy_configuration(&self) -> KubeProxyConfiguration {
        let given = self.stored.values().find_map(as_configuration).cloned();
        given.unwrap_or_else(|| KubeProxyConfiguration {
            cluster_cidr: self.network.cluster_cidr.to_string(),
            ..KubeProxyConfiguration::default()
        })
    }

    fn stored_and_settled(mut self, objects: Vec<Object>) -> Settled {
        for object in objects {
            self.store(object);
        }
        self.settle()
    }

    /// Lets every controller do its part, and looks at the result.
    fn settle(mut self) -> Settled {
        let mut problems = Vec::new();
        self.settle_nodes(&mut problems);
        self.settle_pods(&mut problems);
        self.settle_services(&mut problems);
        self.check_proxy(&mut problems);
        if problems.iter().any(Problem::is_error) { Err(problems) } else { Ok((self, problems)) }
    }
}

/// What a cluster with this network gives to its Services.
pub(crate) fn service_network(network: &Network) -> ServiceNetwork {
    ServiceNetwork { cluster_ip_ranges: vec![network.service_cidr.into()], ..ServiceNetwork::default() }
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
