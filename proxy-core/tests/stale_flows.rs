//! Which conntrack entries are deleted.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test stops at the first surprise")]

#[path = "support/manifests.rs"]
mod manifests;

use proxy_core::config::{Machine, NodeConfig};
use proxy_core::generator::Generator;
use proxy_core::objects::{IpFamily, KubeProxyConfiguration};
use proxy_core::plan::Plan;
use proxy_core::service_store::ServiceStore;
use proxy_core::stale_flows::{FlowCleanup, FlowDeletion, UdpFlow};
use proxy_core::version::KubeProxyVersion;

fn service(name: &str, address: &str, protocol: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{type: NodePort, clusterIP: {address}, externalIPs: [198.51.100.1], \
         ports: [{{port: 53, nodePort: 30053, protocol: {protocol}}}]}}\nstatus: {{loadBalancer: {{ingress: [{{ip: 192.0.2.1}}]}}}}\n---\n"
    )
}

fn slice(name: &str, protocol: &str, endpoints: &[&str]) -> String {
    let endpoints: String = endpoints
        .iter()
        .map(|endpoint| {
            let (address, serving) = endpoint.split_once('!').map_or((*endpoint, true), |(address, _)| (address, false));
            format!("- {{addresses: [{address}], conditions: {{ready: false, serving: {serving}, terminating: true}}}}\n")
        })
        .collect();
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}\n\
         addressType: IPv4\nports: [{{name: '', port: 5353, protocol: {protocol}}}]\nendpoints:\n{endpoints}---\n"
    )
}

fn plan(yaml: &str, version: KubeProxyVersion) -> Plan {
    let mut machine = Machine::new("a");
    machine.kube_proxy_version = version;
    let config = NodeConfig::new(machine, &KubeProxyConfiguration::default(), None).unwrap();
    Plan::new(&ServiceStore::new(&manifests::read(yaml)).unwrap(), &config, IpFamily::V4)
}

/// Stale flows after an update, written `destination>replying`; `None` if there is no scan.
fn stale(before: &str, after: &str, flows: &[&str]) -> Option<Vec<String>> {
    let [before, after] = [before, after].map(|yaml| plan(yaml, KubeProxyVersion::Newest));
    let FlowCleanup::Reconcile(reconciliation) = Generator::Iptables.sync(&before, &after).flows else {
        return None;
    };
    let frontends = reconciliation.frontends(&after);
    let is_stale = |flow: &&&str| {
        let (original, reply) = flow.split_once('>').unwrap();
        let flow =
            UdpFlow { original_destination: original.parse().unwrap(), reply_source: reply.parse().unwrap() };
        frontends.is_stale(&flow)
    };
    Some(flows.iter().filter(is_stale).map(|flow| (*flow).to_owned()).collect())
}

const FLOWS: [&str; 9] = [
    "10.96.0.1:53>10.244.0.1:5353",
    "10.96.0.1:53>10.244.0.2:5353",
    "10.96.0.1:53>10.96.0.1:53",
    "10.96.0.1:54>10.244.0.2:5353",
    "198.51.100.1:53>10.244.0.2:5353",
    "192.0.2.1:53>10.244.0.2:5353",
    "172.16.0.1:30053>10.244.0.2:5353",
    "172.16.0.1:30053>10.244.0.1:5353",
    "8.8.8.8:53>8.8.8.8:53",
];

