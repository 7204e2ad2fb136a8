//! Random small clusters and nodes with every feature that affects rules, and with names and addresses that often
//! collide.
#![allow(dead_code, reason = "each test uses its part of this")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proxy_core::config::{Machine, NodeConfig};
use proxy_core::objects::{
    AddressType, ClientIpConfig, DetectLocalConfiguration, Endpoint, EndpointConditions, EndpointHints,
    EndpointPort, EndpointSlice, ForNode, ForZone, IpFamily, IpMode, IpTablesConfiguration,
    IpvsConfiguration, KubeProxyConfiguration, LoadBalancerIngress, Node, Object, Protocol, Service,
    ServiceAffinity, ServicePort, ServiceType, SessionAffinityConfig, TrafficPolicy,
};
use proxy_core::version::KubeProxyVersion;

const NAMESPACES: [&str; 2] = ["default", "prod"];

/// Names that are prefixes of each other, with characters that sort around `:`.
const NAMES: [&str; 6] = ["a", "a-b", "a1", "b", "svc-1", "svc-10"];

/// Objects of one Service: optionally the Service itself, and its slices.
fn service_objects(namespace: &'static str, name: &'static str) -> impl Strategy<Value = Vec<Object>> {
    let service = prop::option::weighted(0.9, service(namespace, name));
    let slices = prop::collection::vec(slice(namespace, name), 0..3);
    (service, slices).prop_map(move |(service, slices)| {
        let numbered = slices.into_iter().enumerate().map(|(index, mut slice)| {
            slice.metadata.name = format!("{name}-{index}");
            Object::EndpointSlice(slice)
        });
        service.map(Object::Service).into_iter().chain(numbered).collect()
    })
}

/// A cluster.
pub(crate) fn cluster() -> impl Strategy<Value = Vec<Object>> {
    pair().prop_map(|(before, _)| before)
}

/// A cluster before and after an update that keeps about half of it.
pub(crate) fn pair() -> impl Strategy<Value = (Vec<Object>, Vec<Object>)> {
    let names: Vec<_> =
        NAMESPACES.iter().flat_map(|namespace| NAMES.iter().map(move |name| (*namespace, *name))).collect();
    subsequence(names, 0..7).prop_flat_map(|names| {
        let services = names.into_iter().map(|(namespace, name)| {
            let either = || prop::option::weighted(0.8, service_objects(namespace, name));
            (either(), prop::bool::weighted(0.4), either())
        });
        services.collect::<Vec<_>>().prop_map(|services| {
            let mut pair = (Vec::new(), Vec::new());
            for (before, changes, after) in services {
                pair.1.extend(if changes { after } else { before.clone() }.into_iter().flatten());
                pair.0.extend(before.into_iter().flatten());
            }
            pair
        })
    })
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select(Protocol::ALL.to_vec())
}

fn policy() -> impl Strategy<Value = Option<TrafficPolicy>> {
    select(vec![None, Some(TrafficPolicy::Cluster), Some(TrafficPolicy::Local)])
}

fn strings(pool: &'static [&'static str], max: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(select(pool), 0..=max)
        .prop_map(|list| list.into_iter().map(str::to_owned).collect())
}

prop_compose! {
    fn service_ports()(
        names in subsequence(vec!["", "http", "p"], 1..=3),
        protocols in prop::collection::vec(protocol(), 3),
        numbers in prop::collection::vec(select(vec![53, 80, 443]), 3),
        node_ports in prop::collection::vec(select(vec![0, 30001, 30002]), 3),
    ) -> Vec<ServicePort> {
        let ports = names.into_iter().enumerate().map(|(index, name)| ServicePort {
            name: name.to_owned(),
            protocol: protocols[index],
            port: numbers[index],
            node_port: node_ports[index],
            ..ServicePort::default()
        });
        ports.collect()
    }
}

prop_compose! {
    fn service(namespace: &'static str, name: &'static str)(
        ports in service_ports(),
        service_type in select(vec![ServiceType::ClusterIP, ServiceType::NodePort, ServiceType::LoadBalancer]),
        families in select(vec![vec![4], vec![6], vec![4, 6], vec![6, 4], vec![]]),
        external_ips in strings(&["198.51.100.1", "198.51.100.01", "198.51.100.2", "2001:db8::1"], 3),
        ingress in prop::collection::vec(
            (select(vec!["203.0.113.1", "203.0.113.2", "2001:db8:1::1", ""]), select(vec![None, Some(IpMode::Vip), Some(IpMode::Proxy)])),
            0..3,
        ),
        ranges in strings(&["10.0.0.0/8", " 192.168.0.0/16", "0.0.0.0/0", "fd00::/8", "::/0", "203.0.113.0/24"], 3),
        policies in (policy(), policy()),
        affinity in prop::option::weighted(0.3, select(vec![None, Some(60)])),
        health in select(vec![0, 32000]),
        address in 1..200u8,
        label in prop::option::weighted(0.1, select(vec!["service.kubernetes.io/headless", "service.kubernetes.io/service-proxy-name"])),
    ) -> Service {
        let mut service = Service::default();
        service.metadata.name = name.to_owned();
        service.metadata.namespace = namespace.to_owned();
        service.metadata.labels.extend(label.map(|label| (label.to_owned(), String::new())));
        let spec = &mut service.spec;
        spec.service_type = service_type;
        spec.ports = ports;
        spec.cluster_ips = families
            .iter()
            .map(|family| if *family == 4 { format!("10.96.0.{address}") } else { format!("fd00:96::{address:x}") })
            .collect();
        spec.ip_families = families.iter().map(|family| if *family == 4 { IpFamily::V4 } else { IpFamily::V6 }).collect();
        spec.cluster_ip = spec.cluster_ips.first().cloned().unwrap_or_else(|| "None".to_owned());
        spec.external_ips = external_ips;
        spec.load_balancer_source_ranges = ranges;
        spec.internal_traffic_policy = policies.0;
        spec.external_traffic_policy = policies.1;
        spec.health_check_node_port = health;
        if let Some(seconds) = affinity {
            spec.session_affinity = ServiceAffinity::ClientIP;
            spec.session_affinity_config =
                Some(SessionAffinityConfig { client_ip: Some(ClientIpConfig { timeout_seconds: seconds }) });
        }
        service.status.load_balancer.ingress = ingress
            .into_iter()
            .map(|(ip, ip_mode)| LoadBalancerIngress { ip: ip.to_owned(), ip_mode, ..LoadBalancerIngress::default() })
            .collect();
        service
    }
}

