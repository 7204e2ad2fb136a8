//! Pods: made for Deployments, bound to nodes, given addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use proxy_core::objects::{
    self, Container, Deployment, Kind, LabelSelector, Object, ObjectMeta, PodCondition, PodIp, Protocol,
};

use super::address::{ipv4, is_host_address, nth};
use super::nodes::check_name;
use super::{Cluster, Node, Pod, Problem, as_pod, natural_cmp};
use crate::manifest::ObjectKey;
use crate::scenario::{FieldFault, ObjectName};

/// Pods of one Deployment. More than any scenario needs; a larger number is a typing error.
const REPLICAS_MAX: i32 = 5_000;

impl Cluster {
    pub(super) fn settle_pods(&mut self, problems: &mut Vec<Problem>) {
        self.run_deployments(problems);
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
        for key in &keys {
            if let Some(Object::Pod(pod)) = self.stored.get_mut(key) {
                run(pod);
            }
        }
        self.state.pods = keys.iter().filter_map(|key| self.running_pod(key)).collect();
        self.check_pods(problems);
    }

    /// The Deployment controller: as many Pods as there should be.
    fn run_deployments(&mut self, problems: &mut Vec<Problem>) {
        let deployments: Vec<(ObjectKey, Deployment)> = self
            .stored
            .iter()
            .filter_map(|(key, object)| match object {
                Object::Deployment(deployment) => Some((key.clone(), deployment.clone())),
                Object::Namespace(_)
                | Object::Node(_)
                | Object::Pod(_)
                | Object::Service(_)
                | Object::EndpointSlice(_)
                | Object::Endpoints(_)
                | Object::KubeProxyConfiguration(_) => None,
            })
            .collect();
        for (key, deployment) in deployments {
            let replicas = deployment.spec.replicas.unwrap_or(1);
            if !(0..=REPLICAS_MAX).contains(&replicas) {
                let fault = FieldFault::new(format!("{replicas} is no number of Pods"));
                let fault = fault.expected(format!("0 to {REPLICAS_MAX}")).at("spec.replicas");
                problems.push(Problem::error(key, fault));
                continue;
            }
            if !selects(&deployment.spec.selector, &deployment.spec.template.metadata) {
                let fault = FieldFault::new("the selector does not select the Pods of the template")
                    .expected("labels of spec.template.metadata.labels");
                problems.push(Problem::error(key, fault.at("spec.selector")));
                continue;
            }
            self.run_deployment(&key, &deployment, usize::try_from(replicas).unwrap_or(0));
        }
    }

    fn run_deployment(&mut self, key: &ObjectKey, deployment: &Deployment, replicas: usize) {
        let is_outdated = |pod: &objects::Pod| !is_of_template(pod, deployment);
        let owned: Vec<ObjectKey> =
            self.owners.iter().filter(|(_, owner)| *owner == key).map(|(pod, _)| pod.clone()).collect();
        for pod in owned {
            if self.stored.get(&pod).and_then(as_pod).is_none_or(is_outdated) {
                self.stored.remove(&pod);
                self.owners.remove(&pod);
            }
        }
        let mut present: Vec<ObjectKey> = self
            .stored
            .iter()
            .filter(|(pod, object)| {
                pod.name.namespace == key.name.namespace
                    && as_pod(object).is_some_and(|pod| {
                        !is_finished(pod) && selects(&deployment.spec.selector, &pod.metadata)
                    })
            })
            .map(|(pod, _)| pod.clone())
            .collect();
        // Scaling down takes the youngest of those that were made here.
        present.sort_by(|left, right| natural_cmp(&left.name.name, &right.name.name));
        while present.len() > replicas {
            let Some(index) = present.iter().rposition(|pod| self.owners.get(pod) == Some(key)) else {
                break;
            };
            let pod = present.remove(index);
            self.stored.remove(&pod);
            self.owners.remove(&pod);
        }
        for _ in present.len()..replicas {
            self.make_pod(key, deployment);
        }
    }

    fn make_pod(&mut self, owner: &ObjectKey, deployment: &Deployment) {
        let serial = self.serials.entry(owner.clone()).or_default();
        let key = loop {
            let name = format!("{}-{serial}", owner.name.name);
            *serial += 1;
            let key = ObjectKey { kind: Kind::Pod, name: ObjectName::new(&owner.name.namespace, name) };
            if !self.stored.contains_key(&key) {
                break key;
            }
        };
        let pod = objects::Pod {
            metadata: ObjectMeta {
                name: key.name.name.clone(),
                namespace: key.name.namespace.clone(),
                ..deployment.spec.template.metadata.clone()
            },
            spec: deployment.spec.template.spec.clone(),
            ..objects::Pod::default()
        };
        self.owners.insert(key.clone(), owner.clone());
        self.stored.insert(key, Object::Pod(pod));
    }

