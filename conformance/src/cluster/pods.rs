//! Pods: created for Deployments, bound to nodes, assigned addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use proxy_core::objects::{self, Kind, Object, PodCondition, PodIp, Protocol};

use super::address::{is_host_address, nth};
use super::nodes::check_name;
use super::schedule::is_schedulable;
use super::status::{is_finished, named_ip};
use super::target::{containers, valid_port};
use super::{Cluster, ClusterNode, ClusterPod, ClusterProblem, HostPort, as_pod, natural_cmp};
use crate::scenario::{Cni, FieldFault, ObjectKey, ObjectName, nearest};

const OUTSIDE: &str = "kube-proxy masquerades what comes from outside the cluster CIDR";

/// The kubelet's default for `maxPods`.
const PODS_PER_NODE_MAX: u32 = 110;

impl Cluster {
    pub(super) fn settle_pods(&mut self, fresh: &BTreeSet<ObjectKey>, problems: &mut Vec<ClusterProblem>) {
        self.run_workloads(problems);
        self.take_addresses_of_endpoints(fresh);
        let mut keys: Vec<ObjectKey> =
            self.stored.keys().filter(|key| key.kind == Kind::Pod).cloned().collect();
        keys.sort_by(|left, right| {
            let by_namespace = left.name.namespace.cmp(&right.name.namespace);
            by_namespace.then_with(|| natural_cmp(&left.name.name, &right.name.name))
        });
        for key in &keys {
            check_name(key, &key.name.name, problems);
        }
        self.bind(&keys, problems);
        self.give_addresses(&keys, problems);
        keys.extend(self.assume_endpoints(fresh, problems));
        for key in &keys {
            if let Some(Object::Pod(pod)) = self.stored.get_mut(key) {
                run(pod);
            }
        }
        self.state.pods = keys.iter().filter_map(|key| self.running_pod(key)).collect();
        self.check_pods(problems);
    }

    /// The scheduler: a Pod without a node is bound to the node with the fewest of its siblings that has room.
    fn bind(&mut self, keys: &[ObjectKey], problems: &mut Vec<ClusterProblem>) {
        let names: Vec<String> = self.state.nodes.iter().map(|node| node.name.clone()).collect();
        let mut load = Occupancy::default();
        for key in keys {
            if let Some(pod) = self.stored.get(key).and_then(as_pod)
                && !pod.spec.node_name.is_empty()
                && !is_finished(pod)
            {
                load.add(self.owners.get(key), &pod.spec.node_name);
            }
        }
        for key in keys {
            let owner = self.owners.get(key).cloned();
            let Some(Object::Pod(pod)) = self.stored.get_mut(key) else { continue };
            if !pod.spec.node_name.is_empty() {
                // An existing but invalid node has been reported already.
                let node =
                    ObjectKey { kind: Kind::Node, name: ObjectName::new("default", &pod.spec.node_name) };
                if !is_finished(pod) && !self.stored.contains_key(&node) {
                    problems.push(missing_node(key, self.stored.get(key), &names));
                }
                continue;
            }
            if is_finished(pod) || is_left_pending(pod) {
                continue;
            }
            let spec = pod.spec.clone();
            let fitting: Vec<String> = names
                .iter()
                .filter(|name| self.node_object(name).is_some_and(|node| is_schedulable(&spec, node)))
                .cloned()
                .collect();
            let Some(Object::Pod(pod)) = self.stored.get_mut(key) else { continue };
            match load.lightest(owner.as_ref(), &fitting) {
                Some(node) => {
                    load.add(owner.as_ref(), node);
                    pod.spec.node_name.clone_from(node);
                }
                None if names.is_empty() => {}
                None => {
                    let what = match fitting.is_empty() {
                        true => "its nodeSelector and tolerations fit no node".to_owned(),
                        false => format!("every node that it fits has {PODS_PER_NODE_MAX} Pods already"),
                    };
                    let fault = FieldFault::new(format!("Pod {} stays pending: {what}", key.name));
                    problems.push(ClusterProblem::warning(
                        owner.unwrap_or_else(|| key.clone()),
                        fault.at("metadata.name"),
                    ));
                }
            }
        }
    }

    /// The CNI plugin's IPAM (host-local): the next free address after the last one allocated.
    fn give_addresses(&mut self, keys: &[ObjectKey], problems: &mut Vec<ClusterProblem>) {
        let mut taken: BTreeSet<Ipv4Addr> = BTreeSet::new();
        for key in keys {
            let pod = self.stored.get(key).and_then(as_pod).filter(|pod| !is_finished(pod));
            taken.extend(pod.and_then(|pod| named_ip(pod).ok().flatten()).map(|(_, ip)| ip));
        }
        for key in keys {
            let owner = self.owners.get(key).unwrap_or(key).clone();
            let Some(Object::Pod(pod)) = self.stored.get_mut(key) else { continue };
            let Some(node) = self.state.nodes.iter().find(|node| node.name == pod.spec.node_name) else {
                continue;
            };
            if is_finished(pod) || !pod.status.pod_ip.is_empty() || !pod.status.pod_ips.is_empty() {
                continue;
            }
            let ip = if pod.spec.host_network {
                Some(node.ip)
            } else {
                next_address(node, self.last_given.get(&node.name).copied(), &taken)
            };
            let Some(ip) = ip else {
                let fault = FieldFault::new(format!(
                    "the pod CIDR {} has no free address for {}",
                    node.pod_cidr, key.name
                ));
                problems.push(ClusterProblem::error(owner, fault.at("metadata.name")));
                continue;
            };
            if !pod.spec.host_network {
                taken.insert(ip);
                self.last_given.insert(node.name.clone(), ip);
            }
            pod.status.pod_ip = ip.to_string();
            pod.status.pod_ips = vec![PodIp { ip: ip.to_string() }];
        }
    }

