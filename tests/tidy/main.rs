//! Checks the rules of ARCHITECTURE.md against every file of the project.
//!
//! A check is a function from files to findings, and has a test with a seeded violation: a check that finds nothing in
//! a bad file would be worse than none.

mod circles;
mod layers;
mod modules;
mod mutations;
mod phrases;
mod project;
mod purity;
mod rust;
mod text;
mod traps;

use project::{File, Finding};

type Check = fn(&[File]) -> Vec<Finding>;

/// All checks, with the name printed on failure.
const CHECKS: [(&str, Check); 16] = [
    ("crates import only crates below them (Cargo.toml)", layers::manifests),
    ("crates import only crates below them (paths in code)", layers::paths),
    ("files do not import each other in a circle", circles::of_files),
    ("only the arms and the command touch the outside", purity::outside_world),
    ("pure crates iterate in a defined order", purity::hash_maps),
    ("the simulator is not serializable", purity::serde_in_sim),
    ("files stay small", text::file_size),
    ("no file is named mod.rs", text::mod_files),
    ("no unfinished work", text::left_for_later),
    ("every source file begins with a module comment", text::module_docs),
    ("no path of a developer's machine", text::machine_paths),
    ("no phrase that is hard to read", phrases::plain_english),
    ("every scenario states its intent", text::scenario_intent),
    ("every chapter of the book is in its summary", text::book_summary),
    ("every mutation has a row, and its place asks for it", mutations::places),
    ("every trap of the kernel is pinned by a test", traps::table),
];

#[test]
fn the_project_is_tidy() {
    let files = project::files();
    assert!(files.iter().any(|file| file.path == "sim/src/lib.rs"), "the checks see the project's files");
    let findings: Vec<String> = CHECKS
        .iter()
        .flat_map(|(name, check)| check(&files).into_iter().map(move |found| format!("{found}  [{name}]")))
        .collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}
