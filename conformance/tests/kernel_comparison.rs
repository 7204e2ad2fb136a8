//! The comparison with a kernel finds the kernel's random choices where they hardly show, and raises no false alarm:
//! the scenarios of `comparison/` agree, with both back ends of iptables.

#[path = "support/back_ends.rs"]
mod back_ends;

use std::fs;

use back_ends::{back_ends, run};
use conformance::diagnostic::{Source, Style, render};
use conformance::manifest;
use conformance::prepare::{Prepared, prepare};

fn scenarios() -> Vec<Prepared> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/comparison");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let prepared = |path: &std::path::PathBuf| {
        let source =
            Source { name: path.display().to_string(), text: fs::read_to_string(path).expect("a file") };
        prepare(manifest::load(vec![source])).unwrap_or_else(|refused| {
            panic!("{}", render(&refused.diagnostics, &refused.sources, Style::Plain));
        })
    };
    paths.iter().map(prepared).collect()
}

#[test]
fn choices_that_hardly_show_raise_no_alarm() {
    for backend in back_ends("comparisons") {
        for prepared in scenarios() {
            let (failures, differences) = run(&prepared, backend);
            let wrong = [failures, differences].concat();
            assert!(wrong.is_empty(), "{} by {backend}:\n{}", prepared.scenario.name, wrong.join("\n"));
        }
    }
}
