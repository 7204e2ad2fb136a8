//! What the API server refuses, in its words.
//!
//! Kubernetes: `ValidateService`, `ValidateEndpointsSpecificAnnotations`, `ValidatePodSpec`, pkg/apis/core/validation/validation.go;
//! pkg/apis/discovery/validation/validation.go. Values that deserialization refuses, such as an unknown type of Service, and
//! what the modules of `proxy-core` check when they use a field are not repeated here.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proxy_core::objects::{
    AddressType, Endpoints, IntOrString, Object, Pod, Protocol, Service, ServiceAffinity, ServicePort,
    ServiceType, TrafficPolicy,
};

use super::target::containers;
use super::{Cluster, ClusterProblem};
use crate::scenario::{FieldFault, ObjectKey};

impl Cluster {
    /// Refuses objects that the API server refuses.
    pub(super) fn validate(&self, problems: &mut Vec<ClusterProblem>) {
        for (key, object) in &self.stored {
            let mut faults = Faults::default();
            match object {
                Object::Service(service) => faults.service(service),
                Object::Pod(pod) => faults.pod(pod),
                // Names are not addresses; kube-proxy ignores such slices.
                Object::EndpointSlice(slice) if slice.address_type == AddressType::Fqdn => {}
                Object::EndpointSlice(slice) => {
                    for (index, endpoint) in slice.endpoints.iter().enumerate() {
                        for (nth, address) in endpoint.addresses.iter().enumerate() {
                            faults.endpoint_ip(&format!("endpoints[{index}].addresses[{nth}]"), address);
                        }
                    }
                }
                Object::Endpoints(endpoints) => faults.endpoints(endpoints),
                Object::Namespace(_)
                | Object::Node(_)
                | Object::Workload(_)
                | Object::KubeProxyConfiguration(_) => {}
            }
            problems.extend(faults.0.into_iter().map(|fault| problem(key, fault)));
        }
    }
}

fn problem(key: &ObjectKey, fault: FieldFault) -> ClusterProblem {
    ClusterProblem::error(key.clone(), fault)
}

const ONLY_LOAD_BALANCER: &str = "may only be used when `type` is 'LoadBalancer'";
const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";

#[derive(Default)]
struct Faults(Vec<FieldFault>);

impl Faults {
    fn add(&mut self, path: &str, words: &str) {
        self.0.push(FieldFault::new(format!("{path}: {words}")).at(path));
    }

    fn required(&mut self, path: &str) {
        self.add(path, "Required value");
    }

    fn forbidden(&mut self, path: &str, why: &str) {
        self.add(path, &format!("Forbidden: {why}"));
    }

    fn invalid(&mut self, path: &str, value: &str, why: &str) {
        self.add(path, &format!("Invalid value: {value}: {why}"));
    }

    fn service(&mut self, service: &Service) {
        let spec = &service.spec;
        let is_headless =
            spec.cluster_ip == "None" || spec.cluster_ips.first().is_some_and(|ip| ip == "None");
        let is_named = |kind| spec.service_type == kind;
        if spec.ports.is_empty() && !is_headless && !is_named(ServiceType::ExternalName) {
            self.required("spec.ports");
        }
        match spec.service_type {
            ServiceType::LoadBalancer | ServiceType::NodePort if is_headless => {
                let why = format!("may not be set to 'None' for {:?} services", spec.service_type);
                self.invalid("spec.clusterIPs[0]", "\"None\"", &why);
            }
            ServiceType::LoadBalancer | ServiceType::NodePort => {}
            ServiceType::ExternalName => self.external_name(service),
            ServiceType::ClusterIP => {
                for (index, _) in spec.ports.iter().enumerate().filter(|(_, port)| port.node_port != 0) {
                    let why = "may not be used when `type` is 'ClusterIP'";
                    self.forbidden(&format!("spec.ports[{index}].nodePort"), why);
                }
            }
        }
        self.ports(&spec.ports);
        self.addresses(service);
        self.affinity(service);
        self.load_balancer(service);
        self.external_traffic(service);
        if let Some(distribution) = &spec.traffic_distribution {
            const SUPPORTED: [&str; 3] = ["PreferClose", "PreferSameNode", "PreferSameZone"];
            if !SUPPORTED.contains(&distribution.as_str()) {
                let words = format!(
                    "Unsupported value: {distribution:?}: supported values: {}",
                    SUPPORTED.map(|value| format!("{value:?}")).join(", ")
                );
                self.add("spec.trafficDistribution", &words);
            }
        }
    }

