//! Sockets of a netns: TCP with Linux behaviour on the wire, UDP, and ICMP echo.
//!
//! The stack passes in packets, errors and expired timers, and carries out the effects in [`SocketOut`]. A socket knows
//! neither devices nor routes. The applications behind sockets are a closed list: [`Server`] on one side, and on the
//! other a client that sends a request and waits for the reply ([`ClientSpec`]).
//!
//! Not modelled: fast retransmit and recovery by SACK (blocks are sent, but not used), metrics of destinations, segmentation
//! and receive offload, SYN cookies, TCP Fast Open, keepalive, and growth of the receive window. What that changes is in the
//! book (docs/src/kernel.md).

mod app;
mod busy_ports;
mod datagram;
mod dst_cache;
mod err;
mod flow;
mod icmp;
mod lookup;
mod ping;
mod ports;
mod settings;
mod sizes;
mod table;
mod tcp;
mod timer;
mod udp;

pub use app::{Responder, Server};
pub use flow::{ClientProtocol, ClientSpec, FlowResult, Request};
pub use icmp::SendError;
pub use lookup::FoundSocket;
pub use settings::SocketSettings;
pub use sizes::Sizes;

use crate::context::Context;
use crate::drop_reason::DropReason;
use crate::fib::Routing;
use crate::ids::{FlowId, PacketId, SocketId, SocketTimer};
use crate::packet::{Owner, Packet};
use crate::route::RouteResult;
use crate::time::{Duration, Instant};
use crate::trace::{IgnoredRedirect, Outcome};
use flow::Flows;
use std::net::IpAddr;
use table::{Socket, Table};
use thiserror::Error;

/// An address and a port.
pub type Endpoint = (IpAddr, u16);

/// The context of a call of [`Sockets`], and the list for its effects.
#[derive(Debug)]
pub struct SocketIo<'a, 'b> {
    /// Time, draws and recording.
    pub cx: &'a mut Context<'b>,
    /// Effects, in order; the stack carries them out after the call.
    pub out: &'a mut Vec<SocketOut>,
    /// Sysctls of the netns.
    pub settings: SocketSettings,
    /// Inputs of routing decisions.
    pub routing: Routing<'a>,
}

/// An effect of a socket, which the stack carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketOut {
    /// Send a segment, datagram or message. The stack builds the IP header (`ip_queue_xmit`, `ip_make_skb`), routes it,
    /// and runs LOCAL_OUT.
    Send {
        /// Source address.
        src: IpAddr,
        /// Destination address.
        dst: IpAddr,
        /// The route cached by the socket (`sk_dst_check`). `None`: the stack looks one up.
        route: Option<RouteResult>,
        /// IP protocol number.
        protocol: u8,
        /// [`crate::wire::build::HEADROOM`] bytes for the lower headers, then transport header and data, including the
        /// checksum.
        buffer: Vec<u8>,
        /// The type of service octet of the IP header; sockets set the ECN field only.
        tos: u8,
        /// DF.
        dont_fragment: bool,
        /// IP ID (`ip_select_ident_segs`, include/net/ip.h). Connected sockets use a counter (`inet_id`), and TCP
        /// packets without a socket have 0. `None`: the stack selects it by addresses and protocol
        /// (`__ip_select_ident`).
        ident: Option<u16>,
        /// The sending socket; `None` for replies without a socket, such as a RST from a closed port.
        socket: Option<SocketId>,
        /// Whose packet it is.
        owner: Owner,
        /// The flow of the packet.
        flow: Option<FlowId>,
        /// The packet that it answers.
        cause: Option<PacketId>,
        /// It confirms its next hop; see [`crate::packet::Meta::confirms_neighbour`].
        confirms_neighbour: bool,
    },
    /// Call [`Sockets::on_timer`] at that time. Timers are not cancelled; [`Sockets::is_armed`] identifies stale ones.
    Timer {
        /// The expiry time.
        at: Instant,
        /// The timer.
        timer: SocketTimer,
    },
}

/// The result of passing in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Delivered to a socket.
    Delivered(SocketId),
    /// Dropped.
    Dropped(DropReason),
    /// No socket; the sender is informed: TCP has queued a RST, for UDP the stack sends ICMP port unreachable.
    NoSocket,
}

