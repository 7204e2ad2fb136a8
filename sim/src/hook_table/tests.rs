use super::*;
use crate::hook::Family::{Bridge, Ipv4, Ipv6};
use std::fmt::Write as _;

fn shown(table: &HookTable) -> String {
    let mut text = String::new();
    for hook in Hook::ALL {
        _ = writeln!(text, "{hook}");
        for HookOps { priority, entry, is_rerouting, .. } in table.entries(Ipv4, hook) {
            let suffix = if *is_rerouting { ", routes anew" } else { "" };
            _ = writeln!(text, "  {} {entry:?}{suffix}", priority.0);
        }
        for (priority, chain) in table.nat_chains(Ipv4, hook) {
            _ = writeln!(text, "  NAT asks {} {chain:?}", priority.0);
        }
    }
    text
}

fn everything() -> HookTable {
    let mut table = HookTable::default();
    BR_NETFILTER.into_iter().chain(CONNTRACK).chain(IPVS).for_each(|ops| table.register(ops));
    TableKind::ALL.into_iter().for_each(|kind| table.register_table(Ipv4, kind));
    table
}

#[test]
fn entries_stand_in_the_order_of_the_kernel() {
    insta::assert_snapshot!(shown(&everything()));
}

#[test]
fn what_is_registered_twice_stands_once() {
    let mut table = everything();
    CONNTRACK.into_iter().for_each(|ops| table.register(ops));
    TableKind::ALL.into_iter().for_each(|kind| table.register_table(Ipv4, kind));
    assert_eq!(shown(&table), shown(&everything()));
}

#[test]
fn conntrack_goes_when_no_rule_needs_it() {
    let mut table = everything();
    CONNTRACK.into_iter().for_each(|ops| table.unregister(ops));
    let mut without = HookTable::default();
    BR_NETFILTER.into_iter().chain(IPVS).for_each(|ops| without.register(ops));
    TableKind::ALL.into_iter().for_each(|kind| without.register_table(Ipv4, kind));
    assert_eq!(shown(&table), shown(&without));
}

#[test]
fn families_are_apart() {
    let mut table = HookTable::default();
    table.register_table(Ipv6, TableKind::Filter);
    assert_eq!(table.entries(Ipv6, Hook::Input).len(), 1);
    assert!(table.entries(Ipv4, Hook::Input).is_empty());
    assert!(table.entries(Bridge, Hook::Input).is_empty());
}

/// A base chain may have any priority. Of several with the same one, the newest runs first, as in the kernel.
#[test]
fn chains_of_any_priority_find_their_place() {
    let chain = |priority, kind| HookOps {
        family: Ipv4,
        hook: Hook::Forward,
        priority: Priority(priority),
        entry: HookEntry::Chain(BaseChain::Xtables(kind)),
        is_rerouting: false,
    };
    let mut table = HookTable::default();
    let rows = [
        chain(10, TableKind::Raw),
        chain(-5, TableKind::Raw),
        chain(0, TableKind::Raw),
        chain(0, TableKind::Filter),
    ];
    rows.into_iter().for_each(|ops| table.register(ops));
    assert_eq!(table.entries(Ipv4, Hook::Forward), [rows[1], rows[3], rows[2], rows[0]]);
    table.unregister(rows[2]);
    assert_eq!(table.entries(Ipv4, Hook::Forward), [rows[1], rows[3], rows[0]]);
}

/// The entry of NAT has its own priority, independent of its chains.
#[test]
fn chains_of_nat_bring_its_entries_along() {
    let mut table = HookTable::default();
    let chain = BaseChain::Xtables(TableKind::Nat);
    table.register_nat_chain(Ipv4, Hook::Prerouting, Priority(50), chain);
    table.register_nat_chain(Ipv4, Hook::Prerouting, Priority(-150), chain);
    let chains = [(Priority(-150), chain), (Priority(50), chain)];
    assert_eq!(table.nat_chains(Ipv4, Hook::Prerouting), chains);
    let priorities = |hook| table.entries(Ipv4, hook).iter().map(|ops| ops.priority).collect::<Vec<_>>();
    let expected = [
        vec![Priority::NAT_DST],
        vec![Priority::NAT_SRC],
        vec![],
        vec![Priority::NAT_DST],
        vec![Priority::NAT_SRC],
    ];
    assert_eq!(Hook::ALL.map(priorities), expected);
}
