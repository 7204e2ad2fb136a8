//! The JSON document as other programs read it. Fields are only added, never removed.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// A list of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Version of this document: `hairpin-report/v1`.
    pub schema: String,
    /// The runs, in the order requested.
    pub runs: Vec<Run>,
    /// Suite runs that could not be completed; they are not listed in `runs`.
    pub not_run: Vec<NotRun>,
    /// How both sides of runs on a kernel differ from a real node; empty if all runs are on the simulator.
    #[serde(default)]
    pub lab_settings: Vec<LabSetting>,
}

/// A setting that differs from a real node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LabSetting {
    /// The sysctl, or what it is otherwise. `DEVICE` stands for the name of each device.
    pub name: String,
    /// The value.
    pub value: String,
    /// Why it differs.
    pub reason: String,
}

/// A run that could not be completed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NotRun {
    /// Name of the scenario.
    pub scenario: String,
    /// `iptables`, `ipvs`, `nftables` or `userspace`.
    pub mode: String,
    /// `ipv4`, `ipv6` or `dual`.
    pub family: String,
    /// The requested arm: `sim`, `kernel` or `vm`.
    pub arm: String,
    /// Which iptables was to load the rules on a kernel: `legacy` or `nft`; null on the simulator.
    pub backend: Option<String>,
    /// Seed of every random decision.
    pub seed: u64,
    /// Why: `refused` if the scenario is invalid, `missing` if the machine lacks a prerequisite, `failed` if a tool
    /// failed, `internal` if hairpin has a bug.
    pub kind: String,
    /// The reason as text.
    pub text: String,
    /// The command that reproduces the run.
    pub reproduce: String,
}

/// One scenario in one mode and family, with one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Name of the scenario.
    pub scenario: String,
    /// What the scenario shows, in one sentence.
    pub intent: String,
    /// Requirements that the scenario covers.
    pub requirements: Vec<String>,
    /// `iptables`, `ipvs`, `nftables` or `userspace`.
    pub mode: String,
    /// `ipv4`, `ipv6` or `dual`.
    pub family: String,
    /// The arm: `sim`, `kernel` or `vm`.
    pub arm: String,
    /// Which iptables loaded the rules on a kernel: `legacy` or `nft`; null on the simulator.
    pub backend: Option<String>,
    /// The release of a virtual machine's kernel, as `uname -r` prints it; null on other arms.
    pub guest_kernel: Option<String>,
    /// Seed of every random decision.
    pub seed: u64,
    /// Hash over all events, 16 hexadecimal digits; equal runs have equal hashes on every machine. Null where events
    /// are not recorded.
    pub trace_hash: Option<String>,
    /// True if every expectation held and the arms agree.
    pub passed: bool,
    /// Why a suite expects this run to fail; null if it is expected to pass.
    pub known_difference: Option<String>,
    /// The command that reproduces the run.
    pub reproduce: String,
    /// The steps in order.
    pub steps: Vec<Step>,
    /// Differences between the simulator and a kernel, as text; empty if only one of them ran.
    pub disagreements: Vec<Disagreement>,
}

/// A difference between the simulator and a kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Disagreement {
    /// The step, counted from 1.
    pub step: usize,
    /// The difference as text.
    pub text: String,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The name of the step.
    pub name: String,
    /// The action of the step: `connect`, `apply`, …
    pub action: String,
    /// True if every expectation of the step held.
    pub passed: bool,
    /// Every connection, in order.
    pub flows: Vec<Flow>,
    /// How often each endpoint answered, keyed by `pod/NAME`, `IP:port`, or `nobody`.
    pub shares: IndexMap<String, Share>,
    /// Test of the counts against the weights; null where weights are unknown or only one endpoint can answer.
    pub g_test: Option<GTest>,
    /// Expectations that did not hold.
    pub failures: Vec<Failure>,
    /// Expectations that this arm cannot check, by their field name in the scenario.
    pub unseen: Vec<String>,
}

/// One connection, or one datagram or echo request with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// The client, as the step names it.
    pub from: String,
    /// The destination, as the step names it.
    pub to: String,
    /// `tcp`, `udp`, `sctp` or `icmp`.
    pub protocol: String,
    /// `connected`, `refused`, `unreachable`, `timeout` or `reset`.
    pub outcome: String,
    /// How it was refused (`tcp-reset`, `icmp-port-unreachable`) or why it was unreachable (`network`, `host`,
    /// `protocol`, `prohibited`, `message-size`); null for other outcomes.
    pub outcome_detail: Option<String>,
    /// The first node whose rules saw the first packet.
    pub via: Option<String>,
    /// The name of a connection that stays open after its step, or that an earlier step has kept open; null for others.
    pub connection: Option<String>,
    /// Who answered: `pod/NAME`, or `IP:port` for an address that belongs to no Pod.
    pub endpoint: Option<String>,
    /// The source address that the endpoint saw.
    pub source_seen: Option<String>,
    /// The source address of the reply that the client received.
    pub reply_from: Option<String>,
    /// What a DNS or HTTP server answered; null for other connections.
    #[serde(default)]
    pub answered: Option<String>,
    /// The status of an HTTP response; null for other connections.
    #[serde(default)]
    pub status: Option<u16>,
}

/// How often one endpoint answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// The share that the scenario expects; null if it expects none.
    pub expected: Option<String>,
    /// The simplest fraction within the precision of the rules: `1/3` for 715827883/2147483648. Null if there is no
    /// weight, or no simple fraction is close enough.
    pub exact: Option<String>,
    /// Exact probability, computed by enumerating every random decision of the rules; null on arms that cannot do this,
    /// for echo requests, for requests on kept connections, and where a link may lose frames.
    pub weight: Option<String>,
    /// The observed share of the connections.
    pub sampled: f64,
    /// Number of connections that this endpoint answered.
    pub count: u32,
    /// Number of connections in the step.
    pub total: u32,
}

/// A likelihood-ratio test of counts against exact weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GTest {
    /// G, rounded to six decimals; null if infinite, because an endpoint with weight zero answered.
    pub statistic: Option<f64>,
    /// The probability of a larger G if the weights are correct, rounded to six decimals.
    pub p_value: f64,
}

/// An expectation that did not hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The field in the scenario: `outcome`, `endpoints`, `sourceSeen`, `replyFrom`, `dropped` or `conntrack`.
    pub subject: String,
    /// The expected value, as text.
    pub expected: String,
    /// The observed value, as text.
    pub found: String,
}
