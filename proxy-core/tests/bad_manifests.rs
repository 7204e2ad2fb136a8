//! Input that an API server would reject is either an error that names the field or something that kube-proxy ignores,
//! never a malformed rule.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test stops at the first surprise")]

#[path = "support/clusters.rs"]
mod clusters;
#[path = "support/manifests.rs"]
mod manifests;
#[path = "support/netns.rs"]
mod netns;
#[path = "support/restore_model.rs"]
mod restore_model;
#[path = "support/rule_syntax.rs"]
mod rule_syntax;

use netns::{Backend, Netns};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use proxy_core::config::{Machine, NodeConfig};
use proxy_core::controller::{ServiceNetwork, reconcile};
use proxy_core::objects::{IpFamily, KubeProxyConfiguration, Object};
use proxy_core::plan::Plan;
use proxy_core::service_store::ServiceStore;
use proxy_core::{ObjectError, iptables};
use serde_json::{Value, json};

const FAMILIES: [IpFamily; 2] = [IpFamily::V4, IpFamily::V6];

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: prod}
spec:
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1]
  ipFamilies: [IPv4]
  ports: [{name: http, port: 80}]
";

const SLICE: &str = "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: prod, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.244.0.1]}]
ports: [{name: http, port: 80}]
";

fn error(yaml: &str) -> ObjectError {
    ServiceStore::new(&manifests::read(yaml)).expect_err(yaml)
}

#[test]
fn errors_name_the_field() {
    let long = "a".repeat(64);
    let cases = [
        (SERVICE, "name: web", "name: ''".to_owned(), "metadata.name"),
        (SERVICE, "name: web", "name: Web".to_owned(), "metadata.name"),
        (SERVICE, "name: web", format!("name: {long}"), "metadata.name"),
        (SERVICE, "name: web", "name: \"we\\nb\"".to_owned(), "metadata.name"),
        (SERVICE, "name: web", "name: 'we\" -j ACCEPT'".to_owned(), "metadata.name"),
        (SERVICE, "namespace: prod", "namespace: a/b".to_owned(), "metadata.namespace"),
        (SERVICE, "name: http", "name: ht tp".to_owned(), "spec.ports[0].name"),
        (SERVICE, "port: 80", "port: 0".to_owned(), "spec.ports[0].port"),
        (SERVICE, "port: 80", "port: 65536".to_owned(), "spec.ports[0].port"),
        (SERVICE, ", port: 80", String::new(), "spec.ports[0].port"),
        (SERVICE, "port: 80", "port: 80, nodePort: -1".to_owned(), "spec.ports[0].nodePort"),
        (SERVICE, "port: 80}", "port: 80}, {name: http, port: 81}".to_owned(), "spec.ports[1].name"),
        (SERVICE, "clusterIP: 10.96.0.1", "clusterIP: 10.96.0.256".to_owned(), "spec.clusterIP"),
        (SERVICE, "clusterIPs: [10.96.0.1]", "clusterIPs: [ten]".to_owned(), "spec.clusterIPs[0]"),
        (SERVICE, "clusterIPs: [10.96.0.1]", "clusterIPs: ['fd00::1']".to_owned(), "spec.clusterIPs[0]"),
        (SERVICE, "  ports:", "  externalIPs: [1.2.3.4, x]\n  ports:".to_owned(), "spec.externalIPs[1]"),
        (
            SERVICE,
            "  ports:",
            "  loadBalancerSourceRanges: [10.0.0.0]\n  ports:".to_owned(),
            "spec.loadBalancerSourceRanges[0]",
        ),
        (
            SERVICE,
            "  ports:",
            "  healthCheckNodePort: 70000\n  ports:".to_owned(),
            "spec.healthCheckNodePort",
        ),
        (
            SERVICE,
            "  ports:",
            "  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}\n  ports:"
                .to_owned(),
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        ),
        (
            SERVICE,
            "spec:",
            "status: {loadBalancer: {ingress: [{ip: lb}]}}\nspec:".to_owned(),
            "status.loadBalancer.ingress[0].ip",
        ),
        (SLICE, "[10.244.0.1]", "['10.244.0.1;']".to_owned(), "endpoints[0].addresses[0]"),
        (SLICE, "[10.244.0.1]", "['fd00::1']".to_owned(), "endpoints[0].addresses[0]"),
        (SLICE, "port: 80", "port: 65536".to_owned(), "ports[0].port"),
        (SLICE, "port: 80", "port: -1".to_owned(), "ports[0].port"),
        (SLICE, "name: http", "name: 'http\"'".to_owned(), "ports[0].name"),
        (SLICE, "name: web-1", "name: web_1".to_owned(), "metadata.name"),
    ];
    for (manifest, from, to, path) in cases {
        assert!(manifest.contains(from), "{from}");
        let error = error(&manifest.replacen(from, &to, 1));
        assert_eq!(&*error.path, path, "{error}");
    }
}

