//! What every arm can see of a connection: the words in which arms are compared.
//!
//! Nothing here is internal state of a simulator. A kernel shows the same: what the client's socket reported, what the
//! server wrote into its answer, what `conntrack -L` lists.

mod conntrack;
mod flow;
mod script;

pub use conntrack::{ConntrackObservation, IcmpKey};
pub(crate) use flow::read_answer;
pub use flow::{Answer, EndpointName, FlowObservation, Flows, RawFlow, Transport};
pub use script::{Mismatch, Scripted};
pub use sim::ct::TcpState;
pub use sim::drop_reason::DropReason;
pub use sim::trace::{Outcome, Refusal, Unreachable};

use std::fmt;

use crate::netns::NetnsName;

/// A packet of a step that was dropped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DropObservation {
    /// In which network namespace.
    pub netns: NetnsName,
    /// Why.
    pub reason: DropReason,
}

impl DropObservation {
    /// The name of a reason: that of the kernel where it has one.
    pub fn reason_name(reason: DropReason) -> String {
        reason.kernel_name().map_or_else(|| format!("{reason:?}"), str::to_owned)
    }

    /// Whether `name` names this reason: as the kernel does, with or without `SKB_DROP_REASON_`, or as hairpin does.
    pub fn is_named(reason: DropReason, name: &str) -> bool {
        let kernel = name.strip_prefix("SKB_DROP_REASON_").unwrap_or(name);
        reason.kernel_name() == Some(kernel) || format!("{reason:?}") == name
    }
}

impl fmt::Display for DropObservation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} on {}", Self::reason_name(self.reason), self.netns)
    }
}
