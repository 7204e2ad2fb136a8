//! Properties of all rules and packets.

use super::net::Net;
use super::text::AFFINITY;
use crate::hook::{Family, Hook};
use crate::ipset::Ipset;
use crate::netfilter::fixture::{Seg, echo, udp};
use crate::xtables::{RestoreOptions, TableKind, Xtables};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A condition that the index can use, with few addresses and ports, so that packets hit rules.
fn keyed() -> impl Strategy<Value = String> {
    let addr =
        select(vec!["", "-d 10.0.0.1 ", "-d 10.0.0.2 ", "-d 10.0.0.3 ", "! -d 10.0.0.1 ", "-d 10.0.0.0/30 "]);
    let port = select(vec![
        "",
        "-p tcp -m tcp --dport 1 ",
        "-p tcp -m tcp --dport 2 ",
        "-p udp -m udp --dport 1 ",
        "-p udp --dport 1:2 ",
        "-p tcp ! --dport 1 ",
        "-p tcp -m multiport --dports 1,3 ",
        "-p tcp -m multiport ! --dports 1,2 ",
        "-p udp -m multiport --ports 2,3 ",
        "-p tcp -m tcp --sport 7 -m multiport --dports 2 ",
        "-p tcp -m tcp --tcp-option 3 -m multiport --dports 2 ",
        "-p icmp ",
        "! -p tcp ",
    ]);
    (addr, port).prop_map(|(addr, port)| format!("{addr}{port}"))
}

/// A condition with a side effect or with state.
fn stateful() -> impl Strategy<Value = &'static str> {
    select(vec![
        "",
        "",
        "",
        "",
        "-m mark --mark 1/1 ",
        "-m comment --comment words ",
        "-m statistic --mode random --probability 0.5 ",
        "-m statistic --mode nth --every 2 --packet 0 ",
        "-m limit --limit 1/sec --limit-burst 2 ",
        "-m recent --name L --set ",
        "-m recent --name L --rcheck --seconds 3 --reap ",
        "-m recent --name L --update --hitcount 2 ",
    ])
}

fn target() -> impl Strategy<Value = &'static str> {
    select(vec![
        "",
        "",
        "-j MARK --or-mark 1",
        "-j MARK --xor-mark 3",
        "-j RETURN",
        "-j DROP",
        "-j LONG",
        "-g LONG",
        "-j SHORT",
    ])
}

/// A rule; `before` puts conditions with side effects before conditions that the index can use.
fn rule() -> impl Strategy<Value = String> {
    (keyed(), stateful(), target(), any::<bool>()).prop_map(|(keyed, stateful, target, before)| {
        if before { format!("{stateful}{keyed}{target}") } else { format!("{keyed}{stateful}{target}") }
    })
}

/// A table of long chains without loops.
fn table() -> impl Strategy<Value = String> {
    let chain = |name: &'static str, calls: &'static [&'static str]| {
        vec(rule(), 0..60).prop_map(move |rules| {
            let is_allowed = |rule: &&String| {
                ["LONG", "SHORT"].iter().all(|callee| calls.contains(callee) || !rule.ends_with(callee))
            };
            rules.iter().filter(is_allowed).map(|rule| format!("-A {name} {rule}\n")).collect::<String>()
        })
    };
    (chain("FORWARD", &["LONG", "SHORT"]), chain("LONG", &["SHORT"]), chain("SHORT", &[])).prop_map(
        |(forward, long, short)| format!("*filter\n:LONG -\n:SHORT -\n{forward}{long}{short}COMMIT\n"),
    )
}

fn packet() -> impl Strategy<Value = Vec<u8>> {
    let ends = (1_u8..4, 1_u8..5, select(vec![1_u16, 2, 3, 7]), 1_u16..4);
    (ends, 0_u8..8).prop_map(|((src, dst, sport, dport), kind)| {
        let (src, dst) = (format!("10.0.1.{src}"), format!("10.0.0.{dst}"));
        let (from, to) = (format!("{src}:{sport}"), format!("{dst}:{dport}"));
        let mut l3 = match kind {
            0 | 1 => udp(&from, &to),
            2 => echo(&src, &dst, 8, 1),
            3 => Seg::new(&from, &to, "S").options(&[3, 3, 7, 1]).bytes(),
            _ => Seg::new(&from, &to, "S").bytes(),
        };
        match kind {
            // A later fragment, one that would overwrite flags, and a truncated segment.
            5 => l3[6..8].copy_from_slice(&[0, 4]),
            6 => l3[6..8].copy_from_slice(&[0, 1]),
            7 => {
                l3.truncate(35);
                l3[2..4].copy_from_slice(&[0, 35]);
            }
            _ => {}
        }
        l3
    })
}

