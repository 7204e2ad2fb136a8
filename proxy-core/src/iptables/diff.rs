//! Missing and surplus rules of a real node, reported by Service.
//!
//! The input is the output of `iptables-save` (or `ip6tables-save`) from either back end, with or without counters.
//! Only kube-proxy's chains are compared.

pub(crate) mod dump;
pub(crate) mod saved_rule;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use super::chain_name::ChainKind;
use super::{jumps, tables};
use crate::finding::{Diff, DumpError, Finding, FindingKind, FindingSubject};
use crate::load::Table;
use crate::plan::Plan;
use dump::SavedChains;
use saved_rule::SavedRule;

/// Compares the expected rules of a plan with a node's dump.
///
/// The order of Services in shared chains is ignored: kube-proxy writes them in arbitrary order.
///
/// # Errors
/// The first line of `dump` that is not valid `iptables-save` output.
pub fn compare(plan: &Plan, dump: &str) -> Result<Diff, DumpError> {
    let loaded = SavedChains::read_dump(dump, plan.family)?;
    let wanted = SavedChains::of_rules(plan.family, &tables(plan), jumps::ensured(plan.family));
    let mut comparison = Comparison { wanted: &wanted, loaded: &loaded, findings: Vec::new() };
    comparison.compare_jumps();
    comparison.compare_fixed_chains();
    comparison.compare_shared_chains();
    comparison.compare_service_chains();
    let mut findings = comparison.findings;
    findings.sort();
    Ok(Diff { findings: words::without_repetition(findings, &wanted, &loaded) })
}

/// Chains that hold rules of many Services.
const SHARED: [(Table, &str); 6] = [
    (Table::Filter, "KUBE-SERVICES"),
    (Table::Filter, "KUBE-EXTERNAL-SERVICES"),
    (Table::Filter, "KUBE-NODEPORTS"),
    (Table::Filter, "KUBE-PROXY-FIREWALL"),
    (Table::Nat, "KUBE-SERVICES"),
    (Table::Nat, "KUBE-NODEPORTS"),
];

/// Chains with fixed rules.
const FIXED: [(Table, &str); 4] = [
    (Table::Filter, "KUBE-FORWARD"),
    (Table::Filter, "KUBE-FIREWALL"),
    (Table::Nat, "KUBE-POSTROUTING"),
    (Table::Nat, "KUBE-MARK-MASQ"),
];

struct Comparison<'a> {
    wanted: &'a SavedChains,
    loaded: &'a SavedChains,
    findings: Vec<Finding>,
}

