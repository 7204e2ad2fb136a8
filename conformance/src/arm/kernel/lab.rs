//! A lab: named network namespaces that one run creates, enters and deletes.
//!
//! Only the calling thread enters a namespace (setns(2)), and it returns afterwards. Sockets and processes created
//! there stay there; the rest of the program remains in the machine's own namespace.

mod interrupt;
mod name;
mod sweep;

pub use interrupt::tear_down_on_signals;
pub use name::LabId;
pub use sweep::{Leftover, SweepError, sweep};

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use indexmap::IndexMap;
use nix::sched::{CloneFlags, setns};
use thiserror::Error;

use super::tool::{ToolCommand, ToolError};
use name::netns_path;

/// The namespaces of one run. They are deleted on drop; on signals by [`tear_down_on_signals`]; after `kill -9` by
/// [`sweep`].
#[derive(Debug)]
pub struct Lab {
    id: LabId,
    /// By node name, in order of creation.
    netns: IndexMap<String, LabNetns>,
    /// Number of namespaces created so far.
    count: u32,
}

/// A namespace of a lab.
#[derive(Debug)]
pub struct LabNetns {
    /// The node's name, such as `node-1` or `pod/web-0`.
    name: String,
    /// The name that `ip netns` lists.
    system_name: String,
    /// Argument of setns(2). An open file keeps a namespace alive, so it is closed before the namespace is deleted.
    file: File,
}

/// Why a lab could not be created or entered.
#[derive(Debug, Error)]
pub enum LabError {
    /// A tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A namespace could not be opened or entered.
    #[error("network namespace {netns}: {source}")]
    Netns {
        /// The node's name.
        netns: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel rejected a request.
    #[error("{netns}: {what}: {source}")]
    Refused {
        /// The node's name.
        netns: String,
        /// The request, as an equivalent command line.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A sysctl could not be written.
    #[error("{netns}: sysctl {name}={value}: {source}")]
    Sysctl {
        /// The node's name.
        netns: String,
        /// The sysctl.
        name: String,
        /// The value.
        value: String,
        /// Why.
        source: io::Error,
    },
}

impl Lab {
    /// Creates namespaces for the given node names. Each has only a loopback device.
    ///
    /// # Errors
    /// If a namespace cannot be created; those already created are deleted.
    pub fn create<'a>(nodes: impl IntoIterator<Item = &'a str>) -> Result<Self, LabError> {
        let mut lab = Self { id: LabId::next(), netns: IndexMap::new(), count: 0 };
        lab.add(nodes)?;
        Ok(lab)
    }

    /// Creates additional namespaces.
    ///
    /// # Errors
    /// If a namespace cannot be created. Those already created are deleted with the lab.
    pub fn add<'a>(&mut self, nodes: impl IntoIterator<Item = &'a str>) -> Result<(), LabError> {
        let nodes: Vec<(&str, String)> = nodes
            .into_iter()
            .zip(self.count..)
            .map(|(node, number)| (node, self.id.netns_name(number, node)))
            .collect();
        self.count += u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        let names: Vec<String> = nodes.iter().map(|(_, name)| name.clone()).collect();
        // From here on, dropping the lab deletes them.
        interrupt::make(self.id, &names, || ip_batch(&names, "add"))?;
        for (node, system_name) in nodes {
            let fault = |source| LabError::Netns { netns: node.to_owned(), source };
            let file = File::open(netns_path(&system_name)).map_err(fault)?;
            let netns = LabNetns { name: node.to_owned(), system_name, file };
            let replaced = self.netns.insert(node.to_owned(), netns);
            assert!(replaced.is_none(), "node {node} exists already");
        }
        Ok(())
    }

    /// Deletes a namespace, its devices, and the peers of its veths.
    ///
    /// # Errors
    /// If it cannot be deleted.
    ///
    /// # Panics
    /// If the lab has no node with that name.
    pub fn remove(&mut self, node: &str) -> Result<(), LabError> {
        let removed = self.netns.shift_remove(node);
        let LabNetns { system_name, file, .. } =
            removed.unwrap_or_else(|| panic!("no node {node} in the lab"));
        drop(file);
        let deleted = ip_batch(std::slice::from_ref(&system_name), "del");
        interrupt::forget(self.id, &system_name);
        Ok(deleted?)
    }

    /// The identity of the lab.
    pub const fn id(&self) -> LabId {
        self.id
    }

    /// The namespace of a node.
    ///
    /// # Panics
    /// If the lab has no node with that name: callers only pass names of the topology.
    pub fn netns(&self, node: &str) -> &LabNetns {
        self.netns.get(node).unwrap_or_else(|| panic!("the lab has no node {node}"))
    }

    /// All namespaces, in order of creation.
    pub fn all_netns(&self) -> impl Iterator<Item = &LabNetns> {
        self.netns.values()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.netns.clear();
        // They remain registered until deleted, in case a signal arrives meanwhile.
        delete(&interrupt::names(self.id));
        interrupt::unregister(self.id);
    }
}

