//! `iptables-restore`: text of whole tables.
//!
//! Linux user space: `ip46tables_restore_main`, iptables/iptables-restore.c.

use super::apply::{RuleText, apply, check_length, check_new_name, policy_of_base};
use super::counters::Count;
use super::error::{Parse, Problem, RuleError, RuleErrorKind};
use super::kind::TableKind;
use super::parse::{self, CommandContext};
use super::recent_lists::RecentLists;
use super::ruleset::Table;
use super::validate;
use super::words::{Value, Word, restore_words};
use super::{Family, FamilyTables, Tool};
use crate::ipset::Ipset;
use std::sync::Arc;

/// Options of `iptables-restore`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// `--noflush`: keeps existing rules and chains that the text does not mention. A chain that it declares is
    /// flushed.
    pub noflush: bool,
    /// `--counters`: uses the counters in the text.
    pub counters: bool,
}

/// Restores a text, table by table: a complete table stays loaded even if a later one is invalid.
pub(super) fn restore(
    tables: &mut FamilyTables,
    lists: &mut RecentLists,
    sets: &mut Ipset,
    family: Family,
    file: &str,
    text: &str,
    options: RestoreOptions,
) -> Result<(), RuleError> {
    let file: Arc<str> = file.into();
    let tool = Tool::restore(family);
    let mut restorer = Restorer {
        tables,
        lists,
        sets,
        family,
        file: Arc::clone(&file),
        options,
        open: None,
        words: Vec::new(),
    };
    let mut number = 0;
    for line in text.split_terminator('\n') {
        number += 1;
        restorer.line(line, number).map_err(|failure| failure.in_line(tool, &file, number, line))?;
    }
    restorer.end().map_err(|problem| problem.in_line(tool, &file, number + 1, ""))
}

/// An error in this line, or in an earlier one.
enum Failure {
    Here(Box<Problem>),
    Earlier(Box<validate::CheckFailure>),
}

impl From<Box<Problem>> for Failure {
    fn from(problem: Box<Problem>) -> Self {
        Self::Here(problem)
    }
}

impl Failure {
    fn in_line(self, tool: &'static str, file: &Arc<str>, number: u32, line: &str) -> RuleError {
        match self {
            Self::Here(problem) => problem.in_line(tool, file, number, line),
            Self::Earlier(refusal) => refusal.into_error(tool),
        }
    }
}

struct Restorer<'r, 't> {
    tables: &'r mut FamilyTables,
    lists: &'r mut RecentLists,
    sets: &'r mut Ipset,
    family: Family,
    /// The name of the text.
    file: Arc<str>,
    options: RestoreOptions,
    /// The table between its name and `COMMIT`.
    open: Option<Table>,
    /// Buffer for the words of a line.
    words: Vec<Word<'t>>,
}

