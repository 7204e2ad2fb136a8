//! Finds scenarios: by path, by name in `./scenarios`, then by the name of a built-in one.

use crate::exit::Stop;
use conformance::diagnostic::Source;
use conformance::suite;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder searched for scenario names, relative to the current folder.
const FOLDER: &str = "scenarios";

/// Finds and reads a scenario. The name of the source is the one the user knows it by.
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
    match suite::find(argument) {
        Some(scenario) => Ok(Source { name: scenario.file(), text: scenario.text.to_owned() }),
        None => Err(not_found(argument, given)),
    }
}

/// Reads a file; the source is named after its path.
pub(crate) fn read(path: &Path) -> Result<Source, Stop> {
    let name = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => Ok(Source { name, text }),
        Err(error) => Err(Stop::bad_input(format!("error: cannot read {name}: {error}"))),
    }
}

fn not_found(argument: &str, given: &Path) -> Stop {
    if given.is_dir() {
        return Stop::bad_input(format!(
            "error: {argument} is a folder\nhelp: name its files, for example {argument}/*.yaml"
        ));
    }
    let help = match suite::suggestion(argument) {
        Some(name) => format!("did you mean {name}?"),
        None => "run `hairpin list` to see all scenarios".to_owned(),
    };
    Stop::bad_input(format!(
        "error: no scenario {argument}: there is no such file, and no scenario of that name in {FOLDER}/ or built in\n\
         help: {help}"
    ))
}
