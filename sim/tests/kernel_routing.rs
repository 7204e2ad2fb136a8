//! Routing against the real kernel: the same commands, then the same lookups.
//!
//! Needs root, `unshare`, `bash` and `ip`; skips with a message if they are missing.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "support/netns.rs"]
mod netns;
#[path = "support/router.rs"]
mod router;

use proptest::prelude::*;
use router::{Command, Question, compare};

fn commands(text: &str) -> Vec<Command> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| line.parse().unwrap()).collect()
}

fn questions(text: &str) -> Vec<Question> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| line.parse().unwrap()).collect()
}

/// Both sides run `setup`, which may contain rejected commands, and then the lookups `asked`.
fn check(setup: &str, asked: &str) {
    let is_judged = netns::is_available();
    if is_judged && let Err(report) = compare(&commands(setup), &questions(asked)) {
        panic!("{report}");
    }
}

const ROUTER: &str = "
    addr add 10.0.0.1/24 dev eth0
    addr add 10.0.0.2/24 dev eth0
    addr add 10.1.0.1/24 dev eth1
    route add 0.0.0.0/0 via 10.0.0.254
    route add 10.244.1.0/24 via 10.1.0.2 src 10.1.0.1
    route add 10.1.5.0/24 dev eth1
    route add unreachable 10.7.0.0/16
    route add prohibit 10.8.0.0/16
    route add blackhole 10.9.0.0/16
    sysctl net.ipv4.ip_forward 1
";

const FROM_THE_WIRE: &str = "
    10.0.0.1 from 10.0.0.9 iif eth0
    10.0.0.2 from 10.0.0.9 iif eth0
    10.1.0.1 from 10.0.0.9 iif eth0
    10.1.0.9 from 10.0.0.9 iif eth0
    10.244.1.9 from 10.0.0.9 iif eth0
    8.8.8.8 from 10.1.0.9 iif eth1
    8.8.8.8 from 10.0.0.9 iif eth0
    10.0.0.255 from 10.0.0.9 iif eth0
    10.0.0.255 from 10.1.0.9 iif eth1
    255.255.255.255 from 10.0.0.9 iif eth0
    255.255.255.255 from 0.0.0.0 iif eth0
    224.0.0.1 from 10.0.0.9 iif eth0
    224.0.0.5 from 10.0.0.9 iif eth0
    10.7.0.1 from 10.0.0.9 iif eth0
    10.8.0.1 from 10.0.0.9 iif eth0
    10.9.0.1 from 10.0.0.9 iif eth0
    10.0.0.1 from 224.0.0.1 iif eth0
    10.0.0.1 from 255.255.255.255 iif eth0
    10.0.0.1 from 0.1.2.3 iif eth0
    0.1.2.3 from 10.0.0.9 iif eth0
    10.0.0.1 from 127.0.0.1 iif eth0
    127.0.0.1 from 10.0.0.9 iif eth0
    127.0.0.5 from 10.0.0.9 iif eth0
    127.0.0.1 from 127.0.0.1 iif lo
    10.0.0.1 from 10.0.0.2 iif eth0
    10.0.0.9 from 10.0.0.1 iif eth1
    10.0.0.1 from 10.1.0.1 iif eth0
    10.0.0.1 from 10.0.0.1 iif lo
    10.0.0.1 from 10.0.0.255 iif eth0
    8.8.8.8 from 10.0.0.255 iif eth0
    10.0.0.1 from 10.1.0.9 iif eth0
    10.0.0.1 from 8.8.8.8 iif eth1
    10.0.0.9 from 8.8.8.8 iif eth1
    10.0.0.1 from 10.7.0.1 iif eth0
    10.0.0.1 from 10.9.0.1 iif eth0
    10.0.0.1 from 10.0.0.9 iif eth2
    10.1.0.9 from 10.0.0.9 iif eth2
    10.0.0.1 from 10.1.5.9 iif eth1
    224.0.0.1 from 10.0.0.1 iif eth0
    224.0.0.1 from 127.0.0.1 iif eth0
";

