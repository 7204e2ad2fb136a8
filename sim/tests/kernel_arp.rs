//! ARP against the real kernel: which requests are answered, and which neighbours are learned.
//!
//! Needs root, `unshare`, `nsenter`, `bash` and `ip`; skips with a message if they are missing.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "support/mutation.rs"]
mod mutation;
#[path = "support/netns.rs"]
mod netns;

use sim::context::{Context, Effect};
use sim::device::{DeviceKind, Devices, Scope};
use sim::draws::Draws;
use sim::fib::{Fib, Route, Routing, TableId, add_address};
use sim::ids::{DeviceId, NetnsId};
use sim::neigh::NeighTable;
use sim::packet::{Origin, PacketType};
use sim::sysctl::Sysctls;
use sim::time::Instant;
use sim::trace::{Level, Trace};
use sim::wire::arp::{Arp, ArpOperation};
use sim::wire::{MacAddr, build};
use std::net::Ipv4Addr;

const ETH0: DeviceId = DeviceId(2);

/// Senders of the requests. Without an address the sender uses 0.0.0.0.
const SENDERS: [&str; 5] = ["10.0.0.2", "10.1.0.2", "10.9.9.9", "10.0.0.3", "0.0.0.0"];

const TARGETS: [&str; 9] = [
    "10.0.0.1",
    "10.0.0.3",
    "10.1.0.1",
    "10.96.0.10",
    "192.0.2.77",
    "127.0.0.1",
    "10.0.0.9",
    "10.1.0.9",
    "8.8.8.8",
];

/// D-42 and D-45: each request under each value of the relevant settings.
#[test]
fn requests_are_answered_as_the_kernel_answers_them() {
    if !netns::is_available() {
        return;
    }
    let scripts: Vec<_> = SETTINGS.iter().map(|settings| script(settings)).collect();
    let said = netns::run(&scripts);
    for ((settings, script), said) in SETTINGS.iter().zip(&scripts).zip(&said) {
        for (sender, kernel) in SENDERS.iter().zip(outcomes(script, said)) {
            assert_eq!(ask_simulator(settings, sender), kernel, "requests from {sender} with {settings:?}");
        }
    }
}

const SETTINGS: [&[&str]; 14] = [
    &[],
    &["net.ipv4.conf.all.arp_ignore=1"],
    &["net.ipv4.conf.eth0.arp_ignore=2"],
    &["net.ipv4.conf.all.arp_ignore=3"],
    &["net.ipv4.conf.all.arp_ignore=5"],
    &["net.ipv4.conf.all.arp_ignore=8"],
    &["net.ipv4.conf.all.arp_filter=1"],
    &["net.ipv4.conf.all.rp_filter=1"],
    &["net.ipv4.conf.eth0.rp_filter=2"],
    &["net.ipv4.conf.eth0.accept_local=1"],
    &["net.ipv4.conf.all.route_localnet=1"],
    &["net.ipv4.conf.eth0.route_localnet=1", "net.ipv4.conf.all.arp_ignore=3"],
    &["net.ipv4.ip_forward=1", "net.ipv4.conf.eth0.proxy_arp=1", "net.ipv4.neigh.eth0.proxy_delay=0"],
    &["net.ipv4.conf.eth0.proxy_arp=1", "net.ipv4.neigh.eth0.proxy_delay=0"],
];

/// Which targets were answered, and if the sender is known afterwards.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    answered: Vec<String>,
    is_sender_known: bool,
}

/// Commands of the receiver. A second namespace, of process `$P`, sends the requests.
fn script(settings: &[&str]) -> Vec<String> {
    let mut script: Vec<String> = [
        "unshare --net sleep 60 > /dev/null 2>&1 & P=$!",
        "until [ $(readlink /proc/$P/ns/net) != $(readlink /proc/self/ns/net) ]; do :; done",
        "ip link add eth0 type veth peer name eth0 netns $P",
        "ip link add eth1 type veth peer name peer1 && ip link add br0 type bridge",
        "for device in lo eth0 eth1 peer1 br0; do ip link set $device up; done",
        "ip address add 10.0.0.1/24 dev eth0 && ip address add 10.0.0.3/24 dev eth0",
        "ip address add 10.1.0.1/24 dev eth1 && ip address add 10.96.0.10/32 dev br0",
        "ip route add default via 10.0.0.254 && ip route add local 192.0.2.0/24 dev lo",
        "ask() { nsenter --target $P --net \"$@\"; }",
        "ask ip link set eth0 up",
        // A device whose link just came up drops transmitted packets until the kernel has processed the link event;
        // querying the device forces that (`rtnl_getlink`, net/core/rtnetlink.c).
        "for device in eth0 eth1 peer1; do ip link show dev $device; done > /dev/null; ask ip link show dev eth0 > /dev/null",
        // One request, and 20 ms for the reply.
        "ask sysctl -qw net.ipv4.neigh.eth0.mcast_solicit=1 net.ipv4.neigh.eth0.retrans_time_ms=20",
    ]
    .map(str::to_owned)
    .into();
    script.extend(settings.iter().map(|setting| format!("sysctl -qw {setting}")));
    for sender in SENDERS {
        script.push("ip neigh flush dev eth0 nud all; ask ip neigh flush dev eth0 nud all".into());
        script.push("ask ip address flush dev eth0".into());
        if sender != "0.0.0.0" {
            script.push(format!("ask ip address add {sender}/32 dev eth0"));
        }
        for target in TARGETS {
            script.push(format!("ask ip neigh replace {target} dev eth0 use"));
        }
        script.push("sleep 0.1".into());
        script.push("ask ip -4 neigh show dev eth0 nud reachable".into());
        script.push(format!(
            "ip -4 neigh show {sender} dev eth0 nud stale; ip -4 neigh show {sender} dev eth0 nud delay"
        ));
    }
    script.push("kill $P".into());
    script
}

