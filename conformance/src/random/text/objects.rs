//! Manifests of a random world.

use proxy_core::objects::Protocol;
use serde_json::{Value, json};

use crate::random::world::{
    DetectLocal, ExternalIp, Ingress, RandomEndpoint, RandomNodePortAddresses, RandomPod, RandomPort,
    RandomProxy, RandomService, RandomSourceRanges, RandomWorld, ServiceKind, TargetPort,
};

/// TCP port `http` of most Pods.
const HTTP: u16 = 8080;
/// UDP port `dns` of most Pods.
const DNS: u16 = 8053;

pub(super) fn pod_name(slot: u8) -> String {
    format!("pod-{slot}")
}

pub(super) fn service_name(slot: u8) -> String {
    format!("svc-{slot}")
}

pub(super) fn pod(slot: u8, pod: &RandomPod, node: &str) -> Value {
    let port = |name, protocol| json!({"name": name, "containerPort": pod_port(slot, pod, protocol), "protocol": upper(protocol)});
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(slot),
            "labels": {"app": pod.app},
            "deletionTimestamp": pod.is_terminating.then_some("2026-01-01T00:00:00Z"),
        },
        "spec": {
            "nodeName": node,
            "hostNetwork": pod.is_host_network.then_some(true),
            "containers": [{"ports": [port("http", Protocol::Tcp), port("dns", Protocol::Udp)]}],
        },
        "status": {"conditions": pod.is_unready.then(|| json!([{"type": "Ready", "status": "False"}]))},
    })
}

/// hostNetwork Pods share the ports of their node, so each has its own numbers.
pub(super) fn pod_port(slot: u8, pod: &RandomPod, protocol: Protocol) -> u16 {
    let usual = match protocol {
        Protocol::Tcp | Protocol::Sctp if pod.is_http_elsewhere => HTTP + 1,
        Protocol::Tcp | Protocol::Sctp => HTTP,
        Protocol::Udp => DNS,
    };
    if pod.is_host_network { usual + 100 + 10 * u16::from(slot) } else { usual }
}

pub(super) fn service(slot: u8, service: &RandomService, world: &RandomWorld) -> Value {
    let is_load_balancer = service.kind == ServiceKind::LoadBalancer;
    let is_headless = service.kind == ServiceKind::Headless;
    let is_external = service.external_ip.is_some()
        || match service.kind {
            ServiceKind::NodePort | ServiceKind::LoadBalancer => true,
            ServiceKind::ClusterIp | ServiceKind::Headless => false,
        };
    let local = |is_local: bool| is_local.then_some("Local");
    let external_ip = service.external_ip.map(|_| vec![external_ip(slot, service, world)]);
    let ranges = service.source_ranges.filter(|_| is_load_balancer);
    let ports = service.ports.iter().zip(0..);
    let ports: Vec<Value> = ports.map(|(port, index)| service_port(slot, service, index, *port)).collect();
    let ingress = service.ingress.filter(|_| is_load_balancer).map(|ingress| {
        let mode = match ingress {
            Ingress::Vip => "VIP",
            Ingress::Proxy => "Proxy",
        };
        json!([{"ip": load_balancer_ip(slot), "ipMode": mode}])
    });
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": service_name(slot)},
        "spec": {
            "type": type_name(service.kind),
            "clusterIP": if is_headless { "None".to_owned() } else { cluster_ip(slot) },
            "selector": service.slice.is_none().then(|| json!({"app": service.app})),
            "externalTrafficPolicy": local(service.is_external_local && is_external && !is_headless),
            "internalTrafficPolicy": local(service.is_internal_local),
            "externalIPs": external_ip,
            "loadBalancerSourceRanges": ranges.map(|ranges| json!([range(ranges)])),
            "allocateLoadBalancerNodePorts": (is_load_balancer && service.has_no_node_ports).then_some(false),
            "healthCheckNodePort": (is_load_balancer && service.is_external_local)
                .then(|| health_check_port(slot)),
            "sessionAffinity": service.affinity.map(|_| "ClientIP"),
            "sessionAffinityConfig": service.affinity.flatten()
                .map(|seconds| json!({"clientIP": {"timeoutSeconds": world.affinity_timeout(seconds)}})),
            "publishNotReadyAddresses": service.publishes_not_ready.then_some(true),
            "trafficDistribution": service.distribution,
            "ports": ports,
        },
        "status": {"loadBalancer": {"ingress": ingress}},
    })
}

/// The hand-written EndpointSlice of a Service without selector.
pub(super) fn slice(slot: u8, service: &RandomService, world: &RandomWorld) -> Option<Value> {
    let endpoint = |endpoint: &RandomEndpoint| json!({"addresses": [world.addr(endpoint.addr)], "conditions": {"ready": endpoint.is_ready}});
    let endpoints: Vec<Value> = service.slice.as_ref()?.iter().map(endpoint).collect();
    let port = |(port, index): (&RandomPort, u8)| {
        let number = match port.protocol {
            Protocol::Udp => DNS,
            Protocol::Tcp | Protocol::Sctp => HTTP,
        };
        json!({"name": port_name(service, index), "port": number, "protocol": upper(port.protocol)})
    };
    let ports: Vec<Value> = service.ports.iter().zip(0..).map(port).collect();
    let name = service_name(slot);
    Some(json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": format!("{name}-slice"), "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    }))
}