/// D-40 to D-43: each lookup under each value of the relevant settings.
#[test]
fn packets_from_the_wire() {
    for setting in [
        "",
        "sysctl net.ipv4.conf.all.rp_filter 1",
        "sysctl net.ipv4.conf.all.rp_filter 2",
        "sysctl net.ipv4.conf.eth0.rp_filter 1",
        "sysctl net.ipv4.conf.all.accept_local 1",
        "sysctl net.ipv4.conf.eth0.accept_local 1
         sysctl net.ipv4.conf.eth0.rp_filter 1",
        "sysctl net.ipv4.conf.all.route_localnet 1",
        "sysctl net.ipv4.conf.eth0.route_localnet 1
         sysctl net.ipv4.conf.all.accept_local 1",
        "sysctl net.ipv4.conf.all.send_redirects 0
         sysctl net.ipv4.conf.eth0.send_redirects 0",
        "sysctl net.ipv4.ip_forward 0",
        "sysctl net.ipv4.conf.eth0.forwarding 0",
        "sysctl net.ipv4.conf.all.bc_forwarding 1
         sysctl net.ipv4.conf.eth1.bc_forwarding 1",
        "route del 0.0.0.0/0",
        "route del 0.0.0.0/0
         sysctl net.ipv4.ip_forward 0",
        "route add local 192.0.2.0/24 dev lo
         route add local 8.8.8.0/24 dev lo",
    ] {
        check(&format!("{ROUTER}\n{setting}"), FROM_THE_WIRE);
    }
}

/// Each lookup under each set of policy rules, with and without a mark, and with source validation in each mode.
#[test]
fn policy_rules() {
    const TABLES: &str = "
        route add default via 10.1.0.9 table 100
        route add 10.244.1.0/24 via 10.0.0.9 table 100
        route add 10.0.0.0/24 dev eth1 table 200
        route add blackhole 8.8.8.0/24 table 200
        route add default via 10.0.0.7 table default
        route add default via 172.16.0.1 table 100
        route add 1.2.3.0/24 via 172.16.0.1 table 200
        route add local 9.9.9.0/24 dev lo table 200
    ";
    const ASKED: &str = "
        8.8.8.8
        8.8.8.8 mark 1
        8.8.8.8 mark 3
        8.8.8.8 from 10.1.0.1
        8.8.8.8 from 10.1.0.1 mark 1
        8.8.8.8 oif eth1
        8.8.8.8 oif eth1 mark 1
        10.0.0.9 mark 1
        10.0.0.1 mark 1
        9.9.9.9 mark 1
        9.9.9.9
        10.7.0.1
        10.8.0.1
        10.0.0.255
        255.255.255.255
        8.8.8.8 from 10.0.0.9 iif eth0
        8.8.8.8 from 10.0.0.9 iif eth0 mark 1
        8.8.8.8 from 10.1.0.9 iif eth1 mark 1
        8.8.8.8 from 10.1.0.9 iif eth1 mark 3
        10.244.1.9 from 10.0.0.9 iif eth0
        10.244.1.9 from 10.0.0.9 iif eth0 mark 1
        10.0.0.1 from 10.0.0.9 iif eth0 mark 1
        10.0.0.1 from 8.8.8.8 iif eth1 mark 1
        10.0.0.1 from 8.8.8.8 iif eth0 mark 1
        10.0.0.1 from 10.1.0.9 iif eth0 mark 1
        10.0.0.1 from 10.1.0.1 iif eth0
        9.9.9.9 from 10.0.0.9 iif eth0 mark 1
        10.0.0.255 from 10.0.0.9 iif eth0 mark 1
        224.0.0.1 from 10.0.0.9 iif eth0 mark 1
    ";
    for rules in [
        "",
        "rule add fwmark 0x1 lookup 100",
        "rule add fwmark 01 lookup 200
         rule add fwmark 0x11/0x1 lookup 100",
        "rule add from 10.1.0.0/24 lookup 100 priority 5
         rule add from 10.1.0.0/24 lookup 100 priority 5
         rule add from all to 8.8.8.0/24 lookup 200",
        "rule add not fwmark 1 lookup 100",
        "rule add iif eth0 lookup 100
         rule add iif lo lookup 200",
        "rule add oif eth1 lookup 100",
        "rule add lookup main suppress_prefixlength 0
         rule add fwmark 1 lookup 100 priority 40000",
        "rule add fwmark 1 unreachable
         rule add fwmark 3 prohibit
         rule add to 10.244.1.0/24 blackhole",
        "rule add from 10.0.0.0/24 lookup 200 priority 10
         rule add lookup 100 priority 20
         rule add lookup 777",
        "rule add to 10.0.0.0/24 lookup 200 priority 0",
    ] {
        for setting in [
            "",
            "sysctl net.ipv4.conf.all.rp_filter 1",
            "sysctl net.ipv4.conf.all.rp_filter 1
             sysctl net.ipv4.conf.all.src_valid_mark 1",
        ] {
            check(&format!("{ROUTER}\n{TABLES}\n{rules}\n{setting}"), ASKED);
        }
    }
}

