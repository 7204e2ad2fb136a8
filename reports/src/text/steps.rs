//! The table of steps: what was expected, what was observed, and the verdict.

use super::flows::grouped;
use crate::outcome::outcome_text;
use comfy_table::{ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle};
use conformance::result::{StepResult, Subject};
use std::fmt::{self, Formatter};

/// Fits two sentences side by side, and still a terminal next to an editor.
const TABLE_WIDTH: u16 = 110;

/// Padding between columns and a line below the header only.
const TABLE_STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('-'))
    .content_lines(ContentLineStyle::none());

/// An empty table in the common style.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(TABLE_STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(TABLE_WIDTH)
        .set_header(header.iter().copied());
    table
}

/// Prints an indented table.
pub(crate) fn write_table(f: &mut Formatter<'_>, table: &Table) -> fmt::Result {
    table.lines().try_for_each(|line| writeln!(f, "  {}", line.trim_end()))
}

pub(super) fn write(f: &mut Formatter<'_>, steps: &[StepResult]) -> fmt::Result {
    let mut table = table(&["step", "what", "expected", "observed", "verdict"]);
    for (index, step) in steps.iter().enumerate() {
        table.add_row([
            (index + 1).to_string(),
            step.name.clone(),
            expected(step),
            observed(step),
            verdict(step),
        ]);
    }
    writeln!(f)?;
    write_table(f, &table)
}

/// One line per expectation: `outcome connected`, `dropped on node-2`.
fn expected(step: &StepResult) -> String {
    if step.expected.is_empty() {
        return "-".to_owned();
    }
    let lines: Vec<_> =
        step.expected.iter().map(|(subject, words)| format!("{} {words}", subject.name())).collect();
    lines.join("\n")
}

/// `64 connected`, `3 timed out, 1 connected`; the action for steps without connections.
fn observed(step: &StepResult) -> String {
    if step.flows.is_empty() {
        return step.action.to_owned();
    }
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for (count, flow) in grouped(&step.flows) {
        let text = outcome_text(flow.outcome);
        match counts.iter_mut().find(|(known, _)| *known == text) {
            Some((_, total)) => *total += count,
            None => counts.push((text, count)),
        }
    }
    counts.iter().map(|(text, count)| format!("{count} {text}")).collect::<Vec<_>>().join(", ")
}

fn verdict(step: &StepResult) -> String {
    if !step.passed() {
        return "FAILED".to_owned();
    }
    if step.unseen.is_empty() {
        return "ok".to_owned();
    }
    let unseen = step.unseen.iter().map(|subject: &Subject| subject.name()).collect::<Vec<_>>().join(", ");
    format!("ok, but {unseen} cannot be checked on this arm")
}
