//! Throughput of packets and connections through a node, by the number of its Services and Pods.
//!
//! The rules are printed by proxy-core; the Service under test is the last of its chain. A client on the node's LAN
//! connects to its NodePort; the endpoint is a Pod behind the node's bridge, with br_netfilter on. After divan's table
//! come connections per second and the ratios: most Services to fewest in each mode of kube-proxy, most Pods to fewest, and the
//! simulator to this machine's kernel, which makes the same connections through the same rules in network namespaces. The latter needs
//! root and the tools of the kernel arm; missing ones are reported.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

mod kernel_lab;
mod rules;
mod sim_lab;

use divan::{Bencher, counter::ItemsCount};
use ipnet::Ipv4Net;
use proxy_core::generator::Generator;
use sim::wire::MacAddr;
use sim_lab::{SimLab, loaded_node};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const SERVICES: [usize; 3] = [10, 1_000, 10_000];
/// The kubelet's default limit (`maxPods`), a smaller and a larger number.
const PODS: [u16; 3] = [10, 110, 610];
/// Many short rounds, so that some run without interruption.
const ROUNDS: u32 = 50;
/// Connections per round.
const CONNECTIONS: u32 = 100;

const NODE: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 11);
const LAN_OF_NODE: Ipv4Net = Ipv4Net::new_assert(NODE, 24);
const LAN_OF_CLIENT: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 100), 24);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
/// The endpoint; other Pods have the addresses after it.
const POD: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 2);
const POD_PREFIX: u8 = 16;
const NODE_PORT: u16 = 32_767;
const NODE_SYSCTLS: [(&str, &str); 4] = [
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.bridge.bridge-nf-call-iptables", "1"),
];

fn main() {
    divan::main();
    print_rates();
}

/// Connections through the NodePort of the last Service: handshake, request, response, close.
#[divan::bench(args = SERVICES, sample_count = 200, sample_size = 20)]
fn connections(bencher: Bencher, services: usize) {
    let mut lab = SimLab::new(Generator::Iptables, services, PODS[1]);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| lab.connect());
}

/// The same by the number of Pods on the node.
#[divan::bench(args = PODS, sample_count = 200, sample_size = 20)]
fn connections_by_pods(bencher: Bencher, pods: u16) {
    let mut lab = SimLab::new(Generator::Iptables, SERVICES[0], pods);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| lab.connect());
}

/// Datagrams of one tracked flow: a request and its response are two packets, each processed by three netns.
#[divan::bench(args = SERVICES, sample_count = 200, sample_size = 20)]
fn packets(bencher: Bencher, services: usize) {
    let mut lab = SimLab::new(Generator::Iptables, services, PODS[1]);
    let socket = lab.open_udp();
    bencher.counter(ItemsCount::new(2_usize)).bench_local(|| lab.exchange(socket));
}

/// Connections through the same NodePort in IPVS mode.
#[divan::bench(args = SERVICES, sample_count = 200, sample_size = 20)]
fn ipvs_connections(bencher: Bencher, services: usize) {
    let mut lab = SimLab::new(Generator::Ipvs, services, PODS[1]);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| lab.connect());
}

/// Datagrams of one connection of IPVS.
#[divan::bench(args = SERVICES, sample_count = 200, sample_size = 20)]
fn ipvs_packets(bencher: Bencher, services: usize) {
    let mut lab = SimLab::new(Generator::Ipvs, services, PODS[1]);
    let socket = lab.open_udp();
    bencher.counter(ItemsCount::new(2_usize)).bench_local(|| lab.exchange(socket));
}

/// Loading the rules of a node.
#[divan::bench(args = SERVICES, sample_count = 3, sample_size = 1)]
fn load(bencher: Bencher, services: usize) {
    let load = rules::rules(Generator::Iptables, services);
    bencher.bench_local(|| loaded_node(&load));
}

/// Loading the texts of a node in IPVS mode.
#[divan::bench(args = SERVICES, sample_count = 3, sample_size = 1)]
fn ipvs_load(bencher: Bencher, services: usize) {
    let load = rules::rules(Generator::Ipvs, services);
    bencher.bench_local(|| loaded_node(&load));
}

/// Connections per second, each the best of several rounds, and their ratios.
fn print_rates() {
    let [few, .., many] = SERVICES;
    let [few_pods, pods, many_pods] = PODS;
    println!();
    let [at_many, _in_ipvs] = [Generator::Iptables, Generator::Ipvs].map(|generator| {
        let base = print_rate(generator, few, pods);
        let at_many = print_rate(generator, many, pods);
        println!("{}: {many} Services cost {:.2} times {few}", name(generator), ratio(at_many, base));
        at_many
    });
    let with_few_pods = print_rate(Generator::Iptables, few, few_pods);
    let with_many_pods = print_rate(Generator::Iptables, few, many_pods);
    println!(
        "{many_pods} Pods on the node cost {:.2} times {few_pods}",
        ratio(with_many_pods, with_few_pods)
    );
    match kernel_lab::shortest(many, pods) {
        Ok(kernel) => {
            println!("this machine's kernel at {many} Services: {:.0} connections per second", rate(kernel));
            println!("the simulator makes {:.2} connections for each of the kernel", ratio(kernel, at_many));
        }
        Err(reason) => println!("the kernel's rate is not measured\n  {reason}"),
    }
}

fn print_rate(generator: Generator, services: usize, pods: u16) -> Duration {
    let mut lab = SimLab::new(generator, services, pods);
    let mut shortest = Duration::MAX;
    // An extra round for ARP and caches.
    for _ in 0..=ROUNDS {
        let start = Instant::now();
        (0..CONNECTIONS).for_each(|_| lab.connect());
        shortest = shortest.min(start.elapsed() / CONNECTIONS);
    }
    let mode = name(generator);
    println!(
        "{mode}, {services} Services, {pods} Pods on the node: {:.0} connections per second",
        rate(shortest)
    );
    shortest
}

const fn name(generator: Generator) -> &'static str {
    match generator {
        Generator::Iptables => "iptables",
        Generator::Ipvs => "IPVS",
    }
}

fn rate(time: Duration) -> f64 {
    1.0 / time.as_secs_f64()
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

/// The hardware address of one side of a pair of devices.
fn mac(side: u8, number: u16) -> MacAddr {
    let [high, low] = number.to_be_bytes();
    MacAddr([2, 0, 0, side, high, low])
}