    fn external_name(&mut self, service: &Service) {
        const WHY: &str = "may not be set for ExternalName services";
        let spec = &service.spec;
        let fields = [
            ("spec.clusterIPs", !spec.cluster_ip.is_empty() || !spec.cluster_ips.is_empty()),
            ("spec.ipFamilies", !spec.ip_families.is_empty()),
            ("spec.ipFamilyPolicy", spec.ip_family_policy.is_some()),
        ];
        for (path, _) in fields.iter().filter(|(_, is_set)| *is_set) {
            self.forbidden(path, WHY);
        }
        let name = spec.external_name.strip_suffix('.').unwrap_or(&spec.external_name);
        if name.is_empty() {
            self.required("spec.externalName");
        } else if !is_subdomain(name) {
            let why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                       and must start and end with an alphanumeric character";
            self.invalid("spec.externalName", &format!("{name:?}"), why);
        }
    }

    fn ports(&mut self, ports: &[ServicePort]) {
        let mut names = BTreeSet::new();
        let mut numbers: BTreeSet<(Protocol, i32)> = BTreeSet::new();
        let mut node_ports: BTreeSet<(Protocol, i32)> = BTreeSet::new();
        for (index, port) in ports.iter().enumerate() {
            let path = format!("spec.ports[{index}]");
            if port.name.is_empty() && ports.len() > 1 {
                self.required(&format!("{path}.name"));
            } else if !port.name.is_empty() && !names.insert(&port.name) {
                self.add(&format!("{path}.name"), &format!("Duplicate value: {:?}", port.name));
            }
            if !is_port(port.port) {
                self.invalid(&format!("{path}.port"), &port.port.to_string(), PORT_RANGE);
            }
            let target = format!("{path}.targetPort");
            match &port.target_port {
                Some(IntOrString::Int(number)) if *number != 0 && !is_port(*number) => {
                    self.invalid(&target, &number.to_string(), PORT_RANGE);
                }
                Some(IntOrString::String(name)) if !name.is_empty() => {
                    if let Some(why) = port_name_fault(name) {
                        self.invalid(&target, &format!("{name:?}"), why);
                    }
                }
                Some(IntOrString::Int(_) | IntOrString::String(_)) | None => {}
            }
            let value =
                |number: i32| format!("{{\"protocol\":\"{}\",\"port\":{number}}}", upper(port.protocol));
            if !numbers.insert((port.protocol, port.port)) {
                self.add(&path, &format!("Duplicate value: {}", value(port.port)));
            }
            if port.node_port != 0 && !node_ports.insert((port.protocol, port.node_port)) {
                let words = format!("Duplicate value: {}", port.node_port);
                self.add(&format!("{path}.nodePort"), &words);
            }
        }
    }

    fn addresses(&mut self, service: &Service) {
        let spec = &service.spec;
        if let Some(first) = spec.cluster_ips.first()
            && !spec.cluster_ip.is_empty()
            && *first != spec.cluster_ip
        {
            self.invalid("spec.clusterIPs[0]", &format!("{first:?}"), "first value must match `clusterIP`");
        }
        for (index, text) in spec.external_ips.iter().enumerate() {
            self.endpoint_ip(&format!("spec.externalIPs[{index}]"), text);
        }
    }

