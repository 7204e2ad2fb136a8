//! The servers of a lab: one thread serves the sockets of all namespaces.
//!
//! A socket stays in the namespace in which it was opened, so only opening it requires entering the namespace.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use thiserror::Error;

use sim::socket::Sizes;

use super::client::errno;
use super::lab::{LabError, LabNetns};
use super::prompt;
use super::unread::{READ_PATIENCE, READ_PAUSE};
use crate::dns::Zone;
use crate::http::Page;
use crate::observation::Transport;
use crate::settings;

/// A listening port of a node, Pod or host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// TCP or UDP.
    pub protocol: Transport,
    /// The local address; all addresses if `None`.
    pub address: Option<Ipv4Addr>,
    /// The port.
    pub port: u16,
    /// The name in its responses.
    pub name: String,
    /// The zone of a DNS server; other servers respond with their identity. UDP only.
    pub zone: Option<Zone>,
    /// What an HTTP server answers. TCP only.
    pub page: Option<Box<Page>>,
}

/// Why a server could not be started, or stopped.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The namespace could not be entered.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The socket could not be opened.
    #[error("{netns}: {} port {}: {source}", listener.protocol.name(), listener.port)]
    Io {
        /// The node's name.
        netns: String,
        /// The listener.
        listener: Listener,
        /// Why.
        source: io::Error,
    },
    /// No such server on this kernel or in this program.
    #[error("{netns}: no server for {}", protocol.name())]
    Protocol {
        /// The node's name.
        netns: String,
        /// The protocol.
        protocol: Transport,
    },
    /// Some or all servers have stopped.
    #[error(transparent)]
    Stopped(#[from] ServerFault),
}

/// Why a server, or all of them, stopped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{who} cannot {what}: {errno}")]
pub struct ServerFault {
    /// The server.
    pub who: String,
    /// The failed operation.
    pub what: &'static str,
    /// The error.
    #[source]
    pub errno: Errno,
}

/// The id of a server in [`Servers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(u32);

/// All servers of a lab. They stop on drop.
#[derive(Debug)]
pub struct Servers {
    orders: Sender<Order>,
    /// Writing a byte wakes the thread; closing it ends the thread.
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
    count: u32,
    /// The first error from which the thread could not recover.
    fault: Arc<OnceLock<ServerFault>>,
}

#[derive(Debug)]
enum Order {
    Open(ServerId, Service),
    /// The sender is notified when the port is free.
    Close(ServerId, Sender<()>),
    /// Tells how many requests and connections were handled so far.
    Count(Sender<u64>),
}

#[derive(Debug)]
struct Service {
    name: String,
    zone: Option<Zone>,
    page: Option<Box<Page>>,
    socket: Socket,
    /// Accepting connections failed; it accepts no more.
    is_stopped: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Servers {
    /// Starts the thread, without servers.
    ///
    /// # Errors
    /// If the machine is out of threads or sockets.
    pub fn start() -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        let (orders, received) = channel();
        woken.set_nonblocking(true)?;
        let fault = Arc::new(OnceLock::new());
        let desk = Desk { fault: Arc::clone(&fault), ..Desk::default() };
        let thread = prompt::spawn("servers", move || serve(desk, &woken, &received))?;
        Ok(Self { orders, wake, thread: Some(thread), count: 0, fault })
    }

    /// Opens a listening port in a namespace.
    ///
    /// # Errors
    /// If the namespace cannot be entered, or the port cannot be opened.
    pub fn open(&mut self, netns: &LabNetns, listener: &Listener) -> Result<ServerId, ServerError> {
        let address = SocketAddrV4::new(listener.address.unwrap_or(Ipv4Addr::UNSPECIFIED), listener.port);
        let opened = netns.enter(|| match listener.protocol {
            Transport::Tcp => Some(when_free(|| open_tcp(address))),
            Transport::Udp => Some(when_free(|| open_udp(address))),
            Transport::Sctp | Transport::Icmp => None,
        })?;
        let netns = || netns.name().to_owned();
        let Some(opened) = opened else {
            return Err(ServerError::Protocol { netns: netns(), protocol: listener.protocol });
        };
        let fault = |source| ServerError::Io { netns: netns(), listener: listener.clone(), source };
        let id = ServerId(self.count);
        self.count += 1;
        self.order(Order::Open(
            id,
            Service {
                name: listener.name.clone(),
                zone: listener.zone.clone(),
                page: listener.page.clone(),
                socket: opened.map_err(fault)?,
                is_stopped: false,
            },
        ));
        Ok(id)
    }

    /// Closes a port and its connections; returns when it is closed.
    ///
    /// # Errors
    /// See [`Servers::check`].
    pub fn close(&mut self, id: ServerId) -> Result<(), ServerError> {
        let (done, is_done) = channel();
        self.order(Order::Close(id, done));
        // Fails only if the thread has ended, and the port with it.
        let _ = is_done.recv();
        self.check()
    }

