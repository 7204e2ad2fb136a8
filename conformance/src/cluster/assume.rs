//! Endpoints that are not Pods of the manifests: people give Services and EndpointSlices, and not always the Pods.
//!
//! Address, node and port of such an endpoint are known, so a Pod is assumed there, or an external host if the address is of
//! the nodes' network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use proxy_core::objects::{
    EndpointSlice, Endpoints, Kind, Object, ObjectMeta, ObjectReference, Pod, PodIp, PodSpec, Protocol,
};

use super::address::is_host_address;
use super::pods::set_condition;
use super::status::named_ip;
use super::target::valid_port;
use super::{Cluster, ClusterProblem, as_pod, as_service};
use crate::scenario::{ExternalHost, FieldFault, ObjectKey, ObjectName};

/// The label of slices with the name of their Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An endpoint of a slice or of Endpoints.
struct Candidate {
    /// The object, and the path of the endpoint.
    origin: (ObjectKey, String),
    service: ObjectName,
    ip: Ipv4Addr,
    node: String,
    pod: Option<ObjectName>,
    is_ready: bool,
    ports: Vec<(Protocol, u16)>,
}

/// What an address turned out to be.
enum Found {
    Known,
    /// A Pod on a node.
    Pod(String),
    Host,
    /// Nobody, and why.
    Nobody(String),
}

impl Cluster {
    /// A Pod without an address has that of the endpoint that names it.
    pub(super) fn take_addresses_of_endpoints(&mut self, fresh: &BTreeSet<ObjectKey>) {
        for candidate in self.candidates(fresh) {
            let Some(name) = candidate.pod else { continue };
            if let Some(Object::Pod(pod)) = self.stored.get_mut(&ObjectKey { kind: Kind::Pod, name })
                && pod.status.pod_ip.is_empty()
                && pod.status.pod_ips.is_empty()
                && !pod.spec.host_network
            {
                let is_there = pod.spec.node_name.is_empty() || pod.spec.node_name == candidate.node;
                if is_there && !candidate.node.is_empty() {
                    pod.spec.node_name = candidate.node;
                }
                pod.status.pod_ip = candidate.ip.to_string();
                pod.status.pod_ips = vec![PodIp { ip: candidate.ip.to_string() }];
            }
        }
    }

    /// Adds the Pods and external hosts that new slices and Endpoints imply; returns the keys of the Pods.
    pub(super) fn assume_endpoints(
        &mut self,
        fresh: &BTreeSet<ObjectKey>,
        problems: &mut Vec<ClusterProblem>,
    ) -> Vec<ObjectKey> {
        let mut keys = Vec::new();
        // One warning of each sort: a dump has thousands of endpoints.
        let mut said: BTreeMap<u8, (ObjectKey, String, String, usize)> = BTreeMap::new();
        let mut known = self.known_addresses();
        // Hosts that are assumed listen on the ports of all their endpoints.
        let mut assumed: BTreeSet<Ipv4Addr> = BTreeSet::new();
        for candidate in self.candidates(fresh) {
            let ip = candidate.ip;
            let (key, path) = candidate.origin.clone();
            let (kind, what) = match self.what_is(&candidate, &known) {
                Found::Known => {
                    if assumed.contains(&ip) {
                        self.listen_as_well(&candidate);
                    }
                    continue;
                }
                Found::Pod(node) => {
                    let pod = self.assume_pod(&candidate, &node);
                    let what = format!(
                        "the endpoint {ip} is not a Pod of these files; assuming Pod {} on {node}",
                        pod.name
                    );
                    keys.push(pod);
                    (0, what)
                }
                Found::Host => {
                    let name = format!("endpoint-{}", ip.to_string().replace('.', "-"));
                    let what = format!(
                        "the endpoint {ip} is not a Pod, a node or a host of these files; assuming an external host {name}"
                    );
                    let listen: BTreeSet<_> = candidate.ports.into_iter().collect();
                    let listen = listen.into_iter().collect();
                    let host = ExternalHost { name, ip, gateway: None, routes: Vec::new(), listen };
                    self.network.external_hosts.push(host);
                    assumed.insert(ip);
                    (1, what)
                }
                Found::Nobody(why) => (2, format!("the endpoint {ip} {why}: nobody answers there")),
            };
            known.insert(ip);
            said.entry(kind).or_insert_with(|| (key, path, what, 0)).3 += 1;
        }
        for (key, path, what, count) in said.into_values() {
            let more = if count > 1 { format!("; and {} more", count - 1) } else { String::new() };
            problems.push(ClusterProblem::warning(key, FieldFault::new(format!("{what}{more}")).at(path)));
        }
        keys
    }

