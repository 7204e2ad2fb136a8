//! iptables in a large cluster: time to load rules, and time for a packet to reach its Service.
//!
//! Each Service has one ClusterIP and five endpoints, and every tenth one a NodePort: at 10,000 Services, the nat table
//! has 61,008 chains and 173,007 rules. `cargo bench -p sim --bench xtables`.
#![allow(missing_docs, reason = "benchmarks need no documentation")]

use divan::{Bencher, black_box};
use sim::context::Context;
use sim::device::DeviceKind;
use sim::draws::Draws;
use sim::hook::{Family, Hook, HookState, Verdict};
use sim::ids::{DeviceId, NetnsId};
use sim::ipset::Ipset;
use sim::netns::{AtHook, Netns};
use sim::packet::{Origin, Packet};
use sim::time::Instant;
use sim::trace::{Level, Trace};
use sim::wire::build::{self, Ipv4Fields};
use sim::wire::{MacAddr, protocol};
use sim::xtables::{RestoreOptions, TableKind, Xtables};
use std::fmt::Write as _;
use std::net::Ipv4Addr;

const SERVICES: [u32; 3] = [10, 1_000, 10_000];
const ENDPOINTS: u32 = 5;

/// Counts allocations: there are none on the packet path.
#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

fn cluster_ip(service: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 96, 0, 1)) + service)
}

/// The nat table that kube-proxy writes, with names as long as its hashes.
fn rules(services: u32) -> String {
    let mut chains = String::from(
        "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-NODEPORTS - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n:KUBE-POSTROUTING - [0:0]\n",
    );
    let mut rules = String::from(
        "-A KUBE-POSTROUTING -m mark ! --mark 0x00004000/0x00004000 -j RETURN\n\
         -A KUBE-POSTROUTING -j MARK --xor-mark 0x00004000\n\
         -A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully\n\
         -A KUBE-MARK-MASQ -j MARK --or-mark 0x00004000\n",
    );
    for service in 0..services {
        write_service(service, &mut chains, &mut rules);
    }
    rules.push_str(
        "-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\" \
         -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n\
         -A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
         -A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING\nCOMMIT\n",
    );
    chains + &rules
}

fn write_service(service: u32, chains: &mut String, rules: &mut String) {
    let (name, ip) = (format!("namespace/service-{service:05}:http"), cluster_ip(service));
    let svc = format!("KUBE-SVC-{service:016X}");
    _ = writeln!(chains, ":{svc} - [0:0]");
    _ = writeln!(
        rules,
        "-A KUBE-SERVICES -m comment --comment \"{name} cluster IP\" -m tcp -p tcp -d {ip} --dport 80 -j {svc}\n\
         -A {svc} -m comment --comment \"{name} cluster IP\" -m tcp -p tcp -d {ip} --dport 80 ! -s 10.0.0.0/8 -j KUBE-MARK-MASQ"
    );
    if service.is_multiple_of(10) {
        let ext = format!("KUBE-EXT-{service:016X}");
        _ = writeln!(chains, ":{ext} - [0:0]");
        _ = writeln!(
            rules,
            "-A KUBE-NODEPORTS -m comment --comment {name} -m tcp -p tcp --dport {} -j {ext}\n\
             -A {ext} -m comment --comment \"masquerade traffic for {name} external destinations\" -j KUBE-MARK-MASQ\n\
             -A {ext} -j {svc}",
            30_000 + service / 10
        );
    }
    for endpoint in 0..ENDPOINTS {
        let addr =
            Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 128, 0, 1)) + service * ENDPOINTS + endpoint);
        let sep = format!("KUBE-SEP-{:016X}", service * ENDPOINTS + endpoint);
        let share = match ENDPOINTS - endpoint {
            1 => String::new(),
            left => format!(" -m statistic --mode random --probability {:.10}", 1.0 / f64::from(left)),
        };
        _ = writeln!(chains, ":{sep} - [0:0]");
        _ = writeln!(
            rules,
            "-A {svc} -m comment --comment \"{name} -> {addr}:8080\"{share} -j {sep}\n\
             -A {sep} -m comment --comment {name} -s {addr} -j KUBE-MARK-MASQ\n\
             -A {sep} -m comment --comment {name} -m tcp -p tcp -j DNAT --to-destination {addr}:8080"
        );
    }
}

fn load(text: &str) -> Xtables {
    let mut xtables = Xtables::default();
    let options = RestoreOptions { noflush: true, counters: true };
    if let Err(error) = xtables.restore(&mut Ipset::default(), Family::Ipv4, "rules", text, options) {
        panic!("{error}");
    }
    xtables
}

#[divan::bench(args = SERVICES, max_time = 5)]
fn restore(bencher: Bencher<'_, '_>, services: u32) {
    let text = rules(services);
    bencher.bench_local(|| load(black_box(&text)));
}

