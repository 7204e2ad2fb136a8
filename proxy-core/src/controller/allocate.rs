//! Allocates ClusterIPs, NodePorts and healthCheckNodePorts to Services that do not specify them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use super::{ServiceNetwork, name_of};
use crate::address::{family_of, family_of_net, parse_ip};
use crate::error::ObjectError;
use crate::objects::{IpFamily, IpFamilyPolicy, Kind, Object, Protocol, Service, ServiceType, TrafficPolicy};
use crate::validate::Fields;

/// Allocates the addresses and ports that Services need but do not specify. Specified ones take precedence, whatever
/// the order.
///
/// Kubernetes: `initIPFamilyFields`, `allocClusterIPs`, `initNodePorts`, pkg/registry/core/service/storage/alloc.go.
/// Deviation: the search starts at a hash of the Service's name and takes the next free value; the API server chooses
/// at random.
///
/// # Errors
/// An address or NodePort that two Services specify; a family that the cluster lacks; an exhausted range.
pub fn allocate(objects: &mut [Object], network: &ServiceNetwork) -> Result<(), ObjectError> {
    let mut services: Vec<&mut Service> = objects
        .iter_mut()
        .filter_map(|object| match object {
            Object::Service(service) => Some(service),
            Object::Namespace(_)
            | Object::Node(_)
            | Object::Pod(_)
            | Object::Workload(_)
            | Object::EndpointSlice(_)
            | Object::Endpoints(_)
            | Object::KubeProxyConfiguration(_) => None,
        })
        .filter(|service| service.spec.service_type != ServiceType::ExternalName)
        .collect();
    services.sort_by(|left, right| name_of(left).cmp(&name_of(right)));

    let mut taken = Taken::default();
    for service in &mut services {
        choose_families(service, network)?;
        taken.claim_addresses(service)?;
        taken.claim_ports(service)?;
    }
    for service in &mut services {
        allocate_addresses(service, network, &mut taken)?;
        allocate_node_ports(service, network, &mut taken)?;
    }
    Ok(())
}

/// What Services already use.
#[derive(Default)]
struct Taken {
    addresses: BTreeSet<IpAddr>,
    ports: BTreeSet<u16>,
}

impl Taken {
    fn claim_addresses(&mut self, service: &Service) -> Result<(), ObjectError> {
        for (index, text) in service.spec.cluster_ips.iter().enumerate() {
            if text.is_empty() || text == "None" {
                continue;
            }
            let fields = Fields::new(Kind::Service, &service.metadata);
            let path = format!("spec.clusterIPs[{index}]");
            let address = parse_ip(text).ok_or_else(|| fields.error(&path, text, "an IP address"))?;
            if !self.addresses.insert(address) {
                return Err(fields.error(&path, text, "an address that no other Service uses"));
            }
        }
        Ok(())
    }

    fn claim_ports(&mut self, service: &Service) -> Result<(), ObjectError> {
        let fields = Fields::new(Kind::Service, &service.metadata);
        let mut own = BTreeSet::new();
        let mut with_protocol = BTreeSet::new();
        let mut claim = |path: &str, number: i32, shared: bool| {
            let Some(port) = crate::validate::port(number) else { return Ok(()) };
            let is_first_of_service = own.insert(port);
            if !(self.ports.insert(port) || shared && !is_first_of_service) {
                return Err(fields.error(path, &number.to_string(), "a port that no other Service uses"));
            }
            Ok(())
        };
        for (index, port) in service.spec.ports.iter().enumerate() {
            // One NodePort may serve several protocols of one Service.
            let shared = with_protocol.insert((port.node_port, port.protocol));
            claim(&format!("spec.ports[{index}].nodePort"), port.node_port, shared)?;
        }
        claim("spec.healthCheckNodePort", service.spec.health_check_node_port, false)
    }
}

fn choose_families(service: &mut Service, network: &ServiceNetwork) -> Result<(), ObjectError> {
    let spec = &mut service.spec;
    let fields = Fields::new(Kind::Service, &service.metadata);
    let is_headless = spec.cluster_ip == "None";
    let is_by_hand = is_headless && spec.selector.is_empty();
    let policy =
        *spec.ip_family_policy.get_or_insert(match spec.cluster_ips.len().max(spec.ip_families.len()) {
            2.. => IpFamilyPolicy::PreferDualStack,
            _ if is_by_hand => IpFamilyPolicy::RequireDualStack,
            _ => IpFamilyPolicy::SingleStack,
        });
    for (index, text) in spec.cluster_ips.iter().enumerate().skip(spec.ip_families.len()) {
        if text == "None" {
            break;
        }
        let path = format!("spec.clusterIPs[{index}]");
        let address = parse_ip(text).ok_or_else(|| fields.error(&path, text, "an IP address"))?;
        spec.ip_families.push(family_of(address));
    }
    let of_cluster: Vec<IpFamily> = network.cluster_ip_ranges.iter().map(family_of_net).collect();
    if spec.ip_families.is_empty() {
        let Some(first) = of_cluster.first() else {
            return Err(fields.error(
                "spec.clusterIP",
                "",
                "an address, because the cluster has no range for this family",
            ));
        };
        spec.ip_families.push(*first);
    }
    let other = match spec.ip_families[0] {
        IpFamily::V4 => IpFamily::V6,
        IpFamily::V6 => IpFamily::V4,
    };
    if policy != IpFamilyPolicy::SingleStack && spec.ip_families.len() == 1 {
        if is_by_hand || of_cluster.contains(&other) {
            spec.ip_families.push(other);
        } else if policy == IpFamilyPolicy::RequireDualStack {
            return Err(fields.error(
                "spec.ipFamilyPolicy",
                "RequireDualStack",
                "SingleStack, because the cluster has one family",
            ));
        }
    }
    Ok(())
}

