//! Chains and rules, from `iptables-save` and from a plan.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

pub(crate) use super::saved_rule::Rule;
use crate::iptables::chain_name::{CHAIN_PREFIXES, ChainKind};
use crate::iptables::{jumps, tables};
use crate::load::{Ensure, Table};
use crate::objects::IpFamily;
use crate::plan::Plan;

/// A line that no `iptables-save` prints.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: expected {expected}, found {found:?}")]
pub struct DumpError {
    /// The line, from 1.
    pub line: usize,
    /// What it says.
    pub found: Box<str>,
    /// What would have been right.
    pub expected: &'static str,
}

/// The chains of the two tables that kube-proxy uses.
#[derive(Debug, Clone, Default)]
pub(super) struct Chains {
    chains: BTreeMap<(Table, String), Vec<Rule>>,
    /// The service port of each chain that belongs to one.
    owners: BTreeMap<String, String>,
    /// Chains of Services that some rule jumps to.
    referenced: BTreeSet<String>,
}

impl Chains {
    /// Reads what `iptables-save` prints.
    pub(super) fn read_dump(dump: &str, family: IpFamily) -> Result<Self, DumpError> {
        let mut chains = Self::default();
        let mut table: Option<&str> = None;
        for (index, line) in dump.lines().enumerate() {
            let line = line.trim_end();
            let error = |expected| DumpError { line: index + 1, found: line.into(), expected };
            if line.is_empty() || line.starts_with('#') || line == "COMMIT" {
                continue;
            }
            if let Some(name) = line.strip_prefix('*') {
                table = Some(name);
                continue;
            }
            let table = match table {
                Some("filter") => Some(Table::Filter),
                Some("nat") => Some(Table::Nat),
                Some(_) => None,
                None => return Err(error("a table such as *nat")),
            };
            // `iptables-save -c` puts counters before a rule.
            let rule =
                line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(line, |(_, rule)| rule);
            let (chain, rule) = if let Some(declaration) = line.strip_prefix(':') {
                (declaration.split(' ').next().unwrap_or_default(), None)
            } else if let Some(append) = rule.strip_prefix("-A ") {
                let (chain, rule) = append.split_once(' ').unwrap_or((append, ""));
                (chain, Some(rule))
            } else {
                return Err(error("a chain (:NAME), a rule (-A NAME), COMMIT or a comment"));
            };
            if let Some(table) = table {
                chains.add(table, chain, rule, family);
            }
        }
        chains.find_owners();
        Ok(chains)
    }

    /// What a plan wants, the jumps from built-in chains included.
    pub(super) fn of_plan(plan: &Plan) -> Self {
        let mut wanted = Self::default();
        for rules in tables(plan) {
            for chain in &rules.chains {
                wanted.add(rules.table, chain.as_str(), None, plan.family);
            }
            for line in rules.rules.iter() {
                wanted.add(rules.table, line.chain, Some(line.rule), plan.family);
            }
        }
        wanted.find_owners();
        for ensure in jumps::ensured(plan.family) {
            match ensure {
                Ensure::Chain { family, table, chain } => wanted.add(table, chain, None, family),
                Ensure::Jump { family, table, from, rule } => wanted.add(table, from, Some(&rule), family),
            }
        }
        wanted
    }

    pub(super) fn has(&self, table: Table, chain: &str) -> bool {
        self.chains.contains_key(&(table, chain.to_owned()))
    }

    pub(super) fn rules(&self, table: Table, chain: &str) -> &[Rule] {
        self.chains.get(&(table, chain.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// The built-in chains.
    pub(super) fn built_in(&self) -> impl Iterator<Item = (Table, &str, &[Rule])> {
        let built_in = self.chains.iter().filter(|((_, chain), _)| !chain.starts_with("KUBE-"));
        built_in.map(|((table, chain), rules)| (*table, chain.as_str(), rules.as_slice()))
    }

    /// The chains that belong to Services.
    pub(super) fn of_services(&self) -> impl Iterator<Item = (&str, &[Rule])> {
        let of_services = self.chains.iter().filter(|((_, chain), _)| chain_kind(chain).is_some());
        of_services.map(|((_, chain), rules)| (chain.as_str(), rules.as_slice()))
    }

    /// The service port that a chain belongs to.
    pub(super) fn owner(&self, chain: &str) -> Option<&str> {
        self.owners.get(chain).map(String::as_str)
    }

    /// All service ports that rules name.
    pub(super) fn services(&self) -> BTreeSet<&str> {
        let named = self.chains.values().flatten().filter_map(Rule::owner);
        named.chain(self.owners.values().map(String::as_str)).collect()
    }

    pub(super) fn is_referenced(&self, chain: &str) -> bool {
        self.referenced.contains(chain)
    }

    /// Where an endpoint's chain leads.
    pub(super) fn endpoint(&self, chain: &str) -> Option<&str> {
        self.rules(Table::Nat, chain).iter().find_map(|rule| rule.value("--to-destination"))
    }

    /// The number of rules that concern a service port.
    pub(super) fn rule_count(&self, service: &str) -> usize {
        let rules = |((_, chain), rules): (&(Table, String), &Vec<Rule>)| {
            let is_own = self.owner(chain) == Some(service);
            rules.iter().filter(|rule| is_own || rule.owner() == Some(service)).count()
        };
        self.chains.iter().map(rules).sum()
    }

    fn add(&mut self, table: Table, chain: &str, rule: Option<&str>, family: IpFamily) {
        let rules = self.chains.entry((table, chain.to_owned())).or_default();
        if let Some(rule) = rule {
            let rule = Rule::read(rule, family);
            if let Some(target) = rule.target().filter(|target| chain_kind(target).is_some()) {
                self.referenced.insert(target.to_owned());
            }
            rules.push(rule);
        }
    }

    /// A chain belongs to whom its own comments name; else, to whose rules lead to it.
    fn find_owners(&mut self) {
        let mut owners = BTreeMap::new();
        for ((_, chain), rules) in self.chains.iter().filter(|((_, chain), _)| chain_kind(chain).is_some()) {
            if let Some(owner) = rules.iter().find_map(Rule::owner) {
                owners.insert(chain.clone(), owner.to_owned());
            }
        }
        // In large clusters chains of endpoints have no comments: they belong to the chain that chooses them.
        for ((_, chain), rules) in &self.chains {
            for rule in rules {
                let owner = rule.owner().map(str::to_owned).or_else(|| owners.get(chain).cloned());
                if let (Some(target), Some(owner)) = (rule.target(), owner)
                    && chain_kind(target).is_some()
                {
                    owners.entry(target.to_owned()).or_insert(owner);
                }
            }
        }
        self.owners = owners;
    }
}

/// What a chain of a Service is for; `None` for other chains.
pub(super) fn chain_kind(chain: &str) -> Option<ChainKind> {
    CHAIN_PREFIXES.iter().find(|(_, prefix)| chain.starts_with(prefix)).map(|(kind, _)| *kind)
}
