//! What a run says: observations, shares, and what differs from what was expected.

use std::fmt;

use sim::draws::Weight;
use sim::trace::TraceEvent;

use crate::backend::Backend;
use crate::disagreement::Disagreement;
use crate::observation::{EndpointName, FlowObservation};
use crate::scenario::{IpFamilies, ProxyMode, Share};

/// One scenario in one mode and family with one seed.
#[derive(Debug, Clone, PartialEq)]
pub struct RunResult {
    /// The scenario's name.
    pub scenario: String,
    /// What it shows.
    pub intent: String,
    /// Requirements that it covers.
    pub requirements: Vec<String>,
    /// How kube-proxy implemented Services.
    pub mode: ProxyMode,
    /// Address families.
    pub family: IpFamilies,
    /// By what it ran.
    pub arm: ArmKind,
    /// Which iptables loaded the rules; `None` where none did.
    pub backend: Option<Backend>,
    /// The seed of every random decision.
    pub seed: u64,
    /// Hash over all events; `None` from arms that record none.
    pub trace_hash: Option<u64>,
    /// Every step, in order.
    pub steps: Vec<StepResult>,
    /// Where the simulator and a kernel that it was run beside do not agree.
    pub disagreements: Vec<Disagreement>,
}

impl RunResult {
    /// Whether every expectation held, and all arms agree.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(StepResult::passed) && self.disagreements.is_empty()
    }
}

/// By what a scenario is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArmKind {
    /// The simulator.
    Sim,
    /// Network namespaces of this machine's kernel.
    Kernel,
}

impl ArmKind {
    /// Every arm, in the order in which they are reported.
    pub const ALL: [Self; 2] = [Self::Sim, Self::Kernel];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Kernel => "kernel",
        }
    }

    /// The arm of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arm| arm.name() == name)
    }
}

impl fmt::Display for ArmKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepResult {
    /// What it is about.
    pub name: String,
    /// What it did: `connect`, `apply`, …
    pub action: &'static str,
    /// Every connection that was made, in order.
    pub flows: Vec<FlowObservation>,
    /// Who answered how often; empty for steps without connections.
    pub shares: Vec<EndpointShare>,
    /// What was expected, in words.
    pub expected: Vec<(Subject, String)>,
    /// What was otherwise than expected.
    pub failures: Vec<Failure>,
    /// What was expected but this arm cannot see.
    pub unseen: Vec<Subject>,
}

impl StepResult {
    /// Whether every expectation held.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// How often one endpoint answered.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointShare {
    /// The endpoint; `None` for connections that nobody answered.
    pub endpoint: Option<EndpointName>,
    /// The share that was expected.
    pub expected: Option<Share>,
    /// Its exact probability, where the arm can enumerate every decision.
    pub weight: Option<Weight>,
    /// Connections that it answered.
    pub count: u32,
    /// Connections of the step.
    pub total: u32,
}

impl EndpointShare {
    /// The share among the connections that were made.
    pub fn sampled(&self) -> f64 {
        if self.total == 0 { 0.0 } else { f64::from(self.count) / f64::from(self.total) }
    }
}

/// An expectation that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was looked at.
    pub subject: Subject,
    /// What should have been, in words.
    pub expected: String,
    /// What was, in words.
    pub found: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: expected {}, found {}", self.subject.name(), self.expected, self.found)
    }
}

/// What an expectation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// How connections end.
    Outcome,
    /// Who answers.
    Endpoints,
    /// The address that the endpoint sees.
    SourceSeen,
    /// The address from which the client is answered.
    ReplyFrom,
    /// The addresses that a name has.
    Addresses,
    /// Packets that are dropped.
    Dropped,
    /// Entries of conntrack tables.
    Conntrack,
    /// What comes back to a script of raw packets.
    Segments,
}

impl Subject {
    /// Its field in a scenario.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outcome => "outcome",
            Self::Endpoints => "endpoints",
            Self::SourceSeen => "sourceSeen",
            Self::ReplyFrom => "replyFrom",
            Self::Addresses => "addresses",
            Self::Dropped => "dropped",
            Self::Conntrack => "conntrack",
            Self::Segments => "segments",
        }
    }
}

/// A run and, from an arm that has it, everything that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What it says.
    pub result: RunResult,
    /// What happened.
    pub recording: Option<Recording>,
}

/// The event stream of a run, and what its numbers are called.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Everything that happened, in order.
    pub events: Vec<TraceEvent>,
    /// Names by netns index.
    pub netns: Vec<NetnsNames>,
    /// For each step, in order, the index of its first event.
    pub step_starts: Vec<usize>,
}

/// Names of a network namespace and its devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetnsNames {
    /// Its own name.
    pub name: String,
    /// Names of its devices, by index less one; the first is `lo`.
    pub devices: Vec<String>,
}
