//! The sockets of a netns and their lookup.

use super::app::Server;
use super::busy_ports::BusyPorts;
use super::ping::PingSocket;
use super::tcp::{Connection, FourTuple, Listener, Request, TimeWait};
use super::timer::Timers;
use super::udp::UdpSocket;
use super::{AddressInUse, Endpoint};
use crate::ids::SocketId;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

/// A socket.
#[derive(Clone, Debug)]
pub(super) enum Socket {
    Listener(Listener),
    Request(Box<Request>),
    Connection(Box<Connection>),
    /// Shared with forks of the world: there are many, and they rarely change.
    TimeWait(Arc<TimeWait>),
    Udp(Box<UdpSocket>),
    Ping(Box<PingSocket>),
}

impl Socket {
    pub(super) fn timers_mut(&mut self) -> Option<&mut Timers> {
        match self {
            Self::Listener(_) => None,
            Self::Request(request) => Some(&mut request.timers),
            Self::Connection(connection) => Some(&mut connection.timers),
            Self::TimeWait(time_wait) => Some(&mut Arc::make_mut(time_wait).timers),
            Self::Udp(socket) => Some(&mut socket.timers),
            Self::Ping(socket) => Some(&mut socket.timers),
        }
    }

    pub(super) fn timers(&self) -> Option<&Timers> {
        match self {
            Self::Listener(_) => None,
            Self::Request(request) => Some(&request.timers),
            Self::Connection(connection) => Some(&connection.timers),
            Self::TimeWait(time_wait) => Some(&time_wait.timers),
            Self::Udp(socket) => Some(&socket.timers),
            Self::Ping(socket) => Some(&socket.timers),
        }
    }
}

/// All sockets with their indexes.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    next: u32,
    /// In unspecified order.
    sockets: FxHashMap<SocketId, Socket>,
    /// Connections, handshakes and TIME_WAIT (`ehash`). For lookups only; never iterated.
    tcp_established: FxHashMap<FourTuple, SocketId>,
    /// Listeners (`lhash2`), by port and address; `None` means all addresses.
    tcp_listeners: BTreeMap<(u16, Option<IpAddr>), SocketId>,
    /// Number of clients bound to each port explicitly.
    pub(super) tcp_bound: BTreeMap<u16, u32>,
    /// UDP sockets by local port, in order of creation.
    udp: BTreeMap<u16, Vec<SocketId>>,
    /// Ephemeral ports in use towards destinations with many connections.
    pub(super) busy_ports: BusyPorts,
    /// Ping sockets by identifier.
    pub(super) ping: BTreeMap<u16, SocketId>,
}

impl Table {
    pub(super) fn next_id(&mut self) -> SocketId {
        let id = SocketId(self.next);
        self.next += 1;
        id
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sockets.len()
    }

    pub(super) fn get(&self, id: SocketId) -> Option<&Socket> {
        self.sockets.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.sockets.get_mut(&id)
    }

