//! What to write when a plan changes: the least that turns the rules of one plan into those of another.
//!
//! Real kube-proxy writes the shared chains anew at every sync; here a rule in them is inserted or deleted
//! only where a Service's own dispatch changes, and a chain of a Service is written only if its rules differ.
//! Each table is still one transaction, and one that does not fit is refused as a whole: where the node's
//! rules are not those of the plan before, load everything ([`crate::iptables::full`]), as kube-proxy does
//! after a failed sync.

mod shared_chains;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::iptables::{self, SharedChain, Table, chain_names, chain_texts, dispatch, is_large_cluster};
use crate::names::ChainName;
use crate::plan::{Plan, PlanChange, ServiceChange};
use crate::stale_flows::FlowCleanup;
use shared_chains::SharedChains;

/// What to do on a node when its plan changes, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// Input for `iptables-restore --noflush` (or `ip6tables-restore`); empty if no rule changes.
    pub restore: String,
    /// conntrack entries to delete after the restore.
    pub flows: FlowCleanup,
}

/// What to do when a plan becomes another plan of the same node and family. Reads both plans whole, but does
/// not write more than [`of_change`].
///
/// # Panics
/// If the plans are of different families: no rules turn one into the other.
pub fn between(before: &Plan, after: &Plan) -> Sync {
    assert_eq!(before.family, after.family, "a sync is within one family");
    let change = after.change_since(before);
    if before.node == after.node {
        return of_change(after, &change);
    }
    let flows = FlowCleanup::after(after, &change);
    Sync { restore: rewrite(before, after), flows }
}

/// What to do after [`Plan::update`] changed a plan to `after`. Cost is that of the change, as long as no
/// rule enters a shared chain; then all service ports are counted to find its place.
pub fn of_change(after: &Plan, change: &PlanChange) -> Sync {
    let large_before = change.endpoint_count_before > iptables::LARGE_CLUSTER_ENDPOINTS;
    let large_after = is_large_cluster(after);
    let mut writer = Writer::new(after);
    writer.write_shared_chains(&change.services);
    if large_before == large_after {
        for service in &change.services {
            writer.write_service(service, large_before, large_after);
        }
    } else {
        // Comments come or go in every Service.
        for service in all_services(after, change) {
            writer.write_service(&service, large_before, large_after);
        }
    }
    Sync { restore: writer.finish(), flows: FlowCleanup::after(after, change) }
}

/// Every service port, those that do not change included.
fn all_services(after: &Plan, change: &PlanChange) -> impl Iterator<Item = ServiceChange> {
    let mut services: BTreeMap<_, _> = after
        .services
        .iter()
        .map(|(name, plan)| (name.clone(), (Some(Arc::clone(plan)), Some(Arc::clone(plan)))))
        .collect();
    for ServiceChange { name, before, after } in &change.services {
        services.insert(name.clone(), (before.clone(), after.clone()));
    }
    services.into_iter().map(|(name, (before, after))| ServiceChange { name, before, after })
}

/// The whole new rule set, and the end of what only the old one had: for a change of the node itself.
fn rewrite(before: &Plan, after: &Plan) -> String {
    let new = iptables::full(after).restore;
    let kept = chains_of_plan(after);
    let stale: Vec<ChainName> = chains_of_plan(before).difference(&kept).copied().collect();
    let mut text = String::with_capacity(new.len() + stale.len() * 64);
    let (filter, nat) = new.split_once("*nat\n").expect("full rules have a nat table");
    let (filter_head, filter_rules) = filter.split_at("*filter\n".len());
    text.push_str(filter_head);
    // The guard of 127.0.0.0/8 is no part of rules without it: empty it. It stays, for built-in chains jump
    // to it.
    if !filter_rules.contains(":KUBE-FIREWALL ") {
        text.push_str(":KUBE-FIREWALL - [0:0]\n");
    }
    text.push_str(filter_rules);
    text.push_str("*nat\n");
    for chain in &stale {
        writeln!(text, ":{chain} - [0:0]").expect("a String takes everything");
    }
    text.push_str(nat.strip_suffix("COMMIT\n").expect("the nat table is committed last"));
    for chain in &stale {
        writeln!(text, "-X {chain}").expect("a String takes everything");
    }
    text.push_str("COMMIT\n");
    text
}

fn chains_of_plan(plan: &Plan) -> BTreeSet<ChainName> {
    plan.services.values().flat_map(|service| chain_names(service)).collect()
}

/// Collects restore input, by what must come before what.
struct Writer<'a> {
    plan: &'a Plan,
    /// Edits of shared chains, per table.
    filter_edits: String,
    nat_edits: String,
    /// Chains of Services: lines that make or empty them, their rules, and the lines that delete them. A
    /// chain can be deleted only when nothing jumps to it any more.
    declarations: String,
    rules: String,
    deletions: String,
}

impl<'a> Writer<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            filter_edits: String::new(),
            nat_edits: String::new(),
            declarations: String::new(),
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
                writeln!(self.declarations, ":{chain} - [0:0]").expect("a String takes everything");
                self.rules.push_str(rules);
            }
        }
        for chain in before.keys().filter(|chain| !after.contains_key(chain)) {
            writeln!(self.declarations, ":{chain} - [0:0]").expect("a String takes everything");
            writeln!(self.deletions, "-X {chain}").expect("a String takes everything");
        }
    }

    fn finish(self) -> String {
        let mut text = String::new();
        if !self.filter_edits.is_empty() {
            text.extend(["*filter\n", &self.filter_edits, "COMMIT\n"]);
        }
        let nat = [&self.declarations, &self.rules, &self.nat_edits, &self.deletions];
        if nat.iter().any(|part| !part.is_empty()) {
            text.push_str("*nat\n");
            text.extend(nat.map(String::as_str));
            text.push_str("COMMIT\n");
        }
        text
    }
}
