//! Input accepted by `ipset restore` and output of `ipset save`, against the real tool and kernel.
//!
//! Needs root, `unshare`, `bash`, `ip` and `ipset`; skips with a message if they are missing.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "support/netns.rs"]
mod netns;
#[path = "support/random.rs"]
mod random;
#[path = "support/saved_sets.rs"]
mod saved_sets;

use random::Random;
use saved_sets::comparable;
use sim::ipset::{Ipset, IpsetOptions};
use sim::time::{Duration, Instant};
use std::fmt::Write as _;

/// Texts, each after a line that begins with `==`; `== -!` calls the tool with that option.
const CORPUS: &str = include_str!("ipset/corpus.txt");

/// Number of commands per shell.
const CHUNK: usize = 60;

#[derive(Clone, Debug)]
struct Case {
    options: IpsetOptions,
    text: String,
}

fn corpus() -> Vec<Case> {
    let blocks = CORPUS.split("==").skip(1);
    blocks
        .map(|block| {
            let (head, text) = block.split_once('\n').unwrap();
            Case { options: IpsetOptions { exist: head.trim() == "-!" }, text: text.to_owned() }
        })
        .collect()
}

#[test]
fn texts_do_what_they_do_to_the_kernel() {
    compare(&corpus());
}

#[test]
fn random_texts_do_what_they_do_to_the_kernel() {
    compare(&(0..400).map(|seed| random_case(&mut Random(seed))).collect::<Vec<_>>());
}

#[test]
fn every_icmp_message_has_the_name_that_the_tool_gives_it() {
    let mut text = String::from("create a hash:ip,port\n");
    for (icmp_type, code) in (0..=20).flat_map(|icmp_type| (0..=17).map(move |code| (icmp_type, code))) {
        _ = writeln!(text, "add a 10.0.0.1,icmp:{icmp_type}/{code}");
    }
    text.push_str("create b hash:ip,port family inet6\n");
    let types = (0..=5).chain(127..=138);
    for (icmp_type, code) in types.flat_map(|icmp_type| (0..=7).map(move |code| (icmp_type, code))) {
        _ = writeln!(text, "add b fd00::1,icmpv6:{icmp_type}/{code}");
    }
    compare(&[Case { options: IpsetOptions::default(), text }]);
}

/// Seconds between the two texts of a timing case: every element with a timeout of one second has expired, and every
/// set with a default of at most three seconds has been swept since.
const PAUSE: u64 = 4;

#[test]
fn time_does_to_sets_what_it_does_in_the_kernel() {
    if !netns::is_available() {
        return;
    }
    let cases = [
        ("create a hash:ip\ncreate l list:set timeout 3\nadd l a timeout 1\n", "destroy a\n"),
        ("create a hash:ip\ncreate l list:set timeout 0\nadd l a timeout 1\n", "rename a b\n"),
        // Not swept yet.
        ("create a hash:ip\ncreate l list:set timeout 9000\nadd l a timeout 1\n", "destroy a\n"),
        ("create a hash:ip\ncreate l list:set timeout 9000\nadd l a timeout 1\n", "add l a\n"),
        ("create a hash:ip timeout 3\nadd a 10.0.0.1\nadd a 10.0.0.2 timeout 90\n", "del a 10.0.0.1\n"),
        ("create a hash:ip timeout 3 maxelem 1\nadd a 10.0.0.1\n", "add a 10.0.0.2\n"),
        (
            "create a hash:net timeout 9000\nadd a 10.0.0.0/8 timeout 1\nadd a 10.0.0.0/9\n",
            "del a 10.0.0.0/8\n",
        ),
    ];
    let command = |(before, after): &(&str, &str)| {
        vec![format!(
            "printf %s '{before}' | ipset restore; sleep {PAUSE}; printf %s '{after}' | ipset restore 2>/dev/null || echo refused; \
             ipset save"
        )]
    };
    let lists: Vec<Vec<String>> = cases.iter().map(command).collect();
    for ((before, after), kernel) in cases.iter().zip(netns::run(&lists).concat()) {
        let mut ipset = Ipset::default();
        let start = Instant::START + Duration::from_secs(1000);
        let later = start + Duration::from_secs(PAUSE);
        ipset.restore(start, "before", before, IpsetOptions::default()).unwrap();
        let result = ipset.restore(later, "after", after, IpsetOptions::default());
        let refused = if result.is_err() { "refused\n" } else { "" };
        let here = format!("{refused}{}", ipset.save(later));
        assert_eq!(comparable(&here), comparable(&kernel), "{before}{after}");
    }
}

