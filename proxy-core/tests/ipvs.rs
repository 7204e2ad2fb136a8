//! IPVS mode: laws for every cluster and update, and tables of what kube-proxy does with single changes.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test stops at the first surprise")]

#[path = "support/clusters.rs"]
mod clusters;
#[path = "support/manifests.rs"]
mod manifests;
#[path = "support/node_model.rs"]
mod node_model;
#[path = "support/restore_model.rs"]
mod restore_model;

use node_model::NodeModel;
use proptest::prelude::*;
use proxy_core::config::{Machine, NodeConfig};
use proxy_core::generator::Generator;
use proxy_core::ipvs::NodeState;
use proxy_core::load::{Load, Tool};
use proxy_core::objects::{IpFamily, IpvsConfiguration, KubeProxyConfiguration, Object};
use proxy_core::plan::Plan;
use proxy_core::service_store::ServiceStore;

const FAMILIES: [IpFamily; 2] = [IpFamily::V4, IpFamily::V6];

fn plan(objects: &[Object], config: &NodeConfig, family: IpFamily) -> Plan {
    Plan::new(&ServiceStore::new(objects).unwrap(), config, family)
}

fn loaded(plan: &Plan) -> NodeModel {
    let mut node = NodeModel::default();
    node.load(&Generator::Ipvs.load(plan)).unwrap();
    node
}

/// Loads a sync and ends all connections. Settings that kube-proxy makes at start are not compared: it never takes them
/// back.
fn synced(mut node: NodeModel, state: &mut NodeState, loads: &[Load]) -> NodeModel {
    node.load(loads).unwrap_or_else(|error| panic!("{error} in {loads:#?}"));
    node.run(Tool::IpvsadmRestore, &state.drain(|_| 0)).unwrap();
    assert_eq!(state.draining().len(), 0);
    without_settings(node)
}

fn without_settings(mut node: NodeModel) -> NodeModel {
    node.sysctls.clear();
    node.timeouts = None;
    node
}

/// Virtual services that have servers before and after a sync keep at least one that takes connections, line by line.
fn check_services_stay_served(before: &NodeModel, after: &NodeModel, loads: &[Load]) {
    let serving = |node: &NodeModel, key: &String| {
        node.services.get(key).is_some_and(|service| service.servers.values().any(|weight| weight != "0"))
    };
    let mut node = before.clone();
    for load in loads {
        let Load::Text { tool: Tool::IpvsadmRestore, text } = load else { continue };
        for line in text.lines() {
            node.run(Tool::IpvsadmRestore, line).unwrap();
            for key in before.services.keys().filter(|key| serving(before, key) && serving(after, key)) {
                assert!(serving(&node, key), "{key} has no server after {line:?} in\n{text}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A load followed by a sync equals the load of the new state, and nothing is written twice or missed.
    #[test]
    fn a_sync_leads_to_the_new_state((before, after) in clusters::pair(), config in clusters::config()) {
        for family in FAMILIES {
            let [before, after] = [&before, &after].map(|objects| plan(objects, &config, family));
            let mut state = NodeState::new(&before);
            let loads = state.sync(&after, &after.change_since(&before));
            let [old, new] = [&before, &after].map(loaded);
            check_services_stay_served(&old, &new, &loads);
            prop_assert_eq!(&loads, &Generator::Ipvs.sync(&before, &after).load);
            prop_assert_eq!(loads.is_empty(), old == new);
            prop_assert_eq!(synced(old, &mut state, &loads), without_settings(new));
        }
    }

    /// The same if the node itself changes.
    #[test]
    fn a_sync_follows_the_node((before, after) in clusters::pair(), configs in [clusters::config(), clusters::config()]) {
        for family in FAMILIES {
            let before = plan(&before, &configs[0], family);
            let after = plan(&after, &configs[1], family);
            let mut state = NodeState::new(&before);
            let loads = state.sync(&after, &after.change_since(&before));
            let node = synced(loaded(&before), &mut state, &loads);
            prop_assert_eq!(node, without_settings(loaded(&after)));
        }
    }

    /// The state of a node that follows object by object leads to the same as one load.
    #[test]
    fn a_node_follows_single_objects((before, after) in clusters::pair(), config in clusters::config()) {
        for family in FAMILIES {
            let mut store = ServiceStore::new(&before).unwrap();
            let mut current = Plan::new(&store, &config, family);
            let mut state = NodeState::new(&current);
            let mut node = without_settings(loaded(&current));
            let deleted = before.iter().filter(|object| !after.contains(object)).map(|object| (object, false));
            for (object, is_new) in deleted.chain(after.iter().map(|object| (object, true))) {
                let services = if is_new {
                    store.apply(object).unwrap()
                } else {
                    store.delete(object.kind(), object.metadata().unwrap())
                };
                let change = current.update(&store, &config, &services);
                let loads = state.clone().sync(&current, &change);
                prop_assert_eq!(&loads, &Generator::Ipvs.sync_change(&current, &change).load);
                state.sync(&current, &change);
                node = synced(node, &mut state, &loads);
            }
            prop_assert_eq!(node, without_settings(loaded(&plan(&after, &config, family))));
        }
    }
}

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80, protocol: PROTOCOL}]}
";

/// A Service with endpoints 10.244.0.N.
fn service(protocol: &str, endpoints: &[u8]) -> Vec<Object> {
    let endpoints: String =
        endpoints.iter().map(|number| format!("- {{addresses: [10.244.0.{number}]}}\n")).collect();
    let slice = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: web-1, labels: {{kubernetes.io/service-name: web}}}}\n\
         addressType: IPv4\nports: [{{name: '', port: 8080, protocol: {protocol}}}]\nendpoints:\n{endpoints}"
    );
    manifests::read(&format!("{}---\n{slice}", SERVICE.replace("PROTOCOL", protocol)))
}

