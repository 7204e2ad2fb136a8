//! A small model of `iptables-restore --noflush` that shares nothing with the printer.
//!
//! iptables: iptables/iptables-restore.c, `iptables_restore_main`.
#![allow(dead_code, reason = "each test uses its part of this")]

use std::collections::BTreeMap;
use std::fmt;

/// The chains of every table, with their rules in order. A rule is the text after the chain's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ruleset(BTreeMap<String, BTreeMap<String, Vec<String>>>);

impl Ruleset {
    /// Applies restore input, or returns the line and reason of its rejection.
    pub(crate) fn restore(&mut self, text: &str) -> Result<(), String> {
        let mut next = self.clone();
        let mut table: Option<String> = None;
        for (index, line) in text.lines().enumerate() {
            let refused = |reason: &str| format!("line {}: {reason}: {line}", index + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('*') {
                table = Some(name.to_owned());
                continue;
            }
            let name = table.as_ref().ok_or_else(|| refused("outside any table"))?;
            if line == "COMMIT" {
                next.check(name).map_err(|reason| refused(&reason))?;
                table = None;
                continue;
            }
            let chains = next.0.entry(name.clone()).or_default();
            apply(chains, line).map_err(|reason| refused(&reason))?;
        }
        if table.is_some() {
            return Err("no COMMIT at the end".to_owned());
        }
        *self = next;
        Ok(())
    }

    /// Ensures a chain.
    pub(crate) fn make_chain(&mut self, table: &str, chain: &str) {
        self.0.entry(table.to_owned()).or_default().entry(chain.to_owned()).or_default();
    }

    /// The chains of one table.
    pub(crate) fn table(&self, name: &str) -> impl Iterator<Item = (&String, &Vec<String>)> {
        self.0.get(name).into_iter().flatten()
    }

    /// Every chain with its rules, for a test to modify.
    pub(crate) fn chains_mut(&mut self) -> impl Iterator<Item = (&String, &String, &mut Vec<String>)> {
        self.0
            .iter_mut()
            .flat_map(|(table, chains)| chains.iter_mut().map(move |(chain, rules)| (table, chain, rules)))
    }

    /// A copy with one chain changed or removed.
    pub(crate) fn with(&self, table: &str, chain: &str, rules: Option<Vec<String>>) -> Self {
        let mut changed = self.clone();
        let chains = changed.0.get_mut(table).unwrap();
        match rules {
            Some(rules) => drop(chains.insert(chain.to_owned(), rules)),
            None => drop(chains.remove(chain)),
        }
        changed
    }

    /// Every target must be a chain of the table or start with an upper-case word that iptables defines.
    fn check(&self, table: &str) -> Result<(), String> {
        const TARGETS: [&str; 7] = ["ACCEPT", "DROP", "REJECT", "RETURN", "MARK", "MASQUERADE", "DNAT"];
        for (chain, rules) in self.table(table) {
            for rule in rules {
                if let Some(target) = target(rule)
                    && !TARGETS.contains(&target)
                    && !self.0[table].contains_key(target)
                {
                    return Err(format!("{chain} jumps to {target}, which does not exist"));
                }
            }
        }
        Ok(())
    }
}

fn apply(chains: &mut BTreeMap<String, Vec<String>>, line: &str) -> Result<(), String> {
    if let Some(declaration) = line.strip_prefix(':') {
        let chain = declaration.split(' ').next().unwrap_or_default();
        if chain.len() > 28 {
            return Err("chain name too long".to_owned());
        }
        chains.entry(chain.to_owned()).or_default().clear();
        return Ok(());
    }
    let (command, rest) = line.split_once(' ').ok_or("no chain")?;
    let (chain, rule) = rest.split_once(' ').unwrap_or((rest, ""));
    let rules = chains.get_mut(chain).ok_or("no such chain")?;
    match command {
        "-A" => rules.push(rule.to_owned()),
        "-I" => {
            let (position, rule) = rule.split_once(' ').ok_or("no rule")?;
            let position: usize = position.parse().map_err(|_| "no position")?;
            if position == 0 || position > rules.len() + 1 {
                return Err("position out of range".to_owned());
            }
            rules.insert(position - 1, rule.to_owned());
        }
        "-D" => {
            let position = rules.iter().position(|known| known == rule).ok_or("no such rule")?;
            rules.remove(position);
        }
        "-X" => {
            if !rules.is_empty() {
                return Err("chain is not empty".to_owned());
            }
            if chains.values().flatten().any(|rule| target(rule) == Some(chain)) {
                return Err("chain is jumped to".to_owned());
            }
            chains.remove(chain);
        }
        _ => return Err("unknown command".to_owned()),
    }
    Ok(())
}

fn target(rule: &str) -> Option<&str> {
    let (_, after) = rule.rsplit_once("-j ")?;
    after.split(' ').next()
}

impl fmt::Display for Ruleset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (table, chains) in &self.0 {
            writeln!(formatter, "*{table}")?;
            for (chain, rules) in chains {
                writeln!(formatter, ":{chain}")?;
                for rule in rules {
                    writeln!(formatter, "-A {chain} {rule}")?;
                }
            }
        }
        Ok(())
    }
}