/// Compares the remaining sets after each text, and if the text was accepted.
fn compare(cases: &[Case]) {
    if !netns::is_available() {
        return;
    }
    let version = netns::run(&[vec!["ipset --version".to_owned()]]).concat().concat();
    if !version.contains("v7.") {
        eprintln!("skipped: needs ipset 7, found {version:?}");
        return;
    }
    let lists: Vec<Vec<String>> =
        cases.chunks(CHUNK).map(|cases| cases.iter().map(command).collect()).collect();
    let mut differences = String::new();
    for (lists, cases) in lists.chunks(4).zip(cases.chunks(4 * CHUNK)) {
        for (case, kernel) in cases.iter().zip(netns::run(lists).concat()) {
            let (kernel, here) = (comparable(&kernel), comparable(&here(case)));
            if kernel != here {
                _ = writeln!(differences, "{}\n  kernel {kernel:#?}\n  here {here:#?}", case.text);
            }
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

/// Restores a text in a kernel without sets, and prints the result.
fn command(case: &Case) -> String {
    let exist = if case.options.exist { "-!" } else { "" };
    let text = case.text.replace('\'', "'\\''");
    format!(
        "{{ printf %s '{text}' | ipset restore {exist}; }} >/dev/null 2>&1 || echo refused; ipset save; \
         for i in 1 2; do for s in $(ipset list -n); do ipset destroy \"$s\" 2>/dev/null; done; done"
    )
}

fn here(case: &Case) -> String {
    let mut ipset = Ipset::default();
    let now = Instant::START + Duration::from_secs(1000);
    let result = ipset.restore(now, "text", &case.text, case.options);
    let refused = if result.is_err() { "refused\n" } else { "" };
    let saved = ipset.save(now);
    assert_printed_again(&saved, now);
    format!("{refused}{saved}")
}

fn assert_printed_again(saved: &str, now: Instant) {
    let mut again = Ipset::default();
    if let Err(error) = again.restore(now, "saved", saved, IpsetOptions::default()) {
        panic!("{error}\n{saved}");
    }
    assert_eq!(again.save(now), saved);
}

/// A few sets, and commands that change them.
fn random_case(random: &mut Random) -> Case {
    let mut text = String::new();
    let mut sets = Vec::new();
    for name in ["a", "b", "c"] {
        let (set_type, options) = random.pick(TYPES);
        let extensions =
            ["", "", "", " timeout 1000", " counters", " comment", " timeout 0 counters comment"];
        let full = if set_type.starts_with("hash") && random.below(4) == 0 { " maxelem 6" } else { "" };
        _ = writeln!(text, "create {name} {set_type}{options}{full}{}", random.pick(&extensions));
        sets.push((name, set_type, options));
    }
    for _ in 0..8 + random.below(25) {
        let (name, set_type, options) = random.pick(&sets);
        let is_ipv6 = options.contains("inet6");
        let element = element(random, set_type, is_ipv6);
        let verb = random.pick(&["add", "add", "add", "add", "del"]);
        let mut line = format!("{verb} {name} {element}");
        if verb == "add" && random.below(4) == 0 {
            line.push_str(random.pick(&[
                " nomatch",
                " timeout 50",
                " packets 3",
                " bytes 7 packets 1",
                " comment \"x y\"",
                " -exist",
            ]));
        }
        if random.below(12) == 0 {
            let other = random.pick(&["a", "b", "c"]);
            line = match random.below(5) {
                0 => format!("swap {name} {other}"),
                1 => format!("flush {name}"),
                2 => format!("rename {name} d"),
                3 => "COMMIT".to_owned(),
                _ => format!("{line} -exist"),
            };
        }
        _ = writeln!(text, "{line}");
    }
    Case { options: IpsetOptions { exist: random.below(3) > 0 }, text }
}

const TYPES: &[(&str, &str)] = &[
    ("hash:ip", ""),
    ("hash:ip", " netmask 30"),
    ("hash:ip", " family inet6"),
    ("hash:net", ""),
    ("hash:net", " family inet6"),
    ("hash:ip,port", ""),
    ("hash:ip,port", " family inet6"),
    ("hash:ip,port,ip", ""),
    ("hash:ip,port,net", ""),
    ("hash:ip,port,net", " family inet6"),
    ("hash:net,port", ""),
    ("bitmap:port", " range 75-100"),
    ("bitmap:ip", " range 10.0.0.0/27"),
    ("bitmap:ip", " range 10.0.0.0/24 netmask 29"),
    ("bitmap:ip", " range 10.0.0.0-10.0.0.20 netmask 30"),
    ("list:set", ""),
];

/// An element of the set's type, or occasionally of another.
fn element(random: &mut Random, set_type: &str, is_ipv6: bool) -> String {
    let ip = |random: &mut Random| {
        let low = random.below(12);
        if is_ipv6 { format!("fd00::{low}") } else { format!("10.0.0.{low}") }
    };
    let hosts = |random: &mut Random| match random.below(8) {
        0 if !is_ipv6 => format!("10.0.0.{}/30", random.below(20)),
        1 if !is_ipv6 => format!("10.0.0.{}-10.0.0.{}", random.below(8), random.below(8)),
        2 => random.pick(&["0.0.0.0", "::", "10.0.0.300", "fd00::/64", "10.1", "x", ""]).to_owned(),
        _ => ip(random),
    };
    let net = |random: &mut Random| match random.below(4) {
        0 if is_ipv6 => format!("fd00::{}/{}", random.below(9), random.pick(&["0", "64", "126", "128"])),
        0 | 1 if !is_ipv6 => {
            format!("10.0.0.{}/{}", random.below(9), random.pick(&["0", "8", "24", "29", "32", "33"]))
        }
        _ => hosts(random),
    };
    let port = |random: &mut Random| {
        random
            .pick(&[
                "80",
                "80",
                "tcp:80",
                "tcp:81",
                "udp:80",
                "sctp:80",
                "80-82",
                "tcp:85-79",
                "udplite:7",
                "icmp:8/0",
                "icmp:echo-request",
                "icmpv6:echo-request",
                "gre:0",
                "gre:1",
                "132:9",
                "0x50",
                "tcp:70000",
                "tcp:",
            ])
            .to_owned()
    };
    match set_type {
        "hash:ip" | "bitmap:ip" => hosts(random),
        "hash:net" => net(random),
        "hash:ip,port" => format!("{},{}", hosts(random), port(random)),
        "hash:net,port" => format!("{},{}", net(random), port(random)),
        "hash:ip,port,ip" => format!("{},{},{}", hosts(random), port(random), ip(random)),
        "hash:ip,port,net" => format!("{},{},{}", hosts(random), port(random), net(random)),
        "bitmap:port" => port(random),
        _ => {
            let set = random.pick(&["a", "b", "c", "d"]);
            let place = random.pick(&["", "", " before a", " after b", " before c"]);
            format!("{set}{place}")
        }
    }
}
