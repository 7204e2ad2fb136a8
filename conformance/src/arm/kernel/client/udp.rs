//! A UDP datagram and its response, on a connected socket.

use std::io::IoSliceMut;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, connect, recvmsg, setsockopt, sockopt};

use super::{ClientRequest, End, Report, UNSPECIFIED, errno, wait};

/// `SO_EE_ORIGIN_ICMP` (include/uapi/linux/errqueue.h).
const ORIGIN_ICMP: u8 = 2;

pub(super) fn exchange(
    socket: &UdpSocket,
    request: &ClientRequest,
    deadline: Instant,
) -> Result<Report, Errno> {
    let begun = connect(socket.as_raw_fd(), &SockaddrIn::from(request.to));
    let mut report = Report::new(End::Answered, local(socket));
    if let Err(errno) = begun {
        report.end = End::Failed(errno);
        return Ok(report);
    }
    // Makes the socket report ICMP errors with type and code, including those that ordinary sockets do not receive.
    setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
    report.end = match socket.send(&request.bytes) {
        Ok(_) => receive(socket, deadline, &mut report)?,
        Err(error) => End::Failed(errno(&error)),
    };
    Ok(report)
}

fn receive(socket: &UdpSocket, deadline: Instant, report: &mut Report) -> Result<End, Errno> {
    while wait(socket.as_fd(), PollFlags::POLLIN, deadline)? {
        if let Some(end) = received(socket, report)? {
            return Ok(end);
        }
    }
    Ok(End::TimedOut)
}

/// Reads an error or a datagram of a socket that is ready; `None` if neither ends an exchange.
pub(super) fn received(socket: &UdpSocket, report: &mut Report) -> Result<Option<End>, Errno> {
    if let Some(failed) = take_errors(socket, report)? {
        return Ok(Some(End::Failed(failed)));
    }
    // A datagram is always read whole.
    let mut buffer = vec![0; usize::from(u16::MAX)];
    // With IP_RECVERR every error is also reported by errno, once. Whether it is fatal was decided above.
    let Ok((count, from)) = socket.recv_from(&mut buffer) else { return Ok(None) };
    report.reply.extend_from_slice(&buffer[..count]);
    report.reply_from = match from {
        SocketAddr::V4(from) => Some(from),
        SocketAddr::V6(_) => None,
    };
    Ok(Some(End::Answered))
}

/// Empties the error queue (ip(7), IP_RECVERR); returns the first error that a socket without IP_RECVERR would report.
fn take_errors(socket: &UdpSocket, report: &mut Report) -> Result<Option<Errno>, Errno> {
    let mut failed = None;
    loop {
        let mut buffer = [0; 2048];
        let mut control = nix::cmsg_space!([u8; 64]);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message = match recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)
        {
            Ok(message) => message,
            Err(Errno::EAGAIN) => return Ok(failed),
            Err(errno) => return Err(errno),
        };
        for control in message.cmsgs()? {
            let ControlMessageOwned::Ipv4RecvErr(error, _) = control else { continue };
            if error.ee_origin == ORIGIN_ICMP {
                report.icmp_errors.push((error.ee_type, error.ee_code));
            }
            if error.ee_origin != ORIGIN_ICMP || is_hard(error.ee_type, error.ee_code) {
                failed = failed.or(Some(Errno::from_raw(error.ee_errno.cast_signed())));
            }
        }
    }
}

/// Linux: `harderr` in `__udp4_lib_err`, net/ipv4/udp.c; `icmp_err_convert`, net/ipv4/icmp.c.
const fn is_hard(icmp_type: u8, code: u8) -> bool {
    match icmp_type {
        3 => matches!(code, 2..=4 | 6..=10 | 13..=15),
        // Parameter problem.
        12 => true,
        _ => false,
    }
}

pub(super) fn local(socket: &UdpSocket) -> SocketAddrV4 {
    match socket.local_addr() {
        Ok(SocketAddr::V4(local)) => local,
        Ok(SocketAddr::V6(_)) | Err(_) => UNSPECIFIED,
    }
}