    /// Checks that all servers are in service.
    ///
    /// # Errors
    /// The error of the first one that stopped.
    pub fn check(&self) -> Result<(), ServerError> {
        self.fault.get().map_or(Ok(()), |fault| Err(fault.clone().into()))
    }

    /// Waits until everything that has arrived is handled. Returns how many requests and connections were handled so far.
    pub(super) fn catch_up(&self) -> u64 {
        let count = || {
            let (told, count) = channel();
            self.order(Order::Count(told));
            // Fails only if the thread has ended.
            count.recv().unwrap_or(0)
        };
        // The thread may find the first order in a round that began before the last arrival.
        count();
        count()
    }

    fn order(&self, order: Order) {
        // Both fail only if the thread has ended.
        let _ = self.orders.send(order);
        let _ = (&self.wake).write_all(&[1]);
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.wake.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

/// How long a port that is in use may take to become free.
const PORT_WAIT: Duration = Duration::from_secs(1);

/// Opens a port, and tries again for a moment while it is in use: a server that was just closed can hold its port a little
/// longer. Another thread that starts a program has forked a child by then, and the child shares every descriptor until it
/// executes the program.
fn when_free(open: impl Fn() -> io::Result<Socket>) -> io::Result<Socket> {
    let deadline = Instant::now() + PORT_WAIT;
    loop {
        match open() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                sleep(Duration::from_millis(1));
            }
            opened => return opened,
        }
    }
}

fn open_tcp(address: SocketAddrV4) -> io::Result<Socket> {
    let listener = TcpListener::bind(address)?;
    // Accepted connections inherit it. A short buffer would take a part of an answer only.
    setsockopt(&listener, sockopt::SndBuf, &settings::SEND_BUFFER)?;
    listener.set_nonblocking(true)?;
    Ok(Socket::Tcp(listener))
}

fn open_udp(address: SocketAddrV4) -> io::Result<Socket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    // The response must come from the address that the request was sent to.
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    Ok(Socket::Udp(socket))
}

/// An accepted connection.
struct Connection {
    server: ServerId,
    stream: TcpStream,
    /// The request is not complete since then.
    incomplete_since: Option<Instant>,
    /// What was read of a request that is not complete.
    request: Vec<u8>,
}

/// The state of the thread.
#[derive(Default)]
struct Desk {
    services: BTreeMap<ServerId, Service>,
    /// In order of arrival.
    connections: Vec<Connection>,
    /// Requests and connections handled so far.
    handled: u64,
    fault: Arc<OnceLock<ServerFault>>,
}

fn serve(mut desk: Desk, woken: &UnixStream, orders: &Receiver<Order>) {
    loop {
        let ready = match desk.wait(woken) {
            Ok(ready) => ready,
            Err(errno) => {
                return desk.note("the thread of all servers".to_owned(), "wait for requests", errno);
            }
        };
        desk.handled += u64::try_from(ready.services.len() + ready.connections.len()).unwrap_or_default();
        for id in &ready.services {
            desk.serve(*id);
        }
        // In reverse order: removal moves only later elements.
        for index in ready.connections.iter().rev() {
            desk.answer(*index);
        }
        if ready.is_woken && !is_going_on(woken) {
            return;
        }
        for order in orders.try_iter() {
            match order {
                Order::Open(id, service) => drop(desk.services.insert(id, service)),
                Order::Count(told) => drop(told.send(desk.handled)),
                Order::Close(id, done) => {
                    desk.services.remove(&id);
                    desk.connections.retain(|connection| connection.server != id);
                    // Fails only if the receiver is gone.
                    let _ = done.send(());
                }
            }
        }
    }
}

