//! Rule text into a netns: the same bytes that the kernel's tools would load.

use super::World;
use crate::hook::Family;
use crate::hook_table;
use crate::ids::NetnsId;
use crate::ipset::IpsetOptions;
use crate::netns::Netns;
use crate::xtables::{CommandOutcome, RestoreOptions, RuleError, TableKind};

/// Why text was not loaded. Nothing of the iptables table at fault was changed.
pub type LoadError = RuleError;

impl World {
    /// Loads what `ipset restore` reads. `source` names the text in errors.
    pub fn ipset_restore(
        &mut self,
        netns: NetnsId,
        source: &str,
        text: &str,
        options: IpsetOptions,
    ) -> Result<(), LoadError> {
        let now = self.now();
        self.netns_mut(netns).ipset.restore(now, source, text, options)
    }

    /// What `ipset save -sorted` prints.
    pub fn ipset_save(&self, netns: NetnsId) -> String {
        self.netns(netns).ipset.save(self.now())
    }

    /// Loads what `iptables-restore` reads. `source` names the text in errors.
    pub fn iptables_restore(
        &mut self,
        netns: NetnsId,
        source: &str,
        text: &str,
        options: RestoreOptions,
    ) -> Result<(), LoadError> {
        let ns = self.netns_mut(netns);
        let result = ns.xtables.restore(&mut ns.ipset, Family::Ipv4, source, text, options);
        register_hooks(ns);
        result
    }

    /// Runs one `iptables` command line.
    pub fn iptables_command(
        &mut self,
        netns: NetnsId,
        source: &str,
        line_number: u32,
        command_line: &str,
    ) -> Result<CommandOutcome, LoadError> {
        let ns = self.netns_mut(netns);
        let result = ns.xtables.command(&mut ns.ipset, source, line_number, command_line);
        register_hooks(ns);
        result
    }
}

/// Registers what the rules of a netns need by now.
fn register_hooks(ns: &mut Netns) {
    let (family, xtables) = (Family::Ipv4, &ns.xtables);
    for table in TableKind::ALL.into_iter().filter(|table| xtables.has_table(family, *table)) {
        ns.hooks.register_table(family, table);
    }
    // A nat table alone does not begin to track (ipt_nat_register_lookups, net/ipv4/netfilter/iptable_nat.c); rules do that
    // refer to conntrack or translate (nf_ct_netns_get in their checkentry).
    let uses_conntrack = xtables.uses_conntrack(family);
    for ops in hook_table::CONNTRACK {
        if uses_conntrack {
            ns.hooks.register(ops);
        } else {
            ns.hooks.unregister(ops);
        }
    }
}
