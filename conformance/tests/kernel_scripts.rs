//! Every built-in scenario that sends raw packets or resolves names, on this machine's kernel beside the simulator, by both back ends of
//! iptables.

use std::io::{Write, stderr};

use conformance::arm::kernel::{Backend, KernelArm};
use conformance::prepare::{PreparedAction, prepare};
use conformance::runner::{RunOptions, run_against_kernel};
use conformance::suite::SCENARIOS;

#[test]
fn scripts_and_names_go_alike_on_the_kernel_and_on_the_simulator() {
    for backend in Backend::ALL {
        let lacks = KernelArm::lacks(backend);
        if !lacks.is_empty() {
            let is_required = std::env::var("HAIRPIN_KERNEL").is_ok_and(|value| value == "required");
            assert!(!is_required, "the kernel is required: {lacks:?}");
            // Not by `eprintln`, which the test harness captures.
            let _ =
                writeln!(stderr(), "SKIPPED scripts and names by iptables-{backend}: {}", lacks.join("; "));
            continue;
        }
        let mut count = 0;
        for scenario in &SCENARIOS {
            let prepared = prepare(scenario.load()).expect("a built-in scenario");
            let has_script = |action: &PreparedAction| {
                matches!(action, PreparedAction::Script(_) | PreparedAction::Resolve(_))
            };
            if !prepared.steps.iter().any(|step| has_script(&step.action)) {
                continue;
            }
            count += 1;
            let options = RunOptions::new(prepared.modes[0]);
            let result = run_against_kernel(&prepared, &options, backend).expect("it runs").result;
            let failures = result.steps.iter().flat_map(|step| &step.failures).map(ToString::to_string);
            let disagreements = result.disagreements.iter().map(ToString::to_string);
            let wrong: Vec<String> = failures.chain(disagreements).collect();
            assert!(wrong.is_empty(), "{} by {backend}:\n{}", scenario.name, wrong.join("\n"));
        }
        assert!(count >= 7, "{count} scenarios do so");
    }
}
