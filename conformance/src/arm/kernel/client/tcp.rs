//! A TCP connection: request, response line, close.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::thread::sleep;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{SockaddrIn, connect, getsockopt, sockopt};
use sim::socket::Sizes;

use super::super::unread::{READ_PATIENCE, READ_PAUSE};
use super::{ClientRequest, End, Report, UNSPECIFIED, errno, wait};

pub(super) fn exchange(
    stream: &mut TcpStream,
    request: &ClientRequest,
    deadline: Instant,
) -> Result<Report, Errno> {
    let begun = connect(stream.as_raw_fd(), &SockaddrIn::from(request.to));
    let mut report = Report::new(End::Answered, local(stream));
    report.end = match begun {
        Ok(()) | Err(Errno::EINPROGRESS) => match established(stream, deadline)? {
            None => talk(stream, request, deadline, &mut report)?,
            Some(end) => end,
        },
        Err(errno) => End::Failed(errno),
    };
    Ok(report)
}

/// Waits for the handshake; `None` when it is complete.
fn established(stream: &TcpStream, deadline: Instant) -> Result<Option<End>, Errno> {
    if !wait(stream.as_fd(), PollFlags::POLLOUT, deadline)? {
        return Ok(Some(End::TimedOut));
    }
    let error = getsockopt(stream, sockopt::SocketError)?;
    Ok((error != 0).then(|| End::Failed(Errno::from_raw(error))))
}

fn talk(
    stream: &mut TcpStream,
    request: &ClientRequest,
    deadline: Instant,
    report: &mut Report,
) -> Result<End, Errno> {
    if request.bytes.is_empty() {
        return Ok(End::Answered);
    }
    let peer = peer(stream);
    if let Err(error) = stream.write_all(&request.bytes) {
        return Ok(End::Failed(errno(&error)));
    }
    let mut buffer = [0; 4096];
    let mut is_first = true;
    loop {
        if !wait(stream.as_fd(), PollFlags::POLLIN, deadline)? {
            return Ok(End::TimedOut);
        }
        if std::mem::take(&mut is_first) {
            let length = Sizes::of(&request.bytes).map_or(0, |sizes| usize::from(sizes.receive));
            await_all(stream, length);
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(End::Closed),
            Ok(count) => report.reply.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Ok(End::Failed(errno(&error))),
        }
        report.reply_from = peer;
        if report.reply.ends_with(b"\n") {
            return Ok(End::Answered);
        }
    }
}

/// Leaves a response unread for a moment until so many bytes have arrived; see [`READ_PATIENCE`].
pub(super) fn await_all(stream: &TcpStream, length: usize) {
    let mut buffer = vec![0; length];
    let begun = Instant::now();
    while stream.peek(&mut buffer).is_ok_and(|count| (1..length).contains(&count))
        && begun.elapsed() < READ_PATIENCE
    {
        sleep(READ_PAUSE);
    }
}

/// Not always the requested one: a client that connects to 0.0.0.0 reaches itself at 127.0.0.1.
pub(super) fn peer(stream: &TcpStream) -> Option<SocketAddrV4> {
    match stream.peer_addr() {
        Ok(SocketAddr::V4(peer)) => Some(peer),
        Ok(SocketAddr::V6(_)) | Err(_) => None,
    }
}

pub(super) fn local(stream: &TcpStream) -> SocketAddrV4 {
    match stream.local_addr() {
        Ok(SocketAddr::V4(local)) => local,
        Ok(SocketAddr::V6(_)) | Err(_) => UNSPECIFIED,
    }
}
