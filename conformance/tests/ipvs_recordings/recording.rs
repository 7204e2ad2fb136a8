//! Reads recordings.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the recordings: that of `IPVS_RECORDINGS`, else the excerpt of the project.
pub(crate) fn folder() -> PathBuf {
    let excerpt = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ipvs-recordings");
    std::env::var_os("IPVS_RECORDINGS").map_or_else(excerpt, PathBuf::from)
}

/// The rows of a file of JSON lines.
///
/// # Panics
/// If there is none, or no file.
pub(crate) fn rows(name: &str) -> Vec<Value> {
    rows_where(name, |_| true)
}

/// The rows of a file that are meant.
///
/// # Panics
/// If there is none, or no file.
pub(crate) fn rows_where(name: &str, is_meant: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut rows = read(name);
    rows.retain(is_meant);
    assert!(!rows.is_empty(), "no row was read");
    rows
}

fn read(name: &str) -> Vec<Value> {
    let path = folder().join(name);
    let Ok(text) = fs::read_to_string(&path) else { return Vec::new() };
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{}:{}: {error}", path.display(), number + 1))
    };
    text.lines().enumerate().map(parse).collect()
}

/// The names of the files in a folder of the recordings, sorted.
pub(crate) fn files(folder_name: &str) -> Vec<String> {
    let entries = fs::read_dir(folder().join(folder_name)).expect("the folder exists");
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A text field.
pub(crate) fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_else(|| panic!("{field} in {row}"))
}

/// A field that is a number; 0 if it is missing.
pub(crate) fn number(row: &Value, field: &str) -> u32 {
    u32::try_from(row[field].as_u64().unwrap_or(0)).unwrap()
}
