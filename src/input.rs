//! Reads the inputs that the user names, and reports errors in them.

use crate::exit::Stop;
use crate::library;
use conformance::diagnostic::{Source, Style};
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// File name extensions of manifests.
const MANIFEST_EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// The texts of all inputs: files, manifests of folders, scenarios by name, or `-` for standard input.
pub(crate) fn sources(inputs: &[String]) -> Result<Vec<Source>, Stop> {
    let mut sources = Vec::new();
    for input in inputs {
        let path = Path::new(input);
        if input == "-" {
            sources.push(standard_input()?);
        } else if path.is_dir() {
            for file in manifests_of(path)? {
                sources.push(library::read(&file)?);
            }
        } else {
            sources.push(library::find(input)?);
        }
    }
    Ok(sources)
}

/// The scenarios that an argument names, each with the argument that selects it alone: a file, the files in and below a
/// folder, or a scenario by name.
pub(crate) fn scenarios(argument: &str) -> Result<Vec<(String, Source)>, Stop> {
    let path = Path::new(argument);
    if !path.is_dir() {
        return Ok(vec![(argument.to_owned(), library::find(argument)?)]);
    }
    let files = manifests_below(path)?;
    files.iter().map(|file| Ok((file.display().to_string(), library::read(file)?))).collect()
}

/// The text of a file, or of standard input for `-`.
pub(crate) fn text(input: &str) -> Result<Source, Stop> {
    if input == "-" { standard_input() } else { library::read(Path::new(input)) }
}

fn standard_input() -> Result<Source, Stop> {
    library::text_of("<stdin>".to_owned(), io::stdin().lock())
}

/// Manifests of a folder, ordered by name; subfolders are skipped, as in `kubectl apply -f`.
fn manifests_of(folder: &Path) -> Result<Vec<PathBuf>, Stop> {
    let (files, _folders) = manifests_and_folders(folder)?;
    some_manifests(folder, files)
}

/// Manifests in and below a folder, ordered by path.
fn manifests_below(folder: &Path) -> Result<Vec<PathBuf>, Stop> {
    let mut files = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        let (inside, folders) = manifests_and_folders(&next)?;
        files.extend(inside);
        waiting.extend(folders);
    }
    some_manifests(folder, files)
}

/// The manifests and subfolders of a folder. Symbolic links to files are followed, links to folders are not: they could
/// form a loop.
fn manifests_and_folders(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Stop> {
    let unreadable = |error| Stop::bad_input(format!("error: cannot read {}: {error}", folder.display()));
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if entry.file_type().map_err(unreadable)?.is_dir() {
            folders.push(path);
        } else if path.is_file() && MANIFEST_EXTENSIONS.contains(&extension) {
            files.push(path);
        }
    }
    Ok((files, folders))
}

fn some_manifests(folder: &Path, mut files: Vec<PathBuf>) -> Result<Vec<PathBuf>, Stop> {
    if files.is_empty() {
        let message = format!(
            "error: no manifests in {}\nhelp: manifests are files that end in .yaml, .yml or .json",
            folder.display()
        );
        return Err(Stop::bad_input(message));
    }
    files.sort();
    Ok(files)
}

/// Style of diagnostics on standard error.
pub(crate) fn diagnostic_style() -> Style {
    if io::stderr().is_terminal() { Style::Coloured } else { Style::Plain }
}

/// Prints a message that does not end the command.
pub(crate) fn warn(text: &str) {
    if !text.is_empty() {
        // A closed standard error loses nothing of importance.
        let _ = writeln!(anstream::stderr(), "{}", text.trim_end());
    }
}
