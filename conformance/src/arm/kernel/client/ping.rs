//! An ICMP echo request and its reply, with a raw socket (raw(7)).

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, SockaddrIn, connect, getsockname, recv, sendto, setsockopt, sockopt};
use sim::wire::icmpv4::icmp_type;
use sim::wire::{Icmpv4, Ipv4, build, protocol};

use super::{ClientRequest, End, Report, wait};

/// The sequence number of the only request.
const SEQUENCE: u16 = 1;

pub(super) fn exchange(
    socket: &OwnedFd,
    request: &ClientRequest,
    deadline: Instant,
) -> Result<Report, Errno> {
    let fd = socket.as_raw_fd();
    // Raw sockets have no ports; use the process id, as ping(8) does.
    let [.., high, low] = std::process::id().to_be_bytes();
    let id = request.source_port.unwrap_or(u16::from_be_bytes([high, low]));
    let mut report = Report::new(End::Answered, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, id));
    let to = SockaddrIn::from(SocketAddrV4::new(*request.to.ip(), 0));
    // ping(8) takes a reply from anyone, as `ping_lookup` does (net/ipv4/ping.c). A connected raw socket takes replies of its
    // peer only (`raw_v4_match`), and the members of a group reply from their own addresses. It receives no errors about
    // other requests, and there are none about multicasts.
    if !request.to.ip().is_multicast() {
        if let Err(errno) = connect(fd, &to) {
            report.end = End::Failed(errno);
            return Ok(report);
        }
        report.local.set_ip(getsockname::<SockaddrIn>(fd)?.ip());
    }
    // As in ping(8): otherwise a raw socket receives few ICMP errors (`raw_err`, net/ipv4/raw.c).
    setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
    let [id_high, id_low] = id.to_be_bytes();
    let [sequence_high, sequence_low] = SEQUENCE.to_be_bytes();
    let rest = [id_high, id_low, sequence_high, sequence_low];
    let message = build::icmpv4(icmp_type::ECHO_REQUEST, 0, rest, &request.bytes);
    report.end = match sendto(fd, &message, &to, MsgFlags::empty()) {
        Ok(_) => receive(socket, id, deadline, &mut report)?,
        Err(errno) => End::Failed(errno),
    };
    Ok(report)
}

fn receive(socket: &OwnedFd, id: u16, deadline: Instant, report: &mut Report) -> Result<End, Errno> {
    let mut buffer = [0; 4096];
    while wait(socket.as_fd(), PollFlags::POLLIN, deadline)? {
        let count = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(count) => count,
            Err(Errno::EAGAIN) => continue,
            Err(errno) => return Ok(End::Failed(errno)),
        };
        if let Some((from, to, data)) = echo_reply(&buffer[..count], id) {
            report.local.set_ip(to);
            report.reply_from = Some(SocketAddrV4::new(from, 0));
            report.reply = data;
            return Ok(End::Answered);
        }
    }
    Ok(End::TimedOut)
}

/// The sender, receiver and payload of the reply to our request; a raw socket receives copies of all ICMP from its peer.
fn echo_reply(packet: &[u8], id: u16) -> Option<(Ipv4Addr, Ipv4Addr, Vec<u8>)> {
    let ip = Ipv4::new_checked(packet).filter(|ip| ip.protocol() == protocol::ICMP)?;
    let icmp = Icmpv4::new_checked(ip.payload())?;
    let is_ours = icmp.icmp_type() == icmp_type::ECHO_REPLY && icmp.id() == id && icmp.sequence() == SEQUENCE;
    is_ours.then(|| (ip.src(), ip.dst(), icmp.payload().to_vec()))
}
