//! The order of subsystems at each hook of a netns (`struct nf_hook_entries`, include/linux/netfilter.h).
//!
//! Each entry of a hook is one row, [`HookOps`]. Rows of br_netfilter, conntrack, NAT and IPVS are defined here; those of
//! tables follow from [`TableKind::hooks`]. Chains that configure NAT are in separate lists, because NAT evaluates them
//! only while a flow has no binding.

use crate::hook::{Family, Hook, Priority};
use crate::netfilter::nat;
use crate::xtables::TableKind;

/// A chain of rules at a hook, or one that NAT evaluates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseChain {
    /// The chain of that iptables table at the hook (`ipt_do_table`).
    Xtables(TableKind),
}

/// A hook entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookEntry {
    /// `ip_sabotage_in` of br_netfilter: a packet that traversed PREROUTING on the bridge skips it when passed up.
    SabotageIn,
    /// `ipv4_conntrack_defrag`: reassembles fragments, so that rules see complete packets.
    Defrag,
    /// `ipv4_conntrack_in`, `ipv4_conntrack_local`: finds or creates the conntrack entry.
    Conntrack,
    /// `nf_confirm`: inserts a new entry into the table.
    Confirm,
    /// `nf_nat_inet_fn`: binds the flow, using [`HookTable::nat_chains`], and translates the packet.
    Nat,
    /// `ip_vs_out_hook`: translates the replies of real servers.
    IpvsOut,
    /// `ip_vs_in_hook`: sends packets for virtual services to real servers.
    IpvsIn,
    /// `ip_vs_forward_icmp`: ICMP errors from the side of the client that are not addressed to this netns.
    IpvsForwardIcmp,
    /// Rules.
    Chain(BaseChain),
}

/// An entry and its position (`struct nf_hook_ops`, include/linux/netfilter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookOps {
    /// Family.
    pub family: Family,
    /// Hook.
    pub hook: Hook,
    /// Its position among the entries of the hook.
    pub priority: Priority,
    /// The entry.
    pub entry: HookEntry,
    /// A packet of this netns is rerouted if the entry changed its source, destination, TOS or mark (`ipt_mangle_out`,
    /// net/ipv4/netfilter/iptable_mangle.c; chains of type `route` in nftables).
    pub is_rerouting: bool,
}

/// br_netfilter (`br_nf_ops`, net/bridge/br_netfilter_hooks.c), registered with the first bridge of a netns. Must precede
/// everything that PREROUTING on the bridge has already done.
pub const BR_NETFILTER: [HookOps; 1] = [ipv4(Hook::Prerouting, Priority::FIRST, HookEntry::SabotageIn)];

/// Conntrack (`ipv4_conntrack_ops`, net/netfilter/nf_conntrack_proto.c): a packet is tracked on entry and confirmed on
/// exit. It includes the reassembly of fragments (`ipv4_defrag_ops`, net/ipv4/netfilter/nf_defrag_ipv4.c).
pub const CONNTRACK: [HookOps; 6] = [
    ipv4(Hook::Prerouting, Priority::CONNTRACK_DEFRAG, HookEntry::Defrag),
    ipv4(Hook::Output, Priority::CONNTRACK_DEFRAG, HookEntry::Defrag),
    ipv4(Hook::Prerouting, Priority::CONNTRACK, HookEntry::Conntrack),
    ipv4(Hook::Output, Priority::CONNTRACK, HookEntry::Conntrack),
    ipv4(Hook::Postrouting, Priority::CONNTRACK_CONFIRM, HookEntry::Confirm),
    ipv4(Hook::Input, Priority::CONNTRACK_CONFIRM, HookEntry::Confirm),
];

/// IPVS (`ip_vs_ops4`, net/netfilter/ipvs/ip_vs_core.c), registered with the first service of a netns. Around NAT: replies
/// first, so that a packet is translated in one direction only.
pub const IPVS: [HookOps; 6] = [
    ipv4(Hook::Input, Priority(98), HookEntry::IpvsOut),
    ipv4(Hook::Input, Priority(99), HookEntry::IpvsIn),
    ipv4(Hook::Output, Priority(-99), HookEntry::IpvsOut),
    ipv4(Hook::Output, Priority(-98), HookEntry::IpvsIn),
    ipv4(Hook::Forward, Priority(99), HookEntry::IpvsForwardIcmp),
    ipv4(Hook::Forward, Priority(100), HookEntry::IpvsOut),
];

const fn ipv4(hook: Hook, priority: Priority, entry: HookEntry) -> HookOps {
    HookOps { family: Family::Ipv4, hook, priority, entry, is_rerouting: false }
}

/// The entries of each hook and the chains of NAT, lowest priority first.
#[derive(Clone, Debug, Default)]
pub struct HookTable {
    entries: ByHook<HookOps>,
    nat_chains: ByHook<(Priority, BaseChain)>,
}

/// By family, then by hook.
type ByHook<T> = [[Vec<T>; 5]; 3];

impl HookTable {
    /// The entries of a hook in order of execution.
    pub fn entries(&self, family: Family, hook: Hook) -> &[HookOps] {
        &self.entries[family as usize][hook as usize]
    }

    /// The chains that NAT evaluates at a hook, in order.
    pub fn nat_chains(&self, family: Family, hook: Hook) -> &[(Priority, BaseChain)] {
        &self.nat_chains[family as usize][hook as usize]
    }

    /// Registers an entry (`nf_register_net_hook`, net/netfilter/core.c), unless it is registered already.
    pub fn register(&mut self, ops: HookOps) {
        insert(&mut self.entries[ops.family as usize][ops.hook as usize], ops, |held| held.priority);
    }

    /// Removes an entry (`nf_unregister_net_hook`), if it is registered.
    pub fn unregister(&mut self, ops: HookOps) {
        self.entries[ops.family as usize][ops.hook as usize].retain(|held| *held != ops);
    }

    /// Registers a chain for NAT; the first one registers the entries of NAT as well (`nf_nat_register_fn`,
    /// net/netfilter/nf_nat_core.c).
    pub fn register_nat_chain(&mut self, family: Family, hook: Hook, priority: Priority, chain: BaseChain) {
        for (hook, priority) in nat::HOOKS {
            self.register(HookOps { family, ..ipv4(hook, priority, HookEntry::Nat) });
        }
        let chains = &mut self.nat_chains[family as usize][hook as usize];
        insert(chains, (priority, chain), |(priority, _)| *priority);
    }

    /// Registers the base chains of an iptables table (`xt_hook_ops_alloc`, net/netfilter/x_tables.c; for the nat table
    /// `ipt_nat_register_lookups`, net/ipv4/netfilter/iptable_nat.c).
    pub fn register_table(&mut self, family: Family, table: TableKind) {
        let chain = BaseChain::Xtables(table);
        for (hook, priority) in table.hooks().iter().copied() {
            if table == TableKind::Nat {
                self.register_nat_chain(family, hook, priority, chain);
            } else {
                let is_rerouting = table == TableKind::Mangle && hook == Hook::Output;
                let entry = HookEntry::Chain(chain);
                self.register(HookOps { family, hook, priority, entry, is_rerouting });
            }
        }
    }
}

/// Inserts an item before those of the same priority (`nf_hook_entries_grow`, net/netfilter/core.c), unless it exists.
fn insert<T: PartialEq>(list: &mut Vec<T>, item: T, priority: impl Fn(&T) -> Priority) {
    if !list.contains(&item) {
        let at = list.partition_point(|held| priority(held) < priority(&item));
        list.insert(at, item);
    }
}

#[cfg(test)]
mod tests;
