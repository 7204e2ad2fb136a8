//! TCP sockets: opening clients, and looking up the socket for a segment.
//!
//! Linux: net/ipv4/tcp_ipv4.c; `tcp_conn_request`, net/ipv4/tcp_input.c; `tcp_check_req`, net/ipv4/tcp_minisocks.c.

use super::connection::Connection;
use super::listen::{Checked, Request};
use super::rtt::TIMEOUT_INIT;
use super::segment::{FourTuple, Options, Outgoing, Segment};
use super::seq::Seq;
use super::timewait::AtTimeWait;
use super::{Disposition, Sender};
use crate::drop_reason::DropReason;
use crate::ids::{SocketId, TimerKind};
use crate::packet::{Owner, Packet};
use crate::socket::table::Socket;
use crate::socket::{ClientSpec, ConnectError, Delivery, SocketIo, Sockets};
use crate::wire::{Ecn, TcpFlags};
use std::sync::Arc;

/// Opens a client socket and sends its SYN (`tcp_v4_connect`, net/ipv4/tcp_ipv4.c).
pub(in crate::socket) fn connect(
    sockets: &mut Sockets,
    io: &mut SocketIo<'_, '_>,
    spec: ClientSpec,
) -> Result<SocketId, ConnectError> {
    let remote = (spec.dst, spec.dst_port);
    let (port, reused) = sockets.table.tcp_source_port(io, spec.src, spec.src_port, remote)?;
    let tuple = FourTuple { local: (spec.src, port), remote };
    let inherited = reused.and_then(|id| sockets.table.take_time_wait(id)).map(|old| old.inherited());
    let id = sockets.table.next_id();
    let mut connection = Connection::connect(io, id, tuple, spec, inherited);
    connection.send_syn(io);
    sockets.table.insert_connection(connection);
    Ok(id)
}

/// Receives a segment (`tcp_v4_rcv`, net/ipv4/tcp_ipv4.c).
pub(in crate::socket) fn receive(
    sockets: &mut Sockets,
    io: &mut SocketIo<'_, '_>,
    packet: &Packet,
) -> Delivery {
    let segment = match Segment::parse(packet) {
        Ok(segment) => segment,
        Err(reason) => return Delivery::Dropped(reason),
    };
    let Some(id) = sockets.table.tcp_lookup(segment.tuple) else {
        if segment.has(TcpFlags::RST) {
            return Delivery::Dropped(DropReason::NoSocket);
        }
        send_reset(io, &segment);
        return Delivery::NoSocket;
    };
    deliver(sockets, io, id, &segment)
}

fn deliver(
    sockets: &mut Sockets,
    io: &mut SocketIo<'_, '_>,
    id: SocketId,
    segment: &Segment<'_>,
) -> Delivery {
    let verdict = match sockets.table.get(id) {
        Some(Socket::Connection(_)) => sockets
            .with_connection(io, id, |connection, io, flows| connection.segment_arrived(io, flows, segment)),
        Some(Socket::Listener(_)) => syn_arrived(sockets, io, id, segment),
        Some(Socket::Request(_)) => ack_arrived(sockets, io, id, segment),
        Some(Socket::TimeWait(_)) => time_wait_segment_arrived(sockets, io, id, segment),
        Some(Socket::Udp(_) | Socket::Ping(_)) | None => unreachable!("the TCP table contains TCP sockets"),
    };
    match verdict {
        Disposition::Taken => Delivery::Delivered(id),
        Disposition::Drop(reason) => Delivery::Dropped(reason),
        Disposition::Reset(reason) => {
            send_reset(io, segment);
            Delivery::Dropped(reason)
        }
        Disposition::Child(child) => deliver(sockets, io, child, segment),
        Disposition::Listener(listener) => deliver(sockets, io, listener, segment),
    }
}

/// Replies to a segment with a RST, unless it is one itself (`tcp_v4_send_reset`; RFC 9293 §3.5.2).
fn send_reset(io: &mut SocketIo<'_, '_>, segment: &Segment<'_>) {
    if segment.has(TcpFlags::RST) {
        return;
    }
    let (seq, ack, flags) = if segment.has(TcpFlags::ACK) {
        (segment.ack, Seq(0), TcpFlags::RST)
    } else {
        (Seq(0), segment.end_seq(), TcpFlags::RST.union(TcpFlags::ACK))
    };
    let reset = Outgoing {
        tuple: segment.tuple,
        seq,
        ack,
        flags,
        window: 0,
        ecn: Ecn::NotEct,
        options: Options::default(),
        sack: &[],
        payload: &[],
    };
    io.send_segment(
        &reset,
        Sender {
            ident: 0,
            socket: None,
            owner: Owner::Kernel,
            route: None,
            flow: segment.flow,
            cause: Some(segment.packet),
            confirms_neighbour: false,
        },
    );
}