impl LabNetns {
    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name under which `ip netns` lists it.
    pub fn system_name(&self) -> &str {
        &self.system_name
    }

    /// Runs `act` inside the namespace. The calling thread returns to its namespace, even after a panic.
    ///
    /// # Errors
    /// If the namespace cannot be entered.
    ///
    /// # Panics
    /// If `act` panics, or if the thread cannot return: it must not continue in the wrong namespace.
    pub fn enter<R>(&self, act: impl FnOnce() -> R) -> Result<R, LabError> {
        let inside = Inside::enter(&self.file).map_err(|source| self.fault(source))?;
        let result = act();
        drop(inside);
        Ok(result)
    }

    /// Runs a tool inside the namespace.
    ///
    /// # Errors
    /// If the namespace cannot be entered or the tool fails.
    pub fn run(&self, program: &str, args: &[&str], input: &[u8]) -> Result<String, LabError> {
        Ok(self.enter(|| ToolCommand { program, args, input }.run())??)
    }

    /// Writes a sysctl of the namespace, such as `net.ipv4.ip_forward`.
    ///
    /// # Errors
    /// If the sysctl does not exist, the kernel rejects the value, or the name does not begin with `net.`: other
    /// sysctls are global.
    pub fn set_sysctls<'a>(
        &self,
        sysctls: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), LabError> {
        let sysctls: Vec<_> = sysctls.into_iter().collect();
        if sysctls.is_empty() {
            return Ok(());
        }
        self.enter(|| self.set_sysctls_here(sysctls))?
    }

    /// The same for a thread that is already inside.
    pub(super) fn set_sysctls_here<'a>(
        &self,
        sysctls: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), LabError> {
        sysctls.into_iter().try_for_each(|(name, value)| {
            write_sysctl(name, value).map_err(|source| LabError::Sysctl {
                netns: self.name.clone(),
                name: name.to_owned(),
                value: value.to_owned(),
                source,
            })
        })
    }

    /// Writes sysctls that have another value, for a thread that is already inside. Writing a value marks it as set, even if it
    /// does not change.
    pub(super) fn reset_sysctls_here<'a>(
        &self,
        sysctls: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), LabError> {
        let differs = |(name, value): &(&str, &str)| read_sysctl(name).is_ok_and(|found| found != *value);
        self.set_sysctls_here(sysctls.into_iter().filter(differs))
    }

    /// Used for rtnetlink(7). It stays open as long as the namespace is registered.
    pub(super) fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    pub(super) fn fault(&self, source: io::Error) -> LabError {
        LabError::Netns { netns: self.name.clone(), source }
    }

    pub(super) fn refused(&self, what: String, source: io::Error) -> LabError {
        LabError::Refused { netns: self.name.clone(), what, source }
    }
}

/// Keeps the calling thread in another namespace until dropped.
struct Inside {
    /// The thread's original namespace.
    from: File,
}

impl Inside {
    fn enter(netns: &File) -> io::Result<Self> {
        let from = File::open("/proc/thread-self/ns/net")?;
        setns(netns, CloneFlags::CLONE_NEWNET)?;
        Ok(Self { from })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Err(errno) = setns(&self.from, CloneFlags::CLONE_NEWNET) {
            panic!("a thread cannot leave a network namespace: {errno}");
        }
    }
}

pub(super) fn write_sysctl(name: &str, value: &str) -> io::Result<()> {
    let is_of_netns = name.starts_with("net.") && !name.contains('/') && !name.contains("..");
    if !is_of_netns {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a sysctl of a network namespace"));
    }
    // `/proc/sys/net` shows the namespace of the reading thread (net/sysctl_net.c). Dots in device names are written as
    // slashes and vice versa (sysctl(8)); no device of a lab has one.
    std::fs::write(format!("/proc/sys/{}", name.replace('.', "/")), value)
}

pub(super) fn read_sysctl(name: &str) -> io::Result<String> {
    let text = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/")))?;
    Ok(text.trim().to_owned())
}

/// Creates or deletes namespaces with one process.
fn ip_batch(names: &[String], action: &str) -> Result<(), ToolError> {
    let lines: String = names.iter().map(|name| format!("netns {action} {name}\n")).collect();
    // With `-force`, a name that does not exist any more does not stop the batch.
    let args: &[&str] = if action == "del" { &["-force", "-batch", "-"] } else { &["-batch", "-"] };
    ToolCommand { program: "ip", args, input: lines.as_bytes() }.run().map(drop)
}

/// Deletes the namespaces that exist. Errors cannot be handled here: remains are removed by the next `hairpin lab
/// clean`.
fn delete(names: &[String]) {
    let existing: Vec<String> = names.iter().filter(|name| netns_path(name).exists()).cloned().collect();
    if !existing.is_empty() {
        let _ = ip_batch(&existing, "del");
    }
}

#[cfg(test)]
mod tests;
