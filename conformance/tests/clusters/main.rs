//! Clusters as people have them.
//!
//! Each file of `cases/` is read and run. What hairpin says about it, and what clients observe, is in a snapshot; expectations
//! of its steps hold, on the kernel as well. Files of `rendered/` are manifests without a scenario, for which a snapshot has
//! the rules.

#[path = "../support/back_ends.rs"]
mod back_ends;

use std::fmt::Write as _;
use std::fs;

use back_ends::{back_ends, run};
use conformance::diagnostic::{Source, Style, render};
use conformance::manifest;
use conformance::prepare::{Prepared, prepare, settle};
use conformance::proxy::Planner;
use conformance::runner::{RunOptions, run_sim};
use conformance::scenario::{ModeChoice, ProxyMode};
use proxy_core::generator::Generator;
use proxy_core::load::Load;
use proxy_core::objects::IpFamily;
use proxy_core::version::KubeProxyVersion;

/// The files of a folder with their names, in order.
fn files(folder: &str) -> Vec<Source> {
    let folder = format!("{}/tests/clusters/{folder}", env!("CARGO_MANIFEST_DIR"));
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
    let modes = match prepared.modes_for(ModeChoice::Named) {
        Ok(modes) => modes,
        Err(error) => return format!("{text}\nrefused: {error}"),
    };
    for mode in modes {
        let result = run_sim(prepared, &RunOptions::new(mode)).expect("it runs").result;
        writeln!(text, "\nmode {mode}").expect("a string");
        for step in &result.steps {
            writeln!(text, "{}", step.name).expect("a string");
            for flow in &step.flows {
                let endpoint = flow.endpoint.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
                let source = flow.source_seen.map_or_else(|| "-".to_owned(), |source| source.to_string());
                let answered = flow.answered.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
                writeln!(text, "  {:?} endpoint {endpoint} source {source}{answered}", flow.outcome)
                    .expect("a string");
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
    for source in files("cases") {
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
fn rules_of_dumps() {
    for source in files("rendered") {
        let name = format!("rules_of_{}", source.name.trim_end_matches(".yaml"));
        let (cluster, warnings, sources) = settle(manifest::load(vec![source])).unwrap_or_else(|refused| {
            panic!("{}", render(&refused.diagnostics, &refused.sources, Style::Plain));
        });
        let mut text = render(&warnings, &sources, Style::Plain);
        let planner = Planner::new(&cluster).expect("valid objects");
        for node in cluster.nodes() {
            let plan = planner.plan(node, IpFamily::V4, KubeProxyVersion::default()).expect("a plan");
            for load in Generator::Iptables.load(&plan) {
                if let Load::Text { text: rules, .. } = load {
                    let of_services =
                        rules.lines().filter(|line| line.contains("default/web") || line.contains("10."));
                    for line in of_services {
                        writeln!(text, "{line}").expect("a string");
                    }
                }
            }
        }
        insta::assert_snapshot!(name, text.trim());
    }
}

#[test]
fn a_kernel_agrees() {
    for backend in back_ends("clusters") {
        // IPVS mode needs a module that containers do not have.
        let runs =
            |prepared: &Prepared| prepared.modes_for(ModeChoice::Named) == Ok(vec![ProxyMode::Iptables]);
        let prepared =
            files("cases").into_iter().filter_map(|source| prepare(manifest::load(vec![source])).ok());
        for prepared in prepared.filter(runs) {
            let (failures, differences) = run(&prepared, backend);
            let wrong = [failures, differences].concat();
            assert!(wrong.is_empty(), "{} by {backend}:\n{}", prepared.scenario.name, wrong.join("\n"));
        }
    }
}
