//! Clients: one connection, datagram or echo request and its answer, from within a namespace, and what came of it.

mod ping;
mod tcp;
mod udp;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};
use thiserror::Error;

use super::lab::{LabError, LabNetns};
use crate::observation::Transport;

/// What a client does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// By what.
    pub protocol: Transport,
    /// To where; the port means nothing for ICMP.
    pub to: SocketAddrV4,
    /// Its own port, or the identifier of an echo request; chosen by the kernel if `None`.
    pub source_port: Option<u16>,
    /// What it sends.
    pub bytes: Vec<u8>,
    /// How long it waits, from the beginning to the answer.
    pub timeout: Duration,
}

/// What came of it, as far as a socket tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// Own end; unspecified if the kernel had chosen none before it failed.
    pub local: SocketAddrV4,
    /// The answer, or as much of it as came.
    pub reply: Vec<u8>,
    /// From where the answer came.
    pub reply_from: Option<SocketAddrV4>,
    /// Type and code of ICMP errors that the socket was told about, in order. TCP sockets are told errno alone.
    pub icmp_errors: Vec<(u8, u8)>,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With the answer.
    Answered,
    /// With this error of connect(2), send(2) or recv(2).
    Failed(Errno),
    /// The peer closed the connection before it had answered.
    Closed,
    /// After the time that the client waits.
    TimedOut,
}

/// Why a client could not even try.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The namespace could not be entered.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The socket could not be made.
    #[error("{netns}: {}: {source}", protocol.name())]
    Io {
        /// The node's name.
        netns: String,
        /// The protocol.
        protocol: Transport,
        /// Why.
        source: io::Error,
    },
}

/// Runs one exchange.
///
/// # Errors
/// If the namespace cannot be entered, or the kernel has no such socket. What happens to the exchange itself is reported.
pub fn exchange(netns: &LabNetns, request: &Request) -> Result<Report, ClientError> {
    let opened = netns.enter(|| match request.protocol {
        Transport::Tcp => open(SockType::Stream, SockProtocol::Tcp, request.source_port),
        Transport::Udp => open(SockType::Datagram, SockProtocol::Udp, request.source_port),
        Transport::Icmp => open(SockType::Raw, SockProtocol::Icmp, None),
        Transport::Sctp => Err(Errno::EPROTONOSUPPORT),
    })?;
    let deadline = Instant::now() + request.timeout;
    let result = opened.and_then(|socket| match request.protocol {
        Transport::Tcp => tcp::exchange(socket, request, deadline),
        Transport::Udp => udp::exchange(socket, request, deadline),
        Transport::Icmp => ping::exchange(&socket, request, deadline),
        Transport::Sctp => Err(Errno::EPROTONOSUPPORT),
    });
    result.map_err(|errno| ClientError::Io {
        netns: netns.name().to_owned(),
        protocol: request.protocol,
        source: errno.into(),
    })
}

fn open(kind: SockType, protocol: SockProtocol, port: Option<u16>) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, kind, flags, protocol)?;
    if let Some(port) = port {
        // A port whose last connection is in TIME_WAIT may be bound again (socket(7)).
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
    }
    Ok(socket)
}

impl Report {
    fn new(end: End, local: SocketAddrV4) -> Self {
        Self { end, local, reply: Vec::new(), reply_from: None, icmp_errors: Vec::new() }
    }
}

/// Waits until something happens on a socket; false if the deadline came first.
fn wait(fd: BorrowedFd<'_>, events: PollFlags, deadline: Instant) -> Result<bool, Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // A wait that is shorter than a millisecond is rounded up; else it would be a busy loop at the end.
        let timeout = PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(fd, events)];
        match poll(&mut polled, timeout) {
            Ok(count) if count > 0 => return Ok(true),
            Ok(_) if left.is_zero() => return Ok(false),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The errno of an operation of the standard library.
pub(super) fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

const UNSPECIFIED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

#[cfg(test)]
mod tests;
