//! `hairpin list`.

use crate::cli::ListArgs;
use crate::exit::{Exit, Stop};
use crate::library::BUILT_IN;
use conformance::diagnostic::Source;
use conformance::manifest;
use conformance::scenario::Scenario;
use std::collections::BTreeMap;
use std::io::Write;

pub(crate) fn run(_: &ListArgs, out: &mut dyn Write) -> Result<Exit, Stop> {
    let scenarios: Vec<(&str, Scenario)> =
        BUILT_IN.iter().flat_map(|(name, text)| read(name, text).map(|scenario| (*name, scenario))).collect();
    writeln!(out, "scenarios")?;
    let width = scenarios.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, scenario) in &scenarios {
        writeln!(out, "  {name:width$}  {}", scenario.intent)?;
    }
    let mut covered: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, scenario) in &scenarios {
        for requirement in &scenario.requirements {
            covered.entry(requirement).or_default().push(name);
        }
    }
    writeln!(out, "\nrequirements, and the scenarios that cover them")?;
    let width = covered.keys().map(|name| name.len()).max().unwrap_or_default();
    for (requirement, names) in &covered {
        writeln!(out, "  {requirement:width$}  {}", names.join(", "))?;
    }
    Ok(Exit::AsExpected)
}

/// The scenario of a built-in file. A test reads them all, so that none is missing here.
fn read(name: &str, text: &str) -> Option<Scenario> {
    let source = Source { name: name.to_owned(), text: text.to_owned() };
    let mut manifests = manifest::load(vec![source]);
    manifests.scenarios.pop().map(|loaded| loaded.scenario)
}

#[test]
fn every_built_in_file_is_a_scenario_of_its_own_name() {
    for (name, text) in BUILT_IN {
        let scenario = read(name, text).unwrap_or_else(|| panic!("{name} is no scenario"));
        assert_eq!(scenario.name, name.rsplit('/').next().unwrap_or(name));
    }
}
