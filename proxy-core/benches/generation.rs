//! Time to generate the rules of a large cluster: 10,000 Services with 5 endpoints each.
//!
//! For comparison: real kube-proxy v1.31 needs 373 ms for the full rules of such a cluster in iptables mode. In IPVS mode
//! its first sync needs 248 ms, a full sync 208 ms, and a sync after a change of one endpoint 213 ms. `cargo bench -p
//! proxy-core`.
#![allow(missing_docs, reason = "benchmarks need no documentation")]

use divan::{Bencher, black_box};
use proxy_core::config::{Machine, NodeConfig};
use proxy_core::iptables::{self, sync};
use proxy_core::ipvs;
use proxy_core::objects::{
    Endpoint, EndpointPort, EndpointSlice, IpFamily, KubeProxyConfiguration, Object, ObjectMeta, Service,
    ServicePort, ServiceSpec, ServiceType,
};
use proxy_core::plan::Plan;
use proxy_core::service_store::ServiceStore;

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 5;

fn main() {
    divan::main();
}

fn metadata(index: u32, labels: &[(&str, String)]) -> ObjectMeta {
    ObjectMeta {
        name: format!("service-{index:05}"),
        namespace: format!("namespace-{:03}", index % 100),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        ..ObjectMeta::default()
    }
}

fn service(index: u32) -> Object {
    let has_node_port = index.is_multiple_of(10);
    let cluster_ip = format!("10.{}.{}.{}", 96 + index / 65536, index / 256 % 256, index % 256);
    Object::Service(Service {
        metadata: metadata(index, &[]),
        spec: ServiceSpec {
            service_type: if has_node_port { ServiceType::NodePort } else { ServiceType::ClusterIP },
            ports: vec![ServicePort {
                name: "http".to_owned(),
                port: 80,
                node_port: if has_node_port { 30000 + i32::try_from(index / 10).unwrap_or(0) } else { 0 },
                ..ServicePort::default()
            }],
            cluster_ips: vec![cluster_ip.clone()],
            cluster_ip,
            ip_families: vec![IpFamily::V4],
            ..ServiceSpec::default()
        },
        ..Service::default()
    })
}

fn slice(index: u32, endpoints: u32) -> Object {
    let address = |endpoint: u32| {
        let number = index * 8 + endpoint;
        Endpoint {
            addresses: vec![format!("10.{}.{}.{}", 200 + number / 65536, number / 256 % 256, number % 256)],
            node_name: Some(format!("node-{}", number % 500)),
            ..Endpoint::default()
        }
    };
    let name = format!("service-{index:05}");
    Object::EndpointSlice(EndpointSlice {
        metadata: metadata(index, &[("kubernetes.io/service-name", name)]),
        endpoints: (0..endpoints).map(address).collect(),
        ports: vec![EndpointPort {
            name: Some("http".to_owned()),
            port: Some(8080),
            ..EndpointPort::default()
        }],
        ..EndpointSlice::default()
    })
}

fn objects() -> Vec<Object> {
    (0..SERVICES).flat_map(|index| [service(index), slice(index, ENDPOINTS)]).collect()
}

fn config() -> NodeConfig {
    let configuration = KubeProxyConfiguration {
        cluster_cidr: "10.192.0.0/10".to_owned(),
        ..KubeProxyConfiguration::default()
    };
    NodeConfig::new(Machine::new("node-1"), &configuration, None).expect("a valid configuration")
}

/// Reads and validates the objects.
#[divan::bench]
fn full_1_cluster(bencher: Bencher<'_, '_>) {
    let objects = objects();
    bencher.bench_local(|| ServiceStore::new(black_box(&objects)).expect("valid objects"));
}

/// Builds the plan from the cluster.
#[divan::bench]
fn full_2_plan(bencher: Bencher<'_, '_>) {
    let store = ServiceStore::new(&objects()).expect("valid objects");
    let config = config();
    bencher.bench_local(|| Plan::new(black_box(&store), &config, IpFamily::V4));
}