    /// The scheduler: a Pod without a node goes where the fewest of its siblings are.
    fn bind(&mut self, keys: &[ObjectKey], problems: &mut Vec<Problem>) {
        let names: Vec<String> = self.state.nodes.iter().map(|node| node.name.clone()).collect();
        let mut counts: BTreeMap<(Option<ObjectKey>, String), u32> = BTreeMap::new();
        for key in keys {
            if let Some(pod) = self.stored.get(key).and_then(as_pod)
                && !pod.spec.node_name.is_empty()
            {
                *counts.entry((self.owners.get(key).cloned(), pod.spec.node_name.clone())).or_default() += 1;
            }
        }
        for key in keys {
            let owner = self.owners.get(key).cloned();
            let Some(Object::Pod(pod)) = self.stored.get_mut(key) else { continue };
            if !pod.spec.node_name.is_empty() {
                if !is_finished(pod) && self.state.nodes.iter().all(|node| node.name != pod.spec.node_name) {
                    // A node that is there but at fault has been spoken of.
                    let node =
                        ObjectKey { kind: Kind::Node, name: ObjectName::new("default", &pod.spec.node_name) };
                    if !self.stored.contains_key(&node) {
                        problems.push(missing_node(key, self.stored.get(key), &names));
                    }
                }
                continue;
            }
            let count = |node: &String| counts.get(&(owner.clone(), node.clone())).copied().unwrap_or(0);
            let Some(node) = names.iter().min_by_key(|node| count(node)).cloned() else { continue };
            *counts.entry((owner, node.clone())).or_default() += 1;
            pod.spec.node_name = node;
        }
    }

    /// The CNI plugin's address management (host-local): the next free address after the one that was given last.
    fn give_addresses(&mut self, keys: &[ObjectKey], problems: &mut Vec<Problem>) {
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
                    "the pod CIDR {} has no address left for {}",
                    node.pod_cidr, key.name
                ));
                problems.push(Problem::error(owner, fault.at("metadata.name")));
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

    fn running_pod(&self, key: &ObjectKey) -> Option<Pod> {
        let pod = self.stored.get(key).and_then(as_pod).filter(|pod| !is_finished(pod))?;
        let (_, ip) = named_ip(pod).ok().flatten()?;
        let named_ports: BTreeMap<_, _> = containers(pod)
            .flat_map(|container| &container.ports)
            .filter(|port| !port.name.is_empty())
            .filter_map(|port| Some((port.name.clone(), (port.protocol, valid_port(port.container_port)?))))
            .collect();
        Some(Pod {
            name: key.name.clone(),
            node: pod.spec.node_name.clone(),
            ip,
            is_host_network: pod.spec.host_network,
            listens: self.listens(pod),
            named_ports,
        })
    }

    /// Ports on which a Pod answers: those that its containers declare. Declaring ports is optional in Kubernetes; a
    /// Pod that declares none answers on those that Services and slices send to it.
    fn listens(&self, pod: &objects::Pod) -> Vec<(Protocol, u16)> {
        let declared = containers(pod).flat_map(|container| &container.ports);
        let mut ports: BTreeSet<(Protocol, u16)> =
            declared.filter_map(|port| Some((port.protocol, valid_port(port.container_port)?))).collect();
        if ports.is_empty() {
            for service in self.stored.values().filter_map(super::as_service) {
                if super::services::selects(service, &pod.metadata) {
                    ports.extend(super::services::numeric_targets(service));
                }
            }
            for slice in self.stored.values().filter_map(super::as_slice) {
                let is_in = slice.endpoints.iter().any(|one| one.addresses.contains(&pod.status.pod_ip));
                let numbers = slice.ports.iter().filter(|_| is_in);
                ports.extend(numbers.filter_map(|port| Some((port.protocol, valid_port(port.port?)?))));
            }
        }
        ports.into_iter().collect()
    }

    fn check_pods(&self, problems: &mut Vec<Problem>) {
        let mut owners: BTreeMap<Ipv4Addr, ObjectKey> = BTreeMap::new();
        for (key, pod) in self.stored.iter().filter_map(|(key, object)| Some((key, as_pod(object)?))) {
            if is_finished(pod) {
                continue;
            }
            let (path, ip) = match named_ip(pod) {
                Ok(Some(named)) => named,
                Ok(None) => {
                    if !pod.status.pod_ip.is_empty() {
                        let fault = FieldFault::new(format!("{} is no IPv4 address", pod.status.pod_ip));
                        let fault = fault.help("IPv6 is not yet executed").at("status.podIP");
                        problems.push(Problem::error(key.clone(), fault));
                    }
                    continue;
                }
                Err(fault) => {
                    problems.push(Problem::error(key.clone(), fault));
                    continue;
                }
            };
            let Some(node) = self.node(&pod.spec.node_name) else { continue };
            if pod.spec.host_network {
                if ip != node.ip {
                    let fault = FieldFault::new(format!("{ip} is not the address of node {}", node.name));
                    let fault = fault.expected(format!("{}, because of hostNetwork", node.ip)).at(path);
                    problems.push(Problem::error(key.clone(), fault));
                }
                continue;
            }
            if !self.network.cluster_cidr.contains(&ip) {
                let cidr = self.network.cluster_cidr;
                let fault =
                    FieldFault::new(format!("the Pod's address {ip} is outside the cluster CIDR {cidr}"));
                problems.push(Problem::error(
                    key.clone(),
                    fault.expected(format!("an address in {}", node.pod_cidr)).at(path),
                ));
            } else if !is_host_address(node.pod_cidr, ip) || ip == node.pod_gateway {
                let fault = FieldFault::new(format!("{} does not give the address {ip} to Pods", node.name));
                let expected =
                    format!("an address in {}, other than the gateway {}", node.pod_cidr, node.pod_gateway);
                problems.push(Problem::error(key.clone(), fault.expected(expected).at(path)));
            } else if let Some(other) = owners.get(&ip) {
                let fault = FieldFault::new(format!(
                    "the address {ip} is given to two Pods, {} and {}",
                    other.name, key.name
                ));
                problems.push(Problem::error(key.clone(), fault.at(path)).related(
                    other.clone(),
                    "status.podIP",
                    "taken here",
                ));
            }
            owners.insert(ip, key.clone());
        }
    }
}

