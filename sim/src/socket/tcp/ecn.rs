//! Explicit Congestion Notification (RFC 3168) of a connection.
//!
//! Linux: `tcp_ecn_*`, include/net/tcp_ecn.h; `tcp_data_ecn_check`, net/ipv4/tcp_input.c. `tcp_ecn` is 2, the default: a host
//! accepts ECN, but does not ask for it. Accurate ECN (since 6.18) is off by default.

use super::segment::Segment;
use crate::wire::{Ecn, TcpFlags};

/// The state of ECN (`ecn_flags`).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EcnState {
    /// Both ends agreed on ECN (`TCP_ECN_OK`). Otherwise nothing else is ever set.
    pub(super) is_ok: bool,
    /// The congestion window was reduced, which the next new data tells the peer (`TCP_ECN_QUEUE_CWR`).
    is_cwr_queued: bool,
    /// A mark was received, and the peer has not confirmed that it knows (`TCP_ECN_DEMAND_CWR`).
    is_cwr_demanded: bool,
    /// The peer's data is ECN-capable (`TCP_ECN_SEEN`).
    is_seen: bool,
}

impl EcnState {
    /// True if a SYN offers ECN in a way that a listener accepts (`tcp_ecn_create_request`, net/ipv4/tcp_input.c). A SYN must
    /// not itself be ECN-capable (RFC 3168 §6.1.1).
    pub(super) const fn is_offered(syn: &Segment<'_>) -> bool {
        syn.has(TcpFlags::ECE) && syn.has(TcpFlags::CWR) && matches!(syn.ecn, Ecn::NotEct)
    }

    /// The congestion window was reduced (`tcp_ecn_queue_cwr`).
    pub(super) const fn queue_cwr(&mut self) {
        self.is_cwr_queued = self.is_ok;
    }

    /// The peer has received marked segments (`tcp_ecn_rcv_ecn_echo`).
    pub(super) const fn is_echo(self, segment: &Segment<'_>) -> bool {
        self.is_ok && segment.has(TcpFlags::ECE) && !segment.has(TcpFlags::SYN)
    }

    /// Takes notice of CWR on a segment with data. True if it must be acknowledged at once: the sender's window may be a
    /// single segment (`tcp_ecn_accept_cwr`).
    pub(super) const fn is_cwr_accepted(&mut self, segment: &Segment<'_>) -> bool {
        let is_accepted = self.is_ok && segment.has(TcpFlags::CWR) && segment.has_text();
        self.is_cwr_demanded &= !is_accepted;
        is_accepted
    }

    /// Notes the ECN field of a segment with data. True if the next ACKs should not be delayed: a router has marked the
    /// segment, or it is probably a retransmission, because others were ECN-capable.
    pub(super) const fn is_quick_ack_due(&mut self, field: Ecn) -> bool {
        if !self.is_ok {
            return false;
        }
        match field {
            Ecn::NotEct => self.is_seen,
            Ecn::Ce => {
                let is_first = !self.is_cwr_demanded;
                self.is_cwr_demanded = true;
                self.is_seen = true;
                is_first
            }
            Ecn::Ect0 | Ecn::Ect1 => {
                self.is_seen = true;
                false
            }
        }
    }

    /// The flags to add to a segment, and its ECN field. Only new data is ECN-capable (`tcp_ecn_send`).
    pub(super) const fn mark(&mut self, is_new_data: bool) -> (TcpFlags, Ecn) {
        if !self.is_ok {
            return (TcpFlags(0), Ecn::NotEct);
        }
        let mut flags = if self.is_cwr_demanded { TcpFlags::ECE } else { TcpFlags(0) };
        if !is_new_data {
            return (flags, Ecn::NotEct);
        }
        if self.is_cwr_queued {
            self.is_cwr_queued = false;
            flags = flags.union(TcpFlags::CWR);
        }
        (flags, Ecn::Ect0)
    }
}
