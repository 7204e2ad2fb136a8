//! Positions and texts of errors.

use crate::hook::Family;
use crate::ipset::Ipset;
use crate::xtables::{RestoreOptions, RuleErrorKind, Xtables};

/// Restores a text and checks the error.
fn check(text: &str, expected: &str) {
    let mut xtables = Xtables::default();
    let options = RestoreOptions { noflush: false, counters: true };
    let error = xtables.restore(&mut Ipset::default(), Family::Ipv4, "f", text, options).expect_err(text);
    assert_eq!(error.to_string(), format!("f:{expected}"), "{text}");
}

/// Like [`check`], for one rule in line 3 of the filter table.
fn check_rule(rule: &str, expected: &str) {
    check(&format!("*filter\n:CH - [0:0]\n{rule}\nCOMMIT\n"), &format!("3:{expected}"));
}

#[test]
fn texts() {
    for (text, expected) in [
        (
            "filter\n",
            "1:1: iptables-restore: expected a table such as `*filter`, or a comment, found `filter`",
        ),
        (
            "*filtre\n",
            "1:2: iptables-restore: expected `filter`, `nat`, `mangle`, `raw` or `security`, found `filtre`",
        ),
        (
            "*filter\r\nCOMMIT\r\n",
            "1:2: iptables-restore: expected `filter`, `nat`, `mangle`, `raw` or `security`, found `filter\\r` (the text has CRLF line endings)",
        ),
        (
            "*filter\n:INPUT ACCEPT [0:0]\n",
            "3:1: iptables-restore: expected `COMMIT`, which ends table filter, found the end of the text",
        ),
        (
            "*filter\n:INPUT\n",
            "2:7: iptables-restore: expected a policy: `ACCEPT`, `DROP`, or `-` for a user-defined chain, found the end of the line",
        ),
        (
            "*filter\n:INPUT REJECT [0:0]\n",
            "2:8: iptables-restore: expected `ACCEPT` or `DROP`, found `REJECT`",
        ),
        (
            "*filter\n:MINE DROP [0:0]\n",
            "2:7: iptables-restore: expected `-`: only base chains have a policy, found `DROP` (MINE is not a base chain)",
        ),
        (
            "*filter\n:INPUT DROP\n",
            "2:12: iptables-restore: expected counters such as `[0:0]`, found the end of the line",
        ),
        (
            "*filter\n:INPUT DROP [0;0]\n",
            "2:13: iptables-restore: expected counters such as `[0:0]`, found `[0;0]`",
        ),
        ("*filter\n:A -\n:A -\n", "3:2: iptables-restore: expected the name of a new chain, found `A`"),
        (
            "*filter\n[1:x] -A INPUT\n",
            "2:2: iptables-restore: expected two numbers with a colon between them, found `1:x`",
        ),
        ("*filter\nCOMMIT please\n", "2:1: iptables-restore: expected an option, found `COMMIT`"),
    ] {
        check(text, expected);
    }
}

#[test]
fn rules() {
    for (rule, expected) in [
        ("-A NONE", "4: iptables-restore: expected a chain of table filter, found `NONE`"),
        ("-A CH -j", "9: iptables-restore: expected a value of `-j`, found the end of the line"),
        (
            "-A CH -j NONE",
            "10: iptables-restore: expected a target, or a chain of this table, found `NONE` (a chain must be declared before the rule that jumps to it)",
        ),
        ("-A CH -j FORWARD", "10: iptables-restore: expected a user-defined chain, found `FORWARD`"),
        ("-A CH -j NFQUEUE", "10: iptables-restore: expected a supported target, found `NFQUEUE`"),
        (
            "-A CH -j DNAT --to-destination 10.0.0.1",
            "10: iptables-restore: expected DNAT in table nat, found table filter",
        ),
        ("-A CH -m u32", "10: iptables-restore: expected a supported match, found `u32`"),
        (
            "-A CH -m set --match-set x src",
            "26: iptables-restore: expected the name of an existing set, found `x`",
        ),
        ("-A CH -m nonsense", "10: iptables-restore: expected the name of a match, found `nonsense`"),
        (
            "-A CH --dport 80",
            "7: iptables-restore: expected an option of iptables or of a preceding match or target, found `--dport` (ports need `-p tcp`, `-p udp` or `-p sctp` before them)",
        ),
        (
            "-A CH -p tcp --dport 70000",
            "22: iptables-restore: expected a port number from 0 to 65535, found `70000`",
        ),
        (
            "-A CH -p tcp --dport 5:x",
            "24: iptables-restore: expected a port number from 0 to 65535, found `x` (service names depend on /etc/services; use the number)",
        ),
        (
            "-A CH -p tcp --dport 6:5",
            "22: iptables-restore: expected a port range with the first port not above the last, found `6:5`",
        ),
        ("-A CH -s 10.0.0.300", "10: iptables-restore: expected an IPv4 address, found `10.0.0.300`"),
        (
            "-A CH -s 10.0.0.1,example.org",
            "19: iptables-restore: expected an IPv4 address, found `example.org` (host names need a resolver; use the address)",
        ),
        (
            "-A CH -s 10.0.0.0/33",
            "19: iptables-restore: expected a prefix length from 0 to 32, or a mask such as 255.255.255.0, found `33`",
        ),
        (
            "-A CH ! -s 10.0.0.1,10.0.0.2",
            "12: iptables-restore: expected one address after `!`, found `10.0.0.1,10.0.0.2`",
        ),
        (
            "-A CH -p tpc",
            "10: iptables-restore: expected a protocol name or a number from 0 to 255, found `tpc`",
        ),
        (
            "-A CH -m tcp --dport 80",
            "10: iptables-restore: expected `-p tcp` in a rule with `-m tcp`, found another protocol, or none",
        ),
        (
            "-A CH -m comment --comment \"open",
            "28: iptables-restore: expected a closing quotation mark in the same line, found none",
        ),
        ("-A CH -m comment", "10: iptables-restore: expected `--comment`, found none"),
        ("-A CH ! -j ACCEPT", "7: iptables-restore: expected `--jump` without `!`, found `!`"),
        ("-A CH !", "7: iptables-restore: expected an option after `!`, found the end of the line"),
        ("-A CH -s 10.0.0.1 -s 10.0.0.2", "19: iptables-restore: expected `-s` once, found a duplicate"),
        ("-A CH -j ACCEPT spare", "17: iptables-restore: expected an option, found `spare`"),
        ("-A CH -m statistic --mode random", "10: iptables-restore: expected `--probability`, found none"),
        (
            "-A CH -m statistic --mode random --probability 2",
            "48: iptables-restore: expected a number from 0 to 1, found `2`",
        ),
        (
            "-A CH -m conntrack --ctstate NEW,OLD",
            "34: iptables-restore: expected INVALID, NEW, RELATED, ESTABLISHED, UNTRACKED, SNAT or DNAT, separated by commas, found `OLD`",
        ),
        (
            "-A CH -m conntrack --ct NEW",
            "20: iptables-restore: expected one option, found `--ct` (it could be `--ctstate` or `--ctdir`)",
        ),
        (
            "-A CH -j REJECT --reject-with tcp-reset",
            "10: iptables-restore: expected `-p tcp` in a rule that rejects with `tcp-reset`, found another protocol, or none",
        ),
        ("-A INPUT -o eth0", "10: iptables-restore: expected no `-o` in a rule of INPUT, found `-o`"),
        (
            "-t nat -A CH",
            "1: iptables-restore: expected a rule without `--table`, which the text defines, found `-t`",
        ),
        ("-F CH -s 10.0.0.1", "7: iptables-restore: expected no part of a rule with `--flush`, found `-s`"),
        (
            "-A CH -m comment --comment \"ü\" -j NONE",
            "35: iptables-restore: expected a target, or a chain of this table, found `NONE` (a chain must be declared before the rule that jumps to it)",
        ),
    ] {
        check_rule(rule, expected);
    }
}

