//! What an ICMP error, or a failure to send, means to a socket.

use super::table::Socket;
use super::tcp::FourTuple;
use super::{Endpoint, SocketIo, Sockets};
use crate::ids::SocketId;
use crate::trace::{Outcome, Refusal, Unreachable};
use crate::wire::icmpv4::{icmp_type, unreachable_code};
use crate::wire::ipv4::IPV4_HEADER_LEN;
use crate::wire::{Ipv4, be16, be32, protocol};

/// Why the stack could not send for a socket.
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
    /// The outcome of a flow that fails because of it.
    pub(super) const fn outcome(self) -> Outcome {
        match self {
            // The list of outcomes is closed and has no word for EINVAL; a blackhole is a way that leads nowhere.
            Self::NetworkUnreachable | Self::InvalidRoute => Outcome::Unreachable(Unreachable::Network),
            Self::HostUnreachable => Outcome::Unreachable(Unreachable::Host),
            Self::NotPermitted => Outcome::Unreachable(Unreachable::Prohibited),
            Self::MessageSize => Outcome::Unreachable(Unreachable::MessageSize),
        }
    }
}

/// An ICMP error as sockets see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IcmpError {
    /// The errno, in terms of outcomes.
    pub(super) outcome: Outcome,
    /// Reported to a connected datagram socket that did not ask for all errors (`harderr`).
    pub(super) is_hard: bool,
}

/// Translates an error message; `None` for those that no socket heeds.
///
/// Linux: `icmp_err_convert`, net/ipv4/icmp.c; `__udp4_lib_err`, net/ipv4/udp.c.
pub(super) fn icmp_error(kind: u8, code: u8) -> Option<IcmpError> {
    match kind {
        icmp_type::DEST_UNREACHABLE => unreachable(code),
        // Code 1, of a reassembly that took too long, goes no further than ICMP (`icmp_unreach`).
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
        // EMSGSIZE. The table says "not fatal", but a socket with the default IP_PMTUDISC_WANT is told.
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
        // Unreachable for this type of service.
        11 => (Outcome::Unreachable(Unreachable::Network), false),
        12 => (Outcome::Unreachable(Unreachable::Host), false),
        // Precedence violation, precedence cutoff.
        14 | 15 => (Outcome::Unreachable(Unreachable::Host), true),
        _ => return None,
    };
    Some(IcmpError { outcome, is_hard })
}

/// The head of an ICMP error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) icmp_type: u8,
    pub(super) code: u8,
    pub(super) next_hop_mtu: u16,
}

impl Message {
    pub(super) const fn is_fragmentation_needed(&self) -> bool {
        self.icmp_type == icmp_type::DEST_UNREACHABLE && self.code == unreachable_code::FRAGMENTATION_NEEDED
    }
}

/// Hands an error to the socket that sent the quoted packet (`icmp_socket_deliver`, net/ipv4/icmp.c). Of the transport header
/// at least eight bytes must have been quoted.
pub(super) fn receive(sockets: &mut Sockets, io: &mut SocketIo<'_, '_>, message: &Message, quoted: &[u8]) {
    if quoted.len() < IPV4_HEADER_LEN {
        return;
    }
    let ip = Ipv4::new_unchecked(quoted);
    let Some(l4) = quoted.get(ip.header_len()..).filter(|l4| l4.len() >= 8) else { return };
    let (local, remote) = ((ip.src(), be16(l4, 0)), (ip.dst(), be16(l4, 2)));
    match ip.protocol() {
        protocol::TCP => tcp_v4_err(sockets, io, message, FourTuple { local, remote }, be32(l4, 4)),
        protocol::UDP => udp_err(sockets, io, message, local, remote),
        protocol::ICMP if l4[0] == icmp_type::ECHO_REQUEST => {
            ping_err(sockets, io, message, (ip.src(), be16(l4, 4)), remote);
        }
        _ => {}
    }
}

/// Linux: `tcp_v4_err`, net/ipv4/tcp_ipv4.c.
fn tcp_v4_err(
    sockets: &mut Sockets,
    io: &mut SocketIo<'_, '_>,
    message: &Message,
    tuple: FourTuple,
    sequence: u32,
) {
    let Some(id) = sockets.table.tcp_established(tuple) else { return };
    match sockets.table.get(id) {
        Some(Socket::Connection(_)) => sockets.with_connection(io, id, |connection, io, flows| {
            connection.icmp_err(io, flows, message, sequence);
        }),
        Some(Socket::Request(request)) => {
            // `tcp_req_err`: only these end a handshake.
            let is_fatal = message.icmp_type == icmp_type::PARAMETER_PROBLEM
                || (message.icmp_type == icmp_type::DEST_UNREACHABLE
                    && matches!(message.code, unreachable_code::NET | unreachable_code::HOST));
            if is_fatal && request.isn.0 == sequence {
                sockets.table.remove(id);
            }
        }
        Some(Socket::Listener(_) | Socket::TimeWait(_) | Socket::Udp(_) | Socket::Ping(_)) | None => {}
    }
}

/// Linux: `__udp4_lib_err`, net/ipv4/udp.c. Only hard errors reach a socket that did not ask for all (IP_RECVERR).
fn udp_err(
    sockets: &mut Sockets,
    io: &mut SocketIo<'_, '_>,
    message: &Message,
    local: Endpoint,
    remote: Endpoint,
) {
    let Some(error) = icmp_error(message.icmp_type, message.code) else { return };
    let sender = |sockets: &Sockets| -> Option<SocketId> {
        sockets.table.udp_on(local.1).find(|socket| socket.is_about(local, remote)).map(|socket| socket.id)
    };
    let Some(id) = sender(sockets) else { return };
    let Some(Socket::Udp(socket)) = sockets.table.get_mut(id) else { return };
    let Some(pending) = socket.pending_mut() else { return };
    pending.add_icmp_error(message.icmp_type, message.code);
    if error.is_hard && socket.finish(io, &mut sockets.flows, error.outcome) {
        sockets.table.remove(id);
    }
}

/// Linux: `ping_err`, net/ipv4/ping.c. ping(8) asks for all errors and reports the first.
fn ping_err(
    sockets: &mut Sockets,
    io: &mut SocketIo<'_, '_>,
    message: &Message,
    (src, ident): Endpoint,
    (dst, _): Endpoint,
) {
    let Some(error) = icmp_error(message.icmp_type, message.code) else { return };
    let Some(id) = sockets.table.ping.get(&ident).copied() else { return };
    let Some(Socket::Ping(socket)) = sockets.table.get_mut(id) else { return };
    if !socket.is_about(src, dst) {
        return;
    }
    let Some(pending) = socket.pending_mut() else { return };
    pending.add_icmp_error(message.icmp_type, message.code);
    if socket.finish(io, &mut sockets.flows, error.outcome) {
        sockets.table.remove(id);
    }
}
