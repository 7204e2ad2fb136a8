use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::yaml;

fn read_text(text: &str) -> Result<Scenario, ReadError> {
    read(&yaml::parse(text).documents.remove(0))
}

/// A scenario with these steps.
fn with_steps(steps: &str) -> String {
    format!(
        "apiVersion: hairpin/v1\nkind: Scenario\nmetadata: {{name: x}}\nspec:\n  intent: i\n  steps:\n{steps}"
    )
}

const FULL: &str = r#"
apiVersion: hairpin/v1
kind: Scenario
metadata:
  name: nodeport-local
spec:
  intent: externalTrafficPolicy Local keeps the client's address and drops on a node that has no endpoint
  requirements: [service.external-traffic-policy.local]
  proxyModes: [iptables, nftables]
  network:
    cni: bridge
    masquerade: flannel
    clusterCIDR: 10.244.0.0/16
    serviceCIDR: 10.96.0.0/12
    nodeCIDR: 192.168.0.0/24
    gateway: none
    hairpin: false
    mtu: 1450
    sysctls: {net.ipv4.conf.all.rp_filter: 1}
    nodes: {node-1: {iptables: "*filter\nCOMMIT\n"}}
    externalHosts:
    - {name: client, ip: 192.168.0.100, gateway: node/node-1, listen: [80, 53/udp]}
    - {name: other, ip: 192.168.0.101, routes: [{to: 198.51.100.0/24, via: 192.168.0.11}]}
  steps:
    - name: the node that has the endpoint answers, and the pod sees the client
      connect: {from: client, to: "node/node-1:30080", protocol: tcp, count: 64}
      expect: {outcome: connected, endpoints: {pod/web-0: 1/3, pod/prod/web-1: 0.25, "10.0.0.1:80": 0}, sourceSeen: client}
    - connect: {from: client, to: "node/node-2:30080", protocol: UDP, sourcePort: 4000, timeout: 250ms, send: 3000, receive: 20000}
      expect:
        ipvs: {outcomes: {connected: 2/3, refused/tcp-reset: 1/3}, replyFrom: service/web}
        default: {outcome: timeout, dropped: {on: node-2, reason: NETFILTER_DROP}}
    - connect: {from: pod/prod/web-1, to: "service/prod/web:http"}
      expect: {sourceSeen: {pod/web-0: bridge/node-1, pod/web-1: node/node-1}}
    - ping: {from: node/node-1, to: 10.96.0.1}
    - resolve: {from: pod/web-0, name: web.default.svc.cluster.local}
    - send: {from: client, to: "pod/web-0:80", sourcePort: 4001, segments: ["> S 0:0(0) win 64240", "< S. 0:0(0) ack 1"]}
    - connect: {from: client, to: "pod/web-0:80", count: 3, keep: pool}
    - send: {continue: pool, timeout: 1s}
    - close: pool
    - apply: {apiVersion: v1, kind: Service, metadata: {name: a}}
    - apply: [{apiVersion: v1, kind: Service, metadata: {name: a}}]
    - delete: pod/web-0
    - delete: [service/prod/web, endpointslice/x]
    - set:
        pod/web-0: {ready: false, hairpin: true}
        node/node-1: {sysctl: {net.ipv4.ip_forward: 0}, link: {latency: 5ms, loss: 1/100, mtu: 1400, device: down, port: up}}
    - sleep: 1m30s
    - expect: {conntrack: [{on: node/node-1, protocol: udp, from: client, to: "10.96.0.10:53", status: unreplied, entries: 0}]}
"#;

#[test]
fn every_part_is_read() {
    insta::assert_debug_snapshot!(read_text(FULL).unwrap());
}

