//! Resolves references to netns and addresses of a cluster.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use proxy_core::objects::{Protocol, Service, ServiceType};

use crate::cluster::{Cluster, ClusterPod};
use crate::netns::NetnsName;
use crate::observation::EndpointName;
use crate::scenario::{FieldFault, ObjectName, PortReference, Reference, Target, nearest};

/// The netns that a reference denotes.
pub(super) fn machine(cluster: &Cluster, target: &Target) -> Result<NetnsName, FieldFault> {
    match target {
        Target::Host(name) => host(cluster, name).map(|_| NetnsName::Host(name.clone())),
        Target::Node(name) => node_ip(cluster, name).map(|_| NetnsName::Node(name.clone())),
        Target::Pod(name) => pod(cluster, name).map(netns_of),
        Target::Name(name) if cluster.node(name).is_some() => Ok(NetnsName::Node(name.clone())),
        Target::Name(name) => bare(cluster, name).map(|_| NetnsName::Host(name.clone())),
        Target::Service(_) | Target::Address(_) => Err(FieldFault::new(format!("{target} is not a host"))
            .expected("the name of an external host, pod/NAME or node/NAME")),
    }
}

/// The network namespace of a Pod.
pub(super) fn netns_of(pod: &ClusterPod) -> NetnsName {
    if pod.is_host_network { NetnsName::Node(pod.node.clone()) } else { NetnsName::Pod(pod.name.clone()) }
}

/// The destination address that a reference denotes.
pub(super) fn address(cluster: &Cluster, target: &Target) -> Result<Ipv4Addr, FieldFault> {
    match target {
        Target::Name(name) if cluster.node(name).is_some() => node_ip(cluster, name),
        Target::Host(name) => host(cluster, name),
        Target::Name(name) => bare(cluster, name),
        Target::Node(name) => node_ip(cluster, name),
        Target::Pod(name) => pod(cluster, name).map(|pod| pod.ip),
        Target::Service(name) => cluster_ip(service(cluster, name)?),
        Target::Address(IpAddr::V4(address)) => Ok(*address),
        Target::Address(IpAddr::V6(address)) => {
            Err(FieldFault::new(format!("unsupported address {address}")).help("IPv6 is not implemented yet"))
        }
    }
}

/// The destination address of echo requests.
pub(super) fn echo_target(cluster: &Cluster, reference: &Reference) -> Result<Ipv4Addr, FieldFault> {
    match &reference.port {
        None => address(cluster, &reference.target),
        Some(_) => Err(FieldFault::new("echo requests have no port").expected(reference.target.to_string())),
    }
}

/// The destination address and port that a reference denotes.
pub(super) fn socket(
    cluster: &Cluster,
    reference: &Reference,
    protocol: Protocol,
) -> Result<SocketAddrV4, FieldFault> {
    let address = address(cluster, &reference.target)?;
    let port = match &reference.target {
        Target::Service(name) => service_port(service(cluster, name)?, reference.port.as_ref(), protocol)?,
        Target::Pod(name) => pod_port(pod(cluster, name)?, reference.port.as_ref(), protocol)?,
        Target::Host(_) | Target::Node(_) | Target::Address(_) | Target::Name(_) => match &reference.port {
            Some(PortReference::Number(port)) => *port,
            Some(PortReference::Name(name)) => {
                return Err(FieldFault::new(format!(
                    "only Services and Pods have named ports such as {name:?}"
                ))
                .expected(format!("{}:PORT with a number", reference.target)));
            }
            None => {
                return Err(FieldFault::new(format!("{reference} has no port"))
                    .expected(format!("{}:PORT", reference.target)));
            }
        },
    };
    Ok(SocketAddrV4::new(address, port))
}

/// The name of an endpoint in observations.
pub(super) fn endpoint(cluster: &Cluster, reference: &Reference) -> Result<EndpointName, FieldFault> {
    match &reference.target {
        Target::Pod(name) => pod(cluster, name).map(|pod| EndpointName::Pod(pod.name.clone())),
        Target::Host(_) | Target::Name(_) | Target::Address(_) | Target::Node(_) | Target::Service(_) => {
            let socket = socket(cluster, reference, Protocol::Tcp)?;
            Ok(EndpointName::Address(socket.into()))
        }
    }
}