/// Drains the wake-up socket; false at its end.
pub(super) fn is_going_on(mut woken: &UnixStream) -> bool {
    let mut buffer = [0; 64];
    loop {
        match woken.read(&mut buffer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

struct Ready {
    is_woken: bool,
    services: Vec<ServerId>,
    /// Indexes in ascending order.
    connections: Vec<usize>,
}

impl Desk {
    /// Keeps the first error: later ones may be consequences.
    fn note(&self, who: String, what: &'static str, errno: Errno) {
        let _ = self.fault.set(ServerFault { who, what, errno });
    }

    fn wait(&self, woken: &UnixStream) -> nix::Result<Ready> {
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = vec![readable(woken.as_fd())];
        // A socket whose accept failed stays ready: polling it would spin.
        let in_service = || self.services.iter().filter(|(_, service)| !service.is_stopped);
        fds.extend(in_service().map(|(_, service)| match &service.socket {
            Socket::Tcp(listener) => readable(listener.as_fd()),
            Socket::Udp(socket) => readable(socket.as_fd()),
        }));
        fds.extend(self.connections.iter().map(|connection| readable(connection.stream.as_fd())));
        while let Err(errno) = poll(&mut fds, PollTimeout::NONE) {
            if errno != Errno::EINTR {
                return Err(errno);
            }
        }
        let is_ready = |index: usize| fds[index].any().unwrap_or(true);
        let first_connection = fds.len() - self.connections.len();
        Ok(Ready {
            is_woken: is_ready(0),
            services: (in_service().zip(1..))
                .filter(|(_, index)| is_ready(*index))
                .map(|((id, _), _)| *id)
                .collect(),
            connections: (0..self.connections.len())
                .filter(|index| is_ready(first_connection + index))
                .collect(),
        })
    }

    /// Accepts a connection, or responds to a datagram.
    fn serve(&mut self, id: ServerId) {
        let Some(service) = self.services.get_mut(&id) else { return };
        match &service.socket {
            Socket::Tcp(listener) => {
                let accepted =
                    listener.accept().and_then(|(stream, _)| stream.set_nonblocking(true).map(|()| stream));
                match accepted.map_err(|error| errno(&error)) {
                    Ok(stream) => {
                        self.connections.push(Connection {
                            server: id,
                            stream,
                            incomplete_since: None,
                            request: Vec::new(),
                        });
                    }
                    // The client has already given up, so there is no connection to accept (accept(2)).
                    Err(Errno::EAGAIN | Errno::ECONNABORTED | Errno::EINTR) => {}
                    Err(errno) => {
                        service.is_stopped = true;
                        let who = format!("the server {}", service.name);
                        self.note(who, "accept a connection", errno);
                    }
                }
            }
            // A datagram whose response cannot be sent is lost, like any datagram.
            Socket::Udp(socket) => drop(answer_datagram(socket, service)),
        }
    }

    /// Responds to what one read returned, if it completes a request; closes the connection at its end.
    fn answer(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let Some(service) = self.services.get(&connection.server) else { return };
        if connection.is_waiting() {
            return sleep(READ_PAUSE);
        }
        let mut buffer = [0; 4096];
        let is_done = match connection.stream.read(&mut buffer) {
            Ok(0) => true,
            Ok(count) => {
                connection.request.extend_from_slice(&buffer[..count]);
                connection.answer(service).is_err()
            }
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        if is_done {
            self.connections.remove(index);
        }
    }
}

impl Connection {
    /// True if the rest of a request may still arrive.
    fn is_waiting(&mut self) -> bool {
        let mut buffer = vec![0; usize::from(u16::MAX)];
        let is_complete = self
            .stream
            .peek(&mut buffer)
            .map_or(true, |count| Sizes::is_complete(&[&self.request, &buffer[..count]].concat()));
        if is_complete {
            self.incomplete_since = None;
            return false;
        }
        self.incomplete_since.get_or_insert_with(Instant::now).elapsed() < READ_PATIENCE
    }

    fn answer(&mut self, service: &Service) -> io::Result<()> {
        if !Sizes::is_complete(&self.request) {
            return Ok(());
        }
        let request = std::mem::take(&mut self.request);
        let line = identify(&service.name, self.stream.peer_addr()?, self.stream.local_addr()?);
        let answer = match &service.page {
            None => Sizes::answer(&request, line),
            Some(page) => page.respond(&request, &line),
        };
        self.stream.write_all(&answer)
    }
}

fn answer_datagram(socket: &UdpSocket, service: &Service) -> io::Result<()> {
    // A datagram is always read whole.
    let mut request = vec![0; usize::from(u16::MAX)];
    let mut control = nix::cmsg_space!(nix::libc::in_pktinfo);
    let mut slices = [IoSliceMut::new(&mut request)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    let peer = message.address.ok_or(io::ErrorKind::InvalidData)?;
    let len = message.bytes;
    let mut local = socket.local_addr()?;
    let mut source = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
            local.set_ip(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
            source = Some(nix::libc::in_pktinfo { ipi_ifindex: 0, ..info });
        }
    }
    let line = identify(&service.name, SocketAddr::from((peer.ip(), peer.port())), local);
    let answer = match &service.zone {
        None => Sizes::answer(&request[..len], line),
        Some(zone) => zone.respond(&request[..len], &line),
    };
    // Responds from the address that was contacted, like any multi-homed server; otherwise the route would decide.
    let source: Vec<_> = source.iter().map(ControlMessage::Ipv4PacketInfo).collect();
    let slices = [IoSlice::new(&answer)];
    sendmsg(socket.as_raw_fd(), &slices, &source, MsgFlags::empty(), Some(&peer))?;
    Ok(())
}

/// The response line of every server, equal to that of the simulator's servers.
fn identify(name: &str, peer: SocketAddr, local: SocketAddr) -> String {
    format!("{name} {peer} {local}\n")
}

#[cfg(test)]
mod tests;
