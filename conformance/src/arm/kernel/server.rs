//! The servers of a lab: one thread that serves the sockets of all namespaces.
//!
//! A socket stays in the namespace in which it was opened, so only opening it needs a visit there.

mod fault;

pub use fault::Fault;

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use thiserror::Error;

use super::client::errno;
use super::lab::{LabError, LabNetns};
use crate::dns::Zone;
use crate::observation::Transport;

/// A port on which a node, pod or host answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// TCP or UDP.
    pub protocol: Transport,
    /// Its own address; every address if `None`.
    pub address: Option<Ipv4Addr>,
    /// Its port.
    pub port: u16,
    /// The name that it gives in its answers.
    pub name: String,
    /// What a DNS server answers from; others say who they are. UDP alone.
    pub zone: Option<Zone>,
}

/// Why a server could not be started, or cannot go on.
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
        /// What was to be opened.
        listener: Listener,
        /// Why.
        source: io::Error,
    },
    /// This kernel, or this program, has no such server.
    #[error("{netns}: no server for {}", protocol.name())]
    Protocol {
        /// The node's name.
        netns: String,
        /// The protocol.
        protocol: Transport,
    },
    /// A server that was started, or all of them, went out of service.
    #[error(transparent)]
    Stopped(#[from] Fault),
}

/// A server of [`Servers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(u32);

/// Every server of a lab. They end when it is dropped.
#[derive(Debug)]
pub struct Servers {
    orders: Sender<Order>,
    /// A byte wakes the thread; its end ends it.
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
    count: u32,
    /// What the thread met first that it cannot go on with.
    fault: Arc<OnceLock<Fault>>,
}

#[derive(Debug)]
enum Order {
    Open(ServerId, Service),
    /// Told when it is done: somebody else may have the port then.
    Close(ServerId, Sender<()>),
}

#[derive(Debug)]
struct Service {
    name: String,
    zone: Option<Zone>,
    socket: Socket,
    /// It accepts no more connections, because it failed to.
    is_stopped: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Servers {
    /// Starts the thread, with nothing to serve.
    ///
    /// # Errors
    /// If the machine has no thread or socket left.
    pub fn start() -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        let (orders, received) = channel();
        woken.set_nonblocking(true)?;
        let fault = Arc::new(OnceLock::new());
        let desk = Desk { fault: Arc::clone(&fault), ..Desk::default() };
        let thread = thread::Builder::new()
            .name("servers".to_owned())
            .spawn(move || serve(desk, &woken, &received))?;
        Ok(Self { orders, wake, thread: Some(thread), count: 0, fault })
    }

    /// Opens a port in a namespace.
    ///
    /// # Errors
    /// If the namespace cannot be entered, or the port cannot be opened.
    pub fn open(&mut self, netns: &LabNetns, listener: &Listener) -> Result<ServerId, ServerError> {
        let address = SocketAddrV4::new(listener.address.unwrap_or(Ipv4Addr::UNSPECIFIED), listener.port);
        let opened = netns.enter(|| match listener.protocol {
            Transport::Tcp => Some(open_tcp(address)),
            Transport::Udp => Some(open_udp(address)),
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
                socket: opened.map_err(fault)?,
                is_stopped: false,
            },
        ));
        Ok(id)
    }

    /// Closes a port, and returns when it is closed. Connections that it had are closed as well.
    ///
    /// # Errors
    /// See [`Servers::check`].
    pub fn close(&mut self, id: ServerId) -> Result<(), ServerError> {
        let (done, is_done) = channel();
        self.order(Order::Close(id, done));
        // It fails only if the thread is gone, and the port with it.
        let _ = is_done.recv();
        self.check()
    }

    /// Whether all servers are in service.
    ///
    /// # Errors
    /// What the first of them failed with that went out of service.
    pub fn check(&self) -> Result<(), ServerError> {
        self.fault.get().map_or(Ok(()), |fault| Err(fault.clone().into()))
    }

    fn order(&mut self, order: Order) {
        // Both fail only if the thread is gone, which then has nothing to serve any more.
        let _ = self.orders.send(order);
        let _ = self.wake.write_all(&[1]);
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.wake.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

fn open_tcp(address: SocketAddrV4) -> io::Result<Socket> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(Socket::Tcp(listener))
}

fn open_udp(address: SocketAddrV4) -> io::Result<Socket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    // The answer names the address to which the request went.
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    Ok(Socket::Udp(socket))
}

/// What the thread serves.
#[derive(Default)]
struct Desk {
    services: BTreeMap<ServerId, Service>,
    /// Connections in the order in which they came, with their server.
    connections: Vec<(ServerId, TcpStream)>,
    fault: Arc<OnceLock<Fault>>,
}