/// The node whose kube-proxy chooses the endpoint of a connection from `from` to `to`: the one that owns the address,
/// or else the first node on the path.
pub(super) fn via(cluster: &Cluster, from: &NetnsName, to: Ipv4Addr) -> Option<String> {
    let has_more = |node: &str| cluster.node_addresses(node).iter().any(|more| more.net.addr() == to);
    if let Some(node) = cluster.nodes().iter().find(|node| node.ip == to || has_more(&node.name)) {
        return Some(node.name.clone());
    }
    match from {
        NetnsName::Node(name) => Some(name.clone()),
        NetnsName::Pod(name) => cluster.pod(name).map(|pod| pod.node.clone()),
        NetnsName::Host(name) => {
            let host = cluster.host(name)?;
            let next_hop = |via: &crate::scenario::Via| match via {
                crate::scenario::Via::Node(name) => cluster.node(name).map(|node| node.ip),
                crate::scenario::Via::Address(address) => Some(*address),
                crate::scenario::Via::Link => Some(to),
            };
            let routed = host.routes.iter().filter(|route| route.to.contains(&to));
            let routed = routed.max_by_key(|route| route.to.prefix_len()).map(|route| &route.via);
            let hop = match routed {
                Some(via) => next_hop(via),
                None if cluster.lan().contains(&to) => Some(to),
                None => host.gateway.as_ref().and_then(next_hop),
            };
            cluster.nodes().iter().find(|node| Some(node.ip) == hop).map(|node| node.name.clone())
        }
        NetnsName::Switch => None,
    }
}

fn missing(what: &str, name: &str, known: &[&str]) -> FieldFault {
    let fault = FieldFault::new(format!("no {what} {name:?}"));
    let fault = match known {
        [] => fault.expected(format!("an existing {what}; there are none")),
        [only] => fault.expected(*only),
        known => fault.expected(format!("one of {}", known.join(", "))),
    };
    match nearest(name, known) {
        Some(nearest) => fault.help(format!("did you mean {nearest:?}?")),
        None => fault,
    }
}

fn host(cluster: &Cluster, name: &str) -> Result<Ipv4Addr, FieldFault> {
    let known: Vec<&str> = cluster.hosts().iter().map(|host| host.name.as_str()).collect();
    cluster.host(name).map(|host| host.ip).ok_or_else(|| missing("external host", name, &known))
}

/// The address of the external host with that name. Nodes have been searched already.
fn bare(cluster: &Cluster, name: &str) -> Result<Ipv4Addr, FieldFault> {
    if let Some(host) = cluster.host(name) {
        return Ok(host.ip);
    }
    let nodes = cluster.nodes().iter().map(|node| node.name.as_str());
    let known: Vec<&str> = cluster.hosts().iter().map(|host| host.name.as_str()).chain(nodes).collect();
    let fault = missing("external host or node", name, &known);
    if cluster.pod(&ObjectName::new("default", name)).is_some() {
        return Err(fault.help(format!("use pod/{name} for the Pod")));
    }
    // If there is a suggestion already, a similar name exists.
    if name.contains('.') && fault.help.is_empty() {
        return Err(dns_name(cluster, name));
    }
    Err(fault)
}

/// Reports a name that only a DNS server could resolve.
fn dns_name(cluster: &Cluster, name: &str) -> FieldFault {
    let of_service = match name.split('.').collect::<Vec<_>>()[..] {
        [name, namespace, "svc", ..] => Some(ObjectName::new(namespace, name)),
        [name, namespace] => Some(ObjectName::new(namespace, name)),
        [..] => None,
    };
    let known = of_service.filter(|name| cluster.service(name).is_some());
    let instead =
        known.map_or_else(|| "service/[NAMESPACE/]NAME".to_owned(), |name| format!("service/{name}"));
    FieldFault::new(format!("{name:?} is a DNS name"))
        .expected(format!("{instead} or an address"))
        .help("only `resolve` steps resolve names")
}

fn node_ip(cluster: &Cluster, name: &str) -> Result<Ipv4Addr, FieldFault> {
    cluster.node(name).map(|node| node.ip).ok_or_else(|| {
        let known: Vec<&str> = cluster.nodes().iter().map(|node| node.name.as_str()).collect();
        missing("node", name, &known)
    })
}

pub(super) fn pod<'a>(cluster: &'a Cluster, name: &ObjectName) -> Result<&'a ClusterPod, FieldFault> {
    cluster.pod(name).ok_or_else(|| {
        let known: Vec<String> = cluster.pods().iter().map(|pod| pod.name.to_string()).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        missing("Pod", &name.to_string(), &known)
    })
}