/// The route of a packet that an ICMP error quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderRoute {
    /// The route that a TCP socket has cached.
    Cached(RouteResult),
    /// The result of a route look-up with the addresses of the quoted packet.
    ByLookup,
}

/// `EADDRINUSE`: another socket uses the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("address already in use")]
pub struct AddressInUse;

/// Why a client socket could not be opened; the errors are those of connect(2) and bind(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// `EADDRINUSE`: the requested source port is used by another socket.
    #[error("source port already in use")]
    AddressInUse,
    /// `EADDRNOTAVAIL`: all ephemeral ports are in use, or the connection with the requested source port exists
    /// already.
    #[error("no source port available")]
    AddressNotAvailable,
    /// The destination is an IPv6 address; there is no IPv6 stack.
    #[error("the destination is an IPv6 address, and IPv6 is not executed")]
    Ipv6NotExecuted,
}

/// Why a client socket cannot send another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendAgainError {
    /// The previous request is still waiting for its reply.
    #[error("the previous request is not finished")]
    Pending,
    /// The socket was not kept open, or has been closed.
    #[error("the socket is closed")]
    Closed,
}

/// All sockets of a netns, and the results of their flows.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    table: Table,
    flows: Flows,
    call_duration: Duration,
}

impl Sockets {
    /// Listens for TCP connections, on one address or on all (`inet_csk_listen_start`). Its connections have receive buffers of
    /// `rcvbuf` bytes.
    ///
    /// # Errors
    /// If a listener on the same address has the port, or if either of the two is on all addresses.
    pub fn tcp_listen(
        &mut self,
        addr: Option<IpAddr>,
        port: u16,
        server: Server,
        rcvbuf: u32,
    ) -> Result<SocketId, AddressInUse> {
        self.table.bind_tcp(addr, port, server, rcvbuf)
    }

    /// Serves UDP datagrams, on one address or on all.
    ///
    /// # Errors
    /// See [`Sockets::tcp_listen`].
    pub fn udp_bind(
        &mut self,
        addr: Option<IpAddr>,
        port: u16,
        server: Server,
    ) -> Result<SocketId, AddressInUse> {
        self.table.bind_udp(addr, port, server)
    }

    /// Starts a flow: opens a client socket and sends the first packet.
    ///
    /// # Errors
    /// If no source port is available; the flow has no result then.
    pub fn connect(&mut self, io: &mut SocketIo<'_, '_>, spec: ClientSpec) -> Result<SocketId, ConnectError> {
        match spec.protocol {
            ClientProtocol::Tcp => tcp::ipv4::connect(self, io, spec),
            ClientProtocol::Udp => datagram::udp_connect(self, io, spec),
            ClientProtocol::IcmpEcho => datagram::ping_connect(self, io, spec),
        }
    }

    /// Records a flow that failed in connect(2), because there was no route or source address.
    pub fn connect_failed(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        spec: ClientSpec,
        error: SendError,
    ) -> SocketId {
        let id = self.table.next_id();
        let (local, remote) = ((spec.src, spec.src_port.unwrap_or(0)), (spec.dst, spec.dst_port));
        let pending = flow::Pending::open(io, id, spec.protocol, local, remote, spec.request);
        pending.finish(io, &mut self.flows, error.outcome());
        id
    }

    /// Sends another request on a client socket that was kept open. The exchange is a separate flow.
    ///
    /// # Errors
    /// If the socket still waits for a reply, or does not exist any more.
    pub fn send_again(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        id: SocketId,
        request: Request,
    ) -> Result<(), SendAgainError> {
        match self.table.get_mut(id) {
            Some(Socket::Connection(_)) => self
                .with_connection(io, id, |connection, io, flows| connection.send_again(io, flows, request)),
            Some(Socket::Udp(socket)) => socket.send_again(io, request),
            Some(Socket::Ping(socket)) => socket.send_again(io, request),
            Some(Socket::Listener(_) | Socket::Request(_) | Socket::TimeWait(_)) | None => {
                Err(SendAgainError::Closed)
            }
        }
    }

