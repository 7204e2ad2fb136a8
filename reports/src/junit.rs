//! A suite as JUnit XML for CI servers: one test suite per mode and back end, one test case per scenario.

use crate::palette::Palette;
use crate::suite::{arm_of, error_kind, reproduce};
use crate::text::{disagreements, failures};
use conformance::arm::ArmError;
use conformance::result::RunResult;
use conformance::suite::known::CaseStatus;
use conformance::suite::run::{Case, Finished};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// Renders the document. Without durations, as on the simulator, the output is reproducible.
pub fn render(runs: &[Finished<'_>]) -> String {
    let mut report = Report::new("hairpin conformance");
    let mut suites: Vec<TestSuite> = Vec::new();
    for run in runs {
        let name = suite_name(&run.case);
        let suite = match suites.iter_mut().position(|suite| suite.name.as_str() == name) {
            Some(index) => &mut suites[index],
            None => {
                suites.push(suite(name, &run.case));
                let last = suites.len() - 1;
                &mut suites[last]
            }
        };
        suite.add_test_case(test_case(run));
        suite.time = sum(suite.time, run.elapsed);
        report.time = sum(report.time, run.elapsed);
    }
    report.add_test_suites(suites);
    report.to_string().expect("strings and numbers can be written")
}

/// `hairpin.kernel.iptables.ipv4.nft`: JUnit readers group by the part before the last dot.
fn suite_name(case: &Case<'_>) -> String {
    let backend = case.backend.map(|backend| format!(".{backend}")).unwrap_or_default();
    format!("hairpin.{}.{}.{}{backend}", arm_of(case), case.mode, case.family)
}

fn suite(name: String, case: &Case<'_>) -> TestSuite {
    let mut suite = TestSuite::new(name);
    suite.add_property(("arm", arm_of(case).name()));
    suite.add_property(("mode", case.mode.name()));
    suite.add_property(("family", case.family.name()));
    if let Some(backend) = case.backend {
        suite.add_property(("backend", backend.name()));
    }
    suite.add_property(("seed", case.seed.to_string().as_str()));
    suite
}

fn test_case(run: &Finished<'_>) -> TestCase {
    let Finished { case, outcome, verdict, elapsed, .. } = run;
    let mut test = TestCase::new(case.member.name.as_str(), status(run));
    test.set_classname(suite_name(case));
    test.time = *elapsed;
    if run.tries() > 1 {
        test.add_property(("tries", run.tries().to_string().as_str()));
    }
    test.add_property(("seed", case.seed.to_string().as_str()));
    if let Some(hash) = outcome.as_ref().ok().and_then(|result| result.trace_hash) {
        test.add_property(("traceHash", format!("{hash:016x}").as_str()));
    }
    test.add_property(("reproduce", reproduce(case).to_string().as_str()));
    if let (CaseStatus::KnownDifference(_), Ok(result)) = (verdict, outcome) {
        test.set_system_out(Told(result).to_string());
    }
    test
}

fn status(run: &Finished<'_>) -> TestCaseStatus {
    let again = format!("reproduce: {}", reproduce(&run.case));
    let unsuccessful = |kind, ty: &str, message: String, description: String| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_type(ty).set_message(message).set_description(description);
        status
    };
    match (run.verdict, &run.outcome) {
        (CaseStatus::Passed, _) => {
            let mut status = TestCaseStatus::success();
            status.add_reruns(run.earlier.iter().map(flaky));
            status
        }
        (CaseStatus::KnownDifference(reason), _) => {
            let mut status = TestCaseStatus::skipped();
            status.set_type("known-difference").set_message(reason);
            status
        }
        (CaseStatus::UnexpectedPass(reason), _) => {
            let message = format!("passed, but listed as a known difference: {reason}");
            unsuccessful(NonSuccessKind::Failure, "unexpected-pass", message, again)
        }
        (CaseStatus::Failed | CaseStatus::NotRun, Ok(result)) => {
            let message = first_line(result);
            unsuccessful(NonSuccessKind::Failure, "failure", message, format!("{}\n{again}", Told(result)))
        }
        (CaseStatus::Failed | CaseStatus::NotRun, Err(error)) => {
            unsuccessful(NonSuccessKind::Error, error_kind(error), error.to_string(), again)
        }
    }
}

/// A failed attempt of a case that passed on a later attempt.
fn flaky(outcome: &Result<RunResult, ArmError>) -> TestRerun {
    let (kind, ty, message, description) = match outcome {
        Ok(result) => (NonSuccessKind::Failure, "failure", first_line(result), Told(result).to_string()),
        Err(error) => (NonSuccessKind::Error, error_kind(error), error.to_string(), String::new()),
    };
    let mut rerun = TestRerun::new(kind);
    rerun.set_type(ty).set_message(message).set_description(description);
    rerun
}

/// The first failure, for summary lists.
fn first_line(result: &RunResult) -> String {
    let failure = result.steps.iter().flat_map(|step| &step.failures).next().map(ToString::to_string);
    let disagreement = || result.disagreements.first().map(ToString::to_string);
    let text = failure.or_else(disagreement).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Failures and differences as the terminal shows them.
struct Told<'a>(&'a RunResult);

impl Display for Told<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        failures::write(f, Palette::PLAIN, &self.0.steps)?;
        disagreements::write(f, Palette::PLAIN, &self.0.disagreements)
    }
}

fn sum(total: Option<Duration>, one: Option<Duration>) -> Option<Duration> {
    match (total, one) {
        (Some(total), Some(one)) => Some(total + one),
        (one, None) | (None, one) => one,
    }
}

#[cfg(test)]
mod tests;