    /// The addresses of Pods, nodes, hosts and Services.
    fn known_addresses(&self) -> BTreeSet<Ipv4Addr> {
        let pods = self.stored.values().filter_map(as_pod);
        let mut known: BTreeSet<Ipv4Addr> = pods.filter_map(|pod| Some(named_ip(pod).ok()??.1)).collect();
        for node in &self.state.nodes {
            known.insert(node.ip);
            known.extend(self.node_addresses(&node.name).iter().map(|one| one.net.addr()));
        }
        for service in self.stored.values().filter_map(as_service) {
            let texts = service.spec.external_ips.iter().chain([&service.spec.cluster_ip]);
            known.extend(texts.filter_map(|text| text.parse::<Ipv4Addr>().ok()));
        }
        known.extend(self.hosts().iter().map(|host| host.ip));
        known
    }

    /// Another port of a host that is assumed.
    fn listen_as_well(&mut self, candidate: &Candidate) {
        let hosts = &mut self.network.external_hosts;
        if let Some(host) = hosts.iter_mut().find(|host| host.ip == candidate.ip) {
            host.listen.extend(&candidate.ports);
            host.listen.sort_unstable();
            host.listen.dedup();
        }
    }

    fn what_is(&self, candidate: &Candidate, known: &BTreeSet<Ipv4Addr>) -> Found {
        let ip = candidate.ip;
        if known.contains(&ip) {
            return Found::Known;
        }
        let named = candidate.pod.clone().map(|name| ObjectKey { kind: Kind::Pod, name });
        if let Some(pod) = named.and_then(|key| self.stored.get(&key)).and_then(as_pod) {
            return Found::Nobody(format!(
                "is not the address of Pod {}, which is {}",
                pod.metadata.name, pod.status.pod_ip
            ));
        }
        let of_cidr = || self.state.nodes.iter().find(|node| node.pod_cidr.contains(&ip));
        if let Some(node) = self.node(&candidate.node).or_else(of_cidr) {
            return Found::Pod(node.name.clone());
        }
        // Hosts cannot be added later.
        let is_first = self.state.objects.is_empty();
        if is_host_address(self.state.lan, ip) && is_first {
            Found::Host
        } else {
            Found::Nobody(format!(
                "is not on the nodes' network {}, and not a Pod of these files",
                self.state.lan
            ))
        }
    }

    fn assume_pod(&mut self, candidate: &Candidate, node: &str) -> ObjectKey {
        let own = format!("endpoint-{}", candidate.ip.to_string().replace('.', "-"));
        let own = ObjectName::new(&candidate.service.namespace, own);
        let name = candidate.pod.clone().unwrap_or(own);
        // The labels that its Service selects: slices that are derived later have the same endpoint.
        let service = ObjectKey { kind: Kind::Service, name: candidate.service.clone() };
        let labels = self.stored.get(&service).and_then(as_service);
        let labels = labels.map(|service| service.spec.selector.clone()).unwrap_or_default();
        let mut pod = Pod {
            metadata: ObjectMeta {
                name: name.name.clone(),
                namespace: name.namespace.clone(),
                labels,
                ..ObjectMeta::default()
            },
            spec: PodSpec { node_name: node.to_owned(), ..PodSpec::default() },
            ..Pod::default()
        };
        pod.status.pod_ip = candidate.ip.to_string();
        pod.status.pod_ips = vec![PodIp { ip: candidate.ip.to_string() }];
        set_condition(&mut pod, candidate.is_ready);
        let key = ObjectKey { kind: Kind::Pod, name };
        self.stored.insert(key.clone(), Object::Pod(pod));
        key
    }