#[test]
fn errors_read_as_sentences_and_cannot_garble_a_terminal() {
    let error = error(&SERVICE.replace("name: http", "name: \"\\e[31m\\u202e\""));
    insta::assert_snapshot!(error, @r#"Service prod/web: spec.ports[0].name: expected a DNS label: at most 63 lower case letters, digits and '-', beginning and ending with a letter or digit, found "\u{1b}[31m\u{202e}""#);
    assert_eq!(
        &*self::error(&SERVICE.replace("name: http", &format!("name: {}", "x".repeat(500))))
            .found
            .chars()
            .take(3)
            .collect::<String>(),
        "\"xx"
    );
}

#[test]
fn a_name_used_twice_is_an_error() {
    assert_eq!(&*error(&format!("{SERVICE}---\n{SERVICE}")).path, "metadata.name");
}

#[test]
fn what_kube_proxy_passes_over_is_passed_over() {
    for (manifest, from, to) in [
        (SLICE, "kubernetes.io/service-name: web", "other: web"),
        (
            SLICE,
            "addressType: IPv4\nendpoints: [{addresses: [10.244.0.1]}]",
            "addressType: FQDN\nendpoints: [{addresses: [a.example]}]",
        ),
        (SLICE, "[10.244.0.1]", "[]"),
        (SLICE, "name: http, port: 80", "port: 80"),
        (SLICE, "name: http, port: 80", "name: http"),
        (SLICE, "port: 80", "port: 0"),
    ] {
        let objects = manifests::read(&format!("{SERVICE}---\n{}", manifest.replacen(from, to, 1)));
        let config = NodeConfig::new(Machine::new("a"), &KubeProxyConfiguration::default(), None).unwrap();
        let plan = Plan::new(&ServiceStore::new(&objects).unwrap(), &config, IpFamily::V4);
        assert_eq!(plan.endpoint_count, 0, "{to}");
        assert!(iptables::restore(&plan).contains("prod/web:http has no endpoints"), "{to}");
    }
}

/// Comments in the kernel have room for 255 characters, chain names for 28.
#[test]
fn the_longest_names_fit() {
    let label = "n".repeat(63);
    let address = "2001:db8:1111:2222:3333:4444:5555:6666";
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {label}, namespace: {label}}}\nspec: {{type: LoadBalancer, externalTrafficPolicy: Local, \
         clusterIP: '{address}', loadBalancerSourceRanges: ['{address}/128'], sessionAffinity: ClientIP, healthCheckNodePort: 32000, \
         ports: [{{name: {label}, port: 65535, nodePort: 30000, protocol: SCTP}}]}}\nstatus: {{loadBalancer: {{ingress: [{{ip: '{address}'}}]}}}}\n"
    );
    let slice = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s, namespace: {label}, labels: {{kubernetes.io/service-name: {label}}}}}\n\
         addressType: IPv6\nports: [{{name: {label}, port: 65535, protocol: SCTP}}]\nendpoints: [{{addresses: ['{address}'], nodeName: a}}]\n"
    );
    let objects = manifests::read(&format!("{service}---\n{slice}"));
    let config = NodeConfig::new(Machine::new("a"), &KubeProxyConfiguration::default(), None).unwrap();
    let text = iptables::restore(&Plan::new(&ServiceStore::new(&objects).unwrap(), &config, IpFamily::V6));
    assert!(text.contains("KUBE-SVL-") && text.contains("KUBE-FW-"), "{text}");
    rule_syntax::check(&text).unwrap();
    for backend in Backend::ALL {
        let Some(netns) = Netns::new(backend) else { return };
        netns.restore(backend, IpFamily::V6, &text).unwrap();
    }
}

