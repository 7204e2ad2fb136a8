//! iptables: parsing, tables and their evaluation (`ipt_do_table`, net/ipv4/netfilter/ip_tables.c).
//!
//! [`Xtables`] reads the input of `iptables-restore` and `iptables` and prints the output of `iptables-save`. Every
//! construct of these languages is either *implemented*; *inert*, that is, accepted without effect on packets (`-m
//! comment`, `-m nfacct`, `-j LOG`, `-j TRACE`, `--wait`, `--verbose`, `--numeric`, `--exact`, `--line-numbers`,
//! `--modprobe`, comment lines); or *rejected* with a [`RuleError`].
//!
//! Where the two back ends of iptables 1.8.9 differ, text that either rejects is rejected, and output that both print
//! is printed.
//!
//! From text to verdict: `words` splits a line, `parse` turns it into a command, `matches` and `targets` parse their
//! own options, `apply` and `restore` change a copy of a table, `validate` makes the kernel's checks, and `eval`
//! traverses the table.

mod apply;
mod chain;
mod counters;
mod eval;
mod index;
mod kind;
mod look;
mod matches;
mod options;
mod parse;
mod recent_lists;
mod restore;
mod rule;
mod ruleset;
mod save;
mod targets;
mod validate;
mod value;
mod words;

#[cfg(test)]
mod tests;

pub use crate::text::error::{RuleError, RuleErrorKind};
pub use apply::CommandOutcome;
pub use kind::TableKind;
pub use restore::RestoreOptions;

use crate::hook::{Family, Verdict};
use crate::ipset::Ipset;
use crate::netfilter::EvalCtx;
use crate::packet::Packet;
use crate::text::error;
use apply::RuleText;
use error::{Parse, Problem};
use parse::CommandContext;
use recent_lists::RecentLists;
use ruleset::Table;
use std::sync::Arc;
use words::{Value, shell_words};

/// The xtables of a netns: the tables of both IP families, with counters and match state.
///
/// A clone shares rules until one of the two changes them, and counters until one of the two counts.
#[derive(Clone, Debug, Default)]
pub struct Xtables {
    ipv4: FamilyTables,
    ipv6: FamilyTables,
    /// Lists of `recent`, shared by the families.
    recent: RecentLists,
}

/// The tables of a family that have been used.
#[derive(Clone, Debug, Default)]
struct FamilyTables([Option<Table>; 5]);

impl FamilyTables {
    const fn get(&self, kind: TableKind) -> Option<&Table> {
        self.0[kind.index()].as_ref()
    }

    fn put(&mut self, kind: TableKind, table: Table) {
        self.0[kind.index()] = Some(table);
    }

    fn iter(&self) -> impl Iterator<Item = &Table> {
        self.0.iter().flatten()
    }
}

/// Tool names for errors.
struct Tool;

impl Tool {
    const fn restore(family: Family) -> &'static str {
        match family {
            Family::Ipv4 => "iptables-restore",
            Family::Ipv6 | Family::Bridge => "ip6tables-restore",
        }
    }

    const fn command(family: Family) -> &'static str {
        match family {
            Family::Ipv4 => "iptables",
            Family::Ipv6 | Family::Bridge => "ip6tables",
        }
    }
}