/// Sets the condition `Ready`.
pub(super) fn set_condition(pod: &mut objects::Pod, is_ready: bool) {
    let status = if is_ready { "True" } else { "False" }.to_owned();
    match pod.status.conditions.iter_mut().find(|condition| condition.condition_type == "Ready") {
        Some(condition) => condition.status = status,
        None => pod.status.conditions.push(PodCondition { condition_type: "Ready".to_owned(), status }),
    }
}

/// The kubelet: a Pod of which nothing else is said runs and is ready.
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

/// It has run and does not run any more.
fn is_finished(pod: &objects::Pod) -> bool {
    matches!(pod.status.phase.as_str(), "Succeeded" | "Failed")
}

/// Whether a Pod was made from this template, as it is now.
fn is_of_template(pod: &objects::Pod, deployment: &Deployment) -> bool {
    let template = &deployment.spec.template;
    let bound = objects::PodSpec { node_name: pod.spec.node_name.clone(), ..template.spec.clone() };
    let is_same_node = template.spec.node_name.is_empty() || template.spec.node_name == pod.spec.node_name;
    pod.metadata.labels == template.metadata.labels && pod.spec == bound && is_same_node
}

fn missing_node(key: &ObjectKey, pod: Option<&Object>, names: &[String]) -> Problem {
    let name = pod.and_then(as_pod).map(|pod| pod.spec.node_name.clone()).unwrap_or_default();
    let fault = FieldFault::new(format!("there is no node {name:?}"))
        .expected(format!("one of {}", names.join(", ")))
        .at("spec.nodeName");
    Problem::error(key.clone(), fault)
}

/// The first IPv4 address that a Pod's status names, and its path.
fn named_ip(pod: &objects::Pod) -> Result<Option<(String, Ipv4Addr)>, FieldFault> {
    let single = ("status.podIP".to_owned(), &pod.status.pod_ip);
    let list = pod.status.pod_ips.iter().enumerate();
    let list = list.map(|(index, ip)| (format!("status.podIPs[{index}].ip"), &ip.ip));
    for (path, text) in std::iter::once(single).chain(list).filter(|(_, text)| !text.is_empty()) {
        if let Some(ip) = ipv4(text).map_err(|fault| fault.at(&*path))? {
            return Ok(Some((path, ip)));
        }
    }
    Ok(None)
}

fn next_address(node: &Node, last: Option<Ipv4Addr>, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let size = 1_u32 << (32 - node.pod_cidr.prefix_len()).min(31);
    let base = u32::from(node.pod_cidr.network());
    let start = last.map_or(2, |last| (u32::from(last) - base) + 1);
    let indexes = (start..size).chain(2..start.min(size));
    indexes
        .filter_map(|index| nth(node.pod_cidr, index))
        .find(|ip| is_host_address(node.pod_cidr, *ip) && !taken.contains(ip))
}

/// Containers that run beside each other: init containers only if they are sidecars.
pub(super) fn containers(pod: &objects::Pod) -> impl Iterator<Item = &Container> {
    let sidecars = pod.spec.init_containers.iter().filter(|container| container.restart_policy == "Always");
    pod.spec.containers.iter().chain(sidecars)
}

pub(super) fn valid_port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port != 0)
}

/// Kubernetes: `LabelSelectorAsSelector`, apimachinery pkg/apis/meta/v1/helpers.go. An empty selector selects all, but
/// a Deployment with one is refused; here it selects nothing.
fn selects(selector: &LabelSelector, metadata: &ObjectMeta) -> bool {
    let is_empty = selector.match_labels.is_empty() && selector.match_expressions.is_empty();
    let labels = &metadata.labels;
    !is_empty
        && selector.match_labels.iter().all(|(name, value)| labels.get(name) == Some(value))
        && selector.match_expressions.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match requirement.operator.as_str() {
                "In" => value.is_some_and(|value| requirement.values.contains(value)),
                "NotIn" => value.is_none_or(|value| !requirement.values.contains(value)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}