    /// Ends a server's process: closes its socket, then the connections that it has accepted, in order (`exit_files`,
    /// fs/file.c). The server accepts and reads immediately, so there is nothing unread, and no connection waits in the accept
    /// queue: each peer gets a FIN.
    pub fn exit(&mut self, io: &mut SocketIo<'_, '_>, server: SocketId) {
        self.close(io, server);
        for connection in self.table.accepted_by(server) {
            self.with_connection(io, connection, |connection, io, _| {
                if !connection.is_orphan() {
                    connection.close(io);
                }
            });
        }
    }

    /// Closes a socket. A listener accepts no new connections and drops its handshakes; accepted connections continue
    /// until their peers close. A client's exchange ends as a timeout.
    pub fn close(&mut self, io: &mut SocketIo<'_, '_>, id: SocketId) {
        match self.table.get_mut(id) {
            Some(Socket::Connection(_)) => self.with_connection(io, id, |connection, io, flows| {
                connection.finish(io, flows, Outcome::Timeout);
                connection.close(io);
            }),
            Some(Socket::Listener(_)) => {
                let handshakes = self.table.handshakes_of(id);
                handshakes.into_iter().for_each(|handshake| self.table.remove(handshake));
                self.table.remove(id);
            }
            Some(Socket::Udp(socket)) => {
                socket.finish(io, &mut self.flows, Outcome::Timeout);
                self.table.remove(id);
            }
            Some(Socket::Ping(socket)) => {
                socket.finish(io, &mut self.flows, Outcome::Timeout);
                self.table.remove(id);
            }
            // These belong to the kernel and cannot be closed.
            Some(Socket::Request(_) | Socket::TimeWait(_)) | None => {}
        }
    }

    /// Closes a client that was kept open. The packets that close it are a flow of their own, with the outcome connected.
    ///
    /// # Errors
    /// As for [`Sockets::send_again`].
    pub fn close_kept(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        id: SocketId,
        flow: FlowId,
    ) -> Result<(), SendAgainError> {
        let flows = &mut self.flows;
        match self.table.get_mut(id) {
            Some(Socket::Connection(connection)) => connection.begin_close(io, flows, flow)?,
            Some(Socket::Udp(socket)) => socket.begin_close(io, flows, flow)?,
            Some(Socket::Listener(_) | Socket::Request(_) | Socket::TimeWait(_) | Socket::Ping(_)) | None => {
                return Err(SendAgainError::Closed);
            }
        }
        self.close(io, id);
        Ok(())
    }

    /// How a connection ended that a client kept open: its peer closed or reset it, or data was not acknowledged. `None`
    /// while it is open, and after the client closed it.
    pub fn ended(&self, id: SocketId) -> Option<Outcome> {
        self.flows.ended(id)
    }

    /// The stack could not send a packet of this socket. sendto(2) of UDP and ICMP returns the error, which ends the
    /// flow.
    ///
    /// TCP ignores it: `tcp_connect` and `tcp_retransmit_skb` (net/ipv4/tcp_output.c) leave it to the retransmission
    /// timer, so that even a SYN dropped by LOCAL_OUT ends in a timeout. Routes are looked up before; see
    /// [`Sockets::connect_failed`].
    pub fn fail(&mut self, io: &mut SocketIo<'_, '_>, id: SocketId, error: SendError) {
        let is_closed = match self.table.get_mut(id) {
            Some(Socket::Udp(socket)) => socket.finish(io, &mut self.flows, error.outcome()),
            Some(Socket::Ping(socket)) => socket.finish(io, &mut self.flows, error.outcome()),
            Some(Socket::Listener(_) | Socket::Request(_) | Socket::Connection(_) | Socket::TimeWait(_))
            | None => false,
        };
        if is_closed {
            self.table.remove(id);
        }
    }

    /// Receives a TCP segment that was validated by `ip_rcv` and is delivered locally.
    pub fn tcp_v4_rcv(&mut self, io: &mut SocketIo<'_, '_>, packet: &Packet) -> Delivery {
        tcp::ipv4::receive(self, io, packet)
    }

    /// Receives a UDP datagram that was validated by `ip_rcv` and is delivered locally.
    pub fn udp_rcv(&mut self, io: &mut SocketIo<'_, '_>, packet: &Packet) -> Delivery {
        datagram::udp_rcv(self, io, packet)
    }

