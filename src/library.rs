//! Finding scenarios: a path, a name in `./scenarios`, or a name built into the binary, in this order.

use crate::exit::Stop;
use conformance::diagnostic::Source;
use std::fs;
use std::path::{Path, PathBuf};

/// Scenarios that are built in, by name, sorted: `nodeport-local`, `incidents/…`.
pub(crate) const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));

/// Where scenarios are looked for by name, from the current folder.
const FOLDER: &str = "scenarios";

/// Finds a scenario and reads it. The source has the name under which the user will look for it.
pub(crate) fn find(argument: &str) -> Result<Source, Stop> {
    let given = Path::new(argument);
    if given.is_file() {
        return read(given);
    }
    let name = argument.strip_suffix(".yaml").unwrap_or(argument);
    let in_folder = PathBuf::from(FOLDER).join(format!("{name}.yaml"));
    if in_folder.is_file() {
        return read(&in_folder);
    }
    let is_meant = |known: &str| known == name || known.rsplit('/').next() == Some(name);
    match BUILT_IN.iter().find(|(known, _)| is_meant(known)) {
        Some((known, text)) => Ok(Source { name: format!("{known}.yaml"), text: (*text).to_owned() }),
        None => Err(not_found(argument, name, given)),
    }
}

/// Reads a file under its own name.
pub(crate) fn read(path: &Path) -> Result<Source, Stop> {
    let name = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => Ok(Source { name, text }),
        Err(error) => Err(Stop::bad_input(format!("error: {name} cannot be read: {error}"))),
    }
}

fn not_found(argument: &str, name: &str, given: &Path) -> Stop {
    if given.is_dir() {
        return Stop::bad_input(format!(
            "error: {argument} is a folder\nhelp: name the files in it, such as {argument}/*.yaml"
        ));
    }
    let near = near_names(name);
    let help = match near.as_slice() {
        [] => "`hairpin list` shows every scenario".to_owned(),
        near => format!("did you mean {}?", near.join(" or ")),
    };
    Stop::bad_input(format!(
        "error: there is no {argument}: no such file, and no scenario of that name in {FOLDER}/ or built in\nhelp: {help}"
    ))
}

/// Up to three names that could have been meant, nearest first.
fn near_names(name: &str) -> Vec<&'static str> {
    const SIMILARITY_MIN: f64 = 0.75;
    const COUNT_MAX: usize = 3;
    let similarity = |known: &str| {
        let last = known.rsplit('/').next().unwrap_or(known);
        strsim::jaro_winkler(name, known).max(strsim::jaro_winkler(name, last))
    };
    let mut near: Vec<(f64, &str)> = BUILT_IN
        .iter()
        .map(|(known, _)| (similarity(known), *known))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .collect();
    near.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    near.into_iter().take(COUNT_MAX).map(|(_, known)| known).collect()
}