#[divan::bench(args = SERVICES, max_time = 5)]
fn save(bencher: Bencher<'_, '_>, services: u32) {
    let xtables = load(&rules(services));
    bencher.bench_local(|| black_box(&xtables).save(Family::Ipv4, true));
}

/// A world is forked for every path of an enumeration.
#[divan::bench(args = SERVICES)]
fn fork(bencher: Bencher<'_, '_>, services: u32) {
    let xtables = load(&rules(services));
    bencher.bench_local(|| black_box(&xtables).clone());
}

/// Adds one Service, as in a partial sync.
#[divan::bench(args = SERVICES, max_time = 5)]
fn partial_sync(bencher: Bencher<'_, '_>, services: u32) {
    let mut xtables = load(&rules(services));
    let (mut chains, mut rules) = (String::new(), String::new());
    write_service(services, &mut chains, &mut rules);
    let rules: String = rules
        .lines()
        .filter(|line| !line.contains("-A KUBE-SERVICES"))
        .map(|line| format!("{line}\n"))
        .collect();
    let text = format!("*nat\n{chains}{rules}COMMIT\n");
    let options = RestoreOptions { noflush: true, counters: true };
    bencher.bench_local(|| {
        xtables.restore(&mut Ipset::default(), Family::Ipv4, "rules", black_box(&text), options)
    });
}

/// A SYN to a ClusterIP through PREROUTING of the nat table, up to the DNAT to an endpoint: eight Services in turn, at
/// any position in the chain. The SYN is untracked, so that NAT itself does nothing.
#[divan::bench(args = SERVICES)]
fn walk(bencher: Bencher<'_, '_>, services: u32) {
    walk_to(bencher, services, 8);
}

/// Like [`walk`], with a thousand Services in turn, so that rules are not in the CPU caches.
#[divan::bench(args = SERVICES)]
fn walk_cold(bencher: Bencher<'_, '_>, services: u32) {
    walk_to(bencher, services, services.min(1_000));
}

fn walk_to(bencher: Bencher<'_, '_>, services: u32, count: u32) {
    let mut bed = Bed::new(load(&rules(services)));
    let target = |index: u32| cluster_ip((index + 1) * 7_919 % services);
    let mut packets: Vec<Packet> = (0..count).map(|index| bed.syn((target(index), 80))).collect();
    // The first packet builds the index of the chain.
    _ = bed.prerouting(&mut packets[0]);
    let mut turn = 0;
    bencher.bench_local(|| {
        turn = (turn + 1) % packets.len();
        bed.prerouting(&mut packets[turn])
    });
}

/// Like [`walk`], to an address that belongs to no Service.
#[divan::bench(args = SERVICES)]
fn walk_past_all_services(bencher: Bencher<'_, '_>, services: u32) {
    let mut bed = Bed::new(load(&rules(services)));
    let mut packet = bed.syn((Ipv4Addr::new(192, 0, 2, 1), 80));
    _ = bed.prerouting(&mut packet);
    bencher.bench_local(|| bed.prerouting(&mut packet));
}

struct Bed {
    ns: Netns,
    draws: Draws,
    trace: Trace,
}

impl Bed {
    fn new(xtables: Xtables) -> Self {
        let mut ns = Netns::new(NetnsId(0), "bed");
        ns.xtables = xtables;
        ns.devices.add("lo", MacAddr::ZERO, 65_535, DeviceKind::Loopback);
        ns.devices.add("eth0", MacAddr::ZERO, 1_500, DeviceKind::Dummy);
        Self { ns, draws: Draws::seeded(0), trace: Trace::new(Level::Nothing) }
    }

    fn syn(&mut self, (dst, port): (Ipv4Addr, u16)) -> Packet {
        let src = Ipv4Addr::new(10, 1, 2, 3);
        let mut segment = [0; 20];
        segment[..2].copy_from_slice(&40_000_u16.to_be_bytes());
        segment[2..4].copy_from_slice(&port.to_be_bytes());
        (segment[12], segment[13]) = (0x50, 0x02);
        build::finish_transport_checksum(src, dst, protocol::TCP, &mut segment);
        let fields =
            Ipv4Fields { src, dst, protocol: protocol::TCP, ttl: 64, tos: 0, ident: 0, dont_fragment: true };
        let bytes = build::ipv4(fields, &segment);
        self.trace.create(Instant::START, NetnsId(0), Origin::Injected, None, None, bytes)
    }

    fn prerouting(&mut self, packet: &mut Packet) -> Verdict {
        let mut effects = Vec::new();
        let mut cx = Context {
            now: Instant::START,
            netns: NetnsId(0),
            draws: &mut self.draws,
            trace: &mut self.trace,
            effects: &mut effects,
        };
        let state = HookState {
            family: Family::Ipv4,
            hook: Hook::Prerouting,
            in_dev: Some(DeviceId(2)),
            out_dev: None,
        };
        let AtHook { mut ctx, xtables, .. } = self.ns.at_hook(&mut cx, state);
        xtables.eval(Family::Ipv4, TableKind::Nat, &mut ctx, packet)
    }
}