/// Ports have names if there are several.
fn port_name(service: &RandomService, index: u8) -> Option<String> {
    (service.ports.len() > 1).then(|| format!("p{index}"))
}

fn service_port(slot: u8, service: &RandomService, index: u8, port: RandomPort) -> Value {
    let has_node_port = match service.kind {
        ServiceKind::NodePort => true,
        ServiceKind::LoadBalancer => !service.has_no_node_ports,
        ServiceKind::ClusterIp | ServiceKind::Headless => false,
    };
    let target = match (port.target, port.protocol) {
        (TargetPort::Named, Protocol::Udp) => json!("dns"),
        (TargetPort::Named, Protocol::Tcp | Protocol::Sctp) => json!("http"),
        (TargetPort::Number, Protocol::Udp) => json!(DNS),
        (TargetPort::Number, Protocol::Tcp | Protocol::Sctp) => json!(HTTP),
        (TargetPort::Same, _) => Value::Null,
    };
    json!({
        "name": port_name(service, index),
        "protocol": upper(port.protocol),
        "port": port_number(index, port.protocol),
        "targetPort": target,
        "nodePort": has_node_port.then(|| node_port(slot, index)),
    })
}

const fn type_name(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::ClusterIp | ServiceKind::Headless => "ClusterIP",
        ServiceKind::NodePort => "NodePort",
        ServiceKind::LoadBalancer => "LoadBalancer",
    }
}

const fn upper(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
}

const fn range(ranges: RandomSourceRanges) -> &'static str {
    match ranges {
        RandomSourceRanges::Client => "192.168.0.100/32",
        RandomSourceRanges::Lan => "192.168.0.0/24",
        RandomSourceRanges::Pods => "10.244.0.0/16",
        RandomSourceRanges::Nobody => "172.16.0.0/12",
    }
}

/// The port number of a Service port.
pub(super) fn port_number(index: u8, protocol: Protocol) -> u16 {
    let first = match protocol {
        Protocol::Tcp | Protocol::Sctp => 80,
        Protocol::Udp => 53,
    };
    first + u16::from(index)
}

pub(super) fn node_port(slot: u8, index: u8) -> u16 {
    30_000 + 10 * u16::from(slot) + u16::from(index)
}

pub(super) fn health_check_port(slot: u8) -> u16 {
    31_000 + u16::from(slot)
}

pub(super) fn cluster_ip(slot: u8) -> String {
    format!("10.96.0.{}", 10 + slot)
}

pub(super) fn load_balancer_ip(slot: u8) -> String {
    format!("203.0.113.{}", 1 + slot)
}

/// The external address of a Service, or the one it would have.
pub(super) fn external_ip(slot: u8, service: &RandomService, world: &RandomWorld) -> String {
    match service.external_ip {
        Some(ExternalIp::Node(node)) => world.node_ip(node),
        Some(ExternalIp::Nobody) | None => format!("198.51.100.{}", 1 + slot),
    }
}

/// kube-proxy's configuration, unless it is the default.
pub(super) fn proxy(world: &RandomWorld) -> Option<Value> {
    let common = world.proxy.as_ref().map(common_settings);
    let Some(ipvs) = world.ipvs else { return common };
    let mut configuration = common.unwrap_or_else(|| {
        json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clusterCIDR": "10.244.0.0/16",
        })
    });
    configuration["ipvs"] = ipvs.configuration();
    Some(configuration)
}

fn common_settings(proxy: &RandomProxy) -> Value {
    let (mode, cluster_cidr, detect) = match proxy.detect_local {
        DetectLocal::ClusterCidr => (None, Some("10.244.0.0/16"), Value::Null),
        DetectLocal::NodeCidr => (Some("NodeCIDR"), None, Value::Null),
        DetectLocal::BridgeInterface => (Some("BridgeInterface"), None, json!({"bridgeInterface": "cni0"})),
        DetectLocal::InterfaceNamePrefix => {
            (Some("InterfaceNamePrefix"), None, json!({"interfaceNamePrefix": "veth"}))
        }
        DetectLocal::Nothing => (None, None, Value::Null),
    };
    let node_port_addresses = match proxy.node_port_addresses {
        RandomNodePortAddresses::All => None,
        RandomNodePortAddresses::Primary => Some("primary"),
        RandomNodePortAddresses::Lan => Some("192.168.0.0/24"),
        RandomNodePortAddresses::Loopback => Some("127.0.0.0/8"),
        RandomNodePortAddresses::Nowhere => Some("172.16.0.0/12"),
    };
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clusterCIDR": cluster_cidr,
        "detectLocalMode": mode,
        "detectLocal": detect,
        "nodePortAddresses": node_port_addresses.map(|address| json!([address])),
        "iptables": {
            "masqueradeAll": proxy.is_masquerading_all.then_some(true),
            "localhostNodePorts": proxy.localhost_node_ports,
            "masqueradeBit": proxy.masquerade_bit,
        },
        "conntrack": {"tcpBeLiberal": proxy.is_liberal.then_some(true)},
    })
}
