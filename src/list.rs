//! `hairpin list`.

use crate::cli::ListArgs;
use crate::exit::{Exit, Stop};
use conformance::prepare::{Prepared, prepare};
use conformance::suite::SCENARIOS;
use std::collections::BTreeMap;
use std::io::Write;

pub(crate) fn run(_: &ListArgs, out: &mut dyn Write) -> Result<Exit, Stop> {
    // A test of the suite says that all of them can be prepared.
    let scenarios: Vec<(&str, Prepared)> = SCENARIOS
        .iter()
        .filter_map(|built_in| Some((built_in.name, prepare(built_in.load()).ok()?)))
        .collect();
    writeln!(out, "scenarios, in the order of a course")?;
    let width = width(scenarios.iter().map(|(name, _)| *name));
    for (name, prepared) in &scenarios {
        writeln!(out, "  {name:width$}  {}", prepared.scenario.intent)?;
    }
    requirements(&scenarios, out)?;
    Ok(Exit::AsExpected)
}

fn requirements(scenarios: &[(&str, Prepared)], out: &mut dyn Write) -> Result<(), Stop> {
    let mut covered: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, prepared) in scenarios {
        for requirement in &prepared.scenario.requirements {
            covered.entry(requirement).or_default().push(name);
        }
    }
    writeln!(out, "\nrequirements, and the scenarios that cover them")?;
    let width = width(covered.keys().copied());
    for (requirement, names) in &covered {
        writeln!(out, "  {requirement:width$}  {}", names.join(", "))?;
    }
    Ok(())
}

fn width<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(str::len).max().unwrap_or_default()
}
