//! What runs scenarios: one trait, and by whom it is implemented.
//!
//! An arm builds a [`Topology`], loads the text of every node's kube-proxy, and does what the steps say. It reports what
//! a client, a server and `conntrack -L` would show. Whether that is as expected it does not know.

pub mod against;
pub mod kernel;
mod script;
pub mod sim;

use std::time::Duration;

use proxy_core::load::Load;
use thiserror::Error;

use crate::netns::NetnsName;
use crate::observation::{ConntrackObservation, Flows, Scripted};
use crate::prepare::{FlowPlan, ScriptPlan, StateChange};
use crate::proxy::NodeUpdate;
use crate::result::{ArmKind, Recording};
use crate::shares::Distribution;
use crate::topology::{Topology, TopologyChange};

/// Runs scenarios. The simulator and this machine's kernel do.
pub trait Arm {
    /// Which one it is.
    fn kind(&self) -> ArmKind;

    /// Builds all network namespaces. Called once, first.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn build(&mut self, topology: &Topology) -> Result<(), ArmError>;

    /// Loads what kube-proxy loads on a node, in order. Chains and jumps to be ensured are not there yet: the node is new.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn load(&mut self, node: &str, load: &[Load]) -> Result<(), ArmError>;

    /// Does what kube-proxy does on a node when the cluster has changed.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn update(&mut self, node: &str, update: &NodeUpdate) -> Result<(), ArmError>;

    /// Makes Pods come and go. `after` is the topology that the changes lead to.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn rebuild(&mut self, changes: &[TopologyChange], after: &Topology) -> Result<(), ArmError>;

    /// Changes a sysctl, a hairpin flag or a link.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn change(&mut self, change: &StateChange) -> Result<(), ArmError>;

    /// Opens connections one after the other, each when the one before has its outcome.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn flows(&mut self, plan: &FlowPlan) -> Result<Flows, ArmError>;

    /// Sends raw packets and looks at what comes back.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn script(&mut self, plan: &ScriptPlan) -> Result<Scripted, ArmError>;

    /// The exact distribution of one connection of the plan, as things are now; `None` if this arm cannot know it, or if a link
    /// on its way may lose frames. Nothing changes.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn distribution(&self, plan: &FlowPlan) -> Result<Option<Distribution>, ArmError>;

    /// The conntrack table of a network namespace; `None` if this arm cannot see it.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn conntrack(&mut self, netns: &NetnsName) -> Result<Option<Vec<ConntrackObservation>>, ArmError>;

    /// Lets time pass.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn sleep(&mut self, duration: Duration) -> Result<(), ArmError>;

    /// A step begins. Arms that record events note where.
    fn step_begins(&mut self);

    /// Ends the run; gives the hash over all events and the events themselves, if the arm has them.
    ///
    /// # Errors
    /// See [`ArmError`].
    fn finish(self) -> Result<(Option<u64>, Option<Recording>), ArmError>;
}

/// Why an arm could not go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArmError {
    /// Something that the user wrote was refused: a sysctl, a rule. Exit code 2.
    #[error("{0}")]
    Refused(String),
    /// The machine lacks something; the message says what to install. Exit code 3.
    #[error("{0}")]
    Missing(String),
    /// A tool of this machine, or the machine itself, failed. Exit code 3.
    #[error("{0}")]
    Failed(String),
    /// A fault of hairpin: an assertion failed, or it refused what it had written itself. Exit code 70, and a bug report.
    #[error("internal error: {0}")]
    Internal(String),
}

impl ArmError {
    /// The same, with the step that it befell. What the machine lacks it lacks in every step.
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
