//! Cost of large scenarios, from text to result: `cargo bench -p conformance --bench scale`.
//!
//! Each row is a limit that a user may meet. Times should grow linearly with the numbers.

#[path = "../tests/support/small_cluster.rs"]
mod small_cluster;

use std::fmt::Write;

use conformance::diagnostic::Source;
use conformance::manifest;
use conformance::prepare::settle;
use conformance::runner::{RunOptions, run_sim};
use conformance::scenario::ProxyMode;
use divan::Bencher;
use small_cluster::{SERVICE, prepared, unreachable_endpoints};

fn main() {
    divan::main();
}

const CONNECT: &str =
    "  - connect: {from: outside, to: \"node/node-1:30080\"}\n    expect: {outcome: connected}\n";

fn scenario(steps: &str, objects: &str) -> Source {
    small_cluster::scenario("bridge", steps, &format!("{SERVICE}{objects}"))
}

fn run(source: Source) -> bool {
    let prepared = prepared(source);
    run_sim(&prepared, &RunOptions::unrecorded(ProxyMode::Iptables)).expect("it runs").result.passed()
}

/// Measures one run: runs take long and vary little.
fn measure(bencher: Bencher<'_, '_>, source: impl Fn() -> Source + Sync) {
    bencher.with_inputs(source).bench_values(|source| assert!(run(source), "as expected"));
}

/// A NodePort with this many endpoints that do not exist: the exact shares need a connection to each.
#[divan::bench(args = [30, 200, 1_000], sample_count = 1, sample_size = 1)]
fn exact_shares_of_unreachable_endpoints(bencher: Bencher<'_, '_>, count: usize) {
    let objects = unreachable_endpoints(30081, count);
    measure(bencher, || scenario("  - connect: {from: outside, to: \"node/node-1:30081\"}\n", &objects));
}

/// A NodePort with this many Pods, all on one node.
#[divan::bench(args = [30, 200], sample_count = 1, sample_size = 1)]
fn exact_shares_of_pods(bencher: Bencher<'_, '_>, count: usize) {
    let mut objects = String::new();
    for index in 1..count {
        let _ = write!(
            objects,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: web-{index}, labels: {{app: web}}}}\n\
             spec: {{nodeName: node-1, containers: [{{ports: [{{containerPort: 80}}]}}]}}\n"
        );
    }
    measure(bencher, || scenario(CONNECT, &objects));
}

/// Steps with one connection each.
#[divan::bench(args = [1_000, 4_000, 20_000], sample_count = 1, sample_size = 1)]
fn steps(bencher: Bencher<'_, '_>, count: usize) {
    measure(bencher, || scenario(&CONNECT.repeat(count), ""));
}

/// Connections of one step, more than the number of ephemeral ports.
#[divan::bench(args = [1_000, 10_000, 100_000], sample_count = 1, sample_size = 1)]
fn connections(bencher: Bencher<'_, '_>, count: usize) {
    let steps = format!(
        "  - connect: {{from: outside, to: \"node/node-1:30080\", count: {count}}}\n    expect: {{outcome: connected}}\n"
    );
    measure(bencher, || scenario(&steps, ""));
}

/// Keys of a mapping.
#[divan::bench(args = [2_000, 20_000, 200_000], sample_count = 1, sample_size = 1)]
fn keys(bencher: Bencher<'_, '_>, count: usize) {
    let mut objects = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: keys}\ndata:\n".to_owned();
    for index in 0..count {
        let _ = writeln!(objects, "  key-{index}: value");
    }
    measure(bencher, || scenario(CONNECT, &objects));
}

/// Ports of Services, 60 each.
#[divan::bench(args = [600, 6_000, 60_000], sample_count = 1, sample_size = 1)]
fn service_ports(bencher: Bencher<'_, '_>, count: usize) {
    const PORTS: usize = 60;
    let mut objects = String::new();
    for service in 0..count / PORTS {
        let ports: Vec<String> = (0..PORTS)
            .map(|port| format!("{{name: p{port}, port: {}, targetPort: 80}}", 1_000 + port))
            .collect();
        let _ = write!(
            objects,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: many-{service}}}\n\
             spec: {{selector: {{app: web}}, ports: [{}]}}\n",
            ports.join(", ")
        );
    }
    bencher
        .with_inputs(|| scenario(CONNECT, &objects))
        .bench_values(|source| assert!(settle(manifest::load(vec![source])).is_ok(), "the cluster is valid"));
}

/// Connections to a node with this many other Pods.
#[divan::bench(args = [0, 110, 240], sample_count = 1, sample_size = 1)]
fn connections_beside_pods(bencher: Bencher<'_, '_>, count: usize) {
    let mut objects = String::new();
    for index in 0..count {
        let _ = write!(
            objects,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: idle-{index}}}\nspec: {{nodeName: node-1}}\n"
        );
    }
    let steps = "  - connect: {from: outside, to: \"node/node-1:30080\", count: 10000}\n";
    let prepared = prepared(scenario(steps, &objects));
    bencher.bench(|| run_sim(&prepared, &RunOptions::unrecorded(ProxyMode::Iptables)).expect("it runs"));
}
