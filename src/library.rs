//! Finding scenarios: a path, a name in `./scenarios`, or a name built into the binary, in this order.

use crate::exit::Stop;
use conformance::diagnostic::Source;
use conformance::suite;
use std::fs;
use std::path::{Path, PathBuf};

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
    match suite::find(argument) {
        Some(scenario) => Ok(Source { name: scenario.file(), text: scenario.text.to_owned() }),
        None => Err(not_found(argument, given)),
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

fn not_found(argument: &str, given: &Path) -> Stop {
    if given.is_dir() {
        return Stop::bad_input(format!(
            "error: {argument} is a folder\nhelp: name the files in it, such as {argument}/*.yaml"
        ));
    }
    let help = match suite::suggestion(argument) {
        Some(name) => format!("did you mean {name}?"),
        None => "`hairpin list` shows every scenario".to_owned(),
    };
    Stop::bad_input(format!(
        "error: there is no {argument}: no such file, and no scenario of that name in {FOLDER}/ or built in\n\
         help: {help}"
    ))
}
