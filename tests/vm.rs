//! `--against vm`, with the real virtual machine if this machine has QEMU and an image. With `HAIRPIN_VM=required` in the
//! environment, as in CI, its absence is a failure.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output};

fn hairpin(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hairpin"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("hairpin runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

/// The events of the simulator have other microseconds in every run; everything that a report tells is equal.
fn without_hash(report: &str) -> String {
    report.lines().filter(|line| !line.contains("\"traceHash\"")).collect::<Vec<_>>().join("\n")
}

/// True if this machine has no virtual machine; says which test is skipped.
fn is_skipped(test: &str, code: Option<i32>, stderr: &str) -> bool {
    let is_skipped = code == Some(3);
    if is_skipped {
        // Not with `eprintln`, which the test harness captures.
        let _ = writeln!(io::stderr(), "SKIPPED {test}: {stderr}");
        let is_required = std::env::var("HAIRPIN_VM").is_ok_and(|value| value == "required");
        assert!(!is_required, "the virtual machine is required: {stderr}");
    }
    is_skipped
}

#[test]
fn two_runs_in_a_vm_have_the_same_result() {
    let args = ["scenario", "conntrack-default-timeouts", "--against", "vm", "--format", "json"];
    let (code, first, stderr) = output(&mut hairpin(&args));
    if is_skipped("two_runs_in_a_vm_have_the_same_result", code, &stderr) {
        return;
    }
    assert_eq!(code, Some(0), "{first}{stderr}");
    assert!(first.contains("\"arm\": \"vm\""), "{first}");
    assert!(first.contains("\"disagreements\": []"), "{first}");
    assert_eq!(without_hash(&output(&mut hairpin(&args)).1), without_hash(&first));
}

/// D-10: `nf_conntrack_max` is a setting of the whole machine, so a virtual machine is the judge.
#[test]
fn a_full_conntrack_table_drops_new_flows() {
    const FILE: &str = "tests/vm/conntrack-table-full.yaml";
    let (code, stdout, stderr) = output(&mut hairpin(&["scenario", FILE]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let (code, stdout, stderr) =
        output(&mut hairpin(&["scenario", FILE, "--against", "vm", "--format", "json"]));
    if is_skipped("a_full_conntrack_table_drops_new_flows", code, &stderr) {
        return;
    }
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("\"disagreements\": []"), "{stdout}");
}

#[test]
fn what_a_vm_lacks_is_named_with_exit_code_3() {
    let empty = tempfile::tempdir().expect("a temporary folder");
    let in_empty = |command: &mut Command, path: &Path| {
        output(command.env("XDG_CACHE_HOME", empty.path()).env("PATH", path))
    };
    for args in [
        &["scenario", "clusterip", "--against", "vm"][..],
        &["conformance", "--against", "vm"],
        &["fuzz", "--against", "vm", "--runs", "1"],
        &["lab", "vm", "info"],
    ] {
        let (code, stdout, stderr) = in_empty(&mut hairpin(args), empty.path());
        assert_eq!((code, stdout.as_str()), (Some(3), ""), "{args:?} {stderr}");
        let is_named = ["hairpin lab vm prepare", "install the package qemu-system-x86"]
            .iter()
            .any(|remedy| stderr.contains(remedy));
        assert!(is_named, "{args:?} {stderr}");
    }
    let (code, stdout, _) = in_empty(&mut hairpin(&["lab", "vm", "remove"]), empty.path());
    assert_eq!((code, stdout.as_str()), (Some(0), "nothing to remove\n"));
}