#[test]
fn faults_are_found_all_at_once() {
    let text = r#"
apiVersion: hairpin/v1
kind: Scenario
metadata: {name: a/b}
spec:
  intent: " "
  proxyModes: [iptable, ipvs, ipvs]
  network:
    cni: brigde
    clusterCIDR: 10.244.0.0/28
    serviceCIDR: 10.96.0.1/12
    gateway: "fd00::1"
    externalHosts: [{name: 1.2.3.4, ip: 999.0.0.1, gateway: pod/a, listen: [0]}]
  steps:
  - {}
  - {name: two, ping: {from: client, to: a//b}, sleep: 5}
  - connect: {from: "pod/a:x:y", to: "node/n:70000", protocol: icmp, count: 0, sourcePort: 0, timeout: 0}
  - connect: {from: client, to: "10.0.0.1:80", count: 2, sourcePort: 5, send: 31, receive: 32001}
    expect:
      outcome: conected
      outcomes: {timeout: 2/3, reset: 2/3}
      endpoints: {service/a: 1, pod/a: 4/3}
      sourceSeen: bridge/
      conntrack: [{on: "node/a:1", status: maybe, entries: 1}]
  - sleep: 1s
    expect: {outcome: connected}
  - {sleep: 1s, expect: {}}
  - {connect: {from: client, to: pod/a}, expect: {outcome: reset, default: {outcome: timeout}}}
  - apply: [1]
  - delete: [pod, pods/a, pod/a/b/c]
  - set: {node/a: {ready: true}, service/b: {sysctl: {a: 1}}, pod/c: {link: {latency: 5, loss: 101%, mtu: 67, device: off, port: "1"}}}
  - {connect: {from: client, to: pod/a}, expect: {outcomes: {}, sourceSeen: {}, conntrack: []}}
  - {connect: {from: client, to: pod/a}, expect: {iptables: {}, default: {outcomes: {connected: 1/2}}}}
  - {connect: {from: client, to: pod/a}, expect: {outcomes: {unreachable/host: 2/3, unreachable: 1/3}}}
  - {ping: {from: client, to: pod/a}, expect: {ipvs: {sourceSeen: client}}}
  - set: {}
  - set: {pod/a: {}, pod/b: {link: {}}, pod/c: {ready: true, sysctl: {}}}
  - delete: []
  - apply: []
"#;
    let Err(ReadError::Fields(faults)) = read_text(text) else { panic!("it has faults") };
    let lines: Vec<_> = faults
        .iter()
        .map(|fault| format!("{}: {} | {} | {}", fault.path, fault.message, fault.expected, fault.help))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn what_is_empty_and_means_something_is_read() {
    for expect in [
        "endpoints: {}",
        "outcomes: {connected: 1/3, refused: 2/3, timeout: 0}",
        "outcomes: {connected: 0.333333333, refused/tcp-reset: 0.333333333, refused/icmp-port-unreachable: 0.333333333}",
    ] {
        let step = format!("  - {{connect: {{from: client, to: pod/a}}, expect: {{{expect}}}}}\n");
        assert!(read_text(&with_steps(&step)).is_ok(), "{expect}");
    }
    assert!(
        read_text(&with_steps("  - {resolve: {from: client, name: a}, expect: {addresses: []}}\n")).is_ok()
    );
}

#[test]
fn references_are_read_and_written() {
    let cases = [
        ("client", "client"),
        ("host/client", "host/client"),
        ("pod/web-0", "pod/web-0"),
        ("pod/default/web-0:80", "pod/web-0:80"),
        ("pod/prod/web.x:http", "pod/prod/web.x:http"),
        ("node/n-1:30080", "node/n-1:30080"),
        ("service/web", "service/web"),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("fd00::1", "fd00::1"),
        ("[fd00::1]", "fd00::1"),
        ("[fd00::1]:80", "[fd00::1]:80"),
        ("example.org:443", "example.org:443"),
    ];
    for (text, written) in cases {
        let reference = Reference::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert_eq!(reference.to_string(), written);
        assert_eq!(Reference::parse(written), Ok(reference), "{text}");
    }
    for text in [
        "",
        "/",
        "pod/",
        "pod",
        "a b",
        "pod/a/b/c",
        "node/a/b",
        "web:",
        "web:0",
        "web:65536",
        "[fd00::1]x",
        "deploy/a",
    ] {
        let is_bare_name = Reference::parse(text).is_ok_and(|it| matches!(it.target, Target::Name(_)));
        assert_eq!(is_bare_name, text == "pod", "{text}");
    }
    assert_eq!(
        Reference::parse("::1").unwrap().target,
        Target::Address(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST))
    );
}

#[test]
fn shares_are_exact() {
    let cases = [
        ("1/3", Some((1, 3))),
        ("2/6", Some((1, 3))),
        ("0", Some((0, 1))),
        ("1", Some((1, 1))),
        ("1.0", Some((1, 1))),
        ("0.25", Some((1, 4))),
        ("0.333333333", Some((333_333_333, 1_000_000_000))),
        ("3/2", None),
        ("1/0", None),
        ("-1/3", None),
        ("+1", None),
        ("", None),
        ("1/", None),
        ("0.", None),
        (".5", None),
        ("33%", None),
        ("0.1234567890", None),
        ("99999999999/1", None),
    ];
    for (text, expected) in cases {
        let share = Share::parse(text).map(|share| (share.numerator(), share.denominator()));
        assert_eq!(share, expected, "{text}");
    }
}

#[test]
fn durations_are_those_of_go() {
    let cases = [
        ("0", Some(0)),
        ("5s", Some(5_000_000_000)),
        ("250ms", Some(250_000_000)),
        ("1m30s", Some(90_000_000_000)),
        ("1.5s", Some(1_500_000_000)),
        (".5s", Some(500_000_000)),
        ("2h", Some(7_200_000_000_000)),
        ("1us", Some(1_000)),
        ("1µs", Some(1_000)),
        ("5", None),
        ("s", None),
        ("", None),
        ("-5s", None),
        ("5 s", None),
        ("1.2.3s", None),
        (".s", None),
        ("9999999999h", None),
        ("5d", None),
    ];
    for (text, nanos) in cases {
        assert_eq!(parse_duration(text), nanos.map(Duration::from_nanos), "{text}");
    }
}

#[test]
fn outcomes_without_kind_fit_every_kind() {
    use sim::trace::{Outcome, Refusal};
    let refused = Outcome::Refused(Refusal::TcpReset);
    for (pattern, fits) in [
        ("refused", true),
        ("refused/tcp-reset", true),
        ("refused/icmp-port-unreachable", false),
        ("timeout", false),
    ] {
        assert_eq!(OutcomePattern::parse(pattern).unwrap().fits(refused), fits, "{pattern}");
        assert_eq!(OutcomePattern::parse(pattern).unwrap().to_string(), pattern);
    }
    assert_eq!(OutcomePattern::exactly(refused).to_string(), "refused/tcp-reset");
}

proptest! {
    #[test]
    fn no_reference_makes_it_panic(text in "[a-z0-9:/.\\[\\]-]{0,20}") {
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(Reference::parse(&reference.to_string()), Ok(reference));
        }
        let _ = (Share::parse(&text), parse_duration(&text));
    }

    #[test]
    fn no_step_makes_it_panic(step in "(connect|ping|set|delete|sleep|expect|apply): [a-z0-9{}\\[\\]:/, .-]{0,40}") {
        let text = with_steps(&format!("  - {step}\n"));
        for document in yaml::parse(&text).documents {
            let _ = read(&document);
        }
    }
}
