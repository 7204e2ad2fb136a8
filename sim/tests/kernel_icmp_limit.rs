//! Limits on ICMP errors against the real kernel: bursts, and how many of them are answered.
//!
//! Needs root, `unshare`, `nsenter`, `bash` and `ip`; says so and passes where they are missing.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "support/netns.rs"]
mod netns;

use sim::device::Devices;
use sim::icmp_limit::{IcmpLimit, IcmpMessage};
use sim::sysctl::Sysctls;
use sim::time::Instant;
use std::net::Ipv4Addr;

/// A burst of datagrams that each deserve an ICMP error.
struct Burst {
    /// Written before it, as `NAME=VALUE`.
    settings: &'static [&'static str],
    /// To whom the datagrams go; all of them come from 10.0.0.2 unless they loop.
    to: &'static str,
    count: usize,
    code: u8,
    /// They are sent by the host itself over its loopback device.
    loops: bool,
    /// A router could not route them, which has a limit of its own.
    is_routed: bool,
}

const PORT: Burst =
    Burst { settings: &[], to: "10.0.0.1", count: 20, code: 3, loops: false, is_routed: false };
const ROUTE: Burst = Burst { to: "10.7.0.1", code: 1, is_routed: true, ..PORT };

const BURSTS: [Burst; 7] = [
    PORT,
    ROUTE,
    Burst { to: "10.8.0.1", code: 13, ..ROUTE },
    Burst { to: "127.0.0.1", count: 100, loops: true, ..PORT },
    Burst { settings: &["net.ipv4.icmp_ratemask=0"], count: 60, ..PORT },
    Burst { settings: &["net.ipv4.icmp_ratemask=0"], ..ROUTE },
    Burst { settings: &["net.ipv4.icmp_ratelimit=100000"], ..PORT },
];

#[test]
fn bursts_are_answered_as_the_kernel_answers_them() {
    if !netns::is_available() {
        return;
    }
    let scripts: Vec<_> = BURSTS.iter().map(script).collect();
    let said = netns::run(&scripts);
    for ((burst, script), said) in BURSTS.iter().zip(&scripts).zip(&said) {
        let setup = &said[..script.len() - 2];
        assert!(setup.iter().all(String::is_empty), "{setup:?}");
        let kernel = said[script.len() - 2].parse();
        assert_eq!(
            Ok(simulated(burst)),
            kernel,
            "{} datagrams to {} with {:?}",
            burst.count,
            burst.to,
            burst.settings
        );
    }
}

/// What the host runs that answers. A second namespace, of the process `$P`, sends.
fn script(burst: &Burst) -> Vec<String> {
    let mut script: Vec<String> = [
        "unshare --net sleep 60 > /dev/null 2>&1 & P=$!",
        "until [ $(readlink /proc/$P/ns/net) != $(readlink /proc/self/ns/net) ]; do :; done",
        "ip link add eth0 type veth peer name eth0 netns $P",
        "ip link set lo up && ip link set eth0 up && ip address add 10.0.0.1/24 dev eth0",
        "ip route add unreachable 10.7.0.0/16 && ip route add prohibit 10.8.0.0/16",
        "sysctl -qw net.ipv4.ip_forward=1",
        "nsenter --target $P --net ip link set eth0 up",
        "nsenter --target $P --net ip address add 10.0.0.2/24 dev eth0",
        "nsenter --target $P --net ip route add default via 10.0.0.1",
    ]
    .map(str::to_owned)
    .into();
    script.extend(burst.settings.iter().map(|setting| format!("sysctl -qw {setting}")));
    let sender = if burst.loops { "" } else { "nsenter --target $P --net " };
    // One socket per datagram, because a socket that was refused reports that instead of sending.
    script.push(format!(
        "{sender}bash -c 'for i in {{1..{}}}; do echo x > /dev/udp/{}/9999; done' 2> /dev/null",
        burst.count, burst.to
    ));
    script.push("awk '/^Icmp:/ { if (seen++) print $(column) ; else for (i = 1; i <= NF; i++) if ($i == \"OutDestUnreachs\") column = i }' /proc/net/snmp".into());
    script.push("kill $P".into());
    script
}

fn simulated(burst: &Burst) -> usize {
    let mut sysctls = Sysctls::default();
    for setting in burst.settings {
        let (name, value) = setting.split_once('=').unwrap();
        sysctls.set(&Devices::default(), name, value).unwrap();
    }
    let peer = if burst.loops { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(10, 0, 0, 2) };
    let message = IcmpMessage {
        icmp_type: 3,
        code: burst.code,
        peer,
        is_about_loopback: burst.loops,
        leaves_by_loopback: burst.loops,
    };
    let mut limit = IcmpLimit::default();
    let now = Instant::START;
    let is_sent = |_: &usize| {
        (!burst.is_routed || limit.allow_route_error(now, peer)) && limit.allow(now, &sysctls, &message)
    };
    (0..burst.count).filter(is_sent).count()
}
