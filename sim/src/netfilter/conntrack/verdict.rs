//! The verdict of a protocol on a packet of its flow (the return value of `nf_conntrack_tcp_packet` and similar
//! functions).

use crate::time::Duration;

/// The protocol tracker's verdict on a packet of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProtocolVerdict {
    /// Belongs to the flow. The timer is refreshed with this value, or keeps running.
    Accept {
        /// The new timeout.
        refresh: Option<Duration>,
    },
    /// Does not belong to the flow.
    Invalid(&'static str),
    /// Does not belong to the flow; the entry gets this timeout.
    InvalidWithTimeout(&'static str, Option<Duration>),
    /// Starts a new flow with the same tuple: the entry is deleted, and the packet is looked up again (`NF_REPEAT`).
    Repeat,
    /// Belongs to the flow and ends it: the entry is deleted.
    Kill,
}
