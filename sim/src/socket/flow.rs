//! Flows: client requests and their results.

use super::{Endpoint, SocketIo};
use crate::ids::{FlowId, SocketId};
use crate::time::{Duration, Instant};
use crate::trace::{Event, Outcome, SocketEvent};
use crate::wire::protocol;
use rustc_hash::FxHashMap;
use std::net::IpAddr;

/// Protocols that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientProtocol {
    /// TCP: connect, send the request, read the reply up to the end of its line, close.
    Tcp,
    /// UDP: send the request on a connected socket, wait for one datagram. No retransmission.
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
    /// The data to send: the echo payload for ICMP. An empty TCP request only connects.
    pub bytes: Vec<u8>,
    /// Timeout of the reply, from the time of the call.
    pub deadline: Duration,
}

/// A client socket and its first exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSpec {
    /// Protocol.
    pub protocol: ClientProtocol,
    /// Source address, as selected by routing (or bind(2)).
    pub src: IpAddr,
    /// Source port, or identifier of an ICMP echo; ephemeral if `None`.
    pub src_port: Option<u16>,
    /// Destination address.
    pub dst: IpAddr,
    /// Destination port; unused for ICMP.
    pub dst_port: u16,
    /// The exchange.
    pub request: Request,
    /// Keep the socket open for `Sockets::send_again`: TCP after the reply, other protocols also after a timeout.
    pub is_kept_open: bool,
}

/// The result of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowResult {
    /// The flow.
    pub flow: FlowId,
    /// The socket that ran it.
    pub socket: SocketId,
    /// Protocol.
    pub protocol: ClientProtocol,
    /// Local address and port; the port is the identifier for ICMP.
    pub local: Endpoint,
    /// Remote address and port, as specified by the client.
    pub remote: Endpoint,
    /// The outcome. A TCP connection closed cleanly without a reply counts as reset.
    pub outcome: Outcome,
    /// The reply, or the part that arrived.
    pub reply: Option<Vec<u8>>,
    /// The source of the reply.
    pub reply_from: Option<Endpoint>,
    /// Start of the flow.
    pub started: Instant,
    /// When the TCP connection was established.
    pub established: Option<Instant>,
    /// When the outcome was known.
    pub finished: Instant,
    /// Type and code of ICMP errors received by the socket, fatal or not, in order.
    pub icmp_errors: Vec<(u8, u8)>,
}

/// The finished flows of a netns. Only for lookup; never iterated.
#[derive(Clone, Debug, Default)]
pub(super) struct Flows {
    results: FxHashMap<FlowId, FlowResult>,
    /// How connections ended that were kept open.
    ended: FxHashMap<SocketId, Outcome>,
}

impl Flows {
    pub(super) fn result(&self, flow: FlowId) -> Option<&FlowResult> {
        self.results.get(&flow)
    }

    pub(super) fn take(&mut self, flow: FlowId) -> Option<FlowResult> {
        self.results.remove(&flow)
    }

    pub(super) fn ended(&self, socket: SocketId) -> Option<Outcome> {
        self.ended.get(&socket).copied()
    }

    pub(super) fn set_ended(&mut self, socket: SocketId, outcome: Outcome) {
        self.ended.insert(socket, outcome);
    }
}

/// The client side of a socket: at most one exchange at a time.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) is_kept_open: bool,
    pub(super) pending: Option<Pending>,
}

/// An exchange without an outcome yet.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    result: FlowResult,
    pub(super) request: Vec<u8>,
}

impl Pending {
    /// Starts an exchange and records it.
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
            // Replaced when the outcome is known; not visible before.
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

    /// The flow of a client that closes its socket: it begins and ends at once.
    pub(super) fn close(
        io: &mut SocketIo<'_, '_>,
        flows: &mut Flows,
        flow: FlowId,
        (socket, protocol): (SocketId, ClientProtocol),
        (local, remote): (Endpoint, Endpoint),
    ) {
        let request = Request { flow, bytes: Vec::new(), deadline: Duration::ZERO };
        Self::open(io, socket, protocol, local, remote, request).finish(io, flows, Outcome::Connected);
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

    /// Adds received data. True when a stream's reply is complete: its line ended, or it equals the request.
    pub(super) fn add_reply(&mut self, from: Endpoint, bytes: &[u8]) -> bool {
        self.result.reply_from = Some(from);
        let reply = self.result.reply.get_or_insert_default();
        reply.extend_from_slice(bytes);
        reply.last() == Some(&b'\n') || *reply == self.request
    }

    /// Ends the exchange, records it and stores its result.
    pub(super) fn finish(mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows, outcome: Outcome) {
        let FlowResult { flow, socket, .. } = self.result;
        self.result.outcome = outcome;
        self.result.finished = io.cx.now;
        io.cx.record_flow(None, || Event::Socket(SocketEvent::Finished { flow, socket, outcome }));
        flows.results.insert(flow, self.result);
    }
}
