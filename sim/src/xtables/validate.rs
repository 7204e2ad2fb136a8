//! The kernel's checks when a table is loaded: loops, and the hooks and tables of targets and matches.

use super::chain::{ChainId, HookMask};
use super::error::RuleErrorKind;
use super::kind::TableKind;
use super::rule::Rule;
use super::ruleset::{Chains, Table, jumped_to};
use crate::trace::RuleSource;
use std::sync::Arc;

/// A rule that the kernel would not load, and its location.
#[derive(Debug)]
pub(super) struct CheckFailure {
    pub(super) kind: RuleErrorKind,
    /// Where the rule stands.
    source: Arc<RuleSource>,
    pub(super) expected: String,
    pub(super) found: String,
}

/// Checks a table before it replaces the active one.
///
/// Linux: `mark_source_chains` and `find_check_entry`, net/ipv4/netfilter/ip_tables.c. Chains that no base chain
/// reaches may contain loops, because they are never traversed.
pub(super) fn check(table: &Table) -> Result<(), Box<CheckFailure>> {
    let chains = table.chains();
    let mut reached = vec![HookMask::default(); chains.capacity()];
    for (hook, _) in table.kind.hooks() {
        if let Some(base) = table.base_chain(*hook) {
            let mut walk = Walk { chains, hook: HookMask::of(&[*hook]), reached: &mut reached };
            walk.mark(base)?;
        }
    }
    for id in chains.ids() {
        let hooks = reached[id.index()];
        if hooks == HookMask::default() {
            continue;
        }
        for rule in chains.get(id).rules() {
            check_rule(rule, hooks)?;
        }
    }
    Ok(())
}

/// Marks the chains reachable from one hook.
struct Walk<'t> {
    chains: &'t Chains,
    hook: HookMask,
    reached: &'t mut [HookMask],
}

impl Walk<'_> {
    /// Depth first, without recursion: a path of jumps may be as long as the number of chains.
    fn mark(&mut self, from: ChainId) -> Result<(), Box<CheckFailure>> {
        let mut is_open = vec![false; self.reached.len()];
        let mut path = vec![(from, 0_usize)];
        is_open[from.index()] = true;
        self.reached[from.index()] = self.reached[from.index()].union(self.hook);
        while let Some((chain, next)) = path.last_mut() {
            let Some(rule) = self.chains.get(*chain).rules().get(*next) else {
                is_open[chain.index()] = false;
                path.pop();
                continue;
            };
            *next += 1;
            let Some(target) = jumped_to(&rule.spec.target) else { continue };
            if is_open[target.index()] {
                return Err(loops(rule, &self.chains.get(target).name));
            }
            let hooks = &mut self.reached[target.index()];
            if self.hook.is_within(*hooks) {
                continue;
            }
            *hooks = hooks.union(self.hook);
            is_open[target.index()] = true;
            path.push((target, 0));
        }
        Ok(())
    }
}

fn loops(rule: &Rule, chain: &str) -> Box<CheckFailure> {
    Box::new(CheckFailure {
        kind: RuleErrorKind::Refused,
        source: Arc::clone(&rule.source),
        expected: "jumps without a loop".to_owned(),
        found: format!("a loop through {chain}"),
    })
}

fn check_rule(rule: &Rule, hooks: HookMask) -> Result<(), Box<CheckFailure>> {
    let refuse = |name: &str, allowed: HookMask| {
        Err(Box::new(CheckFailure {
            kind: RuleErrorKind::Refused,
            source: Arc::clone(&rule.source),
            expected: format!("{name} reached from {} only", allowed.names()),
            found: format!("a chain reached from {}", hooks.names()),
        }))
    };
    let (_, allowed) = rule.spec.target.place();
    if !hooks.is_within(allowed) {
        return refuse(rule.spec.target.name(), allowed);
    }
    for one in &rule.spec.matches {
        let allowed = one.allowed_hooks();
        if !hooks.is_within(allowed) {
            return refuse(&format!("`-m {}` with these options", one.name()), allowed);
        }
    }
    Ok(())
}

/// The table that a target is restricted to, if it is not this one.
pub(super) fn wrong_table(target: &super::targets::Target, kind: TableKind) -> Option<TableKind> {
    target.place().0.filter(|only| *only != kind)
}

impl CheckFailure {
    /// The error for the source line of the rule, in its first column.
    pub(super) fn into_error(self, tool: &'static str) -> super::error::RuleError {
        super::error::RuleError {
            kind: self.kind,
            tool,
            file: Arc::clone(&self.source.file),
            line: self.source.line,
            column: 1,
            expected: self.expected.into(),
            found: self.found.into(),
            help: Some(format!("the rule is `{}`", self.source.text).into()),
        }
    }
}
