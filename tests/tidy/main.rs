//! What ARCHITECTURE.md says must not be there, checked against every file of the project.
//!
//! A check is a function from files to findings, and each has a test with a seeded violation: a check that finds nothing
//! in a bad file would be worse than none.

mod circles;
mod layers;
mod modules;
mod project;
mod purity;
mod rust;
mod text;
mod traps;

use project::{File, Finding};

type Check = fn(&[File]) -> Vec<Finding>;

/// Every check, by the name that a failure prints.
const CHECKS: [(&str, Check); 14] = [
    ("crates import only crates below them (Cargo.toml)", layers::manifests),
    ("crates import only crates below them (paths in code)", layers::paths),
    ("files do not import each other in a circle", circles::of_files),
    ("only the arms and the command touch the outside", purity::outside_world),
    ("pure crates iterate in a defined order", purity::hash_maps),
    ("the simulator is not serialisable", purity::serde_in_sim),
    ("files stay small", text::file_size),
    ("modules are named after what they are", text::mod_files),
    ("nothing is left for later", text::left_for_later),
    ("every source file says what it is for", text::module_docs),
    ("no path of a developer's machine", text::machine_paths),
    ("every scenario states its intent", text::scenario_intent),
    ("every chapter of the book is in its summary", text::book_summary),
    ("every trap of the kernel is pinned by a test", traps::table),
];

#[test]
fn the_project_is_tidy() {
    let files = project::files();
    assert!(files.iter().any(|file| file.path == "sim/src/lib.rs"), "the checks look at the project's files");
    let findings: Vec<String> = CHECKS
        .iter()
        .flat_map(|(name, check)| check(&files).into_iter().map(move |found| format!("{found}  [{name}]")))
        .collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}
