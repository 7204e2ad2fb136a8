//! Sysctls of the whole machine, which no network namespace can change. In a virtual machine they may be written.

use std::collections::BTreeMap;

use super::failure::refused;
use super::lab::{read_sysctl, write_sysctl};
use crate::arm::ArmError;

/// Sysctls that are read-only in a namespace because they are global (`nf_conntrack_standalone_init_sysctl`,
/// net/netfilter/nf_conntrack_standalone.c). kube-proxy sets some of them on a node.
pub(super) const OF_THE_MACHINE: [&str; 3] = [
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_expect_max",
];

/// The sysctls of the machine.
#[derive(Debug, Default)]
pub(super) struct MachineSysctls {
    /// True if they may be written.
    pub(super) are_ours: bool,
    /// The values before the first change; written back when the arm is dropped.
    before: BTreeMap<String, String>,
}

impl MachineSysctls {
    /// Writes one. Every network namespace obeys it.
    pub(super) fn write(&mut self, name: &str, value: &str) -> Result<(), ArmError> {
        if !self.are_ours {
            return Err(ArmError::Missing(format!(
                "{name} is a setting of the whole machine, which a network namespace cannot change: run this scenario \
                 on the simulator, or set it in a step and run the scenario in a virtual machine (--against vm)"
            )));
        }
        let fault = |error| refused(format!("sysctl {name}={value}: {error}"), &error);
        if !self.before.contains_key(name) {
            self.before.insert(name.to_owned(), read_sysctl(name).map_err(fault)?);
        }
        write_sysctl(name, value).map_err(fault)
    }
}

impl Drop for MachineSysctls {
    fn drop(&mut self) {
        for (name, value) in &self.before {
            // A machine that refuses its former value would show it in the next run.
            let _ = write_sysctl(name, value);
        }
    }
}
