//! Error positions and messages.

use crate::ipset::{Ipset, IpsetOptions};
use crate::text::error::RuleErrorKind;
use crate::time::Instant;
use std::fmt::Write as _;

/// The text before each erroneous line.
const SETS: &str = "create ip hash:ip\ncreate net hash:net counters\ncreate port hash:ip,port\ncreate three hash:ip,port,net\n\
    create six hash:ip,port family inet6\ncreate bit bitmap:port range 0-100\ncreate full hash:ip maxelem 1\nadd full 10.0.0.1\n\
    create list list:set\nadd list ip\n";

const WRONG: &[&str] = &[
    // Commands.
    "make a hash:ip",
    "test ip 10.0.0.1",
    "list",
    "-o xml create a hash:ip",
    "create",
    "create a",
    "flush ip now",
    "add ip 10.0.0.1 comment \"x",
    // Names.
    "create ip hash:ip",
    "create aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa hash:ip",
    "create \"a b\" hash:ip",
    "add none 10.0.0.1",
    "destroy ip",
    "destroy",
    "rename ip other",
    "rename net port",
    "swap ip net",
    "swap port six",
    // Types and their options.
    "create a hash:mac",
    "create a hash",
    "create a hash:ip range 0-5",
    "create a hash:ip skbinfo",
    "create a hash:ip maxelem",
    "create a hash:ip maxelem many",
    "create a hash:ip timeout 2147484",
    "create a hash:ip timeout 1 timeout 2",
    "create a hash:ip family inet4",
    "create a hash:ip netmask 33",
    "create a bitmap:port",
    "create a bitmap:port range 80",
    "create a bitmap:port range 0-65536",
    "create a bitmap:ip range 10.0.0.1",
    "create a bitmap:ip range 10.0.0.0/15",
    "create a bitmap:ip range 10.0.0.4-10.0.0.11 netmask 30",
    // Elements.
    "add ip",
    "add ip 10.0.0.300",
    "add ip example.org",
    "add ip fd00::1",
    "add ip 10.0.0.0/33",
    "add ip 10.0.0.1,tcp:80",
    "add ip 0.0.0.0",
    "add port 10.0.0.1",
    "add port 10.0.0.1,tpc:80",
    "add port 10.0.0.1,tcp:http",
    "add port 10.0.0.1,tcp:70000",
    "add port 10.0.0.1,gre:1",
    "add port 10.0.0.1,icmp:8",
    "add port 10.0.0.1,icmpv6:echo-request",
    "add six 10.0.0.1,tcp:80",
    "add three 10.0.0.1,tcp:80",
    "add three 10.0.0.1,tcp:80,0.0.0.0/0",
    "add bit 101",
    "add bit sctp:80",
    "add full 10.0.0.2",
    "add full 10.0.0.1",
    "del full 10.0.0.2",
    "add list ip",
    "add list none",
    "add list list",
    "add list net before port",
    // Options after an element.
    "add ip 10.0.0.1 timeout 5",
    "add ip 10.0.0.1 comment x",
    "add ip 10.0.0.1 nomatch",
    "add ip 10.0.0.1 skbmark 1",
    "add net 10.0.0.0/8 packets",
    "add net 10.0.0.0/8 packets 18446744073709551615",
    "del net 10.0.0.0/8 packets 1",
];

#[test]
fn wrong_lines() {
    let mut said = String::new();
    for line in WRONG {
        let mut ipset = Ipset::default();
        let text = format!("{SETS}{line}\n");
        let error = ipset.restore(Instant::START, "f", &text, IpsetOptions::default()).expect_err(line);
        let text = error.to_string();
        let place = text.strip_prefix("f:11:").unwrap_or(&text);
        _ = writeln!(said, "{line}\n  {:?} {place}", error.kind);
    }
    insta::assert_snapshot!(said);
}

#[test]
fn what_came_before_an_error_has_happened_except_what_waits() {
    let saved = |text: &str| {
        let mut ipset = Ipset::default();
        let error = ipset.restore(Instant::START, "f", text, IpsetOptions::default()).expect_err(text);
        let saved = ipset.save(Instant::START);
        let elements: Vec<String> =
            saved.lines().filter_map(|line| Some(line.strip_prefix("add ")?.to_owned())).collect();
        (error.line, error.kind, elements.join(" "))
    };
    let sets = "create a hash:ip\ncreate b hash:ip\n";
    for (text, expected) in [
        // The kernel rejects a line: earlier ones have taken effect.
        ("add a 1.1.1.1\nadd a 1.1.1.1\nadd a 1.1.1.2\n", (4, RuleErrorKind::ElementExists, "a 1.1.1.1")),
        (
            "add a 1.1.1.0-1.1.1.1\nadd a 1.1.1.0/30\n",
            (4, RuleErrorKind::ElementExists, "a 1.1.1.0 a 1.1.1.1"),
        ),
        // A line has a syntax error: the pending run is lost.
        ("add a 1.1.1.1\nadd a 1.1.1.2\nadd a x\n", (5, RuleErrorKind::Syntax, "")),
        ("add a 1.1.1.1\nadd b 1.1.1.2\nadd b x\n", (5, RuleErrorKind::Syntax, "a 1.1.1.1")),
        ("add a 1.1.1.1\nCOMMIT\nadd a x\n", (5, RuleErrorKind::Syntax, "a 1.1.1.1")),
        ("add a 1.1.1.1\nflush b\nadd a x\n", (5, RuleErrorKind::Syntax, "a 1.1.1.1")),
        // A pending line fails only when it is sent.
        ("add a 1.1.1.1\nadd a 1.1.1.1\nadd b 1.1.1.1\n", (4, RuleErrorKind::ElementExists, "a 1.1.1.1")),
        // `-exist` on a later line of a run has no effect.
        ("add a 1.1.1.1\nadd a 1.1.1.1 -exist\n", (4, RuleErrorKind::ElementExists, "a 1.1.1.1")),
    ] {
        let (line, kind, elements) = saved(&format!("{sets}{text}"));
        assert_eq!((line, kind, &*elements), expected, "{text}");
    }
}