prop_compose! {
    fn endpoint(family: u8)(
        address in 1..6u8,
        node in select(vec![None, Some("a"), Some("b")]),
        conditions in (any::<Option<bool>>(), any::<Option<bool>>(), any::<Option<bool>>()),
        zone in select(vec![None, Some("east"), Some("east"), Some("west")]),
        for_node in select(vec![None, Some("a"), Some("b")]),
    ) -> Endpoint {
        let (ready, serving, terminating) = conditions;
        Endpoint {
            addresses: vec![if family == 4 { format!("10.244.0.{address}") } else { format!("fd00:244::{address}") }],
            conditions: EndpointConditions { ready, serving, terminating },
            node_name: node.map(str::to_owned),
            hints: Some(EndpointHints {
                for_zones: zone.into_iter().map(|zone| ForZone { name: zone.to_owned() }).collect(),
                for_nodes: for_node.into_iter().map(|node| ForNode { name: node.to_owned() }).collect(),
            }),
            ..Endpoint::default()
        }
    }
}

fn slice(namespace: &'static str, service: &'static str) -> impl Strategy<Value = EndpointSlice> {
    select(vec![4u8, 4, 6]).prop_flat_map(move |family| {
        let endpoints = prop::collection::vec(endpoint(family), 0..5);
        let ports = prop::collection::vec(
            (
                select(vec![None, Some(""), Some("http"), Some("p")]),
                protocol(),
                select(vec![None, Some(0), Some(80), Some(8080)]),
            ),
            0..4,
        );
        (endpoints, ports).prop_map(move |(endpoints, ports)| {
            let mut slice = EndpointSlice {
                address_type: if family == 4 { AddressType::IPv4 } else { AddressType::IPv6 },
                endpoints,
                ports: ports
                    .into_iter()
                    .map(|(name, protocol, port)| EndpointPort {
                        name: name.map(str::to_owned),
                        protocol,
                        port,
                        app_protocol: None,
                    })
                    .collect(),
                ..EndpointSlice::default()
            };
            slice.metadata.namespace = namespace.to_owned();
            slice.metadata.labels =
                BTreeMap::from([("kubernetes.io/service-name".to_owned(), service.to_owned())]);
            slice
        })
    })
}

prop_compose! {
    /// What kube-proxy knows about a node named `a`.
    pub(crate) fn config()(
        local in select(vec!["ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix", ""]),
        cluster_cidr in select(vec!["10.244.0.0/16,fd00:244::/64", "10.244.0.0/16", ""]),
        node_port_addresses in select(vec![vec![], vec!["primary"], vec!["192.168.0.0/16"], vec!["127.0.0.0/8", "192.168.1.0/24"], vec!["::1/128"]]),
        switches in any::<[bool; 6]>(),
        zone in select(vec![None, Some("east"), Some("north")]),
        bit in select(vec![None, Some(0), Some(31)]),
        scheduler in select(vec!["", "sh", "mh"]),
        strict_arp in any::<bool>(),
    ) -> NodeConfig {
        let [masquerade_all, localhost, liberal, nfacct, random, newest] = switches;
        let mut machine = Machine::new("a");
        machine.node_ips = vec!["192.168.1.10".parse().unwrap(), "fd00:1::10".parse().unwrap()];
        machine.interface_addresses.extend(["192.168.1.10/24", "172.17.0.1/16", "fd00:1::10/64"].map(|net| net.parse::<ipnet::IpNet>().unwrap()));
        machine.tcp_be_liberal = liberal;
        machine.has_nfacct = nfacct;
        machine.has_random_fully = random;
        machine.kube_proxy_version = if newest { KubeProxyVersion::Newest } else { KubeProxyVersion::V1_31 };
        let configuration = KubeProxyConfiguration {
            detect_local_mode: local.to_owned(),
            cluster_cidr: cluster_cidr.to_owned(),
            detect_local: DetectLocalConfiguration {
                bridge_interface: "cni0".to_owned(),
                interface_name_prefix: "veth".to_owned(),
            },
            node_port_addresses: node_port_addresses.into_iter().map(str::to_owned).collect(),
            iptables: IpTablesConfiguration {
                masquerade_all,
                masquerade_bit: bit,
                localhost_node_ports: Some(localhost),
                ..IpTablesConfiguration::default()
            },
            ipvs: IpvsConfiguration {
                scheduler: scheduler.to_owned(),
                strict_arp,
                ..IpvsConfiguration::default()
            },
            ..KubeProxyConfiguration::default()
        };
        let mut node = Node::default();
        node.metadata.name = "a".to_owned();
        node.spec.pod_cidrs = vec!["10.244.1.0/24".to_owned()];
        node.metadata.labels.extend(zone.map(|zone| ("topology.kubernetes.io/zone".to_owned(), zone.to_owned())));
        NodeConfig::new(machine, &configuration, Some(&node)).unwrap()
    }
}
