use super::*;
use crate::manifest;

/// Two nodes, a Pod and a Service of the same name in two namespaces, and an external host.
const CLUSTER: &str = "
apiVersion: v1
kind: Node
metadata: {name: node-1}
status: {addresses: [{type: InternalIP, address: 192.168.0.11}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-2}
status: {addresses: [{type: InternalIP, address: 192.168.0.12}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}}
spec: {nodeName: node-1, containers: [{name: web, ports: [{containerPort: 8080}]}]}
status: {podIP: 10.244.1.7}
---
apiVersion: v1
kind: Pod
metadata: {name: probe, namespace: shop}
spec: {nodeName: node-1, containers: [{name: probe}]}
---
apiVersion: v1
kind: Pod
metadata: {name: probe, namespace: ops}
spec: {nodeName: node-2, containers: [{name: probe}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, clusterIP: 10.96.0.10, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: ops}
spec: {selector: {app: web}, clusterIP: 10.96.0.11, ports: [{port: 80, targetPort: 8080}]}
";

fn asked(from: &str, to: &str, via: Option<&str>) -> Result<Prepared, QuestionError> {
    let source = Source { name: "cluster.yaml".to_owned(), text: CLUSTER.to_owned() };
    let question = Question {
        from: from.to_owned(),
        to: to.to_owned(),
        protocol: QuestionProtocol::Tcp,
        via: via.map(ToOwned::to_owned),
    };
    prepare(manifest::load(vec![source]), &question)
}

/// `CLIENT -> ADDRESS:PORT`, or what is wrong.
fn answer(from: &str, to: &str) -> String {
    match asked(from, to, None) {
        Ok(prepared) => {
            let prepare::PreparedAction::Flows(plan) = &prepared.steps[0].action else {
                panic!("a connection")
            };
            format!("{} -> {}", plan.from_text, plan.to)
        }
        Err(QuestionError::Name(error)) => format!("{error}; {}", error.help),
        Err(QuestionError::Refused(refused)) => {
            let is_error = |one: &&Diagnostic| one.severity == crate::diagnostic::Severity::Error;
            let first = refused.diagnostics.iter().find(is_error).expect("one is an error");
            format!("{} in {}", first.message, refused.sources[first.place.source.0].name)
        }
    }
}

#[test]
fn names_and_addresses_are_found() {
    for (from, to, expected) in [
        ("web-0", "shop/web", "pod/shop/web-0 -> 10.96.0.10:80"),
        ("shop/probe", "web.ops:80", "pod/shop/probe -> 10.96.0.11:80"),
        ("pod/ops/probe", "web.shop.svc.cluster.local", "pod/ops/probe -> 10.96.0.10:80"),
        ("10.244.1.7", "service/ops/web", "pod/shop/web-0 -> 10.96.0.11:80"),
        ("192.168.0.12", "web-0:8080", "node/node-2 -> 10.244.1.7:8080"),
        ("node-1", "node-2:30080", "node/node-1 -> 192.168.0.12:30080"),
        ("192.168.0.99", "10.96.0.10:80", "host/client -> 10.96.0.10:80"),
        ("probe", "web.shop", "probe may be pod/ops/probe or pod/shop/probe; write one of them"),
        ("web-0", "web", "web may be service/ops/web or service/shop/web; write one of them"),
        ("web-1", "web.shop", "no machine \"web-1\"; did you mean web-0?"),
        ("web-0", "wep", "no Service or machine \"wep\"; did you mean web?"),
        (
            "203.0.113.9",
            "web.shop",
            "203.0.113.9 is not a Pod, a node or an external host, and not on the nodes' network 192.168.0.0/24; \
             name a Pod or a node, or a free address of 192.168.0.0/24 for a client outside the cluster",
        ),
        ("web-0", "node-1", "node/node-1 has no port in the question"),
        ("web-0", "shop/web:99999", "invalid port 99999 in the question"),
    ] {
        assert_eq!(answer(from, to), expected, "{from} {to}");
    }
}

#[test]
fn a_client_outside_the_cluster_has_a_node_as_its_gateway() {
    for (via, node) in [(None, "node-1"), (Some("node-2"), "node-2")] {
        let prepared = asked("192.168.0.99", "web.shop", via).unwrap();
        let gateway = prepared.cluster.host("client").and_then(|host| host.gateway.clone());
        assert_eq!(gateway, Some(crate::scenario::Via::Node(node.to_owned())));
    }
    let Err(QuestionError::Name(error)) = asked("192.168.0.99", "web.shop", Some("nod-2")) else {
        panic!("found")
    };
    assert_eq!((error.message.as_str(), error.help.as_str()), ("no node \"nod-2\"", "did you mean node-2?"));
}
