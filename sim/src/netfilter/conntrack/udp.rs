//! Tracks UDP (net/netfilter/nf_conntrack_proto_udp.c).

use super::settings::{ConntrackTimeouts, seconds};
use super::verdict::ProtocolVerdict;
use crate::ct::CtStatus;
use crate::mutation::Mutation;
use crate::time::{Duration, Instant};

/// Minimum age of a flow for replies to make it a stream. A single request and its response are faster.
const STREAM_AGE: Duration = Duration::from_secs(2);

/// State of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpTrack {
    /// From then on, replies make it a stream (`stream_ts`).
    stream_from: Instant,
}

impl UdpTrack {
    pub(super) fn begin(now: Instant) -> Self {
        Self { stream_from: now + STREAM_AGE }
    }
}

/// Processes a datagram (`nf_conntrack_udp_packet`). There is no protocol state, only the status.
pub(super) fn udp_packet(
    track: UdpTrack,
    status: &mut CtStatus,
    timeouts: &ConntrackTimeouts,
    now: Instant,
) -> ProtocolVerdict {
    if !status.contains(CtStatus::SEEN_REPLY)
        || (now <= track.stream_from && !Mutation::UdpStreamAtOnce.is_on())
    {
        return ProtocolVerdict::Accept { refresh: Some(seconds(timeouts.udp)) };
    }
    // An entry that lost a clash expires soon, and may be evicted at any time.
    if !status.contains(CtStatus::NAT_CLASH) && !Mutation::UdpNeverAssured.is_on() {
        status.insert(CtStatus::ASSURED);
    }
    ProtocolVerdict::Accept { refresh: Some(seconds(timeouts.udp_stream)) }
}

/// True if two conflicting entries of this protocol can be reconciled (`allow_clash`): datagrams of one socket may
/// overtake each other on different CPUs.
pub(crate) const fn allows_clash(protocol: u8) -> bool {
    protocol == crate::wire::protocol::UDP
}
