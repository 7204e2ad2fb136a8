//! Chains and rules, parsed from `iptables-save` or taken from a plan.

use std::collections::{BTreeMap, BTreeSet};

use super::saved_rule::{self, SavedRule};
use crate::finding::DumpError;
use crate::iptables::chain_name::{CHAIN_PREFIXES, ChainKind};
use crate::iptables::rules::TableRules;
use crate::load::{Ensure, Table};
use crate::objects::IpFamily;

/// The chains of the two tables that kube-proxy uses.
#[derive(Debug, Clone, Default)]
pub(crate) struct SavedChains {
    chains: BTreeMap<(Table, String), Vec<SavedRule>>,
    /// The service port that owns each chain.
    owners: BTreeMap<String, String>,
    /// Chains of Services that some rule jumps to.
    referenced: BTreeSet<String>,
}

impl SavedChains {
    /// Parses `iptables-save` output.
    pub(crate) fn read_dump(dump: &str, family: IpFamily) -> Result<Self, DumpError> {
        let mut chains = Self::default();
        let mut open: Option<&str> = None;
        let mut is_empty = true;
        for (index, line) in dump.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let error = |expected: String| DumpError::in_line(index, line, expected);
            is_empty = false;
            match (open, line.strip_prefix('*')) {
                (None, Some(name)) => open = Some(name),
                (None, None) => return Err(error(A_TABLE.to_owned())),
                (Some(table), Some(_)) => return Err(error(end_of(table))),
                (Some(_), None) if line == "COMMIT" => open = None,
                (Some(table), None) => chains.read_line(table, line, family).map_err(error)?,
            }
        }
        match open {
            Some(table) => return Err(DumpError::at_end(dump, end_of(table))),
            None if is_empty => return Err(DumpError::at_end(dump, A_TABLE)),
            None => {}
        }
        chains.find_owners();
        Ok(chains)
    }

    /// Parses the declaration of a chain, or a rule; the error is what was expected.
    fn read_line(&mut self, table: &str, line: &str, family: IpFamily) -> Result<(), String> {
        // `iptables-save -c` prints counters before a rule.
        let rule =
            line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(line, |(_, rule)| rule);
        let (chain, rule) = if let Some(declaration) = line.strip_prefix(':') {
            (declaration.split(' ').next().unwrap_or_default(), None)
        } else if let Some(append) = rule.strip_prefix("-A ") {
            let (chain, rule) = append.split_once(' ').unwrap_or((append, ""));
            (chain, Some(rule))
        } else {
            return Err("a chain (:NAME), a rule (-A NAME), COMMIT or a comment".to_owned());
        };
        if rule.is_some_and(|rule| !saved_rule::is_closed(rule)) {
            return Err("a closing quotation mark".to_owned());
        }
        match table {
            "filter" => self.add(Table::Filter, chain, rule, family),
            "nat" => self.add(Table::Nat, chain, rule, family),
            _ => {}
        }
        Ok(())
    }

    /// The rules of a plan, and the jumps from built-in chains.
    pub(crate) fn of_rules(
        family: IpFamily,
        tables: &[TableRules],
        ensured: impl IntoIterator<Item = Ensure>,
    ) -> Self {
        let mut wanted = Self::default();
        for rules in tables {
            for chain in &rules.chains {
                wanted.add(rules.table, chain.as_str(), None, family);
            }
            for line in rules.rules.iter() {
                wanted.add(rules.table, line.chain, Some(line.rule), family);
            }
        }
        wanted.find_owners();
        for ensure in ensured {
            match ensure {
                Ensure::Chain { family, table, chain } => wanted.add(table, chain, None, family),
                Ensure::Jump { family, table, from, rule } => wanted.add(table, from, Some(&rule), family),
                // A dump has no devices.
                Ensure::Device { .. } => {}
            }
        }
        wanted
    }

    pub(crate) fn has(&self, table: Table, chain: &str) -> bool {
        self.chains.contains_key(&(table, chain.to_owned()))
    }

    pub(crate) fn rules(&self, table: Table, chain: &str) -> &[SavedRule] {
        self.chains.get(&(table, chain.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// The built-in chains.
    pub(crate) fn built_in(&self) -> impl Iterator<Item = (Table, &str, &[SavedRule])> {
        let built_in = self.chains.iter().filter(|((_, chain), _)| !chain.starts_with("KUBE-"));
        built_in.map(|((table, chain), rules)| (*table, chain.as_str(), rules.as_slice()))
    }

    /// The chains of Services.
    pub(crate) fn of_services(&self) -> impl Iterator<Item = (&str, &[SavedRule])> {
        let of_services = self.chains.iter().filter(|((_, chain), _)| chain_kind(chain).is_some());
        of_services.map(|((_, chain), rules)| (chain.as_str(), rules.as_slice()))
    }

    /// The service port that owns a chain.
    pub(crate) fn owner(&self, chain: &str) -> Option<&str> {
        self.owners.get(chain).map(String::as_str)
    }

    /// All service ports named in rules.
    pub(crate) fn services(&self) -> BTreeSet<&str> {
        let named = self.chains.values().flatten().filter_map(SavedRule::owner);
        named.chain(self.owners.values().map(String::as_str)).collect()
    }

    pub(crate) fn is_referenced(&self, chain: &str) -> bool {
        self.referenced.contains(chain)
    }

    /// The destination of an endpoint's chain.
    pub(crate) fn endpoint(&self, chain: &str) -> Option<&str> {
        self.rules(Table::Nat, chain).iter().find_map(|rule| rule.value("--to-destination"))
    }

    /// The number of rules of a service port.
    pub(crate) fn rule_count(&self, service: &str) -> usize {
        let rules = |((_, chain), rules): (&(Table, String), &Vec<SavedRule>)| {
            let is_own = self.owner(chain) == Some(service);
            rules.iter().filter(|rule| is_own || rule.owner() == Some(service)).count()
        };
        self.chains.iter().map(rules).sum()
    }

    fn add(&mut self, table: Table, chain: &str, rule: Option<&str>, family: IpFamily) {
        let rules = self.chains.entry((table, chain.to_owned())).or_default();
        if let Some(rule) = rule {
            let rule = SavedRule::read(rule, family);
            if let Some(target) = rule.target().filter(|target| chain_kind(target).is_some()) {
                self.referenced.insert(target.to_owned());
            }
            rules.push(rule);
        }
    }

    /// The owner of a chain is named in its own comments, or else owns the rules that jump to it.
    fn find_owners(&mut self) {
        let mut owners = BTreeMap::new();
        for ((_, chain), rules) in self.chains.iter().filter(|((_, chain), _)| chain_kind(chain).is_some()) {
            if let Some(owner) = rules.iter().find_map(SavedRule::owner) {
                owners.insert(chain.clone(), owner.to_owned());
            }
        }
        // In large clusters endpoint chains have no comments; they belong to the chain that selects them.
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

const A_TABLE: &str = "a table such as *nat";

fn end_of(table: &str) -> String {
    format!("COMMIT, which ends the table {table}")
}

/// The kind of a Service's chain; `None` for other chains.
pub(crate) fn chain_kind(chain: &str) -> Option<ChainKind> {
    CHAIN_PREFIXES.iter().find(|(_, prefix)| chain.starts_with(prefix)).map(|(kind, _)| *kind)
}
