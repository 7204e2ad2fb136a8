//! Clients: one connection, datagram or echo request and its response, from inside a namespace, and the outcome.

mod kept;
mod ping;
mod tcp;
mod udp;

pub(super) use kept::{Keeper, KeptId};

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};
use thiserror::Error;

use super::lab::{LabError, LabNetns};
use super::prompt::Prompt;
use crate::observation::Transport;
use crate::settings;

/// A client's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRequest {
    /// The protocol.
    pub protocol: Transport,
    /// The destination; the port is unused for ICMP.
    pub to: SocketAddrV4,
    /// The source port, or the identifier of an echo request; chosen by the kernel if `None`.
    pub source_port: Option<u16>,
    /// The payload.
    pub bytes: Vec<u8>,
    /// The time from the start to the response.
    pub timeout: Duration,
    /// The connection stays open after the exchange.
    pub is_kept: bool,
}

/// The outcome as seen through the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How the exchange ended.
    pub end: End,
    /// Local address; unspecified if the kernel had not chosen one before the failure.
    pub local: SocketAddrV4,
    /// The response, or the part that arrived.
    pub reply: Vec<u8>,
    /// The source of the response.
    pub reply_from: Option<SocketAddrV4>,
    /// Type and code of ICMP errors reported to the socket, in order. TCP sockets report only errno.
    pub icmp_errors: Vec<(u8, u8)>,
    /// How long it took. A client that gives up on a busy machine does so late.
    pub lasted: Duration,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a response.
    Answered,
    /// With this error of connect(2), send(2) or recv(2).
    Failed(Errno),
    /// The peer closed the connection before a response.
    Closed,
    /// By the timeout.
    TimedOut,
}

/// Why a client could not start.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The namespace could not be entered.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The socket could not be created.
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

/// The socket of a connection that stays open.
#[derive(Debug)]
pub(super) enum KeptSocket {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

/// Runs one exchange, on a thread for clients. Returns the socket too if it is to be kept and is still usable.
///
/// # Errors
/// If the namespace cannot be entered, or the kernel does not support the socket. Failures of the exchange itself are
/// reported in the result.
pub(super) fn exchange(
    netns: &LabNetns,
    request: &ClientRequest,
    prompt: &Prompt,
) -> Result<(Report, Option<KeptSocket>), ClientError> {
    let opened = netns.enter(|| match request.protocol {
        Transport::Tcp => open(SockType::Stream, SockProtocol::Tcp, request.source_port),
        Transport::Udp => open(SockType::Datagram, SockProtocol::Udp, request.source_port),
        Transport::Icmp => open(SockType::Raw, SockProtocol::Icmp, None),
        Transport::Sctp => Err(Errno::EPROTONOSUPPORT),
    })?;
    let asked = request.clone();
    // A socket stays in its namespace, whatever thread uses it.
    let result = opened.and_then(|socket| prompt.run(move || exchange_on(socket, &asked)));
    result.map_err(|errno| ClientError::Io {
        netns: netns.name().to_owned(),
        protocol: request.protocol,
        source: errno.into(),
    })
}

/// Runs one exchange on this thread.
fn exchange_on(socket: OwnedFd, asked: &ClientRequest) -> Result<(Report, Option<KeptSocket>), Errno> {
    // Time counts from the first packet, as the kernel's timers do.
    let begun = Instant::now();
    let deadline = begun + asked.timeout;
    match asked.protocol {
        Transport::Tcp => {
            let mut stream = TcpStream::from(socket);
            let report = tcp::exchange(&mut stream, asked, deadline)?.ended(begun);
            let is_kept = asked.is_kept && report.end == End::Answered;
            Ok((report, is_kept.then_some(KeptSocket::Tcp(stream))))
        }
        Transport::Udp => {
            let socket = UdpSocket::from(socket);
            let report = udp::exchange(&socket, asked, deadline)?.ended(begun);
            let is_kept = asked.is_kept && socket.peer_addr().is_ok();
            Ok((report, is_kept.then_some(KeptSocket::Udp(socket))))
        }
        Transport::Icmp => ping::exchange(&socket, asked, deadline).map(|report| (report.ended(begun), None)),
        Transport::Sctp => Err(Errno::EPROTONOSUPPORT),
    }
}

fn open(kind: SockType, protocol: SockProtocol, port: Option<u16>) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, kind, flags, protocol)?;
    if kind == SockType::Stream {
        setsockopt(&socket, sockopt::SndBuf, &settings::SEND_BUFFER)?;
    }
    if let Some(port) = port {
        // Allows binding a port whose last connection is in TIME_WAIT (socket(7)).
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
    }
    Ok(socket)
}

impl Report {
    fn new(end: End, local: SocketAddrV4) -> Self {
        Self {
            end,
            local,
            reply: Vec::new(),
            reply_from: None,
            icmp_errors: Vec::new(),
            lasted: Duration::ZERO,
        }
    }

    /// It ends now, before its socket is closed.
    fn ended(self, begun: Instant) -> Self {
        Self { lasted: begun.elapsed(), ..self }
    }
}

/// Waits for an event on a socket; false on timeout.
fn wait(fd: BorrowedFd<'_>, events: PollFlags, deadline: Instant) -> Result<bool, Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Round up to milliseconds, otherwise the end of the wait would be a busy loop.
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