impl Xtables {
    fn family(&self, family: Family) -> &FamilyTables {
        match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
            Family::Bridge => unreachable!("ebtables is not part of xtables here"),
        }
    }

    fn family_mut(&mut self, family: Family) -> (&mut FamilyTables, &mut RecentLists) {
        match family {
            Family::Ipv4 => (&mut self.ipv4, &mut self.recent),
            Family::Ipv6 => (&mut self.ipv6, &mut self.recent),
            Family::Bridge => unreachable!("ebtables is not part of xtables here"),
        }
    }

    /// Loads text in the format of `iptables-restore` or `ip6tables-restore`. `sets` are the sets of the netns, which
    /// rules may reference; `file` is the source of the text, for errors.
    ///
    /// # Errors
    /// The first error. Tables whose `COMMIT` came before it are loaded, the others are unchanged.
    pub fn restore(
        &mut self,
        sets: &mut Ipset,
        family: Family,
        file: &str,
        text: &str,
        options: RestoreOptions,
    ) -> Result<(), RuleError> {
        let (tables, lists) = self.family_mut(family);
        let result = restore::restore(tables, lists, sets, family, file, text, options);
        lists.sweep();
        result
    }

    /// Runs a command line, `iptables …` or `ip6tables …`. `sets` are the sets of the netns; `file` and `line` locate
    /// the command line, for errors and traces.
    ///
    /// # Errors
    /// If the real tool rejects it; [`RuleError::kind`] tells the cases apart. Nothing is changed.
    pub fn command(
        &mut self,
        sets: &mut Ipset,
        file: &str,
        line: u32,
        command: &str,
    ) -> Result<CommandOutcome, RuleError> {
        let mut tool = Tool::command(Family::Ipv4);
        let file: Arc<str> = file.into();
        let result = self.run(sets, &file, line, command, &mut tool);
        self.recent.sweep();
        result.map_err(|failure| match failure {
            CommandFailure::Text(problem) => problem.in_line(tool, &file, line, command),
            CommandFailure::Table(refusal) => refusal.into_error(tool),
        })
    }

    fn run(
        &mut self,
        sets: &mut Ipset,
        file: &Arc<str>,
        line: u32,
        command: &str,
        tool: &mut &'static str,
    ) -> Result<CommandOutcome, CommandFailure> {
        let words = shell_words(command).map_err(CommandFailure::Text)?;
        let family = tool_family(&words, command.len()).map_err(CommandFailure::Text)?;
        *tool = Tool::command(family);
        let (tables, lists) = self.family_mut(family);
        let setting = CommandContext { family, is_restore: false, lists, sets };
        let parsed = parse::parse(&words[1..], command.len(), setting).map_err(CommandFailure::Text)?;
        if parsed.is_for_other_family {
            let problem =
                Problem::new(RuleErrorKind::Syntax, 0, "the tool of the family", format!("`{}`", *tool));
            return Err(CommandFailure::Text(problem));
        }
        let kind = table_kind(parsed.table).map_err(CommandFailure::Text)?;
        let mut table = tables.get(kind).cloned().unwrap_or_else(|| Table::new(kind));
        let origin = RuleText { file, line, text: command.trim_ascii() };
        let outcome = apply::apply(&mut table, parsed, &origin).map_err(CommandFailure::Text)?;
        validate::check(&table).map_err(CommandFailure::Table)?;
        table.settle(lists, sets);
        tables.put(kind, table);
        Ok(outcome)
    }

    /// The output of `iptables-save`: every table that has been used, optionally with the counters of rules.
    pub fn save(&self, family: Family, with_counters: bool) -> String {
        save::save(self.family(family), with_counters)
    }

    /// True if the table has been used. Only then are its base chains registered at its hooks ([`TableKind::hooks`]).
    pub fn has_table(&self, family: Family, kind: TableKind) -> bool {
        self.family(family).get(kind).is_some()
    }

    /// True if a rule needs connection tracking, so that the kernel has registered conntrack at its hooks.
    pub fn uses_conntrack(&self, family: Family) -> bool {
        self.family(family).iter().any(Table::uses_conntrack)
    }

    /// Traverses the base chain of a table at `ctx.state.hook`. A table that has not been used, or that has no chain
    /// there, accepts.
    pub fn eval(
        &mut self,
        family: Family,
        kind: TableKind,
        ctx: &mut EvalCtx<'_, '_>,
        packet: &mut Packet,
    ) -> Verdict {
        self.eval_as(family, kind, ctx, packet, true)
    }

    /// Like [`Xtables::eval`], with or without the index of long chains.
    fn eval_as(
        &mut self,
        family: Family,
        kind: TableKind,
        ctx: &mut EvalCtx<'_, '_>,
        packet: &mut Packet,
        uses_index: bool,
    ) -> Verdict {
        let (tables, recent) = self.family_mut(family);
        let Some(table) = &mut tables.0[kind.index()] else { return Verdict::Accept };
        eval::ipt_do_table(table, recent, family, ctx, packet, uses_index)
    }
}

/// Why a command failed: an error in its text, or in the resulting table.
enum CommandFailure {
    Text(Box<Problem>),
    Table(Box<validate::CheckFailure>),
}

fn tool_family(words: &[words::Word<'_>], end: usize) -> Parse<Family> {
    let expected = "`iptables` or `ip6tables`";
    let Some(word) = words.first() else {
        return Err(Problem::new(RuleErrorKind::Syntax, end, expected, "the end of the line"));
    };
    match &*word.text {
        "iptables" | "iptables-legacy" | "iptables-nft" => Ok(Family::Ipv4),
        "ip6tables" | "ip6tables-legacy" | "ip6tables-nft" => Ok(Family::Ipv6),
        _ => Err(Value::of(word).expected(expected)),
    }
}

fn table_kind(value: Option<Value<'_>>) -> Parse<TableKind> {
    let Some(value) = value else { return Ok(TableKind::Filter) };
    TableKind::from_name(value.text).ok_or_else(|| {
        value.expected("`filter`, `nat`, `mangle`, `raw` or `security`").kind(RuleErrorKind::NoSuchTable)
    })
}
