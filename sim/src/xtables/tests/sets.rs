//! Rules that test and change sets.

use super::net::Net;
use crate::hook::Family;
use crate::ipset::{Ipset, IpsetOptions};
use crate::netfilter::fixture::{Seg, echo, udp};
use crate::xtables::{RestoreOptions, RuleErrorKind, TableKind, Xtables};

/// A netns with these sets, and one rule that accepts in FORWARD, with policy DROP.
fn net(sets: &str, rule: &str) -> Net {
    let mut net = Net::new("*filter\n:FORWARD DROP\nCOMMIT\n");
    restore_sets(&mut net, sets);
    net.restore(&format!("*filter\n-A FORWARD {rule} -j ACCEPT\nCOMMIT\n"));
    net
}

fn restore_sets(net: &mut Net, text: &str) {
    if let Err(error) = net.ns.ipset.restore(net.now, "sets", text, IpsetOptions::default()) {
        panic!("{error}");
    }
}

fn tcp(from: &str, to: &str) -> Vec<u8> {
    Seg::new(from, to, "S").bytes()
}

/// Changes the protocol of a packet, keeping the bytes after the IP header.
fn of_protocol(mut l3: Vec<u8>, protocol: u8) -> Vec<u8> {
    l3[9] = protocol;
    l3
}

/// Turns a packet into a later fragment.
fn later_fragment(mut l3: Vec<u8>) -> Vec<u8> {
    l3[7] = 2;
    l3
}

#[test]
fn what_sets_say_of_packets() {
    let service =
        "create s hash:ip,port\nadd s 10.0.0.9,tcp:80\nadd s 10.0.0.9,icmp:8/0\nadd s 10.0.0.9,gre:0\n";
    let ports = "create s bitmap:port range 1-100\nadd s 80\n";
    let nets = "create s hash:net\nadd s 10.0.0.0/24\nadd s 10.0.0.8/30 nomatch\nadd s 10.0.0.9\n";
    let loops = "create s hash:ip,port,ip\nadd s 10.0.0.9,tcp:80,10.0.0.9\n";
    let sources = "create s hash:ip,port,net\nadd s 10.0.0.9,tcp:80,10.0.1.0/24\n";
    let to_service = || tcp("10.0.1.1:7", "10.0.0.9:80");
    for (sets, rule, packet, matches) in [
        // Address, port and protocol.
        (service, "dst,dst", to_service(), true),
        (service, "dst,dst", tcp("10.0.1.1:7", "10.0.0.9:81"), false),
        (service, "dst,dst", udp("10.0.1.1:7", "10.0.0.9:80"), false),
        (service, "src,dst", to_service(), false),
        (service, "src,src", tcp("10.0.0.9:80", "10.0.1.1:7"), true),
        // Too few directions never match; surplus ones are ignored.
        (service, "dst", to_service(), false),
        (service, "dst,dst,src", to_service(), true),
        // Type and code act as the port, for either direction; protocols without ports have port 0.
        (service, "dst,dst", echo("10.0.1.1", "10.0.0.9", 8, 1), true),
        (service, "dst,src", echo("10.0.1.1", "10.0.0.9", 8, 1), true),
        (service, "dst,dst", echo("10.0.1.1", "10.0.0.9", 0, 1), false),
        (service, "dst,dst", of_protocol(to_service(), 47), true),
        // A later fragment has no ports, if its protocol has ports.
        (service, "dst,dst", later_fragment(to_service()), false),
        (service, "dst,dst", later_fragment(of_protocol(to_service(), 47)), true),
        // Ports only, of any protocol; out of range does not match.
        (ports, "dst", to_service(), true),
        (ports, "dst", udp("10.0.1.1:7", "10.0.0.9:80"), true),
        (ports, "dst", of_protocol(to_service(), 132), false),
        (ports, "dst", tcp("10.0.1.1:7", "10.0.0.9:101"), false),
        (ports, "dst", later_fragment(to_service()), false),
        // The most specific network decides, and may be an exception.
        (nets, "dst", udp("10.0.1.1:7", "10.0.0.1:80"), true),
        (nets, "dst", udp("10.0.1.1:7", "10.0.0.8:80"), false),
        (nets, "dst", udp("10.0.1.1:7", "10.0.0.9:80"), true),
        (nets, "dst", udp("10.0.1.1:7", "10.0.1.9:80"), false),
        (nets, "dst --return-nomatch", udp("10.0.1.1:7", "10.0.0.8:80"), true),
        (nets, "dst --return-nomatch", udp("10.0.1.1:7", "10.0.0.9:80"), false),
        // Three parts.
        (loops, "dst,dst,src", tcp("10.0.0.9:7", "10.0.0.9:80"), true),
        (loops, "dst,dst,src", to_service(), false),
        (sources, "dst,dst,src", to_service(), true),
        (sources, "dst,dst,src", tcp("10.0.2.1:7", "10.0.0.9:80"), false),
    ] {
        let (mut plain, mut inverted) = (
            net(sets, &format!("-m set --match-set s {rule}")),
            net(sets, &format!("-m set ! --match-set s {rule}")),
        );
        assert_eq!(plain.forwards(&packet), matches, "{sets}{rule} {packet:?}");
        // What a set cannot decide does not match, so the inverted match does.
        assert_eq!(inverted.forwards(&packet), !matches, "! {sets}{rule} {packet:?}");
    }
}

