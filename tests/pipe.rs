//! A closed output pipe, as with `hairpin scenario nodeport-local --trace | head`.

use std::process::{Command, Stdio};

/// 128 + SIGPIPE.
const NOBODY_READS: i32 = 141;

#[test]
fn what_nobody_reads_is_no_success() {
    for arguments in [
        &["scenario", "tests/cmd/wrong-expectation.yaml"][..],
        &["scenario", "clusterip", "--trace=all"],
        &["scenario", "clusterip", "--format", "json"],
        &["conformance", "tests/cmd/wrong-expectation.yaml"],
        &["conformance", "clusterip", "--json", "-"],
        &["fuzz", "--runs", "1"],
        &["render", "scenarios/clusterip.yaml"],
        &["list"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe can be created");
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_hairpin"))
            .args(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .expect("hairpin starts");
        assert_eq!(output.status.code(), Some(NOBODY_READS), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}
