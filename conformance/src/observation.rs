//! Observations that every arm can make, and by which arms are compared.
//!
//! Nothing here is internal state of a simulator. A kernel shows the same: the result of the client's socket, the
//! server's response, the entries that `conntrack -L` lists.

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

/// A dropped packet of a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DropObservation {
    /// The network namespace.
    pub netns: NetnsName,
    /// The reason.
    pub reason: DropReason,
}

impl DropObservation {
    /// The name of a reason: the kernel's, if it has one.
    pub fn reason_name(reason: DropReason) -> String {
        reason.kernel_name().map_or_else(|| format!("{reason:?}"), str::to_owned)
    }

    /// True if `name` denotes this reason: the kernel's name with or without `SKB_DROP_REASON_`, or hairpin's.
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
