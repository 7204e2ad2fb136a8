//! Who listens where.
//!
//! `containerPort` is informational: a Pod listens on the ports that its containers declare, and on those to which Services
//! and slices send connections, unless the scenario says on which. An endpoint on a node's address that belongs to no Pod
//! of the manifests, such as that of the Service `kubernetes`, is a process of the node.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use proxy_core::objects::{Endpoint, EndpointSlice, Kind, Pod, Protocol};

use super::target::{numeric_targets, selects, valid_port};
use super::{Cluster, ClusterPod, ClusterProblem, as_pod, as_service, as_slice};
use crate::scenario::{FieldFault, ObjectKey, ObjectName};

/// A protocol and a port.
type Port = (Protocol, u16);

/// Pods with a host port, and the address of the node that it is for.
type Owners<'a> = Vec<(Option<Ipv4Addr>, &'a ObjectName)>;

impl Cluster {
    /// Finds out who listens, when the slices are known.
    pub(super) fn settle_listeners(&mut self, problems: &mut Vec<ClusterProblem>) {
        let known = self.state.pods.iter().map(|pod| pod.name.clone()).collect();
        let endpoints = Endpoints::of(self.state.objects.iter().filter_map(as_slice), &known);
        let mut pods = std::mem::take(&mut self.state.pods);
        for pod in &mut pods {
            let key = ObjectKey { kind: Kind::Pod, name: pod.name.clone() };
            pod.listens = match (self.network.pods.get(&pod.name), self.stored.get(&key).and_then(as_pod)) {
                (Some(listens), _) => listens.clone(),
                (None, Some(object)) => self.listens(pod, object, &endpoints),
                (None, None) => pod.listens.clone(),
            };
        }
        self.state.pods = pods;
        self.share_host_ports(problems);
        self.check_host_ports(problems);
        self.state.node_listens = self.processes(&endpoints);
    }

    fn listens(&self, pod: &ClusterPod, object: &Pod, endpoints: &Endpoints) -> Vec<Port> {
        let mut ports: BTreeSet<Port> = pod.declared.iter().copied().collect();
        for service in self.stored.values().filter_map(as_service) {
            if selects(service, &object.metadata) {
                ports.extend(numeric_targets(service));
            }
        }
        ports.extend(endpoints.of_pods.get(&pod.name).into_iter().flatten());
        // The addresses of hostNetwork Pods are those of everything on their node.
        if !pod.is_host_network {
            ports.extend(endpoints.of_addresses.get(&pod.ip).into_iter().flatten());
        }
        ports.into_iter().collect()
    }

    /// Endpoints on the address of a node that are not hostNetwork Pods.
    fn processes(&self, endpoints: &Endpoints) -> BTreeMap<String, Vec<Port>> {
        let mut listens = BTreeMap::new();
        for node in &self.state.nodes {
            let further = self.node_addresses(&node.name).iter().map(|address| address.net.addr());
            let own = std::iter::once(node.ip).chain(further);
            let ports: BTreeSet<Port> =
                own.filter_map(|ip| endpoints.of_addresses.get(&ip)).flatten().copied().collect();
            let pods = self.state.pods.iter().filter(|pod| pod.is_host_network && pod.node == node.name);
            let taken: BTreeSet<Port> = pods.flat_map(|pod| &pod.listens).copied().collect();
            listens.insert(node.name.clone(), ports.difference(&taken).copied().collect());
        }
        listens
    }

