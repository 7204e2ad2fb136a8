//! Applies a command to a table.
//!
//! Linux user space: `do_command4`, iptables/iptables.c, and the functions of libiptc that it calls.

use super::chain::ChainId;
use super::counters::Count;
use super::error::{Parse, Problem, RuleErrorKind};
use super::kind::TableKind;
use super::parse::{Command, Line, ParsedRule, ParsedTarget};
use super::rule::RuleSpec;
use super::ruleset::{NewRule, Table};
use super::save;
use super::targets::Target;
use super::validate::wrong_table;
use super::words::Value;
use crate::trace::RuleSource;
use std::sync::Arc;

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// Success; for `-C`, the rule exists.
    Done,
    /// The output of `-S`.
    Rules(String),
}

/// The location of a rule's text.
pub(super) struct RuleText<'o> {
    pub(super) file: &'o Arc<str>,
    pub(super) line: u32,
    pub(super) text: &'o str,
}

/// Applies a command. The table is a copy that is discarded on failure.
pub(super) fn apply(table: &mut Table, line: Line<'_>, origin: &RuleText<'_>) -> Parse<CommandOutcome> {
    let count = line.counters.unwrap_or_default();
    match line.command {
        Command::Append(chain) => {
            let id = find(table, chain)?;
            let end = table.chains().get(id).rules().len();
            for (offset, new) in new_rules(table, line.rule, origin, count)?.into_iter().enumerate() {
                table.insert_rule(id, end + offset, new);
            }
        }
        Command::Insert(chain, number) => {
            let id = find(table, chain)?;
            let at = position(table, chain, id, number, 1)?;
            // All rules are inserted at the same position, so they end up in reverse order.
            for new in new_rules(table, line.rule, origin, count)? {
                table.insert_rule(id, at, new);
            }
        }
        Command::Replace(chain, number) => {
            let id = find(table, chain)?;
            let at = position(table, chain, id, number, 0)?;
            let mut rules = new_rules(table, line.rule, origin, count)?;
            let (Some(new), true) = (rules.pop(), rules.is_empty()) else {
                return Err(chain.expected("one source and one destination in a rule that replaces another"));
            };
            table.insert_rule(id, at + 1, new);
            table.remove_rule(id, at);
        }
        Command::Delete(chain) => {
            let id = find(table, chain)?;
            for spec in specs(table, line.rule)? {
                let at = position_of(table, id, &spec).ok_or_else(|| no_such_rule(chain))?;
                table.remove_rule(id, at);
            }
        }
        Command::DeleteNumber(chain, number) => {
            let id = find(table, chain)?;
            let at = position(table, chain, id, number, 0)?;
            table.remove_rule(id, at);
        }
        Command::Check(chain) => {
            let id = find(table, chain)?;
            for spec in specs(table, line.rule)? {
                position_of(table, id, &spec).ok_or_else(|| no_such_rule(chain))?;
            }
        }
        Command::Flush(chain) => {
            for id in one_or_all(table, chain)? {
                table.flush_chain(id);
            }
        }
        Command::Zero(chain, number) => zero(table, chain, number)?,
        Command::NewChain(chain) => new_chain(table, chain)?,
        Command::DeleteChain(chain) => delete_chain(table, chain, origin)?,
        Command::Rename(old, new) => rename(table, old, new)?,
        Command::Policy(chain, policy) => set_policy(table, chain, policy)?,
        Command::ListRules(chain) => {
            let ids = one_or_all(table, chain)?;
            return Ok(CommandOutcome::Rules(save::list_rules(table, &ids)));
        }
    }
    Ok(CommandOutcome::Done)
}

fn find(table: &Table, chain: Value<'_>) -> Parse<ChainId> {
    table.chains().find(chain.text).ok_or_else(|| {
        chain.expected(format!("a chain of table {}", table.kind.name())).kind(RuleErrorKind::NoSuchChain)
    })
}

