//! Matches with state (`statistic`, `limit` and `recent`), and the effect of rule changes on it.

use super::net::Net;
use crate::hook::Family;
use crate::netfilter::fixture::{Seg, udp};
use crate::xtables::{RestoreOptions, TableKind};

const ANY: (&str, &str) = ("10.0.0.1:1", "10.0.0.2:2");

/// Sends `count` datagrams, `pause` seconds before each, and returns `1` for those that pass.
fn pattern(net: &mut Net, count: usize, pause: f64) -> String {
    (0..count)
        .map(|_| {
            net.sleep(pause);
            if net.forwards(&udp(ANY.0, ANY.1)) { '1' } else { '0' }
        })
        .collect()
}

fn passing(matches: &str) -> Net {
    Net::new(&format!("*filter\n:FORWARD DROP\n-A FORWARD {matches} -j ACCEPT\nCOMMIT\n"))
}

#[test]
fn nth_counts_packets() {
    // D-20; the patterns are those of Linux: the first match comes after `packet` packets.
    for (options, expected) in [
        ("--every 3 --packet 0", "100100100"),
        ("--every 3 --packet 1", "010010010"),
        ("--every 3 --packet 2", "001001001"),
        ("! --every 3 --packet 0", "011011011"),
        ("--every 1 --packet 0", "111111111"),
    ] {
        let options = format!("-m statistic --mode nth {options}");
        assert_eq!(pattern(&mut passing(&options), 9, 0.0), expected, "{options}");
    }
}

#[test]
fn every_rule_counts_for_itself() {
    let mut net = Net::new(
        "*filter\n:FORWARD DROP\n:A -\n-A FORWARD -m statistic --mode nth --every 2 --packet 0 -j ACCEPT\n\
         -A FORWARD -m statistic --mode nth --every 2 --packet 0 -j ACCEPT\nCOMMIT\n",
    );
    // The second rule sees only packets that the first one did not match.
    assert_eq!(pattern(&mut net, 8, 0.0), "11101110");
}

#[test]
fn random_draws_when_the_rule_is_reached_and_only_then() {
    // D-20
    let rules = "*filter\n:FORWARD DROP\n-A FORWARD -s 10.9.9.9 -m statistic --mode random --probability 0.5\n\
                 -A FORWARD -p udp -m statistic --mode random --probability 0.5 -m mark --mark 1\n\
                 -A FORWARD -p udp -m mark --mark 1 -m statistic --mode random --probability 0.5\nCOMMIT\n";
    let mut net = Net::new(rules);
    let mut others = net.draws.clone();
    net.forwards(&udp(ANY.0, ANY.1));
    let owner = crate::ids::NetnsId(0);
    let purpose = crate::draws::Purpose::Statistic;
    others.u32(owner, purpose);
    assert_eq!(net.draws.u32(owner, purpose), others.u32(owner, purpose), "one draw, of the second rule");
}

#[test]
fn probabilities_are_those_of_user_space() {
    // lround(p * 2^31); 0 never matches and 1 always matches.
    let mut never = passing("-m statistic --mode random --probability 0");
    let mut always = passing("-m statistic --mode random --probability 1");
    let mut inverted = passing("-m statistic --mode random ! --probability 1");
    assert_eq!(pattern(&mut never, 20, 0.0), "0".repeat(20));
    assert_eq!(pattern(&mut always, 20, 0.0), "1".repeat(20));
    assert_eq!(pattern(&mut inverted, 20, 0.0), "0".repeat(20));
}

#[test]
fn limit_is_a_bucket_that_time_fills() {
    let mut net = passing("-m limit --limit 1/sec --limit-burst 3");
    assert_eq!(pattern(&mut net, 6, 0.0), "111000");
    net.sleep(1.0);
    assert_eq!(pattern(&mut net, 3, 0.0), "100");
    net.sleep(100.0);
    assert_eq!(pattern(&mut net, 6, 0.0), "111000", "no more than the burst");
    assert_eq!(pattern(&mut net, 8, 0.25), "00010001");
}