#[test]
fn configuration_errors_name_the_field() {
    let cases = [
        (json!({"detectLocalMode": "Bridge"}), "detectLocalMode"),
        (json!({"clusterCIDR": "10.0.0.0/8,x"}), "clusterCIDR"),
        (json!({"detectLocalMode": "BridgeInterface"}), "detectLocal.bridgeInterface"),
        (
            json!({"detectLocalMode": "BridgeInterface", "detectLocal": {"bridgeInterface": "br0 -j ACCEPT"}}),
            "detectLocal.bridgeInterface",
        ),
        (
            json!({"detectLocalMode": "BridgeInterface", "detectLocal": {"bridgeInterface": "a23456789012345x"}}),
            "detectLocal.bridgeInterface",
        ),
        (
            json!({"detectLocalMode": "InterfaceNamePrefix", "detectLocal": {"interfaceNamePrefix": "a23456789012345"}}),
            "detectLocal.interfaceNamePrefix",
        ),
        (json!({"iptables": {"masqueradeBit": 32}}), "iptables.masqueradeBit"),
        (json!({"iptables": {"masqueradeBit": -1}}), "iptables.masqueradeBit"),
        (json!({"nodePortAddresses": ["10.0.0.0/8", "secondary"]}), "nodePortAddresses[1]"),
        (json!({"bindAddress": "here"}), "bindAddress"),
        (json!({"conntrack": {"min": -1}}), "conntrack.min"),
        (json!({"conntrack": {"udpTimeout": "soon"}}), "conntrack.udpTimeout"),
    ];
    for (json, path) in cases {
        let configuration: KubeProxyConfiguration = serde_json::from_value(json.clone()).unwrap();
        let error = NodeConfig::new(Machine::new("a"), &configuration, None).expect_err(path);
        assert_eq!(&*error.path, path, "{json}: {error}");
    }
}

/// Hostile values: wrong types, boundaries, syntax of iptables, shells and terminals.
fn nasty() -> impl Strategy<Value = Value> {
    prop_oneof![
        select(vec![
            json!(null),
            json!(true),
            json!([]),
            json!({}),
            json!(0),
            json!(-1),
            json!(65535),
            json!(65536),
            json!(2_147_483_647),
            json!(99_999_999_999_i64),
            json!(1.5),
            json!(""),
            json!(" "),
            json!("0"),
            json!("-j ACCEPT"),
            json!("a\" -j ACCEPT"),
            json!("a\nCOMMIT"),
            json!("a\u{0}b"),
            json!("\u{1b}[2J"),
            json!("'; reboot; '"),
            json!("$(x)"),
            json!("a\\"),
            json!("!"),
            json!("ü"),
            json!("10.0.0.1"),
            json!("::ffff:10.0.0.1"),
            json!("fd00::1%eth0"),
            json!("0.0.0.0/0"),
            json!("10.0.0.1/33"),
            json!("::"),
            json!("x".repeat(300)),
            json!("None"),
            json!("Local"),
            json!("ClientIP"),
            json!("UDP"),
            json!("IPv6"),
        ]),
        ".{0,12}".prop_map(Value::String),
        any::<i32>().prop_map(|number| json!(number)),
    ]
}

