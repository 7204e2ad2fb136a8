//! The table of trials.

use crate::judge;
use crate::trial::{Outcome, Trial, Verdict};
use conformance::mutation::{Mutation, ROWS, Row};
use std::fmt::Write as _;

/// The width of the longest name.
fn name_width() -> usize {
    ROWS.iter().map(|row| format!("{:?}", row.mutation).len()).max().unwrap_or(0)
}

/// The width of the longest judge.
pub(crate) fn judge_width(trials: &[Trial]) -> usize {
    trials.iter().map(|trial| trial.judge.to_string().len()).max().unwrap_or(0)
}

/// Mutations with what they break, and the judge that must find them.
pub(crate) fn listed(chosen: &[Mutation]) -> String {
    let mut text = String::new();
    for Row { mutation, place, breaks, kernel } in ROWS.iter().filter(|row| chosen.contains(&row.mutation)) {
        let name = format!("{mutation:?}");
        let judge = judge::of(*mutation);
        let _ = write!(text, "{name}\n  {breaks}\n  sim/src/{place}; kernel: {kernel}\n  found by {judge}\n");
    }
    text
}

/// The row of a finished trial.
pub(crate) fn row(outcome: &Outcome, width: usize) -> String {
    let Outcome { trial, verdict, took } = outcome;
    let name = trial.mutation.map_or_else(|| "(no mutation)".to_owned(), |mutation| format!("{mutation:?}"));
    let word = match (verdict, trial.mutation) {
        (Verdict::Passed, None) => "passed".to_owned(),
        (Verdict::Passed, Some(_)) => "SURVIVED".to_owned(),
        (Verdict::Found, None) => "FALSE ALARM".to_owned(),
        (Verdict::Found, Some(_)) => "found".to_owned(),
        (Verdict::Failed(text), _) => format!("FAILED\n{text}"),
    };
    let (name_width, judge) = (name_width(), trial.judge.to_string());
    format!("{name:name_width$}  {judge:width$}  {:5.1} s  {word}", took.as_secs_f64())
}

/// The counts, and the names of mutations that survived.
pub(crate) fn summary(outcomes: &[Outcome]) -> String {
    let (faults, controls): (Vec<&Outcome>, Vec<&Outcome>) =
        outcomes.iter().partition(|outcome| outcome.trial.mutation.is_some());
    let right = |outcomes: &[&Outcome]| outcomes.iter().filter(|outcome| outcome.is_right()).count();
    format!(
        "\n{} of {} mutations found; {} of {} judges pass without a mutation\n",
        right(&faults),
        faults.len(),
        right(&controls),
        controls.len()
    )
}