impl<'t> Restorer<'_, 't> {
    fn line(&mut self, line: &'t str, number: u32) -> Result<(), Failure> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let Some(mut table) = self.open.take() else {
            self.open = Some(self.begin(line)?);
            return Ok(());
        };
        if line == "COMMIT" {
            validate::check(&table).map_err(Failure::Earlier)?;
            table.settle(self.lists, self.sets);
            let kind = table.kind;
            self.tables.put(kind, table);
            return Ok(());
        }
        if let Some(declaration) = line.strip_prefix(':') {
            self.chain(&mut table, line, declaration)?;
        } else {
            self.rule(&mut table, line, number)?;
        }
        self.open = Some(table);
        Ok(())
    }

    /// `*TABLE`.
    fn begin(&self, line: &str) -> Parse<Table> {
        let whole = Value { text: line, at: 0 };
        let Some(rest) = line.strip_prefix('*') else {
            return Err(whole.expected("a table such as `*filter`, or a comment"));
        };
        let name = first_word(whole.part(rest)).ok_or_else(|| whole.expected("the name of a table"))?;
        let kind = TableKind::from_name(name.text).ok_or_else(|| {
            let problem = Problem::new(
                RuleErrorKind::NoSuchTable,
                name.at,
                "`filter`, `nat`, `mangle`, `raw` or `security`",
                format!("`{}`", name.text.escape_default()),
            );
            if name.text.ends_with('\r') { problem.help("the text has CRLF line endings") } else { problem }
        })?;
        let mut table = self.tables.get(kind).cloned().unwrap_or_else(|| Table::new(kind));
        if !self.options.noflush {
            empty(&mut table);
        }
        Ok(table)
    }

    /// `:CHAIN POLICY [PACKETS:BYTES]`.
    fn chain(&self, table: &mut Table, line: &str, declaration: &str) -> Parse<()> {
        let whole = Value { text: line, at: 0 };
        let rest = whole.part(declaration);
        let name = first_word(rest).ok_or_else(|| rest.expected("the name of a chain"))?;
        let after = rest.part(&line[name.at + name.text.len()..]);
        let end = Value { text: "", at: line.len() };
        let policy = first_word(after)
            .ok_or_else(|| missing(end, "a policy: `ACCEPT`, `DROP`, or `-` for a user-defined chain"))?;
        let after = rest.part(&line[policy.at + policy.text.len()..]);
        check_length(name)?;
        let id = match table.chains().find(name.text) {
            Some(id) if table.chains().get(id).base.is_some() => id,
            Some(id) if self.options.noflush => {
                table.flush_chain(id);
                id
            }
            Some(_) | None => {
                check_new_name(table, name)?;
                table.add_chain(name.text)
            }
        };
        if policy.text == "-" {
            return Ok(());
        }
        policy_of_base(table, name, id, policy)?;
        let counters = self.policy_counters(after, end)?;
        if let Some(base) = table.chains().get(id).base {
            table.counters.set(base.slot, counters);
        }
        Ok(())
    }

    /// The tool parses counters only if asked for them.
    fn policy_counters(&self, after: Value<'_>, end: Value<'_>) -> Parse<Count> {
        if !self.options.counters {
            return Ok(Count::default());
        }
        let word = first_word(after).ok_or_else(|| missing(end, COUNTERS))?;
        let inner = word.text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        inner.and_then(|(inner, _)| count(inner)).ok_or_else(|| word.expected(COUNTERS))
    }

    /// A command, optionally preceded by counters.
    fn rule(&mut self, table: &mut Table, line: &'t str, number: u32) -> Parse<()> {
        let (count, from) = rule_counters(line, self.options.counters)?;
        restore_words(line, from, &mut self.words)?;
        let setting =
            CommandContext { family: self.family, is_restore: true, lists: self.lists, sets: self.sets };
        let mut parsed = parse::parse(&self.words, line.len(), setting)?;
        if parsed.is_for_other_family {
            return Ok(());
        }
        parsed.counters = parsed.counters.or(count);
        let origin = RuleText { file: &self.file, line: number, text: line[from..].trim_ascii() };
        if let parse::Command::ListRules(_) = parsed.command {
            let problem =
                Problem::new(RuleErrorKind::Unsupported, from, "a command that changes rules", "`-S`");
            return Err(problem);
        }
        apply(table, parsed, &origin).map(|_| ())
    }

    fn end(self) -> Parse<()> {
        match self.open {
            None => Ok(()),
            Some(table) => Err(Problem::new(
                RuleErrorKind::Syntax,
                0,
                format!("`COMMIT`, which ends table {}", table.kind.name()),
                "the end of the text",
            )),
        }
    }
}

/// Without `--noflush`, a text starts with empty chains; policies stay until it sets them.
fn empty(table: &mut Table) {
    let ids = table.chains().sorted();
    for id in &ids {
        table.flush_chain(*id);
    }
    for id in ids {
        if table.chains().get(id).base.is_none() {
            table.delete_chain(id);
        }
    }
}

const COUNTERS: &str = "counters such as `[0:0]`";

/// `PACKETS:BYTES`.
fn count(text: &str) -> Option<Count> {
    let (packets, bytes) = text.split_once(':')?;
    Some(Count { packets: packets.parse().ok()?, bytes: bytes.parse().ok()? })
}

/// `[PACKETS:BYTES]` at the start of a line, and the offset of the command. The brackets and the colon are always
/// required (`tokenize_rule_counters`, iptables/xshared.c); the tool parses the numbers only if asked for counters.
fn rule_counters(line: &str, reads_counters: bool) -> Parse<(Option<Count>, usize)> {
    let whole = Value { text: line, at: 0 };
    let Some(rest) = line.strip_prefix('[') else { return Ok((None, 0)) };
    let inner = rest
        .split_once(']')
        .map(|(inner, _)| whole.part(inner))
        .filter(|inner| inner.text.contains(':'))
        .ok_or_else(|| whole.expected(COUNTERS))?;
    let count = if reads_counters {
        Some(count(inner.text).ok_or_else(|| inner.expected("two numbers with a colon between them"))?)
    } else {
        None
    };
    Ok((count, inner.text.len() + 2))
}

/// The first word, without leading blanks.
fn first_word(value: Value<'_>) -> Option<Value<'_>> {
    value.text.split([' ', '\t']).find(|word| !word.is_empty()).map(|word| value.part(word))
}

fn missing(end: Value<'_>, expected: &'static str) -> Box<Problem> {
    Problem::new(RuleErrorKind::Syntax, end.at, expected, "the end of the line")
}