    /// The endpoints of new slices and Endpoints, in order.
    fn candidates(&self, fresh: &BTreeSet<ObjectKey>) -> Vec<Candidate> {
        let mut found = Vec::new();
        for (key, object) in self.stored.iter().filter(|(key, _)| fresh.contains(key)) {
            match object {
                Object::EndpointSlice(slice) => of_slice(key, slice, &mut found),
                Object::Endpoints(endpoints) if self.is_used(key) => of_endpoints(key, endpoints, &mut found),
                Object::Endpoints(_)
                | Object::Namespace(_)
                | Object::Node(_)
                | Object::Pod(_)
                | Object::Workload(_)
                | Object::Service(_)
                | Object::KubeProxyConfiguration(_) => {}
            }
        }
        found
    }

    /// True for Endpoints that are mirrored to slices: those of a Service without selector.
    fn is_used(&self, endpoints: &ObjectKey) -> bool {
        let service = ObjectKey { kind: Kind::Service, name: endpoints.name.clone() };
        self.stored.get(&service).and_then(as_service).is_some_and(|service| service.spec.selector.is_empty())
    }
}

fn of_slice(key: &ObjectKey, slice: &EndpointSlice, found: &mut Vec<Candidate>) {
    let Some(service) = slice.metadata.labels.get(SERVICE_NAME) else { return };
    let ports = slice.ports.iter();
    let ports: Vec<_> = ports.filter_map(|port| Some((port.protocol, valid_port(port.port?)?))).collect();
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        for ip in endpoint.addresses.iter().filter_map(|text| text.parse().ok()) {
            found.push(Candidate {
                origin: (key.clone(), format!("endpoints[{index}].addresses")),
                service: ObjectName::new(&key.name.namespace, service),
                ip,
                node: endpoint.node_name.clone().unwrap_or_default(),
                pod: pod_of(key, endpoint.target_ref.as_ref()),
                is_ready: endpoint.conditions.ready.unwrap_or(true),
                ports: ports.clone(),
            });
        }
    }
}

fn of_endpoints(key: &ObjectKey, endpoints: &Endpoints, found: &mut Vec<Candidate>) {
    for (index, subset) in endpoints.subsets.iter().enumerate() {
        let ports = subset.ports.iter();
        let ports: Vec<_> = ports.filter_map(|port| Some((port.protocol, valid_port(port.port)?))).collect();
        let lists = [
            ("addresses", &subset.addresses, true),
            ("notReadyAddresses", &subset.not_ready_addresses, false),
        ];
        for (list, addresses, is_ready) in lists {
            for (nth, address) in addresses.iter().enumerate() {
                let Ok(ip) = address.ip.parse() else { continue };
                found.push(Candidate {
                    origin: (key.clone(), format!("subsets[{index}].{list}[{nth}].ip")),
                    service: key.name.clone(),
                    ip,
                    node: address.node_name.clone().unwrap_or_default(),
                    pod: pod_of(key, address.target_ref.as_ref()),
                    is_ready,
                    ports: ports.clone(),
                });
            }
        }
    }
}

/// The Pod that an endpoint names, in the namespace of its slice.
fn pod_of(key: &ObjectKey, reference: Option<&ObjectReference>) -> Option<ObjectName> {
    let pod = reference.filter(|reference| reference.kind == "Pod" && !reference.name.is_empty())?;
    Some(ObjectName::new(&key.name.namespace, &pod.name))
}
