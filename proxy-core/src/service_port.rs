//! One port of a Service in one address family.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::{family_of, family_of_net, parse_cidr, parse_ip};
use crate::error::ObjectError;
use crate::names::{ServiceName, ServicePortName};
use crate::objects::{
    IpFamily, IpMode, Kind, Service, ServiceAffinity, ServicePort as ApiServicePort, ServiceType,
    TrafficPolicy,
};
use crate::validate::{self, Fields};

/// One port of a Service in one family, validated.
///
/// kube-proxy: `BaseServicePortInfo`, pkg/proxy/serviceport.go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name.
    pub name: ServicePortName,
    /// The ClusterIP of this family.
    pub cluster_ip: IpAddr,
    /// The port on all VIPs.
    pub port: u16,
    /// The port on nodes.
    pub node_port: Option<u16>,
    /// External IPs of this family, as listed.
    pub external_ips: Vec<IpAddr>,
    /// Load balancer addresses of this family that the node serves (`ipMode: VIP`), as listed.
    pub load_balancer_vips: Vec<IpAddr>,
    /// Sources of this family that may use the load balancer addresses; empty for all.
    pub source_ranges: Vec<IpNet>,
    /// Timeout of session affinity in seconds, if enabled.
    pub affinity_seconds: Option<u32>,
    /// Policy for the ClusterIP.
    pub internal_policy: TrafficPolicy,
    /// Policy for all other traffic. Local applies only to Services with external traffic.
    pub external_policy: TrafficPolicy,
    /// The TCP port on which load balancers query for local endpoints.
    pub health_check_node_port: Option<u16>,
}

impl ServicePort {
    /// True if it has an external address or port.
    pub fn is_externally_accessible(&self) -> bool {
        self.node_port.is_some() || !self.load_balancer_vips.is_empty() || !self.external_ips.is_empty()
    }

    /// True if all endpoints of the cluster may serve some of its traffic. This holds even with a local external
    /// policy: traffic from Pods and from the node itself is sent to them.
    pub fn uses_cluster_endpoints(&self) -> bool {
        self.internal_policy == TrafficPolicy::Cluster || self.is_externally_accessible()
    }

    /// True if some of its traffic is served by this node's endpoints only.
    pub fn uses_local_endpoints(&self) -> bool {
        self.internal_policy == TrafficPolicy::Local
            || (self.external_policy == TrafficPolicy::Local && self.is_externally_accessible())
    }
}

/// Labels whose presence, with any value, hides a Service or slice from kube-proxy.
///
/// kube-proxy: informer label selector, cmd/kube-proxy/app/server.go, `Run`.
pub(crate) const HIDING_LABELS: [&str; 2] =
    ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"];

/// The service ports of a Service, per family: `[IPv4, IPv6]`. Both are empty for a Service that kube-proxy ignores:
/// headless, ExternalName, or with a hiding label.
///
/// # Errors
/// The first field that an API server would reject.
pub fn service_ports(service: &Service) -> Result<[Vec<ServicePort>; 2], ObjectError> {
    let fields = Fields::new(Kind::Service, &service.metadata);
    validate::service_metadata(&service.metadata, Kind::Service)?;
    let labels = &service.metadata.labels;
    let spec = &service.spec;
    if HIDING_LABELS.iter().any(|label| labels.contains_key(*label))
        || spec.service_type == ServiceType::ExternalName
        || spec.cluster_ip == "None"
    {
        return Ok([Vec::new(), Vec::new()]);
    }
    let cluster_ips = cluster_ips(service, &fields)?;
    let addresses = ExternalAddresses::read(service, &fields)?;
    let affinity_seconds = affinity_seconds(service, &fields)?;
    let health_check_node_port = health_check_node_port(service, &fields)?;
    let service_name = ServiceName::new(service.metadata.namespace(), &service.metadata.name);
    let mut families = [Vec::new(), Vec::new()];
    let mut names = BTreeSet::new();
    for (index, port) in spec.ports.iter().enumerate() {
        let (name, number, node_port) = port_numbers(&service_name, index, port, &fields)?;
        if !names.insert((port.name.as_str(), port.protocol)) {
            let path = format!("spec.ports[{index}].name");
            return Err(fields.error(&path, &port.name, "a name that no other port of the Service uses"));
        }
        for family in [IpFamily::V4, IpFamily::V6] {
            let Some(cluster_ip) = cluster_ips[family as usize] else { continue };
            families[family as usize].push(ServicePort {
                name: name.clone(),
                cluster_ip,
                port: number,
                node_port,
                external_ips: of_family(&addresses.external_ips, family),
                load_balancer_vips: of_family(&addresses.load_balancer_vips, family),
                source_ranges: addresses
                    .source_ranges
                    .iter()
                    .copied()
                    .filter(|range| family_of_net(range) == family)
                    .collect(),
                affinity_seconds,
                internal_policy: spec.internal_traffic_policy.unwrap_or_default(),
                external_policy: external_policy(service),
                health_check_node_port,
            });
        }
    }
    Ok(families)
}

/// Addresses independent of ports, of both families, as listed.
struct ExternalAddresses {
    external_ips: Vec<IpAddr>,
    load_balancer_vips: Vec<IpAddr>,
    source_ranges: Vec<IpNet>,
}

