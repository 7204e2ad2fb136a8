//! Differences between kube-proxy releases: a test for every row of the table.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test stops at the first surprise")]

#[path = "support/manifests.rs"]
mod manifests;

use proxy_core::config::{Machine, NodeConfig};
use proxy_core::generator::Generator;
use proxy_core::iptables;
use proxy_core::objects::{IpFamily, KubeProxyConfiguration};
use proxy_core::plan::Plan;
use proxy_core::service_store::ServiceStore;
use proxy_core::stale_flows::{FlowCleanup, FlowDeletion, FlowDestination};
use proxy_core::version::{DIFFERENCES, KubeProxyVersion};

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: prod}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.1
  ports: [{name: dns, port: 53, protocol: UDP}]
  loadBalancerSourceRanges: [203.0.113.0/24, 0.0.0.0/0]
status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}
---
";

const SLICE: &str = "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: prod, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}]
endpoints:
- {addresses: [10.244.0.1], nodeName: a, hints: {forNodes: [{name: a}]}}
- {addresses: [10.244.0.2], nodeName: b, hints: {forNodes: [{name: b}]}}
";

const VERSIONS: [KubeProxyVersion; 2] = [KubeProxyVersion::V1_31, KubeProxyVersion::Newest];

fn config(
    version: KubeProxyVersion,
    node_port_addresses: &[&str],
) -> Result<NodeConfig, proxy_core::ObjectError> {
    let mut machine = Machine::new("a");
    machine.kube_proxy_version = version;
    machine.has_random_fully = false;
    let node_port_addresses = node_port_addresses.iter().map(|entry| (*entry).to_owned()).collect();
    let configuration = KubeProxyConfiguration { node_port_addresses, ..Default::default() };
    NodeConfig::new(machine, &configuration, None)
}

fn plan(version: KubeProxyVersion, yaml: &str) -> Plan {
    let store = ServiceStore::new(&manifests::read(yaml)).unwrap();
    Plan::new(&store, &config(version, &[]).unwrap(), IpFamily::V4)
}

fn texts(yaml: &str) -> [String; 2] {
    VERSIONS.map(|version| iptables::restore(&plan(version, yaml)))
}

fn all() -> String {
    [SERVICE, SLICE].concat()
}

#[test]
fn releases_have_names() {
    for version in VERSIONS {
        assert_eq!(KubeProxyVersion::of_name(&version.to_string()), Some(version));
    }
    assert_eq!(KubeProxyVersion::of_name("1.19"), None);
}

#[test]
fn every_difference_has_its_test() {
    assert_eq!(DIFFERENCES.len(), 5, "one of the tests below for each");
}

#[test]
fn masquerade_is_fully_random_without_asking() {
    let [old, new] = texts(&all());
    assert!(old.contains("-j MASQUERADE\n"));
    assert!(new.contains("-j MASQUERADE --random-fully\n"));
}

#[test]
fn a_source_range_of_everything_is_none() {
    let [old, new] = texts(&all());
    assert!(old.contains("-s 0.0.0.0/0 -j KUBE-EXT-") && old.contains("-A KUBE-PROXY-FIREWALL"));
    assert!(!new.contains("KUBE-FW-") && !new.contains("-A KUBE-PROXY-FIREWALL"));
}

#[test]
fn hints_name_nodes() {
    let [old, new] = texts(&all());
    assert!(old.contains(" -> 10.244.0.1:53") && old.contains(" -> 10.244.0.2:53"));
    assert!(new.contains(" -> 10.244.0.1:53") && !new.contains(" -> 10.244.0.2:53"));
}

#[test]
fn node_port_addresses_have_keywords() {
    for (list, expected) in [
        (vec!["primary"], [true, true]),
        (vec!["primary", "10.0.0.0/8"], [false, true]),
        (vec!["localhost"], [false, true]),
        (vec!["all"], [false, true]),
        (vec!["some"], [false, false]),
    ] {
        assert_eq!(VERSIONS.map(|version| config(version, &list).is_ok()), expected, "{list:?}");
    }
}

#[test]
fn stale_flows_are_deleted_by_event_or_by_comparison() {
    let one = SLICE.replace("- {addresses: [10.244.0.2], nodeName: b, hints: {forNodes: [{name: b}]}}\n", "");
    let flows = |version: KubeProxyVersion, before: &str, after: &str| {
        Generator::Iptables.sync(&plan(version, before), &plan(version, after)).flows
    };
    let [old, new] = VERSIONS.map(|version| flows(version, &all(), &[SERVICE, &one].concat()));
    let deletion = |vip: &str| FlowDeletion {
        family: IpFamily::V4,
        destination: FlowDestination::Address(vip.parse().unwrap()),
        endpoint: Some("10.244.0.2".parse().unwrap()),
    };
    assert_eq!(old, FlowCleanup::Delete(vec![deletion("10.96.0.1"), deletion("192.0.2.1")]));
    assert!(matches!(new, FlowCleanup::Reconcile(_)));
}