fn allocate_addresses(
    service: &mut Service,
    network: &ServiceNetwork,
    taken: &mut Taken,
) -> Result<(), ObjectError> {
    if service.spec.cluster_ip == "None" {
        return Ok(());
    }
    for (index, family) in service.spec.ip_families.clone().into_iter().enumerate() {
        if service.spec.cluster_ips.get(index).is_some_and(|text| !text.is_empty()) {
            continue;
        }
        let fields = Fields::new(Kind::Service, &service.metadata);
        let range = network.cluster_ip_ranges.iter().find(|range| family_of_net(range) == family);
        let expected = "a family of the cluster with free addresses";
        let path = format!("spec.ipFamilies[{index}]");
        let address = range
            .and_then(|range| free_address(service, range, &taken.addresses))
            .ok_or_else(|| fields.error(&path, &format!("{family:?}"), expected))?;
        taken.addresses.insert(address);
        service.spec.cluster_ips.resize(service.spec.cluster_ips.len().max(index + 1), String::new());
        service.spec.cluster_ips[index] = address.to_string();
    }
    if let Some(first) = service.spec.cluster_ips.first() {
        service.spec.cluster_ip.clone_from(first);
    }
    Ok(())
}

/// A free address of the range. The lower part, reserved for addresses that users specify, is used last.
///
/// Kubernetes: KEP-3070, `calculateRangeOffset`, pkg/registry/core/service/ipallocator/ipallocator.go.
fn free_address(service: &Service, range: &IpNet, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    const HOST_BITS_MAX: u8 = 16; // Sufficient for test clusters; upstream's limit for IPv6 ranges.
    let host_bits = (range.max_prefix_len() - range.prefix_len()).min(HOST_BITS_MAX);
    let size: u32 = 1 << host_bits;
    // Excludes the network address and, for IPv4, the broadcast address.
    let last = if family_of_net(range) == IpFamily::V4 { size.checked_sub(2)? } else { size - 1 };
    let kept = if size < 32 { 0 } else { (size / 16).clamp(16, 256) };
    let upper = (kept + 1)..=last;
    let lower = 1..=kept.min(last);
    let start =
        hash(&format!("ClusterIP {:?} {}/{}", family_of_net(range), name_of(service).0, name_of(service).1));
    probe(upper, start)
        .chain(lower)
        .map(|offset| nth_address(range, offset))
        .find(|address| !taken.contains(address))
}

fn nth_address(range: &IpNet, offset: u32) -> IpAddr {
    match range.network() {
        IpAddr::V4(network) => Ipv4Addr::from(u32::from(network) + offset).into(),
        IpAddr::V6(network) => Ipv6Addr::from(u128::from(network) + u128::from(offset)).into(),
    }
}

fn allocate_node_ports(
    service: &mut Service,
    network: &ServiceNetwork,
    taken: &mut Taken,
) -> Result<(), ObjectError> {
    let spec = &service.spec;
    let wanted = match spec.service_type {
        ServiceType::NodePort => true,
        ServiceType::LoadBalancer => spec.allocate_load_balancer_node_ports.unwrap_or(true),
        ServiceType::ClusterIP | ServiceType::ExternalName => false,
    };
    // The first port with a NodePort of each number and protocol.
    let mut firsts: BTreeMap<(i32, Protocol), usize> = BTreeMap::new();
    for (index, port) in service.spec.ports.iter().enumerate().filter(|(_, port)| port.node_port != 0) {
        firsts.entry((port.port, port.protocol)).or_insert(index);
    }
    for index in 0..service.spec.ports.len() {
        let port = &service.spec.ports[index];
        if !wanted || port.node_port != 0 {
            continue;
        }
        let key = (port.port, port.protocol);
        // Ports with the same number and different protocols share their NodePort.
        let others = Protocol::ALL.into_iter().filter(|other| *other != port.protocol);
        let shared = others.filter_map(|other| firsts.get(&(port.port, other))).min();
        let node_port = match shared {
            Some(other) => service.spec.ports[*other].node_port,
            None => free_port(service, &format!("spec.ports[{index}].nodePort"), network, taken)?,
        };
        service.spec.ports[index].node_port = node_port;
        let first = firsts.entry(key).or_insert(index);
        *first = index.min(*first);
    }
    let spec = &service.spec;
    let needs_health_check = spec.service_type == ServiceType::LoadBalancer
        && spec.external_traffic_policy == Some(TrafficPolicy::Local);
    if needs_health_check && spec.health_check_node_port == 0 {
        let port = free_port(service, "spec.healthCheckNodePort", network, taken)?;
        service.spec.health_check_node_port = port;
    }
    Ok(())
}

fn free_port(
    service: &Service,
    path: &str,
    network: &ServiceNetwork,
    taken: &mut Taken,
) -> Result<i32, ObjectError> {
    let range = u32::from(*network.node_ports.start())..=u32::from(*network.node_ports.end());
    let start = hash(&format!("{path} {}/{}", name_of(service).0, name_of(service).1));
    let free = probe(range, start)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| !taken.ports.contains(port));
    let fields = Fields::new(Kind::Service, &service.metadata);
    let port =
        free.ok_or_else(|| fields.error(path, "0", "a port, because the NodePort range is exhausted"))?;
    taken.ports.insert(port);
    Ok(i32::from(port))
}

/// Every number of the range once, starting at a position derived from `start`.
fn probe(range: RangeInclusive<u32>, start: u32) -> impl Iterator<Item = u32> {
    let (first, last) = (*range.start(), *range.end());
    let count = if first > last { 0 } else { last - first + 1 };
    (0..count).map(move |step| first + ((start % count) + step) % count)
}

fn hash(text: &str) -> u32 {
    let digest = Sha256::digest(text.as_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}
