use std::cmp::Ordering;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::diagnostic::Source;
use crate::manifest::{self, Facts};

fn objects(text: &str) -> Vec<Object> {
    let manifests = manifest::load(vec![Source { name: "test.yaml".into(), text: text.into() }]);
    assert_eq!(manifests.diagnostics, [], "{text}");
    manifests.objects.into_iter().map(|loaded| loaded.object).collect()
}

fn cluster(text: &str) -> Cluster {
    match Cluster::new(&Network::default(), &Facts::default(), objects(text)) {
        Ok((cluster, problems)) => {
            assert_eq!(problems, [], "{text}");
            cluster
        }
        Err(problems) => panic!("{problems:#?}"),
    }
}

/// Nodes, Pods, Services and endpoints, one per line.
fn summary(cluster: &Cluster) -> String {
    let mut text = format!("lan {} via {:?}\n", cluster.lan(), cluster.gateway());
    for ClusterNode { name, ip, pod_cidr, pod_gateway } in cluster.nodes() {
        writeln!(text, "node {name} {ip} {pod_cidr} {pod_gateway}").unwrap();
    }
    for ClusterPod { name, node, ip, is_host_network, listens, .. } in cluster.pods() {
        writeln!(text, "pod {name} {node} {ip} host:{is_host_network} {listens:?}").unwrap();
    }
    for service in cluster.services() {
        let ports: Vec<_> = service.spec.ports.iter().map(|port| (port.port, port.node_port)).collect();
        writeln!(
            text,
            "service {}/{} {:?} {ports:?}",
            service.metadata.namespace, service.metadata.name, service.spec.cluster_ips
        )
        .unwrap();
    }
    for slice in cluster.slices() {
        for endpoint in &slice.endpoints {
            let ports: Vec<_> = slice.ports.iter().map(|port| port.port).collect();
            let (ready, node) = (endpoint.conditions.ready, &endpoint.node_name);
            writeln!(
                text,
                "endpoint {:?} {:?} {ports:?} ready:{ready:?} {node:?}",
                slice.metadata.labels["kubernetes.io/service-name"], endpoint.addresses
            )
            .unwrap();
        }
    }
    text
}

const NODES: &str = "
apiVersion: v1
kind: Node
metadata: {name: node-1}
status: {addresses: [{type: Hostname, address: node-1}, {type: InternalIP, address: 192.168.0.11}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-2}
status: {addresses: [{type: InternalIP, address: 192.168.0.12}]}
";

const WEB: &str = "
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, clusterIP: 10.96.0.10, selector: {app: web}, ports: [{port: 80, targetPort: http, nodePort: 30080}]}
";

const CLIENT: &str = "
---
apiVersion: v1
kind: Pod
metadata: {name: client}
---
apiVersion: v1
kind: Pod
metadata: {name: agent, namespace: kube-system}
spec: {hostNetwork: true, nodeName: node-2}
---
apiVersion: v1
kind: Pod
metadata: {name: done}
status: {phase: Succeeded, podIP: 10.244.1.2}
";

fn web() -> Cluster {
    cluster(&format!("{NODES}{WEB}{CLIENT}"))
}

#[test]
fn manifests_come_to_a_cluster() {
    insta::assert_snapshot!(summary(&web()));
}

#[test]
fn a_pod_that_is_not_ready_is_no_endpoint_and_stays_what_it_was() {
    let name = ObjectName::new("default", "web-1");
    let (next, _) = web().set_ready(&name, false).unwrap().unwrap();
    assert_eq!(next.pods(), web().pods());
    assert!(summary(&next).contains("endpoint \"web\" [\"10.244.2.2\"] [Some(8080)] ready:Some(false)"));
    let (again, _) = next.set_ready(&name, true).unwrap().unwrap();
    assert_eq!(again.objects(), web().objects());
    assert!(web().set_ready(&ObjectName::new("default", "none"), true).is_none());
}

#[test]
fn deployments_scale_replace_and_vanish_without_moving_other_pods() {
    let names = |cluster: &Cluster| -> Vec<_> {
        cluster.pods().iter().map(|pod| format!("{} {}", pod.name, pod.ip)).collect()
    };
    let apply = |cluster: &Cluster, text: &str| cluster.apply(objects(text)).unwrap().0;
    let delete = |cluster: &Cluster, kind, name| {
        let object = ObjectKey { kind, name: ObjectName::new("default", name) };
        cluster.delete(&object).unwrap().unwrap().0
    };
    let scaled = apply(&web(), &WEB.replace("replicas: 3", "replicas: 1"));
    assert_eq!(names(&scaled), ["client 10.244.1.2", "web-0 10.244.1.3", "kube-system/agent 192.168.0.12"]);
    // Serial numbers and addresses of deleted Pods are not reused.
    let grown = apply(&scaled, WEB);
    assert_eq!(names(&grown)[1..4], ["web-0 10.244.1.3", "web-3 10.244.2.3", "web-4 10.244.1.5"]);
    let replaced = delete(&web(), Kind::Pod, "web-0");
    assert_eq!(names(&replaced)[1..4], ["web-1 10.244.2.2", "web-2 10.244.1.4", "web-3 10.244.1.5"]);
    let redeployed = apply(&web(), &WEB.replace("8080", "9090"));
    assert_eq!(names(&redeployed)[1..4], ["web-3 10.244.1.5", "web-4 10.244.2.3", "web-5 10.244.1.6"]);
    let gone = delete(&web(), Kind::Deployment, "web");
    assert_eq!(names(&gone), ["client 10.244.1.2", "kube-system/agent 192.168.0.12"]);
    let drained = delete(&gone, Kind::Pod, "client");
    assert_eq!(names(&delete(&drained, Kind::Node, "node-2")), Vec::<String>::new());
}

