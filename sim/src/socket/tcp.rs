//! TCP that behaves as Linux on the wire.
//!
//! Heads up: read RFC 9293 §3.10 beside this. The names of fields and functions are those of `struct tcp_sock` and of
//! net/ipv4/tcp_{input,output,timer,minisocks,ipv4}.c, v6.12.

mod acks;
mod connection;
mod delack;
mod err;
mod input;
mod listen;
mod output;
mod receive;
mod rtt;
mod segment;
mod send;
mod seq;
mod syn_sent;
mod timers;
mod timewait;

pub(super) use connection::{Connection, State};
pub(super) use listen::{Listener, Request};
pub(super) use segment::{FourTuple, Segment};
pub(super) use timewait::TimeWait;

use super::table::Socket;
use super::{ClientSpec, ConnectError, Delivery, SocketIo, SocketOut, Sockets};
use crate::draws::Purpose;
use crate::drop_reason::DropReason;
use crate::fib::{OutputKey, Routing, route_output};
use crate::ids::{FlowId, PacketId, SocketId};
use crate::packet::Packet;
use crate::time::Instant;
use crate::wire::{TcpFlags, protocol};
use segment::{Options, Outgoing};
use seq::Seq;

/// Bytes of the timestamps option with its padding (`TCPOLEN_TSTAMP_ALIGNED`).
const TIMESTAMPS_LEN: u16 = 12;
/// Bytes of the IPv4 and TCP headers without options.
const HEADERS_LEN: u16 = 40;
/// The MTU of Ethernet, in bytes.
const ETHERNET_MTU: u16 = 1_500;

/// Opens a client socket and sends its SYN (`tcp_v4_connect`, net/ipv4/tcp_ipv4.c).
pub(super) fn connect(
    sockets: &mut Sockets,
    io: &mut SocketIo<'_, '_>,
    spec: ClientSpec,
) -> Result<SocketId, ConnectError> {
    let remote = (spec.dst, spec.dst_port);
    let (port, reused) = sockets.table.tcp_source_port(io, spec.src, spec.src_port, remote)?;
    let tuple = FourTuple { local: (spec.src, port), remote };
    let inherited = reused.and_then(|id| sockets.table.take_time_wait(id));
    let id = sockets.table.next_id();
    let mut connection = Connection::connect(io, id, tuple, spec, inherited.as_deref());
    connection.send_syn(io);
    sockets.table.insert_connection(connection);
    Ok(id)
}

/// Receives a segment (`tcp_v4_rcv`, net/ipv4/tcp_ipv4.c).
pub(super) fn receive(sockets: &mut Sockets, io: &mut SocketIo<'_, '_>, packet: &Packet) -> Delivery {
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
        Some(Socket::Listener(_)) => listen::syn_arrived(sockets, io, id, segment),
        Some(Socket::Request(_)) => listen::ack_arrived(sockets, io, id, segment),
        Some(Socket::TimeWait(_)) => timewait::segment_arrived(sockets, io, id, segment),
        Some(Socket::Udp(_) | Socket::Ping(_)) | None => unreachable!("the TCP table names TCP sockets"),
    };
    match verdict {
        Verdict::Taken => Delivery::Delivered(id),
        Verdict::Drop(reason) => Delivery::Dropped(reason),
        Verdict::Reset(reason) => {
            send_reset(io, segment);
            Delivery::Dropped(reason)
        }
        Verdict::Child(child) => deliver(sockets, io, child, segment),
        Verdict::Listener(listener) => deliver(sockets, io, listener, segment),
    }
}

/// What became of a segment at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The socket took it.
    Taken,
    /// Nothing more happens.
    Drop(DropReason),
    /// It is dropped and answered by a RST.
    Reset(DropReason),
    /// It completed a handshake; the new connection handles it.
    Child(SocketId),
    /// The listener handles it.
    Listener(SocketId),
}

/// Answers a segment by a RST, unless it is one (`tcp_v4_send_reset`; RFC 9293 §3.5.2).
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
        options: Options::default(),
        sack: &[],
        payload: &[],
    };
    io.send_segment(
        &reset,
        Sender { ident: 0, socket: None, flow: segment.flow, cause: Some(segment.packet) },
    );
}