    /// hostNetwork Pods share the ports of their node. The API server accepts two that declare the same port; the
    /// scheduler would place them on different nodes. The first one listens.
    fn share_host_ports(&mut self, problems: &mut Vec<ClusterProblem>) {
        let mut owners: BTreeMap<(String, Protocol, u16), ObjectName> = BTreeMap::new();
        let mut shared = Vec::new();
        for pod in self.state.pods.iter_mut().filter(|pod| pod.is_host_network) {
            let ClusterPod { name, node, listens, declared, .. } = pod;
            listens.retain(|(protocol, port)| match owners.entry((node.clone(), *protocol, *port)) {
                Entry::Vacant(entry) => {
                    entry.insert(name.clone());
                    true
                }
                Entry::Occupied(first) => {
                    if declared.contains(&(*protocol, *port)) {
                        shared.push((name.clone(), node.clone(), *protocol, *port, first.get().clone()));
                    }
                    false
                }
            });
        }
        for (name, node, protocol, port, first) in shared {
            let key = ObjectKey { kind: Kind::Pod, name };
            let what = format!(
                "the {} port {port} of {node} is used by two Pods, {first} and {}: {first} listens there",
                protocol.lower(),
                key.name
            );
            let fault = FieldFault::new(what).help("hostNetwork Pods share the ports of their node");
            let owner = self.owners.get(&key).cloned().unwrap_or(key);
            problems.push(ClusterProblem::warning(owner, fault.at("spec.containers")));
        }
    }
}

impl Cluster {
    /// A host port belongs to one Pod of a node: the scheduler would not bind the second one (`Fits`,
    /// pkg/scheduler/framework/plugins/nodeports/node_ports.go). Of two, the rules of the first translate all packets.
    fn check_host_ports(&self, problems: &mut Vec<ClusterProblem>) {
        let mut owners = BTreeMap::<(&str, Port), Owners<'_>>::new();
        for pod in self.state.pods.iter().filter(|pod| !pod.is_host_network) {
            for port in &pod.host_ports {
                // An unspecified address is every address.
                let address = match port.address {
                    Some(None) => continue,
                    Some(Some(ip)) if !ip.is_unspecified() => Some(ip),
                    Some(Some(_)) | None => None,
                };
                let taken = owners.entry((&pod.node, (port.protocol, port.port))).or_default();
                let overlaps = |other: Option<Ipv4Addr>| {
                    other.zip(address).is_none_or(|(other, address)| other == address)
                };
                match taken.iter().find(|(other, owner)| *owner != &pod.name && overlaps(*other)) {
                    Some((_, first)) => {
                        let key = ObjectKey { kind: Kind::Pod, name: pod.name.clone() };
                        let what = format!(
                            "the {} hostPort {} of {} is used by two Pods, {first} and {}: {first} has it",
                            port.protocol.lower(),
                            port.port,
                            pod.node,
                            pod.name
                        );
                        let fault = FieldFault::new(what).help("a scheduler binds them to different nodes");
                        let owner = self.owners.get(&key).cloned().unwrap_or(key);
                        problems.push(ClusterProblem::warning(owner, fault.at("spec.containers")));
                    }
                    None => taken.push((address, &pod.name)),
                }
            }
        }
    }
}

/// The ports of endpoints.
#[derive(Default)]
struct Endpoints {
    /// By the Pod that an endpoint names.
    of_pods: BTreeMap<ObjectName, BTreeSet<Port>>,
    /// By address, of endpoints that name no Pod of the manifests.
    of_addresses: BTreeMap<Ipv4Addr, BTreeSet<Port>>,
}

impl Endpoints {
    fn of<'a>(slices: impl Iterator<Item = &'a EndpointSlice>, known: &BTreeSet<ObjectName>) -> Self {
        let mut found = Self::default();
        for slice in slices {
            let ports: Vec<Port> = slice
                .ports
                .iter()
                .filter_map(|port| Some((port.protocol, valid_port(port.port?)?)))
                .collect();
            for endpoint in &slice.endpoints {
                found.add(slice, endpoint, &ports, known);
            }
        }
        found
    }

    fn add(
        &mut self,
        slice: &EndpointSlice,
        endpoint: &Endpoint,
        ports: &[Port],
        known: &BTreeSet<ObjectName>,
    ) {
        let pod = endpoint.target_ref.as_ref().filter(|reference| reference.kind == "Pod");
        let pod = pod.map(|pod| ObjectName::new(slice.metadata.namespace(), &pod.name));
        if let Some(name) = pod.filter(|name| known.contains(name)) {
            self.of_pods.entry(name).or_default().extend(ports);
            return;
        }
        for address in endpoint.addresses.iter().filter_map(|text| text.parse::<Ipv4Addr>().ok()) {
            self.of_addresses.entry(address).or_default().extend(ports);
        }
    }
}