/// Prints the text of the plan.
#[divan::bench]
fn full_3_text(bencher: Bencher<'_, '_>) {
    let store = ServiceStore::new(&objects()).expect("valid objects");
    let plan = Plan::new(&store, &config(), IpFamily::V4);
    bencher.bench_local(|| iptables::restore(black_box(&plan)));
}

/// All of it: reading the objects, and what kube-proxy does in a full sync.
#[divan::bench]
fn full_all(bencher: Bencher<'_, '_>) {
    let objects = objects();
    let config = config();
    bencher.bench_local(|| {
        let store = ServiceStore::new(black_box(&objects)).expect("valid objects");
        let plan = Plan::new(&store, &config, IpFamily::V4);
        let text = iptables::restore(&plan);
        // Returned so that dropping them is not measured.
        (store, plan, text)
    });
}

/// Applies changes and writes their syncs, forth and back, so that every iteration starts with the same cluster.
fn bench_change(bencher: Bencher<'_, '_>, there: &[Object], back: &[Object]) {
    let mut store = ServiceStore::new(&objects()).expect("valid objects");
    let config = config();
    let mut plan = Plan::new(&store, &config, IpFamily::V4);
    bencher.bench_local(|| {
        for object in there.iter().chain(back) {
            let changed = store.apply(black_box(object)).expect("a valid object");
            let change = plan.update(&store, &config, &changed);
            black_box(sync::of_change(&plan, &change));
        }
    });
}

/// One endpoint is removed and added again: two changes.
#[divan::bench]
fn change_endpoint_twice(bencher: Bencher<'_, '_>) {
    bench_change(bencher, &[slice(7777, ENDPOINTS - 1)], &[slice(7777, ENDPOINTS)]);
}

/// All endpoints of a Service are removed and added again: two changes that affect the shared chains.
#[divan::bench]
fn change_dispatch_twice(bencher: Bencher<'_, '_>) {
    bench_change(bencher, &[slice(7777, 0)], &[slice(7777, ENDPOINTS)]);
}

/// Compares two complete plans that differ in one endpoint.
#[divan::bench]
fn compare_plans(bencher: Bencher<'_, '_>) {
    let mut store = ServiceStore::new(&objects()).expect("valid objects");
    let config = config();
    let before = Plan::new(&store, &config, IpFamily::V4);
    let mut after = before.clone();
    let changed = store.apply(&slice(7777, ENDPOINTS - 1)).expect("a valid object");
    after.update(&store, &config, &changed);
    bencher.bench_local(|| sync::between(black_box(&before), black_box(&after)));
}

/// Prints the texts of the plan in IPVS mode.
#[divan::bench]
fn ipvs_full_3_text(bencher: Bencher<'_, '_>) {
    let store = ServiceStore::new(&objects()).expect("valid objects");
    let plan = Plan::new(&store, &config(), IpFamily::V4);
    bencher.bench_local(|| ipvs::texts(black_box(&plan)));
}

/// All of it in IPVS mode: reading the objects, and what kube-proxy does in its first sync.
#[divan::bench]
fn ipvs_full_all(bencher: Bencher<'_, '_>) {
    let objects = objects();
    let config = config();
    bencher.bench_local(|| {
        let store = ServiceStore::new(black_box(&objects)).expect("valid objects");
        let plan = Plan::new(&store, &config, IpFamily::V4);
        let texts = ipvs::texts(&plan);
        let state = ipvs::NodeState::new(&plan);
        (store, plan, texts, state)
    });
}

/// One endpoint is removed and added again in IPVS mode: two changes.
#[divan::bench]
fn ipvs_change_endpoint_twice(bencher: Bencher<'_, '_>) {
    let mut store = ServiceStore::new(&objects()).expect("valid objects");
    let config = config();
    let mut plan = Plan::new(&store, &config, IpFamily::V4);
    let mut state = ipvs::NodeState::new(&plan);
    bencher.bench_local(|| {
        for object in [slice(7777, ENDPOINTS - 1), slice(7777, ENDPOINTS)] {
            let changed = store.apply(black_box(&object)).expect("a valid object");
            let change = plan.update(&store, &config, &changed);
            black_box(state.sync(&plan, &change));
        }
    });
}
