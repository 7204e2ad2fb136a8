//! Common errors of simulators, one trap at a time: the same rules and frames in the simulator and in the kernel.
//! `docs/traps.md` describes each trap and names the test.
//!
//! Needs root, `unshare`, `bash`, `ip`, `bridge`, `conntrack`, `iptables-legacy` and `iptables-nft`. Without them the
//! simulator is compared only with its last verified transcripts, and the tests say so.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "../support/dut.rs"]
mod dut;
#[path = "../support/mutation.rs"]
mod mutation;
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

/// Runs a case in the simulator and in the kernel with both back ends of iptables. The common result is the snapshot.
fn check(name: &str, text: &str) {
    check_with(backends(), name, text);
}

/// Like [`check`] for cases in which `iptables-nft` differs: the simulator follows `iptables-legacy`, and `marks` are
/// lines of the other.
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
    mutation::select();
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

/// The back ends available on this machine.
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
                eprintln!("skipped: needs iptables-{}, found {said:?}", backend.name());
            }
            has
        };
        [Backend::Legacy, Backend::Nft].into_iter().filter(has).collect()
    })
}

/// A test of the test: a host that behaves differently is noticed.
#[test]
fn a_difference_is_noticed() {
    let case = Case::parse("eth0 < udp 10.0.0.2:4000 10.1.0.2:53");
    let other = Case::parse("eth0 < udp 10.0.0.2:4000 10.1.0.2:53 tos=4");
    for backend in backends() {
        assert!(case.judge(*backend, &other.simulate()).is_err());
    }
}
