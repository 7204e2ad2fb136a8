//! A shell in its own network namespace, which disappears with it.
#![allow(
    clippy::disallowed_types,
    reason = "only tests ask the kernel, and they must start processes for it"
)]

use std::process::{Child, Command, Stdio};

/// True if this machine allows new namespaces; else prints a message.
pub(crate) fn is_available() -> bool {
    let probe = Command::new("unshare").args(["--net", "bash", "-c", "ip link set lo up"]).output();
    let is_available = probe.is_ok_and(|output| output.status.success());
    if !is_available {
        eprintln!("skipped: needs root, unshare, bash and ip");
    }
    is_available
}

/// Runs each list of commands in a new namespace, all lists in parallel. Returns the output of each command, including
/// errors.
pub(crate) fn run(lists: &[Vec<String>]) -> Vec<Vec<String>> {
    let shells: Vec<_> = lists.iter().map(|commands| start(commands)).collect();
    shells.into_iter().zip(lists).map(|(shell, commands)| finish(shell, commands.len())).collect()
}

const MARK: &str = "=====";

fn start(commands: &[String]) -> Child {
    let script: String =
        commands.iter().map(|command| format!("{{ {command} ; }} 2>&1\necho {MARK}\n")).collect();
    let mut shell = Command::new("unshare");
    shell.args(["--net", "bash", "-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped());
    shell.spawn().expect("is_available has made sure")
}

fn finish(shell: Child, count: usize) -> Vec<String> {
    let output = shell.wait_with_output().expect("the shell ends");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut said: Vec<_> = text.split(&format!("{MARK}\n")).map(|one| one.trim().to_owned()).collect();
    said.truncate(count);
    assert_eq!(said.len(), count, "the shell ran every command");
    said
}
