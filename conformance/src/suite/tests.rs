use std::collections::BTreeSet;
use std::path::Path;

use sim::trace::Level;

use super::*;
use crate::diagnostic::{Style, render};
use crate::prepare::{Prepared, prepare};
use crate::result::Failure;
use crate::runner::{RunOptions, run_all_sim, run_twice_sim};
use crate::scenario::{Cni, ModeChoice};

fn prepared(scenario: &BuiltIn) -> Prepared {
    prepare(scenario.load()).unwrap_or_else(|refused| {
        panic!("{}", render(&refused.diagnostics, &refused.sources, Style::Plain));
    })
}

/// Every built-in scenario in every mode that it supports.
fn all_cases(prepared: &[Prepared], seed: u64, level: Level) -> Vec<(&Prepared, RunOptions)> {
    let modes = |prepared: &Prepared| prepared.modes_for(ModeChoice::All).unwrap();
    let case = |prepared, mode| (prepared, RunOptions { seed, level, ..RunOptions::new(mode) });
    prepared.iter().flat_map(|one| modes(one).into_iter().map(move |mode| case(one, mode))).collect()
}

#[test]
fn every_scenario_passes_in_every_mode_and_repeats_exactly() {
    let prepared = SCENARIOS.each_ref().map(prepared);
    for seed in [0, 1] {
        let cases = all_cases(&prepared, seed, Level::Everything);
        let first = run_all_sim(&cases);
        for run in &first {
            let result = &run.as_ref().unwrap().result;
            let failures = result.steps.iter().flat_map(|step| {
                step.failures.iter().map(move |failure| format!("  {}: {failure}\n", step.name))
            });
            let failures: String = failures.collect();
            assert_eq!(failures, "", "{} in mode {} with seed {seed}", result.scenario, result.mode);
        }
        assert_eq!(run_all_sim(&cases), first);
    }
}

#[test]
fn routed_veths_behave_as_bridges_do() {
    // Scenarios that do not depend on the bridge.
    let names = [
        "clusterip",
        "clusterip-three-endpoints",
        "clusterip-from-node",
        "nodeport-cluster",
        "nodeport-local",
        "nodeport-on-localhost",
        "external-ip",
        "internal-local",
        "hairpin-veth",
        "udp-removed-endpoint",
    ];
    for name in names {
        let text = find(name).unwrap().text;
        let text = if text.contains("  network:\n") {
            text.replacen("  network:\n", "  network:\n    cni: ptp\n", 1)
        } else if text.contains("  network: {") {
            text.replacen("  network: {", "  network: {cni: ptp, ", 1)
        } else {
            text.replacen("  steps:\n", "  network: {cni: ptp}\n  steps:\n", 1)
        };
        let prepared = prepare(manifest::load(vec![Source { name: name.into(), text }])).unwrap();
        assert_eq!(prepared.cluster.cni(), Cni::Ptp);
        let result = run_twice_sim(&prepared, &RunOptions::new(prepared.modes[0])).unwrap().result;
        let failures: Vec<_> = result.steps.iter().flat_map(|step| &step.failures).collect();
        assert_eq!(failures, Vec::<&Failure>::new(), "{name}");
    }
}

#[test]
fn scenarios_hold_without_recording_as_well() {
    let prepared = SCENARIOS.each_ref().map(prepared);
    for run in run_all_sim(&all_cases(&prepared, 0, Level::Nothing)) {
        let result = run.unwrap().result;
        assert!(result.passed(), "{}", result.scenario);
    }
}

#[test]
fn the_list_is_the_folder() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut files = BTreeSet::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let name = path.strip_prefix(&folder).unwrap().with_extension("");
                files.insert(name.to_str().unwrap().to_owned());
            }
        }
    }
    let listed: BTreeSet<String> = SCENARIOS.map(|scenario| scenario.name.to_owned()).into();
    assert_eq!(listed, files);
}

#[test]
fn every_scenario_is_a_lesson_without_warnings() {
    for scenario in &SCENARIOS {
        let prepared = prepared(scenario);
        assert_eq!(prepared.warnings, [], "{}", scenario.name);
        let own_name = scenario.name.rsplit('/').next().unwrap();
        assert_eq!(prepared.scenario.name, own_name);
        assert!(!prepared.scenario.requirements.is_empty(), "{}", scenario.name);
        assert!(scenario.text.starts_with("# "), "{} begins with an explanation", scenario.name);
    }
}

#[test]
fn scenarios_are_found_by_name_file_or_path() {
    for name in
        ["nodeport-local", "nodeport-local.yaml", "nodeport-local.yml", "scenarios/nodeport-local.yaml"]
    {
        assert_eq!(find(name).map(|scenario| scenario.name), Some("nodeport-local"), "{name}");
    }
    assert_eq!(find("nodeport"), None);
    assert_eq!(suggestion("nodeport-locla.yaml"), Some("nodeport-local"));
    assert_eq!(suggestion("xyzzy"), None);
}

#[test]
fn coverage_is_known() {
    let coverage = coverage();
    assert_eq!(coverage["service.hairpin"], ["hairpin-veth", "hairpin-off"]);
    let words: Vec<String> = coverage
        .iter()
        .map(|(requirement, scenarios)| format!("{requirement}: {}", scenarios.join(", ")))
        .collect();
    insta::assert_snapshot!(words.join("\n"));
}
