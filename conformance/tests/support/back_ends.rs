//! The back ends of iptables on which a test can run.

use std::io::{Write, stderr};

use conformance::arm::kernel::KernelArm;
use conformance::backend::Backend;
use conformance::prepare::Prepared;
use conformance::runner::{RunOptions, run_against_kernel};

/// Back ends that this machine has; missing prerequisites of `what` are printed.
pub(crate) fn back_ends(what: &str) -> Vec<Backend> {
    let has = |backend: &Backend| {
        let lacks = KernelArm::lacks(*backend);
        let is_required = std::env::var("HAIRPIN_KERNEL").is_ok_and(|value| value == "required");
        assert!(lacks.is_empty() || !is_required, "the kernel is required: {lacks:?}");
        if !lacks.is_empty() {
            // Not with `eprintln`, which the test harness captures.
            let _ = writeln!(stderr(), "SKIPPED {what} by iptables-{backend}: {}", lacks.join("; "));
        }
        lacks.is_empty()
    };
    Backend::ALL.into_iter().filter(has).collect()
}

/// Failed expectations and differences of a run on the kernel.
pub(crate) fn run(prepared: &Prepared, backend: Backend) -> (Vec<String>, Vec<String>) {
    let options = RunOptions::new(prepared.modes[0]);
    let result = run_against_kernel(prepared, &options, backend).expect("it runs").result;
    let failures = result.steps.iter().flat_map(|step| &step.failures).map(ToString::to_string);
    (failures.collect(), result.disagreements.iter().map(ToString::to_string).collect())
}