impl Comparison<'_> {
    /// Jumps from built-in chains must be present; other rules may stand between and around them.
    fn compare_jumps(&mut self) {
        for (table, chain, rules) in self.wanted.built_in() {
            let loaded = self.loaded.rules(table, chain);
            for rule in rules.iter().filter(|rule| !loaded.contains(rule)) {
                let target = rule.target().unwrap_or_default();
                let words = format!("packets in {chain} do not reach {target}");
                self.push(FindingSubject::Node, FindingKind::Missing, table, chain, words, Some(rule));
            }
        }
    }

    fn compare_fixed_chains(&mut self) {
        for (table, chain) in FIXED {
            let (wanted, loaded) = (self.wanted.rules(table, chain), self.loaded.rules(table, chain));
            if !self.loaded.has(table, chain) && self.wanted.has(table, chain) {
                let words = words::missing_fixed_chain(chain).to_owned();
                self.push(FindingSubject::Node, FindingKind::Missing, table, chain, words, None);
                continue;
            }
            let differences = Differences::between(wanted, loaded);
            for rule in differences.missing {
                let words = words::missing_fixed_chain(chain).to_owned();
                self.push(FindingSubject::Node, FindingKind::Missing, table, chain, words, Some(rule));
            }
            // The kubelet writes to KUBE-FIREWALL too.
            for rule in differences.extra.into_iter().filter(|_| chain != "KUBE-FIREWALL") {
                let words = "not a rule of kube-proxy".to_owned();
                self.push(FindingSubject::Node, FindingKind::Extra, table, chain, words, Some(rule));
            }
            if differences.is_reordered {
                let words = "the rules stand in another order".to_owned();
                self.push(FindingSubject::Node, FindingKind::Misplaced, table, chain, words, None);
            }
        }
    }

    fn compare_shared_chains(&mut self) {
        for (table, chain) in SHARED {
            let [wanted, loaded] = [self.wanted, self.loaded].map(|chains| chains.rules(table, chain));
            let [wanted_by, loaded_by] = [wanted, loaded].map(by_service);
            let owners: BTreeSet<_> = wanted_by.keys().chain(loaded_by.keys()).collect();
            for owner in owners {
                let none = Vec::new();
                let wanted = wanted_by.get(owner).unwrap_or(&none);
                let loaded = loaded_by.get(owner).unwrap_or(&none);
                let differences = Differences::between(wanted, loaded);
                let subject =
                    owner.map_or(FindingSubject::Node, |owner| FindingSubject::Service(owner.to_owned()));
                for rule in differences.missing {
                    let words = words::missing_in_shared(table, chain, rule);
                    self.push(subject.clone(), FindingKind::Missing, table, chain, words, Some(rule));
                }
                for rule in differences.extra {
                    let words = words::extra_in_shared(table, chain, rule);
                    let kind = if self.is_known(*owner) { FindingKind::Extra } else { FindingKind::Stale };
                    self.push(subject.clone(), kind, table, chain, words, Some(rule));
                }
                if differences.is_reordered {
                    let words = "its rules are in a different order".to_owned();
                    self.push(subject, FindingKind::Misplaced, table, chain, words, None);
                }
            }
            self.check_last(table, chain, loaded);
        }
    }

    /// The jump to NodePorts must come after all Services, otherwise it matches packets to VIPs that are local
    /// addresses.
    fn check_last(&mut self, table: Table, chain: &str, loaded: &[SavedRule]) {
        let mut rules = loaded.iter().skip_while(|rule| rule.target() != Some("KUBE-NODEPORTS"));
        if let Some(first) = rules.next()
            && rules.any(|rule| rule.target() != Some("KUBE-NODEPORTS"))
        {
            let words = "the jump to NodePorts is not the last rule: it hides the rules after it".to_owned();
            self.push(FindingSubject::Node, FindingKind::Misplaced, table, chain, words, Some(first));
        }
    }

    fn compare_service_chains(&mut self) {
        for (chain, wanted) in self.wanted.of_services() {
            let subject = self.subject_of(self.wanted, chain);
            if !self.loaded.has(Table::Nat, chain) {
                let words = words::missing_chain(chain, wanted);
                self.push(subject, FindingKind::Missing, Table::Nat, chain, words, None);
                continue;
            }
            self.compare_service_chain(&subject, chain, wanted);
        }
        for (chain, loaded) in self.loaded.of_services() {
            if !self.wanted.has(Table::Nat, chain) {
                let subject = self.subject_of(self.loaded, chain);
                let words = words::stale_chain(chain, loaded, self.loaded.is_referenced(chain));
                self.push(subject, FindingKind::Stale, Table::Nat, chain, words, None);
            }
        }
    }

    fn compare_service_chain(&mut self, subject: &FindingSubject, chain: &str, wanted: &[SavedRule]) {
        let differences = Differences::between(wanted, self.loaded.rules(Table::Nat, chain));
        // A changed probability or position does not change the set of targets.
        let targets = |rules: &[&SavedRule]| -> BTreeSet<String> {
            rules.iter().filter_map(|rule| rule.target()).map(str::to_owned).collect()
        };
        let (wanted_targets, loaded_targets) = (targets(&differences.missing), targets(&differences.extra));
        for rule in &differences.missing {
            let is_rewritten = rule.target().is_some_and(|target| loaded_targets.contains(target));
            let words = words::missing_in_service_chain(chain, rule, self.wanted, is_rewritten);
            self.push(subject.clone(), FindingKind::Missing, Table::Nat, chain, words, Some(rule));
        }
        for rule in &differences.extra {
            let is_rewritten = rule.target().is_some_and(|target| wanted_targets.contains(target));
            let words = words::extra_in_service_chain(chain, rule, self.loaded, is_rewritten);
            let leads_to_endpoint = rule.target().and_then(dump::chain_kind) == Some(ChainKind::Endpoint);
            let is_stale = leads_to_endpoint && !is_rewritten;
            let kind = if is_stale { FindingKind::Stale } else { FindingKind::Extra };
            self.push(subject.clone(), kind, Table::Nat, chain, words, Some(rule));
        }
        if differences.is_reordered {
            let words = "the rules are in a different order".to_owned();
            self.push(subject.clone(), FindingKind::Misplaced, Table::Nat, chain, words, None);
        }
    }

    fn is_known(&self, owner: Option<&str>) -> bool {
        owner.is_none_or(|owner| self.wanted.services().contains(owner))
    }

    fn subject_of(&self, chains: &SavedChains, chain: &str) -> FindingSubject {
        match chains.owner(chain) {
            Some(owner) => FindingSubject::Service(owner.to_owned()),
            None => FindingSubject::Chain(chain.to_owned()),
        }
    }

    fn push(
        &mut self,
        subject: FindingSubject,
        kind: FindingKind,
        table: Table,
        chain: &str,
        words: String,
        rule: Option<&SavedRule>,
    ) {
        let place = format!("{table} {chain}");
        let rule = rule.map(|rule| format!("-A {chain} {rule}"));
        self.findings.push(Finding { subject, kind, place, words, rule });
    }
}

/// Differences between two lists of rules.
pub(crate) struct Differences<'a> {
    pub(crate) missing: Vec<&'a SavedRule>,
    pub(crate) extra: Vec<&'a SavedRule>,
    /// The same rules, in another order.
    pub(crate) is_reordered: bool,
}

impl<'a> Differences<'a> {
    pub(crate) fn between<T: AsRule>(wanted: &'a [T], loaded: &'a [T]) -> Self {
        let mut extra: Vec<&SavedRule> = loaded.iter().map(AsRule::rule).collect();
        let mut missing = Vec::new();
        for rule in wanted.iter().map(AsRule::rule) {
            match extra.iter().position(|other| *other == rule) {
                Some(index) => drop(extra.remove(index)),
                None => missing.push(rule),
            }
        }
        let is_same = missing.is_empty() && extra.is_empty();
        let in_order = || wanted.iter().map(AsRule::rule).eq(loaded.iter().map(AsRule::rule));
        let is_reordered = is_same && !in_order();
        Self { missing, extra, is_reordered }
    }
}

/// A rule or a reference to one.
pub(crate) trait AsRule {
    fn rule(&self) -> &SavedRule;
}

impl AsRule for SavedRule {
    fn rule(&self) -> &SavedRule {
        self
    }
}

impl AsRule for &SavedRule {
    fn rule(&self) -> &SavedRule {
        self
    }
}

fn by_service(rules: &[SavedRule]) -> BTreeMap<Option<&str>, Vec<&SavedRule>> {
    let mut services: BTreeMap<Option<&str>, Vec<&SavedRule>> = BTreeMap::new();
    for rule in rules {
        services.entry(rule.owner()).or_default().push(rule);
    }
    services
}
