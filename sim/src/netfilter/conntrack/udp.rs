//! Tracking UDP (net/netfilter/nf_conntrack_proto_udp.c).

use super::settings::{ConntrackTimeouts, seconds};
use super::verdict::ProtocolVerdict;
use crate::ct::CtStatus;
use crate::time::{Duration, Instant};

/// How old a flow must be before replies make it a stream. A single question and its answer never take this long.
const STREAM_AGE: Duration = Duration::from_secs(2);

/// What the tracker remembers of a flow.
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

/// Judges a datagram (`nf_conntrack_udp_packet`). It never changes a state; there is none but the status.
pub(super) fn udp_packet(
    track: UdpTrack,
    status: &mut CtStatus,
    timeouts: &ConntrackTimeouts,
    now: Instant,
) -> ProtocolVerdict {
    if !status.contains(CtStatus::SEEN_REPLY) || now <= track.stream_from {
        return ProtocolVerdict::Accept { refresh: Some(seconds(timeouts.udp)) };
    }
    // An entry that lost a clash times out soon, and may be deleted to make room at any time.
    if !status.contains(CtStatus::NAT_CLASH) {
        status.insert(CtStatus::ASSURED);
    }
    ProtocolVerdict::Accept { refresh: Some(seconds(timeouts.udp_stream)) }
}

/// Whether two entries of this protocol that want the same tuples can be reconciled (`allow_clash`): the datagrams of one
/// socket may overtake one another on different processors.
pub(crate) const fn allows_clash(protocol: u8) -> bool {
    protocol == crate::wire::protocol::UDP
}
