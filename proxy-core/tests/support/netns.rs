//! A network namespace of the real kernel to load rules into, if this machine can create one.
#![allow(dead_code, reason = "each test uses its part of this")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the kernel is asked by commands")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use proxy_core::objects::IpFamily;

/// The kernel interface that iptables uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Nft,
    Legacy,
}

impl Backend {
    pub(crate) const ALL: [Self; 2] = [Self::Nft, Self::Legacy];

    /// The command for a family; `what` is empty, `-restore` or `-save`.
    pub(crate) fn command(self, family: IpFamily, what: &str) -> String {
        let tool = match family {
            IpFamily::V4 => "iptables",
            IpFamily::V6 => "ip6tables",
        };
        let backend = match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        };
        format!("{tool}-{backend}{what}")
    }
}

/// A namespace that is deleted when dropped.
pub(crate) struct Netns {
    name: String,
}

impl Netns {
    /// A new namespace, or `None` with a message on standard error if this machine cannot create one or lacks tools; with
    /// `HAIRPIN_KERNEL=required` in the environment, as in CI, that is a failure.
    pub(crate) fn new(backend: Backend) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("hp-proxy-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let skip = |reason: &str| {
            let is_required = std::env::var("HAIRPIN_KERNEL").is_ok_and(|value| value == "required");
            assert!(!is_required, "the kernel is required ({backend:?}): {reason}");
            eprintln!("SKIPPED: no real kernel to load rules into ({backend:?}): {reason}");
            None
        };
        match Command::new("ip").args(["netns", "add", &name]).output() {
            Err(error) => return skip(&format!("ip: {error}")),
            Ok(output) if !output.status.success() => {
                return skip(String::from_utf8_lossy(&output.stderr).trim());
            }
            Ok(_) => {}
        }
        let netns = Self { name };
        for family in [IpFamily::V4, IpFamily::V6] {
            let probe = "*nat\n-A PREROUTING -m addrtype --dst-type LOCAL -m recent --name x --set\nCOMMIT\n";
            let restore = backend.command(family, "-restore");
            if let Err(error) = netns.run(&[&restore, "--test"], probe) {
                return skip(&error);
            }
        }
        Some(netns)
    }

    /// Runs a command in the namespace; returns its output or its error message.
    pub(crate) fn run(&self, command: &[&str], input: &str) -> Result<String, String> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.name])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        writer.join().unwrap();
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
    }

    /// Creates chains and jumps.
    pub(crate) fn run_jumps(&self, backend: Backend, family: IpFamily, jumps: &[String]) {
        let tool = backend.command(family, "");
        let lines = jumps.iter().map(|line| {
            let (_, arguments) = line.split_once(' ').unwrap();
            let tolerant = if arguments.contains(" -N ") { " 2>/dev/null || true" } else { "" };
            format!("{tool} {arguments}{tolerant}\n")
        });
        self.run(&["sh", "-e"], &lines.collect::<String>()).unwrap();
    }

    /// Loads restore input.
    pub(crate) fn restore(&self, backend: Backend, family: IpFamily, text: &str) -> Result<(), String> {
        let restore = backend.command(family, "-restore");
        self.run(&[&restore, "--noflush", "--test"], text)?;
        self.run(&[&restore, "--noflush"], text).map(drop)
    }

    /// The tables, without parts that vary between dumps: comments with the time, and the order of tables and chains.
    pub(crate) fn save(&self, backend: Backend, family: IpFamily) -> Vec<String> {
        comparable(&self.run(&[&backend.command(family, "-save")], "").unwrap())
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "del", &self.name]).status();
        assert!(
            std::thread::panicking() || deleted.is_ok_and(|status| status.success()),
            "{} stays",
            self.name
        );
    }
}

/// Chains and rules of a dump, each with its table, sorted by chain; the rules of a chain stay in order.
pub(crate) fn comparable(dump: &str) -> Vec<String> {
    let mut table = "";
    let mut lines = Vec::new();
    for line in dump.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if line.starts_with(':') || line.starts_with("-A") {
            lines.push((
                table,
                line.split(' ').nth(1).filter(|_| line.starts_with("-A")).unwrap_or(""),
                line,
            ));
        }
    }
    lines.sort_by(|left, right| {
        let declaration = |line: &str| if line.starts_with(':') { line.to_owned() } else { String::new() };
        (left.0, left.1, declaration(left.2)).cmp(&(right.0, right.1, declaration(right.2)))
    });
    lines.into_iter().map(|(table, _, line)| format!("{table} {line}")).collect()
}
