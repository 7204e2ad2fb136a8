//! The document as other programs read it. Fields are only ever added.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Some runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Version of this document: `hairpin-report/v1`.
    pub schema: String,
    /// The runs in the order in which they were asked for.
    pub runs: Vec<Run>,
    /// Runs of a suite that could not be run to their end; they are not among the others.
    pub not_run: Vec<NotRun>,
}

/// A run that could not be run to its end.
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
    /// What it was to run on: `sim`, `kernel` or `vm`.
    pub arm: String,
    /// Which iptables was to load the rules on a kernel: `legacy` or `nft`; null where none does.
    pub backend: Option<String>,
    /// Seed of every random decision.
    pub seed: u64,
    /// Why: `refused` if something that the scenario's author wrote was, `missing` if the machine lacks something, `failed` if
    /// a tool did.
    pub kind: String,
    /// The same in words.
    pub text: String,
    /// The command that runs it again.
    pub reproduce: String,
}

/// One scenario in one mode and family with one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Name of the scenario.
    pub scenario: String,
    /// What it shows, in one sentence.
    pub intent: String,
    /// Requirements that it covers.
    pub requirements: Vec<String>,
    /// `iptables`, `ipvs`, `nftables` or `userspace`.
    pub mode: String,
    /// `ipv4`, `ipv6` or `dual`.
    pub family: String,
    /// What it ran on: `sim`, `kernel` or `vm`.
    pub arm: String,
    /// Which iptables loaded the rules on a kernel: `legacy` or `nft`; null where none did.
    pub backend: Option<String>,
    /// Seed of every random decision.
    pub seed: u64,
    /// Hash over everything that happened, 16 hexadecimal digits; equal for equal runs on any machine. Null where events are
    /// not recorded.
    pub trace_hash: Option<String>,
    /// Every expectation held, and no arms disagree.
    pub passed: bool,
    /// Why a suite expects that it does not pass; null if it does not expect that.
    pub known_difference: Option<String>,
    /// The command that runs it again.
    pub reproduce: String,
    /// The steps in order.
    pub steps: Vec<Step>,
    /// Where the simulator and a kernel that it was run beside do not agree, in words; empty where only one of them ran.
    pub disagreements: Vec<Disagreement>,
}

/// Something that the simulator and a kernel do not agree about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Disagreement {
    /// In which step, from 1.
    pub step: usize,
    /// What it is.
    pub text: String,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What it is about.
    pub name: String,
    /// What it did: `connect`, `apply`, …
    pub action: String,
    /// Every expectation of the step held.
    pub passed: bool,
    /// Every connection that was made, in order.
    pub flows: Vec<Flow>,
    /// Who answered how often: by `pod/NAME`, `IP:port`, or `nobody`.
    pub shares: IndexMap<String, Share>,
    /// Whether the counts go with the weights; null where weights are not known or leave no choice.
    pub g_test: Option<GTest>,
    /// Expectations that did not hold.
    pub failures: Vec<Failure>,
    /// Expectations that this arm cannot check, by their field in the scenario.
    pub unseen: Vec<String>,
}

/// One connection, or one datagram or echo request and its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// Who connected, as the step names it.
    pub from: String,
    /// To what, as the step names it.
    pub to: String,
    /// `tcp`, `udp`, `sctp` or `icmp`.
    pub protocol: String,
    /// `connected`, `refused`, `unreachable`, `timeout` or `reset`.
    pub outcome: String,
    /// How it was refused (`tcp-reset`, `icmp-port-unreachable`) or why there was no way (`network`, `host`, `protocol`,
    /// `prohibited`, `message-size`); null for other outcomes.
    pub outcome_detail: Option<String>,
    /// The node whose rules saw the first packet first.
    pub via: Option<String>,
    /// Who answered: `pod/NAME`, or `IP:port` for what is no pod.
    pub endpoint: Option<String>,
    /// The address that the endpoint saw.
    pub source_seen: Option<String>,
    /// The address from which the client was answered.
    pub reply_from: Option<String>,
}

/// How often one endpoint answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// The share that the scenario expects; null where it expects none.
    pub expected: Option<String>,
    /// The simplest fraction that the weight stands for: `1/3` for 715827883/2147483648, as near as rules can say it. Null where
    /// there is no weight, or no simple fraction is that near.
    pub exact: Option<String>,
    /// Its exact probability, found by visiting every random decision of the rules; null where an arm cannot, for echo requests,
    /// and where a link may lose frames.
    pub weight: Option<String>,
    /// The share of the connections that were made.
    pub sampled: f64,
    /// Connections that it answered.
    pub count: u32,
    /// Connections of the step.
    pub total: u32,
}

/// A likelihood ratio test of counts against exact weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GTest {
    /// G, rounded to six decimals; null if it is infinite, because somebody answered whose weight is zero.
    pub statistic: Option<f64>,
    /// The probability of a larger G if the weights are right, rounded to six decimals.
    pub p_value: f64,
}

/// An expectation that did not hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its field in the scenario: `outcome`, `endpoints`, `sourceSeen`, `replyFrom`, `dropped` or `conntrack`.
    pub subject: String,
    /// What should have been, in words.
    pub expected: String,
    /// What was, in words.
    pub found: String,
}
