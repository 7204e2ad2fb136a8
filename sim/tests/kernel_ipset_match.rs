//! Rules that test and change sets, against the real kernel: the same packets through the same rules must give the same
//! counters and the same sets.
//!
//! Sets, rules and packets are generated from fixed seeds. Needs root, `ip`, `ipset`, `iptables-legacy` and
//! `iptables-nft`; skips with a message if they are missing.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(
    clippy::disallowed_types,
    reason = "only tests ask the kernel, and they must start processes for it"
)]

#[path = "support/mutation.rs"]
mod mutation;
#[path = "support/netns.rs"]
mod netns;
#[path = "support/random.rs"]
mod random;
#[path = "support/saved_sets.rs"]
mod saved_sets;

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};
use random::Random;
use saved_sets::comparable;
use sim::context::Context;
use sim::device::{DeviceKind, Scope};
use sim::draws::Draws;
use sim::fib::add_address;
use sim::hook::{Family, Hook, HookState};
use sim::ids::{DeviceId, NetnsId};
use sim::ipset::IpsetOptions;
use sim::netns::{AtHook, Netns};
use sim::packet::Origin;
use sim::time::{Duration, Instant};
use sim::trace::{Level, Trace};
use sim::wire::build::{self, Ipv4Fields};
use sim::wire::{MacAddr, protocol};
use sim::xtables::{RestoreOptions, TableKind};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};

const CASES: u64 = 40;
const PACKETS: u64 = 60;
const RULES: usize = 40;

/// True if this machine has the required tools; else prints a message.
fn is_judged() -> bool {
    let is_missing = |backend: &&str| {
        let probe = format!("ipset --version && iptables-{backend} -S OUTPUT");
        let said = netns::run(&[vec![probe]]).concat().concat();
        let has = said.contains("-P OUTPUT ACCEPT");
        if !has {
            eprintln!("skipped: needs ipset and iptables-{backend}, found {said:?}");
        }
        !has
    };
    netns::is_available() && !["legacy", "nft"].iter().any(is_missing)
}

#[test]
fn counters_and_sets_are_those_of_the_kernel() {
    if !is_judged() {
        return;
    }
    let (mut matched, mut asked) = (0, 0);
    for seed in 0..CASES {
        let case = Case::new(&mut Random(seed));
        let here = case.simulate();
        for backend in ["legacy", "nft"] {
            let kernel = case.ask_kernel(backend);
            assert_eq!(
                here, kernel,
                "seed {seed}, {backend}\n{}\n{}\n{:#?}",
                case.sets, case.rules, case.packets
            );
        }
        asked += here.0.len();
        matched += here.0.iter().filter(|line| !line.starts_with("[0:0]")).count();
    }
    assert!(3 * matched > asked, "too few matches: {matched} of {asked}");
    assert!(matched < asked, "every rule matched");
}

/// Expired elements: an element of a swept set, whose prefix length no longer counts, and a set in an unswept list,
/// which is still tested. Also the longest timeout of a rule.
#[test]
fn time_does_to_rules_what_it_does_in_the_kernel() {
    if !is_judged() {
        return;
    }
    let sets = "create n hash:net timeout 3\nadd n 127.0.0.0/24 timeout 1\ncreate c hash:ip counters\nadd c 127.0.0.1\n\
                create l list:set timeout 9000\nadd l c timeout 1\ncreate t hash:ip timeout 0\ncreate u hash:ip timeout 0\n";
    let rules = "*filter\n:INPUT DROP [0:0]\n:T - [0:0]\n-A OUTPUT -j T\n-A T -j SET --add-set n src\n\
                 -A T -m set --match-set l src\n-A T -j SET --add-set t src --timeout 2147483\n\
                 -A T -j SET --add-set u src --timeout 4294967294\nCOMMIT\n";
    let (src, dst) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    let l4 = build::udp((src, 4000), (dst, 9), b"x");
    let fields =
        Ipv4Fields { src, dst, protocol: protocol::UDP, ttl: 64, tos: 0, ident: 7, dont_fragment: true };
    let case = Case {
        sets: sets.to_owned(),
        rules: rules.to_owned(),
        pause: Duration::from_secs(4),
        packets: vec![build::ipv4(fields, &l4).split_off(14)],
    };
    let here = case.simulate();
    assert!(here.1.contains(&"add n 127.0.0.1 timeout 10".to_owned()), "{:#?}", here.1);
    assert!(here.1.contains(&"add u 127.0.0.1 timeout 2147490".to_owned()), "{:#?}", here.1);
    for backend in ["legacy", "nft"] {
        assert_eq!(here, case.ask_kernel(backend), "{backend}");
    }
}

/// Rules with their counters, and the remaining sets.
type Outcome = (Vec<String>, Vec<String>);

struct Case {
    sets: String,
    rules: String,
    /// Time between the creation of the sets and the first packet.
    pause: Duration,
    packets: Vec<Vec<u8>>,
}