    /// Receives an ICMP echo reply with a valid checksum.
    pub fn icmp_rcv_echo_reply(&mut self, io: &mut SocketIo<'_, '_>, packet: &Packet) -> Delivery {
        datagram::ping_rcv(self, io, packet)
    }

    /// Receives an ICMP error. `quoted` is the quoted packet, starting with its IP header and possibly truncated. The MTU of
    /// fragmentation-needed is that of the route by now.
    pub fn icmp_err(&mut self, io: &mut SocketIo<'_, '_>, icmp_type: u8, code: u8, quoted: &[u8]) {
        err::receive(self, io, &icmp::Message { icmp_type, code }, quoted);
    }

    /// Finds the route whose path MTU an ICMP error lowers; `None` if no socket sent the quoted packet. See
    /// [`Sockets::icmp_err`].
    pub fn sender_route(&self, io: &SocketIo<'_, '_>, quoted: &[u8]) -> Option<SenderRoute> {
        err::sender_route(self, io, quoted)
    }

    /// Finds the route that an ICMP redirect may change. `quoted` is the quoted packet; see [`Sockets::icmp_err`].
    ///
    /// # Errors
    /// If no socket of this netns sent it, or a system call is in progress on that socket.
    pub fn redirected(&self, io: &SocketIo<'_, '_>, quoted: &[u8]) -> Result<SenderRoute, IgnoredRedirect> {
        err::redirected(self, io, quoted)
    }

    /// Sets how long a system call takes; see [`crate::world::World::set_call_duration`].
    pub(crate) const fn set_call_duration(&mut self, duration: Duration) {
        self.call_duration = duration;
    }

    /// Handles an expired timer. Stale ones do nothing.
    pub fn on_timer(&mut self, io: &mut SocketIo<'_, '_>, timer: SocketTimer) {
        let id = timer.socket;
        let Some(socket) = self.table.get_mut(id) else { return };
        if !socket.timers_mut().is_some_and(|timers| timers.take(timer)) {
            return;
        }
        let is_over = match socket {
            Socket::Connection(_) => {
                self.with_connection(io, id, |connection, io, flows| {
                    connection.timer_expired(io, flows, timer.kind);
                });
                false
            }
            Socket::Request(request) => !request.timer_expired(io),
            Socket::TimeWait(_) => true,
            Socket::Udp(socket) => socket.finish(io, &mut self.flows, Outcome::Timeout),
            Socket::Ping(socket) => socket.finish(io, &mut self.flows, Outcome::Timeout),
            Socket::Listener(_) => unreachable!("a listener has no timers"),
        };
        if is_over {
            self.table.remove(id);
        }
    }

    /// True if a timer is still active: neither expired, replaced nor cancelled, and its socket exists. A stale timer
    /// need not be waited for.
    pub fn is_armed(&self, timer: SocketTimer) -> bool {
        let timers = self.table.get(timer.socket).and_then(Socket::timers);
        timers.is_some_and(|timers| timers.is_armed(timer))
    }

    /// The result of a flow; `None` while it is active.
    pub fn flow_result(&self, flow: FlowId) -> Option<&FlowResult> {
        self.flows.result(flow)
    }

    /// Like [`Sockets::flow_result`], and removes it.
    pub fn take_flow_result(&mut self, flow: FlowId) -> Option<FlowResult> {
        self.flows.take(flow)
    }

    /// Operates on a connection, then updates the table for its new state.
    fn with_connection<R>(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        id: SocketId,
        work: impl FnOnce(&mut tcp::Connection, &mut SocketIo<'_, '_>, &mut Flows) -> R,
    ) -> R {
        let Some(Socket::Connection(connection)) = self.table.get_mut(id) else {
            unreachable!("the connection exists");
        };
        let result = work(connection, io, &mut self.flows);
        match connection.state {
            tcp::State::Closed => self.table.remove(id),
            tcp::State::TimeWait(waits_for) => {
                let time_wait = tcp::TimeWait::new(io, connection, waits_for);
                self.table.replace_by_time_wait(time_wait);
            }
            tcp::State::SynSent
            | tcp::State::SynReceived
            | tcp::State::Established
            | tcp::State::FinWait1
            | tcp::State::FinWait2
            | tcp::State::CloseWait
            | tcp::State::Closing
            | tcp::State::LastAck => {}
        }
        result
    }
}

#[cfg(test)]
mod tests;
