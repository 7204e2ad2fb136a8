//! All mistakes that concern manifests and scenario together, with their messages.

use std::collections::BTreeSet;

use super::*;
use crate::diagnostic::{Style, render};
use crate::manifest;

const GOOD: &str = "\
apiVersion: hairpin/v1
kind: Scenario
metadata: {name: sample}
spec:
  intent: a sample
  network:
    externalHosts:
    - {name: client, ip: 192.168.0.100}
  steps:
  - connect: {from: client, to: node/node-1:30080}
    expect: {outcome: connected, endpoints: {pod/web-0: 1}, sourceSeen: node}
---
apiVersion: v1
kind: Node
metadata:
  name: node-1
spec:
  podCIDR: 10.244.1.0/24
status:
  addresses:
  - {type: InternalIP, address: 192.168.0.11}
---
apiVersion: v1
kind: Pod
metadata:
  name: web-0
  labels: {app: web}
spec:
  nodeName: node-1
  containers:
  - ports:
    - {name: http, containerPort: 8080}
status:
  podIP: 10.244.1.5
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  selector: {app: web}
  ports:
  - name: http
    port: 80
    targetPort: http
    nodePort: 30080
";

/// A second Service that conflicts with the first.
const SECOND: &str = "\
---
apiVersion: v1
kind: Service
metadata:
  name: other
spec:
  type: NodePort
  clusterIP: 10.96.0.11
  selector: {app: web}
  ports:
  - port: 80
    targetPort: 8080
    nodePort: 30081
";

fn prepare_text(text: &str) -> Result<Prepared, Box<Refused>> {
    prepare(manifest::load(vec![Source { name: "sample.yaml".into(), text: text.into() }]))
}

/// The messages for an invalid text.
fn refused(text: &str) -> String {
    match prepare_text(text) {
        Ok(prepared) => panic!("unexpectedly valid: {prepared:#?}"),
        Err(refused) => render(&refused.diagnostics, &refused.sources, Style::Plain),
    }
}

/// The valid sample with one replacement, which must apply once.
fn changed(from: &str, to: &str) -> String {
    let text = format!("{GOOD}{SECOND}");
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to)
}

/// The valid sample with one additional step.
fn with_step(step: &str) -> String {
    GOOD.replacen("---\n", &format!("  - {step}\n---\n"), 1)
}

/// A script whose connection later steps continue.
const NAMED: &str = "send: {connection: kept, from: client, to: pod/web-0:80, segments: ['> S 0:0(0)']}";

/// Connections that stay open.
const KEPT: &str = "connect: {from: client, to: service/web, count: 2, keep: pool}";

fn continued(name: &str, line: &str) -> String {
    format!("send: {{continue: {name}, segments: ['{line}']}}")
}

fn host_pod(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  hostNetwork: true\n  nodeName: node-1\n  containers:\n  - ports: [{{containerPort: 9100}}]\n"
    )
}

/// One test per mistake; the snapshot has the messages.
macro_rules! mistakes {
    ($($name:ident: $text:expr;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(refused($text.as_ref()));
        })*
    };
}