#[test]
fn a_list_asks_its_sets_in_turn() {
    let sets = "create a hash:ip\nadd a 10.0.0.1\ncreate b hash:ip,port\nadd b 10.0.0.2,udp:5\ncreate l list:set\nadd l a\nadd l b\n";
    let mut asked = net(sets, "-m set --match-set l dst,dst");
    assert!(asked.forwards(&udp("10.0.1.1:7", "10.0.0.1:9")));
    assert!(asked.forwards(&udp("10.0.1.1:7", "10.0.0.2:5")));
    assert!(!asked.forwards(&udp("10.0.1.1:7", "10.0.0.2:6")));
    let mut one = net(sets, "-m set --match-set l dst");
    assert!(!one.forwards(&udp("10.0.1.1:7", "10.0.0.2:5")), "b needs two directions");
}

#[test]
fn time_passes_in_sets() {
    let mut net = net("create a hash:ip timeout 10\nadd a 10.0.0.1\n", "-m set --match-set a src");
    assert!(net.forwards(&udp("10.0.0.1:7", "10.0.0.9:5")));
    net.sleep(9.0);
    assert!(net.forwards(&udp("10.0.0.1:7", "10.0.0.9:5")));
    net.sleep(2.0);
    assert!(!net.forwards(&udp("10.0.0.1:7", "10.0.0.9:5")));
}

#[test]
fn packets_knock() {
    let mut net = Net::new("*filter\n:FORWARD DROP\nCOMMIT\n");
    restore_sets(&mut net, "create k hash:ip timeout 5\n");
    net.restore(
        "*filter\n-A FORWARD -p udp --dport 1 -j SET --add-set k src\n-A FORWARD -p udp --dport 2 -j SET --add-set k src --exist --timeout 60\n\
         -A FORWARD -p udp --dport 3 -j SET --del-set k src\n-A FORWARD -p tcp -m set --match-set k src -j ACCEPT\nCOMMIT\n",
    );
    let mut knock = |port: u16, seconds: f64| {
        net.forwards(&udp("10.0.0.1:7", &format!("10.0.0.9:{port}")));
        net.sleep(seconds);
        net.forwards(&tcp("10.0.0.1:7", "10.0.0.9:80"))
    };
    assert!(knock(1, 4.0));
    assert!(!knock(1, 2.0), "an existing entry is not renewed");
    assert!(knock(2, 50.0));
    assert!(!knock(3, 0.0));
}

#[test]
fn rules_hold_the_sets_that_they_name() {
    let mut net =
        net("create a hash:ip\ncreate b hash:ip\n", "-m set --match-set a src -m set ! --match-set a dst");
    let refused = |net: &mut Net, text: &str| {
        let error = net.ns.ipset.restore(net.now, "f", text, IpsetOptions::default()).expect_err(text);
        assert_eq!(error.kind, RuleErrorKind::SetInUse, "{text}");
    };
    refused(&mut net, "destroy a\n");
    refused(&mut net, "destroy\n");
    refused(&mut net, "rename a c\n");
    restore_sets(&mut net, "add b 10.0.0.1\nswap a b\nflush\n");
    let rule = "-m set --match-set a src -m set ! --match-set a dst -j ACCEPT";
    assert_eq!(
        net.counted(TableKind::Filter, "FORWARD"),
        [format!("[0:0] {rule}")],
        "the rule references the name"
    );
    // A failed change acquires and releases nothing; a successful one does both.
    let options = RestoreOptions::default();
    let failing =
        "*filter\n-A FORWARD -m set --match-set b src\n-A FORWARD -m set --match-set c src\nCOMMIT\n";
    let error = net.ns.xtables.restore(&mut net.ns.ipset, Family::Ipv4, "f", failing, options).unwrap_err();
    assert_eq!((error.kind, error.line, error.column), (RuleErrorKind::NoSuchSet, 3, 31));
    refused(&mut net, "destroy a\n");
    let text = "*filter\n-A FORWARD -j SET --add-set b src --del-set b dst\nCOMMIT\n";
    net.ns.xtables.restore(&mut net.ns.ipset, Family::Ipv4, "f", text, options).unwrap();
    refused(&mut net, "destroy b\n");
    restore_sets(&mut net, "destroy a\n");
    net.ns.xtables.command(&mut net.ns.ipset, "f", 1, "iptables -D FORWARD 1").unwrap();
    restore_sets(&mut net, "destroy b\n");
}