const OWN: &str = "
    10.0.0.9
    8.8.8.8
    10.244.1.9
    10.0.0.1
    10.0.0.2
    10.1.0.1
    127.0.0.1
    127.0.0.5
    0.0.0.0
    0.0.0.0 from 10.0.0.1
    0.1.2.3
    10.0.0.255
    255.255.255.255
    224.0.0.5
    10.7.0.1
    10.8.0.1
    10.9.0.1
    10.0.0.1 from 10.1.0.1
    8.8.8.8 from 10.1.0.1
    8.8.8.8 from 192.0.2.1
    8.8.8.8 from 127.0.0.1
    8.8.8.8 from 127.0.0.5
    8.8.8.8 from 224.0.0.1
    255.255.255.255 from 10.1.0.1
    255.255.255.255 from 192.0.2.1
    224.0.0.5 from 10.1.0.1
    8.8.8.8 oif eth0
    8.8.8.8 oif eth1
    8.8.8.8 oif eth2
    10.7.0.1 oif eth1
    10.0.0.1 oif eth1
    255.255.255.255 oif eth1
    224.0.0.1 oif eth1
    239.1.1.1 oif eth1
    0.0.0.0 oif eth1
    10.1.0.9 from 10.0.0.1 oif eth2
";

#[test]
fn packets_of_our_own() {
    for setting in [
        "",
        "sysctl net.ipv4.conf.all.route_localnet 1",
        "route del 0.0.0.0/0",
        "route add local 192.0.2.0/24 dev lo",
        "link set eth1 down",
        "addr add 10.2.0.1/32 dev eth2
         addr del 10.0.0.1/24 dev eth0",
    ] {
        check(&format!("{ROUTER}\n{setting}"), OWN);
    }
}

/// Both tables share one trie as long as there are no policy rules.
#[test]
fn a_longer_prefix_of_the_main_table_hides_a_local_route() {
    check(
        "addr add 10.0.0.1/24 dev eth0
         route add local 10.96.0.0/12 dev lo
         route add 10.97.0.0/16 via 10.0.0.7
         route add 10.96.0.0/12 via 10.0.0.7",
        "10.96.0.1
         10.97.0.1
         10.97.0.1 from 10.0.0.9 iif eth0
         10.0.0.1 from 10.97.0.1 iif eth0
         10.0.0.1 from 10.96.0.1 iif eth0
         8.8.8.8 from 10.97.0.1",
    );
}

