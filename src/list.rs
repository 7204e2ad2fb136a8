//! `hairpin list`.

use crate::cli::ListArgs;
use crate::exit::{Exit, Stop};
use conformance::prepare::{Prepared, prepare};
use conformance::suite::{SCENARIOS, coverage};
use std::io::Write;

pub(crate) fn run(_: &ListArgs, out: &mut dyn Write) -> Result<Exit, Stop> {
    // A test of the suite ensures that all of them are valid.
    let scenarios: Vec<(&str, Prepared)> = SCENARIOS
        .iter()
        .filter_map(|built_in| Some((built_in.name, prepare(built_in.load()).ok()?)))
        .collect();
    writeln!(out, "scenarios, in reading order")?;
    let width = width(scenarios.iter().map(|(name, _)| *name));
    for (name, prepared) in &scenarios {
        writeln!(out, "  {name:width$}  {}", prepared.scenario.intent)?;
    }
    requirements(out)?;
    Ok(Exit::AsExpected)
}

fn requirements(out: &mut dyn Write) -> Result<(), Stop> {
    let coverage = coverage();
    writeln!(out, "\nrequirements and the scenarios that cover them")?;
    let width = width(coverage.keys().map(String::as_str));
    for (requirement, names) in &coverage {
        writeln!(out, "  {requirement:width$}  {}", names.join(", "))?;
    }
    Ok(())
}

fn width<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(str::len).max().unwrap_or_default()
}