mistakes! {
    no_scenario: GOOD.split_once("---\n").unwrap().1;
    nothing_at_all: "";
    two_scenarios: format!("{GOOD}---\n{}", GOOD.split_once("---\n").unwrap().0);
    mode_not_available: changed("  intent: a sample", "  intent: a sample\n  proxyModes: [userspace]");
    cni_not_executed: changed("  network:\n", "  network:\n    cni: vxlan\n");
    pod_ip_is_none: changed("podIP: 10.244.1.5", "podIP: 10.244.1");
    pod_on_a_missing_node: changed("nodeName: node-1", "nodeName: node-l");
    cluster_ip_outside_the_service_cidr: changed("clusterIP: 10.96.0.11", "clusterIP: 10.0.0.11");
    cluster_ip_twice: changed("clusterIP: 10.96.0.11", "clusterIP: 10.96.0.10");
    node_port_outside_its_range: changed("nodePort: 30081", "nodePort: 8080");
    node_port_twice: changed("nodePort: 30081", "nodePort: 30080");
    node_without_address: changed("  - {type: InternalIP, address: 192.168.0.11}", "  - {type: Hostname, address: node-1}");
    host_on_another_network: changed("{name: client, ip: 192.168.0.100}", "{name: client, ip: 10.244.7.7}");
    host_with_the_address_of_a_node: changed("{name: client, ip: 192.168.0.100}", "{name: client, ip: 192.168.0.11}");
    host_with_the_name_of_a_node: changed("{name: client, ip: 192.168.0.100}", "{name: client, ip: 192.168.0.100}\n    - {name: node-1, ip: 192.168.0.101}");
    host_with_the_name_of_the_switch: changed("{name: client, ip: 192.168.0.100}", "{name: client, ip: 192.168.0.100}\n    - {name: switch, ip: 192.168.0.101}");
    node_with_the_name_of_the_switch: format!("{GOOD}---\napiVersion: v1\nkind: Node\nmetadata: {{name: switch}}\nstatus: {{addresses: [{{type: InternalIP, address: 192.168.0.12}}]}}\n");
    port_that_is_none: changed("  - port: 80\n", "  - port: 0\n");
    name_that_is_none: changed("  name: web-0\n", "  name: Web_0\n");
    namespace_that_is_none: format!("{GOOD}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: other, namespace: a b/c}}\nspec: {{nodeName: node-1}}\n");
    missing_pod: with_step("connect: {from: pod/web-1, to: service/web}");
    missing_node: with_step("connect: {from: client, to: node/node-2:30080}");
    missing_host: with_step("connect: {from: clint, to: service/web}");
    missing_service: with_step("connect: {from: client, to: service/wbe}");
    missing_service_port: with_step("connect: {from: client, to: service/web:81}");
    missing_named_port: with_step("connect: {from: client, to: service/web:https}");
    missing_port: with_step("connect: {from: client, to: node/node-1}");
    missing_endpoint: with_step("{connect: {from: client, to: service/web}, expect: {endpoints: {pod/web-9: 1}, sourceSeen: bridge/node-9}}");
    pod_without_prefix: with_step("connect: {from: web-0, to: service/web}");
    dns_name: with_step("connect: {from: client, to: example.org:80}");
    ipv6: with_step("connect: {from: client, to: \"[fd00::1]:80\"}");
    sctp: with_step("connect: {from: client, to: pod/web-0:80, protocol: sctp}");
    client_with_port: with_step("connect: {from: pod/web-0:80, to: service/web}");
    send_of_no_line: with_step("send: {from: client, to: pod/web-0:80, segments: ['S 0:0(0)', '> S 0:1(0)', '< udp (8)']}");
    send_from_a_node: with_step("send: {from: node/node-1, to: pod/web-0:80, segments: ['> S 0:0(0)']}");
    send_without_ends: with_step("send: {protocol: udp, segments: ['> udp (8)']}");
    send_that_continues_nothing: with_step(&continued("kep", "> R 1:1(0)"));
    send_that_continues_with_ends: with_step(&format!("{NAMED}\n  - send: {{continue: kept, from: client, to: pod/web-0:80, segments: ['> R 1:1(0)']}}"));
    send_that_continues_with_another_protocol: with_step(&format!("{NAMED}\n  - {}", continued("kept", "> udp (8)")));
    connection_named_twice: with_step(&format!("{NAMED}\n  - {NAMED}"));
    connection_beside_an_open_one: with_step(&format!("{NAMED}\n  - send: {{from: client, to: pod/web-0:81, segments: ['> S 0:0(0)']}}\n  - {}", continued("kept", "> R 1:1(0)")));
    connection_whose_sender_is_gone: with_step(&format!("send: {{connection: kept, from: pod/web-0, to: client:80, segments: ['> S 0:0(0)']}}\n  - delete: pod/web-0\n  - {}", continued("kept", "> R 1:1(0)")));
    script_without_segments: with_step(&format!("{NAMED}\n  - send: {{continue: kept}}"));
    kept_with_segments_and_ends: with_step(&format!("{KEPT}\n  - send: {{continue: pool, to: pod/web-0:80, segments: ['> S 0:0(0)']}}"));
    kept_named_twice: with_step(&format!("{KEPT}\n  - {KEPT}"));
    kept_by_another_name: with_step(&format!("{KEPT}\n  - send: {{continue: pol}}\n  - close: pools"));
    kept_and_closed_before: with_step(&format!("{KEPT}\n  - close: pool\n  - send: {{continue: pool}}\n  - close: pool"));
    kept_whose_client_is_gone: with_step("connect: {from: pod/web-0, to: client:80, keep: pool}\n  - delete: pod/web-0\n  - send: {continue: pool}");
    kept_by_a_step_with_an_error: with_step("connect: {from: client, to: pod/web-9:80, keep: pool}\n  - send: {continue: pool}");
    close_of_a_script: with_step(&format!("{NAMED}\n  - close: kept"));
    close_with_an_endpoint: with_step(&format!("{KEPT}\n  - {{close: pool, expect: {{endpoints: {{pod/web-0: 1}}, sourceSeen: client}}}}"));
    send_with_an_outcome: with_step("{send: {from: client, to: pod/web-0:80, segments: ['> S 0:0(0)']}, expect: {outcome: connected}}");
    resolve_without_dns_service: with_step("resolve: {from: client, name: web}");
    resolve_of_no_name: with_step("resolve: {from: client, name: web..default}");
    addresses_without_resolve: with_step("{connect: {from: client, to: service/web}, expect: {addresses: []}}");
    delete_of_what_is_not_there: with_step("delete: service/wbe");
    apply_of_a_broken_manifest: with_step("apply: {apiVersion: v1, kind: Service, metadata: {name: x}, spec: {type: NodePort, ports: [{port: 1, nodePort: 30080}]}}");
    apply_of_a_node_elsewhere: with_step("apply: {apiVersion: v1, kind: Node, metadata: {name: node-2}, status: {addresses: [{type: InternalIP, address: 192.168.1.12}]}}");
    set_of_what_is_not_there: with_step("set: {pod/web-1: {ready: false}, node/node-7: {sysctl: {a: 1}}}");
    set_of_a_pod_without_network: format!("{}{}", with_step("set: {pod/agent: {hairpin: true, link: {loss: 1}, sysctl: {net.ipv4.ip_forward: 1}}}"), host_pod("agent"));
    set_of_hairpin_without_bridge: with_step("set: {pod/default/web-0: {hairpin: true}}").replace("  network:\n", "  network:\n    cni: ptp\n");
    sysctls_that_are_none: with_step("set: {node/node-1: {sysctl: {net.ipv4.ip_forwrad: 1, net.ipv4.conf.eth7.rp_filter: 1, net.ipv4.nope: 1}}}").replace("  network:\n", "  network:\n    sysctls: {net.ipv4.conf.cni0.rp_filtr: 1}\n");
    sysctl_values_that_are_none: with_step("set: {pod/web-0: {sysctl: {net.ipv4.ip_default_ttl: 0}}}").replace("  network:\n", "  network:\n    sysctls: {net.ipv4.ip_forward: banana}\n");
    own_routes_that_are_wrong: changed("  network:\n", "  network:\n    nodes:\n      node-1:\n        ipRoutes: [default via 1.2.3.4 table 100, \"10.0.0.0/8 via 192.168.0.1 mtu 1400\", 10.9.0.0/16 dev eth7]\n        ipRules:\n          - from 10.0.0.0/33 lookup 100\n          - \"fwmark 0x1 lookup x\"\n          - from 10.1.0.0/16\n          - 'iif eth0 goto 5'\n          - >-\n            fwmark 1\n            lookup 5 lokup 6\n");
    own_rules_that_are_wrong: changed("  network:\n", "  network:\n    nodes:\n      node-1:\n        iptables: |\n          *filter\n          -A FORWARD -s 10.0.0.1 -j DORP\n          COMMIT\n      nod-2: {iptables: \"\"}\n");
    ports_of_no_pod: changed("  network:\n", "  network:\n    pods: {a/b/c: {listen: [80]}, web-0: {listen: [0]}}\n");
    http_that_is_none: with_step("{connect: {from: client, to: \"node/node-1:10256\", http: healthz}, expect: {status: 200}}\n  - {connect: {from: client, to: pod/web-0}, expect: {status: 200}}");
    listen_twice: changed("{name: client, ip: 192.168.0.100}", "{name: client, ip: 192.168.0.100, listen: [80, 80/udp, 80/tcp]}");
    gateways_that_are_none: changed("{name: client, ip: 192.168.0.100}", "{name: client, ip: 192.168.0.100, gateway: node/nod-1, routes: [{to: 198.51.100.0/24, via: node/x}]}");
    gateway_in_upper_case: changed("  network:\n", "  network:\n    gateway: None\n");
    endpoint_twice: with_step("{connect: {from: client, to: service/web}, expect: {endpoints: {pod/web-0: 1/2, pod/default/web-0: 1/2}, sourceSeen: {pod/web-0: client, pod/default/web-0: client}}}");
    ping_with_what_connections_have: with_step("{ping: {from: client, to: pod/web-0}, expect: {sourceSeen: client}}");
    ping_answered_by_a_port: with_step("{ping: {from: client, to: client}, expect: {endpoints: {192.168.0.100:80: 1}}}");
    outcomes_that_never_are: with_step("{connect: {from: client, to: service/web}, expect: {outcomes: {refused: 1/2, refused/tcp-reset: 1/4}}}");
    share_with_ten_places: with_step("{connect: {from: client, to: service/web}, expect: {endpoints: {pod/web-0: 0.3333333333}}}");
    dns_name_of_a_service: with_step("connect: {from: client, to: web.default.svc.cluster.local:80}");
    missing_bare_name: with_step("connect: {from: nod-1, to: service/web}");
    sctp_script: with_step("send: {from: client, to: pod/web-0:80, protocol: sctp, segments: ['> S 0:0(0)']}");
    kube_proxy_would_not_start: format!("{GOOD}---\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\niptables: {{masqueradeBit: 40}}\n");
}