#[test]
fn recent_rcheck_looks_back_and_set_notes() {
    // D-21
    let mut net = Net::new(
        "*filter\n:FORWARD DROP\n-A FORWARD -p udp --dport 1 -m recent --name L --set -j ACCEPT\n\
         -A FORWARD -p udp --dport 2 -m recent --name L --rcheck --seconds 60 -j ACCEPT\n\
         -A FORWARD -p udp --dport 3 -m recent --name L --update --seconds 60 -j ACCEPT\n\
         -A FORWARD -p udp --dport 4 -m recent --name L --remove -j ACCEPT\nCOMMIT\n",
    );
    let send = |net: &mut Net, from: &str, port: u16| net.forwards(&udp(from, &format!("10.0.0.2:{port}")));
    assert!(!send(&mut net, "10.0.0.1:9", 2), "not seen yet");
    assert!(send(&mut net, "10.0.0.1:9", 1));
    assert!(!send(&mut net, "10.0.0.3:9", 2), "another address");
    net.sleep(60.0);
    assert!(send(&mut net, "10.0.0.1:9", 2), "exactly at the limit");
    net.sleep(0.001);
    assert!(!send(&mut net, "10.0.0.1:9", 2), "rcheck updates nothing");
    assert!(!send(&mut net, "10.0.0.1:9", 3), "too late to renew");
    assert!(send(&mut net, "10.0.0.1:9", 1));
    net.sleep(40.0);
    assert!(send(&mut net, "10.0.0.1:9", 3), "renewed");
    net.sleep(40.0);
    assert!(send(&mut net, "10.0.0.1:9", 2), "counts again since then");
    assert!(
        send(&mut net, "10.0.0.1:9", 4) && !send(&mut net, "10.0.0.1:9", 4),
        "removed by the first packet"
    );
    assert!(!send(&mut net, "10.0.0.1:9", 2));
}

#[test]
fn recent_reaps_the_longest_unseen_address_only() {
    let text = |reap| {
        format!(
            "*filter\n:FORWARD DROP\n-A FORWARD -p udp --dport 1 -m recent --set -j ACCEPT\n\
             -A FORWARD -p udp --dport 2 -m recent --rcheck --seconds 10 {reap} -j ACCEPT\n\
             -A FORWARD -p udp --dport 3 -m recent --rcheck -j ACCEPT\nCOMMIT\n"
        )
    };
    for (reap, left) in [("", [true, true, true]), ("--reap", [false, true, true])] {
        let mut net = Net::new(&text(reap));
        for host in 1..=3 {
            net.forwards(&udp(&format!("10.0.0.{host}:9"), "10.0.0.9:1"));
        }
        net.sleep(11.0);
        net.forwards(&udp("10.0.0.3:9", "10.0.0.9:1"));
        net.forwards(&udp("10.0.0.3:9", "10.0.0.9:2"));
        let found = [1, 2, 3].map(|host| net.forwards(&udp(&format!("10.0.0.{host}:9"), "10.0.0.9:3")));
        assert_eq!(found, left, "{reap}");
    }
}

#[test]
fn recent_keeps_a_hundred_addresses() {
    let mut net = Net::new(
        "*filter\n:FORWARD DROP\n-A FORWARD -p udp --dport 1 -m recent --set -j ACCEPT\n\
         -A FORWARD -p udp --dport 2 -m recent --rcheck -j ACCEPT\nCOMMIT\n",
    );
    for host in 1..=100 {
        net.forwards(&udp(&format!("10.0.1.{host}:9"), "10.0.0.9:1"));
    }
    net.forwards(&udp("10.0.1.1:9", "10.0.0.9:1"));
    net.forwards(&udp("10.0.2.1:9", "10.0.0.9:1"));
    assert!(net.forwards(&udp("10.0.1.1:9", "10.0.0.9:2")), "seen again in time");
    assert!(!net.forwards(&udp("10.0.1.2:9", "10.0.0.9:2")), "evicted");
    assert!(net.forwards(&udp("10.0.1.3:9", "10.0.0.9:2")));
}

#[test]
fn recent_counts_hits_in_a_window() {
    let mut net = Net::new(
        "*filter\n:FORWARD DROP\n-A FORWARD -m recent --update --seconds 10 --hitcount 3 -j ACCEPT\n\
         -A FORWARD -m recent --set\nCOMMIT\n",
    );
    assert_eq!(pattern(&mut net, 3, 1.0), "000");
    assert_eq!(pattern(&mut net, 2, 1.0), "11");
    net.sleep(9.0);
    assert_eq!(pattern(&mut net, 1, 0.0), "0", "two left in the window");
}

#[test]
fn recent_looks_at_source_or_destination_under_its_mask() {
    let mut net = Net::new(
        "*filter\n:FORWARD DROP\n-A FORWARD -p udp --dport 1 -m recent --name D --rdest --mask 255.255.255.0 --set -j ACCEPT\n\
         -A FORWARD -p udp --dport 2 -m recent --name D --rsource --rcheck -j ACCEPT\nCOMMIT\n",
    );
    net.forwards(&udp("10.0.1.1:9", "10.0.2.2:1"));
    // The first rule sets the mask for all rules of the list.
    assert!(net.forwards(&udp("10.0.2.77:9", "10.0.9.9:2")));
    assert!(!net.forwards(&udp("10.0.1.1:9", "10.0.9.9:2")));
}

