//! Derives EndpointSlices from Services and Pods.

use std::collections::BTreeMap;

use super::topology_hints::{self, ZoneRatios};
use super::{HEADLESS, MANAGED_BY, SERVICE_NAME, name_of, owners, services};
use crate::address::{family_of, parse_ip};
use crate::error::ObjectError;
use crate::objects::{
    AddressType, Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
    IntOrString, IpFamily, Kind, Node, Object, ObjectMeta, ObjectReference, Pod, Protocol, Service,
    ServicePort, ServiceType,
};
use crate::validate::Fields;

/// The slices of every Service that has a selector and no slice in the manifests.
///
/// Kubernetes: staging/src/k8s.io/endpointslice/reconciler.go. Call it after [`super::set_defaults`] and
/// [`super::allocate`], which determine the families of a Service.
///
/// # Errors
/// An invalid Pod address.
pub fn endpoint_slices(objects: &[Object]) -> Result<Vec<EndpointSlice>, ObjectError> {
    let cluster = Pods::new(objects);
    let given = owners(super::slices(objects));
    let mut slices = Vec::new();
    for service in services(objects) {
        let selects =
            !service.spec.selector.is_empty() && service.spec.service_type != ServiceType::ExternalName;
        if selects && !given.contains(&name_of(service)) {
            slices.extend(cluster.slices_of(service)?);
        }
    }
    Ok(slices)
}

/// Pods by label and Nodes by name.
struct Pods<'a> {
    /// By namespace, label and value; ordered by name.
    pods: BTreeMap<(&'a str, &'a str, &'a str), BTreeMap<&'a str, &'a Pod>>,
    nodes: BTreeMap<&'a str, &'a Node>,
}

impl<'a> Pods<'a> {
    fn new(objects: &'a [Object]) -> Self {
        let mut found = Self { pods: BTreeMap::new(), nodes: BTreeMap::new() };
        for object in objects {
            match object {
                Object::Pod(pod) => {
                    for (label, value) in &pod.metadata.labels {
                        let pods = found.pods.entry((pod.metadata.namespace(), label, value)).or_default();
                        pods.insert(&pod.metadata.name, pod);
                    }
                }
                Object::Node(node) => {
                    found.nodes.insert(&node.metadata.name, node);
                }
                Object::Namespace(_)
                | Object::Workload(_)
                | Object::Service(_)
                | Object::EndpointSlice(_)
                | Object::Endpoints(_)
                | Object::KubeProxyConfiguration(_) => {}
            }
        }
        found
    }

    fn slices_of(&self, service: &Service) -> Result<Vec<EndpointSlice>, ObjectError> {
        let mut slices = Vec::new();
        for family in &service.spec.ip_families {
            slices.extend(self.slices_of_family(service, *family)?);
        }
        Ok(slices)
    }

    /// Endpoints with the same ports share slices, up to the maximum number of endpoints per slice.
    fn slices_of_family(
        &self,
        service: &Service,
        family: IpFamily,
    ) -> Result<Vec<EndpointSlice>, ObjectError> {
        const ENDPOINTS_PER_SLICE_MAX: usize = 100;
        let mut groups: Vec<(Vec<EndpointPort>, Vec<Endpoint>)> = Vec::new();
        for pod in self.pods_of(service) {
            let Some(endpoint) = self.endpoint(service, pod, family)? else { continue };
            let ports = endpoint_ports(service, pod);
            match groups.iter_mut().find(|(known, _)| *known == ports) {
                Some((_, endpoints)) => endpoints.push(endpoint),
                None => groups.push((ports, vec![endpoint])),
            }
        }
        if groups.is_empty() {
            // A Service without Pods has one empty slice, which distinguishes it from one not processed yet.
            groups.push((Vec::new(), Vec::new()));
        }
        let mut slices = Vec::new();
        for (ports, endpoints) in groups {
            let mut chunks: Vec<&[Endpoint]> = endpoints.chunks(ENDPOINTS_PER_SLICE_MAX).collect();
            if chunks.is_empty() {
                chunks.push(&[]);
            }
            for chunk in chunks {
                slices.push(new_slice(service, family, slices.len(), &ports, chunk));
            }
        }
        if topology_hints::are_wanted(service) {
            ZoneRatios::of(self.nodes.values().copied()).add_hints(&mut slices);
        }
        Ok(slices)
    }