/// What the API server accepts, although it has no effect or an odd one; the snapshot has the warnings.
macro_rules! oddities {
    ($($name:ident: $text:expr;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(warned($text.as_ref()));
        })*
    };
}

oddities! {
    named_port_that_no_pod_has: changed("targetPort: http", "targetPort: htpp");
    host_port_twice: format!("{GOOD}{}{}", host_pod("a"), host_pod("b"));
    pod_ip_outside_the_cluster_cidr: changed("podIP: 10.244.1.5", "podIP: 172.16.0.5");
    pod_ip_outside_the_pod_cidr: changed("podIP: 10.244.1.5", "podIP: 10.244.2.5");
    pod_ip_is_the_gateway: changed("podIP: 10.244.1.5", "podIP: 10.244.1.1");
    pod_cidr_outside_the_cluster_cidr: changed("podCIDR: 10.244.1.0/24", "podCIDR: 10.245.1.0/24");
    pod_ip_twice: format!("{GOOD}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: zed}}\nspec: {{nodeName: node-1}}\nstatus: {{podIP: 10.244.1.5}}\n");
    pod_ip_of_a_host: format!("{GOOD}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: other}}\nspec: {{nodeName: node-1}}\nstatus: {{podIP: 192.168.0.100}}\n");
    pod_cidr_twice: format!("{GOOD}---\napiVersion: v1\nkind: Node\nmetadata: {{name: node-2}}\nspec: {{podCIDR: 10.244.1.0/25}}\nstatus: {{addresses: [{{type: InternalIP, address: 192.168.0.12}}]}}\n");
    service_cidr_in_the_nodes_network: changed("  network:\n", "  network:\n    serviceCIDR: 192.168.0.128/25\n").replace("10.96.0.1", "192.168.0.13");
    ports_of_a_missing_pod: changed("  network:\n", "  network:\n    pods: {wbe-0: {listen: [80]}}\n");
    pod_that_fits_no_node: format!("{GOOD}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: picky}}\nspec: {{nodeSelector: {{disk: fast}}}}\n");
}

