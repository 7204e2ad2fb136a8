//! Text written by the real kube-proxy and printed back by a real kernel; printing is a fixed point of parsing.

use crate::hook::Family;
use crate::ipset::Ipset;
use crate::xtables::{RestoreOptions, RuleErrorKind, Xtables};

/// The jumps that kube-proxy v1.31 installs.
const JUMPS: &str = include_str!("recordings/jumps.txt");

/// Session affinity, and local endpoints only: the input of `iptables-restore` from kube-proxy v1.31.
pub(super) const AFFINITY: &str = include_str!("recordings/029-restore.txt");

/// The same rules as printed by the kernel.
pub(super) const SAVED: &str = include_str!("recordings/029-save.txt");

/// The input of `iptables-restore` from kube-proxy v1.31, and the output of `iptables-save` 1.8.9 on Linux 6.18.
const RECORDINGS: [(Family, &str, &str); 4] = [
    // A LoadBalancer with source ranges.
    (Family::Ipv4, include_str!("recordings/013-restore.txt"), include_str!("recordings/013-save.txt")),
    (Family::Ipv4, AFFINITY, SAVED),
    // SCTP, with a node port.
    (Family::Ipv4, include_str!("recordings/039-restore.txt"), include_str!("recordings/039-save.txt")),
    // IPv6.
    (Family::Ipv6, include_str!("recordings/043-restore6.txt"), include_str!("recordings/043-save6.txt")),
];

/// A netns with the jumps of kube-proxy.
pub(super) fn with_jumps(family: Family) -> Xtables {
    let tool = match family {
        Family::Ipv4 => "iptables ",
        Family::Ipv6 | Family::Bridge => "ip6tables ",
    };
    let mut xtables = Xtables::default();
    for (number, line) in (1..).zip(JUMPS.lines()).filter(|(_, line)| line.starts_with(tool)) {
        match xtables.command(&mut Ipset::default(), "jumps.txt", number, line) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind, RuleErrorKind::ChainExists, "{error}"),
        }
    }
    xtables
}

#[test]
fn recordings_of_kube_proxy_are_printed_as_the_kernel_printed_them() {
    for (family, restored, saved) in RECORDINGS {
        let mut xtables = with_jumps(family);
        let options = RestoreOptions { noflush: true, counters: true };
        xtables.restore(&mut Ipset::default(), family, "restore.txt", restored, options).unwrap();
        let expected: String =
            saved.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        for (printed, expected) in xtables.save(family, false).lines().zip(expected.lines()) {
            assert_eq!(printed, expected);
        }
        assert_eq!(xtables.save(family, false).lines().count(), expected.lines().count());
        let mut again = Xtables::default();
        again
            .restore(&mut Ipset::default(), family, "save.txt", &expected, RestoreOptions::default())
            .unwrap();
        assert_eq!(again.save(family, false), expected, "printing is a fixed point of parsing");
    }
}

#[test]
fn odd_device_names_read_back() {
    let rules = [
        "-A FORWARD -i \"a b\" -j ACCEPT",
        "-A FORWARD ! -o \"a\\\"b\" -j ACCEPT",
        "-A FORWARD -i \"a\\\\b\" -o eth0.100 -j ACCEPT",
        "-A FORWARD -i br-+ -m physdev --physdev-in \"p 1\" -j ACCEPT",
    ];
    let text = format!("*filter\n{}\nCOMMIT\n", rules.join("\n"));
    let read = |text: &str| {
        let mut xtables = Xtables::default();
        let options = RestoreOptions::default();
        xtables.restore(&mut Ipset::default(), Family::Ipv4, "rules.txt", text, options).unwrap();
        xtables.save(Family::Ipv4, false)
    };
    let saved = read(&text);
    assert_eq!(saved.lines().filter(|line| line.starts_with("-A")).collect::<Vec<_>>(), rules);
    assert_eq!(read(&saved), saved);
}
