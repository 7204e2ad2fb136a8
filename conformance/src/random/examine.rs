//! Runs a world and reports what is wrong with it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

use sim::ids::PacketId;
use sim::trace::{Event, PacketEvent};

use crate::arm::ArmError;
use crate::backend::Backend;
use crate::caught::caught;
use crate::diagnostic::{Source, Style, has_errors, render};
use crate::disagreement::{Aspect, Disagreement};
use crate::manifest;
use crate::prepare::{Prepared, prepare};
use crate::result::{Recording, Run};
use crate::runner::{RunOptions, run_against_kernel, run_twice_sim};
use crate::scenario::ModeChoice;

/// Maximum number of disagreements reported; one cause often shows on every device behind it.
const TOLD_MAX: usize = 12;

/// The arm to run a world on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Examined {
    /// The simulator alone, twice.
    Sim,
    /// The simulator and this machine's kernel, with rules loaded by this back end.
    Kernel(Backend),
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// Its kind.
    pub kind: AnomalyKind,
    /// Details, as lines of text.
    pub text: String,
}

/// The kind of a failure; shrinking preserves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AnomalyKind {
    /// The text is not a valid scenario.
    Refused,
    /// An arm stopped with an error.
    Stopped,
    /// An assertion failed.
    Panicked,
    /// Two runs of the simulator differ.
    Indeterminate,
    /// A packet was not created and terminated exactly once.
    PacketLife,
    /// Clients or servers observed different results.
    Flow,
    /// Captured frames differ.
    Frame,
    /// Conntrack tables differ.
    Conntrack,
    /// Rule counters differ.
    Counters,
    /// IPVS differs.
    Ipvs,
    /// The kernel chose endpoints with different probabilities.
    Choices,
}

impl AnomalyKind {
    /// A short description.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "invalid scenario",
            Self::Stopped => "the run stopped with an error",
            Self::Panicked => "an assertion failed",
            Self::Indeterminate => "two runs differ",
            Self::PacketLife => "a packet was not created and terminated exactly once",
            Self::Flow => "connections differ",
            Self::Frame => "frames differ",
            Self::Conntrack => "conntrack tables differ",
            Self::Counters => "rule counters differ",
            Self::Ipvs => "IPVS differs",
            Self::Choices => "choices differ",
        }
    }
}

impl fmt::Display for AnomalyKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Runs the scenario of a text; `None` if nothing is wrong.
///
/// # Errors
/// [`ArmError::Missing`], if the machine lacks a prerequisite.
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
    assert!(!has_errors(&prepared.warnings), "a validated scenario has no errors");
    let modes =
        prepared.modes_for(ModeChoice::Named).map_err(|error| ArmError::Internal(error.to_string()))?;
    for mode in modes {
        if let Some(finding) = run_mode(&prepared, &RunOptions::new(mode), by)? {
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
    match disagreement.kind.aspect() {
        Aspect::Flow => AnomalyKind::Flow,
        Aspect::Frame => AnomalyKind::Frame,
        Aspect::Conntrack => AnomalyKind::Conntrack,
        Aspect::Counters => AnomalyKind::Counters,
        Aspect::Ipvs => AnomalyKind::Ipvs,
        Aspect::Choices => AnomalyKind::Choices,
    }
}

fn told(disagreements: &[Disagreement]) -> String {
    let mut lines: Vec<String> = disagreements.iter().take(TOLD_MAX).map(ToString::to_string).collect();
    if let Some(more) = disagreements.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// Checks that every packet is created once and terminated at most once: some are in flight at the end.
fn packet_lives(recording: &Recording) -> Option<Anomaly> {
    let mut has_ended: BTreeMap<PacketId, bool> = BTreeMap::new();
    for event in &recording.events {
        let (Event::Packet(life), Some(packet)) = (&event.event, event.packet) else { continue };
        let wrong = match life {
            PacketEvent::Created { .. } => has_ended.insert(packet, false).map(|_| "is created twice"),
            PacketEvent::Ended { .. } => match has_ended.insert(packet, true) {
                Some(false) => None,
                Some(true) => Some("is terminated twice"),
                None => Some("is terminated before it is created"),
            },
        };
        if let Some(wrong) = wrong {
            let text = format!("packet {packet:?} {wrong}, at {:?}", event.at);
            return Some(Anomaly { kind: AnomalyKind::PacketLife, text });
        }
    }
    None
}