    /// Pods that match the selector and are eligible as endpoints, ordered by name.
    fn pods_of(&self, service: &Service) -> Vec<&'a Pod> {
        let namespace = service.metadata.namespace();
        let selector = &service.spec.selector;
        let mut fewest: Option<&BTreeMap<&str, &'a Pod>> = None;
        for (label, value) in selector {
            let Some(pods) = self.pods.get(&(namespace, label.as_str(), value.as_str())) else {
                return Vec::new();
            };
            fewest = Some(fewest.filter(|fewest| fewest.len() <= pods.len()).unwrap_or(pods));
        }
        let candidates = fewest.into_iter().flat_map(BTreeMap::values).copied();
        let is_selected =
            |pod: &Pod| selector.iter().all(|(label, value)| pod.metadata.labels.get(label) == Some(value));
        candidates.filter(|pod| is_selected(pod) && is_endpoint(pod)).collect()
    }

    /// Kubernetes: `podToEndpoint`, staging/src/k8s.io/endpointslice/utils.go.
    fn endpoint(
        &self,
        service: &Service,
        pod: &Pod,
        family: IpFamily,
    ) -> Result<Option<Endpoint>, ObjectError> {
        let fields = Fields::new(Kind::Pod, &pod.metadata);
        let mut addresses = Vec::new();
        for (index, pod_ip) in pod.status.pod_ips.iter().enumerate() {
            let path = format!("status.podIPs[{index}].ip");
            let address =
                parse_ip(&pod_ip.ip).ok_or_else(|| fields.error(&path, &pod_ip.ip, "an IP address"))?;
            if family_of(address) == family {
                addresses.push(address.to_string());
            }
        }
        let node = self.nodes.get(pod.spec.node_name.as_str()).copied();
        let publishes_all = service.spec.publish_not_ready_addresses;
        // A Pod on a deleted node is about to be removed. In manifests without any Node, all Pods count.
        let is_lost = node.is_none() && !self.nodes.is_empty() && !publishes_all;
        if addresses.is_empty() || is_lost {
            return Ok(None);
        }
        let is_serving = is_ready(pod);
        let is_terminating = pod.metadata.deletion_timestamp.is_some();
        let mut endpoint = Endpoint {
            addresses,
            conditions: EndpointConditions {
                // Never ready while terminating, for consumers that know only this condition; unless
                // publishNotReadyAddresses.
                ready: Some(publishes_all || is_serving && !is_terminating),
                serving: Some(is_serving),
                terminating: Some(is_terminating),
            },
            hostname: publishes_hostname(service, pod).then(|| pod.spec.hostname.clone()),
            target_ref: Some(ObjectReference {
                kind: "Pod".to_owned(),
                namespace: pod.metadata.namespace().to_owned(),
                name: pod.metadata.name.clone(),
            }),
            node_name: Some(pod.spec.node_name.clone()).filter(|name| !name.is_empty()),
            zone: node
                .and_then(|node| node.metadata.labels.get("topology.kubernetes.io/zone"))
                .filter(|zone| !zone.is_empty())
                .cloned(),
            hints: None,
        };
        endpoint.hints = hints(service, &endpoint);
        Ok(Some(endpoint))
    }
}

/// Kubernetes: `ShouldPodBeInEndpoints`, staging/src/k8s.io/endpointslice/util/controller_utils.go.
fn is_endpoint(pod: &Pod) -> bool {
    let has_ended = matches!(pod.status.phase.as_str(), "Succeeded" | "Failed");
    !has_ended && !pod.status.pod_ips.is_empty()
}

