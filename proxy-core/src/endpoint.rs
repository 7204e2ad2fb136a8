//! Endpoints: read from slices, merged and sorted per service port.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::address::{family_of, parse_ip};
use crate::error::ObjectError;
use crate::names::ServiceName;
use crate::objects::{AddressType, Endpoint as ApiEndpoint, EndpointSlice, IpFamily, Kind, Protocol};
use crate::service_port::HIDING_LABELS;
use crate::validate::{self, Fields};

/// One endpoint of a service port, as one node sees it.
///
/// kube-proxy: `BaseEndpointInfo`, pkg/proxy/endpoint.go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// `ip:port` or `[ip]:port`: the sort key of endpoints and part of their chain names.
    pub text: Box<str>,
    /// True if it is on this node.
    pub is_local: bool,
    /// Condition `ready`: accepts new connections.
    pub is_ready: bool,
    /// Condition `serving`: able to serve, terminating or not.
    pub is_serving: bool,
    /// Condition `terminating`: shutting down.
    pub is_terminating: bool,
    /// The zones it is hinted for.
    pub zone_hints: Box<[Box<str>]>,
    /// The nodes it is hinted for.
    pub node_hints: Box<[Box<str>]>,
}

impl Endpoint {
    /// The address as text, without brackets.
    pub fn address_text(&self) -> &str {
        let address = self.text.rsplit_once(':').map_or(&*self.text, |(address, _)| address);
        address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address)
    }
}

/// A validated slice, independent of any node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice {
    family: IpFamily,
    /// Sorted by name and protocol.
    ports: Vec<SlicePort>,
    endpoints: Vec<SliceEndpoint>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct SlicePort {
    name: Box<str>,
    protocol: Protocol,
    number: u16,
}

impl SlicePort {
    /// Key for lookup by service ports.
    fn key(&self) -> (&str, Protocol) {
        (&self.name, self.protocol)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct SliceEndpoint {
    address: IpAddr,
    node_name: Option<Box<str>>,
    is_ready: bool,
    is_serving: bool,
    is_terminating: bool,
    zone_hints: Box<[Box<str>]>,
    node_hints: Box<[Box<str>]>,
}

/// Reads a slice: its Service and its content. `None` if kube-proxy ignores it, because it has no Service label, has a
/// hiding label, or contains names instead of addresses.
pub(crate) fn read_slice(slice: &EndpointSlice) -> Result<Option<(ServiceName, Slice)>, ObjectError> {
    const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
    let metadata = &slice.metadata;
    let fields = Fields::new(Kind::EndpointSlice, metadata);
    validate::subdomain(&metadata.name)
        .map_err(|expected| fields.error("metadata.name", &metadata.name, expected))?;
    let namespace = metadata.namespace();
    validate::label(namespace).map_err(|expected| fields.error("metadata.namespace", namespace, expected))?;
    let service = metadata.labels.get(SERVICE_NAME_LABEL).filter(|service| !service.is_empty());
    let (Some(service), Some(family)) = (service, family_of_type(slice.address_type)) else {
        return Ok(None);
    };
    if HIDING_LABELS.iter().any(|label| metadata.labels.contains_key(*label)) {
        return Ok(None);
    }
    let mut ports = read_ports(slice, &fields)?;
    // Stable: ports with the same name and protocol keep their order.
    ports.sort_by(|left, right| left.key().cmp(&right.key()));
    let mut endpoints = Vec::with_capacity(slice.endpoints.len());
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        endpoints.extend(read_endpoint(endpoint, index, family, &fields)?);
    }
    Ok(Some((ServiceName::new(namespace, service), Slice { family, ports, endpoints })))
}

/// The endpoints of one service port from all slices of its Service, sorted by text.
///
/// If several slices have the same `ip:port`, one counts: the last one on this node, else the first. Slices are visited
/// in order of their names (kube-proxy visits them in arbitrary order).
///
/// kube-proxy: `addEndpoints`, pkg/proxy/endpointslicecache.go.
pub(crate) fn endpoints_of_port<'a>(
    slices: impl Iterator<Item = &'a Slice>,
    family: IpFamily,
    port_name: &str,
    protocol: Protocol,
    node_name: &str,
) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for slice in slices.filter(|slice| slice.family == family) {
        let key = (port_name, protocol);
        let first = slice.ports.partition_point(|port| port.key() < key);
        for port in slice.ports[first..].iter().take_while(|port| port.key() == key) {
            endpoints
                .extend(slice.endpoints.iter().map(|endpoint| seen_from(node_name, endpoint, port.number)));
        }
    }
    // A stable sort: equal endpoints stay in slice order.
    endpoints.sort_by(|left, right| left.text.cmp(&right.text));
    endpoints.dedup_by(|later, kept| {
        let is_same = later.text == kept.text;
        if is_same && later.is_local {
            std::mem::swap(later, kept);
        }
        is_same
    });
    endpoints
}

fn seen_from(node_name: &str, endpoint: &SliceEndpoint, port: u16) -> Endpoint {
    Endpoint {
        address: endpoint.address,
        port,
        text: join_host_port(endpoint.address, port),
        is_local: !node_name.is_empty() && endpoint.node_name.as_deref() == Some(node_name),
        is_ready: endpoint.is_ready,
        is_serving: endpoint.is_serving,
        is_terminating: endpoint.is_terminating,
        zone_hints: endpoint.zone_hints.clone(),
        node_hints: endpoint.node_hints.clone(),
    }
}

fn family_of_type(address_type: AddressType) -> Option<IpFamily> {
    match address_type {
        AddressType::IPv4 => Some(IpFamily::V4),
        AddressType::IPv6 => Some(IpFamily::V6),
        AddressType::Fqdn => None,
    }
}