    fn running_pod(&self, key: &ObjectKey) -> Option<ClusterPod> {
        let pod = self.stored.get(key).and_then(as_pod).filter(|pod| !is_finished(pod))?;
        let (_, ip) = named_ip(pod).ok().flatten()?;
        self.node(&pod.spec.node_name)?;
        let ports = containers(pod).flat_map(|container| &container.ports);
        let declared: BTreeSet<(Protocol, u16)> =
            ports.filter_map(|port| Some((port.protocol, valid_port(port.container_port)?))).collect();
        let declared: Vec<_> = declared.into_iter().collect();
        let named_ports: BTreeMap<_, _> = containers(pod)
            .flat_map(|container| &container.ports)
            .filter(|port| !port.name.is_empty())
            .filter_map(|port| Some((port.name.clone(), (port.protocol, valid_port(port.container_port)?))))
            .collect();
        let ports = containers(pod).flat_map(|container| &container.ports);
        let host_ports = ports.filter_map(|port| {
            Some(HostPort {
                protocol: port.protocol,
                port: valid_port(port.host_port)?,
                address: (!port.host_ip.is_empty()).then(|| port.host_ip.parse().ok()),
                target: valid_port(port.container_port)?,
            })
        });
        Some(ClusterPod {
            name: key.name.clone(),
            node: pod.spec.node_name.clone(),
            ip,
            is_host_network: pod.spec.host_network,
            listens: declared.clone(),
            declared,
            named_ports,
            host_ports: host_ports.collect(),
        })
    }

    fn check_pods(&mut self, problems: &mut Vec<ClusterProblem>) {
        let mut owners: BTreeMap<Ipv4Addr, ObjectKey> = BTreeMap::new();
        let mut left_out = BTreeSet::new();
        for (key, pod) in self.stored.iter().filter_map(|(key, object)| Some((key, as_pod(object)?))) {
            if is_finished(pod) {
                continue;
            }
            let (path, ip) = match named_ip(pod) {
                Ok(Some(named)) => named,
                Ok(None) => {
                    if !pod.status.pod_ip.is_empty() {
                        let fault = FieldFault::new(format!(
                            "{} is not an IPv4 address: Pod {} is left out",
                            pod.status.pod_ip, key.name
                        ));
                        let fault = fault.help("IPv6 is not implemented yet").at("status.podIP");
                        problems.push(ClusterProblem::warning(key.clone(), fault));
                    }
                    continue;
                }
                Err(fault) => {
                    problems.push(ClusterProblem::error(key.clone(), fault));
                    continue;
                }
            };
            let Some(node) = self.node(&pod.spec.node_name) else { continue };
            if pod.spec.host_network {
                if ip != node.ip {
                    let fault = FieldFault::new(format!(
                        "{ip} is not the address of node {}: nobody answers there",
                        node.name
                    ));
                    let fault = fault.expected(format!("{}, because of hostNetwork", node.ip)).at(path);
                    problems.push(ClusterProblem::warning(key.clone(), fault));
                }
                continue;
            }
            let is_outside = self.ranges.proxy_cidr.is_some_and(|cidr| !cidr.contains(&ip));
            // One of them: a cluster has thousands of Pods.
            let is_first = !problems.iter().any(|problem| problem.fault.help == OUTSIDE);
            if is_outside
                && is_first
                && self.stored.values().all(|object| super::as_configuration(object).is_none())
            {
                let cidr = self.ranges.cluster_cidr;
                let fault =
                    FieldFault::new(format!("the Pod's address {ip} is outside the cluster CIDR {cidr}"))
                        .help(OUTSIDE)
                        .at(path.as_str());
                problems.push(ClusterProblem::warning(key.clone(), fault));
            }
            if let Some(other) = owners.get(&ip) {
                let fault = FieldFault::new(format!(
                    "the address {ip} is used by two Pods, {} and {}: {} is left out",
                    other.name, key.name, key.name
                ));
                problems.push(ClusterProblem::warning(key.clone(), fault.at(path)).related(
                    other.clone(),
                    "status.podIP",
                    "first used here",
                ));
                left_out.insert(key.name.clone());
                continue;
            }
            let node_or_host = self.state.nodes.iter().find(|node| node.ip == ip).map(|node| &node.name);
            let node_or_host =
                node_or_host.or_else(|| Some(&self.hosts().iter().find(|host| host.ip == ip)?.name));
            if let Some(other) = node_or_host {
                let fault = FieldFault::new(format!(
                    "the address {ip} of Pod {} is that of {other}: the Pod is left out",
                    key.name
                ));
                problems.push(ClusterProblem::warning(key.clone(), fault.at(path)));
                left_out.insert(key.name.clone());
                continue;
            }
            owners.insert(ip, key.clone());
        }
        self.state.pods.retain(|pod| !left_out.contains(&pod.name));
    }

