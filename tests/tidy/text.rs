//! Text checks of files.

use crate::project::{File, Finding};

/// A limit, not a goal: files of this project have 100 to 400 lines.
const MAX_LINES: usize = 700;

/// Source files that are too long.
pub(crate) fn file_size(files: &[File]) -> Vec<Finding> {
    let is_large = |file: &&File| file.is_rust() && !file.is_test() && file.text.lines().count() > MAX_LINES;
    files
        .iter()
        .filter(is_large)
        .map(|file| file.found(file.text.lines().count(), format!("longer than {MAX_LINES} lines")))
        .collect()
}

/// Module `foo` is `foo.rs`, with its submodules in `foo/`.
pub(crate) fn mod_files(files: &[File]) -> Vec<Finding> {
    let is_mod = |file: &&File| file.path.ends_with("/mod.rs");
    files.iter().filter(is_mod).map(|file| file.found(1, "named mod.rs")).collect()
}

/// Markers of unfinished work, assembled here so that this file does not match.
const MARKERS: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("#[ig", "nore"),
];

/// Unfinished work, in any of our files.
pub(crate) fn left_for_later(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_ours = |file: &&File| file.is_rust() || file.path.ends_with(".md") || file.path.ends_with(".yaml");
    for file in files.iter().filter(is_ours) {
        for (number, line) in file.lines() {
            let marker = MARKERS.iter().find(|marker| is_word_in(line, marker));
            findings
                .extend(marker.map(|marker| file.found(number, format!("{marker} marks unfinished work"))));
        }
    }
    findings
}

fn is_word_in(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let is_part = |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '-');
        !is_part(line[..at].chars().next_back()) && !is_part(line[at + word.len()..].chars().next())
    })
}

/// A source file begins with a sentence about its purpose. Test files are described by their names.
pub(crate) fn module_docs(files: &[File]) -> Vec<Finding> {
    let lacks_docs = |file: &&File| file.is_rust() && !file.is_test() && !file.text.starts_with("//!");
    files.iter().filter(lacks_docs).map(|file| file.found(1, "does not begin with `//!`")).collect()
}

/// Home directories, and the directory of this checkout.
pub(crate) fn machine_paths(files: &[File]) -> Vec<Finding> {
    let homes = [concat!("/ho", "me/"), concat!("/Us", "ers/")];
    let here = env!("CARGO_MANIFEST_DIR");
    let mut findings = Vec::new();
    for file in files {
        for (number, line) in file.lines() {
            let is_named = homes.iter().any(|home| line.contains(home)) || line.contains(here);
            if is_named {
                findings.push(file.found(number, "names a path of a developer's machine"));
            }
        }
    }
    findings
}

/// Scenario files, by their folder.
fn is_scenario(file: &File) -> bool {
    file.path.starts_with("scenarios/") && file.path.ends_with(".yaml")
}

/// `intent:` followed by a sentence.
pub(crate) fn scenario_intent(files: &[File]) -> Vec<Finding> {
    let states_intent = |file: &File| {
        file.text.lines().any(|line| {
            line.trim_start().strip_prefix("intent:").is_some_and(|intent| intent.trim().len() >= 10)
        })
    };
    let lacks_intent = |file: &&File| is_scenario(file) && !states_intent(file);
    files.iter().filter(lacks_intent).map(|file| file.found(1, "has no `intent:`")).collect()
}

/// A chapter that the summary does not list is unreachable.
pub(crate) fn book_summary(files: &[File]) -> Vec<Finding> {
    let Some(summary) = files.iter().find(|file| file.path == "docs/src/SUMMARY.md") else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for file in files {
        let Some(chapter) = file.path.strip_prefix("docs/src/") else { continue };
        let is_listed = chapter == "SUMMARY.md" || summary.text.contains(&format!("({chapter})"));
        if chapter.ends_with(".md") && !is_listed {
            findings.push(file.found(1, "is not in SUMMARY.md"));
        }
    }
    findings
}

/// The findings of a check in a file, as `line: message`.
fn check(check: fn(&[File]) -> Vec<Finding>, path: &str, text: &str) -> Vec<String> {
    check(&[File::new(path, text)]).iter().map(|found| found.to_string().replace(path, "")).collect()
}

#[test]
fn a_large_file_is_found_unless_it_is_a_test() {
    let text = "\n".repeat(MAX_LINES + 1);
    assert_eq!(check(file_size, "sim/src/x.rs", &text), [":701: longer than 700 lines"]);
    assert!(check(file_size, "sim/src/x/tests.rs", &text).is_empty());
    assert!(check(file_size, "sim/src/x.rs", &"\n".repeat(MAX_LINES)).is_empty());
}

#[test]
fn names_and_markers_are_found() {
    assert_eq!(check(mod_files, "sim/src/x/mod.rs", "").len(), 1);
    assert!(check(mod_files, "sim/src/mode.rs", "").is_empty());
    for marker in MARKERS {
        assert_eq!(check(left_for_later, "sim/src/x.rs", &format!("a\n {marker} b")).len(), 1, "{marker}");
    }
    assert!(check(left_for_later, "docs/x.md", concat!("mktemp a.X", "XX", "X AUTO", "DOC")).is_empty());
}

#[test]
fn a_file_that_does_not_say_what_it_is_for_is_found() {
    assert_eq!(check(module_docs, "sim/src/x.rs", "use a;\n//! late").len(), 1);
    assert!(check(module_docs, "sim/src/x.rs", "//! A.\n").is_empty());
}

#[test]
fn paths_of_a_machine_are_found() {
    let text = format!("a\n{}/sim\n", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(check(machine_paths, "a.md", &text), [":2: names a path of a developer's machine"]);
    assert_eq!(check(machine_paths, "a.md", concat!("/ho", "me/someone/x")).len(), 1);
}

#[test]
fn a_scenario_without_intent_is_found() {
    let scenario = "scenarios/x.yaml";
    assert_eq!(check(scenario_intent, scenario, "spec:\n  intent:\n").len(), 1);
    assert!(check(scenario_intent, scenario, "spec:\n  intent: a packet comes back\n").is_empty());
    assert!(check(scenario_intent, "a/x.yaml", "").is_empty());
}

#[test]
fn a_chapter_that_is_not_listed_is_found() {
    let summary = File::new("docs/src/SUMMARY.md", "- [A](a.md)\n");
    let files = [summary, File::new("docs/src/a.md", ""), File::new("docs/src/b.md", "")];
    assert_eq!(book_summary(&files), [files[2].found(1, "is not in SUMMARY.md")]);
}
