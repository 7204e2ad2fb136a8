//! UDP and ping sockets: opening clients, and looking up the socket for a message.
//!
//! Linux: net/ipv4/datagram.c, udp.c, ping.c.

use super::ping::PingSocket;
use super::table::Socket;
use super::udp::{Datagram, UdpSocket};
use super::{ClientSpec, ConnectError, Delivery, Endpoint, SocketIo, Sockets};
use crate::drop_reason::DropReason;
use crate::ids::SocketId;
use crate::packet::Packet;
use crate::wire::{Icmpv4, Udp, checksum, protocol};
use std::net::IpAddr;

/// Opens a UDP client and sends its request.
pub(super) fn udp_connect(
    sockets: &mut Sockets,
    io: &mut SocketIo<'_, '_>,
    spec: ClientSpec,
) -> Result<SocketId, ConnectError> {
    let port = sockets.table.udp_source_port(io, spec.src, spec.src_port)?;
    let id = sockets.table.next_id();
    let socket = UdpSocket::client(io, id, port, spec);
    sockets.table.insert_udp(socket);
    Ok(id)
}

/// Receives a datagram (`__udp4_lib_rcv`).
pub(super) fn udp_rcv(sockets: &mut Sockets, io: &mut SocketIo<'_, '_>, packet: &Packet) -> Delivery {
    let ip = packet.ip();
    let (src, dst) = (ip.src(), ip.dst());
    let l3 = packet.l3();
    let bytes = &l3[ip.header_len()..ip.total_len()];
    let Some(udp) = Udp::new_checked(bytes) else { return Delivery::Dropped(DropReason::UdpChecksum) };
    if !is_checksum_valid(src, dst, &udp, bytes) {
        return Delivery::Dropped(DropReason::UdpChecksum);
    }
    let (local, remote) = ((dst, udp.dst_port()), (src, udp.src_port()));
    let Some(id) = lookup(sockets, local, remote) else { return Delivery::NoSocket };
    let Sockets { table, flows, .. } = sockets;
    if let Some(Socket::Udp(socket)) = table.get_mut(id) {
        let datagram = Datagram {
            packet: packet.id,
            flow: packet.flow,
            local,
            remote,
            spec_dst: packet.meta.route.map_or(dst, |route| route.spec_dst(dst)),
            payload: udp.payload(),
        };
        if socket.datagram_arrived(io, flows, &datagram) {
            table.remove(id);
        }
    }
    Delivery::Delivered(id)
}

/// The socket of a datagram: connected sockets take precedence over those bound to the address, and these over those on
/// all addresses (`compute_score`).
pub(super) fn lookup(sockets: &Sockets, local: Endpoint, remote: Endpoint) -> Option<SocketId> {
    sockets
        .table
        .udp_on(local.1)
        .filter_map(|socket| Some((socket.score(local, remote)?, socket.id)))
        // The first of the best: there are no later sockets with equal score, because bind(2) refuses them.
        .max_by_key(|(score, id)| (*score, std::cmp::Reverse(*id)))
        .map(|(_, id)| id)
}

/// RFC 768: a checksum of zero means that there is none.
fn is_checksum_valid(src: IpAddr, dst: IpAddr, udp: &Udp<&[u8]>, bytes: &[u8]) -> bool {
    let covered = &bytes[..usize::from(udp.length())];
    udp.checksum() == 0
        || checksum::finish(
            checksum::pseudo_header(src, dst, protocol::UDP, udp.length()) + checksum::sum(covered),
        ) == 0
}

/// Opens an echo client and sends its request.
pub(super) fn ping_connect(
    sockets: &mut Sockets,
    io: &mut SocketIo<'_, '_>,
    spec: ClientSpec,
) -> Result<SocketId, ConnectError> {
    let ident = sockets.table.ping_ident(io, spec.src_port)?;
    let id = sockets.table.next_id();
    let socket = PingSocket::client(io, id, ident, spec);
    sockets.table.insert_ping(socket);
    Ok(id)
}

/// Receives an echo reply with a checksum verified by the stack (`ping_rcv`).
pub(super) fn ping_rcv(sockets: &mut Sockets, io: &mut SocketIo<'_, '_>, packet: &Packet) -> Delivery {
    let ip = packet.ip();
    let (src, dst) = (ip.src(), ip.dst());
    let Some(icmp) = Icmpv4::new_checked(ip.payload()) else {
        return Delivery::Dropped(DropReason::IcmpChecksum);
    };
    let Sockets { table, flows, .. } = sockets;
    let Some(id) = table.ping.get(&icmp.id()).copied() else { return Delivery::NoSocket };
    let Some(Socket::Ping(socket)) = table.get_mut(id) else {
        unreachable!("the index contains ping sockets");
    };
    if !socket.is_from(dst) {
        return Delivery::NoSocket;
    }
    if socket.reply_arrived(io, flows, src, &icmp) {
        table.remove(id);
    }
    Delivery::Delivered(id)
}
