//! A shell in a network namespace of its own, which is gone when the shell is.
#![allow(
    clippy::disallowed_types,
    reason = "only tests ask the kernel, and they must start processes for it"
)]

use std::process::Command;

/// Whether this machine lets us make namespaces; says so if not.
pub(crate) fn is_available() -> bool {
    let probe = Command::new("unshare").args(["--net", "sh", "-c", "ip link set lo up"]).output();
    let is_available = probe.is_ok_and(|output| output.status.success());
    if !is_available {
        eprintln!("skipped: needs root, unshare and ip");
    }
    is_available
}

/// Runs commands one after another in a new namespace. Returns what each of them said, errors included.
pub(crate) fn run(commands: &[String]) -> Vec<String> {
    const MARK: &str = "=====";
    let script: String =
        commands.iter().map(|command| format!("{{ {command} ; }} 2>&1\necho {MARK}\n")).collect();
    let output = Command::new("unshare").args(["--net", "sh", "-c", &script]).output();
    let output = output.expect("is_available has made sure");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut said: Vec<_> = text.split(&format!("{MARK}\n")).map(|one| one.trim().to_owned()).collect();
    said.truncate(commands.len());
    assert_eq!(said.len(), commands.len(), "the shell ran every command");
    said
}