    /// Without a CNI plugin in the scenario: a bridge per node, or routed Pods if the network plugin gives them addresses
    /// outside the pod CIDRs of their nodes. It stays so.
    pub(super) fn choose_cni(&mut self) {
        let is_elsewhere = |pod: &objects::Pod| {
            let node = self.node(&pod.spec.node_name);
            let ip = named_ip(pod).ok().flatten().map(|(_, ip)| ip);
            node.zip(ip).is_some_and(|(node, ip)| !is_host_address(node.pod_cidr, ip))
        };
        if self.ranges.cni.is_none() {
            let mut pods = self.stored.values().filter_map(as_pod);
            let is_routed = pods.any(|pod| !pod.spec.host_network && !is_finished(pod) && is_elsewhere(pod));
            self.ranges.cni = Some(if is_routed { Cni::Ptp } else { Cni::Bridge });
        }
    }
}

/// The number of Pods on each node: all of them, and those of one Deployment (or of none).
#[derive(Default)]
struct Occupancy {
    all: BTreeMap<String, u32>,
    siblings: BTreeMap<Option<ObjectKey>, BTreeMap<String, u32>>,
}

impl Occupancy {
    fn add(&mut self, owner: Option<&ObjectKey>, node: &str) {
        *self.all.entry(node.to_owned()).or_default() += 1;
        *self.siblings.entry(owner.cloned()).or_default().entry(node.to_owned()).or_default() += 1;
    }

    /// The first node with the fewest siblings among those with room.
    fn lightest<'a>(&self, owner: Option<&ObjectKey>, nodes: &'a [String]) -> Option<&'a String> {
        let siblings = self.siblings.get(&owner.cloned());
        let has_room = |node: &&String| self.all.get(*node).is_none_or(|count| *count < PODS_PER_NODE_MAX);
        let count = |node: &&String| siblings.and_then(|counts| counts.get(*node)).copied().unwrap_or(0);
        nodes.iter().filter(has_room).min_by_key(count)
    }
}

/// Sets condition `Ready`.
pub(super) fn set_condition(pod: &mut objects::Pod, is_ready: bool) {
    let status = if is_ready { "True" } else { "False" }.to_owned();
    match pod.status.conditions.iter_mut().find(|condition| condition.condition_type == "Ready") {
        Some(condition) => condition.status = status,
        None => pod.status.conditions.push(PodCondition { condition_type: "Ready".to_owned(), status }),
    }
}

/// The kubelet: a Pod without a status is running and ready.
fn run(pod: &mut objects::Pod) {
    if is_finished(pod) {
        return;
    }
    if pod.status.phase.is_empty() {
        pod.status.phase = "Running".to_owned();
    }
    if pod.status.conditions.is_empty() {
        set_condition(pod, true);
    }
}

fn missing_node(key: &ObjectKey, pod: Option<&Object>, names: &[String]) -> ClusterProblem {
    let name = pod.and_then(as_pod).map(|pod| pod.spec.node_name.clone()).unwrap_or_default();
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let expected = match known.as_slice() {
        [] => "a manifest of kind Node with this name".to_owned(),
        known => format!("one of {}", known.join(", ")),
    };
    let fault = FieldFault::new(format!("no node {name:?}: Pod {} is left out", key.name)).expected(expected);
    let fault = match nearest(&name, &known) {
        Some(nearest) => fault.help(format!("did you mean {nearest:?}?")),
        None => fault,
    };
    ClusterProblem::warning(key.clone(), fault.at("spec.nodeName"))
}

/// True if the scheduler found no node for the Pod of a dump.
fn is_left_pending(pod: &objects::Pod) -> bool {
    let is_unscheduled =
        |condition: &PodCondition| condition.condition_type == "PodScheduled" && condition.status == "False";
    pod.status.conditions.iter().any(is_unscheduled)
}

fn next_address(node: &ClusterNode, last: Option<Ipv4Addr>, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let size = 1_u32 << (32 - node.pod_cidr.prefix_len()).min(31);
    let base = u32::from(node.pod_cidr.network());
    let start = last.map_or(2, |last| (u32::from(last) - base) + 1);
    let indexes = (start..size).chain(2..start.min(size));
    indexes
        .filter_map(|index| nth(node.pod_cidr, index))
        .find(|ip| is_host_address(node.pod_cidr, *ip) && *ip != node.pod_gateway && !taken.contains(ip))
}