fn read_ports(slice: &EndpointSlice, fields: &Fields<'_>) -> Result<Vec<SlicePort>, ObjectError> {
    let mut ports = Vec::with_capacity(slice.ports.len());
    for (index, port) in slice.ports.iter().enumerate() {
        // kube-proxy skips ports without name or number, although the API defines a nil port as "all ports".
        let (Some(name), Some(number @ 1..)) = (&port.name, port.port) else {
            if port.port.is_some_and(|number| number < 0) {
                let path = format!("ports[{index}].port");
                return Err(fields.error(&path, &port.port.unwrap_or_default().to_string(), validate::PORT));
            }
            continue;
        };
        let path = |field: &str| format!("ports[{index}].{field}");
        if !name.is_empty() {
            validate::label(name).map_err(|expected| fields.error(&path("name"), name, expected))?;
        }
        let number = validate::port(number)
            .ok_or_else(|| fields.error(&path("port"), &number.to_string(), validate::PORT))?;
        ports.push(SlicePort { name: name.as_str().into(), protocol: port.protocol, number });
    }
    Ok(ports)
}

fn read_endpoint(
    endpoint: &ApiEndpoint,
    index: usize,
    family: IpFamily,
    fields: &Fields<'_>,
) -> Result<Option<SliceEndpoint>, ObjectError> {
    // kube-proxy skips endpoints without address, and uses only the first address.
    let Some(text) = endpoint.addresses.first() else { return Ok(None) };
    let address = parse_ip(text).filter(|address| family_of(*address) == family).ok_or_else(|| {
        let path = format!("endpoints[{index}].addresses[0]");
        fields.error(&path, text, "an IP address of the slice's addressType")
    })?;
    let conditions = endpoint.conditions;
    let hints = endpoint.hints.as_ref();
    Ok(Some(SliceEndpoint {
        address,
        node_name: endpoint.node_name.as_deref().map(Into::into),
        is_ready: conditions.ready.unwrap_or(true),
        is_serving: conditions.serving.unwrap_or(true),
        is_terminating: conditions.terminating.unwrap_or(false),
        zone_hints: hints
            .map(|hints| hints.for_zones.iter().map(|zone| zone.name.as_str().into()).collect())
            .unwrap_or_default(),
        node_hints: hints
            .map(|hints| hints.for_nodes.iter().map(|node| node.name.as_str().into()).collect())
            .unwrap_or_default(),
    }))
}

/// Go's `net.JoinHostPort`.
fn join_host_port(address: IpAddr, port: u16) -> Box<str> {
    let mut text = String::with_capacity("255.255.255.255:65535".len());
    match address {
        // Formatted by hand: this runs for every endpoint of the cluster.
        IpAddr::V4(address) => {
            for (octet, separator) in address.octets().into_iter().zip(['.', '.', '.', ':']) {
                push_decimal(&mut text, octet.into());
                text.push(separator);
            }
            push_decimal(&mut text, port);
        }
        IpAddr::V6(address) => {
            write!(text, "[{address}]:{port}").expect("writing to a String does not fail");
        }
    }
    text.into_boxed_str()
}

fn push_decimal(text: &mut String, number: u16) {
    let mut divisor = 1;
    while number / divisor >= 10 {
        divisor *= 10;
    }
    while divisor > 0 {
        let digit = u32::from(number / divisor % 10);
        text.extend(char::from_digit(digit, 10));
        divisor /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Endpoints of slices in short form: whether on this node, and whether ready. All have the same address.
    fn merged(slices: &[&[(&str, bool)]]) -> Vec<(bool, bool)> {
        let slices: Vec<Slice> = slices
            .iter()
            .map(|endpoints| Slice {
                family: IpFamily::V4,
                ports: vec![SlicePort { name: "p".into(), protocol: Protocol::Tcp, number: 80 }],
                endpoints: endpoints
                    .iter()
                    .map(|(node, is_ready)| SliceEndpoint {
                        address: [10, 0, 0, 1].into(),
                        node_name: (!node.is_empty()).then(|| (*node).into()),
                        is_ready: *is_ready,
                        is_serving: true,
                        is_terminating: false,
                        zone_hints: Box::default(),
                        node_hints: Box::default(),
                    })
                    .collect(),
            })
            .collect();
        let endpoints = endpoints_of_port(slices.iter(), IpFamily::V4, "p", Protocol::Tcp, "a");
        endpoints.iter().map(|endpoint| (endpoint.is_local, endpoint.is_ready)).collect()
    }

    #[test]
    fn of_equal_endpoints_the_last_local_one_counts_else_the_first() {
        assert_eq!(merged(&[&[("", true)], &[("b", false)]]), [(false, true)]);
        assert_eq!(merged(&[&[("", true)], &[("a", false)]]), [(true, false)]);
        assert_eq!(merged(&[&[("a", true)], &[("b", false)]]), [(true, true)]);
        assert_eq!(merged(&[&[("a", true), ("a", false)], &[("", true)]]), [(true, false)]);
    }

    #[test]
    fn endpoints_print_as_sockets_do() {
        for address in ["0.0.0.0", "1.20.100.255", "10.0.0.10", "fd00::1", "2001:db8::"] {
            for port in [1, 9, 10, 99, 100, 8080, 10_000, 65_535] {
                let address: IpAddr = address.parse().unwrap();
                let socket = std::net::SocketAddr::new(address, port);
                assert_eq!(*join_host_port(address, port), *socket.to_string());
            }
        }
    }
}
