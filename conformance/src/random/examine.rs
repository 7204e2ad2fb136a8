//! Running a world and saying what is wrong with it, if anything is.

use std::collections::BTreeMap;
use std::fmt;

use sim::ids::PacketId;
use sim::trace::{Event, PacketEvent};

use crate::arm::ArmError;
use crate::backend::Backend;
use crate::caught::caught;
use crate::diagnostic::{Source, Style, has_errors, render};
use crate::disagreement::{Disagreement, DisagreementKind};
use crate::manifest;
use crate::prepare::{Prepared, prepare};
use crate::result::{Recording, Run};
use crate::runner::{RunOptions, run_against_kernel, run_twice_sim};

/// So many disagreements are told; one cause often shows on every device after it.
const TOLD_MAX: usize = 12;

/// By what a world is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Examined {
    /// The simulator alone, twice.
    Sim,
    /// The simulator and this machine's kernel, with rules loaded by this back end.
    Kernel(Backend),
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// What sort of thing.
    pub kind: AnomalyKind,
    /// All about it, in lines.
    pub text: String,
}

/// What can be wrong with a world; while it is made smaller, this must not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnomalyKind {
    /// The text is no scenario that can run.
    Refused,
    /// An arm could not go on.
    Stopped,
    /// An assertion failed.
    Panicked,
    /// Two runs of the simulator differ.
    Indeterminate,
    /// A packet did not begin and end once.
    PacketLife,
    /// Clients or servers saw different things.
    Flow,
    /// There were different frames.
    Frame,
    /// Conntrack tables differ.
    Conntrack,
    /// Rules matched a different number of packets.
    Counters,
    /// The kernel chose endpoints with other probabilities.
    Choices,
}

impl AnomalyKind {
    /// In a few words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused as a scenario",
            Self::Stopped => "the run could not go on",
            Self::Panicked => "an assertion failed",
            Self::Indeterminate => "two runs differ",
            Self::PacketLife => "a packet did not begin and end once",
            Self::Flow => "connections differ",
            Self::Frame => "frames differ",
            Self::Conntrack => "conntrack tables differ",
            Self::Counters => "counters of rules differ",
            Self::Choices => "choices differ",
        }
    }
}

impl fmt::Display for AnomalyKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Runs the scenario of a text; `None` if all is as it must be.
///
/// # Errors
/// [`ArmError::Missing`], if this machine lacks something.
pub fn examine(text: &str, by: Examined) -> Result<Option<Anomaly>, ArmError> {
    let panicked = |text| Ok(Some(Anomaly { kind: AnomalyKind::Panicked, text }));
    caught(|| run(text, by)).unwrap_or_else(panicked)
}

fn run(text: &str, by: Examined) -> Result<Option<Anomaly>, ArmError> {
    let source = Source { name: "world.yaml".to_owned(), text: text.to_owned() };
    let prepared = match prepare(manifest::load(vec![source])) {
        Ok(prepared) => prepared,
        Err(refused) => {
            let text = render(&refused.diagnostics, &refused.sources, Style::Plain);
            return Ok(Some(Anomaly { kind: AnomalyKind::Refused, text }));
        }
    };
    assert!(!has_errors(&prepared.warnings), "what is prepared has no errors");
    for mode in &prepared.modes {
        if let Some(finding) = run_mode(&prepared, &RunOptions::new(*mode), by)? {
            return Ok(Some(finding));
        }
    }
    Ok(None)
}

fn run_mode(prepared: &Prepared, options: &RunOptions, by: Examined) -> Result<Option<Anomaly>, ArmError> {
    let (run, failed) = match by {
        Examined::Sim => (run_twice_sim(prepared, options), AnomalyKind::Indeterminate),
        Examined::Kernel(backend) => (run_against_kernel(prepared, options, backend), AnomalyKind::Stopped),
    };
    let Run { result, recording } = match run {
        Ok(run) => run,
        Err(error @ ArmError::Missing(_)) => return Err(error),
        Err(ArmError::Refused(text)) => return Ok(Some(Anomaly { kind: AnomalyKind::Stopped, text })),
        Err(ArmError::Failed(text) | ArmError::Internal(text)) => {
            return Ok(Some(Anomaly { kind: failed, text }));
        }
    };
    let disagreement = result
        .disagreements
        .first()
        .map(|first| Anomaly { kind: kind_of(first), text: told(&result.disagreements) });
    Ok(disagreement.or_else(|| recording.as_ref().and_then(packet_lives)))
}

fn kind_of(disagreement: &Disagreement) -> AnomalyKind {
    match &disagreement.kind {
        // Random worlds have no scripts.
        DisagreementKind::Flow { .. } | DisagreementKind::Script { .. } => AnomalyKind::Flow,
        DisagreementKind::Frame(_) => AnomalyKind::Frame,
        DisagreementKind::Conntrack { .. } => AnomalyKind::Conntrack,
        DisagreementKind::Counters { .. } => AnomalyKind::Counters,
        DisagreementKind::Choices { .. } => AnomalyKind::Choices,
    }
}

fn told(disagreements: &[Disagreement]) -> String {
    let mut lines: Vec<String> = disagreements.iter().take(TOLD_MAX).map(ToString::to_string).collect();
    if let Some(more) = disagreements.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// Every packet begins once, and ends once at most: some are still on their way at the end.
fn packet_lives(recording: &Recording) -> Option<Anomaly> {
    let mut has_ended: BTreeMap<PacketId, bool> = BTreeMap::new();
    for event in &recording.events {
        let (Event::Packet(life), Some(packet)) = (&event.event, event.packet) else { continue };
        let wrong = match life {
            PacketEvent::Created { .. } => has_ended.insert(packet, false).map(|_| "begins twice"),
            PacketEvent::Ended { .. } => match has_ended.insert(packet, true) {
                Some(false) => None,
                Some(true) => Some("ends twice"),
                None => Some("ends before it begins"),
            },
        };
        if let Some(wrong) = wrong {
            let text = format!("packet {packet:?} {wrong}, at {:?}", event.at);
            return Some(Anomaly { kind: AnomalyKind::PacketLife, text });
        }
    }
    None
}
