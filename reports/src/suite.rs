//! A suite as terminal text: one row per run, then failures and how to reproduce them.

use crate::palette::{Palette, Tone};
use crate::reproduce::Reproduce;
use crate::text::steps::{table, write_table};
use crate::text::{ArmName, LabSettings, OUT_OF_MODEL, disagreements, failures};
use conformance::arm::ArmError;
use conformance::arm::vm::{GuestTime, Machines};
use conformance::result::{ArmKind, RunResult};
use conformance::suite::known::CaseStatus;
use conformance::suite::run::{Case, Finished};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

/// A finished suite, ready to print.
#[derive(Clone, Copy, Debug)]
pub struct SuiteText<'a> {
    runs: &'a [Finished<'a>],
    palette: Palette,
}

impl<'a> SuiteText<'a> {
    /// Prepares the runs of a suite for printing.
    pub const fn new(runs: &'a [Finished<'a>], palette: Palette) -> Self {
        Self { runs, palette }
    }

    /// True if the runs were on a kernel. Such runs have a back end, differences and a duration.
    fn is_on_kernel(&self) -> bool {
        self.runs.iter().any(|run| run.case.backend.is_some())
    }

    fn paint(&self, tone: Tone, text: impl Display) -> String {
        let style = self.palette.style(tone);
        format!("{style}{text}{style:#}")
    }

    fn header(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(Finished { case: case @ Case { family, seed, .. }, .. }) = self.runs.first() else {
            return Ok(());
        };
        let arm = ArmName { arm: arm_of(case), guest: case.machines.map(Machines::guest) };
        let heading = self.paint(Tone::Heading, "conformance");
        writeln!(f, "{heading}  family {family}, seed {seed}, on {arm}")?;
        if self.is_on_kernel() {
            return write!(f, "{}", self.paint(Tone::Dim, LabSettings));
        }
        writeln!(f, "{}", self.paint(Tone::Dim, format!("not modelled: {OUT_OF_MODEL}")))
    }

    fn table(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let is_on_kernel = self.is_on_kernel();
        let mut header = vec!["scenario", "mode", "verdict", "flows"];
        if is_on_kernel {
            header.insert(2, "back end");
            header.extend(["differences", "seconds"]);
        }
        let mut table = table(&header);
        for run in self.runs {
            let Finished { case, outcome, verdict, elapsed, .. } = run;
            let result = outcome.as_ref().ok();
            let count =
                |count: fn(&RunResult) -> usize| result.map_or("-".to_owned(), |it| count(it).to_string());
            let mut row = vec![
                case.member.name.clone(),
                case.mode.to_string(),
                match run.tries() {
                    1 => verdict_word(*verdict).to_owned(),
                    tries => format!("{}, try {tries}", verdict_word(*verdict)),
                },
                count(|result| result.steps.iter().map(|step| step.flows.len()).sum()),
            ];
            if is_on_kernel {
                row.insert(2, case.backend.map_or("-".to_owned(), |backend| backend.to_string()));
                row.push(count(|result| result.disagreements.len()));
                row.push(elapsed.map_or("-".to_owned(), |elapsed| format!("{:.1}", elapsed.as_secs_f64())));
            }
            table.add_row(row);
        }
        write_table(f, &table)
    }

    /// Details of a run that did not simply pass.
    fn details(&self, f: &mut Formatter<'_>, run: &Finished<'_>) -> fmt::Result {
        let Finished { case, outcome, verdict, .. } = run;
        let title = self.paint(Tone::Heading, run_title(case));
        match (verdict, outcome) {
            (CaseStatus::Passed, _) => return self.first_try(f, run),
            (CaseStatus::KnownDifference(reason), _) => {
                return writeln!(f, "\n{title}: known difference: {reason}");
            }
            (CaseStatus::UnexpectedPass(reason), _) => {
                let told = self.paint(Tone::Bad, "passed, but listed as a known difference");
                writeln!(f, "\n{title}: {told}: {reason}")?;
                writeln!(f, "remove it from the list of known differences")?;
            }
            (CaseStatus::NotRun, Err(error)) => {
                writeln!(f, "\n{title}: {}: {error}", self.paint(Tone::Bad, "not completed"))?;
            }
            (CaseStatus::Failed | CaseStatus::NotRun, Ok(result)) => {
                writeln!(f, "\n{title}: {}", self.paint(Tone::Bad, "failed"))?;
                failures::write(f, self.palette, &result.steps)?;
                disagreements::write(f, self.palette, &result.disagreements)?;
            }
            (CaseStatus::Failed, Err(_)) => {}
        }
        writeln!(f, "{}", self.paint(Tone::Dim, format!("reproduce: {}", reproduce(case))))
    }

    /// The first attempt of a run that passed on a later one.
    fn first_try(&self, f: &mut Formatter<'_>, run: &Finished<'_>) -> fmt::Result {
        let Some(first) = run.earlier.first() else { return Ok(()) };
        let title = self.paint(Tone::Heading, run_title(&run.case));
        let told = format!("passed on try {}, run alone", run.tries());
        match first {
            Err(error) => writeln!(f, "\n{title}: {told}; an earlier try was not completed: {error}"),
            Ok(result) => {
                writeln!(f, "\n{title}: {told}; the first try failed")?;
                failures::write(f, self.palette, &result.steps)?;
                disagreements::write(f, self.palette, &result.disagreements)
            }
        }
    }

    fn summary(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut counts: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        for run in self.runs {
            *counts.entry(summary_word(run.verdict)).or_default() += 1;
        }
        let parts: Vec<String> =
            counts.iter().map(|((_, words), count)| format!("{count} {words}")).collect();
        let is_good = self.runs.iter().all(|run| run.verdict.is_as_expected());
        let tone = if is_good { Tone::Good } else { Tone::Bad };
        let runs = if self.runs.len() == 1 { "run" } else { "runs" };
        writeln!(f, "\n{}", self.paint(tone, format!("{} {runs}: {}", self.runs.len(), parts.join(", "))))
    }
}