/// On whose behalf a segment goes out.
#[derive(Clone, Copy, Debug)]
struct Sender {
    ident: u16,
    socket: Option<SocketId>,
    flow: Option<FlowId>,
    cause: Option<PacketId>,
}

impl SocketIo<'_, '_> {
    fn send_segment(&mut self, segment: &Outgoing<'_>, sender: Sender) {
        self.out.push(SocketOut::Send {
            src: segment.tuple.local.0,
            dst: segment.tuple.remote.0,
            protocol: protocol::TCP,
            l4: segment.emit(),
            dont_fragment: true,
            ident: Some(sender.ident),
            socket: sender.socket,
            flow: sender.flow,
            cause: sender.cause,
        });
    }

    /// Draws an initial sequence number.
    ///
    /// Deviation: `secure_tcp_seq` (net/core/secure_seq.c) hashes the tuple with a secret and adds a clock of 64 ns, so
    /// that the numbers of one tuple grow; here each is drawn. What depends on growth is a SYN that meets TIME_WAIT; there
    /// the timestamps, which do grow, decide first.
    fn isn(&mut self) -> Seq {
        Seq(self.cx.draws.u32(self.cx.netns, Purpose::Isn))
    }

    /// Draws the first IP identification of a connected socket (`inet_id`).
    pub(super) fn ident(&mut self) -> u16 {
        u16::try_from(self.cx.draws.below(self.cx.netns, Purpose::IpId, 1 << 16)).expect("below 2^16")
    }

    /// The MSS to announce, from the MTU of the route (`ipv4_default_advmss`, net/ipv4/route.c). On the way to an own address
    /// that is the MTU of the loopback, even if the packet is then translated and leaves by another device.
    fn advertised_mss(&self, tuple: FourTuple) -> u16 {
        self.path_mss(tuple).clamp(256, u16::MAX - HEADERS_LEN)
    }

    /// Data bytes of the largest segment that the route takes, options not reckoned with (`tcp_mtu_to_mss`,
    /// net/ipv4/tcp_output.c).
    fn path_mss(&self, FourTuple { local, remote }: FourTuple) -> u16 {
        let Routing { fib, devices, sysctls } = self.routing;
        let route = route_output(fib, devices, sysctls, &OutputKey::to(remote.0).from(local.0));
        // Without a route nothing is sent.
        let mtu = route.map_or(ETHERNET_MTU, |route| devices.get(route.device).mtu);
        mtu.saturating_sub(HEADERS_LEN)
    }
}

/// The clock of the timestamps option: milliseconds of virtual time, from 1.
///
/// Deviation: Linux adds a secret offset for each pair of addresses (`secure_tcp_ts_off`); here it is the same for all.
fn timestamp(now: Instant) -> u32 {
    // Wraps after 49 days, as the option does.
    #[expect(clippy::cast_possible_truncation, reason = "the clock wraps by design")]
    let millis = (now.as_nanos() / 1_000_000) as u32;
    millis.wrapping_add(1)
}

/// The first receive window and its scale, from the receive buffer, for segments of `mss` bytes.
///
/// Linux: `tcp_select_initial_window`, net/ipv4/tcp_output.c; half of the buffer is counted as payload
/// (`TCP_DEFAULT_SCALING_RATIO`).
///
/// Deviation: the scale also allows for the largest buffer that an application may ask for, `net.core.rmem_max` of the machine,
/// if that is larger still. By default it is not.
fn initial_window(io: &SocketIo<'_, '_>, mss: u16, has_window_scale: bool) -> (u32, u8) {
    let space = io.settings.tcp_rmem.default / 2;
    let mss = u32::from(mss);
    let window = if space > mss { space / mss * mss } else { space };
    if !has_window_scale {
        return (window.min(u32::from(u16::MAX)), 0);
    }
    let scale = io.settings.tcp_rmem.max.max(space).ilog2().saturating_sub(15).min(14);
    (window, u8::try_from(scale).expect("at most 14"))
}
