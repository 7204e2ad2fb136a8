//! Rule traversal against the real kernel: the same datagrams through the same rules must give the same counters.
//!
//! The rules are generated from fixed seeds. Needs root, `unshare`, `bash`, `ip`, `iptables-legacy`; skips with a
//! message if they are missing.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "support/netns.rs"]
mod netns;

use sim::context::Context;
use sim::device::{DeviceKind, Scope};
use sim::draws::Draws;
use sim::fib::add_address;
use sim::hook::{Family, Hook, HookState};
use sim::ids::{DeviceId, NetnsId};
use sim::netns::{AtHook, Netns};
use sim::packet::{Origin, Owner};
use sim::time::{Duration, Instant};
use sim::trace::{Level, Trace};
use sim::wire::build::{self, Ipv4Fields};
use sim::wire::{MacAddr, protocol};
use sim::xtables::{RestoreOptions, TableKind};
use std::fmt::Write as _;
use std::net::Ipv4Addr;

const TEXTS: u64 = 36;
const DATAGRAMS: u64 = 30;

#[test]
fn counters_are_those_of_the_kernel() {
    if !netns::is_available() {
        return;
    }
    let probe = netns::run(&[vec!["iptables-legacy -S OUTPUT".to_owned()]]).concat().concat();
    if !probe.contains("-P OUTPUT ACCEPT") {
        eprintln!("skipped: needs iptables-legacy, found {probe:?}");
        return;
    }
    let cases: Vec<(String, Vec<Datagram>)> = (0..TEXTS).map(|seed| case(&mut Random(seed))).collect();
    let lists: Vec<Vec<String>> =
        cases.iter().map(|(text, datagrams)| vec![script(text, datagrams)]).collect();
    let kernel = netns::run(&lists).concat();
    let mut matched = 0;
    for ((text, datagrams), kernel) in cases.iter().zip(kernel) {
        let here = simulate(text, datagrams);
        let kernel: Vec<&str> = kernel.lines().filter(|line| line.starts_with('[')).collect();
        assert_eq!(here.lines().collect::<Vec<_>>(), kernel, "{text}\n{datagrams:?}");
        matched += kernel.iter().filter(|line| !line.starts_with("[0:0]")).count();
    }
    assert!(matched > 150, "too few matches: {matched}");
}

/// SplitMix64 (Steele, Lea, Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, range: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % range
    }

    fn pick<'p>(&mut self, from: &[&'p str]) -> &'p str {
        let index = self.below(u64::try_from(from.len()).unwrap());
        from[usize::try_from(index).unwrap()]
    }
}

/// A UDP datagram from 127.0.0.1 to 127.0.0.`host`.
#[derive(Clone, Copy, Debug)]
struct Datagram {
    host: u8,
    port: u16,
    len: usize,
}

/// Rules for chain `T`, which only the datagrams reach, and the datagrams.
fn case(random: &mut Random) -> (String, Vec<Datagram>) {
    let mut text = String::from("*filter\n:T - [0:0]\n:A - [0:0]\n:B - [0:0]\n-A OUTPUT -p udp -j T\n");
    for (chain, count, targets) in [
        ("T", 40, &["-j A", "-j A", "-j B", "-g A", "-g B", "-j RETURN", "-j ACCEPT"][..]),
        ("A", 25, &["-j B", "-g B", "-j RETURN"][..]),
        ("B", 10, &["-j RETURN", "-j ACCEPT"][..]),
    ] {
        for _ in 0..count {
            let target = match random.below(4) {
                0 => random.pick(targets),
                1 => random.pick(&["-j MARK --or-mark 1", "-j MARK --xor-mark 3", "-j MARK --set-mark 2/2"]),
                _ => "",
            };
            _ = writeln!(text, "-A {chain}{}{} {target}", random.pick(KEYS), random.pick(CONDITIONS));
        }
    }
    text.push_str("COMMIT\n");
    let datagram = |random: &mut Random| Datagram {
        host: u8::try_from(1 + random.below(4)).unwrap(),
        port: u16::try_from(5001 + random.below(4)).unwrap(),
        len: usize::try_from(1 + random.below(40)).unwrap(),
    };
    let datagrams = (0..DATAGRAMS).map(|_| datagram(random)).collect();
    (text, datagrams)
}

const KEYS: &[&str] = &[
    "",
    " -d 127.0.0.1",
    " -d 127.0.0.2",
    " -d 127.0.0.3",
    " ! -d 127.0.0.2",
    " -d 127.0.0.2/31",
    " -p udp --dport 5001",
    " -p udp --dport 5002",
    " -p udp ! --dport 5002",
    " -p udp --dport 5002:5003",
    " -d 127.0.0.2 -p udp --dport 5003",
    " -d 127.0.0.1 -p udp --dport 5001",
    " -p udp -m multiport --dports 5001,5003",
    " -p udp -m multiport ! --dports 5001,5002:5003",
];