const TYPES: &[(&str, &str)] = &[
    ("hash:ip", ""),
    ("hash:ip", " netmask 30"),
    ("hash:net", ""),
    ("hash:net", ""),
    ("hash:ip,port", ""),
    ("hash:ip,port", ""),
    ("hash:ip,port,ip", ""),
    ("hash:ip,port,net", ""),
    ("hash:net,port", ""),
    ("bitmap:port", " range 0-82"),
    ("bitmap:ip", " range 127.0.0.0/29"),
    ("bitmap:ip", " range 127.0.0.0/28 netmask 30"),
];

const NAMES: [&str; 6] = ["a", "b", "c", "d", "l", "m"];

impl Case {
    fn new(random: &mut Random) -> Self {
        let mut case =
            Self { sets: String::new(), rules: String::new(), pause: Duration::ZERO, packets: Vec::new() };
        // All sets are created before one can be full, which ends the text.
        let mut elements = String::new();
        for name in &NAMES[..4] {
            case.add_set(random, name, &mut elements);
        }
        for list in &NAMES[4..] {
            let options = random.pick(&["", " counters", " timeout 9000"]);
            _ = writeln!(case.sets, "create {list} list:set{options}");
            for _ in 0..random.below(4) {
                _ = writeln!(elements, "add {list} {} -exist", random.pick(&NAMES[..4]));
            }
        }
        case.sets.push_str(&elements);
        case.rules.push_str("*filter\n:INPUT DROP [0:0]\n:T - [0:0]\n-A OUTPUT -j T\n");
        for _ in 0..RULES {
            _ = writeln!(case.rules, "-A T {}", rule(random));
        }
        case.rules.push_str("COMMIT\n");
        case.packets = (0..PACKETS).map(|_| packet(random)).collect();
        case
    }

    fn add_set(&mut self, random: &mut Random, name: &str, elements: &mut String) {
        let (set_type, options) = random.pick(TYPES);
        let extensions = ["", "", " counters", " counters", " timeout 9000", " counters timeout 0"];
        let full = if set_type.starts_with("hash") && random.below(5) == 0 { " maxelem 8" } else { "" };
        _ = writeln!(self.sets, "create {name} {set_type}{options}{full}{}", random.pick(&extensions));
        for _ in 0..2 + random.below(6) {
            let host = |random: &mut Random| format!("127.0.0.{}", 1 + random.below(4));
            let net = |random: &mut Random| {
                format!("127.0.0.{}/{}", random.below(8), random.pick(&["1", "8", "24", "30", "31", "32"]))
            };
            let port = |random: &mut Random| random.pick(PORTS).to_owned();
            let element = match set_type {
                "hash:ip" | "bitmap:ip" => host(random),
                "hash:net" => net(random),
                "hash:ip,port" => format!("{},{}", host(random), port(random)),
                "hash:net,port" => format!("{},{}", net(random), port(random)),
                "hash:ip,port,ip" => format!("{},{},{}", host(random), port(random), host(random)),
                "hash:ip,port,net" => format!("{},{},{}", host(random), port(random), net(random)),
                _ => random.pick(&["80", "81", "0", "2048"]).to_owned(),
            };
            if set_type == "bitmap:port" && element == "2048" {
                continue;
            }
            let has_networks = set_type.contains("net");
            let nomatch = if has_networks && random.below(3) == 0 { " nomatch" } else { "" };
            _ = writeln!(elements, "add {name} {element}{nomatch} -exist");
        }
    }

    fn simulate(&self) -> Outcome {
        mutation::select();
        let start = Instant::START + Duration::from_secs(1000);
        let mut ns = Netns::new(NetnsId(0), "simulated");
        if let Err(error) = ns.ipset.restore(start, "sets", &self.sets, IpsetOptions::default()) {
            // A full set stays full; the kernel reports the same.
            assert!(error.to_string().contains("maxelem"), "{error}\n{}", self.sets);
        }
        if let Err(error) =
            ns.xtables.restore(&mut ns.ipset, Family::Ipv4, "rules", &self.rules, RestoreOptions::default())
        {
            panic!("{error}\n{}", self.rules);
        }
        let lo = ns.devices.add("lo", MacAddr::ZERO, 65_535, DeviceKind::Loopback);
        add_address(&mut ns.devices, &mut ns.fib, lo, "127.0.0.1/8".parse().unwrap(), Scope::Host).unwrap();
        let (mut draws, mut trace) = (Draws::seeded(0), Trace::new(Level::Nothing));
        let now = start + self.pause;
        for bytes in &self.packets {
            let mut frame = vec![0; 14];
            frame.extend_from_slice(bytes);
            let mut packet = trace.create(now, NetnsId(0), Origin::Socket, None, None, frame);
            let mut effects = Vec::new();
            let netns = NetnsId(0);
            let mut cx = Context { now, netns, draws: &mut draws, trace: &mut trace, effects: &mut effects };
            let out_dev = Some(DeviceId::LOOPBACK);
            let state = HookState { family: Family::Ipv4, hook: Hook::Output, in_dev: None, out_dev };
            let AtHook { mut ctx, xtables, .. } = ns.at_hook(&mut cx, state);
            _ = xtables.eval(Family::Ipv4, TableKind::Filter, &mut ctx, &mut packet);
        }
        (counted(&ns.xtables.save(Family::Ipv4, true)), comparable(&ns.ipset.save(now)))
    }