#[test]
fn commands_that_are_refused() {
    check(
        "addr add 10.0.0.1/24 dev eth0
         addr add 10.0.0.1/24 dev eth0
         addr add 10.0.0.1/32 dev eth0
         addr add 10.0.0.9/24 dev eth0 scope link
         addr del 10.0.0.7/24 dev eth0
         addr add 10.5.0.1/24 dev eth2
         link set eth2 down
         route add 10.7.0.0/16 via 10.0.0.7
         route add 10.8.0.1/16 via 10.0.0.7
         route add 10.8.0.0/16 via 192.168.0.1
         route add 10.8.0.0/16 via 10.7.0.1
         route add 10.8.0.0/16 via 10.0.0.255
         route add 10.8.0.0/16 via 10.0.0.7 dev eth2
         route add 10.8.0.0/16 via 10.0.0.7 dev eth1
         route add 10.8.0.0/16 via 10.5.0.7
         route add 10.8.0.0/16 dev eth2
         route add 10.8.0.0/16 via 10.0.0.7 dev eth2 onlink
         route add 10.8.0.0/16 via 10.0.0.1 dev eth0 onlink
         route add 10.8.0.0/16 dev eth0 src 10.0.0.99
         route add 10.7.0.0/16 via 10.0.0.7
         route add blackhole 10.7.0.0/16
         route add 10.7.0.0/16 via 10.0.0.7 metric 5
         route add 10.9.0.0/16 via 10.0.0.1
         route add 10.10.0.0/16 via 169.254.1.1 dev eth0 onlink
         route add 169.254.1.1/32 dev eth0
         route add 10.11.0.0/16 via 169.254.1.1
         route add local 10.12.0.0/16 dev eth0 src 10.12.0.1
         route add local 10.13.0.1/32 dev eth0 src 10.13.0.1
         route add 10.14.0.0/16 dev eth0 src 10.12.0.1
         route del 10.7.0.0/16 metric 5
         route del 10.7.0.0/16 metric 5
         route del 10.9.0.0/16 via 10.0.0.2
         route del 10.9.0.0/16 dev eth0
         route replace 10.7.0.0/16 via 10.0.0.8
         route replace 10.15.0.0/16 via 10.0.0.8",
        "10.7.0.1
         10.9.0.1
         10.10.0.1
         10.11.0.1
         10.14.0.1
         10.15.0.1",
    );
}

#[test]
fn routes_that_come_and_go_with_addresses() {
    for setup in [
        "addr add 10.0.0.1/24 dev eth0
         addr add 10.0.0.2/24 dev eth0
         addr add 10.1.1.1/32 dev eth0
         addr add 10.2.2.0/31 dev eth0
         addr add 10.3.3.0/30 dev eth0
         addr add 0.0.0.1/8 dev eth0",
        "addr add 10.0.0.1/24 dev eth0
         addr add 10.0.0.2/24 dev eth0
         addr del 10.0.0.1/24 dev eth0",
        "addr add 10.0.0.1/24 dev eth0
         addr add 10.0.0.2/24 dev eth0
         addr add 10.0.0.3/24 dev eth0
         sysctl net.ipv4.conf.all.promote_secondaries 1
         addr del 10.0.0.1/24 dev eth0",
        "addr add 10.0.0.1/24 dev eth0
         addr add 10.0.0.1/16 dev eth0
         addr add 10.0.0.1/32 dev eth1
         addr del 10.0.0.1/24 dev eth0",
        "addr add 10.0.0.1/24 dev eth0
         addr add 10.0.0.2/24 dev eth1
         route add 10.9.0.0/16 via 10.0.0.254
         addr del 10.0.0.1/24 dev eth0",
        "addr add 10.0.0.1/24 dev eth0
         addr add 10.0.5.5/32 dev eth0
         route add 10.9.0.0/16 via 10.0.0.254 src 10.0.5.5
         addr del 10.0.5.5/32 dev eth0",
        "addr add 10.0.0.1/24 dev eth0
         route add 10.9.0.0/16 via 10.0.0.254
         link set eth0 down
         addr add 10.0.1.1/24 dev eth0
         addr add 10.0.0.2/24 dev eth0
         link set eth0 up",
        "addr add 10.0.0.1/24 dev eth0 scope link
         addr add 10.0.1.1/24 dev eth0
         addr add 10.0.2.1/24 dev eth0 scope host
         addr add 10.0.1.2/24 dev eth0
         addr add 10.0.3.1/24 dev eth0",
    ] {
        check(
            setup,
            "10.0.0.1\n10.0.0.2\n10.0.0.255\n10.0.0.9\n10.9.0.1\n8.8.8.8 oif eth0\n8.8.8.8 oif eth1",
        );
    }
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(words)
}