#[test]
fn recent_with_rttl_tells_a_forger_by_its_distance() {
    let mut net = Net::new(
        "*filter\n:INPUT DROP\n-A INPUT -p udp --dport 1 -m recent --set -j ACCEPT\n\
         -A INPUT -p udp --dport 2 -m recent --rcheck --rttl -j ACCEPT\nCOMMIT\n",
    );
    let mut send = |port: u16, ttl: u8| {
        let mut bytes = udp("10.0.0.1:9", &format!("10.0.0.254:{port}"));
        bytes[8] = ttl;
        let mut packet = net.packet(&bytes);
        let verdict = net.eval(TableKind::Filter, crate::hook::Hook::Input, &mut packet);
        verdict == crate::hook::Verdict::Accept
    };
    assert!(send(1, 60));
    assert!(send(2, 60) && !send(2, 61));
}

#[test]
fn a_list_lives_as_long_as_a_rule_names_it() {
    let set = "-A FORWARD -p udp --dport 1 -m recent --name L --set -j ACCEPT\n";
    let check = "-A FORWARD -p udp --dport 2 -m recent --name L --rcheck -j ACCEPT\n";
    let text = format!("*filter\n:FORWARD DROP\n{set}{check}COMMIT\n");
    let seen = |net: &mut Net| net.forwards(&udp("10.0.0.1:9", "10.0.0.2:2"));
    let mut net = Net::new(&text);
    net.forwards(&udp("10.0.0.1:9", "10.0.0.2:1"));
    assert!(seen(&mut net));
    let options = RestoreOptions::default();
    net.ns.xtables.restore(&mut net.ns.ipset, Family::Ipv4, "f", &text, options).unwrap();
    assert!(seen(&mut net), "the new rules use it as well");
    net.ns
        .xtables
        .restore(
            &mut net.ns.ipset,
            Family::Ipv4,
            "f",
            "*filter\n:FORWARD DROP\n-A FORWARD -j NONE\nCOMMIT\n",
            options,
        )
        .unwrap_err();
    assert!(seen(&mut net), "a restore that failed");
    net.ns.xtables.restore(&mut net.ns.ipset, Family::Ipv4, "f", "*filter\nCOMMIT\n", options).unwrap();
    net.ns.xtables.restore(&mut net.ns.ipset, Family::Ipv4, "f", &text, options).unwrap();
    assert!(!seen(&mut net), "it was unused for a while");
}

#[test]
fn counters_and_states_of_rules_that_stay_are_kept() {
    let mut net = Net::new(
        "*filter\n:FORWARD DROP\n:A -\n-A FORWARD -p tcp -j DROP\n-A FORWARD -m statistic --mode nth --every 3 --packet 2 -j ACCEPT\n-A A -j DROP\nCOMMIT\n",
    );
    assert_eq!(pattern(&mut net, 2, 0.0), "00");
    // `--noflush`: chain A is replaced, and FORWARD gets a new first rule.
    net.restore("*filter\n:A -\n-A A -j ACCEPT\n-I FORWARD -p icmp\nCOMMIT\n");
    assert_eq!(pattern(&mut net, 1, 0.0), "1");
    net.forwards(&Seg::new("10.0.0.1:1", "10.0.0.2:2", "S").bytes());
    assert_eq!(
        net.counted(TableKind::Filter, "FORWARD"),
        [
            "[0:0] -p icmp",
            "[1:40] -p tcp -j DROP",
            "[1:36] -m statistic --mode nth --every 3 --packet 2 -j ACCEPT"
        ]
    );
    net.ns.xtables.command(&mut net.ns.ipset, "f", 1, "iptables -Z FORWARD 2").unwrap();
    assert_eq!(net.counted(TableKind::Filter, "FORWARD")[1], "[0:0] -p tcp -j DROP");
}

#[test]
fn a_fork_counts_for_itself() {
    let mut net =
        Net::new("*filter\n-A FORWARD -m statistic --mode nth --every 2 --packet 0 -j DROP\nCOMMIT\n");
    assert_eq!(pattern(&mut net, 1, 0.0), "0");
    let mut fork = net.clone();
    assert_eq!(pattern(&mut fork, 3, 0.0), "101");
    assert_eq!(net.counted(TableKind::Filter, "FORWARD")[0].split(' ').next(), Some("[1:36]"));
    assert_eq!(fork.counted(TableKind::Filter, "FORWARD")[0].split(' ').next(), Some("[2:72]"));
    assert_eq!(pattern(&mut net, 1, 0.0), "1");
}
