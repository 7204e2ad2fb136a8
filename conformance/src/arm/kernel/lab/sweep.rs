//! Removes what killed runs left behind.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thiserror::Error;

use super::name::{LabId, NETNS_DIR, netns_path};
use crate::arm::kernel::tool::ToolError;

/// A leftover namespace that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its name.
    pub netns_name: String,
    /// Processes inside that were killed.
    pub killed: Vec<i32>,
}

/// Why leftovers could not be removed.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The machine's state could not be read.
    #[error("{path}: {source}")]
    Io {
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A process could not be killed.
    #[error("process {pid} in network namespace {netns_name}: {errno}")]
    Kill {
        /// The process.
        pid: i32,
        /// Its namespace.
        netns_name: String,
        /// Why.
        errno: Errno,
    },
    /// Namespaces could not be deleted.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

/// Removes the namespaces of terminated runs, with their devices and processes. Labs of active runs are kept unless
/// `is_forced`.
///
/// # Errors
/// If the machine's state cannot be read, or something cannot be removed.
pub fn sweep(is_forced: bool) -> Result<Vec<Leftover>, SweepError> {
    let names = leftover_names(is_forced)?;
    let mut leftovers = Vec::with_capacity(names.len());
    for netns_name in &names {
        leftovers.push(Leftover { netns_name: netns_name.clone(), killed: kill_inside(netns_name)? });
    }
    if !names.is_empty() {
        super::ip_batch(&names, "del")?;
    }
    Ok(leftovers)
}

fn leftover_names(is_forced: bool) -> Result<Vec<String>, SweepError> {
    let entries = match fs::read_dir(NETNS_DIR) {
        Ok(entries) => entries,
        // No named namespace was ever created on this machine.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(SweepError::Io { path: NETNS_DIR.to_owned(), source }),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| LabId::owner_of(name).is_some_and(|owner| is_forced || !owner.is_alive()))
        .collect();
    names.sort();
    Ok(names)
}

/// Kills every process with a thread inside the namespace.
fn kill_inside(netns_name: &str) -> Result<Vec<i32>, SweepError> {
    let path = netns_path(netns_name);
    let inode = match fs::metadata(&path) {
        Ok(metadata) => metadata.ino(),
        Err(source) => return Err(SweepError::Io { path: path.display().to_string(), source }),
    };
    let mut killed = Vec::new();
    for pid in processes()? {
        if !is_inside(pid, inode) {
            continue;
        }
        match kill(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) => killed.push(pid),
            Err(Errno::ESRCH) => {}
            Err(errno) => return Err(SweepError::Kill { pid, netns_name: netns_name.to_owned(), errno }),
        }
    }
    Ok(killed)
}

fn processes() -> Result<Vec<i32>, SweepError> {
    let entries =
        fs::read_dir("/proc").map_err(|source| SweepError::Io { path: "/proc".to_owned(), source })?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

fn is_inside(pid: i32, inode: u64) -> bool {
    // A process that has ended has no such folder.
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads
        .flatten()
        .any(|thread| fs::metadata(thread.path().join("ns/net")).is_ok_and(|netns| netns.ino() == inode))
}
