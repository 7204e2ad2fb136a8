//! ICMP rate limits against the real kernel: bursts of datagrams, and the number of errors sent.
//!
//! Needs root, `unshare`, `nsenter`, `bash` and `ip`; skips with a message if they are missing.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "support/netns.rs"]
mod netns;

use sim::device::Devices;
use sim::draws::Draws;
use sim::icmp_limit::{IcmpLimit, IcmpMessage};
use sim::ids::NetnsId;
use sim::sysctl::Sysctls;
use sim::time::Instant;
use std::net::{IpAddr, Ipv4Addr};

/// Destination of a datagram that causes an ICMP message. The source is 10.0.0.2, except for the loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    /// A closed port.
    Port,
    /// A closed port on the loopback.
    Loopback,
    /// An unreachable route.
    Unreachable,
    /// A prohibit route.
    Prohibited,
    /// A gateway on the sender's own link.
    Back,
}

impl To {
    fn addr(self) -> &'static str {
        match self {
            Self::Port => "10.0.0.1",
            Self::Loopback => "127.0.0.1",
            Self::Unreachable => "10.7.0.1",
            Self::Prohibited => "10.8.0.1",
            Self::Back => "10.9.0.1",
        }
    }
}

/// Settings as `NAME=VALUE`; then consecutive bursts.
type Case = (&'static [&'static str], &'static [(To, usize)]);

const CASES: [Case; 12] = [
    (&[], &[(To::Port, 20)]),
    (&[], &[(To::Unreachable, 20)]),
    (&[], &[(To::Prohibited, 20)]),
    (&[], &[(To::Loopback, 100)]),
    (&["net.ipv4.icmp_ratemask=0"], &[(To::Port, 60)]),
    (&["net.ipv4.icmp_ratemask=0"], &[(To::Unreachable, 20)]),
    (&["net.ipv4.icmp_ratelimit=0"], &[(To::Port, 1), (To::Unreachable, 1), (To::Port, 1)]),
    (&["net.ipv4.icmp_ratelimit=0"], &[(To::Unreachable, 20)]),
    (&["net.ipv4.icmp_ratelimit=100000"], &[(To::Port, 20)]),
    (&[], &[(To::Back, 20)]),
    // Messages of one type use up the limit of others.
    (&[], &[(To::Back, 1), (To::Port, 20)]),
    (&[], &[(To::Port, 3), (To::Unreachable, 20)]),
];

/// Number of destination unreachable and redirect messages sent.
type Sent = (usize, usize);

#[test]
fn bursts_are_answered_as_the_kernel_answers_them() {
    if !netns::is_available() {
        return;
    }
    let scripts: Vec<_> = CASES.iter().map(|(settings, bursts)| script(settings, bursts)).collect();
    let said = netns::run(&scripts);
    for ((settings, bursts), said) in CASES.iter().zip(&said) {
        let (counters, setup) = said[..said.len() - 1].split_last().unwrap();
        assert!(setup.iter().all(String::is_empty), "{setup:?}");
        assert_eq!(simulated(settings, bursts), counted(counters), "{bursts:?} with {settings:?}");
    }
}

/// Commands of the receiver. A second namespace, of process `$P`, sends.
fn script(settings: &[&str], bursts: &[(To, usize)]) -> Vec<String> {
    let mut script: Vec<String> = [
        "unshare --net sleep 60 > /dev/null 2>&1 & P=$!",
        "until [ $(readlink /proc/$P/ns/net) != $(readlink /proc/self/ns/net) ]; do :; done",
        "ip link add eth0 type veth peer name eth0 netns $P",
        "ip link set lo up && ip link set eth0 up && ip address add 10.0.0.1/24 dev eth0",
        "ip route add unreachable 10.7.0.0/16 && ip route add prohibit 10.8.0.0/16",
        "ip route add 10.9.0.0/16 via 10.0.0.3 && ip neigh add 10.0.0.3 dev eth0 lladdr 02:00:00:00:00:03",
        "sysctl -qw net.ipv4.ip_forward=1",
        "nsenter --target $P --net ip link set eth0 up",
        // A device whose link just came up drops transmitted packets until the kernel has processed the link event;
        // querying the device forces that (`rtnl_getlink`, net/core/rtnetlink.c).
        "ip link show dev eth0 > /dev/null && nsenter --target $P --net ip link show dev eth0 > /dev/null",
        "nsenter --target $P --net ip address add 10.0.0.2/24 dev eth0",
        "nsenter --target $P --net ip route add default via 10.0.0.1",
        // The sender must ignore redirects, or its next datagram is not forwarded here.
        "nsenter --target $P --net sysctl -qw net.ipv4.conf.all.accept_redirects=0 net.ipv4.conf.eth0.accept_redirects=0",
    ]
    .map(str::to_owned)
    .into();
    script.extend(settings.iter().map(|setting| format!("sysctl -qw {setting}")));
    for (to, count) in bursts {
        let sender = if *to == To::Loopback { "" } else { "nsenter --target $P --net " };
        // One socket per datagram, because a socket with a pending error reports it instead of sending.
        let datagram = format!("echo x > /dev/udp/{}/9999", to.addr());
        script.push(format!("{sender}bash -c 'for i in {{1..{count}}}; do {datagram}; done' 2> /dev/null"));
    }
    script.push("grep ^Icmp: /proc/net/snmp".into());
    script.push("kill $P".into());
    script
}

/// A line of names followed by a line of numbers.
fn counted(counters: &str) -> Sent {
    let (names, numbers) = counters.split_once('\n').unwrap();
    let value = |name| {
        let column = names.split(' ').position(|one| one == name).unwrap();
        numbers.split(' ').nth(column).unwrap().parse().unwrap()
    };
    (value("OutDestUnreachs"), value("OutRedirects"))
}

fn simulated(settings: &[&str], bursts: &[(To, usize)]) -> Sent {
    let mut sysctls = Sysctls::default();
    for setting in settings {
        let (name, value) = setting.split_once('=').unwrap();
        sysctls.set(&Devices::default(), name, value).unwrap();
    }
    let mut limit = IcmpLimit::default();
    let mut draws = Draws::seeded(0);
    let mut sent = (0, 0);
    for to in bursts.iter().flat_map(|(to, count)| std::iter::repeat_n(*to, *count)) {
        let is_sent = usize::from(is_sent(&mut limit, &mut draws, &sysctls, to));
        if to == To::Back { sent.1 += is_sent } else { sent.0 += is_sent }
    }
    sent
}

fn is_sent(limit: &mut IcmpLimit, draws: &mut Draws, sysctls: &Sysctls, to: To) -> bool {
    let now = Instant::START;
    let loops = to == To::Loopback;
    let peer = IpAddr::V4(if loops { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(10, 0, 0, 2) });
    let (icmp_type, code, is_due) = match to {
        To::Port | To::Loopback => (3, 3, true),
        To::Unreachable => (3, 1, limit.allow_route_error(now, peer)),
        To::Prohibited => (3, 13, limit.allow_route_error(now, peer)),
        To::Back => (5, 1, limit.allow_redirect(now, peer)),
    };
    let message = IcmpMessage { icmp_type, code, peer, is_about_loopback: loops, leaves_by_loopback: loops };
    is_due && limit.allow(draws, NetnsId(0), now, sysctls, &message)
}
