//! Clusters as people have them: each file of `cases/` is read and run. What hairpin says about it, and what clients observe,
//! is in a snapshot; expectations of its steps hold, on the kernel as well.

#[path = "../support/back_ends.rs"]
mod back_ends;

use std::fmt::Write as _;
use std::fs;

use back_ends::{back_ends, run};
use conformance::diagnostic::{Source, Style, render};
use conformance::manifest;
use conformance::prepare::{Prepared, prepare};
use conformance::runner::{RunOptions, run_sim};
use conformance::scenario::ModeChoice;

/// Files with their names, in order.
fn cases() -> Vec<Source> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clusters/cases");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let source = |path: &std::path::PathBuf| Source {
        name: path.file_name().expect("a name").to_string_lossy().into_owned(),
        text: fs::read_to_string(path).expect("a file"),
    };
    paths.iter().map(source).collect()
}

/// Warnings, and the outcome of every connection; or why the file is refused.
fn told(prepared: &Prepared) -> String {
    let mut text = render(&prepared.warnings, &prepared.sources, Style::Plain);
    for mode in prepared.modes_for(ModeChoice::Named).expect("an available mode") {
        let result = run_sim(prepared, &RunOptions::new(mode)).expect("it runs").result;
        writeln!(text, "\nmode {mode}").expect("a string");
        for step in &result.steps {
            writeln!(text, "{}", step.name).expect("a string");
            for flow in &step.flows {
                let endpoint = flow.endpoint.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
                let source = flow.source_seen.map_or_else(|| "-".to_owned(), |source| source.to_string());
                writeln!(text, "  {:?} endpoint {endpoint} source {source}", flow.outcome).expect("a string");
            }
            for failure in &step.failures {
                writeln!(text, "  FAILED {failure}").expect("a string");
            }
        }
        assert!(result.passed(), "{}:\n{text}", prepared.scenario.name);
    }
    text
}

#[test]
fn what_is_said_and_observed() {
    for source in cases() {
        let name = source.name.trim_end_matches(".yaml").to_owned();
        let text = match prepare(manifest::load(vec![source])) {
            Ok(prepared) => told(&prepared),
            Err(refused) => {
                format!("refused\n\n{}", render(&refused.diagnostics, &refused.sources, Style::Plain))
            }
        };
        insta::assert_snapshot!(name, text.trim());
    }
}

#[test]
fn a_kernel_agrees() {
    for backend in back_ends("clusters") {
        for prepared in cases().into_iter().filter_map(|source| prepare(manifest::load(vec![source])).ok()) {
            let (failures, differences) = run(&prepared, backend);
            let wrong = [failures, differences].concat();
            assert!(wrong.is_empty(), "{} by {backend}:\n{}", prepared.scenario.name, wrong.join("\n"));
        }
    }
}