const CONDITIONS: &[&str] = &[
    "",
    "",
    "",
    "",
    " -m mark --mark 1/1",
    " -m mark ! --mark 0x0",
    " -m length --length 40:55",
    " -m ttl --ttl-eq 64",
    " -m addrtype --dst-type LOCAL",
    " -o lo",
    " ! -o lo",
    " -m statistic --mode nth --every 2 --packet 0",
    " -m statistic --mode nth --every 3 --packet 1",
    " -m statistic --mode nth ! --every 4 --packet 3",
    " -m recent --name R --rdest --set",
    " -m recent --name R --rdest --rcheck --seconds 3000",
    " -m recent --name R --rdest --update --hitcount 3",
    " -m recent --name R --rdest --remove",
    " -m recent --name S --rdest ! --update --seconds 3000 --reap",
    " -m recent --name S --rdest --set",
    " -m limit --limit 1/day --limit-burst 3",
    " -m iprange --dst-range 127.0.0.2-127.0.0.3",
    " -m iprange ! --dst-range 127.0.0.0-127.0.0.1 --src-range 127.0.0.1",
    " -m owner --uid-owner 0",
    " -m owner ! --uid-owner 0-100 --gid-owner 0",
    " -m owner --socket-exists",
    " -m owner ! --socket-exists",
    " -m policy --dir out --pol none",
    " -m policy --dir out --pol ipsec --proto esp",
    " -m statistic --mode random --probability 0",
    " -m statistic --mode random --probability 1",
];

/// Restores the text, sends the datagrams and prints the counters of the three chains.
fn script(text: &str, datagrams: &[Datagram]) -> String {
    let send = |datagram: &Datagram| {
        let Datagram { host, port, len } = datagram;
        format!("printf %s {} > /dev/udp/127.0.0.{host}/{port}; ", "x".repeat(*len))
    };
    let sends: String = datagrams.iter().map(send).collect();
    format!(
        "ip link set lo up; printf '%s' '{text}' | iptables-legacy-restore; {{ {sends} }} 2>/dev/null; \
         iptables-legacy-save -c -t filter"
    )
}

/// Like [`script`], in the simulator.
fn simulate(text: &str, datagrams: &[Datagram]) -> String {
    let mut ns = Netns::new(NetnsId(0), "simulated");
    if let Err(error) =
        ns.xtables.restore(&mut ns.ipset, Family::Ipv4, "text", text, RestoreOptions::default())
    {
        panic!("{error}\n{text}");
    }
    let lo = ns.devices.add("lo", MacAddr::ZERO, 65_535, DeviceKind::Loopback);
    add_address(&mut ns.devices, &mut ns.fib, lo, "127.0.0.1/8".parse().unwrap(), Scope::Host).unwrap();
    let (mut draws, mut trace) = (Draws::seeded(0), Trace::new(Level::Nothing));
    let mut now = Instant::START + Duration::from_secs(100_000);
    for datagram in datagrams {
        now = now + Duration::from_millis(1);
        let bytes = bytes(datagram);
        let mut packet = trace.create(now, NetnsId(0), Origin::Socket, None, None, bytes);
        packet.meta.owner = Owner::Process;
        let mut effects = Vec::new();
        let mut cx =
            Context { now, netns: NetnsId(0), draws: &mut draws, trace: &mut trace, effects: &mut effects };
        let state = HookState {
            family: Family::Ipv4,
            hook: Hook::Output,
            in_dev: None,
            out_dev: Some(DeviceId::LOOPBACK),
        };
        let AtHook { mut ctx, xtables, .. } = ns.at_hook(&mut cx, state);
        _ = xtables.eval(Family::Ipv4, TableKind::Filter, &mut ctx, &mut packet);
    }
    let saved = ns.xtables.save(Family::Ipv4, true);
    saved.lines().filter(|line| line.starts_with('[')).map(|line| format!("{line}\n")).collect()
}

fn bytes(datagram: &Datagram) -> Vec<u8> {
    let (src, dst) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, datagram.host));
    let payload = vec![b'x'; datagram.len];
    let l4 = build::udp((src, 40_000), (dst, datagram.port), &payload);
    let fields =
        Ipv4Fields { src, dst, protocol: protocol::UDP, ttl: 64, tos: 0, ident: 0, dont_fragment: true };
    build::ipv4(fields, &l4)
}
