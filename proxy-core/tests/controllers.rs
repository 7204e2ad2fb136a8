//! What controllers add to manifests.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test stops at the first surprise")]

#[path = "support/manifests.rs"]
mod manifests;

use std::collections::BTreeSet;

use proptest::prelude::*;
use proxy_core::controller::{ServiceNetwork, reconcile};
use proxy_core::objects::{EndpointSlice, Object, Service};

fn reconciled(yaml: &str) -> Vec<Object> {
    reconcile(&manifests::read(yaml), &ServiceNetwork::default()).unwrap()
}

fn slices(objects: &[Object]) -> Vec<&EndpointSlice> {
    objects
        .iter()
        .filter_map(|object| if let Object::EndpointSlice(slice) = object { Some(slice) } else { None })
        .collect()
}

fn services(objects: &[Object]) -> Vec<&Service> {
    objects
        .iter()
        .filter_map(|object| if let Object::Service(service) = object { Some(service) } else { None })
        .collect()
}

/// Slices in short form: name, ports, and one line per endpoint.
fn shown(objects: &[Object]) -> String {
    let mut text = String::new();
    for slice in slices(objects) {
        let ports: Vec<_> = slice
            .ports
            .iter()
            .map(|port| {
                format!(
                    "{}={}/{}",
                    port.name.as_deref().unwrap_or("-"),
                    port.port.unwrap_or(0),
                    port.protocol.lower()
                )
            })
            .collect();
        text += &format!("{}/{} [{}]\n", slice.metadata.namespace(), slice.metadata.name, ports.join(" "));
        for endpoint in &slice.endpoints {
            let conditions = endpoint.conditions;
            let word = |set: Option<bool>, word: &str| match set {
                Some(true) => format!(" {word}"),
                Some(false) => format!(" !{word}"),
                None => format!(" {word}?"),
            };
            text += &format!(
                "  {}{}{}{} on {}",
                endpoint.addresses.join(","),
                word(conditions.ready, "ready"),
                word(conditions.serving, "serving"),
                word(conditions.terminating, "terminating"),
                endpoint.node_name.as_deref().unwrap_or("-"),
            );
            if let Some(hints) = &endpoint.hints {
                let zones: Vec<_> = hints.for_zones.iter().map(|zone| zone.name.as_str()).collect();
                let nodes: Vec<_> = hints.for_nodes.iter().map(|node| node.name.as_str()).collect();
                text += &format!(" for zones {zones:?} nodes {nodes:?}");
            }
            text += "\n";
        }
    }
    text
}

const NODES: &str = "
apiVersion: v1
kind: Node
metadata: {name: a, labels: {topology.kubernetes.io/zone: east}}
---
apiVersion: v1
kind: Node
metadata: {name: b}
---
";

fn pod(name: &str, rest: &str, status: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: web}}{rest}}}\nspec: {{nodeName: a, containers: \
         [{{name: c, ports: [{{name: http, containerPort: 8080}}]}}]}}\nstatus: {status}\n---\n"
    )
}

const READY: &str = "{phase: Running, podIP: 10.244.0.1, podIPs: [{ip: 10.244.0.1}, {ip: 'fd00::1'}], conditions: [{type: Ready, status: 'True'}]}";

fn service(spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{selector: {{app: web}}, {spec}}}\n---\n"
    )
}

