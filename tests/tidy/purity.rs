//! Pure crates: no input or output, no clock, no threads, no iteration order that changes between runs.

use crate::project::{File, Finding};

/// Paths that reach outside the program, or depend on the time and place of the run.
const OUTSIDE: [(&str, &str); 16] = [
    ("std::fs", "files"),
    ("std::io", "input and output"),
    ("std::env", "the environment"),
    ("std::process", "processes"),
    ("std::thread", THREADS),
    ("rayon", THREADS),
    ("std::time::Instant", "the clock"),
    ("std::time::SystemTime", "the clock"),
    ("SystemTime::now", "the clock"),
    ("std::net::TcpStream", "sockets"),
    ("std::net::TcpListener", "sockets"),
    ("std::net::UdpSocket", "sockets"),
    ("std::net::ToSocketAddrs", "name resolution"),
    ("std::os", "the operating system"),
    ("nix", "the operating system"),
    ("netlink_sys", "sockets"),
];

const THREADS: &str = "threads";

/// Crates that must not reach outside, except in the given files.
const PURE: [&str; 4] = ["sim", "proxy-core", "reports", "conformance"];

/// Files of pure crates that may reach outside.
const DOORS: [(&str, Opens); 5] = [
    // The kernel and vm arms run on this machine, and files are read in one place.
    ("conformance/src/arm/kernel", Opens::Everything),
    ("conformance/src/arm/vm", Opens::Everything),
    ("conformance/src/files", Opens::Everything),
    // Parallel worlds, each on one thread.
    ("conformance/src/runner.rs", Opens::Only(THREADS)),
    ("conformance/src/suite/run.rs", Opens::Only(THREADS)),
];

/// A kind of access to the outside.
#[derive(Clone, Copy)]
enum Opens {
    Everything,
    /// The name in [`OUTSIDE`].
    Only(&'static str),
}

fn is_pure(file: &File) -> bool {
    file.is_rust() && !file.is_test() && file.path.contains("/src/") && PURE.contains(&file.crate_name())
}

/// True if a file may use it.
fn is_open(file: &File, what: &str) -> bool {
    DOORS.iter().any(|(door, opens)| {
        let leads_there = match opens {
            Opens::Everything => true,
            Opens::Only(one) => *one == what,
        };
        file.path.starts_with(door) && leads_there
    })
}

/// Paths in pure crates that reach outside.
pub(crate) fn outside_world(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_pure(file)) {
        for (line, path) in file.paths() {
            let reached = OUTSIDE.iter().find(|(outside, _)| is_within(path, outside));
            let reached = reached.filter(|(_, what)| !is_open(file, what));
            findings.extend(reached.map(|(_, what)| file.found(*line, format!("`{path}` reaches {what}"))));
        }
    }
    findings
}

fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// `HashMap` and `HashSet` of the standard library in the crates on the packet path: their order differs between runs.
pub(crate) fn hash_maps(files: &[File]) -> Vec<Finding> {
    let is_ours = |file: &&File| matches!(file.crate_name(), "sim" | "proxy-core") && is_pure(file);
    let mut findings = Vec::new();
    for file in files.iter().filter(is_ours) {
        for (line, path) in file.paths() {
            if is_within(path, "std::collections::HashMap") || is_within(path, "std::collections::HashSet") {
                findings.push(file.found(*line, format!("`{path}` has no defined order")));
            }
        }
    }
    findings
}

/// Serialization belongs in `reports`: `sim`'s types have serializable counterparts there.
pub(crate) fn serde_in_sim(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.crate_name() == "sim") {
        let named: Vec<(usize, &str)> = match file.path.ends_with("Cargo.toml") {
            true => file.lines().collect(),
            false if file.is_rust() => {
                file.paths().iter().map(|(line, path)| (*line, path.as_str())).collect()
            }
            false => continue,
        };
        for (line, name) in named.into_iter().filter(|(_, name)| name.contains("serde")) {
            findings.push(file.found(line, format!("serialization in sim: {name}")));
        }
    }
    findings
}

#[test]
fn a_way_out_is_found_in_pure_crates() {
    for (path, code, expected) in [
        ("sim/src/x.rs", "use std::{collections::BTreeMap, fs};", Some("`std::fs` reaches files")),
        ("sim/src/x.rs", "fn f() { std::env::var(\"A\") }", Some("`std::env::var` reaches the environment")),
        ("reports/src/x.rs", "use std::time::Instant;", Some("`std::time::Instant` reaches the clock")),
        ("conformance/src/run.rs", "use std::thread;", Some("`std::thread` reaches threads")),
        ("sim/src/x.rs", "use rayon::prelude::*;", Some("`rayon::prelude::*` reaches threads")),
        ("proxy-core/src/x.rs", "fn f() { rayon::join(a, b) }", Some("`rayon::join` reaches threads")),
        ("conformance/src/shares.rs", "use rayon::scope;", Some("`rayon::scope` reaches threads")),
        ("conformance/src/runner.rs", "use rayon::scope;", None),
        ("conformance/src/suite/run.rs", "use rayon::scope;", None),
        ("conformance/src/suite/run.rs", "use std::fs;", Some("`std::fs` reaches files")),
        ("sim/src/x.rs", "use nix::unistd;", Some("`nix::unistd` reaches the operating system")),
        ("sim/src/x.rs", "use crate::nix_like;", None),
        ("conformance/src/arm/kernel/netns.rs", "use std::process::Command;", None),
        ("sim/src/x.rs", "use std::net::{IpAddr, Ipv4Addr}; use std::time::Duration;", None),
        ("sim/src/x/tests.rs", "use std::fs;", None),
        ("src/main.rs", "use std::fs;", None),
    ] {
        let found = outside_world(&[File::new(path, code)]);
        let expected: Vec<Finding> =
            expected.into_iter().map(|what| File::new(path, "").found(1, what)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_hash_map_is_found_on_the_packet_path() {
    let code = "use std::collections::{BTreeMap, HashSet};\nuse rustc_hash::FxHashMap;\n";
    let found = hash_maps(&[File::new("sim/src/x.rs", code)]);
    assert_eq!(
        found,
        [File::new("sim/src/x.rs", "").found(1, "`std::collections::HashSet` has no defined order")]
    );
    assert_eq!(hash_maps(&[File::new("reports/src/x.rs", code)]), []);
}

#[test]
fn serde_is_found_in_sim() {
    let manifest = File::new("sim/Cargo.toml", "[dependencies]\nserde.workspace = true\n");
    let code = File::new("sim/src/x.rs", "// no serde here\n#[derive(serde::Serialize)]\nstruct A;\n");
    assert_eq!(serde_in_sim(&[manifest]).len(), 1);
    assert_eq!(serde_in_sim(&[code]).len(), 1);
}
