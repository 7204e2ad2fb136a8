//! Arms run scenarios: the trait, and its implementations.
//!
//! An arm builds a [`Topology`], loads the rules of every node's kube-proxy, and executes steps. It reports what a
//! client, a server and `conntrack -L` would show, and does not judge it.

pub mod against;
mod ipv4;
pub mod kernel;
pub(crate) mod script;
pub mod sim;
pub mod vm;

use std::time::Duration;

use proxy_core::load::Load;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::netns::NetnsName;
use crate::observation::{ConntrackObservation, Flows, IpvsObservation, Scripted};
use crate::prepare::{FlowPlan, KeptPlan, ScriptPlan, StateChange};
use crate::proxy::NodeUpdate;
use crate::result::{ArmKind, Recording};
use crate::shares::Distribution;
use crate::topology::{Topology, TopologyChange};

/// The time from the end of processes, which closes their sockets, to the removal of a Pod's network. A kubelet removes the
/// sandbox when its containers have exited; this is long enough for the last segments to be acknowledged.
const TEARDOWN: Duration = Duration::from_millis(20);

/// Runs scenarios. Implemented by the simulator and this machine's kernel.
pub trait Arm {
    /// The kind of this arm.
    fn kind(&self) -> ArmKind;

    /// Builds all network namespaces. Called once, first.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn build(&mut self, topology: &Topology) -> Result<(), ArmError>;

    /// Loads on a node what kube-proxy loads at start, in order. The node is new, so no chain or jump exists.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn load(&mut self, node: &str, load: &[Load]) -> Result<(), ArmError>;

    /// Loads on a node what its network plug-in adds and removes, in order.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn plug(&mut self, node: &str, load: &[Load]) -> Result<(), ArmError>;

    /// Applies on a node what kube-proxy changes after a change of the cluster.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn update(&mut self, node: &str, update: &NodeUpdate) -> Result<(), ArmError>;

    /// Adds and removes Pods, opens and closes ports. `after` is the resulting topology.
    ///
    /// As on a node, processes end first, which closes their connections, and a Pod's network is removed 20 ms later.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn rebuild(&mut self, changes: &[TopologyChange], after: &Topology) -> Result<(), ArmError>;

    /// Changes a sysctl, a hairpin flag or a link.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn change(&mut self, change: &StateChange) -> Result<(), ArmError>;

    /// Opens connections one after the other, each after the outcome of the previous one. They stay open if the plan says so.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn flows(&mut self, plan: &FlowPlan) -> Result<Flows, ArmError>;

    /// Sends a request on each connection that a step kept open, one after the other, or closes them. A connection that has
    /// ended sends nothing, and has the outcome with which it ended; one that is closed while it is open is `connected`.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn kept(&mut self, plan: &KeptPlan) -> Result<Flows, ArmError>;

    /// Sends raw packets and checks the replies.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn script(&mut self, plan: &ScriptPlan) -> Result<Scripted, ArmError>;

    /// The exact distribution of one connection of the plan in the current state; `None` if this arm cannot determine
    /// it, if a link on the path may lose frames, or if IPVS chooses endpoints: by earlier connections, not by chance.
    /// Does not change the state.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn distribution(&self, plan: &FlowPlan) -> Result<Option<Distribution>, ArmError>;

    /// The conntrack table of a network namespace; `None` if this arm cannot read it.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn conntrack(&mut self, netns: &NetnsName) -> Result<Option<Vec<ConntrackObservation>>, ArmError>;

    /// Virtual services, IPVS connections and sets of a node.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn ipvs(&mut self, node: &str) -> Result<IpvsObservation, ArmError>;

    /// Time since the arm was built.
    fn elapsed(&self) -> Duration;

    /// Lets time pass.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn sleep(&mut self, duration: Duration) -> Result<(), ArmError>;

    /// Marks the start of a step. Arms that record events note the position.
    fn step_begins(&mut self);

    /// Ends the run; returns the hash over all events and the events, if the arm records them.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn finish(self) -> Result<(Option<u64>, Option<Recording>), ArmError>;
}

/// Why an arm could not continue.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum ArmError {
    /// User input was rejected: a sysctl or a rule. Exit code 2.
    #[error("{0}")]
    Refused(String),
    /// The machine lacks a prerequisite; the message says what to install. Exit code 3.
    #[error("{0}")]
    Missing(String),
    /// A failure of a tool or of the machine. Exit code 3.
    #[error("{0}")]
    Failed(String),
    /// A bug of hairpin: an assertion failed, or it rejected its own output. Exit code 70.
    #[error("internal error: {0}")]
    Internal(String),
}

impl ArmError {
    /// Adds the step to the message. A missing prerequisite is independent of the step.
    pub(crate) fn in_step(self, number: usize, name: &str) -> Self {
        let told = |message| format!("step {number} ({name}): {message}");
        match self {
            Self::Refused(message) => Self::Refused(told(message)),
            Self::Missing(message) => Self::Missing(message),
            Self::Failed(message) => Self::Failed(told(message)),
            Self::Internal(message) => Self::Internal(told(message)),
        }
    }
}
