//! Derives an outcome from what a socket reported and what its namespace captured.
//!
//! connect(2) returns ECONNREFUSED for both RST and ICMP errors; the capture distinguishes them.

use std::net::SocketAddrV4;

use nix::errno::Errno;
use sim::wire::TcpFlags;
use sim::wire::icmpv4::{icmp_type, unreachable_code};

use super::client::{ClientRequest, End, Report};
use crate::frame::{
    Body, Frame, FrameDirection, FrameSummary, IcmpRest, InitialSeqs, IpSummary, PayloadSummary, SeqSummary,
};
use crate::observation::{Outcome, Refusal, Transport, Unreachable};

/// The outcome of an exchange. `frames` were captured in the client's namespace meanwhile.
pub fn outcome(request: &ClientRequest, report: &Report, frames: &[Frame]) -> Outcome {
    match report.end {
        End::Answered => Outcome::Connected,
        // A connection that is closed cleanly without a response is not a working service either.
        End::Closed => Outcome::Reset,
        End::TimedOut => Outcome::Timeout,
        End::Failed(errno) => failed(errno, request, report, frames),
    }
}

fn failed(errno: Errno, request: &ClientRequest, report: &Report, frames: &[Frame]) -> Outcome {
    let errors = || match request.protocol {
        Transport::Udp => report.icmp_errors.clone(),
        Transport::Tcp | Transport::Sctp | Transport::Icmp => icmp_errors(report.local, request.to, frames),
    };
    if errno == Errno::ECONNREFUSED {
        let is_reset = request.protocol == Transport::Tcp && was_reset(frames);
        let refusal = if is_reset { Refusal::TcpReset } else { Refusal::IcmpPortUnreachable };
        return Outcome::Refused(refusal);
    }
    if is_prohibited(errno, &errors()) {
        return Outcome::Unreachable(Unreachable::Prohibited);
    }
    // Other values come from ICMP: host unreachable, unknown, isolated or down.
    let row = MEANINGS.iter().find(|(known, _)| *known == errno);
    row.map_or(Outcome::Unreachable(Unreachable::Host), |(_, outcome)| *outcome)
}

/// Meaning of errors of connect(2), send(2) and recv(2).
const MEANINGS: [(Errno, Outcome); 9] = [
    (Errno::ECONNRESET, Outcome::Reset),
    (Errno::EPIPE, Outcome::Reset),
    (Errno::ECONNABORTED, Outcome::Reset),
    (Errno::ETIMEDOUT, Outcome::Timeout),
    (Errno::EMSGSIZE, Outcome::Unreachable(Unreachable::MessageSize)),
    (Errno::ENOPROTOOPT, Outcome::Unreachable(Unreachable::Protocol)),
    (Errno::EPROTO, Outcome::Unreachable(Unreachable::Protocol)),
    (Errno::ENETUNREACH, Outcome::Unreachable(Unreachable::Network)),
    // A blackhole route.
    (Errno::EINVAL, Outcome::Unreachable(Unreachable::Network)),
];

/// EPERM and EACCES come from the sender's own netfilter rules and routes; EHOSTUNREACH also represents ICMP
/// prohibitions (`icmp_err_convert`, net/ipv4/icmp.c).
fn is_prohibited(errno: Errno, icmp_errors: &[(u8, u8)]) -> bool {
    use unreachable_code::{ADMIN_PROHIBITED, HOST_PROHIBITED, NET_PROHIBITED};
    let is_prohibition = |(kind, code): &(u8, u8)| {
        *kind == icmp_type::DEST_UNREACHABLE
            && matches!(*code, NET_PROHIBITED | HOST_PROHIBITED | ADMIN_PROHIBITED)
    };
    let is_by_icmp = matches!(errno, Errno::EHOSTUNREACH | Errno::ENETUNREACH);
    matches!(errno, Errno::EPERM | Errno::EACCES)
        || is_by_icmp && icmp_errors.last().is_some_and(is_prohibition)
}

fn received(frames: &[Frame]) -> impl Iterator<Item = IpSummary> {
    let initial = InitialSeqs::of(frames);
    let arrived = frames.iter().filter(|frame| frame.direction == FrameDirection::Received);
    arrived.filter_map(move |frame| match FrameSummary::of(frame, &initial)?.body {
        Body::Ipv4(ip) => Some(ip),
        Body::Arp(_) | Body::Other { .. } => None,
    })
}

/// True if a SYN was answered with a RST. Addresses and ports are not compared: if the client's own node translates,
/// the capture sees replies before reverse translation.
fn was_reset(frames: &[Frame]) -> bool {
    received(frames).any(|ip| match &ip.payload {
        PayloadSummary::Tcp(tcp) => {
            tcp.flags.contains(TcpFlags::RST) && tcp.ack == Some(SeqSummary::FromInitial(1))
        }
        PayloadSummary::Udp { .. }
        | PayloadSummary::Icmp { .. }
        | PayloadSummary::Ports { .. }
        | PayloadSummary::Other { .. } => false,
    })
}

/// Type and code of the ICMP errors about an exchange that reached the client, in order. The local port of a ping is its
/// identifier.
pub fn icmp_errors(local: SocketAddrV4, remote: SocketAddrV4, frames: &[Frame]) -> Vec<(u8, u8)> {
    let about_us = |ip: IpSummary| match ip.payload {
        PayloadSummary::Icmp { icmp_type, code, rest: IcmpRest::Error { quote: Some(quote), .. } } => {
            let is_request =
                if let PayloadSummary::Icmp { rest: IcmpRest::Query { id, .. }, .. } = &quote.payload {
                    *id == local.port()
                } else {
                    quote.payload.ports() == Some((local.port(), remote.port()))
                };
            (is_request && quote.dst == *remote.ip()).then_some((icmp_type, code))
        }
        PayloadSummary::Icmp { .. }
        | PayloadSummary::Tcp(_)
        | PayloadSummary::Udp { .. }
        | PayloadSummary::Ports { .. }
        | PayloadSummary::Other { .. } => None,
    };
    received(frames).filter_map(about_us).collect()
}