fn config(ipvs: IpvsConfiguration) -> NodeConfig {
    let configuration = KubeProxyConfiguration { ipvs, ..KubeProxyConfiguration::default() };
    NodeConfig::new(Machine::new("a"), &configuration, None).unwrap()
}

/// The text for ipvsadm of one sync, as lines.
fn ipvsadm(state: &mut NodeState, before: &Plan, after: &Plan) -> Vec<String> {
    let loads = state.sync(after, &after.change_since(before));
    let texts = loads.into_iter().filter_map(|load| match load {
        Load::Text { tool: Tool::IpvsadmRestore, text } => Some(text),
        _ => None,
    });
    texts.collect::<String>().lines().map(str::to_owned).collect()
}

#[test]
fn a_tcp_server_drains_and_others_are_deleted_at_once() {
    let cases = [
        (
            "TCP",
            vec![
                "-a -t 10.96.0.1:80 -r 10.244.0.3:8080 -m -w 1",
                "-e -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 0",
            ],
        ),
        (
            "UDP",
            vec!["-a -u 10.96.0.1:80 -r 10.244.0.3:8080 -m -w 1", "-d -u 10.96.0.1:80 -r 10.244.0.1:8080"],
        ),
        (
            "SCTP",
            vec![
                "-a --sctp-service 10.96.0.1:80 -r 10.244.0.3:8080 -m -w 1",
                "-d --sctp-service 10.96.0.1:80 -r 10.244.0.1:8080",
            ],
        ),
    ];
    let config = config(IpvsConfiguration::default());
    for (protocol, expected) in cases {
        let before = plan(&service(protocol, &[1, 2]), &config, IpFamily::V4);
        let after = plan(&service(protocol, &[2, 3]), &config, IpFamily::V4);
        let mut state = NodeState::new(&before);
        assert_eq!(ipvsadm(&mut state, &before, &after), expected, "{protocol}");
        assert_eq!(state.draining().len(), usize::from(protocol == "TCP"), "{protocol}");
    }
}

#[test]
fn a_draining_server_is_deleted_when_it_has_no_connection() {
    let config = config(IpvsConfiguration::default());
    let [both, one] =
        [&[1, 2][..], &[2]].map(|numbers| plan(&service("TCP", numbers), &config, IpFamily::V4));
    let mut state = NodeState::new(&both);
    ipvsadm(&mut state, &both, &one);
    assert_eq!(state.drain(|_| 1), "");
    assert_eq!(state.drain(|_| 0), "-d -t 10.96.0.1:80 -r 10.244.0.1:8080\n");
    assert_eq!(state.drain(|_| 0), "", "once");
}

#[test]
fn a_server_that_comes_back_while_it_drains_is_deleted_first() {
    let config = config(IpvsConfiguration::default());
    let [both, one, none] =
        [&[1, 2][..], &[2], &[]].map(|numbers| plan(&service("TCP", numbers), &config, IpFamily::V4));
    let mut state = NodeState::new(&both);
    ipvsadm(&mut state, &both, &one);
    let back = ["-d -t 10.96.0.1:80 -r 10.244.0.1:8080", "-a -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 1"];
    assert_eq!(ipvsadm(&mut state, &one, &both), back);
    assert_eq!(state.draining().len(), 0);
    assert_eq!(
        ipvsadm(&mut state, &both, &none).len(),
        2,
        "a Service without endpoints keeps its virtual service"
    );
    let gone = plan(&[], &config, IpFamily::V4);
    assert_eq!(ipvsadm(&mut state, &none, &gone), ["-D -t 10.96.0.1:80"]);
    assert_eq!(state.draining().len(), 0, "they went with their virtual service");
}

