//! A lab: named network namespaces that one run makes, enters and tears down.
//!
//! A namespace is entered by the calling thread alone (setns(2)), which goes back when it is done there. Sockets and
//! processes that begin there stay there; the rest of the program never leaves the machine's own namespace.

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

use super::tool::{Tool, ToolError};
use name::netns_path;

/// The namespaces of one run. They are deleted when it is dropped; on signals by [`tear_down_on_signals`]; after `kill -9`
/// by [`sweep`].
#[derive(Debug)]
pub struct Lab {
    id: LabId,
    /// By node name, in the order in which they were asked for.
    netns: IndexMap<String, LabNetns>,
    /// Namespaces that it has made so far.
    count: u32,
}

/// A namespace of a lab.
#[derive(Debug)]
pub struct LabNetns {
    /// The node's name, such as `node-1` or `pod/web-0`.
    name: String,
    /// The name that `ip netns` lists.
    system_name: String,
    /// What setns(2) takes. An open file keeps a namespace alive, so it goes before the namespace is deleted.
    file: File,
}

/// Why a lab could not be made or entered.
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
    /// The kernel did not do what was asked of it.
    #[error("{netns}: {what}: {source}")]
    Refused {
        /// The node's name.
        netns: String,
        /// What was asked, as a command line that asks the same.
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
        /// What was to be written.
        value: String,
        /// Why.
        source: io::Error,
    },
}

impl Lab {
    /// Makes namespaces with the given node names. Each has a loopback device and nothing else.
    ///
    /// # Errors
    /// If a namespace cannot be made; those that were made are deleted again.
    pub fn create<'a>(nodes: impl IntoIterator<Item = &'a str>) -> Result<Self, LabError> {
        let mut lab = Self { id: LabId::next(), netns: IndexMap::new(), count: 0 };
        lab.add(nodes)?;
        Ok(lab)
    }

    /// Makes further namespaces.
    ///
    /// # Errors
    /// If a namespace cannot be made. Those that were made go with the lab.
    pub fn add<'a>(&mut self, nodes: impl IntoIterator<Item = &'a str>) -> Result<(), LabError> {
        let nodes: Vec<(&str, String)> = nodes
            .into_iter()
            .zip(self.count..)
            .map(|(node, number)| (node, self.id.netns_name(number, node)))
            .collect();
        self.count += u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        let names: Vec<String> = nodes.iter().map(|(_, name)| name.clone()).collect();
        // From here on, dropping the lab deletes what there is.
        interrupt::make(self.id, &names, || ip_batch(&names, "add"))?;
        for (node, system_name) in nodes {
            let fault = |source| LabError::Netns { netns: node.to_owned(), source };
            let file = File::open(netns_path(&system_name)).map_err(fault)?;
            let netns = LabNetns { name: node.to_owned(), system_name, file };
            let replaced = self.netns.insert(node.to_owned(), netns);
            assert!(replaced.is_none(), "node {node} is there already");
        }
        Ok(())
    }

    /// Deletes a namespace. Its devices go with it, and the other ends of its links with them.
    ///
    /// # Errors
    /// If it cannot be deleted.
    ///
    /// # Panics
    /// If the lab has no node of that name.
    pub fn remove(&mut self, node: &str) -> Result<(), LabError> {
        let removed = self.netns.shift_remove(node);
        let LabNetns { system_name, file, .. } =
            removed.unwrap_or_else(|| panic!("the lab has no node {node}"));
        drop(file);
        let deleted = ip_batch(std::slice::from_ref(&system_name), "del");
        interrupt::forget(self.id, &system_name);
        Ok(deleted?)
    }

    /// Its identity.
    pub const fn id(&self) -> LabId {
        self.id
    }

    /// The namespace of a node.
    ///
    /// # Panics
    /// If the lab has no node of that name: it was made with the names that are asked for.
    pub fn netns(&self, node: &str) -> &LabNetns {
        self.netns.get(node).unwrap_or_else(|| panic!("the lab has no node {node}"))
    }

    /// Every namespace, in the order in which they were asked for.
    pub fn all_netns(&self) -> impl Iterator<Item = &LabNetns> {
        self.netns.values()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.netns.clear();
        // Until they are deleted they are known, for a signal that comes meanwhile.
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

    /// Runs `act` inside the namespace. The calling thread is back where it was when this returns, even by a panic.
    ///
    /// # Errors
    /// If the namespace cannot be entered.
    ///
    /// # Panics
    /// If `act` does, or if the thread cannot go back: it must not go on where it does not belong.
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
        Ok(self.enter(|| Tool { program, args, input }.run())??)
    }

    /// Writes a sysctl of the namespace, such as `net.ipv4.ip_forward`.
    ///
    /// # Errors
    /// If there is none of that name, the kernel refuses the value, or the name does not begin with `net.`: what is outside
    /// of `net` belongs to the whole machine.
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

    /// The same by a thread that is inside already.
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

    /// What rtnetlink(7) takes. It stays open as long as the namespace is known.
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

/// The calling thread is in another namespace until this is dropped.
struct Inside {
    /// Where it came from.
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

fn write_sysctl(name: &str, value: &str) -> io::Result<()> {
    let is_of_netns = name.starts_with("net.") && !name.contains('/') && !name.contains("..");
    if !is_of_netns {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a sysctl of a network namespace"));
    }
    // `/proc/sys/net` shows the namespace of the thread that looks (net/sysctl_net.c). A dot within a device's name is
    // written as a slash, and the other way round (sysctl(8)); no device of a lab has one.
    std::fs::write(format!("/proc/sys/{}", name.replace('.', "/")), value)
}

/// Makes or deletes namespaces, by one process for all of them.
fn ip_batch(names: &[String], action: &str) -> Result<(), ToolError> {
    let lines: String = names.iter().map(|name| format!("netns {action} {name}\n")).collect();
    // With `-force`, a name that is gone already does not keep the others.
    let args: &[&str] = if action == "del" { &["-force", "-batch", "-"] } else { &["-batch", "-"] };
    Tool { program: "ip", args, input: lines.as_bytes() }.run().map(drop)
}

/// Deletes those of the namespaces that exist. Called where nothing can be done about failure: what remains is swept up by
/// the next `hairpin lab clean`.
fn delete(names: &[String]) {
    let existing: Vec<String> = names.iter().filter(|name| netns_path(name).exists()).cloned().collect();
    if !existing.is_empty() {
        let _ = ip_batch(&existing, "del");
    }
}

#[cfg(test)]
mod tests;
