//! The minimal restore input for a change of the plan.
//!
//! Real kube-proxy rewrites the shared chains in every sync. Here a rule in them is inserted or deleted only if a
//! Service's own dispatch changes, and a chain of a Service is written only if its rules differ. Each table is still
//! one transaction, which the kernel rejects as a whole if it does not apply: if the node's rules do not match the old
//! plan, load everything ([`super::load`]), as kube-proxy does after a failed sync.

mod shared_chains;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::chain_name::ChainName;
use super::dispatch::{SharedChain, dispatch};
use super::fixed::LOCALHOST_GUARD;
use super::rules::{Chain, RestoreText, TableRules};
use super::service_chains::{chain_names, chain_texts};
use super::{LARGE_CLUSTER_ENDPOINTS, is_large_cluster, restore_tool, tables};
use crate::load::{Load, Table};
use crate::plan::{Plan, PlanChange, ServiceChange};
use shared_chains::SharedChains;

/// The list to load for the restore input of a sync; empty if the input is empty.
pub(crate) fn load(plan: &Plan, restore: String) -> Vec<Load> {
    let is_needed = !restore.is_empty();
    is_needed.then(|| Load::Text { tool: restore_tool(plan.family), text: restore }).into_iter().collect()
}

/// Restore input for the change between two plans of the same node and family; empty if no rule changes. Reads both
/// plans completely, but writes no more than [`of_change`].
///
/// # Panics
/// If the plans have different families.
pub fn between(before: &Plan, after: &Plan) -> String {
    assert_eq!(before.family, after.family, "a sync is within one family");
    if before.node == after.node {
        of_change(after, &after.change_since(before))
    } else {
        rewrite(before, after)
    }
}

/// Restore input after [`Plan::update`] changed a plan to `after`. The cost depends on the change, unless a rule is
/// inserted into a shared chain: then all service ports are counted to find its position.
pub fn of_change(after: &Plan, change: &PlanChange) -> String {
    let large_before = change.endpoint_count_before > LARGE_CLUSTER_ENDPOINTS;
    let large_after = is_large_cluster(after);
    let mut writer = Writer::new(after);
    writer.write_shared_chains(&change.services);
    if large_before == large_after {
        for service in &change.services {
            writer.write_service(service, large_before, large_after);
        }
    } else {
        // Comments are added or removed in every Service.
        for service in change.of_all(after) {
            writer.write_service(&service, large_before, large_after);
        }
    }
    writer.finish()
}

/// The complete new rules, and deletion of the chains that only the old plan had: for a change of the node itself.
fn rewrite(before: &Plan, after: &Plan) -> String {
    let [filter, nat] = tables(after);
    let kept = chains_of_plan(after);
    let stale: Vec<ChainName> = chains_of_plan(before).difference(&kept).copied().collect();
    let mut text = RestoreText::default();
    // Rules without the 127.0.0.0/8 protection do not declare its chain: empty it. It is kept because built-in chains
    // jump to it.
    let guard = Chain::Fixed(LOCALHOST_GUARD);
    let emptied = Some(guard).filter(|guard| !filter.chains.contains(guard));
    let TableRules { table, chains, rules } = &filter;
    text.table(*table, emptied.iter().chain(chains).map(Chain::as_str), [rules.as_str()]);
    let deletions: String = stale.iter().map(|chain| format!("-X {chain}\n")).collect();
    let TableRules { table, chains, rules } = &nat;
    let chains = stale.iter().map(ChainName::as_str).chain(chains.iter().map(Chain::as_str));
    text.table(*table, chains, [rules.as_str(), &deletions]);
    text.into_string()
}

fn chains_of_plan(plan: &Plan) -> BTreeSet<ChainName> {
    plan.services.values().flat_map(|service| chain_names(service)).collect()
}

/// Collects restore input, in dependency order.
struct Writer<'a> {
    plan: &'a Plan,
    /// Edits of shared chains, per table.
    filter_edits: String,
    nat_edits: String,
    /// Chains of Services: chains to create or to empty, their rules, and deletions. A chain can be deleted only when
    /// no rule jumps to it any more.
    declared: Vec<ChainName>,
    rules: String,
    deletions: String,
}

impl<'a> Writer<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            filter_edits: String::new(),
            nat_edits: String::new(),
            declared: Vec::new(),
            rules: String::new(),
            deletions: String::new(),
        }
    }

    fn write_shared_chains(&mut self, services: &'a [ServiceChange]) {
        let mut shared = SharedChains::new(self.plan);
        for ServiceChange { name, before, after } in services {
            let before = dispatch(before.as_deref(), self.plan);
            let after = dispatch(after.as_deref(), self.plan);
            for chain in SharedChain::ALL {
                let text = match chain.table() {
                    Table::Filter => &mut self.filter_edits,
                    Table::Nat => &mut self.nat_edits,
                };
                shared.write_edits(text, chain, name, &before, &after);
            }
        }
    }

    fn write_service(&mut self, service: &ServiceChange, large_before: bool, large_after: bool) {
        let before = chain_texts(service.before.as_deref(), &self.plan.node, large_before);
        let after = chain_texts(service.after.as_deref(), &self.plan.node, large_after);
        for (chain, rules) in &after {
            if before.get(chain) != Some(rules) {
                self.declared.push(*chain);
                self.rules.push_str(rules);
            }
        }
        for chain in before.keys().filter(|chain| !after.contains_key(chain)) {
            self.declared.push(*chain);
            writeln!(self.deletions, "-X {chain}").expect("writing to a String does not fail");
        }
    }

    fn finish(self) -> String {
        let mut text = RestoreText::default();
        if !self.filter_edits.is_empty() {
            text.table(Table::Filter, std::iter::empty(), [self.filter_edits.as_str()]);
        }
        let nat = [&self.rules, &self.nat_edits, &self.deletions].map(String::as_str);
        if !self.declared.is_empty() || nat.iter().any(|part| !part.is_empty()) {
            text.table(Table::Nat, self.declared.iter().map(ChainName::as_str), nat);
        }
        text.into_string()
    }
}
