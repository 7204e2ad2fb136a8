//! Looks up the socket for an ICMP error.

use super::icmp::{Message, icmp_error};
use super::table::Socket;
use super::tcp::{Connection, FourTuple};
use super::{Endpoint, SenderRoute, SocketIo, Sockets};
use crate::ids::SocketId;
use crate::release::{Change, Release};
use crate::trace::IgnoredRedirect;
use crate::wire::icmpv4::{icmp_type, unreachable_code};
use crate::wire::quote::QUOTED_MIN;
use crate::wire::{Quote, be16, be32, protocol};

/// Delivers an error to the socket that sent the quoted packet (`icmp_socket_deliver`, net/ipv4/icmp.c). The quote must
/// contain at least eight bytes of transport header.
pub(super) fn receive(sockets: &mut Sockets, io: &mut SocketIo<'_, '_>, message: &Message, quoted: &[u8]) {
    let Some(quote @ Quote { ip, l4 }) = Quote::parse(quoted) else { return };
    let Some((src_port, dst_port)) = quote.ports().filter(|_| l4.len() >= QUOTED_MIN) else { return };
    let (local, remote): (Endpoint, Endpoint) = ((ip.src().into(), src_port), (ip.dst().into(), dst_port));
    match ip.protocol() {
        protocol::TCP => tcp_v4_err(sockets, io, message, FourTuple { local, remote }, be32(l4, 4)),
        protocol::UDP => udp_err(sockets, io, message, local, remote),
        protocol::ICMP if l4[0] == icmp_type::ECHO_REQUEST => {
            ping_err(sockets, io, message, (local.0, be16(l4, 4)), remote);
        }
        _ => {}
    }
}

/// Finds the route that a redirect about a packet may change.
pub(super) fn redirected(
    sockets: &Sockets,
    io: &SocketIo<'_, '_>,
    quoted: &[u8],
) -> Result<SenderRoute, IgnoredRedirect> {
    match sender(sockets, io.settings.release, quoted) {
        Some(QuotedSender::Connection(connection, sequence)) => {
            connection.redirected(io, sequence, sockets.call_duration)
        }
        Some(QuotedSender::Other) => Ok(SenderRoute::ByLookup),
        None => Err(IgnoredRedirect::NoSocket),
    }
}

/// Finds the route whose path MTU an error about a packet lowers.
pub(super) fn sender_route(sockets: &Sockets, io: &SocketIo<'_, '_>, quoted: &[u8]) -> Option<SenderRoute> {
    match sender(sockets, io.settings.release, quoted)? {
        QuotedSender::Connection(connection, sequence) => connection.sender_route(io, sequence),
        QuotedSender::Other => Some(SenderRoute::ByLookup),
    }
}

/// Who sent a quoted packet.
enum QuotedSender<'a> {
    /// A connection; with the sequence number of the packet.
    Connection(&'a Connection, u32),
    /// Another socket, or the kernel itself.
    Other,
}

/// The socket or kernel of this netns that sent a quoted packet.
///
/// Linux: `tcp_v4_err`, net/ipv4/tcp_ipv4.c; `__udp4_lib_err`, net/ipv4/udp.c; `ping_err`, net/ipv4/ping.c; `icmp_err`,
/// net/ipv4/icmp.c.
fn sender<'a>(sockets: &'a Sockets, release: Release, quoted: &[u8]) -> Option<QuotedSender<'a>> {
    let quote @ Quote { ip, l4 } = Quote::parse(quoted).filter(|quote| quote.l4.len() >= QUOTED_MIN)?;
    let (src_port, dst_port) = quote.ports()?;
    let (local, remote): (Endpoint, Endpoint) = ((ip.src().into(), src_port), (ip.dst().into(), dst_port));
    let table = &sockets.table;
    let is_sent_here = match ip.protocol() {
        protocol::TCP => {
            let id = table.tcp_established(FourTuple { local, remote });
            return match id.and_then(|id| table.get(id)) {
                Some(Socket::Connection(connection)) => {
                    Some(QuotedSender::Connection(connection, be32(l4, 4)))
                }
                Some(
                    Socket::Listener(_)
                    | Socket::Request(_)
                    | Socket::TimeWait(_)
                    | Socket::Udp(_)
                    | Socket::Ping(_),
                )
                | None => None,
            };
        }
        protocol::UDP => {
            !release.has(Change::UdpErrorsNeedSocket)
                || table.udp_on(local.1).any(|socket| socket.is_about(local, remote))
        }
        // Replies are the kernel's own.
        protocol::ICMP => {
            let ping = table.ping.get(&be16(l4, 4)).and_then(|id| table.get(*id));
            let is_asked = matches!(ping, Some(Socket::Ping(socket)) if socket.is_about(local.0, remote.0));
            l4[0] == icmp_type::ECHO_REPLY || (l4[0] == icmp_type::ECHO_REQUEST && is_asked)
        }
        _ => false,
    };
    is_sent_here.then_some(QuotedSender::Other)
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
            // `tcp_req_err`: only these end a handshake. ICMP does not pass on a reassembly timeout (`icmp_unreach`).
            let is_fatal = matches!(
                (message.icmp_type, message.code),
                (icmp_type::DEST_UNREACHABLE, unreachable_code::NET | unreachable_code::HOST)
                    | (icmp_type::TIME_EXCEEDED, 0)
                    | (icmp_type::PARAMETER_PROBLEM, _)
            );
            if is_fatal && request.isn.0 == sequence {
                sockets.table.remove(id);
            }
        }
        Some(Socket::Listener(_) | Socket::TimeWait(_) | Socket::Udp(_) | Socket::Ping(_)) | None => {}
    }
}

/// Linux: `__udp4_lib_err`, net/ipv4/udp.c. Without IP_RECVERR a socket receives only hard errors.
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

/// Linux: `ping_err`, net/ipv4/ping.c. ping(8) requests all errors and reports the first.
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