fn serve(mut desk: Desk, woken: &UnixStream, orders: &Receiver<Order>) {
    loop {
        let ready = match desk.wait(woken) {
            Ok(ready) => ready,
            Err(errno) => {
                return desk.note("the thread of all servers".to_owned(), "wait for requests", errno);
            }
        };
        for id in &ready.services {
            desk.serve(*id);
        }
        // From the last to the first: what is closed moves only those behind it.
        for index in ready.connections.iter().rev() {
            desk.answer(*index);
        }
        if ready.is_woken && !is_going_on(woken) {
            return;
        }
        for order in orders.try_iter() {
            match order {
                Order::Open(id, service) => drop(desk.services.insert(id, service)),
                Order::Close(id, done) => {
                    desk.services.remove(&id);
                    desk.connections.retain(|(server, _)| *server != id);
                    // Whoever waited is gone if it fails.
                    let _ = done.send(());
                }
            }
        }
    }
}

/// Empties the wake-up socket; false at its end.
fn is_going_on(mut woken: &UnixStream) -> bool {
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
    /// Indexes in rising order.
    connections: Vec<usize>,
}

impl Desk {
    /// The first error stays: the others may come of it.
    fn note(&self, who: String, what: &'static str, errno: Errno) {
        let _ = self.fault.set(Fault { who, what, errno });
    }

    fn wait(&self, woken: &UnixStream) -> nix::Result<Ready> {
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = vec![readable(woken.as_fd())];
        // What could not be accepted stays ready: the thread would do nothing else any more.
        let in_service = || self.services.iter().filter(|(_, service)| !service.is_stopped);
        fds.extend(in_service().map(|(_, service)| match &service.socket {
            Socket::Tcp(listener) => readable(listener.as_fd()),
            Socket::Udp(socket) => readable(socket.as_fd()),
        }));
        fds.extend(self.connections.iter().map(|(_, stream)| readable(stream.as_fd())));
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

    /// Accepts a connection, or answers a datagram.
    fn serve(&mut self, id: ServerId) {
        let Some(service) = self.services.get_mut(&id) else { return };
        match &service.socket {
            Socket::Tcp(listener) => {
                let accepted =
                    listener.accept().and_then(|(stream, _)| stream.set_nonblocking(true).map(|()| stream));
                match accepted.map_err(|error| errno(&error)) {
                    Ok(stream) => self.connections.push((id, stream)),
                    // The client has given up already, so there is nothing to accept (accept(2)).
                    Err(Errno::EAGAIN | Errno::ECONNABORTED | Errno::EINTR) => {}
                    Err(errno) => {
                        service.is_stopped = true;
                        let who = format!("the server {}", service.name);
                        self.note(who, "accept a connection", errno);
                    }
                }
            }
            // A datagram whose answer cannot be sent is lost, as datagrams are.
            Socket::Udp(socket) => drop(answer_datagram(socket, service)),
        }
    }

    /// Answers what one read returns; closes the connection at its end.
    fn answer(&mut self, index: usize) {
        let (id, stream) = &mut self.connections[index];
        let Some(service) = self.services.get(id) else { return };
        let mut request = [0; 4096];
        let is_done = match stream.read(&mut request) {
            Ok(0) => true,
            Ok(_) => answer_stream(stream, &service.name).is_err(),
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        if is_done {
            self.connections.remove(index);
        }
    }
}

fn answer_stream(stream: &mut TcpStream, name: &str) -> io::Result<()> {
    let line = identify(name, stream.peer_addr()?, stream.local_addr()?);
    stream.write_all(line.as_bytes())
}

fn answer_datagram(socket: &UdpSocket, service: &Service) -> io::Result<()> {
    let mut request = [0; 4096];
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
        None => Some(line.into_bytes()),
        Some(zone) => zone.answer(&request[..len], &line),
    };
    let Some(answer) = answer else { return Ok(()) };
    // The answer comes from the address that was asked, as of any server that knows several: else the route would choose.
    let source: Vec<_> = source.iter().map(ControlMessage::Ipv4PacketInfo).collect();
    let slices = [IoSlice::new(&answer)];
    sendmsg(socket.as_raw_fd(), &slices, &source, MsgFlags::empty(), Some(&peer))?;
    Ok(())
}

/// The line that every server answers, as the servers of the simulator do.
fn identify(name: &str, peer: SocketAddr, local: SocketAddr) -> String {
    format!("{name} {peer} {local}\n")
}

#[cfg(test)]
mod tests;