/// Everything that a traversal may change or depend on.
fn outcome(net: &mut Net, l3: &[u8], seconds: u8) -> String {
    net.sleep(f64::from(seconds));
    let mut packet = net.packet(l3);
    let verdict = net.eval(TableKind::Filter, Hook::Forward, &mut packet);
    let mut draws = net.draws.clone();
    let next = draws.u32(crate::ids::NetnsId(0), crate::draws::Purpose::Statistic);
    let saved = net.ns.xtables.save(Family::Ipv4, true);
    format!("{verdict:?} mark {} next draw {next}\n{}\n{saved}", packet.meta.mark, net.walked().join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_index_changes_nothing(
        text in table(),
        packets in vec((packet(), 0_u8..3), 1..20),
        edit in vec((rule(), 1_usize..5), 0..3),
    ) {
        let mut indexed = Net::new(&text);
        let mut linear = indexed.clone();
        linear.uses_index = false;
        for (l3, seconds) in &packets {
            prop_assert_eq!(outcome(&mut indexed, l3, *seconds), outcome(&mut linear, l3, *seconds));
        }
        // Rules added or removed later are found or skipped correctly.
        for (rule, number) in edit.iter().filter(|(rule, _)| !rule.ends_with("LONG")) {
            for net in [&mut indexed, &mut linear] {
                // The position may not exist; then neither changes anything.
                let inserted = net.ns.xtables.command(&mut net.ns.ipset, "f", 1, &format!("iptables -I LONG {number} {rule}")).is_ok();
                let deleted = net.ns.xtables.command(&mut net.ns.ipset, "f", 1, &format!("iptables -D FORWARD {number}")).is_ok();
                prop_assert!(inserted || deleted || *number > 1);
            }
        }
        for (l3, seconds) in &packets {
            prop_assert_eq!(outcome(&mut indexed, l3, *seconds), outcome(&mut linear, l3, *seconds));
        }
    }

    #[test]
    fn printing_is_a_fixed_point_of_reading(text in table()) {
        let saved = Net::new(&text).ns.xtables.save(Family::Ipv4, false);
        let mut again = Xtables::default();
        again.restore(&mut Ipset::default(), Family::Ipv4, "saved", &saved, RestoreOptions::default()).unwrap();
        prop_assert_eq!(again.save(Family::Ipv4, false), saved);
    }

    #[test]
    fn no_text_is_too_odd(text in "\\PC{0,200}") {
        survive(&text);
    }

    #[test]
    fn no_change_of_a_good_text_is_too_odd(
        seed in select(vec![AFFINITY, super::text::SAVED]),
        changes in vec((any::<prop::sample::Index>(), 0_usize..6, "\\PC{0,3}"), 1..8),
    ) {
        let mut text = seed.to_owned();
        for (at, cut, with) in changes {
            let boundary = |at: usize| (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
            let from = boundary(at.index(text.len() + 1));
            let to = boundary((from + cut).min(text.len()));
            text.replace_range(from..to, &with);
        }
        survive(&text);
    }
}

/// Parses a text in every possible way. Printed output must be accepted again.
fn survive(text: &str) {
    for family in [Family::Ipv4, Family::Ipv6] {
        for noflush in [false, true] {
            let mut xtables = Xtables::default();
            let options = RestoreOptions { noflush, counters: noflush };
            if xtables.restore(&mut Ipset::default(), family, "f", text, options).is_err() {
                continue;
            }
            let saved = xtables.save(family, true);
            let mut again = Xtables::default();
            let options = RestoreOptions { noflush: false, counters: true };
            if let Err(error) = again.restore(&mut Ipset::default(), family, "saved", &saved, options) {
                panic!("{error}\n{saved}");
            }
        }
    }
    let mut xtables = Xtables::default();
    let outcome = xtables.command(&mut Ipset::default(), "f", 1, text);
    assert!(outcome.is_err() || text.contains("tables"), "only commands of the tools are accepted");
    _ = xtables.command(&mut Ipset::default(), "f", 1, &format!("iptables {text}"));
    _ = xtables.command(&mut Ipset::default(), "f", 1, &format!("ip6tables -t nat {text}"));
}

#[test]
fn a_rule_takes_little_memory() {
    // kube-proxy writes 173,000 of them for 10,000 Services.
    assert!(size_of::<crate::xtables::matches::Match>() <= 24);
    assert!(size_of::<crate::xtables::targets::Target>() <= 16);
    assert!(size_of::<crate::xtables::rule::Rule>() <= 120);
}