#[test]
fn what_was_allocated_is_kept_by_apply() {
    let open = "---\napiVersion: v1\nkind: Service\nmetadata: {name: open}\nspec: {type: NodePort, selector: {app: web}, ports: [{port: 80}]}\n";
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {app: web}}\n";
    let first = cluster(&format!("{NODES}{pod}{open}"));
    let name = ObjectName::new("default", "open");
    let before = first.service(&name).unwrap().spec.clone();
    let more = open.replace("[{port: 80}]", "[{port: 80, name: a}, {port: 81, name: b}]");
    let (next, _) = first.apply(objects(&more)).unwrap();
    let after = &next.service(&name).unwrap().spec;
    assert_eq!(
        (&after.cluster_ips, after.ports[0].node_port),
        (&before.cluster_ips, before.ports[0].node_port)
    );
    assert_ne!(after.ports[1].node_port, before.ports[0].node_port);
}

#[test]
fn a_pod_without_declared_ports_answers_where_services_send_to() {
    let text = format!(
        "{NODES}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: a, labels: {{app: a}}}}\n---\napiVersion: v1\nkind: Service\n\
         metadata: {{name: a}}\nspec: {{selector: {{app: a}}, ports: [{{port: 80, name: x}}, {{port: 53, protocol: UDP, targetPort: 5353, name: y}}]}}\n"
    );
    let pod = cluster(&text).pods()[0].clone();
    assert_eq!(pod.listens, [(Protocol::Tcp, 80), (Protocol::Udp, 5353)]);
}

#[test]
fn pods_of_a_dump_count_for_their_deployment() {
    let pods: String = ["web-x", "web-y"]
        .map(|name| format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: web}}}}\nspec: {{nodeName: node-1, containers: [{{ports: [{{name: http, containerPort: 8080}}]}}]}}\n"))
        .concat();
    let cluster = cluster(&format!("{NODES}{WEB}{pods}"));
    let names: Vec<_> =
        cluster.pods().iter().map(|pod| (pod.name.name.as_str(), pod.node.as_str())).collect();
    assert_eq!(names, [("web-0", "node-1"), ("web-x", "node-1"), ("web-y", "node-1")]);
}

#[test]
fn names_are_ordered_naturally() {
    let sorted = ["a", "a2", "a10", "a-1", "a-2", "a-10", "a-10-x", "b"];
    for (left_index, left) in sorted.iter().enumerate() {
        for (right_index, right) in sorted.iter().enumerate() {
            assert_eq!(natural_cmp(left, right), left_index.cmp(&right_index), "{left} {right}");
        }
    }
}

proptest! {
    #[test]
    fn the_order_of_documents_does_not_matter(order in Just((0..9_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let second = "
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: dns}
spec:
  replicas: 2
  selector: {matchLabels: {app: dns}}
  template: {metadata: {labels: {app: dns}}, spec: {containers: [{ports: [{containerPort: 53, protocol: UDP}]}]}}
---
apiVersion: v1
kind: Service
metadata: {name: dns}
spec: {selector: {app: dns}, ports: [{port: 53, protocol: UDP}]}
";
        let text = format!("{NODES}{WEB}{CLIENT}{second}");
        let all = objects(&text);
        prop_assert_eq!(all.len(), order.len());
        let shuffled = order.iter().map(|index| all[*index].clone()).collect();
        let (other, _) = Cluster::new(&Network::default(), &Facts::default(), shuffled).unwrap();
        prop_assert_eq!(summary(&other), summary(&cluster(&text)));
    }

    #[test]
    fn natural_order_is_total(left in "[a0-9-]{0,6}", right in "[a0-9-]{0,6}", third in "[a0-9-]{0,6}") {
        prop_assert_eq!(natural_cmp(&left, &right), natural_cmp(&right, &left).reverse());
        prop_assert_eq!(natural_cmp(&left, &right) == Ordering::Equal, left == right);
        if natural_cmp(&left, &right) == Ordering::Less && natural_cmp(&right, &third) == Ordering::Less {
            prop_assert_eq!(natural_cmp(&left, &third), Ordering::Less);
        }
    }
}