const DEVICES: &[&str] = &["eth0", "eth1", "eth2"];
const ADDRS: &[&str] = &[
    "10.0.0.1/24",
    "10.0.0.2/24",
    "10.0.0.3/24",
    "10.0.0.1/32",
    "10.0.1.1/24",
    "10.0.0.1/16",
    "10.0.1.0/31",
];
const NETS: &[&str] =
    &["0.0.0.0/0", "10.0.0.0/16", "10.0.1.0/24", "10.0.0.128/25", "10.0.0.3/32", "10.2.0.0/16"];
const HOSTS: &[&str] = &[
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.9",
    "10.0.0.200",
    "10.0.0.255",
    "10.0.1.1",
    "10.0.1.0",
    "10.0.1.9",
    "10.0.255.255",
    "10.2.0.1",
    "8.8.8.8",
    "127.0.0.1",
    "10.0.0.0",
];
const SWITCHES: &[&str] = &[
    "net.ipv4.conf.all.rp_filter 1",
    "net.ipv4.conf.eth0.rp_filter 2",
    "net.ipv4.conf.eth1.accept_local 1",
    "net.ipv4.conf.all.route_localnet 1",
    "net.ipv4.conf.all.promote_secondaries 1",
    "net.ipv4.conf.default.rp_filter 1",
    "net.ipv4.conf.default.rp_filter 2",
    "net.ipv4.ip_forward 1",
    "net.ipv4.conf.eth0.forwarding 1",
];

fn command() -> impl Strategy<Value = String> {
    let (device, addr, dst, host) = (word(DEVICES), word(ADDRS), word(NETS), word(HOSTS));
    prop_oneof![
        6 => (device.clone(), addr.clone()).prop_map(|(device, addr)| format!("addr add {addr} dev {device}")),
        2 => (device.clone(), addr).prop_map(|(device, addr)| format!("addr del {addr} dev {device}")),
        1 => (device.clone(), word(&["up", "down"])).prop_map(|(device, to)| format!("link set {device} {to}")),
        3 => (dst.clone(), host.clone()).prop_map(|(dst, via)| format!("route add {dst} via {via}")),
        1 => (dst.clone(), host.clone()).prop_map(|(dst, via)| format!("route replace {dst} via {via}")),
        2 => (dst.clone(), device.clone(), 0..3_u32)
            .prop_map(|(dst, device, metric)| format!("route add {dst} dev {device} metric {metric}")),
        1 => (dst.clone(), device.clone(), host.clone())
            .prop_map(|(dst, device, src)| format!("route add {dst} dev {device} src {src}")),
        1 => (dst.clone(), device.clone(), host)
            .prop_map(|(dst, device, via)| format!("route add {dst} via {via} dev {device} onlink")),
        1 => (dst.clone(), word(&["unreachable", "prohibit", "blackhole"]))
            .prop_map(|(dst, kind)| format!("route add {kind} {dst}")),
        1 => dst.clone().prop_map(|dst| format!("route add local {dst} dev lo")),
        1 => dst.prop_map(|dst| format!("route del {dst}")),
        2 => word(SWITCHES).prop_map(|switch| format!("sysctl {switch}")),
    ]
}

fn question() -> impl Strategy<Value = String> {
    let (device, host) = (word(DEVICES), word(HOSTS));
    prop_oneof![
        (host.clone(), host.clone(), device.clone())
            .prop_map(|(dst, src, iif)| format!("{dst} from {src} iif {iif}")),
        host.clone().prop_map(str::to_owned),
        (host.clone(), host.clone()).prop_map(|(dst, src)| format!("{dst} from {src}")),
        (host, device).prop_map(|(dst, oif)| format!("{dst} oif {oif}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// For any commands, both sides reject the same ones, have the same routes and return the same lookups.
    #[test]
    fn random_hosts(
        setup in prop::collection::vec(command(), 1..25),
        asked in prop::collection::vec(question(), 1..30),
    ) {
        if netns::is_available() {
            let result = compare(&commands(&setup.join("\n")), &questions(&asked.join("\n")));
            prop_assert!(result.is_ok(), "{}", result.unwrap_err());
        }
    }
}
