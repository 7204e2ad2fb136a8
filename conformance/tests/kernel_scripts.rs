//! Runs every built-in scenario with raw packets or name resolution on this machine's kernel beside the simulator, with
//! both back ends of iptables.

use std::io::{Write, stderr};

use conformance::arm::kernel::KernelArm;
use conformance::backend::Backend;
use conformance::diagnostic::Source;
use conformance::manifest;
use conformance::prepare::{Prepared, PreparedAction, prepare};
use conformance::runner::{RunOptions, run_against_kernel};
use conformance::suite::{SCENARIOS, find};

/// Back ends that this machine has; missing prerequisites are printed.
fn back_ends() -> Vec<Backend> {
    let has = |backend: &Backend| {
        let lacks = KernelArm::lacks(*backend);
        let is_required = std::env::var("HAIRPIN_KERNEL").is_ok_and(|value| value == "required");
        assert!(lacks.is_empty() || !is_required, "the kernel is required: {lacks:?}");
        if !lacks.is_empty() {
            // Not with `eprintln`, which the test harness captures.
            let _ =
                writeln!(stderr(), "SKIPPED scripts and names by iptables-{backend}: {}", lacks.join("; "));
        }
        lacks.is_empty()
    };
    Backend::ALL.into_iter().filter(has).collect()
}

/// Failed expectations and differences of a run on the kernel.
fn run(prepared: &Prepared, backend: Backend) -> (Vec<String>, Vec<String>) {
    let options = RunOptions::new(prepared.modes[0]);
    let result = run_against_kernel(prepared, &options, backend).expect("it runs").result;
    let failures = result.steps.iter().flat_map(|step| &step.failures).map(ToString::to_string);
    (failures.collect(), result.disagreements.iter().map(ToString::to_string).collect())
}

#[test]
fn scripts_and_names_go_alike_on_the_kernel_and_on_the_simulator() {
    for backend in back_ends() {
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
            let (failures, disagreements) = run(&prepared, backend);
            let wrong = [failures, disagreements].concat();
            assert!(wrong.is_empty(), "{} by {backend}:\n{}", scenario.name, wrong.join("\n"));
        }
        assert!(count >= 7, "{count} scenarios do so");
    }
}

#[test]
fn answers_about_names_go_alike_whatever_their_length() {
    let dns = find("dns").expect("a built-in scenario").text;
    // Pods with names of maximum length, and more endpoints than fit into a datagram.
    let long =
        dns.replace("coredns", &["n".repeat(63), "n".repeat(63), "n".repeat(63), "n".repeat(59)].join("."));
    let more = (2..32).map(|number| {
        format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: db-{number}, namespace: data, labels: {{app: db}}}}\nspec: {{nodeName: node-1}}\n")
    });
    let many = format!("{dns}{}", more.collect::<String>());
    let prepared = |text: String| {
        let source = Source { name: "dns.yaml".to_owned(), text };
        prepare(manifest::load(vec![source])).unwrap_or_else(|refused| panic!("{refused:#?}"))
    };
    let (long, many) = (prepared(long), prepared(many));
    for backend in back_ends() {
        assert_eq!(run(&long, backend), (Vec::new(), Vec::new()), "{backend}");
        let (failures, disagreements) = run(&many, backend);
        assert_eq!(disagreements, Vec::<String>::new(), "{backend}");
        let truncated = "found a truncated response with the first 29 addresses";
        let count = failures.iter().filter(|failure| failure.contains(truncated)).count();
        assert_eq!((count, failures.len()), (3, 3), "{backend}: {failures:#?}");
    }
}
