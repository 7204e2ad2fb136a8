//! The result of a run: observations, shares, and failed expectations.

use serde::{Deserialize, Serialize};
use std::fmt;

use sim::draws::Weight;
use sim::trace::TraceEvent;

use crate::arm::vm::Guest;
use crate::backend::Backend;
use crate::disagreement::Disagreement;
use crate::observation::{EndpointName, FlowObservation};
use crate::scenario::{IpFamilies, ProxyMode, Share};

/// One scenario in one mode and family with one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// The arm.
    pub arm: ArmKind,
    /// Which iptables loaded the rules; `None` on the simulator.
    pub backend: Option<Backend>,
    /// The virtual machine; `None` on other arms.
    pub guest: Option<Guest>,
    /// The seed of every random decision.
    pub seed: u64,
    /// Hash over all events; `None` if the arm records none.
    pub trace_hash: Option<u64>,
    /// Every step, in order.
    pub steps: Vec<StepResult>,
    /// Differences between the simulator and the kernel it was run beside.
    pub disagreements: Vec<Disagreement>,
}

impl RunResult {
    /// True if every expectation held, and the arms agree.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(StepResult::passed) && self.disagreements.is_empty()
    }
}

/// The arm on which a scenario is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ArmKind {
    /// The simulator.
    Sim,
    /// Network namespaces of this machine's kernel.
    Kernel,
    /// Network namespaces of a virtual machine's kernel.
    Vm,
}

impl ArmKind {
    /// All arms, in report order.
    pub const ALL: [Self; 3] = [Self::Sim, Self::Kernel, Self::Vm];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Kernel => "kernel",
            Self::Vm => "vm",
        }
    }

    /// The arm with that name.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepResult {
    /// Its name.
    pub name: String,
    /// Its action: `connect`, `apply`, … Not serialized: the reader has the scenario.
    #[serde(skip)]
    pub action: &'static str,
    /// Every connection, in order.
    pub flows: Vec<FlowObservation>,
    /// How often each endpoint answered; empty for steps without connections.
    pub shares: Vec<EndpointShare>,
    /// The expectations as text.
    pub expected: Vec<(Subject, String)>,
    /// Failed expectations.
    pub failures: Vec<Failure>,
    /// Expectations that this arm cannot check.
    pub unseen: Vec<Subject>,
}

impl StepResult {
    /// True if every expectation held.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// How often one endpoint answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointShare {
    /// The endpoint; `None` for connections without a response.
    pub endpoint: Option<EndpointName>,
    /// The expected share.
    pub expected: Option<Share>,
    /// Its exact probability, if the arm can enumerate every decision.
    #[serde(with = "crate::serial::weight")]
    pub weight: Option<Weight>,
    /// Number of connections that it answered.
    pub count: u32,
    /// Number of connections in the step.
    pub total: u32,
}

impl EndpointShare {
    /// The observed share.
    pub fn sampled(&self) -> f64 {
        if self.total == 0 { 0.0 } else { f64::from(self.count) / f64::from(self.total) }
    }
}

/// A failed expectation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The expectation's subject.
    pub subject: Subject,
    /// The expected value, as text.
    pub expected: String,
    /// The observed value, as text.
    pub found: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: expected {}, found {}", self.subject.name(), self.expected, self.found)
    }
}

/// The subject of an expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// Outcomes of connections.
    Outcome,
    /// Endpoints that answer.
    Endpoints,
    /// The source address that endpoints see.
    SourceSeen,
    /// The source address of replies to the client.
    ReplyFrom,
    /// The status of HTTP responses.
    Status,
    /// The addresses of a name.
    Addresses,
    /// Dropped packets.
    Dropped,
    /// Entries of conntrack tables.
    Conntrack,
    /// Replies to a script of raw packets.
    Segments,
}

impl Subject {
    /// The field name in a scenario.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outcome => "outcome",
            Self::Endpoints => "endpoints",
            Self::SourceSeen => "sourceSeen",
            Self::ReplyFrom => "replyFrom",
            Self::Status => "status",
            Self::Addresses => "addresses",
            Self::Dropped => "dropped",
            Self::Conntrack => "conntrack",
            Self::Segments => "segments",
        }
    }
}

/// A run and, if the arm records one, its event stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The result.
    pub result: RunResult,
    /// The recording.
    pub recording: Option<Recording>,
}

/// One course that a connection may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Its probability; `None` where a scheduler chooses by what was before.
    pub weight: Option<Weight>,
    /// What client and endpoint see.
    pub flow: FlowObservation,
    /// What happened.
    pub recording: Recording,
}

/// The event stream of a run, and the names of its netns and devices.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// All events, in order.
    pub events: Vec<TraceEvent>,
    /// Names, indexed by netns id.
    pub netns: Vec<NetnsNames>,
    /// The index of the first event of each step.
    pub step_starts: Vec<usize>,
}

/// Names of a network namespace and its devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetnsNames {
    /// The name of the netns.
    pub name: String,
    /// Names of its devices, indexed by device index minus one; the first is `lo`.
    pub devices: Vec<String>,
}