#[test]
fn flows_to_no_serving_endpoint_are_stale() {
    let web = service("web", "10.96.0.1", "UDP");
    let state = |endpoints: &[&str]| [web.as_str(), &slice("web", "UDP", endpoints)].concat();
    let both = state(&["10.244.0.1", "10.244.0.2"]);
    // All that do not lead to 10.244.0.1.
    let not_first = [FLOWS[1], FLOWS[2], FLOWS[4], FLOWS[5], FLOWS[6]];

    assert_eq!(stale(&both, &both, &FLOWS), None, "nothing changed");
    assert_eq!(stale(&both, &state(&["10.244.0.1"]), &FLOWS).unwrap(), not_first, "an endpoint was removed");
    assert_eq!(
        stale(&both, &state(&["10.244.0.1", "10.244.0.2!"]), &FLOWS).unwrap(),
        not_first,
        "one stopped serving"
    );
    assert_eq!(
        stale(&state(&[]), &state(&["10.244.0.1"]), &FLOWS).unwrap(),
        not_first,
        "the first endpoint is added"
    );
    assert_eq!(
        stale(&state(&["10.244.0.1"]), &both, &FLOWS).unwrap(),
        [FLOWS[2]],
        "another endpoint is added"
    );

    let none_left = [FLOWS[0], FLOWS[1], FLOWS[2], FLOWS[4], FLOWS[5]];
    assert_eq!(
        stale(&both, &state(&[]), &FLOWS).unwrap(),
        none_left,
        "no endpoints left: NodePorts are exempt"
    );
    assert_eq!(stale(&both, "", &FLOWS).unwrap(), none_left, "the Service was removed");
}

#[test]
fn an_address_taken_over_belongs_to_the_living() {
    let old = [service("old", "10.96.0.1", "UDP"), slice("old", "UDP", &["10.244.0.1"])].concat();
    let new = [service("new", "10.96.0.1", "UDP"), slice("new", "UDP", &["10.244.0.2"])].concat();
    let expected = [FLOWS[0], FLOWS[2], FLOWS[7]];
    assert_eq!(stale(&old, &new, &FLOWS).unwrap(), expected);
}

#[test]
fn tcp_is_never_looked_at() {
    let before = [service("web", "10.96.0.1", "TCP"), slice("web", "TCP", &["10.244.0.1"])].concat();
    assert_eq!(stale(&before, "", &FLOWS), None);
    assert_eq!(stale(&before, &service("web", "10.96.0.1", "TCP"), &FLOWS), None);
}

#[test]
fn older_kube_proxies_delete_by_event() {
    let web = service("web", "10.96.0.1", "UDP");
    let state = |endpoints: &[&str]| [web.as_str(), &slice("web", "UDP", endpoints)].concat();
    let commands = |before: &str, after: &str| {
        let [before, after] = [before, after].map(|yaml| plan(yaml, KubeProxyVersion::V1_31));
        match Generator::Iptables.sync(&before, &after).flows {
            FlowCleanup::Delete(deletions) => {
                deletions.iter().map(FlowDeletion::command).collect::<Vec<_>>().join("\n")
            }
            FlowCleanup::None => String::new(),
            FlowCleanup::Reconcile(_) => panic!("v1.31 does not reconcile"),
        }
    };
    insta::assert_snapshot!(commands(&state(&["10.244.0.1", "10.244.0.2"]), &state(&["10.244.0.1"])), @"
    conntrack -D -p udp --dport 30053 --dst-nat 10.244.0.2
    conntrack -D --orig-dst 10.96.0.1 --dst-nat 10.244.0.2 -p udp
    conntrack -D --orig-dst 198.51.100.1 --dst-nat 10.244.0.2 -p udp
    conntrack -D --orig-dst 192.0.2.1 --dst-nat 10.244.0.2 -p udp
    ");
    insta::assert_snapshot!(commands(&state(&[]), &state(&["10.244.0.1"])), @"
    conntrack -D --orig-dst 10.96.0.1 -p udp
    conntrack -D --orig-dst 192.0.2.1 -p udp
    conntrack -D --orig-dst 198.51.100.1 -p udp
    conntrack -D -p udp --dport 30053
    ");
    insta::assert_snapshot!(commands(&state(&["10.244.0.1"]), ""), @"conntrack -D --orig-dst 10.96.0.1 -p udp");
    assert_eq!(commands(&state(&["10.244.0.1"]), &state(&["10.244.0.1", "10.244.0.2"])), "");
}
