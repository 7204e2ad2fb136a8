//! Helpers for tests of the kernel arm.

use std::io::{self, Write};

use super::lab::Lab;
use super::requirement::{always, missing};
use super::wiring::{LinkEnd, Wiring};
use sim::wire::MacAddr;

/// True if this machine can run labs. Otherwise prints what it lacks and which test was skipped; with
/// `HAIRPIN_KERNEL=required` in the environment, as in CI, the test fails instead.
pub(crate) fn can_run(test: &str) -> bool {
    let missing = missing(&always());
    for one in &missing {
        // Not with `eprintln`, which the test harness captures.
        let _ = writeln!(io::stderr(), "SKIPPED {test}: {one}");
    }
    let is_required = std::env::var("HAIRPIN_KERNEL").is_ok_and(|value| value == "required");
    assert!(missing.is_empty() || !is_required, "the kernel is required: {missing:?}");
    missing.is_empty()
}

/// Two namespaces `a` (10.0.0.1) and `b` (10.0.0.2), connected by their `eth0`.
pub(crate) fn pair() -> Lab {
    let lab = Lab::create(["a", "b"]).expect("a lab");
    let mut wiring = Wiring::default();
    let end = |node, last| LinkEnd { node, device: "eth0", mac: MacAddr([2, 0, 0, 0, 0, last]) };
    wiring.veth(end("a", 1), end("b", 2), None);
    for (node, address) in [("a", "10.0.0.1/24"), ("b", "10.0.0.2/24")] {
        wiring.begin(node);
        wiring.address(node, "eth0", address.parse().expect("a network"));
    }
    wiring.apply(&lab).expect("wired");
    lab
}
