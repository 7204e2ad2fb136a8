//! Import rules between crates.

use crate::project::{File, Finding};

/// Crates from the bottom up. A crate may import only crates of lower rank, so crates of equal rank do not import each
/// other.
const RANKS: [(&str, u8); 5] =
    [("sim", 0), ("proxy-core", 0), ("conformance", 1), ("reports", 2), ("hairpin", 3)];

fn rank(name: &str) -> Option<u8> {
    RANKS.iter().find(|(other, _)| *other == name).map(|(_, rank)| *rank)
}

/// The violation if a crate imports another one; `None` if allowed.
fn objection(importer: &str, imported: &str) -> Option<String> {
    let (above, below) = (rank(importer)?, rank(imported)?);
    (importer != imported && below >= above).then(|| format!("{importer} must not import {imported}"))
}

/// Dependencies of every kind in `Cargo.toml`.
pub(crate) fn manifests(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        let mut is_dependencies = false;
        for (number, line) in file.lines() {
            if let Some(section) = line.strip_prefix('[') {
                is_dependencies = section.contains("dependencies") && !section.starts_with("workspace");
            } else if is_dependencies {
                let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
                findings.extend(objection(file.crate_name(), name).map(|what| file.found(number, what)));
            }
        }
    }
    findings
}

/// Paths in the code, including tests.
pub(crate) fn paths(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for (line, path) in file.paths() {
            let imported = path.split("::").next().unwrap_or_default().replace('_', "-");
            findings.extend(objection(file.crate_name(), &imported).map(|what| file.found(*line, what)));
        }
    }
    findings
}

#[test]
fn a_dependency_upwards_or_sideways_is_found() {
    let manifest = "[package]\nname = \"sim\"\n\n[dependencies]\nproxy-core.workspace = true\n\n[dev-dependencies]\nconformance = { path = \"..\" }\n";
    let found = manifests(&[File::new("sim/Cargo.toml", manifest)]);
    let expected = [(5, "sim must not import proxy-core"), (8, "sim must not import conformance")];
    let file = File::new("sim/Cargo.toml", "");
    assert_eq!(found, expected.map(|(line, what)| file.found(line, what)));
}

#[test]
fn a_dependency_downwards_is_not() {
    let workspace =
        "[workspace.dependencies]\nhairpin = \"1\"\n[dependencies]\nreports.workspace = true\nsim = \"1\"\n";
    assert_eq!(manifests(&[File::new("Cargo.toml", workspace)]), []);
    assert_eq!(
        manifests(&[File::new("conformance/Cargo.toml", "[dependencies]\nsim.workspace = true\n")]),
        []
    );
}

#[test]
fn a_path_into_a_crate_above_is_found() {
    let file = File::new("proxy-core/src/x.rs", "// sim::trace\nuse crate::sim;\nuse sim::{trace};\n");
    assert_eq!(
        paths(&[file]),
        [File::new("proxy-core/src/x.rs", "").found(3, "proxy-core must not import sim")]
    );
    assert_eq!(paths(&[File::new("reports/src/x.rs", "use sim::trace;")]), []);
}
