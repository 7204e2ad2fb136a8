//! Time to build a lab: three nodes and their Pods are wired, loaded with rules, and torn down.
//!
//! Needs root and the tools of the kernel arm; without them it reports what is missing and measures nothing.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use conformance::arm::Arm;
use conformance::arm::kernel::KernelArm;
use conformance::backend::Backend;
use conformance::cluster::Cluster;
use conformance::diagnostic::Source;
use conformance::manifest::load;
use conformance::prepare::settle;
use conformance::proxy::Proxies;
use conformance::scenario::ProxyMode;
use conformance::topology::Topology;
use divan::Bencher;

/// Three nodes with one Pod each, behind a Service.
fn three_nodes() -> Cluster {
    let mut text = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  type: NodePort\n  \
                    selector: {app: web}\n  ports: [{port: 80, targetPort: 8080}]\n"
        .to_owned();
    for number in 1..=3 {
        text += &format!(
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: node-{number}}}\n\
             status: {{addresses: [{{type: InternalIP, address: 192.168.0.1{number}}}]}}\n---\napiVersion: v1\nkind: Pod\n\
             metadata: {{name: web-{number}, labels: {{app: web}}}}\nspec:\n  nodeName: node-{number}\n  \
             containers: [{{name: web, ports: [{{containerPort: 8080}}]}}]\n"
        );
    }
    let settled = settle(load(vec![Source { name: "bench".to_owned(), text }]));
    let (cluster, ..) = settled.unwrap_or_else(|refused| panic!("{:?}", refused.diagnostics));
    cluster
}

fn main() {
    for backend in Backend::ALL {
        let lacks = KernelArm::lacks(backend);
        if !lacks.is_empty() {
            println!("labs are not measured\n  {}", lacks.join("\n  "));
            return;
        }
    }
    divan::main();
}

/// Namespaces, devices, addresses, routes, captures and servers.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn built_and_torn_down(bencher: Bencher<'_, '_>) {
    let topology = Topology::of(&three_nodes());
    bencher.bench_local(|| {
        let mut arm = KernelArm::new(Backend::Legacy);
        arm.build(&topology).expect("built");
    });
}

/// The same with kube-proxy's rules on every node.
#[divan::bench(args = [Backend::Legacy, Backend::Nft], sample_count = 20, sample_size = 1)]
fn built_loaded_and_torn_down(bencher: Bencher<'_, '_>, backend: Backend) {
    let cluster = three_nodes();
    let topology = Topology::of(&cluster);
    let (_, loads) = Proxies::start(ProxyMode::Iptables, &cluster).expect("rules");
    bencher.bench_local(|| {
        let mut arm = KernelArm::new(backend);
        arm.build(&topology).expect("built");
        for (node, load) in &loads {
            arm.load(node, load).expect("loaded");
        }
    });
}