/// The warnings about a valid text.
fn warned(text: &str) -> String {
    match prepare_text(text) {
        Ok(prepared) => render(&prepared.warnings, &prepared.sources, Style::Plain),
        Err(refused) => panic!("{}", render(&refused.diagnostics, &refused.sources, Style::Plain)),
    }
}

/// What the API server says about a Service with this spec; nothing if it accepts the Service.
fn said(spec: &str) -> Vec<String> {
    let text = format!("{GOOD}---\napiVersion: v1\nkind: Service\nmetadata: {{name: other}}\nspec: {spec}\n");
    let errors = |diagnostics: Vec<Diagnostic>| {
        let errors = diagnostics.into_iter().filter(|one| one.severity == Severity::Error);
        errors.map(|one| one.message).collect()
    };
    prepare_text(&text).map_or_else(|refused| errors(refused.diagnostics), |_| Vec::new())
}

#[test]
fn what_the_api_server_refuses_is_refused_in_its_words() {
    let cases: [(&str, &[&str]); 25] = [
        (
            "{ports: [{port: 80, nodePort: 30090}]}",
            &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            "{externalTrafficPolicy: Local, ports: [{port: 80}]}",
            &[
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
            ],
        ),
        ("{externalTrafficPolicy: Local, externalIPs: [192.0.2.1], ports: [{port: 80}]}", &[]),
        ("{}", &["spec.ports: Required value"]),
        ("{clusterIP: None}", &[]),
        (
            "{type: NodePort, clusterIP: None, ports: [{port: 80}]}",
            &["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
        ),
        (
            "{type: ExternalName, clusterIP: 10.96.0.99, externalName: a.b}",
            &["spec.clusterIPs: Forbidden: may not be set for ExternalName services"],
        ),
        ("{type: ExternalName}", &["spec.externalName: Required value"]),
        (
            "{type: ExternalName, externalName: A_b}",
            &[
                "spec.externalName: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            ],
        ),
        ("{ports: [{port: 80}, {name: b, port: 81}]}", &["spec.ports[0].name: Required value"]),
        (
            "{ports: [{name: b, port: 80}, {name: b, port: 81}]}",
            &["spec.ports[1].name: Duplicate value: \"b\""],
        ),
        (
            "{ports: [{name: a, port: 80}, {name: b, port: 80}]}",
            &["spec.ports[1]: Duplicate value: {\"protocol\":\"TCP\",\"port\":80}"],
        ),
        ("{ports: [{name: a, port: 80}, {name: b, port: 80, protocol: UDP}]}", &[]),
        (
            "{ports: [{port: 0}]}",
            &["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            "{ports: [{port: 80, targetPort: a--b}]}",
            &["spec.ports[0].targetPort: Invalid value: \"a--b\": must not contain consecutive hyphens"],
        ),
        (
            "{ports: [{port: 80, targetPort: 65536}]}",
            &["spec.ports[0].targetPort: Invalid value: 65536: must be between 1 and 65535, inclusive"],
        ),
        (
            "{type: NodePort, loadBalancerSourceRanges: [10.0.0.0/8], ports: [{port: 80}]}",
            &["spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"],
        ),
        (
            "{type: NodePort, allocateLoadBalancerNodePorts: true, ports: [{port: 80}]}",
            &[
                "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ],
        ),
        (
            "{loadBalancerClass: a/b, ports: [{port: 80}]}",
            &["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"],
        ),
        (
            "{type: LoadBalancer, healthCheckNodePort: 30100, ports: [{port: 80}]}",
            &[
                "spec.healthCheckNodePort: Invalid value: 30100: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
            ],
        ),
        (
            "{sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}, ports: [{port: 80}]}",
            &["spec.sessionAffinityConfig: Forbidden: must not be set when session affinity is None"],
        ),
        (
            "{sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}, ports: [{port: 80}]}",
            &[
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400",
            ],
        ),
        (
            "{externalIPs: [127.0.0.1], ports: [{port: 80}]}",
            &[
                "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ],
        ),
        (
            "{trafficDistribution: PreferClos, ports: [{port: 80}]}",
            &[
                "spec.trafficDistribution: Unsupported value: \"PreferClos\": supported values: \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\"",
            ],
        ),
        (
            "{clusterIP: 10.96.0.98, clusterIPs: [10.96.0.97], ports: [{port: 80}]}",
            &["spec.clusterIPs[0]: Invalid value: \"10.96.0.97\": first value must match `clusterIP`"],
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(said(spec), expected, "{spec}");
    }
}

#[test]
fn a_good_sample_is_prepared() {
    let prepared = prepare_text(&format!("{GOOD}{SECOND}")).unwrap_or_else(|refused| {
        panic!("{}", render(&refused.diagnostics, &refused.sources, Style::Plain));
    });
    assert_eq!(prepared.warnings, []);
    assert_eq!(prepared.modes, ProxyMode::available().collect::<Vec<_>>());
    insta::assert_debug_snapshot!(prepared.steps);
}

#[test]
fn a_selector_that_finds_nothing_is_a_warning() {
    let text = changed(
        "clusterIP: 10.96.0.11\n  selector: {app: web}",
        "clusterIP: 10.96.0.11\n  selector: {app: wbe}",
    );
    let prepared = prepare_text(&text).unwrap();
    insta::assert_snapshot!(render(&prepared.warnings, &prepared.sources, Style::Plain));
}

#[test]
fn a_connection_that_nothing_continues_is_a_warning() {
    let prepared = prepare_text(&with_step(NAMED)).unwrap();
    insta::assert_snapshot!(render(&prepared.warnings, &prepared.sources, Style::Plain));
}

#[test]
fn a_script_continues_where_its_connection_left_off() {
    let steps = format!(
        "{NAMED}\n  - {}\n  - sleep: 1s\n  - {}",
        continued("kept", "> . 1:1(0) ack 1"),
        continued("kept", "> R 1:1(0)")
    );
    let prepared = prepare_text(&with_step(&steps)).unwrap();
    assert_eq!(prepared.warnings, []);
    let plans = prepared.steps.iter().filter_map(|step| match &step.action {
        PreparedAction::Script(plan) => Some(plan),
        PreparedAction::Flows(_)
        | PreparedAction::Kept(_)
        | PreparedAction::Resolve(_)
        | PreparedAction::Cluster(_)
        | PreparedAction::Set { .. }
        | PreparedAction::Sleep(_)
        | PreparedAction::Look => None,
    });
    let parts = plans.clone().map(|plan| (plan.is_continuation, plan.stays_open, plan.lines_before));
    assert_eq!(parts.collect::<Vec<_>>(), [(false, true, 0), (true, true, 1), (true, false, 2)]);
    let ports: BTreeSet<_> = plans.map(|plan| (plan.source_port, plan.to)).collect();
    assert_eq!(ports.len(), 1, "one connection");
}

#[test]
fn a_name_whose_answer_is_cut_is_a_warning() {
    let dns = "---\napiVersion: v1\nkind: Service\nmetadata: {name: kube-dns, namespace: kube-system}\nspec: {ports: [{name: dns, protocol: UDP, port: 53}]}\n";
    let headless = "---\napiVersion: v1\nkind: Service\nmetadata: {name: db}\nspec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}\n";
    let pods = |count: u32| -> String {
        (0..count)
            .map(|number| {
                format!(
                    "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: db-{number}, labels: {{app: db}}}}\nspec: {{nodeName: node-1}}\n"
                )
            })
            .collect()
    };
    let warnings = |count| {
        let text = with_step("resolve: {from: pod/web-0, name: db}");
        let prepared = prepare_text(&format!("{text}{dns}{headless}{}", pods(count))).unwrap();
        render(&prepared.warnings, &prepared.sources, Style::Plain)
    };
    // `db.default.svc.cluster.local` leaves room for 29 addresses.
    assert!(!warnings(29).contains("datagram"));
    insta::assert_snapshot!(warnings(30));
}

#[test]
fn a_later_step_sees_what_an_earlier_one_made() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: new, labels: {app: web}}, spec: {nodeName: node-1, containers: [{ports: [{name: http, containerPort: 8080}]}]}}";
    let steps = format!(
        "apply: {pod}\n  - connect: {{from: pod/new, to: service/web}}\n  - delete: pod/new\n  - expect: {{conntrack: [{{on: node-1, entries: 0}}]}}"
    );
    let prepared = prepare_text(&with_step(&steps)).unwrap();
    let PreparedAction::Cluster(change) = &prepared.steps[1].action else { panic!() };
    assert_eq!(prepared.cluster.after(change).slices().map(|slice| slice.endpoints.len()).sum::<usize>(), 2);
    let gone = with_step(&format!("{steps}\n  - connect: {{from: pod/new, to: service/web}}"));
    assert!(refused(&gone).contains("no Pod \"new\""));
}

#[test]
fn the_node_that_chooses_is_known() {
    let hosts = "{name: client, ip: 192.168.0.100}\n    - {name: far, ip: 192.168.0.101, routes: [{to: 198.51.100.0/24, via: node/node-1}]}";
    let steps = "connect: {from: pod/web-0, to: service/web}\n  - connect: {from: node/node-1, to: 10.96.0.10:80}\n  \
                 - connect: {from: far, to: 198.51.100.1:80}\n  - connect: {from: client, to: 198.51.100.1:80}\n  - ping: {from: client, to: far}\n  - ping: {from: far, to: node-1}";
    let prepared =
        prepare_text(&with_step(steps).replace("{name: client, ip: 192.168.0.100}", hosts)).unwrap();
    let via: Vec<_> = prepared
        .steps
        .iter()
        .map(|step| {
            let PreparedAction::Flows(flows) = &step.action else { panic!("{step:?}") };
            flows.via.as_deref()
        })
        .collect();
    assert_eq!(
        via,
        [Some("node-1"), Some("node-1"), Some("node-1"), Some("node-1"), None, None, Some("node-1")]
    );
}

/// The examples of the reference are valid: the first one is a complete file, the others are steps.
#[test]
fn the_reference_can_be_believed() {
    let reference = include_str!("../../../docs/scenario-files.md");
    let examples: Vec<&str> =
        reference.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [whole, steps @ ..] = &examples[..] else { panic!("the reference has examples") };
    assert_eq!(steps.len(), 4);
    prepare_text(whole)
        .unwrap_or_else(|refused| panic!("{}", render(&refused.diagnostics, &refused.sources, Style::Plain)));
    let pods = ["client", "web", "web-0", "web-1"].map(|name| format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: web}}}}\nspec: {{nodeName: node-1}}\n"
    ));
    let node = GOOD.split("---\n").nth(1).unwrap();
    let dns = "---\napiVersion: v1\nkind: Service\nmetadata: {name: kube-dns, namespace: kube-system}\nspec: {ports: [{name: dns, protocol: UDP, port: 53}]}\n";
    let rest = format!(
        "---\n{node}---\n{}{}{dns}---\n{}",
        node.replace("node-1", "node-2").replace("10.244.1.0", "10.244.2.0").replace(".11}", ".12}"),
        pods.concat(),
        GOOD.split("---\n").nth(3).unwrap().replace("targetPort: http", "targetPort: 8080"),
    );
    for steps in steps {
        let steps: String = steps.lines().map(|line| format!("  {line}\n")).collect();
        let head = GOOD.split("---\n").next().unwrap();
        let text = format!("{}  steps:\n{steps}{rest}", head.split("  steps:").next().unwrap());
        prepare_text(&text).unwrap_or_else(|refused| {
            panic!("{}", render(&refused.diagnostics, &refused.sources, Style::Plain))
        });
    }
}