#[test]
fn rules_that_name_sets_are_printed_as_the_tool_prints_them() {
    let mut ipset = Ipset::default();
    let sets =
        "create a hash:ip timeout 9\ncreate b hash:ip,port,net counters\ncreate six hash:ip family inet6\n";
    ipset.restore(crate::time::Instant::START, "sets", sets, IpsetOptions::default()).unwrap();
    for (rule, printed) in [
        ("-m set --match-set a src", Ok("-m set --match-set a src")),
        ("-m set --set a src", Ok("-m set --match-set a src")),
        (
            "-m set ! --match-set b src,dst,src,dst,dst,src",
            Ok("-m set ! --match-set b src,dst,src,dst,dst,src"),
        ),
        ("-m set --return-nomatch --match-set b dst", Ok("-m set --match-set b dst --return-nomatch")),
        (
            "-m set --bytes-lt 7 --match-set a src --packets-gt 5 ! --update-subcounters ! --update-counters",
            Ok(
                "-m set --match-set a src ! --update-counters ! --update-subcounters --packets-gt 5 --bytes-lt 7",
            ),
        ),
        (
            "-m set --match-set a src --update-counters ! --packets-eq 5",
            Ok("-m set --match-set a src ! --packets-eq 5"),
        ),
        ("-j SET --timeout 5 --exist --add-set a src", Ok("-j SET --add-set a src --exist --timeout 5")),
        ("-j SET --del-set b dst,dst --add-set a src", Ok("-j SET --add-set a src --del-set b dst,dst")),
        ("-m set", Err("`--match-set`, found none")),
        ("-m set --match-set a", Err("a second value, found the end of the line")),
        ("-m set --match-set c src", Err("the name of an existing set, found `c`")),
        ("-m set --match-set six src", Err("a set of the family of the rule, found `six`")),
        (
            "-m set --match-set a src,",
            Err("one to six of `src` and `dst`, separated by commas, found `src,`"),
        ),
        (
            "-m set --match-set a src,src,src,src,src,src,src",
            Err("one to six of `src` and `dst`, separated by commas, found `src,src,src,src,src,src,src`"),
        ),
        (
            "-m set --match-set a src --packets-gt 5 --packets-lt 7",
            Err("`--packets-lt` without `--packets-gt`, found both"),
        ),
        ("-m set --match-set a src ! --return-nomatch", Err("`--return-nomatch` without `!`, found `!`")),
        ("-j SET", Err("`--add-set` or `--del-set`, found none")),
        ("-j SET --del-set a src --exist", Err("`--add-set` with `--exist`, found none")),
        (
            "-j SET --map-set a src",
            Err("`--add-set` or `--del-set`, found `a` (`--map-set` needs `skbinfo`, which is not modelled)"),
        ),
    ] {
        let mut xtables = Xtables::default();
        let text = format!("*filter\n-A FORWARD {rule}\nCOMMIT\n");
        let result = xtables.restore(&mut ipset, Family::Ipv4, "f", &text, RestoreOptions::default());
        match (result, printed) {
            (Ok(()), Ok(printed)) => {
                let saved = xtables.save(Family::Ipv4, false);
                assert!(saved.contains(&format!("-A FORWARD {printed}\n")), "{rule}: {saved}");
            }
            (Err(error), Err(expected)) => {
                let said = error.to_string();
                assert_eq!(said.split_once("expected ").unwrap().1, expected, "{rule}");
            }
            (result, printed) => panic!("{rule}: {result:?}, not {printed:?}"),
        }
    }
}

/// Sets of kube-proxy v1.31 in ipvs mode for two Services, and the output of `iptables-save` 1.8.9 on Linux 6.18.
const SETS: &str = include_str!("recordings/228-ipset.txt");
const JUMPS: &str = include_str!("recordings/228-ipvs-jumps.txt");
const RULES: &str = include_str!("recordings/228-ipvs-restore.txt");
const SAVED: &str = include_str!("recordings/228-ipvs-save.txt");

#[test]
fn rules_of_kube_proxy_in_ipvs_mode_are_printed_as_the_kernel_printed_them() {
    let mut net = Net::new("");
    restore_sets(&mut net, SETS);
    for (number, line) in (1..).zip(JUMPS.lines()) {
        net.ns.xtables.command(&mut net.ns.ipset, "jumps", number, line).unwrap();
    }
    net.restore(RULES);
    let expected: Vec<&str> = SAVED.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(net.ns.xtables.save(Family::Ipv4, false).lines().collect::<Vec<_>>(), expected);
}