fn one_or_all(table: &Table, chain: Option<Value<'_>>) -> Parse<Vec<ChainId>> {
    match chain {
        Some(chain) => Ok(vec![find(table, chain)?]),
        None => Ok(table.chains().sorted()),
    }
}

/// Zero-based position of rule `number`, which counts from 1; `beyond` positions after the last rule are allowed.
fn position(table: &Table, chain: Value<'_>, id: ChainId, number: u32, beyond: usize) -> Parse<usize> {
    let limit = table.chains().get(id).rules().len() + beyond;
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    if number <= limit {
        return Ok(number - 1);
    }
    Err(Problem::new(
        RuleErrorKind::NoSuchRule,
        chain.at,
        format!("a rule number up to {limit} in {}", chain.text),
        format!("`{number}`"),
    ))
}

fn position_of(table: &Table, id: ChainId, spec: &RuleSpec) -> Option<usize> {
    table.chains().get(id).rules().iter().position(|rule| rule.spec == *spec)
}

fn no_such_rule(chain: Value<'_>) -> Box<Problem> {
    Problem::new(RuleErrorKind::NoSuchRule, chain.at, format!("an equal rule in {}", chain.text), "none")
}

fn specs(table: &Table, rule: ParsedRule<'_>) -> Parse<Vec<RuleSpec>> {
    let target = rule.target.resolve(|name| table.chains().find(name))?;
    check_place(table, &rule, &target)?;
    Ok(rule.specs(target))
}

/// Linux: `xt_check_target`, net/netfilter/x_tables.c; libiptc rejects jumps to base chains.
fn check_place(table: &Table, rule: &ParsedRule<'_>, target: &Target) -> Parse<()> {
    if let Some(one) = rule.matches.iter().find(|one| !one.tables().contains(&table.kind)) {
        let names: Vec<&str> = one.tables().iter().map(|kind| kind.name()).collect();
        return Err(Problem::new(
            RuleErrorKind::Refused,
            0,
            format!("`-m {}` in table {}", one.name(), names.join(" or ")),
            format!("table {}", table.kind.name()),
        ));
    }
    match &rule.target {
        ParsedTarget::Chain { name, .. } => {
            let id = find(table, *name)?;
            if table.chains().get(id).base.is_some() {
                return Err(name.expected("a user-defined chain").kind(RuleErrorKind::Refused));
            }
        }
        ParsedTarget::Target(Target::Drop, at) if table.kind == TableKind::Nat => {
            return Err(Problem::new(RuleErrorKind::Refused, *at, "a target other than DROP", "`DROP`")
                .help("the nat table is not intended for filtering"));
        }
        ParsedTarget::Target(_, at) => {
            if let Some(only) = wrong_table(target, table.kind) {
                return Err(Problem::new(
                    RuleErrorKind::Refused,
                    *at,
                    format!("{} in table {}", target.name(), only.name()),
                    format!("table {}", table.kind.name()),
                ));
            }
        }
    }
    Ok(())
}

fn new_rules(
    table: &Table,
    rule: ParsedRule<'_>,
    origin: &RuleText<'_>,
    count: Count,
) -> Parse<Vec<NewRule>> {
    let RuleText { file, line, text } = *origin;
    let source = Arc::new(RuleSource { file: Arc::clone(file), line, text: text.into() });
    let specs = specs(table, rule)?;
    Ok(specs.into_iter().map(|spec| NewRule { spec, source: Arc::clone(&source), count }).collect())
}

fn zero(table: &mut Table, chain: Option<Value<'_>>, number: Option<u32>) -> Parse<()> {
    if let (Some(chain), Some(number)) = (chain, number) {
        let id = find(table, chain)?;
        let at = position(table, chain, id, number, 0)?;
        let slot = table.chains().get(id).rules()[at].slot;
        table.counters.set(slot, Count::default());
        return Ok(());
    }
    for id in one_or_all(table, chain)? {
        let (chains, counters, _) = table.split();
        let chain = chains.get(id);
        let slots = chain.rules().iter().map(|rule| rule.slot).chain(chain.base.map(|base| base.slot));
        slots.for_each(|slot| counters.set(slot, Count::default()));
    }
    Ok(())
}

