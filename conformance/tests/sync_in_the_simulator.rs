//! Executes `proxy-core`'s output in the simulator: the rules for A followed by the sync from A to B must leave the
//! same state as the rules for B.

use proptest::prelude::*;
use proxy_core::config::{Machine, NodeConfig};
use proxy_core::generator::Generator;
use proxy_core::iptables::sync;
use proxy_core::load::Load;
use proxy_core::objects::{
    Endpoint, EndpointPort, EndpointSlice, IpFamily, KubeProxyConfiguration, Object, ObjectMeta, Protocol,
    Service, ServicePort, ServiceSpec, ServiceType, TrafficPolicy,
};
use proxy_core::plan::Plan;
use proxy_core::service_store::ServiceStore;
use sim::hook::Family;
use sim::ipset::Ipset;
use sim::xtables::{RestoreOptions, Xtables};
use std::collections::BTreeMap;

/// One Service, reduced to what matters here.
#[derive(Debug, Clone)]
struct Sketch {
    number: u8,
    is_udp: bool,
    has_node_port: bool,
    is_local: bool,
    /// Endpoints by last octet; odd ones are on the node.
    endpoints: Vec<u8>,
}

fn sketches() -> impl Strategy<Value = Vec<Sketch>> {
    let one = (any::<bool>(), any::<bool>(), any::<bool>(), prop::collection::btree_set(2..9_u8, 0..4));
    prop::collection::btree_map(1..6_u8, one, 0..5).prop_map(|services| {
        services
            .into_iter()
            .map(|(number, (is_udp, has_node_port, is_local, endpoints))| Sketch {
                number,
                is_udp,
                has_node_port,
                is_local,
                endpoints: endpoints.into_iter().collect(),
            })
            .collect()
    })
}

fn objects(sketch: &Sketch) -> [Object; 2] {
    let Sketch { number, is_udp, has_node_port, is_local, endpoints } = sketch;
    let protocol = if *is_udp { Protocol::Udp } else { Protocol::Tcp };
    let name = format!("svc-{number}");
    let metadata =
        ObjectMeta { name: name.clone(), namespace: "default".to_owned(), ..ObjectMeta::default() };
    let port = ServicePort {
        protocol,
        port: 80,
        node_port: if *has_node_port { 30_000 + i32::from(*number) } else { 0 },
        ..ServicePort::default()
    };
    let spec = ServiceSpec {
        service_type: if *has_node_port { ServiceType::NodePort } else { ServiceType::default() },
        cluster_ip: format!("10.96.0.{number}"),
        external_traffic_policy: (*has_node_port && *is_local).then_some(TrafficPolicy::Local),
        ports: vec![port],
        ..ServiceSpec::default()
    };
    let labels = [("kubernetes.io/service-name".to_owned(), name.clone())].into();
    let slice = EndpointSlice {
        metadata: ObjectMeta { name: format!("{name}-a"), labels, ..metadata.clone() },
        ports: vec![EndpointPort {
            name: Some(String::new()),
            protocol,
            port: Some(8080),
            ..EndpointPort::default()
        }],
        endpoints: endpoints
            .iter()
            .map(|last| Endpoint {
                addresses: vec![format!("10.244.0.{last}")],
                node_name: Some(if last % 2 == 1 { "node" } else { "other" }.to_owned()),
                ..Endpoint::default()
            })
            .collect(),
        ..EndpointSlice::default()
    };
    [Object::Service(Service { metadata, spec, ..Service::default() }), Object::EndpointSlice(slice)]
}

fn plan(sketches: &[Sketch]) -> Plan {
    let objects: Vec<Object> = sketches.iter().flat_map(objects).collect();
    let configuration = KubeProxyConfiguration {
        cluster_cidr: "10.244.0.0/16".to_owned(),
        ..KubeProxyConfiguration::default()
    };
    let config = NodeConfig::new(Machine::new("node"), &configuration, None).expect("a valid configuration");
    Plan::new(&ServiceStore::new(&objects).expect("valid objects"), &config, IpFamily::V4)
}

fn restore(tables: &mut Xtables, text: &str) {
    let options = RestoreOptions { noflush: true, counters: true };
    tables
        .restore(&mut Ipset::default(), Family::Ipv4, "restore", text, options)
        .unwrap_or_else(|error| panic!("{error} in\n{text}"));
}

fn load(plan: &Plan) -> Xtables {
    let mut tables = Xtables::default();
    for load in Generator::Iptables.load(plan) {
        match load {
            Load::Sysctl { .. } => {}
            Load::Ensure(ensure) => {
                // `-N` of an existing chain fails harmlessly.
                let _: Result<_, _> = tables.command(&mut Ipset::default(), "jumps", 1, &ensure.command());
            }
            Load::Text { text, .. } => restore(&mut tables, &text),
        }
    }
    tables
}

/// The rules of every chain, in order; chains of equal content in any order.
fn state(tables: &Xtables) -> BTreeMap<String, Vec<String>> {
    let mut state = BTreeMap::<_, Vec<_>>::new();
    let mut table = String::new();
    for line in tables.save(Family::Ipv4, false).lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.to_owned();
        } else if let Some(chain) = line.strip_prefix(':') {
            let name = chain.split(' ').next().unwrap_or_default();
            state.entry(format!("{table} {name}")).or_default();
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let (chain, rule) = rule.split_once(' ').unwrap_or((rule, ""));
            state.entry(format!("{table} {chain}")).or_default().push(rule.to_owned());
        }
    }
    // Services in shared chains have an arbitrary order.
    for (name, rules) in &mut state {
        if ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES"]
            .iter()
            .any(|shared| name.ends_with(shared))
        {
            rules.sort();
        }
    }
    state
}

proptest! {
    #[test]
    fn a_sync_leaves_what_a_fresh_load_leaves(a in sketches(), b in sketches()) {
        let (before, after) = (plan(&a), plan(&b));
        let mut tables = load(&before);
        let text = sync::between(&before, &after);
        if !text.is_empty() {
            restore(&mut tables, &text);
        }
        prop_assert_eq!(state(&tables), state(&load(&after)));
        if before == after {
            prop_assert!(text.is_empty(), "nothing changed, so nothing is written");
        }
    }
}
