//! ICMP echo clients, as ping(8).
//!
//! Linux: net/ipv4/ping.c. The echo reply itself is the stack's business (`icmp_echo`).

use super::flow::{Client, Flows, Pending};
use super::table::Socket;
use super::timer::Timers;
use super::{
    ClientProtocol, ClientSpec, ConnectError, Delivery, Endpoint, Request, SendAgainError, SocketIo,
    SocketOut, Sockets,
};
use crate::drop_reason::DropReason;
use crate::ids::{SocketId, TimerKind};
use crate::packet::Packet;
use crate::trace::Outcome;
use crate::wire::icmpv4::icmp_type;
use crate::wire::{Icmpv4, build, protocol};
use std::net::Ipv4Addr;

/// An ICMP echo client.
#[derive(Clone, Debug)]
pub(super) struct PingSocket {
    pub(super) id: SocketId,
    /// Identifier of its requests.
    pub(super) ident: u16,
    pub(super) timers: Timers,
    client: Client,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    /// Sequence number of the last request, from 1.
    sequence: u16,
}

/// Opens a client socket and sends its request.
pub(super) fn connect(
    sockets: &mut Sockets,
    io: &mut SocketIo<'_, '_>,
    spec: ClientSpec,
) -> Result<SocketId, ConnectError> {
    let ident = sockets.table.ping_ident(io, spec.src_port)?;
    let id = sockets.table.next_id();
    let mut socket = PingSocket {
        id,
        ident,
        timers: Timers::default(),
        client: Client { is_kept_open: spec.is_kept_open, pending: None },
        src: spec.src,
        dst: spec.dst,
        sequence: 0,
    };
    let sent = socket.send_again(io, spec.request);
    debug_assert!(sent.is_ok(), "a new socket can send");
    sockets.table.insert_ping(socket);
    Ok(id)
}

/// Receives an echo reply whose checksum the stack has verified (`ping_rcv`).
pub(super) fn receive(sockets: &mut Sockets, io: &mut SocketIo<'_, '_>, packet: &Packet) -> Delivery {
    let ip = packet.ipv4();
    let (src, dst) = (ip.src(), ip.dst());
    let Some(icmp) = Icmpv4::new_checked(ip.payload()) else {
        return Delivery::Dropped(DropReason::IcmpChecksum);
    };
    let Sockets { table, flows } = sockets;
    let Some(id) = table.ping.get(&icmp.id()).copied() else { return Delivery::NoSocket };
    let Some(Socket::Ping(socket)) = table.get_mut(id) else {
        unreachable!("the index names ping sockets");
    };
    if socket.src != dst {
        return Delivery::NoSocket;
    }
    if icmp.sequence() == socket.sequence
        && let Some(pending) = &mut socket.client.pending
    {
        pending.add_reply((src, 0), icmp.payload());
        if socket.finish(io, flows, Outcome::Connected) {
            table.remove(id);
        }
    }
    Delivery::Delivered(id)
}

impl PingSocket {
    /// Sends another request, with the next sequence number.
    pub(super) fn send_again(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        request: Request,
    ) -> Result<(), SendAgainError> {
        if self.client.pending.is_some() {
            return Err(SendAgainError::Pending);
        }
        let (local, remote): (Endpoint, Endpoint) = ((self.src, self.ident), (self.dst, 0));
        self.timers.arm(io, self.id, TimerKind::Deadline, request.deadline);
        let pending = Pending::open(io, self.id, ClientProtocol::IcmpEcho, local, remote, request);
        self.sequence = self.sequence.wrapping_add(1);
        let ([a, b], [c, d]) = (self.ident.to_be_bytes(), self.sequence.to_be_bytes());
        io.out.push(SocketOut::Send {
            src: self.src,
            dst: self.dst,
            protocol: protocol::ICMP,
            l4: build::icmpv4(icmp_type::ECHO_REQUEST, 0, [a, b, c, d], &pending.request),
            dont_fragment: true,
            ident: None,
            socket: Some(self.id),
            flow: Some(pending.flow()),
            cause: None,
        });
        self.client.pending = Some(pending);
        Ok(())
    }

    /// Ends the exchange. True if the socket is closed now.
    pub(super) fn finish(&mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows, outcome: Outcome) -> bool {
        self.timers.cancel(TimerKind::Deadline);
        if let Some(pending) = self.client.pending.take() {
            pending.finish(io, flows, outcome);
        }
        !self.client.is_kept_open
    }

    /// The exchange that waits for a reply, if any.
    pub(super) const fn pending_mut(&mut self) -> Option<&mut Pending> {
        self.client.pending.as_mut()
    }

    /// Whether this socket sent to that address.
    pub(super) fn is_about(&self, src: Ipv4Addr, dst: Ipv4Addr) -> bool {
        self.src == src && self.dst == dst
    }
}