impl Display for SuiteText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.header(f)?;
        writeln!(f)?;
        self.table(f)?;
        self.runs.iter().try_for_each(|run| self.details(f, run))?;
        self.summary(f)
    }
}

const fn verdict_word(verdict: CaseStatus) -> &'static str {
    match verdict {
        CaseStatus::Passed => "passed",
        CaseStatus::Failed => "FAILED",
        CaseStatus::KnownDifference(_) => "known difference",
        CaseStatus::UnexpectedPass(_) => "PASSED, known difference",
        CaseStatus::NotRun => "NOT RUN",
    }
}

/// The position in the summary line, and the text there.
const fn summary_word(verdict: CaseStatus) -> (usize, &'static str) {
    match verdict {
        CaseStatus::Passed => (0, "passed"),
        CaseStatus::Failed => (1, "failed"),
        CaseStatus::KnownDifference(_) => (2, "known difference"),
        CaseStatus::UnexpectedPass(_) => (3, "passed despite known difference"),
        CaseStatus::NotRun => (4, "not completed"),
    }
}

fn run_title(case: &Case<'_>) -> String {
    let backend = case.backend.map(|backend| format!(", back end {backend}")).unwrap_or_default();
    format!("{}, mode {}{backend}", case.member.name, case.mode)
}

/// The command that runs this case alone.
pub(crate) fn reproduce<'a>(case: &Case<'a>) -> Reproduce<'a> {
    let Case { member, mode, family, seed, backend, .. } = *case;
    let time = case.machines.map_or(GuestTime::Virtual, |machines| machines.guest().time);
    Reproduce { argument: &member.argument, mode, family, seed, arm: arm_of(case), backend, time }
}

/// The arm of a case.
pub(crate) const fn arm_of(case: &Case<'_>) -> ArmKind {
    match (case.backend, case.machines) {
        (None, _) => ArmKind::Sim,
        (Some(_), None) => ArmKind::Kernel,
        (Some(_), Some(_)) => ArmKind::Vm,
    }
}

/// The reason for an incomplete run, as used in JSON and JUnit.
pub(crate) const fn error_kind(error: &ArmError) -> &'static str {
    match error {
        ArmError::Refused(_) => "refused",
        ArmError::Missing(_) => "missing",
        ArmError::Failed(_) => "failed",
        ArmError::Internal(_) => "internal",
    }
}

#[cfg(test)]
mod tests;
