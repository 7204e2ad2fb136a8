//! Flows: what a client asks for, and what came of it.

use super::{Endpoint, SocketIo};
use crate::ids::{FlowId, SocketId};
use crate::time::{Duration, Instant};
use crate::trace::{Event, Outcome, SocketEvent};
use crate::wire::protocol;
use rustc_hash::FxHashMap;
use std::net::Ipv4Addr;

/// Protocols that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientProtocol {
    /// TCP: connect, send the request, read the reply up to the end of its line, close.
    Tcp,
    /// UDP: send the request from a connected socket, wait for one datagram. Nothing is sent again.
    Udp,
    /// ICMP echo: send one request, wait for its reply.
    IcmpEcho,
}

impl ClientProtocol {
    /// Its IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
            Self::IcmpEcho => protocol::ICMP,
        }
    }
}

/// One exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its identity.
    pub flow: FlowId,
    /// What is sent: the echo data for ICMP. If TCP has nothing to send, being connected is all that it wants.
    pub bytes: Vec<u8>,
    /// How long to wait for the reply, from the moment of the call.
    pub deadline: Duration,
}

/// A client socket and its first exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSpec {
    /// Protocol.
    pub protocol: ClientProtocol,
    /// Source address, as routing (or bind(2)) chose it.
    pub src: Ipv4Addr,
    /// Source port, or identifier of an ICMP echo; an ephemeral one if `None`.
    pub src_port: Option<u16>,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Destination port; means nothing for ICMP.
    pub dst_port: u16,
    /// The exchange.
    pub request: Request,
    /// The socket stays open after the reply or the deadline, for `Sockets::send_again`.
    pub is_kept_open: bool,
}

/// How a flow ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowResult {
    /// The flow.
    pub flow: FlowId,
    /// The socket that ran it.
    pub socket: SocketId,
    /// Protocol.
    pub protocol: ClientProtocol,
    /// Own end; the port is the identifier for ICMP.
    pub local: Endpoint,
    /// Other end, as the client named it.
    pub remote: Endpoint,
    /// The outcome. A TCP connection that was closed in an orderly way before any reply counts as reset.
    pub outcome: Outcome,
    /// The reply, or as much of it as came.
    pub reply: Option<Vec<u8>>,
    /// Who sent the reply.
    pub reply_from: Option<Endpoint>,
    /// When the flow began.
    pub started: Instant,
    /// When TCP was established.
    pub established: Option<Instant>,
    /// When the outcome was known.
    pub finished: Instant,
    /// Type and code of the ICMP errors that reached the socket, fatal or not, in order.
    pub icmp_errors: Vec<(u8, u8)>,
}

/// The flows of a netns that are finished. For look-up only; never iterated.
#[derive(Clone, Debug, Default)]
pub(super) struct Flows(FxHashMap<FlowId, FlowResult>);

impl Flows {
    pub(super) fn result(&self, flow: FlowId) -> Option<&FlowResult> {
        self.0.get(&flow)
    }

    pub(super) fn take(&mut self, flow: FlowId) -> Option<FlowResult> {
        self.0.remove(&flow)
    }
}

/// The client's side of a socket: at most one exchange at a time.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) is_kept_open: bool,
    pub(super) pending: Option<Pending>,
}

/// An exchange that has no outcome yet.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    result: FlowResult,
    pub(super) request: Vec<u8>,
}

impl Pending {
    /// Begins an exchange, for the record.
    pub(super) fn open(
        io: &mut SocketIo<'_, '_>,
        socket: SocketId,
        protocol: ClientProtocol,
        local: Endpoint,
        remote: Endpoint,
        request: Request,
    ) -> Self {
        let Request { flow, bytes, deadline: _ } = request;
        io.cx.record_flow(None, || {
            Event::Socket(SocketEvent::Opened { flow, socket, protocol: protocol.number(), local, remote })
        });
        let result = FlowResult {
            flow,
            socket,
            protocol,
            local,
            remote,
            // Replaced when the outcome is known; nobody sees the result before.
            outcome: Outcome::Timeout,
            reply: None,
            reply_from: None,
            started: io.cx.now,
            established: None,
            finished: io.cx.now,
            icmp_errors: Vec::new(),
        };
        Self { result, request: bytes }
    }

    pub(super) const fn flow(&self) -> FlowId {
        self.result.flow
    }

    pub(super) const fn has_reply(&self) -> bool {
        self.result.reply.is_some()
    }

    pub(super) fn set_established(&mut self, now: Instant) {
        self.result.established = Some(now);
    }

    pub(super) fn add_icmp_error(&mut self, icmp_type: u8, code: u8) {
        self.result.icmp_errors.push((icmp_type, code));
    }

    /// Takes what was read. True when a stream's reply is complete: its line ended, or it is the request come back.
    pub(super) fn add_reply(&mut self, from: Endpoint, bytes: &[u8]) -> bool {
        self.result.reply_from = Some(from);
        let reply = self.result.reply.get_or_insert_default();
        reply.extend_from_slice(bytes);
        reply.last() == Some(&b'\n') || *reply == self.request
    }

    /// Ends the exchange, for the record and for those who ask for its result.
    pub(super) fn finish(mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows, outcome: Outcome) {
        let FlowResult { flow, socket, .. } = self.result;
        self.result.outcome = outcome;
        self.result.finished = io.cx.now;
        io.cx.record_flow(None, || Event::Socket(SocketEvent::Finished { flow, socket, outcome }));
        flows.0.insert(flow, self.result);
    }
}
