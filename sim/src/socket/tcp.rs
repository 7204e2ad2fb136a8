//! TCP with Linux behaviour on the wire.
//!
//! Read this together with RFC 9293 §3.10. Fields and functions are named as in `struct tcp_sock` and
//! net/ipv4/tcp_{input,output,timer,minisocks,ipv4}.c, v6.12.

mod acks;
mod congestion;
mod connection;
mod delack;
mod ecn;
mod err;
mod input;
pub(super) mod ipv4;
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
pub(super) use segment::FourTuple;
pub(super) use timewait::TimeWait;

use super::dst_cache::DstCache;
use super::{SocketIo, SocketOut};
use crate::draws::Purpose;
use crate::drop_reason::DropReason;
use crate::ids::{FlowId, PacketId, SocketId};
use crate::packet::Owner;
use crate::route::RouteResult;
use crate::time::Instant;
use crate::wire::protocol;
use segment::Outgoing;
use seq::Seq;

/// Length of the padded timestamps option in bytes (`TCPOLEN_TSTAMP_ALIGNED`).
const TIMESTAMPS_LEN: u16 = 12;
/// `tcp_min_snd_mss`: the smallest segment that a peer or a path can impose, options included, in bytes
/// (`__tcp_mtu_to_mss`, net/ipv4/tcp_output.c).
const MIN_SND_MSS: u16 = 48;
/// Length of the IPv4 and TCP headers without options, in bytes.
const HEADERS_LEN: u16 = 40;
/// The MTU of Ethernet, in bytes.
const ETHERNET_MTU: u16 = 1_500;

/// The result of a segment at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disposition {
    /// Processed by the socket.
    Taken,
    /// Dropped.
    Drop(DropReason),
    /// Dropped, and answered with a RST.
    Reset(DropReason),
    /// Completed a handshake; the new connection processes it.
    Child(SocketId),
    /// The listener processes it.
    Listener(SocketId),
}

/// The origin of an outgoing segment.
#[derive(Clone, Copy, Debug)]
struct Sender {
    ident: u16,
    socket: Option<SocketId>,
    owner: Owner,
    route: Option<RouteResult>,
    flow: Option<FlowId>,
    cause: Option<PacketId>,
    confirms_neighbour: bool,
}

impl SocketIo<'_, '_> {
    fn send_segment(&mut self, segment: &Outgoing<'_>, sender: Sender) {
        let mut buffer = self.cx.buffer(segment.len_max());
        segment.emit(&mut buffer);
        self.out.push(SocketOut::Send {
            src: segment.tuple.local.0,
            dst: segment.tuple.remote.0,
            route: sender.route,
            protocol: protocol::TCP,
            buffer,
            dont_fragment: true,
            tos: segment.ecn.tos(),
            ident: Some(sender.ident),
            socket: sender.socket,
            owner: sender.owner,
            flow: sender.flow,
            cause: sender.cause,
            confirms_neighbour: sender.confirms_neighbour,
        });
    }

    /// Draws an initial sequence number.
    ///
    /// Deviation: `secure_tcp_seq` (net/core/secure_seq.c) hashes the tuple with a secret and adds a 64 ns clock, so
    /// that the numbers of one tuple increase; here each is drawn. Increasing numbers matter only for a SYN in
    /// TIME_WAIT, where timestamps, which do increase, are checked first.
    fn isn(&mut self) -> Seq {
        Seq(self.cx.draws.u32(self.cx.netns, Purpose::Isn))
    }

    /// Draws the initial IP ID of a connected socket (`inet_id`).
    pub(super) fn ident(&mut self) -> u16 {
        u16::try_from(self.cx.draws.below(self.cx.netns, Purpose::IpId, 1 << 16)).expect("below 2^16")
    }

    /// The MSS to announce, from the MTU of the route (`ipv4_default_advmss`, net/ipv4/route.c). For a local address
    /// this is the loopback MTU, even if the packet is then translated and leaves through another device.
    fn advertised_mss(&self, dst: &mut DstCache, tuple: FourTuple) -> u16 {
        self.path_mtu(dst, tuple).saturating_sub(HEADERS_LEN).clamp(256, u16::MAX - HEADERS_LEN)
    }

    /// The MTU of the route (`dst_mtu`), in bytes.
    fn path_mtu(&self, dst: &mut DstCache, tuple: FourTuple) -> u16 {
        let route = dst.check(self.routing, tuple.local, tuple.remote);
        // Without a route nothing is sent.
        route.map_or(ETHERNET_MTU, |route| route.mtu(self.routing.devices.get(route.device).mtu))
    }
}

/// The clock of the timestamps option: milliseconds of virtual time, from 1.
///
/// Deviation: Linux adds a secret offset per pair of addresses (`secure_tcp_ts_off`); here it is the same for all.
fn timestamp(now: Instant) -> u32 {
    // Wraps after 49 days, as the option does.
    #[expect(clippy::cast_possible_truncation, reason = "the clock wraps by design")]
    let millis = (now.as_nanos() / 1_000_000) as u32;
    millis.wrapping_add(1)
}

/// The initial receive window and its scale, from a receive buffer of `rcvbuf` bytes, for segments of `mss` bytes. The scale
/// also allows for the largest buffer that the socket may grow to, or an application may request.
///
/// Linux: `tcp_select_initial_window`, net/ipv4/tcp_output.c; half of the buffer counts as payload
/// (`TCP_DEFAULT_SCALING_RATIO`).
fn initial_window(io: &SocketIo<'_, '_>, rcvbuf: u32, mss: u16, has_window_scale: bool) -> (u32, u8) {
    let space = rcvbuf / 2;
    let mss = u32::from(mss);
    let window = if space > mss { space / mss * mss } else { space };
    if !has_window_scale {
        return (window.min(u32::from(u16::MAX)), 0);
    }
    let scale =
        io.settings.tcp_rmem.max.max(io.settings.rmem_max).max(space).ilog2().saturating_sub(15).min(14);
    (window, u8::try_from(scale).expect("at most 14"))
}
