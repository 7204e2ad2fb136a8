//! Runs every built-in scenario with raw packets or name resolution on this machine's kernel beside the simulator, with
//! both back ends of iptables.

#[path = "support/back_ends.rs"]
mod back_ends;

use back_ends::{back_ends, run};
use conformance::diagnostic::Source;
use conformance::manifest;
use conformance::prepare::{PreparedAction, prepare};
use conformance::scenario::ProxyMode;
use conformance::suite::{SCENARIOS, find};

#[test]
fn scripts_and_names_go_alike_on_the_kernel_and_on_the_simulator() {
    for backend in back_ends("scripts and names") {
        let mut count = 0;
        for scenario in &SCENARIOS {
            let prepared = prepare(scenario.load()).expect("a built-in scenario");
            let has_script = |action: &PreparedAction| {
                matches!(action, PreparedAction::Script(_) | PreparedAction::Resolve(_))
            };
            // Other modes need what this machine's kernel may lack; `--against vm` runs them.
            let runs_here = prepared.modes.contains(&ProxyMode::Iptables);
            if !runs_here || !prepared.steps.iter().any(|step| has_script(&step.action)) {
                continue;
            }
            count += 1;
            let (failures, differences) = run(&prepared, backend);
            let wrong = [failures, differences].concat();
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
    for backend in back_ends("scripts and names") {
        assert_eq!(run(&long, backend), (Vec::new(), Vec::new()), "{backend}");
        let (failures, disagreements) = run(&many, backend);
        assert_eq!(disagreements, Vec::<String>::new(), "{backend}");
        let truncated = "found a truncated response with the first 29 addresses";
        let count = failures.iter().filter(|failure| failure.contains(truncated)).count();
        assert_eq!((count, failures.len()), (3, 3), "{backend}: {failures:#?}");
    }
}
