//! Texts: what real kube-proxy wrote and how a real kernel printed it back, and printing as a fixed point of reading.

use crate::hook::Family;
use crate::ipset::Ipset;
use crate::xtables::{RestoreOptions, RuleErrorKind, Xtables};

/// How kube-proxy v1.31 installs its jumps.
const JUMPS: &str = include_str!("recordings/jumps.txt");

/// Session affinity, and endpoints of one node only: what kube-proxy v1.31 gave `iptables-restore`.
pub(super) const AFFINITY: &str = include_str!("recordings/029-restore.txt");

/// How the kernel printed that back.
pub(super) const SAVED: &str = include_str!("recordings/029-save.txt");

/// What kube-proxy v1.31 gave `iptables-restore`, and what `iptables-save` 1.8.9 printed then on Linux 6.18.
const RECORDINGS: [(Family, &str, &str); 4] = [
    // A LoadBalancer with source ranges.
    (Family::Ipv4, include_str!("recordings/013-restore.txt"), include_str!("recordings/013-save.txt")),
    (Family::Ipv4, AFFINITY, SAVED),
    // SCTP, with a node port.
    (Family::Ipv4, include_str!("recordings/039-restore.txt"), include_str!("recordings/039-save.txt")),
    // IPv6.
    (Family::Ipv6, include_str!("recordings/043-restore6.txt"), include_str!("recordings/043-save6.txt")),
];

/// A netns in which kube-proxy has installed its jumps.
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
        assert_eq!(again.save(family, false), expected, "printing is a fixed point of reading");
    }
}
