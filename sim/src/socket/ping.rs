//! ICMP echo clients, like ping(8).
//!
//! Linux: net/ipv4/ping.c. The stack generates echo replies (`icmp_echo`).

use super::flow::{Client, Flows, Pending};
use super::timer::Timers;
use super::{ClientProtocol, ClientSpec, Endpoint, Request, SendAgainError, SocketIo, SocketOut};
use crate::ids::{SocketId, TimerKind};
use crate::packet::Owner;
use crate::trace::Outcome;
use crate::wire::icmpv4::icmp_type;
use crate::wire::{Icmpv4, build, protocol};
use std::net::IpAddr;

/// An ICMP echo client.
#[derive(Clone, Debug)]
pub(super) struct PingSocket {
    pub(super) id: SocketId,
    /// Identifier of its requests.
    pub(super) ident: u16,
    pub(super) timers: Timers,
    client: Client,
    src: IpAddr,
    dst: IpAddr,
    /// Sequence number of the last request, from 1.
    sequence: u16,
}

impl PingSocket {
    /// A client, which sends its request.
    pub(super) fn client(io: &mut SocketIo<'_, '_>, id: SocketId, ident: u16, spec: ClientSpec) -> Self {
        let mut socket = Self {
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
        socket
    }

    /// True if its requests have that source.
    pub(super) fn is_from(&self, addr: IpAddr) -> bool {
        self.src == addr
    }

    /// Handles an echo reply with its identifier. True if the socket is closed now.
    pub(super) fn reply_arrived(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        flows: &mut Flows,
        src: IpAddr,
        icmp: &Icmpv4<&[u8]>,
    ) -> bool {
        match &mut self.client.pending {
            Some(pending) if icmp.sequence() == self.sequence => {
                pending.add_reply((src, 0), icmp.payload());
                self.finish(io, flows, Outcome::Connected)
            }
            Some(_) | None => false,
        }
    }

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
        let message = build::icmpv4(icmp_type::ECHO_REQUEST, 0, [a, b, c, d], &pending.request);
        let mut buffer = io.cx.buffer(message.len());
        buffer.extend_from_slice(&message);
        io.out.push(SocketOut::Send {
            src: self.src,
            dst: self.dst,
            route: None,
            protocol: protocol::ICMP,
            buffer,
            tos: 0,
            dont_fragment: true,
            ident: None,
            socket: Some(self.id),
            owner: Owner::Process,
            flow: Some(pending.flow()),
            cause: None,
            confirms_neighbour: false,
        });
        self.client.pending = Some(pending);
        Ok(())
    }

    /// Ends the exchange. True if the socket is closed then.
    pub(super) fn finish(&mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows, outcome: Outcome) -> bool {
        self.timers.cancel(TimerKind::Deadline);
        if let Some(pending) = self.client.pending.take() {
            pending.finish(io, flows, outcome);
        }
        !self.client.is_kept_open
    }

    /// The exchange waiting for a reply, if any.
    pub(super) const fn pending_mut(&mut self) -> Option<&mut Pending> {
        self.client.pending.as_mut()
    }

    /// True if this socket sent to that address.
    pub(super) fn is_about(&self, src: IpAddr, dst: IpAddr) -> bool {
        self.src == src && self.dst == dst
    }
}