    fn ask_kernel(&self, backend: &str) -> Outcome {
        // A namespace belongs to a thread, and disappears with it.
        std::thread::scope(|scope| scope.spawn(|| self.in_new_netns(backend)).join().unwrap())
    }

    fn in_new_netns(&self, backend: &str) -> Outcome {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        tool("ip", &["link", "set", "lo", "up"], "");
        tool("ipset", &["restore"], &self.sets);
        tool(&format!("iptables-{backend}-restore"), &[], &self.rules);
        std::thread::sleep(self.pause);
        let raw =
            socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw).unwrap();
        for bytes in &self.packets {
            let to = SockaddrIn::new(127, 0, 0, bytes[19], 0);
            sendto(raw.as_raw_fd(), bytes, &to, MsgFlags::empty()).unwrap();
        }
        let rules = tool(&format!("iptables-{backend}-save"), &["-c", "-t", "filter"], "");
        (counted(&rules), comparable(&tool("ipset", &["save"], "")))
    }
}

/// Runs a tool in the namespace of this thread.
fn tool(name: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

fn counted(saved: &str) -> Vec<String> {
    saved.lines().filter(|line| line.starts_with('[')).map(str::to_owned).collect()
}

const PORTS: &[&str] = &[
    "80",
    "tcp:81",
    "udp:80",
    "udp:81",
    "sctp:80",
    "udplite:80",
    "icmp:8/0",
    "icmp:3/1",
    "gre:0",
    "99:0",
    "80-81",
];

const DIRECTIONS: &[&str] = &[
    "src",
    "dst",
    "src",
    "dst",
    "src,src",
    "src,dst",
    "dst,src",
    "dst,dst",
    "dst,dst",
    "src,dst,src",
    "dst,dst,src",
    "dst,dst,dst",
    "src,src,dst",
    "dst,src,dst,src",
];

fn rule(random: &mut Random) -> String {
    let (set, directions) = (random.pick(&NAMES), random.pick(DIRECTIONS));
    if random.below(5) == 0 {
        let other = random.pick(&NAMES);
        return match random.below(4) {
            0 => format!("-j SET --add-set {set} {directions} --exist"),
            1 => format!("-j SET --add-set {set} {directions} --timeout 50"),
            2 => format!("-j SET --add-set {set} {directions} --del-set {other} {}", random.pick(DIRECTIONS)),
            _ => format!("-j SET --del-set {set} {directions}"),
        };
    }
    let not = random.pick(&["", "", "! "]);
    let options = random.pick(&[
        "",
        "",
        "",
        "",
        "",
        " --return-nomatch",
        " ! --update-counters",
        " ! --update-subcounters",
        " --packets-gt 3",
        " --packets-lt 6 --bytes-gt 90",
        " ! --packets-eq 2",
        " ! --update-counters --packets-eq 1",
    ]);
    format!("-m set {not}--match-set {set} {directions}{options}")
}

/// An IP packet between loopback addresses: whole, truncated, or a fragment.
fn packet(random: &mut Random) -> Vec<u8> {
    let addr = |random: &mut Random| Ipv4Addr::new(127, 0, 0, u8::try_from(1 + random.below(5)).unwrap());
    let (src, dst) = (addr(random), addr(random));
    let numbers = [
        protocol::TCP,
        protocol::TCP,
        protocol::UDP,
        protocol::UDP,
        protocol::ICMP,
        protocol::SCTP,
        47,
        58,
        99,
        0,
        136,
    ];
    let number = random.pick(&numbers);
    let mut l4 = vec![0; 20 + usize::try_from(random.below(8)).unwrap()];
    if matches!(number, protocol::ICMP | 58) {
        let [icmp_type, code] = random.pick(&[[8, 0], [0, 0], [3, 1]]);
        (l4[0], l4[1]) = (icmp_type, code);
    } else {
        let port = |random: &mut Random| u16::try_from(80 + random.below(3)).unwrap().to_be_bytes();
        l4[..2].copy_from_slice(&port(random));
        l4[2..4].copy_from_slice(&port(random));
        l4[12] = 0x50;
    }
    if random.below(8) == 0 {
        l4.truncate(usize::try_from(random.below(20)).unwrap());
    }
    let fields = Ipv4Fields { src, dst, protocol: number, ttl: 64, tos: 0, ident: 7, dont_fragment: false };
    let mut bytes = build::ipv4(fields, &l4).split_off(14);
    match random.below(10) {
        // A first fragment, and a later one.
        0 => bytes[6] = 0x20,
        1 => bytes[7] = 3,
        _ => {}
    }
    let checksum = checksum(&bytes[..20]);
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).enumerate().filter(|(index, _)| *index != 5);
    let sum: u32 = words.map(|(_, word)| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()
}
