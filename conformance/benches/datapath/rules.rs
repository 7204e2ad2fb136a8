//! The rules of the node for a number of Services, as printed by proxy-core.

use proxy_core::config::{Machine, NodeConfig};
use proxy_core::generator::Generator;
use proxy_core::load::Load;
use proxy_core::objects::{
    Endpoint, EndpointPort, EndpointSlice, IpFamily, KubeProxyConfiguration, Object, ObjectMeta, Protocol,
    Service, ServicePort, ServiceSpec, ServiceType,
};
use proxy_core::plan::Plan;
use proxy_core::service_store::ServiceStore;
use std::net::Ipv4Addr;

use crate::{LAN_OF_NODE, NODE, NODE_PORT, POD};

const ENDPOINTS_PER_SERVICE: usize = 5;

/// The list that the node loads in this mode.
pub(crate) fn rules(generator: Generator, services: usize) -> Vec<Load> {
    let objects: Vec<Object> =
        (0..services).flat_map(|index| service(index, index + 1 == services)).collect();
    let store = ServiceStore::new(&objects).expect("valid objects");
    let configuration =
        KubeProxyConfiguration { cluster_cidr: "10.244.0.0/16".to_owned(), ..Default::default() };
    let mut machine = Machine::new("node");
    machine.node_ips = vec![NODE.into()];
    machine.interface_addresses.push(LAN_OF_NODE.into());
    let config = NodeConfig::new(machine, &configuration, None).expect("a valid configuration");
    generator.load(&Plan::new(&store, &config, IpFamily::V4))
}

/// One Service with its slice. The last one has a NodePort and one real endpoint.
fn service(index: usize, is_last: bool) -> [Object; 2] {
    let name = if is_last { "zz".to_owned() } else { format!("svc-{index:05}") };
    let vip = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 10)) + u32::try_from(index).expect("few"));
    let port = |protocol| ServicePort {
        name: format!("{protocol:?}").to_lowercase(),
        protocol,
        port: 80,
        node_port: if is_last { NODE_PORT.into() } else { 0 },
        ..ServicePort::default()
    };
    let metadata = ObjectMeta { name: name.clone(), namespace: "default".to_owned(), ..Default::default() };
    let spec = ServiceSpec {
        service_type: if is_last { ServiceType::NodePort } else { ServiceType::default() },
        cluster_ip: vip.to_string(),
        ports: if is_last {
            vec![port(Protocol::Tcp), port(Protocol::Udp)]
        } else {
            vec![port(Protocol::Tcp)]
        },
        ..Default::default()
    };
    let service = Service { metadata: metadata.clone(), spec, ..Default::default() };
    let labels = [("kubernetes.io/service-name".to_owned(), name.clone())].into();
    let metadata = ObjectMeta { name: format!("{name}-a"), labels, ..metadata };
    let mut slice = EndpointSlice { metadata, ..Default::default() };
    slice.ports = service
        .spec
        .ports
        .iter()
        .map(|port| EndpointPort {
            name: Some(port.name.clone()),
            protocol: port.protocol,
            port: Some(8080),
            ..EndpointPort::default()
        })
        .collect();
    let count = if is_last { 1 } else { ENDPOINTS_PER_SERVICE };
    slice.endpoints = (0..count)
        .map(|endpoint| {
            let fake = 0x0af4_0200 + u32::try_from(index * ENDPOINTS_PER_SERVICE + endpoint).expect("few");
            let addr = if is_last { POD } else { Ipv4Addr::from(fake) };
            Endpoint { addresses: vec![addr.to_string()], ..Endpoint::default() }
        })
        .collect();
    [Object::Service(service), Object::EndpointSlice(slice)]
}