impl ExternalAddresses {
    fn read(service: &Service, fields: &Fields<'_>) -> Result<Self, ObjectError> {
        let mut external_ips = Vec::new();
        for (index, text) in service.spec.external_ips.iter().enumerate() {
            let path = || format!("spec.externalIPs[{index}]");
            external_ips.push(parse_ip(text).ok_or_else(|| fields.error(&path(), text, "an IP address"))?);
        }
        let mut load_balancer_vips = Vec::new();
        for (index, ingress) in service.status.load_balancer.ingress.iter().enumerate() {
            if ingress.ip.is_empty() {
                continue;
            }
            let path = || format!("status.loadBalancer.ingress[{index}].ip");
            let ip =
                parse_ip(&ingress.ip).ok_or_else(|| fields.error(&path(), &ingress.ip, "an IP address"))?;
            // KEP-1860: with ipMode Proxy the load balancer terminates connections, so the node must not intercept
            // them.
            if ingress.ip_mode != Some(IpMode::Proxy) {
                load_balancer_vips.push(ip);
            }
        }
        let mut source_ranges = Vec::new();
        for (index, text) in service.spec.load_balancer_source_ranges.iter().enumerate() {
            let path = || format!("spec.loadBalancerSourceRanges[{index}]");
            // API validation accepts white space around a range.
            source_ranges.push(parse_cidr(text.trim()).ok_or_else(|| fields.error(&path(), text, "a CIDR"))?);
        }
        Ok(Self { external_ips, load_balancer_vips, source_ranges })
    }
}

fn of_family(addresses: &[IpAddr], family: IpFamily) -> Vec<IpAddr> {
    addresses.iter().copied().filter(|address| family_of(*address) == family).collect()
}

/// kube-proxy: `GetClusterIPByFamily`, pkg/proxy/util/utils.go.
fn cluster_ips(service: &Service, fields: &Fields<'_>) -> Result<[Option<IpAddr>; 2], ObjectError> {
    let spec = &service.spec;
    let read = |path: &str, text: &str| {
        parse_ip(text).ok_or_else(|| fields.error(path, text, "an IP address, None or nothing"))
    };
    let mut found = [None, None];
    if !spec.cluster_ip.is_empty() {
        let first = read("spec.clusterIP", &spec.cluster_ip)?;
        if spec.ip_families.is_empty() {
            found[family_of(first) as usize] = Some(first);
        }
    } else {
        // kube-proxy checks only the first ClusterIP to decide whether a Service is headless.
        return Ok(found);
    }
    for (index, text) in spec.cluster_ips.iter().enumerate() {
        let path = format!("spec.clusterIPs[{index}]");
        let ip = read(&path, text)?;
        let Some(family) = spec.ip_families.get(index) else { continue };
        if family_of(ip) != *family {
            return Err(fields.error(
                &path,
                text,
                "an address of the family in spec.ipFamilies at the same index",
            ));
        }
        found[*family as usize].get_or_insert(ip);
    }
    Ok(found)
}

fn port_numbers(
    service: &ServiceName,
    index: usize,
    port: &ApiServicePort,
    fields: &Fields<'_>,
) -> Result<(ServicePortName, u16, Option<u16>), ObjectError> {
    let path = |field: &str| format!("spec.ports[{index}].{field}");
    if !port.name.is_empty() {
        validate::label(&port.name).map_err(|expected| fields.error(&path("name"), &port.name, expected))?;
    }
    let number = validate::port(port.port)
        .ok_or_else(|| fields.error(&path("port"), &port.port.to_string(), validate::PORT))?;
    let node_port = match port.node_port {
        0 => None,
        node_port => Some(
            validate::port(node_port)
                .ok_or_else(|| fields.error(&path("nodePort"), &node_port.to_string(), validate::PORT))?,
        ),
    };
    Ok((ServicePortName::new(service, &port.name, port.protocol), number, node_port))
}

fn affinity_seconds(service: &Service, fields: &Fields<'_>) -> Result<Option<u32>, ObjectError> {
    const DEFAULT: i32 = 10_800;
    const MAX: i32 = 86_400;
    if service.spec.session_affinity == ServiceAffinity::None {
        return Ok(None);
    }
    let seconds = service
        .spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref())
        .and_then(|client_ip| client_ip.timeout_seconds)
        .unwrap_or(DEFAULT);
    match u32::try_from(seconds) {
        Ok(valid @ 1..) if seconds <= MAX => Ok(Some(valid)),
        Ok(_) | Err(_) => {
            let path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
            Err(fields.error(path, &seconds.to_string(), "1 to 86400 seconds"))
        }
    }
}

/// kube-proxy: `ExternalPolicyLocal`, pkg/api/v1/service/util.go.
fn external_policy(service: &Service) -> TrafficPolicy {
    let takes_outside_traffic = match service.spec.service_type {
        ServiceType::NodePort | ServiceType::LoadBalancer => true,
        ServiceType::ClusterIP => !service.spec.external_ips.is_empty(),
        ServiceType::ExternalName => false,
    };
    match service.spec.external_traffic_policy {
        Some(policy) if takes_outside_traffic => policy,
        Some(_) | None => TrafficPolicy::Cluster,
    }
}

/// kube-proxy: `NeedsHealthCheck`, pkg/api/v1/service/util.go.
fn health_check_node_port(service: &Service, fields: &Fields<'_>) -> Result<Option<u16>, ObjectError> {
    let port = service.spec.health_check_node_port;
    if port == 0 {
        return Ok(None);
    }
    let valid = validate::port(port)
        .ok_or_else(|| fields.error("spec.healthCheckNodePort", &port.to_string(), validate::PORT))?;
    let needed = service.spec.service_type == ServiceType::LoadBalancer
        && external_policy(service) == TrafficPolicy::Local;
    Ok(needed.then_some(valid))
}