fn is_ready(pod: &Pod) -> bool {
    pod.status
        .conditions
        .iter()
        .any(|condition| condition.condition_type == "Ready" && condition.status == "True")
}

/// Kubernetes: `ShouldSetHostname`, staging/src/k8s.io/endpointslice/util/controller_utils.go.
fn publishes_hostname(service: &Service, pod: &Pod) -> bool {
    !pod.spec.hostname.is_empty() && pod.spec.subdomain == service.metadata.name
}

/// Kubernetes: `getEndpointPorts`, staging/src/k8s.io/endpointslice/utils.go. A named port that the Pod lacks is
/// omitted.
fn endpoint_ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let named = named_ports(pod);
    let ports = service.spec.ports.iter().filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone()),
            protocol: port.protocol,
            port: Some(find_port(&named, port)?),
            app_protocol: port.app_protocol.clone(),
        })
    });
    ports.collect()
}

/// Kubernetes: `FindPort`, staging/src/k8s.io/endpointslice/utils.go. Named ports of sidecars count, those of other
/// init containers do not.
fn find_port(named: &NamedPorts<'_>, port: &ServicePort) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => named.get(&(name.as_str(), port.protocol)).copied(),
    }
}

/// Container ports by name and protocol.
type NamedPorts<'a> = BTreeMap<(&'a str, Protocol), i32>;

/// The ports that a Pod names. Of ports with the same name, the first counts.
fn named_ports(pod: &Pod) -> NamedPorts<'_> {
    let sidecars = pod.spec.init_containers.iter().filter(|init| init.restart_policy == "Always");
    let containers = pod.spec.containers.iter().chain(sidecars);
    let mut named = NamedPorts::new();
    for port in containers.flat_map(|container| &container.ports) {
        named.entry((&port.name, port.protocol)).or_insert(port.container_port);
    }
    named
}

/// Kubernetes: staging/src/k8s.io/endpointslice/trafficdist/trafficdist.go. For ready endpoints only.
fn hints(service: &Service, endpoint: &Endpoint) -> Option<EndpointHints> {
    // The annotation counts before the field.
    if topology_hints::are_wanted(service) {
        return None;
    }
    let names_nodes = match service.spec.traffic_distribution.as_deref() {
        Some("PreferClose" | "PreferSameZone") => false,
        Some("PreferSameNode") => true,
        Some(_) | None => return None,
    };
    if endpoint.conditions.ready != Some(true) {
        return None;
    }
    let zone = endpoint.zone.iter().map(|zone| ForZone { name: zone.clone() });
    let node = endpoint.node_name.iter().filter(|_| names_nodes).map(|node| ForNode { name: node.clone() });
    let hints = EndpointHints { for_zones: zone.collect(), for_nodes: node.collect() };
    (hints != EndpointHints::default()).then_some(hints)
}

fn new_slice(
    service: &Service,
    family: IpFamily,
    index: usize,
    ports: &[EndpointPort],
    endpoints: &[Endpoint],
) -> EndpointSlice {
    let mut labels = service.metadata.labels.clone();
    labels.remove(HEADLESS);
    if service.spec.cluster_ip == "None" {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone());
    labels.insert(MANAGED_BY.to_owned(), "endpointslice-controller.k8s.io".to_owned());
    EndpointSlice {
        metadata: ObjectMeta {
            name: format!("{}-{}-{index}", service.metadata.name, family_word(family)),
            namespace: service.metadata.namespace().to_owned(),
            labels,
            ..ObjectMeta::default()
        },
        address_type: address_type(family),
        endpoints: endpoints.to_vec(),
        ports: ports.to_vec(),
    }
}

/// The address type of a family.
pub(super) fn address_type(family: IpFamily) -> AddressType {
    match family {
        IpFamily::V4 => AddressType::IPv4,
        IpFamily::V6 => AddressType::IPv6,
    }
}

/// The family as part of slice names.
pub(super) fn family_word(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "ipv4",
        IpFamily::V6 => "ipv6",
    }
}
