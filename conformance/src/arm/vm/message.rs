//! Messages between this machine and the guest: each is one line of JSON.
//!
//! Both sides are the same program, so the form is free to change. A difference between simulator and kernel becomes text
//! on its way ([`Disagreement`](crate::disagreement::Disagreement)); nothing else is lost.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::arm::ArmError;
use crate::backend::Backend;
use crate::diagnostic::Source;
use crate::random::Anomaly;
use crate::result::RunResult;
use crate::scenario::{IpFamilies, ProxyMode};

/// What the guest is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Run a scenario on the guest's kernel, beside the simulator.
    Run(RunRequest),
    /// Run a random cluster.
    Examine {
        /// The scenario's text.
        text: String,
        /// Which iptables loads the rules.
        backend: Backend,
    },
    /// Run a program, in the guest's initial network namespace.
    Execute(Execute),
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execute {
    /// The program, searched in the guest's `PATH`; `None` is hairpin itself, or whatever else is the first process.
    pub program: Option<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its standard input.
    pub input: String,
}

/// What a program did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// Its exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Its standard output. Bytes that are not UTF-8 are replaced.
    pub output: String,
    /// Its standard error, likewise.
    pub messages: String,
}

/// A run of one scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// The texts of the scenario and its objects.
    pub sources: Vec<Source>,
    /// How kube-proxy implements Services.
    pub mode: ProxyMode,
    /// Address families.
    pub family: IpFamilies,
    /// The seed of every random decision.
    pub seed: u64,
    /// Which iptables loads the rules.
    pub backend: Backend,
    /// The packet trace that is wanted.
    pub trace: Option<TraceDetail>,
}

/// How much of a packet trace is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceDetail {
    /// A packet that repeats an earlier one is only named.
    Distinct,
    /// Every packet in full.
    All,
}

/// What the guest answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// It has started and waits for requests.
    Ready {
        /// The kernel's release, as `uname -r` prints it.
        release: String,
    },
    /// To [`Request::Run`].
    Ran(Result<Ran, ArmError>),
    /// To [`Request::Examine`]: what is wrong, if anything.
    Examined(Result<Option<Anomaly>, ArmError>),
    /// To [`Request::Execute`].
    Executed(Result<Executed, ArmError>),
}

/// A run that could be completed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ran {
    /// The result. Actions of steps are empty ([`StepResult::action`](crate::result::StepResult::action)).
    pub result: RunResult,
    /// The packet trace, as text.
    pub trace: Option<String>,
}

/// A message as one line, with its line break.
///
/// # Errors
/// [`ArmError::Internal`] if it cannot be written.
pub fn encode<M: Serialize>(message: &M) -> Result<String, ArmError> {
    let mut line = serde_json::to_string(message).map_err(|error| ArmError::Internal(error.to_string()))?;
    line.push('\n');
    Ok(line)
}

/// The message of a line.
///
/// # Errors
/// [`ArmError::Internal`] with the beginning of a line that is not a message.
pub fn decode<M: DeserializeOwned>(line: &str) -> Result<M, ArmError> {
    serde_json::from_str(line).map_err(|error| {
        let begin: String = line.chars().take(80).collect();
        ArmError::Internal(format!("not a message: {error}: {begin}"))
    })
}

#[cfg(test)]
mod tests;