#[test]
fn an_excluded_virtual_service_outlives_its_service() {
    let exclude = |cidr: &str| {
        config(IpvsConfiguration { exclude_cidrs: vec![cidr.to_owned()], ..IpvsConfiguration::default() })
    };
    let config = exclude("10.96.0.0/28");
    let before = plan(&service("TCP", &[1, 2]), &config, IpFamily::V4);
    let gone = plan(&[], &config, IpFamily::V4);
    let mut state = NodeState::new(&before);
    assert_eq!(ipvsadm(&mut state, &before, &gone), Vec::<String>::new());
    let again = plan(&service("TCP", &[1, 3]), &config, IpFamily::V4);
    let changes =
        ["-a -t 10.96.0.1:80 -r 10.244.0.3:8080 -m -w 1", "-e -t 10.96.0.1:80 -r 10.244.0.2:8080 -m -w 0"];
    assert_eq!(ipvsadm(&mut state, &gone, &again), changes, "the virtual service is still there");
    ipvsadm(&mut state, &again, &gone);
    let other = plan(&[], &exclude("10.97.0.0/16"), IpFamily::V4);
    assert_eq!(ipvsadm(&mut state, &gone, &other), ["-D -t 10.96.0.1:80"], "not excluded any more");
}

#[test]
fn a_virtual_service_is_edited_in_place() {
    let with = |scheduler: &str, affinity: &str| {
        let mut objects = service("TCP", &[1]);
        if let Object::Service(service) = &mut objects[0] {
            service.spec = serde_json::from_value(serde_json::json!({
                "clusterIP": "10.96.0.1", "ports": [{"port": 80}], "sessionAffinity": affinity,
            }))
            .unwrap();
        }
        let scheduler = scheduler.to_owned();
        plan(&objects, &config(IpvsConfiguration { scheduler, ..IpvsConfiguration::default() }), IpFamily::V4)
    };
    let (plain, sticky, hashed) = (with("", "None"), with("", "ClientIP"), with("mh", "ClientIP"));
    let mut state = NodeState::new(&plain);
    assert_eq!(ipvsadm(&mut state, &plain, &sticky), ["-E -t 10.96.0.1:80 -s rr -p 10800"]);
    assert_eq!(ipvsadm(&mut state, &sticky, &hashed), ["-E -t 10.96.0.1:80 -s mh -p 10800 -b mh-port"]);
}

/// Of Services with the same external IP and port, the last one by name has the virtual service; the other one gets it
/// when that one goes.
#[test]
fn services_with_the_same_frontend_take_over_from_each_other() {
    let yaml = |name: &str, number: u8| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
             spec: {{clusterIP: 10.96.0.{number}, externalIPs: [198.51.100.1], ports: [{{port: 80}}]}}\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}\n\
             addressType: IPv4\nports: [{{name: '', port: 80}}]\nendpoints: [{{addresses: [10.244.0.{number}]}}]\n---\n"
        )
    };
    let config = config(IpvsConfiguration::default());
    let first = plan(&manifests::read(&yaml("a", 1)), &config, IpFamily::V4);
    let both = plan(&manifests::read(&(yaml("a", 1) + &yaml("b", 2))), &config, IpFamily::V4);
    let key = "-t 198.51.100.1:80";
    assert!(loaded(&both).services[key].servers.contains_key("10.244.0.2:80"));
    let mut state = NodeState::new(&both);
    let lines = ipvsadm(&mut state, &both, &first);
    let expected = [
        format!("-a {key} -r 10.244.0.1:80 -m -w 1"),
        format!("-e {key} -r 10.244.0.2:80 -m -w 0"),
        "-D -t 10.96.0.2:80".to_owned(),
    ];
    assert_eq!(lines, expected);
}

/// Everything that a node loads, in order.
#[test]
fn a_node_loads_what_traffic_needs_first() {
    let mut objects = service("TCP", &[1]);
    if let Object::Service(service) = &mut objects[0] {
        service.spec.external_ips = vec!["198.51.100.1".to_owned()];
    }
    let ipvs = IpvsConfiguration {
        strict_arp: true,
        tcp_timeout: Some("15m".to_owned()),
        udp_timeout: Some("1m30s".to_owned()),
        ..IpvsConfiguration::default()
    };
    let loads = Generator::Ipvs.load(&plan(&objects, &config(ipvs), IpFamily::V4));
    let lines = loads.iter().map(|load| match load {
        Load::Sysctl { name, value } => format!("sysctl {name}={value}\n"),
        Load::Ensure(ensure) => ensure.command() + "\n",
        Load::Text { tool, text } => format!("{}:\n{text}", tool.file()),
    });
    insta::assert_snapshot!(lines.collect::<String>());
}
