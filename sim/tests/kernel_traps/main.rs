//! Where simulators commonly go wrong, one trap after the other: the same rules, the same frames, in the simulator and in the
//! kernel. `docs/traps.md` says what each trap is and which test pins it.
//!
//! Needs root, `unshare`, `bash`, `ip`, `bridge`, `conntrack`, `iptables-legacy` and `iptables-nft`. Without them the
//! simulator is compared with its last judged transcripts alone, and the tests say so.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "../support/dut.rs"]
mod dut;
#[path = "../support/netns.rs"]
mod netns;

mod arrival;
mod bridge;
mod conntrack;
mod fragments;
mod iptables;
mod nat;
mod reject;

use dut::{Backend, Case};

/// Runs a case on both sides, the kernel's with both back ends of iptables. What both did is the snapshot.
fn check(name: &str, text: &str) {
    check_with(backends(), name, text);
}

/// The same where `iptables-nft` does something else: the simulator follows `iptables-legacy`, and `marks` are lines that the
/// other wrote instead.
fn check_legacy(name: &str, text: &str, marks: &[&str]) {
    let has = |backend| backends().contains(&backend);
    check_with(if has(Backend::Legacy) { &[Backend::Legacy] } else { &[] }, name, text);
    if has(Backend::Nft) {
        let case = Case::parse(text);
        let report = case.judge(Backend::Nft, &case.simulate()).expect_err("iptables-nft differs");
        assert!(marks.iter().all(|mark| report.contains(mark)), "{name}, iptables-nft:\n{report}");
    }
}

fn check_with(backends: &[Backend], name: &str, text: &str) {
    let case = Case::parse(text);
    let ours = case.simulate();
    for backend in backends {
        if let Err(report) = case.judge(*backend, &ours) {
            panic!("{name}, iptables-{}:\n{report}", backend.name());
        }
        eprintln!("{name}: {} frames, iptables-{}", case.frames(&ours), backend.name());
    }
    insta::assert_snapshot!(name, case.transcript(&ours));
}

/// The back ends that this machine has.
fn backends() -> &'static [Backend] {
    use std::sync::OnceLock;
    static BACKENDS: OnceLock<Vec<Backend>> = OnceLock::new();
    BACKENDS.get_or_init(|| {
        if !netns::is_available() {
            return Vec::new();
        }
        let has = |backend: &Backend| {
            let probe =
                format!("ip -V && bridge -V && conntrack -L && iptables-{} -t nat -S", backend.name());
            let said = netns::run(&[vec![probe]]).concat().concat();
            let has = said.contains("-P POSTROUTING ACCEPT");
            if !has {
                eprintln!("skipped: iptables-{}, which says {said:?}", backend.name());
            }
            has
        };
        [Backend::Legacy, Backend::Nft].into_iter().filter(has).collect()
    })
}

/// A test of the test: a host that does something else is noticed.
#[test]
fn a_difference_is_noticed() {
    let case = Case::parse("eth0 < udp 10.0.0.2:4000 10.1.0.2:53");
    let other = Case::parse("eth0 < udp 10.0.0.2:4000 10.1.0.2:53 tos=4");
    for backend in backends() {
        assert!(case.judge(*backend, &other.simulate()).is_err());
    }
}