/// The kernel's outcome for each sender.
fn outcomes(script: &[String], said: &[String]) -> Vec<Outcome> {
    let is_shown = |at: &usize| script[*at].contains("neigh show");
    let (shown, silent): (Vec<_>, Vec<_>) = (0..script.len()).partition(is_shown);
    let complaints: Vec<_> = silent.iter().filter(|at| !said[**at].is_empty()).map(|at| &said[*at]).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let outcome = |pair: &[usize]| {
        let reachable: Vec<_> = said[pair[0]].lines().filter_map(|line| line.split(' ').next()).collect();
        let answered = TARGETS.iter().filter(|target| reachable.contains(*target));
        Outcome {
            answered: answered.map(|target| (*target).to_owned()).collect(),
            is_sender_known: !said[pair[1]].is_empty(),
        }
    };
    shown.chunks(2).map(outcome).collect()
}

fn ask_simulator(settings: &[&str], sender: &str) -> Outcome {
    mutation::select();
    let (devices, fib) = host();
    let mut sysctls = Sysctls::default();
    for setting in settings {
        let (name, value) = setting.split_once('=').unwrap();
        sysctls.set(&devices, name, value).unwrap();
    }
    let routing = Routing { devices: &devices, fib: &fib, sysctls: &sysctls };
    let mut table = NeighTable::default();
    let sender: Ipv4Addr = sender.parse().unwrap();
    let answered = TARGETS
        .iter()
        .filter(|target| is_answered(&mut table, routing, sender, target.parse().unwrap()))
        .map(|target| (*target).to_owned())
        .collect();
    Outcome { answered, is_sender_known: table.get(Instant::START, &sysctls, ETH0, sender.into()).is_some() }
}

fn host() -> (Devices, Fib) {
    let mut devices = Devices::default();
    let mut fib = Fib::default();
    let veth = DeviceKind::Veth { peer_netns: NetnsId(1), peer: DeviceId(2) };
    devices.add("lo", MacAddr::ZERO, u16::MAX, DeviceKind::Loopback);
    devices.add("eth0", MacAddr([2, 0, 0, 0, 0, 1]), 1500, veth.clone());
    devices.add("eth1", MacAddr([2, 0, 0, 0, 1, 1]), 1500, veth);
    devices.add("br0", MacAddr([2, 0, 0, 0, 2, 1]), 1500, DeviceKind::Bridge);
    for (device, net, scope) in [
        ("lo", "127.0.0.1/8", Scope::Host),
        ("eth0", "10.0.0.1/24", Scope::Universe),
        ("eth0", "10.0.0.3/24", Scope::Universe),
        ("eth1", "10.1.0.1/24", Scope::Universe),
        ("br0", "10.96.0.10/32", Scope::Universe),
    ] {
        let id = devices.by_name(device).unwrap().id;
        add_address(&mut devices, &mut fib, id, net.parse().unwrap(), scope).unwrap();
    }
    let default = Route::via("0.0.0.0/0".parse().unwrap(), "10.0.0.254".parse().unwrap());
    fib.add(&devices, TableId::Main, default).unwrap();
    let local = Route::local("192.0.2.0/24".parse().unwrap(), DeviceId::LOOPBACK);
    fib.add(&devices, TableId::Local, local).unwrap();
    (devices, fib)
}

fn is_answered(
    table: &mut NeighTable,
    routing: Routing<'_>,
    sender_ip: Ipv4Addr,
    target_ip: Ipv4Addr,
) -> bool {
    let sender_mac = MacAddr([2, 0, 0, 0, 0, 2]);
    let operation = ArpOperation::Request;
    let arp = Arp { operation, sender_mac, sender_ip, target_mac: MacAddr::ZERO, target_ip };
    let (mut draws, mut trace, mut effects) = (Draws::seeded(0), Trace::new(Level::Nothing), Vec::new());
    let mut cx = Context {
        now: Instant::START,
        netns: NetnsId(0),
        draws: &mut draws,
        trace: &mut trace,
        effects: &mut effects,
    };
    let mut packet =
        cx.create(Origin::Injected, None, None, build::arp_frame(MacAddr::BROADCAST, sender_mac, &arp));
    packet.meta.packet_type = PacketType::Broadcast;
    table.arp_rcv(&mut cx, routing, ETH0, packet);
    effects.iter().any(|effect| matches!(effect, Effect::Transmit { device: ETH0, .. }))
}
