//! `iptables-save` and `iptables -S`: prints rules.
//!
//! Linux user space: iptables/iptables-save.c and `print_rule4`, iptables/iptables.c; the order of tables and chains is
//! that of the nf_tables back end of version 1.8.9.

use super::FamilyTables;
use super::chain::ChainId;
use super::ruleset::Table;
use std::fmt::Write as _;
use std::sync::Arc;

/// Prints every table that has been used. The comments around tables contain no date, because there is no clock.
pub(super) fn save(tables: &FamilyTables, with_counters: bool) -> String {
    let mut out = String::new();
    for table in tables.iter() {
        _ = writeln!(out, "*{}", table.kind.name());
        let ids = table.chains().sorted();
        for id in &ids {
            declare(&mut out, table, *id);
        }
        for id in ids {
            rules(&mut out, table, id, with_counters);
        }
        out.push_str("COMMIT\n");
    }
    out
}

/// `:INPUT ACCEPT [0:0]`; a chain without a policy has no counters.
fn declare(out: &mut String, table: &Table, id: ChainId) {
    let chain = table.chains().get(id);
    _ = match chain.base {
        Some(base) => {
            let policy = if base.is_accept { "ACCEPT" } else { "DROP" };
            let count = table.counters.get(base.slot);
            writeln!(out, ":{} {policy} [{}:{}]", chain.name, count.packets, count.bytes)
        }
        None => writeln!(out, ":{} - [0:0]", chain.name),
    };
}

fn rules(out: &mut String, table: &Table, id: ChainId, with_counters: bool) {
    let chain = table.chains().get(id);
    let chain_name = |id| Arc::clone(&table.chains().get(id).name);
    for rule in chain.rules() {
        if with_counters {
            let count = table.counters.get(rule.slot);
            _ = write!(out, "[{}:{}] ", count.packets, count.bytes);
        }
        _ = write!(out, "-A {}", chain.name);
        rule.spec.print(out, chain_name);
        out.push('\n');
    }
}

/// Prints chains like `iptables -S`.
pub(super) fn list_rules(table: &Table, ids: &[ChainId]) -> String {
    let mut out = String::new();
    for id in ids {
        let chain = table.chains().get(*id);
        _ = match chain.base {
            Some(base) if base.is_accept => writeln!(out, "-P {} ACCEPT", chain.name),
            Some(_) => writeln!(out, "-P {} DROP", chain.name),
            None => writeln!(out, "-N {}", chain.name),
        };
    }
    for id in ids {
        rules(&mut out, table, *id, false);
    }
    out
}
