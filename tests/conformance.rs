//! `hairpin conformance` and its machine-readable files, compared with its terminal output.

use std::fs;
use std::process::{Command, Output};

fn conformance(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hairpin"))
        .arg("conformance")
        .args(arguments)
        .output()
        .expect("hairpin starts")
}

/// An error in the second scenario of a folder, in a subfolder.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let inside = folder.path().join("inside");
    fs::create_dir(&inside).expect("a folder can be created");
    fs::copy("scenarios/clusterip.yaml", folder.path().join("right.yaml")).expect("a file can be written");
    fs::copy("tests/cmd/wrong-expectation.yaml", inside.join("wrong.yaml")).expect("a file can be written");
    folder
}

#[test]
fn results_are_the_same_whatever_the_number_of_threads() {
    let run = |jobs| conformance(&["--jobs", jobs, "--json", "-"]);
    let alone = run("1");
    assert_eq!(alone.status.code(), Some(0));
    assert!(!alone.stdout.is_empty());
    assert_eq!(run("5").stdout, alone.stdout);
}

#[test]
fn files_are_written_beside_the_text() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (suite, junit, json) = (path(""), path("junit.xml"), path("report.out"));
    let output = conformance(&[&suite, "--junit", &junit, "--json", &json]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.ends_with("\n2 runs: 1 passed, 1 failed\n"), "{text}");
    let again = format!("reproduce: hairpin scenario {} --mode iptables", path("inside/wrong.yaml"));
    assert!(text.contains(&again), "{text}");
    let junit = fs::read_to_string(junit).expect("it is written");
    assert!(junit.contains(r#"tests="2" skipped="0" failures="1" errors="0""#), "{junit}");
    // The same document as from `hairpin scenario`, run by run.
    let json = fs::read_to_string(json).expect("the file exists");
    let scenarios = [path("inside/wrong.yaml"), path("right.yaml")];
    let scenario = Command::new(env!("CARGO_BIN_EXE_hairpin"))
        .args(["scenario", &scenarios[0], &scenarios[1], "--format", "json"])
        .output()
        .expect("hairpin starts");
    assert_eq!(String::from_utf8(scenario.stdout).expect("text"), json);
}

#[test]
fn shards_have_every_run_once() {
    let names = |arguments: &[&str]| -> Vec<String> {
        let text = String::from_utf8(conformance(arguments).stdout).expect("text");
        let rows = text.lines().filter(|line| line.contains(" iptables "));
        rows.map(|row| row.trim().split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    let mut all = names(&[]);
    let mut parts: Vec<String> =
        ["1/3", "2/3", "3/3"].iter().flat_map(|shard| names(&["--shard", shard])).collect();
    assert!(all.len() > 9, "{all:?}");
    all.sort();
    parts.sort();
    assert_eq!(parts, all);
}

/// A folder with copies of the same scenario, all with the name `clusterip`.
fn namesakes(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in names {
        fs::copy("scenarios/clusterip.yaml", folder.path().join(name)).expect("a file can be written");
    }
    folder
}

/// The names in the table, in the JUnit cases, and in the JSON document.
fn names(arguments: &[&str]) -> [Vec<String>; 3] {
    let text = |more: &[&str]| {
        let output = conformance(&[arguments, more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let between = |text: &str, begin: &str, end: &str| -> Vec<String> {
        let found = text.lines().filter_map(|line| line.trim().strip_prefix(begin)?.split_once(end));
        found.map(|(name, _)| name.trim().to_owned()).collect()
    };
    let rows = text(&[])
        .lines()
        .filter(|line| line.contains(" passed "))
        .fold(String::new(), |all, line| all + "row " + line.trim() + "\n");
    [
        between(&rows, "row ", " iptables "),
        between(&text(&["--junit", "-"]), "<testcase name=\"", "\""),
        between(&text(&["--json", "-"]), "\"scenario\": \"", "\""),
    ]
}

#[test]
fn a_scenario_has_the_name_that_its_document_gives_it() {
    let folder = namesakes(&["other.yaml"]);
    let file = folder.path().join("other.yaml").display().to_string();
    let same = |name: &str| [0; 3].map(|_| vec![name.to_owned()]);
    assert_eq!(names(&[&file]), same("clusterip"));
    assert_eq!(names(&[&file, "--filter", "name(=clusterip)"]), same("clusterip"));
    let output = conformance(&[&file, "--filter", "other"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("matches no scenario\nhelp: scenarios are clusterip\n"), "{said}");
    // A file given twice runs once.
    let roundabout = folder.path().join(".").display().to_string();
    assert_eq!(names(&[&file, &file, &roundabout]), same("clusterip"));
}

#[test]
fn scenarios_of_one_name_are_told_apart_by_their_files() {
    let folder = namesakes(&["a.yaml", "b.yaml"]);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let called = ["a.yaml", "b.yaml"].map(|name| format!("clusterip ({})", path(name))).to_vec();
    let plain = vec!["clusterip".to_owned(); 2];
    let expected = [called.clone(), called, plain];
    assert_eq!(names(&[&path("")]), expected);
    assert_eq!(names(&[&path(""), "--filter", "name(=clusterip)"]), expected);
}
