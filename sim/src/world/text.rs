//! Loads rule text into a netns: the same bytes that the kernel's tools would load.

use super::World;
use crate::hook::Family;
use crate::hook_table;
use crate::ids::NetnsId;
use crate::ipset::IpsetOptions;
use crate::ipvs::ListOrder;
use crate::netns::Netns;
use crate::stack;
use crate::xtables::{CommandOutcome, RestoreOptions, RuleError, TableKind};

/// Why text was not loaded. The iptables table that contains the error is unchanged.
pub type LoadError = RuleError;

impl World {
    /// Loads text in the format of `ipset restore`. `source` names the text in errors.
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

    /// The output of `ipset save -sorted`.
    pub fn ipset_save(&self, netns: NetnsId) -> String {
        self.netns(netns).ipset.save(self.now())
    }

    /// Adds a policy rule: the arguments of `ip rule add`, as line `number` of `source`.
    pub fn ip_rule_add(
        &mut self,
        netns: NetnsId,
        source: &str,
        number: u32,
        line: &str,
    ) -> Result<(), LoadError> {
        let ns = self.netns_mut(netns);
        ns.fib.ip_rule_add(&ns.devices, source, number, line)
    }

    /// Adds a route to any table: the arguments of `ip route add`, as line `number` of `source`.
    pub fn ip_route_add(
        &mut self,
        netns: NetnsId,
        source: &str,
        number: u32,
        line: &str,
    ) -> Result<(), LoadError> {
        let ns = self.netns_mut(netns);
        ns.fib.ip_route_add(&ns.devices, source, number, line)
    }

    /// Loads text in the format of `ipvsadm --restore`. `source` names the text in errors. As with the tool, the commands
    /// before one that is refused have taken effect.
    pub fn ipvsadm_restore(&mut self, netns: NetnsId, source: &str, text: &str) -> Result<(), LoadError> {
        let now = self.now();
        let result = self.with_netns(netns, |ns, cx| {
            let result = ns.ipvs.restore(ns.clock(now), source, text);
            stack::ipvs::drop_ended(ns, cx);
            if ns.ipvs.is_enabled() {
                hook_table::IPVS.into_iter().for_each(|ops| ns.hooks.register(ops));
            }
            result
        });
        if self.netns(netns).ipvs.is_enabled() && !self.with_ipvs.contains(&netns) {
            self.with_ipvs.push(netns);
        }
        result
    }

    /// The output of `ipvsadm -Sn`.
    pub fn ipvsadm_save(&self, netns: NetnsId) -> String {
        self.netns(netns).ipvs.save()
    }

    /// The output of `ipvsadm -Ln`.
    pub fn ipvsadm_list(&mut self, netns: NetnsId, order: ListOrder) -> String {
        self.expire_ipvs();
        self.netns(netns).ipvs.list(order)
    }

    /// The output of `ipvsadm -Lnc`.
    pub fn ipvsadm_list_connections(&mut self, netns: NetnsId) -> String {
        self.expire_ipvs();
        let ns = self.netns(netns);
        ns.ipvs.list_connections(ns.clock(self.now()))
    }

    /// Loads text in the format of `iptables-restore`. `source` names the text in errors.
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

/// Registers the hooks that the rules of a netns need.
fn register_hooks(ns: &mut Netns) {
    let (family, xtables) = (Family::Ipv4, &ns.xtables);
    for table in TableKind::ALL.into_iter().filter(|table| xtables.has_table(family, *table)) {
        ns.hooks.register_table(family, table);
    }
    // The nat table alone does not enable tracking (ipt_nat_register_lookups, net/ipv4/netfilter/iptable_nat.c); rules
    // that use conntrack or translate do (nf_ct_netns_get in their checkentry).
    let uses_conntrack = xtables.uses_conntrack(family);
    for ops in hook_table::CONNTRACK {
        if uses_conntrack {
            ns.hooks.register(ops);
        } else {
            ns.hooks.unregister(ops);
        }
    }
}
