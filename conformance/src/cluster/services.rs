//! Services: addresses, ports, endpoints, and the API server's validation.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proxy_core::config::{Machine, NodeConfig};
use proxy_core::controller;
use proxy_core::objects::{EndpointSlice, IntOrString, Kind, Object, Pod, Protocol, Service, ServiceType};

use super::target::{containers, selects};
use super::{Cluster, ClusterProblem, as_pod, as_service};
use crate::scenario::{FieldFault, ObjectKey, ObjectName};

impl Cluster {
    pub(super) fn settle_services(&mut self, problems: &mut Vec<ClusterProblem>) {
        self.check_addresses(problems);
        self.check_node_ports(problems);
        self.check_targets(problems);
        let is_sound = problems.iter().all(|problem| !problem.is_error());
        let stored: Vec<Object> = self.stored.values().cloned().collect();
        match controller::reconcile(&stored, &self.ranges.service_network()) {
            Ok(objects) => {
                // Allocations are kept; slices are derived anew for each state.
                for service in objects.iter().filter_map(as_service) {
                    self.stored.insert(key(service), Object::Service(service.clone()));
                }
                self.state.objects = objects;
            }
            // Errors found above have better messages.
            Err(error) if is_sound => problems.push(ClusterProblem::of_object_error(&error)),
            Err(_) => {}
        }
    }

    /// Checks that kube-proxy would start on every node.
    pub(super) fn check_proxy(&self, problems: &mut Vec<ClusterProblem>) {
        if problems.iter().any(ClusterProblem::is_error) {
            return;
        }
        if let Err(error) = proxy_core::service_store::ServiceStore::new(&self.state.objects) {
            problems.push(ClusterProblem::of_object_error(&error));
            return;
        }
        let configuration = self.kube_proxy_configuration();
        for node in &self.state.nodes {
            let machine = Machine::new(node.name.as_str());
            if let Err(error) = NodeConfig::new(machine, &configuration, self.node_object(&node.name)) {
                problems.push(ClusterProblem::of_object_error(&error));
                return;
            }
        }
    }

    fn check_addresses(&self, problems: &mut Vec<ClusterProblem>) {
        let mut owners: BTreeMap<IpAddr, (ObjectKey, String)> = BTreeMap::new();
        for service in self.stored.values().filter_map(as_service) {
            if service.spec.service_type == ServiceType::ExternalName {
                continue;
            }
            for (path, text) in cluster_ips(service) {
                // Invalid addresses are reported by the controller.
                let Ok(ip) = text.parse::<IpAddr>() else { continue };
                let is_inside = |ip| self.ranges.service_cidrs.iter().any(|cidr| cidr.contains(&ip));
                // An address that the API server has accepted is of a range that nothing here tells.
                if let IpAddr::V4(ip) = ip
                    && !is_inside(ip)
                    && service.metadata.uid.is_empty()
                {
                    let fault = FieldFault::new(format!(
                        "{path}: Invalid value: {text:?}: failed to allocate IP {ip}: the provided IP ({ip}) is not in \
                         the valid range. The range of valid IPs is {}",
                        self.ranges.service_cidrs_text()
                    ))
                    .help("omit clusterIP to have one allocated, or set the range by --service-cidr or spec.network.serviceCIDR");
                    problems.push(ClusterProblem::error(key(service), fault.at(path.clone())));
                }
                if let Some((other, other_path)) = owners.get(&ip) {
                    let fault = twice(&format!("the ClusterIP {ip}"), other, service);
                    problems.push(ClusterProblem::error(key(service), fault.at(path.clone())).related(
                        other.clone(),
                        other_path,
                        "first used here",
                    ));
                }
                owners.insert(ip, (key(service), path));
            }
        }
    }

    fn check_node_ports(&self, problems: &mut Vec<ClusterProblem>) {
        let range = self.ranges.node_ports.clone();
        let mut owners: BTreeMap<(i32, Protocol), (ObjectKey, String)> = BTreeMap::new();
        for service in self.stored.values().filter_map(as_service) {
            for (index, port) in service.spec.ports.iter().enumerate().filter(|(_, port)| port.node_port != 0)
            {
                let path = format!("spec.ports[{index}].nodePort");
                let number = port.node_port;
                // A port that the API server has accepted is of a range that nothing here tells.
                let is_accepted = !service.metadata.uid.is_empty();
                let is_inside =
                    u16::try_from(number).is_ok_and(|number| is_accepted || range.contains(&number));
                if !is_inside {
                    let fault = FieldFault::new(format!(
                        "{path}: Invalid value: {number}: provided port is not in the valid range. The range of valid \
                         ports is {}-{}",
                        range.start(),
                        range.end()
                    ))
                    .help(
                        "omit nodePort to have one allocated, or set the range by --node-port-range or \
                         spec.network.nodePortRange",
                    );
                    problems.push(ClusterProblem::error(key(service), fault.at(path.clone())));
                } else if let Some((other, other_path)) = owners.get(&(number, port.protocol)) {
                    let fault = twice(&format!("the NodePort {number}"), other, service);
                    problems.push(ClusterProblem::error(key(service), fault.at(path.clone())).related(
                        other.clone(),
                        other_path,
                        "first used here",
                    ));
                }
                owners.insert((number, port.protocol), (key(service), path));
            }
        }
    }