#[test]
fn modes_are_asked_for() {
    use ProxyMode::{Iptables, Ipvs};
    let prepared = |modes: &str| {
        prepare_text(&changed("  intent: a sample", &format!("  intent: a sample\n{modes}"))).unwrap()
    };
    let silent = prepared("");
    let cases: [(&Prepared, ModeChoice, &[ProxyMode]); 8] = [
        (&silent, ModeChoice::Named, &[Iptables]),
        (&silent, ModeChoice::All, &[Iptables, Ipvs]),
        (&silent, ModeChoice::One(Ipvs), &[Ipvs]),
        (&prepared("  proxyModes: [ipvs, iptables]\n"), ModeChoice::Named, &[Iptables, Ipvs]),
        (&prepared("  proxyModes: [ipvs, nftables]\n"), ModeChoice::Named, &[Ipvs]),
        (&prepared("  proxyModes: [ipvs]\n"), ModeChoice::All, &[Ipvs]),
        (&prepared("  proxyModes: [ipvs]\n"), ModeChoice::One(Iptables), &[]),
        (&prepared("  proxyModes: [iptables]\n"), ModeChoice::One(Iptables), &[Iptables]),
    ];
    for (prepared, choice, expected) in cases {
        assert_eq!(prepared.modes_for(choice), Ok(expected.to_vec()), "{:?}, {choice}", prepared.modes);
    }
    assert_eq!(
        silent.modes_for(ModeChoice::One(ProxyMode::Userspace)).unwrap_err().to_string(),
        "proxy mode userspace is not available in this version; available: iptables, ipvs"
    );
}

proptest::proptest! {
    #[test]
    fn no_change_of_the_sample_makes_it_panic(at in 0..GOOD.len(), length in 0..12_usize, text in "[a-z0-9:{}, ./-]{0,6}") {
        let end = (at + length).min(GOOD.len());
        let changed = format!("{}{text}{}", &GOOD[..at], &GOOD[end..]);
        if let Err(refused) = prepare_text(&changed) {
            assert!(has_errors(&refused.diagnostics));
            render(&refused.diagnostics, &refused.sources, Style::Plain);
        }
    }
}
