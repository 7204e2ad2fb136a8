//! UDP sockets: servers and connected clients.
//!
//! Linux: net/ipv4/udp.c, net/ipv4/datagram.c.

use super::app::Server;
use super::dst_cache::DstCache;
use super::flow::{Client, Flows, Pending};
use super::timer::Timers;
use super::{ClientProtocol, ClientSpec, Endpoint, Request, SendAgainError, SocketIo, SocketOut};
use crate::fib::OutputKey;
use crate::ids::{FlowId, PacketId, SocketId, TimerKind};
use crate::packet::Owner;
use crate::route::RouteResult;
use crate::trace::{Event, Outcome, SocketEvent};
use crate::wire::udp::UDP_HEADER_LEN;
use crate::wire::{build, protocol};
use std::net::IpAddr;

/// A UDP socket.
#[derive(Clone, Debug)]
pub(super) struct UdpSocket {
    pub(super) id: SocketId,
    /// `None` means all addresses.
    pub(super) addr: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) timers: Timers,
    role: Role,
}

#[derive(Clone, Debug)]
enum Role {
    Server(Server),
    Client(Box<Connected>),
}

/// A client: connect(2) has set the peer, so that other senders are ignored and ICMP errors are reported.
#[derive(Clone, Debug)]
struct Connected {
    client: Client,
    local: Endpoint,
    remote: Endpoint,
    flow: FlowId,
    /// Its route (`sk_dst_cache`).
    dst: DstCache,
    /// The last IP ID.
    ident: u16,
}

/// A received datagram, from the local point of view.
pub(super) struct Datagram<'p> {
    pub(super) packet: PacketId,
    pub(super) flow: Option<FlowId>,
    pub(super) local: Endpoint,
    pub(super) remote: Endpoint,
    /// The source of an answer (`ipi_spec_dst`, ip(7)).
    pub(super) spec_dst: IpAddr,
    pub(super) payload: &'p [u8],
}

impl UdpSocket {
    pub(super) fn server(id: SocketId, addr: Option<IpAddr>, port: u16, server: Server) -> Self {
        Self { id, addr, port, timers: Timers::default(), role: Role::Server(server) }
    }

    /// A client, which sends its request.
    pub(super) fn client(io: &mut SocketIo<'_, '_>, id: SocketId, port: u16, spec: ClientSpec) -> Self {
        let connected = Connected {
            client: Client { is_kept_open: spec.is_kept_open, pending: None },
            local: (spec.src, port),
            remote: (spec.dst, spec.dst_port),
            flow: spec.request.flow,
            dst: DstCache::default(),
            ident: io.ident(),
        };
        let (addr, timers) = (Some(spec.src), Timers::default());
        let mut socket = Self { id, addr, port, timers, role: Role::Client(Box::new(connected)) };
        let sent = socket.send_again(io, spec.request);
        debug_assert!(sent.is_ok(), "a new socket can send");
        socket
    }

    /// How well it matches a datagram between these two; `None` if it does not (`compute_score`).
    pub(super) fn score(&self, local: Endpoint, remote: Endpoint) -> Option<u32> {
        if self.port != local.1 || self.addr.is_some_and(|addr| addr != local.0) {
            return None;
        }
        match &self.role {
            Role::Client(connected) => (connected.remote == remote).then_some(3),
            Role::Server(_) => Some(1 + u32::from(self.addr.is_some())),
        }
    }

    /// True if the socket is closed then.
    pub(super) fn datagram_arrived(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        flows: &mut Flows,
        datagram: &Datagram<'_>,
    ) -> bool {
        match &mut self.role {
            Role::Server(server) => {
                let (flow, socket, local, remote) = (datagram.flow, self.id, datagram.local, datagram.remote);
                io.cx.record_flow(Some(datagram.packet), || {
                    Event::Socket(SocketEvent::Accepted { flow, socket, local, remote })
                });
                if let Some(answer) = server.answer(datagram.payload, local, remote) {
                    let from = (answer_source(io, datagram.spec_dst, remote.0), local.1);
                    let cause = Some(datagram.packet);
                    let sender = Sender { id: self.id, ident: None, route: None, flow, cause };
                    send(io, (from, remote), &answer, sender);
                }
                false
            }
            Role::Client(connected) => {
                // A late reply has no reader.
                if let Some(pending) = &mut connected.client.pending {
                    pending.add_reply(datagram.remote, datagram.payload);
                    return self.finish(io, flows, Outcome::Connected);
                }
                false
            }
        }
    }

