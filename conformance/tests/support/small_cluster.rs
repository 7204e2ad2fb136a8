//! A small cluster for tests and benchmarks: two nodes, four Pods, a Service, and a host outside.
//!
//! Included by path, also in unit tests of the library itself.
#![allow(dead_code, reason = "each test uses its part of this")]

use std::fmt::Write;

use conformance::diagnostic::{Source, Style, render};
use conformance::manifest;
use conformance::prepare::{Prepared, Refused, prepare};

/// Nodes and Pods; `near` has address 10.244.1.3.
const NODES_AND_PODS: &str = "
---
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
metadata: {name: client}
spec: {nodeName: node-1}
---
apiVersion: v1
kind: Pod
metadata: {name: near, labels: {app: web}}
spec: {nodeName: node-1, containers: [{ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: far}
spec: {nodeName: node-2, containers: [{ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: agent}
spec: {nodeName: node-2, hostNetwork: true, containers: [{ports: [{containerPort: 9100}]}]}
";

/// A Service in front of `near`.
pub(crate) const SERVICE: &str = "
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, clusterIP: 10.96.0.10, selector: {app: web}, ports: [{port: 80, nodePort: 30080}]}
";

/// A scenario with this CNI, these steps (at the indentation of a list in `spec`), and objects beside nodes and Pods.
pub(crate) fn scenario(cni: &str, steps: &str, objects: &str) -> Source {
    let text = format!(
        "apiVersion: hairpin/v1\nkind: Scenario\nmetadata: {{name: small}}\nspec:\n  intent: i\n  network:\n    cni: {cni}\n    \
         externalHosts:\n    - name: outside\n      ip: 192.168.0.100\n      gateway: node/node-1\n      \
         routes: [{{to: 10.244.1.0/24, via: node/node-1}}, {{to: 10.244.2.0/24, via: node/node-2}}]\n      \
         listen: [443]\n  steps:\n{steps}{NODES_AND_PODS}{objects}"
    );
    Source { name: "small.yaml".into(), text }
}

/// A Service `gone` with this many endpoints that do not exist, behind a NodePort. They belong to no known network, else Pods or
/// hosts would be assumed for them.
pub(crate) fn unreachable_endpoints(node_port: u16, count: usize) -> String {
    let mut text = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: gone}}\n\
         spec: {{type: NodePort, clusterIP: 10.96.0.20, ports: [{{port: 80, nodePort: {node_port}}}]}}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: gone-1, labels: {{kubernetes.io/service-name: gone}}}}\naddressType: IPv4\n\
         ports: [{{port: 80, protocol: TCP, name: ''}}]\nendpoints:\n"
    );
    for index in 0..count {
        let (high, low) = (index / 250, 2 + index % 250);
        let _ = writeln!(text, "- {{addresses: [100.64.{high}.{low}]}}");
    }
    text
}

/// The validated scenario.
///
/// # Panics
/// If it is invalid.
pub(crate) fn prepared(source: Source) -> Prepared {
    prepare(manifest::load(vec![source])).unwrap_or_else(|refused| panic!("{}", messages(&refused)))
}

/// The output for a rejected scenario.
pub(crate) fn messages(refused: &Refused) -> String {
    render(&refused.diagnostics, &refused.sources, Style::Plain)
}