    /// Warns about selectors that match nothing, and named ports that no Pod has.
    fn check_targets(&self, problems: &mut Vec<ClusterProblem>) {
        let index = PodsByLabel::new(self.stored.values().filter_map(as_pod));
        let owners: BTreeSet<_> =
            self.stored.values().filter_map(super::as_slice).filter_map(owner).collect();
        for service in self.stored.values().filter_map(as_service) {
            if service.spec.selector.is_empty() || service.spec.service_type == ServiceType::ExternalName {
                continue;
            }
            let selected = index.selected_by(service);
            let name = (service.metadata.namespace(), service.metadata.name.as_str());
            if selected.is_empty() && !owners.contains(&name) {
                let fault =
                    FieldFault::new(format!("the selector of Service {} matches no Pod", key(service).name));
                problems.push(ClusterProblem::warning(key(service), fault.at("spec.selector")));
                continue;
            }
            let ports = || selected.iter().flat_map(|pod| containers(pod)).flat_map(|one| &one.ports);
            let named: BTreeSet<_> = ports().map(|one| (one.name.as_str(), one.protocol)).collect();
            for (index, port) in service.spec.ports.iter().enumerate() {
                let Some(IntOrString::String(name)) = &port.target_port else { continue };
                if named.contains(&(name.as_str(), port.protocol)) || selected.is_empty() {
                    continue;
                }
                let known: Vec<&str> =
                    ports().map(|one| one.name.as_str()).filter(|name| !name.is_empty()).collect();
                let fault = FieldFault::new(format!(
                    "none of the selected Pods has a {} port named {name:?}: this port of the Service has no endpoints",
                    port.protocol.lower()
                ));
                let fault = match crate::scenario::nearest(name, &known) {
                    Some(nearest) => fault.help(format!("did you mean {nearest:?}?")),
                    None => fault.help("give a containerPort that name, or use a number as targetPort"),
                };
                problems.push(ClusterProblem::warning(
                    key(service),
                    fault.at(format!("spec.ports[{index}].targetPort")),
                ));
            }
        }
    }
}

/// Pods indexed by namespace and label, so that a selector need not visit all of them.
struct PodsByLabel<'a>(BTreeMap<(&'a str, &'a str, &'a str), Vec<&'a Pod>>);

impl<'a> PodsByLabel<'a> {
    fn new(pods: impl Iterator<Item = &'a Pod>) -> Self {
        let mut index: BTreeMap<_, Vec<&Pod>> = BTreeMap::new();
        for pod in pods {
            for (name, value) in &pod.metadata.labels {
                index.entry((pod.metadata.namespace(), name.as_str(), value.as_str())).or_default().push(pod);
            }
        }
        Self(index)
    }

    /// The Pods that match a Service's selector, in order.
    fn selected_by(&self, service: &Service) -> Vec<&'a Pod> {
        let namespace = service.metadata.namespace();
        let mut fewest: Option<&[&'a Pod]> = None;
        for (name, value) in &service.spec.selector {
            let pods = self.0.get(&(namespace, name.as_str(), value.as_str())).map_or(&[][..], Vec::as_slice);
            fewest = Some(fewest.filter(|least| least.len() <= pods.len()).unwrap_or(pods));
        }
        let found = fewest.into_iter().flatten().copied();
        found.filter(|pod| selects(service, &pod.metadata)).collect()
    }
}

/// Namespace and name of the Service that a slice belongs to.
fn owner(slice: &EndpointSlice) -> Option<(&str, &str)> {
    let service = slice.metadata.labels.get("kubernetes.io/service-name")?;
    Some((slice.metadata.namespace(), service))
}

fn twice(what: &str, other: &ObjectKey, service: &Service) -> FieldFault {
    FieldFault::new(format!("{what} is used by two Services, {} and {}", other.name, key(service).name))
}

fn key(service: &Service) -> ObjectKey {
    let name = ObjectName::new(service.metadata.namespace(), &service.metadata.name);
    ObjectKey { kind: Kind::Service, name }
}

/// The ClusterIPs that a Service specifies, with their paths; `clusterIP` repeats the first of `clusterIPs`.
fn cluster_ips(service: &Service) -> Vec<(String, &String)> {
    let spec = &service.spec;
    if spec.cluster_ips.is_empty() {
        return vec![("spec.clusterIP".to_owned(), &spec.cluster_ip)];
    }
    let list = spec.cluster_ips.iter().enumerate();
    list.map(|(index, text)| (format!("spec.clusterIPs[{index}]"), text)).collect()
}