/// A segment for a listener: a SYN starts a handshake.
fn syn_arrived(
    sockets: &mut Sockets,
    io: &mut SocketIo<'_, '_>,
    id: SocketId,
    segment: &Segment<'_>,
) -> Disposition {
    let dropped = Disposition::Drop(DropReason::TcpInvalid);
    if segment.has(TcpFlags::RST) {
        return dropped;
    }
    if segment.has(TcpFlags::ACK) {
        return Disposition::Reset(DropReason::TcpInvalid);
    }
    if !segment.has(TcpFlags::SYN) || segment.has(TcpFlags::FIN) {
        return dropped;
    }
    start_handshake(sockets, io, id, segment, None)
}

/// Replies to a SYN. `isn` is given if the SYN reopens a connection in TIME_WAIT.
fn start_handshake(
    sockets: &mut Sockets,
    io: &mut SocketIo<'_, '_>,
    listener_id: SocketId,
    segment: &Segment<'_>,
    isn: Option<Seq>,
) -> Disposition {
    let child = sockets.table.next_id();
    let Some(Socket::Listener(listener)) = sockets.table.get_mut(listener_id) else {
        unreachable!("the lookup found a listener");
    };
    // Linux would reply with a SYN cookie here (`tcp_syncookies`), which is not modelled.
    if listener.request_count >= io.settings.listen_backlog {
        return Disposition::Drop(DropReason::TcpListenOverflow);
    }
    listener.request_count += 1;
    let isn = isn.unwrap_or_else(|| io.isn());
    let mut request = Request::new(io, child, (listener_id, listener), segment, isn);
    request.send_syn_ack(io, Some(segment.packet));
    request.timers.arm(io, child, TimerKind::Retransmit, TIMEOUT_INIT);
    sockets.table.insert_request(request);
    Disposition::Taken
}

/// A segment of a handshake: an acceptable ACK creates a connection, which then processes the segment itself.
fn ack_arrived(
    sockets: &mut Sockets,
    io: &mut SocketIo<'_, '_>,
    id: SocketId,
    segment: &Segment<'_>,
) -> Disposition {
    let Some(Socket::Request(request)) = sockets.table.get_mut(id) else {
        unreachable!("the handshake exists");
    };
    let listener = request.listener;
    match request.check(io, segment) {
        Checked::Drop => Disposition::Drop(DropReason::TcpInvalid),
        Checked::Answered => Disposition::Taken,
        Checked::Listener => Disposition::Listener(listener),
        Checked::Abandon => {
            sockets.table.remove(id);
            Disposition::Drop(DropReason::TcpInvalid)
        }
        Checked::AbandonWithReset => {
            sockets.table.remove(id);
            Disposition::Reset(DropReason::TcpInvalid)
        }
        Checked::Accept => {
            let connection = Connection::accept(io, request, segment);
            sockets.table.remove(id);
            sockets.table.insert_connection(connection);
            Disposition::Child(id)
        }
    }
}

/// Processes a segment for a socket in TIME_WAIT (`tcp_v4_rcv`, label `do_time_wait`).
fn time_wait_segment_arrived(
    sockets: &mut Sockets,
    io: &mut SocketIo<'_, '_>,
    id: SocketId,
    segment: &Segment<'_>,
) -> Disposition {
    let listener = sockets.table.tcp_listener(segment.tuple.local);
    let Some(Socket::TimeWait(time_wait)) = sockets.table.get_mut(id) else {
        unreachable!("the socket is in TIME_WAIT");
    };
    let time_wait = Arc::make_mut(time_wait);
    match time_wait.process(io, segment) {
        AtTimeWait::Ignore => Disposition::Taken,
        AtTimeWait::Ack => {
            time_wait.send_ack(io, segment);
            Disposition::Taken
        }
        AtTimeWait::Reset => {
            sockets.table.remove(id);
            Disposition::Reset(DropReason::TcpInvalid)
        }
        AtTimeWait::Kill => {
            sockets.table.remove(id);
            Disposition::Taken
        }
        AtTimeWait::Syn(isn) => {
            let Some(listener) = listener else {
                time_wait.send_ack(io, segment);
                return Disposition::Taken;
            };
            sockets.table.remove(id);
            start_handshake(sockets, io, listener, segment, Some(isn))
        }
    }
}