    /// Sends a request from a client socket.
    pub(super) fn send_again(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        request: Request,
    ) -> Result<(), SendAgainError> {
        let Role::Client(connected) = &mut self.role else { return Err(SendAgainError::Closed) };
        if connected.client.pending.is_some() {
            return Err(SendAgainError::Pending);
        }
        let (local, remote) = (connected.local, connected.remote);
        self.timers.arm(io, self.id, TimerKind::Deadline, request.deadline);
        let pending = Pending::open(io, self.id, ClientProtocol::Udp, local, remote, request);
        connected.flow = pending.flow();
        // Unlike in TCP, the counter is incremented before use (`ip_select_ident_segs`).
        connected.ident = connected.ident.wrapping_add(1);
        let sender = Sender {
            id: self.id,
            ident: Some(connected.ident),
            route: connected.dst.check(io.routing, local, remote),
            flow: Some(connected.flow),
            cause: None,
        };
        send(io, (local, remote), &pending.request, sender);
        connected.client.pending = Some(pending);
        Ok(())
    }

    /// Ends the client's exchange. True if the socket is closed then.
    pub(super) fn finish(&mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows, outcome: Outcome) -> bool {
        let Role::Client(connected) = &mut self.role else { return false };
        self.timers.cancel(TimerKind::Deadline);
        if let Some(pending) = connected.client.pending.take() {
            pending.finish(io, flows, outcome);
        }
        !connected.client.is_kept_open
    }

    /// The flow that ends a client which was kept open; it has no packets.
    pub(super) fn begin_close(
        &self,
        io: &mut SocketIo<'_, '_>,
        flows: &mut Flows,
        flow: FlowId,
    ) -> Result<(), SendAgainError> {
        let Role::Client(connected) = &self.role else { return Err(SendAgainError::Closed) };
        if connected.client.pending.is_some() {
            return Err(SendAgainError::Pending);
        }
        let ends = (connected.local, connected.remote);
        Pending::close(io, flows, flow, (self.id, ClientProtocol::Udp), ends);
        Ok(())
    }

    /// The exchange waiting for a reply, if any.
    pub(super) const fn pending_mut(&mut self) -> Option<&mut Pending> {
        match &mut self.role {
            Role::Server(_) => None,
            Role::Client(connected) => connected.client.pending.as_mut(),
        }
    }

    /// True if a datagram between these two was sent by this socket and errors about it are reported (`__udp4_lib_err`:
    /// the socket is connected).
    pub(super) fn is_about(&self, local: Endpoint, remote: Endpoint) -> bool {
        self.score(local, remote).is_some()
    }
}

/// The source of an answer: `ipi_spec_dst`, like a server that uses `IP_PKTINFO`. A raw packet to 0.0.0.0 was
/// delivered by the loopback device; with that source, sendmsg(2) uses the route's (`udp_sendmsg`).
fn answer_source(io: &SocketIo<'_, '_>, local: IpAddr, remote: IpAddr) -> IpAddr {
    match (local, remote) {
        (IpAddr::V4(unspecified), IpAddr::V4(remote)) if unspecified.is_unspecified() => {
            io.routing.output(&OutputKey::to(remote)).map_or(local, |route| route.source)
        }
        (IpAddr::V4(_) | IpAddr::V6(_), IpAddr::V4(_) | IpAddr::V6(_)) => local,
    }
}

struct Sender {
    id: SocketId,
    ident: Option<u16>,
    route: Option<RouteResult>,
    flow: Option<FlowId>,
    cause: Option<PacketId>,
}

/// Sends a datagram. DF is set because of path MTU discovery (`IP_PMTUDISC_WANT`).
fn send(io: &mut SocketIo<'_, '_>, (local, remote): (Endpoint, Endpoint), payload: &[u8], sender: Sender) {
    let mut buffer = io.cx.buffer(UDP_HEADER_LEN + payload.len());
    build::push_udp(local, remote, payload, &mut buffer);
    io.out.push(SocketOut::Send {
        src: local.0,
        dst: remote.0,
        route: sender.route,
        protocol: protocol::UDP,
        buffer,
        tos: 0,
        dont_fragment: true,
        ident: sender.ident,
        socket: Some(sender.id),
        owner: Owner::Process,
        flow: sender.flow,
        cause: sender.cause,
        confirms_neighbour: false,
    });
}