#[test]
fn slices_say_what_becomes_of_a_pod() {
    let cases = [
        ("ready", pod("p", "", READY), "10.244.0.1 ready serving !terminating on a"),
        (
            "terminating, still serving",
            pod("p", ", deletionTimestamp: '2026-01-01T00:00:00Z'", READY),
            "10.244.0.1 !ready serving terminating on a",
        ),
        (
            "not ready",
            pod("p", "", "{phase: Running, podIP: 10.244.0.1, conditions: [{type: Ready, status: 'False'}]}"),
            "10.244.0.1 !ready !serving !terminating on a",
        ),
        ("no address yet", pod("p", "", "{phase: Pending}"), ""),
        ("succeeded", pod("p", "", "{phase: Succeeded, podIP: 10.244.0.1}"), ""),
        ("failed", pod("p", "", "{phase: Failed, podIP: 10.244.0.1}"), ""),
        ("only the other family", pod("p", "", "{phase: Running, podIP: 'fd00::1'}"), ""),
        ("on a deleted node", pod("p", "", READY).replace("nodeName: a", "nodeName: gone"), ""),
        ("other labels", pod("p", "", READY).replace("app: web", "app: other"), ""),
        ("other namespace", pod("p", ", namespace: other", READY), ""),
    ];
    for (what, pod, expected) in cases {
        let objects = reconciled(&format!("{NODES}{}{pod}", service("ports: [{port: 80}]")));
        let shown = shown(&objects);
        let found = shown.lines().nth(1).unwrap_or("").trim();
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn publish_not_ready_addresses_makes_every_pod_ready() {
    let unready = "{phase: Running, podIP: 10.244.0.1, conditions: [{type: Ready, status: 'False'}]}";
    let pod = pod("p", ", deletionTimestamp: '2026-01-01T00:00:00Z'", unready)
        .replace("nodeName: a", "nodeName: gone");
    let objects = reconciled(&format!(
        "{NODES}{}{pod}",
        service("publishNotReadyAddresses: true, ports: [{port: 80}]")
    ));
    assert!(shown(&objects).contains("10.244.0.1 ready !serving terminating on gone"), "{}", shown(&objects));
}

#[test]
fn named_target_ports_are_looked_up_in_each_pod() {
    let other = pod("q", "", READY).replace("10.244.0.1", "10.244.0.2").replace("8080", "9090");
    let sidecar = pod("r", "", READY).replace("10.244.0.1", "10.244.0.3").replace(
        "containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]",
        "initContainers: [{name: i, ports: [{name: http, containerPort: 1}]}, {name: s, restartPolicy: Always, ports: [{name: http, containerPort: 7070}]}]",
    );
    let none = pod("s", "", READY).replace("10.244.0.1", "10.244.0.4").replace("name: http", "name: other");
    let spec = "ports: [{name: web, port: 80, targetPort: http}, {name: metrics, port: 9100}]";
    let objects =
        reconciled(&[NODES, &service(spec), &pod("p", "", READY), &other, &sidecar, &none].concat());
    insta::assert_snapshot!(shown(&objects));
}

#[test]
fn hints_follow_traffic_distribution() {
    let far = pod("q", "", READY).replace("10.244.0.1", "10.244.0.2").replace("nodeName: a", "nodeName: b");
    for (distribution, expected) in [
        ("PreferClose", vec!["for zones [\"east\"] nodes []", "on b\n"]),
        ("PreferSameZone", vec!["for zones [\"east\"] nodes []", "on b\n"]),
        ("PreferSameNode", vec!["for zones [\"east\"] nodes [\"a\"]", "for zones [] nodes [\"b\"]"]),
        ("Somewhere", vec!["on a\n", "on b\n"]),
    ] {
        let spec = format!("trafficDistribution: {distribution}, ports: [{{port: 80}}]");
        let shown = shown(&reconciled(&[NODES, &service(&spec), &pod("p", "", READY), &far].concat()));
        for part in expected {
            assert!(shown.contains(part), "{distribution}: {part} in\n{shown}");
        }
    }
}

#[test]
fn slices_hold_at_most_a_hundred_endpoints() {
    let pods: String = (1..=201)
        .map(|index| pod(&format!("p{index}"), "", READY).replace("10.244.0.1", &format!("10.244.1.{index}")))
        .collect();
    let objects = reconciled(&[NODES, &service("ports: [{port: 80}]"), &pods].concat());
    let counts: Vec<_> = slices(&objects).iter().map(|slice| slice.endpoints.len()).collect();
    assert_eq!(counts, [100, 100, 1]);
}

#[test]
fn given_slices_are_left_alone() {
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x, namespace: default, \
                 labels: {kubernetes.io/service-name: web}}\naddressType: IPv4\n---\n";
    let objects = reconciled(&[NODES, &service("ports: [{port: 80}]"), slice, &pod("p", "", READY)].concat());
    assert_eq!(slices(&objects).len(), 1);
}

#[test]
fn headless_services_have_labelled_slices_of_both_families() {
    let spec = "clusterIP: None, ipFamilies: [IPv4, IPv6], ports: [{port: 80}]";
    let objects = reconciled(&[NODES, &service(spec), &pod("p", "", READY)].concat());
    let slices = slices(&objects);
    assert_eq!(slices.len(), 2);
    assert!(slices.iter().all(|slice| slice.metadata.labels.contains_key("service.kubernetes.io/headless")));
}

#[test]
fn endpoints_are_mirrored_for_services_without_selector() {
    let endpoints = "apiVersion: v1\nkind: Endpoints\nmetadata: {name: web}\nsubsets:\n- addresses: [{ip: 192.0.2.1}, {ip: '2001:db8::1'}]\n  \
                     notReadyAddresses: [{ip: 192.0.2.2, nodeName: a}]\n  ports: [{name: http, port: 80}]\n---\n";
    let without = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n---\n";
    insta::assert_snapshot!(shown(&reconciled(&[endpoints, without].concat())));

    let skipped = endpoints
        .replace("name: web}", "name: web, labels: {endpointslice.kubernetes.io/skip-mirror: 'true'}}");
    let leader = endpoints
        .replace("name: web}", "name: web, annotations: {control-plane.alpha.kubernetes.io/leader: x}}");
    for manifests in [
        [endpoints, &service("ports: [{port: 80}]")],
        [&skipped, without],
        [&leader, without],
        [endpoints, ""],
    ] {
        let shown = shown(&reconciled(&manifests.concat()));
        assert!(!shown.contains("192.0.2"), "{shown}");
    }
}

#[test]
fn services_get_what_they_lack() {
    let lb = "type: LoadBalancer, externalTrafficPolicy: Local, ports: [{name: a, port: 53, protocol: UDP}, {name: b, port: 53}, {name: c, port: 80}]";
    let objects = reconciled(&service(lb));
    let spec = &services(&objects)[0].spec;
    assert!(spec.cluster_ip.starts_with("10."), "{}", spec.cluster_ip);
    assert_eq!(spec.cluster_ips, std::slice::from_ref(&spec.cluster_ip));
    assert_eq!(spec.ports[0].node_port, spec.ports[1].node_port, "one number, two protocols");
    let ports =
        BTreeSet::from([spec.ports[0].node_port, spec.ports[2].node_port, spec.health_check_node_port]);
    assert_eq!(ports.len(), 3);
    assert!(ports.iter().all(|port| (30000..=32767).contains(port)), "{ports:?}");
}

#[test]
fn what_cannot_be_given_is_an_error() {
    let second = service("clusterIP: 10.96.0.1, ports: [{port: 80}]").replace("name: web", "name: other");
    let cases = [
        (service("ipFamilyPolicy: RequireDualStack, ports: [{port: 80}]"), "spec.ipFamilyPolicy"),
        (service("ipFamilies: [IPv6], ports: [{port: 80}]"), "spec.ipFamilies[0]"),
        (service("clusterIP: 10.96.0.1, ports: [{port: 80}]") + &second, "spec.clusterIPs[0]"),
        (service("clusterIP: ten, ports: [{port: 80}]"), "spec.clusterIPs[0]"),
        (
            service("type: NodePort, ports: [{port: 80, nodePort: 30000}]")
                + &service("type: NodePort, ports: [{port: 80, nodePort: 30000}]")
                    .replace("name: web", "name: web2"),
            "spec.ports[0].nodePort",
        ),
        (
            service(
                "type: NodePort, ports: [{name: a, port: 80, nodePort: 30000}, {name: b, port: 81, nodePort: 30000}]",
            ),
            "spec.ports[1].nodePort",
        ),
        (service("ports: [{port: 80}]") + &service("ports: [{port: 81}]"), "metadata.name"),
        (pod("p", "", "{podIP: nowhere}") + &service("ports: [{port: 80}]"), "status.podIPs[0].ip"),
    ];
    for (yaml, path) in cases {
        let error = reconcile(&manifests::read(&yaml), &ServiceNetwork::default()).unwrap_err();
        assert_eq!(&*error.path, path, "{error}");
    }
}

/// Services with random fields.
fn any_services() -> impl Strategy<Value = Vec<Object>> {
    let one = (0..40u8, 0..3u8, prop::option::of(0..200u8), prop::option::of(30000..30010i32)).prop_map(
        |(name, kind, ip, port)| {
            let mut service = Service::default();
            service.metadata.name = format!("s{name}");
            service.spec.service_type = match kind {
                0 => proxy_core::objects::ServiceType::ClusterIP,
                1 => proxy_core::objects::ServiceType::NodePort,
                _ => proxy_core::objects::ServiceType::LoadBalancer,
            };
            service.spec.cluster_ip = ip.map(|ip| format!("10.96.0.{ip}")).unwrap_or_default();
            let node_port = port.filter(|_| kind > 0).unwrap_or(0);
            service.spec.ports =
                vec![proxy_core::objects::ServicePort { port: 80, node_port, ..Default::default() }];
            Object::Service(service)
        },
    );
    prop::collection::vec(one, 0..40)
}

proptest! {
    #[test]
    fn allocation_gives_each_its_own_whatever_the_order(objects in any_services(), seed in any::<u64>()) {
        let network = ServiceNetwork { cluster_ip_ranges: vec!["10.96.0.0/24".parse().unwrap()], node_ports: 30000..=30063 };
        let mut shuffled = objects.clone();
        let length = shuffled.len();
        for index in 0..length {
            let other = (seed.rotate_left(u32::try_from(index % 64).unwrap()) % (length as u64)) as usize;
            shuffled.swap(index, other);
        }
        let result = reconcile(&objects, &network);
        prop_assert_eq!(result.is_ok(), reconcile(&shuffled, &network).is_ok());
        let Ok(result) = result else { return Ok(()) };
        prop_assert_eq!(&result, &reconcile(&shuffled, &network).unwrap());
        prop_assert_eq!(&result, &reconcile(&result, &network).unwrap(), "idempotent");
        let mut addresses = BTreeSet::new();
        let mut ports = BTreeSet::new();
        for service in services(&result) {
            prop_assert!(addresses.insert(service.spec.cluster_ip.clone()));
            for port in &service.spec.ports {
                prop_assert!(port.node_port == 0 || ports.insert(port.node_port));
            }
        }
    }
}

/// Four times as many ports should take about four times as long; a linear search per port would take sixteen times as
/// long.
#[test]
#[allow(clippy::disallowed_methods, reason = "the clock is what this test is about")]
fn ports_of_a_service_cost_the_same_however_many_there_are() {
    let seconds = |ports: usize| {
        let ports: String = (1..=ports)
            .map(|port| format!("  - {{name: p{port}, port: {port}, targetPort: named}}\n"))
            .collect();
        let yaml = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, labels: {{app: web}}}}\n\
             spec: {{containers: [{{name: web, ports: [{{name: named, containerPort: 80}}]}}]}}\n\
             status: {{podIP: 10.244.0.1}}\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  selector: {{app: web}}\n  ports:\n{ports}"
        );
        let objects = manifests::read(&yaml);
        let machine = proxy_core::config::Machine::new("a");
        let config = proxy_core::config::NodeConfig::new(machine, &Default::default(), None).unwrap();
        let measure = || {
            let start = std::time::Instant::now();
            let objects = reconcile(&objects, &ServiceNetwork::default()).unwrap();
            let store = proxy_core::service_store::ServiceStore::new(&objects).unwrap();
            let plan = proxy_core::plan::Plan::new(&store, &config, proxy_core::objects::IpFamily::V4);
            assert_eq!(plan.endpoint_count, plan.services.len());
            start.elapsed().as_secs_f64()
        };
        // The fastest of several runs: other work on the machine only makes runs slower.
        (0..5).map(|_| measure()).fold(f64::INFINITY, f64::min)
    };
    let (few, many) = (seconds(3_000), seconds(12_000));
    assert!(many < 9.0 * few, "3,000 ports take {few:.3} s, 12,000 take {many:.3} s");
}
