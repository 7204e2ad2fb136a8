//! Observations that every arm can make, and by which arms are compared.
//!
//! Nothing here is internal state of a simulator. A kernel shows the same: the result of the client's socket, the
//! server's response, the entries that `conntrack -L` lists, and in IPVS mode those of `ipvsadm -Lnc`.

mod conntrack;
mod flow;
mod ipvs;
mod script;

pub use conntrack::{ConntrackObservation, IcmpKey};
pub(crate) use flow::read_answer;
pub use flow::{Answer, EndpointName, FlowObservation, Flows, RawFlow, Transport};
pub use ipvs::{IpvsConnection, IpvsObservation, IpvsServer, IpvsService};
pub use script::{Mismatch, Scripted};
pub use sim::ct::TcpState;
pub use sim::drop_reason::DropReason;
pub use sim::trace::{Outcome, Refusal, Unreachable};

use std::fmt;

use crate::netns::NetnsName;

/// Elements that only one of the lists has. Duplicates are counted.
fn apart<T>(left: Vec<T>, right: Vec<T>, is_like: impl Fn(&T, &T) -> bool) -> (Vec<T>, Vec<T>) {
    let mut only_right = right;
    let mut only_left = left;
    only_left.retain(|one| match only_right.iter().position(|other| is_like(one, other)) {
        Some(index) => {
            only_right.remove(index);
            false
        }
        None => true,
    });
    (only_left, only_right)
}

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
