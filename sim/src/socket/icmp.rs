//! Effects of ICMP errors and send failures on sockets.

use crate::trace::{Outcome, Refusal, Unreachable};
use crate::wire::icmpv4::{icmp_type, unreachable_code};

/// Why the stack could not send a packet of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// `ENETUNREACH`: no route.
    NetworkUnreachable,
    /// `EHOSTUNREACH`: an unreachable route.
    HostUnreachable,
    /// `EACCES` (a prohibit route, or a broadcast address without `SO_BROADCAST`) or `EPERM` (netfilter dropped it at
    /// LOCAL_OUT).
    NotPermitted,
    /// `EMSGSIZE`: larger than the MTU, with DF.
    MessageSize,
    /// `EINVAL`: a blackhole route.
    InvalidRoute,
}

impl SendError {
    /// The resulting outcome of a flow.
    pub(super) const fn outcome(self) -> Outcome {
        match self {
            // There is no outcome for EINVAL; a blackhole counts as network unreachable.
            Self::NetworkUnreachable | Self::InvalidRoute => Outcome::Unreachable(Unreachable::Network),
            Self::HostUnreachable => Outcome::Unreachable(Unreachable::Host),
            Self::NotPermitted => Outcome::Unreachable(Unreachable::Prohibited),
            Self::MessageSize => Outcome::Unreachable(Unreachable::MessageSize),
        }
    }
}

/// An ICMP error as a socket sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IcmpError {
    /// The errno, as an outcome.
    pub(super) outcome: Outcome,
    /// Reported to a connected datagram socket without IP_RECVERR (`harderr`).
    pub(super) is_hard: bool,
}

/// Translates an error message; `None` for those that sockets ignore.
///
/// Linux: `icmp_err_convert`, net/ipv4/icmp.c; `__udp4_lib_err`, net/ipv4/udp.c.
pub(super) fn icmp_error(kind: u8, code: u8) -> Option<IcmpError> {
    match kind {
        icmp_type::DEST_UNREACHABLE => unreachable(code),
        // Code 1, reassembly timeout, is not passed on by ICMP (`icmp_unreach`).
        icmp_type::TIME_EXCEEDED if code == 0 => {
            Some(IcmpError { outcome: Outcome::Unreachable(Unreachable::Host), is_hard: false })
        }
        // EPROTO.
        icmp_type::PARAMETER_PROBLEM => {
            Some(IcmpError { outcome: Outcome::Unreachable(Unreachable::Protocol), is_hard: true })
        }
        _ => None,
    }
}

fn unreachable(code: u8) -> Option<IcmpError> {
    use unreachable_code as c;
    let (outcome, is_hard) = match code {
        c::NET => (Outcome::Unreachable(Unreachable::Network), false),
        c::HOST => (Outcome::Unreachable(Unreachable::Host), false),
        c::PROTOCOL => (Outcome::Unreachable(Unreachable::Protocol), true),
        c::PORT => (Outcome::Refused(Refusal::IcmpPortUnreachable), true),
        // EMSGSIZE. The table says "not fatal", but a socket with the default IP_PMTUDISC_WANT receives it.
        c::FRAGMENTATION_NEEDED => (Outcome::Unreachable(Unreachable::MessageSize), true),
        // EOPNOTSUPP: source route failed.
        5 => (Outcome::Unreachable(Unreachable::Host), false),
        // ENETUNREACH: network unknown.
        6 => (Outcome::Unreachable(Unreachable::Network), true),
        // EHOSTDOWN, ENONET: host unknown, host isolated.
        7 | 8 => (Outcome::Unreachable(Unreachable::Host), true),
        c::NET_PROHIBITED | c::HOST_PROHIBITED | c::ADMIN_PROHIBITED => {
            (Outcome::Unreachable(Unreachable::Prohibited), true)
        }
        // Unreachable for the type of service.
        11 => (Outcome::Unreachable(Unreachable::Network), false),
        12 => (Outcome::Unreachable(Unreachable::Host), false),
        // Precedence violation, precedence cutoff.
        14 | 15 => (Outcome::Unreachable(Unreachable::Host), true),
        _ => return None,
    };
    Some(IcmpError { outcome, is_hard })
}

/// The header of an ICMP error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) icmp_type: u8,
    pub(super) code: u8,
}

impl Message {
    pub(super) const fn is_fragmentation_needed(&self) -> bool {
        self.icmp_type == icmp_type::DEST_UNREACHABLE && self.code == unreachable_code::FRAGMENTATION_NEEDED
    }

    pub(super) const fn is_net_or_host_unreachable(&self) -> bool {
        self.icmp_type == icmp_type::DEST_UNREACHABLE
            && matches!(self.code, unreachable_code::NET | unreachable_code::HOST)
    }
}