    /// An address outside the ranges that have a special meaning (`ValidateEndpointIP`, `ValidateNonSpecialIP`).
    fn endpoint_ip(&mut self, path: &str, text: &str) {
        let Ok(ip) = text.parse::<IpAddr>() else {
            self.invalid(
                path,
                &format!("{text:?}"),
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            );
            return;
        };
        let is_link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        let is_link_multicast = match ip {
            IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
            IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
        };
        let special = [
            (ip.is_unspecified(), "may not be unspecified (0.0.0.0 or ::)"),
            (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            (is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
            (is_link_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        ];
        for (_, why) in special.iter().filter(|(applies, _)| *applies) {
            self.invalid(path, &format!("{text:?}"), why);
        }
    }

    fn affinity(&mut self, service: &Service) {
        const SECONDS_MAX: i32 = 86_400;
        let spec = &service.spec;
        let Some(config) = &spec.session_affinity_config else { return };
        match spec.session_affinity {
            ServiceAffinity::None => {
                let why = "must not be set when session affinity is None";
                self.forbidden("spec.sessionAffinityConfig", why);
            }
            ServiceAffinity::ClientIP => {
                let seconds = config.client_ip.as_ref().and_then(|client| client.timeout_seconds);
                if let Some(seconds) = seconds.filter(|seconds| !(1..=SECONDS_MAX).contains(seconds)) {
                    let path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
                    let why = format!("must be greater than 0 and less than {SECONDS_MAX}");
                    self.invalid(path, &seconds.to_string(), &why);
                }
            }
        }
    }

    fn load_balancer(&mut self, service: &Service) {
        let spec = &service.spec;
        if spec.service_type == ServiceType::LoadBalancer {
            return;
        }
        let fields = [
            ("spec.loadBalancerSourceRanges", !spec.load_balancer_source_ranges.is_empty()),
            ("spec.allocateLoadBalancerNodePorts", spec.allocate_load_balancer_node_ports.is_some()),
            ("spec.loadBalancerClass", spec.load_balancer_class.is_some()),
        ];
        for (path, _) in fields.iter().filter(|(_, is_set)| *is_set) {
            self.forbidden(path, ONLY_LOAD_BALANCER);
        }
    }

    /// Kubernetes: `validateServiceExternalTrafficPolicy`, `ExternallyAccessible`, `NeedsHealthCheck`.
    fn external_traffic(&mut self, service: &Service) {
        let spec = &service.spec;
        let is_accessible = match spec.service_type {
            ServiceType::LoadBalancer | ServiceType::NodePort => true,
            ServiceType::ClusterIP => !spec.external_ips.is_empty(),
            ServiceType::ExternalName => false,
        };
        if let Some(policy) = spec.external_traffic_policy.filter(|_| !is_accessible) {
            let why = "may only be set for externally-accessible services";
            self.invalid("spec.externalTrafficPolicy", &format!("\"{policy:?}\""), why);
        }
        let has_check = spec.service_type == ServiceType::LoadBalancer
            && spec.external_traffic_policy == Some(TrafficPolicy::Local);
        let number = spec.health_check_node_port;
        if number != 0 && !has_check {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            self.invalid("spec.healthCheckNodePort", &number.to_string(), why);
        } else if number != 0 && !is_port(number) {
            self.invalid("spec.healthCheckNodePort", &number.to_string(), PORT_RANGE);
        }
    }

    fn pod(&mut self, pod: &Pod) {
        for (index, container) in containers(pod).enumerate() {
            for (nth, port) in container.ports.iter().enumerate() {
                let path = format!("spec.containers[{index}].ports[{nth}]");
                if !is_port(port.container_port) {
                    let value = port.container_port.to_string();
                    self.invalid(&format!("{path}.containerPort"), &value, PORT_RANGE);
                }
                let host_port = format!("{path}.hostPort");
                if port.host_port != 0 && !is_port(port.host_port) {
                    self.invalid(&host_port, &port.host_port.to_string(), PORT_RANGE);
                } else if port.host_port != 0
                    && pod.spec.host_network
                    && port.host_port != port.container_port
                {
                    let why = "must match `containerPort` when `hostNetwork` is true";
                    self.invalid(&host_port, &port.host_port.to_string(), why);
                }
            }
        }
    }

    fn endpoints(&mut self, endpoints: &Endpoints) {
        for (index, subset) in endpoints.subsets.iter().enumerate() {
            let lists =
                [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)];
            if lists.iter().all(|(_, list)| list.is_empty()) {
                let path = format!("subsets[{index}]");
                self.add(&path, "Required value: must specify `addresses` or `notReadyAddresses`");
            }
            for (list, addresses) in lists {
                for (nth, address) in addresses.iter().enumerate() {
                    self.endpoint_ip(&format!("subsets[{index}].{list}[{nth}].ip"), &address.ip);
                }
            }
        }
    }
}

fn is_port(number: i32) -> bool {
    super::target::valid_port(number).is_some()
}

const fn upper(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
}

fn is_subdomain(name: &str) -> bool {
    let is_end = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.iter().all(|byte| is_end(byte) || *byte == b'-')
            && bytes.first().is_some_and(is_end)
            && bytes.last().is_some_and(is_end)
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Kubernetes: `IsValidPortName`, apimachinery pkg/util/validation/validation.go.
fn port_name_fault(name: &str) -> Option<&'static str> {
    let bytes = name.as_bytes();
    let is_legal = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    if name.len() > 15 {
        Some("must be no more than 15 characters")
    } else if !bytes.iter().all(is_legal) {
        Some("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    } else if !bytes.iter().any(u8::is_ascii_lowercase) {
        Some("must contain at least one letter (a-z)")
    } else if name.contains("--") {
        Some("must not contain consecutive hyphens")
    } else if name.starts_with('-') || name.ends_with('-') {
        Some("must not begin or end with a hyphen")
    } else {
        None
    }
}
