//! Finds scenarios: by path, by name in `./scenarios`, then by the name of a built-in one.

use crate::exit::Stop;
use conformance::diagnostic::{Position, Source};
use conformance::suite;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

/// The folder searched for scenario names, relative to the current folder.
const FOLDER: &str = "scenarios";

/// Finds and reads a scenario. The name of the source is the one the user knows it by.
pub(crate) fn find(argument: &str) -> Result<Source, Stop> {
    let given = Path::new(argument);
    // Not only files: `<(kubectl get …)` of a shell is a pipe.
    if given.exists() && !given.is_dir() {
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
    match File::open(path) {
        Ok(file) => text_of(name, file),
        Err(error) => Err(unreadable(&name, &error)),
    }
}

/// The maximum size of a text. The objects of the largest clusters take less; a device is endless.
const TEXT_BYTES_MAX: u64 = 256 << 20;

/// Reads a text completely.
pub(crate) fn text_of(name: String, reader: impl Read) -> Result<Source, Stop> {
    let mut bytes = Vec::new();
    reader.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&name, &error))?;
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return Err(Stop::bad_input(format!(
            "error: {name} has more than {} MiB\nhelp: split it, or omit objects other than Services and Pods",
            TEXT_BYTES_MAX >> 20
        )));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { name, text }),
        Err(error) => Err(not_utf8(&name, &error)),
    }
}

fn unreadable(name: &str, error: &io::Error) -> Stop {
    Stop::bad_input(format!("error: cannot read {name}: {error}"))
}

fn not_utf8(name: &str, error: &FromUtf8Error) -> Stop {
    let (before, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
    let Position { line, column } = Position::of(&String::from_utf8_lossy(before), before.len());
    let found = rest.first().map_or_else(String::new, |byte| format!(": found the byte {byte:#04x}"));
    Stop::bad_input(format!(
        "error: {name} is not text in UTF-8{found} at line {line}, column {column}\n\
         help: save it as UTF-8 without a byte order mark; `iconv -f UTF-16 -t UTF-8` converts text from Windows"
    ))
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
