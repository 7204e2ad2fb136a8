//! Runs as one JSON document for other programs.
//!
//! These types mirror those in `conformance::result`, whose own serialized form is internal and may change: this document
//! only grows. A test checks it against its JSON Schema, `docs/report.schema.json`.

mod document;

pub use document::{Disagreement, Document, Failure, Flow, GTest, LabSetting, NotRun, Run, Share, Step};

use crate::reproduce::Reproduce;
use crate::{share, suite};
use conformance::arm::ArmError;
use conformance::observation::FlowObservation;
use conformance::result::{ArmKind, EndpointShare, RunResult, StepResult};
use conformance::scenario::OutcomePattern;
use conformance::settings::LAB_SETTINGS;
use conformance::suite::run::{Case, Finished};

/// Version of the document. It changes only when a field is removed or changes its meaning.
pub const SCHEMA: &str = "hairpin-report/v1";

/// Renders runs, each with the command-line argument that named its scenario. The document ends with a newline.
pub fn render<'a>(runs: impl IntoIterator<Item = (&'a RunResult, &'a str)>) -> String {
    let runs = runs.into_iter().map(|(run, argument)| Run::new(run, argument)).collect();
    written(runs, Vec::new())
}

/// Renders the runs of a suite.
pub fn render_suite(finished: &[Finished<'_>]) -> String {
    let (mut runs, mut not_run) = (Vec::new(), Vec::new());
    for Finished { case, outcome, verdict, .. } in finished {
        match outcome {
            Ok(result) => {
                let known_difference = verdict.known_difference().map(ToOwned::to_owned);
                runs.push(Run { known_difference, ..Run::new(result, &case.member.argument) });
            }
            Err(error) => not_run.push(NotRun::new(case, error)),
        }
    }
    written(runs, not_run)
}

fn written(runs: Vec<Run>, not_run: Vec<NotRun>) -> String {
    let is_on_kernel = |arm: &str| [ArmKind::Kernel, ArmKind::Vm].iter().any(|kernel| kernel.name() == arm);
    let mut arms = runs.iter().map(|run| &run.arm).chain(not_run.iter().map(|run| &run.arm));
    let lab_settings = match arms.any(|arm| is_on_kernel(arm)) {
        true => LAB_SETTINGS.iter().map(LabSetting::new).collect(),
        false => Vec::new(),
    };
    let document = Document { schema: SCHEMA.to_owned(), runs, not_run, lab_settings };
    let mut text =
        serde_json::to_string_pretty(&document).expect("strings, numbers and lists can be written");
    text.push('\n');
    text
}

impl LabSetting {
    fn new(setting: &conformance::settings::LabSetting) -> Self {
        Self {
            name: setting.name.to_owned(),
            value: setting.value.to_owned(),
            reason: setting.reason.to_owned(),
        }
    }
}

impl NotRun {
    fn new(case: &Case<'_>, error: &ArmError) -> Self {
        Self {
            scenario: case.member.prepared.scenario.name.clone(),
            mode: case.mode.name().to_owned(),
            family: case.family.name().to_owned(),
            arm: suite::arm_of(case).name().to_owned(),
            backend: case.backend.map(|backend| backend.name().to_owned()),
            seed: case.seed,
            kind: suite::error_kind(error).to_owned(),
            text: error.to_string(),
            reproduce: suite::reproduce(case).to_string(),
        }
    }
}

impl Run {
    fn new(run: &RunResult, argument: &str) -> Self {
        Self {
            scenario: run.scenario.clone(),
            intent: run.intent.clone(),
            requirements: run.requirements.clone(),
            mode: run.mode.name().to_owned(),
            family: run.family.name().to_owned(),
            arm: run.arm.name().to_owned(),
            backend: run.backend.map(|backend| backend.name().to_owned()),
            guest_kernel: run.guest.as_ref().map(|guest| guest.release.clone()),
            seed: run.seed,
            trace_hash: run.trace_hash.map(|hash| format!("{hash:016x}")),
            passed: run.passed(),
            known_difference: None,
            reproduce: Reproduce::new(run, argument).to_string(),
            steps: run.steps.iter().map(Step::new).collect(),
            disagreements: run
                .disagreements
                .iter()
                .map(|it| Disagreement { step: it.step, text: it.to_string() })
                .collect(),
        }
    }
}

impl Step {
    fn new(step: &StepResult) -> Self {
        Self {
            name: step.name.clone(),
            action: step.action.to_owned(),
            passed: step.passed(),
            flows: step.flows.iter().map(Flow::new).collect(),
            shares: step.shares.iter().map(|share| (share_key(share), Share::new(share))).collect(),
            g_test: share::g_test(&step.shares).map(|test| GTest {
                statistic: test.statistic.is_finite().then(|| rounded(test.statistic)),
                p_value: rounded(test.p_value),
            }),
            failures: step
                .failures
                .iter()
                .map(|failure| Failure {
                    subject: failure.subject.name().to_owned(),
                    expected: failure.expected.clone(),
                    found: failure.found.clone(),
                })
                .collect(),
            unseen: step.unseen.iter().map(|subject| subject.name().to_owned()).collect(),
        }
    }
}

/// Rounds to six decimals: the last bits of a logarithm differ between machines, and the document must not.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

/// `nobody` cannot collide with an endpoint: those are `pod/NAME` or `IP:port`.
fn share_key(share: &EndpointShare) -> String {
    share.endpoint.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string)
}

impl Share {
    fn new(share: &EndpointShare) -> Self {
        Self {
            expected: share.expected.map(|expected| expected.to_string()),
            exact: share.weight.as_ref().and_then(share::simplest).map(share::fraction_text),
            weight: share.weight.as_ref().map(ToString::to_string),
            sampled: share.sampled(),
            count: share.count,
            total: share.total,
        }
    }
}

impl Flow {
    pub(crate) fn new(flow: &FlowObservation) -> Self {
        let pattern = OutcomePattern::exactly(flow.outcome).to_string();
        let (outcome, detail) = match pattern.split_once('/') {
            Some((outcome, detail)) => (outcome.to_owned(), Some(detail.to_owned())),
            None => (pattern, None),
        };
        Self {
            from: flow.from.clone(),
            to: flow.to.clone(),
            protocol: flow.protocol.name().to_owned(),
            outcome,
            outcome_detail: detail,
            via: flow.via.clone(),
            connection: flow.connection.clone(),
            endpoint: flow.endpoint.as_ref().map(ToString::to_string),
            source_seen: flow.source_seen.map(|addr| addr.to_string()),
            reply_from: flow.reply_from.map(|addr| addr.to_string()),
            answered: flow.answered.clone(),
            status: flow.status,
        }
    }
}

#[cfg(test)]
mod tests;