    /// The unfinished handshakes of a listener.
    pub(super) fn handshakes_of(&self, listener: SocketId) -> Vec<SocketId> {
        let is_its =
            |socket: &Socket| matches!(socket, Socket::Request(request) if request.listener == listener);
        let mut ids: Vec<SocketId> =
            self.sockets.iter().filter(|(_, socket)| is_its(socket)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// The connections that a listener has accepted, in order.
    pub(super) fn accepted_by(&self, listener: SocketId) -> Vec<SocketId> {
        let is_its = |socket: &Socket| matches!(socket, Socket::Connection(connection) if connection.listener == Some(listener));
        let mut ids: Vec<SocketId> =
            self.sockets.iter().filter(|(_, socket)| is_its(socket)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn bind_tcp(
        &mut self,
        addr: Option<IpAddr>,
        port: u16,
        server: Server,
        rcvbuf: u32,
    ) -> Result<SocketId, AddressInUse> {
        let is_taken =
            self.tcp_listeners_on(port).any(|held| held.is_none() || addr.is_none() || held == addr);
        if is_taken {
            return Err(AddressInUse);
        }
        let id = self.next_id();
        self.tcp_listeners.insert((port, addr), id);
        self.sockets.insert(id, Socket::Listener(Listener { addr, port, server, rcvbuf, request_count: 0 }));
        Ok(id)
    }

    pub(super) fn bind_udp(
        &mut self,
        addr: Option<IpAddr>,
        port: u16,
        server: Server,
    ) -> Result<SocketId, AddressInUse> {
        let is_taken =
            self.udp_on(port).any(|socket| socket.addr.is_none() || addr.is_none() || socket.addr == addr);
        if is_taken {
            return Err(AddressInUse);
        }
        let id = self.next_id();
        self.insert_udp(UdpSocket::server(id, addr, port, server));
        Ok(id)
    }

    /// The socket of a segment: a connection, else a listener (`__inet_lookup`, include/net/inet_hashtables.h).
    pub(super) fn tcp_lookup(&self, tuple: FourTuple) -> Option<SocketId> {
        self.tcp_established.get(&tuple).copied().or_else(|| self.tcp_listener(tuple.local))
    }

    /// The listener for an address and port; a specific address takes precedence (`inet_lhash2_lookup`).
    pub(super) fn tcp_listener(&self, (addr, port): Endpoint) -> Option<SocketId> {
        let specific = self.tcp_listeners.get(&(port, Some(addr)));
        specific.or_else(|| self.tcp_listeners.get(&(port, None))).copied()
    }

    pub(super) fn tcp_established(&self, tuple: FourTuple) -> Option<SocketId> {
        self.tcp_established.get(&tuple).copied()
    }

    /// The addresses of the listeners on a port.
    pub(super) fn tcp_listeners_on(&self, port: u16) -> impl Iterator<Item = Option<IpAddr>> {
        let ends = (port.checked_add(1)).map_or(Bound::Unbounded, |next| Bound::Excluded((next, None)));
        self.tcp_listeners.range((Bound::Included((port, None)), ends)).map(|((_, addr), _)| *addr)
    }

    pub(super) fn udp_on(&self, port: u16) -> impl Iterator<Item = &UdpSocket> {
        let ids = self.udp.get(&port).map_or(&[][..], Vec::as_slice);
        ids.iter().filter_map(|id| match self.sockets.get(id) {
            Some(Socket::Udp(socket)) => Some(&**socket),
            Some(
                Socket::Listener(_)
                | Socket::Request(_)
                | Socket::Connection(_)
                | Socket::TimeWait(_)
                | Socket::Ping(_),
            )
            | None => None,
        })
    }

    pub(super) fn insert_connection(&mut self, connection: Connection) {
        self.tcp_established.insert(connection.tuple, connection.id);
        if connection.is_port_bound {
            *self.tcp_bound.entry(connection.tuple.local.1).or_default() += 1;
        }
        self.sockets.insert(connection.id, Socket::Connection(Box::new(connection)));
    }

    pub(super) fn insert_request(&mut self, request: Request) {
        self.tcp_established.insert(request.tuple, request.id);
        self.sockets.insert(request.id, Socket::Request(Box::new(request)));
    }

    /// Replaces a connection by a TIME_WAIT socket.
    pub(super) fn replace_by_time_wait(&mut self, time_wait: TimeWait) {
        self.sockets.insert(time_wait.id, Socket::TimeWait(Arc::new(time_wait)));
    }

    pub(super) fn insert_udp(&mut self, socket: UdpSocket) {
        self.udp.entry(socket.port).or_default().push(socket.id);
        self.sockets.insert(socket.id, Socket::Udp(Box::new(socket)));
    }

    pub(super) fn insert_ping(&mut self, socket: PingSocket) {
        self.ping.insert(socket.ident, socket.id);
        self.sockets.insert(socket.id, Socket::Ping(Box::new(socket)));
    }

    /// Removes a TIME_WAIT socket, for a connection that inherits from it.
    pub(super) fn take_time_wait(&mut self, id: SocketId) -> Option<Arc<TimeWait>> {
        match self.sockets.remove(&id)? {
            Socket::TimeWait(time_wait) => {
                self.forget_tuple(time_wait.tuple);
                Some(time_wait)
            }
            Socket::Listener(_)
            | Socket::Request(_)
            | Socket::Connection(_)
            | Socket::Udp(_)
            | Socket::Ping(_) => unreachable!("the socket is in TIME_WAIT"),
        }
    }

    /// Removes a socket from the table and all indexes.
    pub(super) fn remove(&mut self, id: SocketId) {
        match self.sockets.remove(&id) {
            Some(Socket::Listener(listener)) => {
                self.tcp_listeners.remove(&(listener.port, listener.addr));
            }
            Some(Socket::Request(request)) => {
                self.forget_tuple(request.tuple);
                if let Some(Socket::Listener(listener)) = self.sockets.get_mut(&request.listener) {
                    listener.request_count -= 1;
                }
            }
            Some(Socket::Connection(connection)) => {
                self.forget_tuple(connection.tuple);
                self.release_port(&connection);
            }
            Some(Socket::TimeWait(time_wait)) => self.forget_tuple(time_wait.tuple),
            Some(Socket::Udp(socket)) => {
                if let Some(ids) = self.udp.get_mut(&socket.port) {
                    ids.retain(|other| *other != id);
                    if ids.is_empty() {
                        self.udp.remove(&socket.port);
                    }
                }
            }
            Some(Socket::Ping(socket)) => {
                self.ping.remove(&socket.ident);
            }
            None => {}
        }
    }

    fn forget_tuple(&mut self, tuple: FourTuple) {
        self.tcp_established.remove(&tuple);
        self.busy_ports.release(tuple);
    }

    /// Releases a port that a client had bound explicitly.
    pub(super) fn release_port(&mut self, connection: &Connection) {
        let port = connection.tuple.local.1;
        if connection.is_port_bound
            && let Some(count) = self.tcp_bound.get_mut(&port)
        {
            *count -= 1;
            if *count == 0 {
                self.tcp_bound.remove(&port);
            }
        }
    }
}
