//! Names of namespaces: `hp-PID-START-LAB-NUMBER-NODE`.
//!
//! The name identifies the process that created the namespace, by its id and start time, because ids are reused. A
//! sweep can thus distinguish leftovers from namespaces in use.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where iproute2 keeps named namespaces (`NETNS_RUN_DIR`, ip-netns(8)).
pub(super) const NETNS_DIR: &str = "/run/netns";

const PREFIX: &str = "hp";

/// The maximum length of the node's name within it. File names have at most 255 bytes.
const READABLE_CHARS: usize = 100;

/// The identity of a lab on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabId {
    /// The process that created it.
    owner: Owner,
    /// The number of the lab within the process, from 0.
    number: u32,
}

/// A unique process: no other process has the same two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Owner {
    pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`, proc(5)).
    start: u64,
}

impl Owner {
    /// The process with that id, if it exists.
    fn find(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses, which may contain anything.
        let (_, fields) = stat.rsplit_once(") ")?;
        let start = fields.split(' ').nth(19)?.parse().ok()?;
        Some(Self { pid, start })
    }

    /// True if the process still runs.
    pub(super) fn is_alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }
}

impl LabId {
    /// A new unique identity.
    pub(super) fn next() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let pid = std::process::id();
        let owner = Owner::find(pid).unwrap_or(Owner { pid, start: 0 });
        Self { owner, number: COUNT.fetch_add(1, Ordering::Relaxed) }
    }

    /// The name of a namespace of the lab, given its number and node.
    pub(super) fn netns_name(self, number: u32, node: &str) -> String {
        // A valid file name. The number makes it unique; the rest is for readers of `ip netns`.
        let readable = node.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' });
        let readable: String = readable.take(READABLE_CHARS).collect();
        format!("{self}-{number}-{readable}")
    }

    /// The owner of a namespace with that name; `None` for foreign namespaces.
    pub(super) fn owner_of(netns_name: &str) -> Option<Owner> {
        let mut parts = netns_name.splitn(6, '-');
        if parts.next() != Some(PREFIX) {
            return None;
        }
        let owner = Owner { pid: parts.next()?.parse().ok()?, start: parts.next()?.parse().ok()? };
        let _lab: u32 = parts.next()?.parse().ok()?;
        let _number: u32 = parts.next()?.parse().ok()?;
        parts.next().map(|_node| owner)
    }
}

impl fmt::Display for LabId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}-{}-{}-{}", self.owner.pid, self.owner.start, self.number)
    }
}

/// The file of a namespace.
pub(super) fn netns_path(netns_name: &str) -> PathBuf {
    PathBuf::from(NETNS_DIR).join(netns_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_owner() {
        let id = LabId::next();
        let owner = LabId::owner_of(&id.netns_name(0, "pod/prod/web-0")).expect("one of ours");
        assert_eq!(owner, id.owner);
        assert!(owner.is_alive());
        assert!(!Owner { start: owner.start + 1, ..owner }.is_alive());
    }

    #[test]
    fn other_names_are_not_ours() {
        for name in ["blue", "hp-1-2-3-4", "hp-socket-0", "hp-1-x-3-4-node", "cni-1-2-3-4-5", "hp", ""] {
            assert_eq!(LabId::owner_of(name), None, "{name}");
        }
    }
}