/// Linux user space: `assert_valid_chain_name`, iptables/xshared.c.
pub(super) fn check_new_name(table: &Table, name: Value<'_>) -> Parse<()> {
    check_length(name)?;
    let is_odd = name.text.starts_with(['-', '!']) || name.text.contains(char::is_whitespace);
    if name.text.is_empty() || is_odd {
        return Err(name.expected("a chain name without blanks that does not begin with `-` or `!`"));
    }
    if Target::is_name(name.text) {
        return Err(name.expected("a chain name that is not the name of a target"));
    }
    if table.chains().find(name.text).is_some() {
        return Err(name.expected("the name of a new chain").kind(RuleErrorKind::ChainExists));
    }
    Ok(())
}

/// `XT_EXTENSION_MAXNAMELEN` without its terminator.
pub(super) fn check_length(name: Value<'_>) -> Parse<()> {
    if name.text.len() > 28 {
        return Err(name.expected("a chain name of at most 28 bytes"));
    }
    Ok(())
}

fn new_chain(table: &mut Table, name: Value<'_>) -> Parse<()> {
    check_new_name(table, name)?;
    table.add_chain(name.text);
    Ok(())
}

fn rename(table: &mut Table, old: Value<'_>, new: Value<'_>) -> Parse<()> {
    let id = find(table, old)?;
    if table.chains().get(id).base.is_some() {
        return Err(old.expected("a user-defined chain").kind(RuleErrorKind::Refused));
    }
    check_new_name(table, new)?;
    table.rename_chain(id, new.text);
    Ok(())
}

fn delete_chain(table: &mut Table, chain: Option<Value<'_>>, origin: &RuleText<'_>) -> Parse<()> {
    let everything = Value { text: origin.text, at: 0 };
    let ids = match chain {
        Some(chain) => vec![find(table, chain)?],
        None => table.chains().sorted(),
    };
    for id in ids {
        let one = table.chains().get(id);
        let value = chain.unwrap_or(everything);
        let refuse = |kind, expected: &str| {
            Err(Problem::new(kind, value.at, expected.to_owned(), format!("`{}`", one.name)))
        };
        if one.base.is_some() {
            match chain {
                Some(_) => return refuse(RuleErrorKind::Refused, "a user-defined chain"),
                None => continue,
            }
        }
        if !one.rules().is_empty() {
            return refuse(RuleErrorKind::ChainNotEmpty, "a chain without rules");
        }
        if table.chains().is_referenced(id) {
            return refuse(RuleErrorKind::ChainInUse, "a chain that no rule references");
        }
        table.delete_chain(id);
    }
    Ok(())
}

fn set_policy(table: &mut Table, chain: Value<'_>, policy: Value<'_>) -> Parse<()> {
    if table.kind == TableKind::Nat && policy.text == "DROP" {
        return Err(policy
            .expected("`ACCEPT`")
            .kind(RuleErrorKind::Refused)
            .help("the nat table is not intended for filtering"));
    }
    let id = find(table, chain)?;
    policy_of_base(table, chain, id, policy)?;
    // The real tool zeroes the counters and ignores `--set-counters`.
    if let Some(base) = table.chains().get(id).base {
        table.counters.set(base.slot, Count::default());
    }
    Ok(())
}

/// Sets the policy of a base chain.
pub(super) fn policy_of_base(
    table: &mut Table,
    chain: Value<'_>,
    id: ChainId,
    policy: Value<'_>,
) -> Parse<()> {
    if table.chains().get(id).base.is_none() {
        let problem = policy.expected("`-`: only base chains have a policy");
        return Err(problem.kind(RuleErrorKind::Refused).help(format!("{} is not a base chain", chain.text)));
    }
    let is_accept = match policy.text {
        "ACCEPT" => true,
        "DROP" => false,
        _ => return Err(policy.expected("`ACCEPT` or `DROP`")),
    };
    table.set_policy(id, is_accept);
    Ok(())
}