/// A rule of an earlier text may become wrong by a later one: the error names the text in which it stands.
#[test]
fn a_rule_is_named_by_its_own_text() {
    let mut tables = Xtables::default();
    let mut load = |file, text| {
        let options = RestoreOptions { noflush: true, counters: false };
        tables.restore(&mut Ipset::default(), Family::Ipv4, file, text, options)
    };
    load("first", "*nat\n:A -\n-A A -j MASQUERADE\nCOMMIT\n").unwrap();
    let error = load("second", "*nat\n-A PREROUTING -j A\nCOMMIT\n").unwrap_err();
    assert_eq!((&*error.file, error.line), ("first", 3), "{error}");
    let command = "iptables -t nat -A PREROUTING -j A";
    let error = tables.command(&mut Ipset::default(), "jumps", 1, command).unwrap_err();
    assert_eq!((&*error.file, error.line), ("first", 3), "{error}");
}

#[test]
fn what_the_kernel_refuses_at_commit_names_the_rule() {
    check(
        "*filter\n:A -\n:B -\n-A INPUT -j A\n-A A -j B\n-A B -p tcp -j A\nCOMMIT\n",
        "6:1: iptables-restore: expected jumps without a loop, found a loop through A (the rule is `-A B -p tcp -j A`)",
    );
    check(
        "*nat\n:A -\n-A A -j MASQUERADE\n-A PREROUTING -j A\nCOMMIT\n",
        "3:1: iptables-restore: expected MASQUERADE reached from POSTROUTING only, found a chain reached from PREROUTING (the rule is `-A A -j MASQUERADE`)",
    );
    check(
        "*filter\n-A OUTPUT -m mac --mac-source 00:00:00:00:00:01\nCOMMIT\n",
        "2:1: iptables-restore: expected `-m mac` with these options reached from PREROUTING, INPUT, FORWARD only, found a chain reached from OUTPUT (the rule is `-A OUTPUT -m mac --mac-source 00:00:00:00:00:01`)",
    );
}

#[test]
fn a_table_at_fault_stays_as_it_was_and_those_before_it_are_loaded() {
    let mut xtables = Xtables::default();
    let options = RestoreOptions::default();
    let before = "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n*nat\n-A PREROUTING -p udp\nCOMMIT\n";
    xtables.restore(&mut Ipset::default(), Family::Ipv4, "f", before, options).unwrap();
    let text = "*filter\n-A INPUT -j DROP\nCOMMIT\n*nat\n:NEW -\n-A PREROUTING -j NEW\n-A PREROUTING -j NONE\nCOMMIT\n";
    let error = xtables.restore(&mut Ipset::default(), Family::Ipv4, "f", text, options).unwrap_err();
    assert_eq!((error.kind, error.line, error.column), (RuleErrorKind::NoSuchChain, 7, 18));
    let saved = xtables.save(Family::Ipv4, false);
    assert!(saved.contains("-A INPUT -j DROP\n"), "{saved}");
    assert!(saved.contains("-A PREROUTING -p udp\n") && !saved.contains("NEW"), "{saved}");
}
