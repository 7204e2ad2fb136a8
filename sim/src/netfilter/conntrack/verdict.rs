//! What a protocol makes of a packet of its flow (what `nf_conntrack_tcp_packet` and its like return).

use crate::time::Duration;

/// What a protocol makes of a packet of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProtocolVerdict {
    /// It belongs to the flow. The timer starts again with this, or goes on.
    Accept {
        /// The new timeout.
        refresh: Option<Duration>,
    },
    /// It does not.
    Invalid(&'static str),
    /// It does not, and the entry gets this timeout.
    InvalidWithTimeout(&'static str, Option<Duration>),
    /// It begins a new flow under the same tuple: the entry goes, and the packet is looked up again (`NF_REPEAT`).
    Repeat,
    /// It belongs to the flow and ends it: the entry goes.
    Kill,
}