/// Changes the field that the walk selects, and describes the change.
fn mutate(value: &mut Value, mut walk: u64, nasty: Value) {
    let mut current = value;
    loop {
        let children: Vec<String> = match &*current {
            Value::Object(fields) => fields.keys().cloned().collect(),
            Value::Array(items) => (0..items.len()).map(|index| index.to_string()).collect(),
            _ => Vec::new(),
        };
        let choices = children.len() as u64 + u64::from(walk.is_multiple_of(7));
        if children.is_empty() || choices == 0 {
            *current = nasty;
            return;
        }
        let choice = (walk % choices) as usize;
        walk /= choices.max(2);
        let Some(child) = children.get(choice) else {
            *current = nasty;
            return;
        };
        current = match current {
            Value::Object(fields) => fields.get_mut(child).unwrap(),
            Value::Array(items) => &mut items[child.parse::<usize>().unwrap()],
            _ => unreachable!("it has children"),
        };
    }
}

/// True if an error path refers to a field of the document, or to one that could be added.
fn leads_somewhere(document: &Value, path: &str) -> bool {
    let mut current = Some(document);
    let steps: Vec<&str> = path.split(['.', '[']).collect();
    for (index, step) in steps.iter().enumerate() {
        let Some(value) = current else { return index + 1 == steps.len() || !path.contains('[') };
        current = match step.strip_suffix(']') {
            Some(number) => match value.get(number.parse::<usize>().unwrap()) {
                Some(item) => Some(item),
                None => return false,
            },
            None => value.get(step),
        };
    }
    true
}

fn mutated() -> impl Strategy<Value = (Vec<Object>, Vec<Value>, NodeConfig)> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u64>(), nasty()), 1..3);
    (clusters::cluster(), edits, clusters::config()).prop_map(|(objects, edits, config)| {
        let mut documents: Vec<Value> =
            objects.iter().map(|object| serde_json::to_value(object).unwrap()).collect();
        let kinds: Vec<_> = objects.iter().map(Object::kind).collect();
        for (which, walk, nasty) in edits {
            if !documents.is_empty() {
                let length = documents.len();
                mutate(&mut documents[which.index(length)], walk, nasty);
            }
        }
        let read = kinds
            .iter()
            .zip(&documents)
            .map(|(kind, document)| Object::deserialize_as(*kind, document.clone()));
        (read.filter_map(Result::ok).collect(), documents, config)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn a_bad_manifest_is_an_error_or_good_rules((objects, documents, config) in mutated()) {
        // Controllers must not panic either.
        if let Err(error) = reconcile(&objects, &ServiceNetwork::default()) {
            prop_assert!(!error.to_string().chars().any(char::is_control));
        }
        match ServiceStore::new(&objects) {
            Err(error) => {
                prop_assert!(!error.to_string().chars().any(char::is_control));
                prop_assert!(documents.iter().any(|document| leads_somewhere(document, &error.path)), "{}", error);
            }
            Ok(store) => {
                for family in FAMILIES {
                    let text = iptables::restore(&Plan::new(&store, &config, family));
                    rule_syntax::check(&text).map_err(TestCaseError::fail)?;
                    restore_model::Ruleset::default().restore(&text).map_err(TestCaseError::fail)?;
                }
            }
        }
    }
}

/// The same with the real tools as judge.
#[test]
fn the_real_tools_take_what_is_no_error() {
    const MANIFESTS: usize = 60;
    let mut runner = TestRunner::deterministic();
    let strategy = mutated();
    for backend in Backend::ALL {
        let Some(netns) = Netns::new(backend) else { return };
        let mut taken = 0;
        while taken < MANIFESTS {
            let (objects, _, mut config) = strategy.new_tree(&mut runner).unwrap().current();
            let Ok(store) = ServiceStore::new(&objects) else { continue };
            config.has_nfacct = false;
            taken += 1;
            for family in FAMILIES {
                let text = iptables::restore(&Plan::new(&store, &config, family));
                let restore = backend.command(family, "-restore");
                netns
                    .run(&[&restore, "--noflush", "--test"], &text)
                    .unwrap_or_else(|error| panic!("{error}\n{text}"));
            }
        }
    }
}