fn service<'a>(cluster: &'a Cluster, name: &ObjectName) -> Result<&'a Service, FieldFault> {
    cluster.service(name).ok_or_else(|| {
        let name_of =
            |service: &Service| ObjectName::new(service.metadata.namespace(), &service.metadata.name);
        let known: Vec<String> = cluster.services().map(|service| name_of(service).to_string()).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        missing("Service", &name.to_string(), &known)
    })
}

fn cluster_ip(service: &Service) -> Result<Ipv4Addr, FieldFault> {
    let name = &service.metadata.name;
    if service.spec.service_type == ServiceType::ExternalName {
        return Err(FieldFault::new(format!("Service {name} is an ExternalName, so it has no address")));
    }
    if service.spec.cluster_ip == "None" {
        return Err(FieldFault::new(format!("Service {name} is headless, so it has no address"))
            .help("connect to its Pods; clients find them by DNS"));
    }
    let ipv4 = service.spec.cluster_ips.iter().find_map(|text| text.parse().ok());
    ipv4.ok_or_else(|| {
        FieldFault::new(format!("Service {name} has no IPv4 address")).help("IPv6 is not implemented yet")
    })
}

fn service_port(
    service: &Service,
    port: Option<&PortReference>,
    protocol: Protocol,
) -> Result<u16, FieldFault> {
    let name = &service.metadata.name;
    let ports: Vec<_> = service.spec.ports.iter().filter(|port| port.protocol == protocol).collect();
    let known: Vec<String> = ports
        .iter()
        .map(|port| {
            if port.name.is_empty() {
                port.port.to_string()
            } else {
                format!("{} ({})", port.port, port.name)
            }
        })
        .collect();
    let what = format!("{} port", protocol.lower());
    let found = match port {
        None => match ports[..] {
            [only] => Some(only),
            [] => return Err(FieldFault::new(format!("Service {name} has no {what}"))),
            [..] => {
                return Err(FieldFault::new(format!("Service {name} has several {what}s"))
                    .expected(format!("service/{name}:PORT with one of {}", known.join(", "))));
            }
        },
        Some(PortReference::Number(number)) => {
            ports.iter().find(|port| port.port == i32::from(*number)).copied()
        }
        Some(PortReference::Name(port_name)) => ports.iter().find(|port| port.name == *port_name).copied(),
    };
    let found = found.and_then(|port| u16::try_from(port.port).ok());
    found.ok_or_else(|| {
        let asked = port.map(ToString::to_string).unwrap_or_default();
        FieldFault::new(format!("Service {name} has no {what} {asked}"))
            .expected(format!("one of {}", known.join(", ")))
            .help("use the Service's address to connect to a port that it does not define")
    })
}

fn pod_port(pod: &ClusterPod, port: Option<&PortReference>, protocol: Protocol) -> Result<u16, FieldFault> {
    let own = if pod.declared.is_empty() { &pod.listens } else { &pod.declared };
    let own: Vec<u16> = own.iter().filter(|(one, _)| *one == protocol).map(|(_, port)| *port).collect();
    match port {
        // A Pod may refuse ports on which it does not listen; the scenario may be about that.
        Some(PortReference::Number(number)) => Ok(*number),
        Some(PortReference::Name(name)) => match pod.named_ports.get(name) {
            Some((named, number)) if *named == protocol => Ok(*number),
            Some(_) | None => {
                let known: Vec<&str> = pod.named_ports.keys().map(String::as_str).collect();
                Err(missing(&format!("{} port of Pod {}", protocol.lower(), pod.name), name, &known))
            }
        },
        None => match own[..] {
            [only] => Ok(only),
            [] | [..] => Err(FieldFault::new(format!(
                "Pod {} listens on {} {} ports",
                pod.name,
                own.len(),
                protocol.lower()
            ))
            .expected(format!("pod/{}:PORT", pod.name))),
        },
    }
}

/// The primary address of a netns: that of its `eth0`.
pub(super) fn own_address(cluster: &Cluster, netns: &NetnsName) -> Option<Ipv4Addr> {
    match netns {
        NetnsName::Host(name) => cluster.host(name).map(|host| host.ip),
        NetnsName::Node(name) => cluster.node(name).map(|node| node.ip),
        NetnsName::Pod(name) => cluster.pod(name).map(|pod| pod.ip),
        NetnsName::Switch => None,
    }
}
