//! Order of rule evaluation, and counters (`ipt_do_table`).

use super::net::Net;
use crate::drop_reason::DropReason;
use crate::hook::{Hook, Verdict};
use crate::netfilter::fixture::{Seg, udp};
use crate::trace::{Event, RuleEvent};
use crate::xtables::TableKind;

/// Sends a SYN through FORWARD; checks which rules matched and if it passed.
fn check(rules: &str, expected: &[&str], passes: bool) {
    let mut net = Net::new(rules);
    assert_eq!(net.forwards(&Seg::new("10.0.0.1:1000", "10.0.0.2:80", "S").bytes()), passes, "{rules}");
    assert_eq!(net.walked(), expected, "{rules}");
}

#[test]
fn policies_end_base_chains() {
    check("*filter\nCOMMIT\n", &["FORWARD policy accept=true"], true);
    check("*filter\n:FORWARD DROP\nCOMMIT\n", &["FORWARD policy accept=false"], false);
}

#[test]
fn return_and_the_end_of_a_chain_resume_after_the_jump() {
    // D-19
    check(
        "*filter\n:A -\n:B -\n-A FORWARD -j A\n-A FORWARD -j B\n-A FORWARD -j DROP\n-A A -j RETURN\n-A A -j DROP\n-A B -p udp\nCOMMIT\n",
        &["FORWARD 1 Jump(\"A\")", "A 1 Return", "FORWARD 2 Jump(\"B\")", "FORWARD 3 Drop"],
        false,
    );
}

#[test]
fn return_in_a_base_chain_means_policy() {
    check(
        "*filter\n:FORWARD DROP\n-A FORWARD -j RETURN\n-A FORWARD -j ACCEPT\nCOMMIT\n",
        &["FORWARD 1 Return", "FORWARD policy accept=false"],
        false,
    );
}

#[test]
fn goto_leaves_no_way_back() {
    check(
        "*filter\n:A -\n:B -\n-A FORWARD -j A\n-A FORWARD -j ACCEPT\n-A A -g B\n-A A -j DROP\n-A B\nCOMMIT\n",
        &["FORWARD 1 Jump(\"A\")", "A 1 Goto(\"B\")", "B 1 Continue", "FORWARD 2 Accept"],
        true,
    );
    check(
        "*filter\n:FORWARD DROP\n:B -\n-A FORWARD -g B\n-A FORWARD -j ACCEPT\nCOMMIT\n",
        &["FORWARD 1 Goto(\"B\")", "FORWARD policy accept=false"],
        false,
    );
}

#[test]
fn targets_that_continue_do() {
    check(
        "*filter\n-A FORWARD -j MARK --set-mark 0x10\n-A FORWARD -j MARK --or-mark 1\n-A FORWARD -j LOG\n-A FORWARD -m mark --mark 0x11 -j DROP\nCOMMIT\n",
        &[
            "FORWARD 1 Mark { old: 0, new: 16 }",
            "FORWARD 2 Mark { old: 16, new: 17 }",
            "FORWARD 3 Continue",
            "FORWARD 4 Drop",
        ],
        false,
    );
}

#[test]
fn rules_and_policies_count_packets_and_bytes() {
    let mut net = Net::new(
        "*filter\n:A -\n-A FORWARD -p udp -j A\n-A FORWARD -p tcp\n-A A -d 10.0.0.2 -j ACCEPT\nCOMMIT\n",
    );
    net.forwards(&udp("10.0.0.1:1", "10.0.0.2:2"));
    net.forwards(&udp("10.0.0.1:1", "10.0.0.3:2"));
    net.forwards(&Seg::new("10.0.0.1:1000", "10.0.0.2:80", "S").bytes());
    let saved = net.ns.xtables.save(crate::hook::Family::Ipv4, true);
    assert_eq!(
        saved,
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [2:76]\n:OUTPUT ACCEPT [0:0]\n:A - [0:0]\n\
         [2:72] -A FORWARD -p udp -j A\n[1:40] -A FORWARD -p tcp\n[1:36] -A A -d 10.0.0.2/32 -j ACCEPT\nCOMMIT\n"
    );
}

#[test]
fn a_table_that_nothing_touched_accepts() {
    let mut net = Net::new("*filter\n:FORWARD DROP\nCOMMIT\n");
    let mut packet = net.packet(&udp("10.0.0.1:1", "10.0.0.2:2"));
    assert_eq!(net.eval(TableKind::Mangle, Hook::Forward, &mut packet), Verdict::Accept);
    assert_eq!(net.eval(TableKind::Filter, Hook::Prerouting, &mut packet), Verdict::Accept);
    let dropped = Verdict::Drop(DropReason::NetfilterDrop);
    assert_eq!(net.eval(TableKind::Filter, Hook::Forward, &mut packet), dropped);
}

#[test]
fn a_new_policy_begins_to_count_anew() {
    let mut net = Net::new("*filter\n:FORWARD DROP\nCOMMIT\n");
    net.forwards(&udp("10.0.0.1:1", "10.0.0.2:2"));
    assert!(net.ns.xtables.save(crate::hook::Family::Ipv4, false).contains(":FORWARD DROP [1:36]"));
    net.ns.xtables.command(&mut net.ns.ipset, "f", 1, "iptables -P FORWARD DROP -c 7 8").unwrap();
    assert!(net.ns.xtables.save(crate::hook::Family::Ipv4, false).contains(":FORWARD DROP [0:0]"));
}

#[test]
fn lines_are_counted_in_the_text_of_the_rule() {
    let mut net = Net::new("*filter\n:A -\n-A A -j ACCEPT\nCOMMIT\n");
    let jump = "iptables -A FORWARD -j A";
    net.ns.xtables.command(&mut net.ns.ipset, "jumps", 7, jump).unwrap();
    net.forwards(&Seg::new("10.0.0.1:1000", "10.0.0.2:80", "S").bytes());
    let mut matched = Vec::new();
    for event in net.trace.events() {
        if let Event::Rule(RuleEvent::Matched { rule, .. }) = &event.event {
            matched.push((&*rule.source.file, rule.source.line));
        }
    }
    assert_eq!(matched, [("jumps", 7), ("rules", 3)]);
}
