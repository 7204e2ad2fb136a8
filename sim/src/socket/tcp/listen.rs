//! Listeners and their handshakes.
//!
//! Linux: `tcp_conn_request`, net/ipv4/tcp_input.c; `tcp_check_req`, net/ipv4/tcp_minisocks.c;
//! `reqsk_timer_handler`, net/ipv4/inet_connection_sock.c.

use super::ecn::EcnState;
use super::rtt::TIMEOUT_INIT;
use super::segment::{FourTuple, Options, Outgoing, Segment};
use super::seq::Seq;
use super::{Sender, TIMESTAMPS_LEN, initial_window, timestamp};
use crate::ids::{FlowId, PacketId, SocketId, TimerKind};
use crate::packet::Owner;
use crate::socket::dst_cache::DstCache;
use crate::socket::timer::Timers;
use crate::socket::{Server, SocketIo};
use crate::time::{Duration, Instant};
use crate::wire::{Ecn, TcpFlags};
use std::net::IpAddr;

/// A socket in LISTEN. Its application accepts immediately, so the accept queue is always empty.
#[derive(Clone, Debug)]
pub(in crate::socket) struct Listener {
    /// `None` means all addresses.
    pub(in crate::socket) addr: Option<IpAddr>,
    pub(in crate::socket) port: u16,
    pub(in crate::socket) server: Server,
    /// The receive buffer of its connections, in bytes: the default at the time when the socket was created (`sk_rcvbuf`,
    /// `tcp_init_sock`).
    pub(in crate::socket) rcvbuf: u32,
    /// Number of unfinished handshakes (`qlen`).
    pub(in crate::socket) request_count: u32,
}

/// A handshake answered by a listener (`struct tcp_request_sock`, state NEW_SYN_RECV).
#[derive(Clone, Debug)]
pub(in crate::socket) struct Request {
    /// Becomes the connection's id.
    pub(in crate::socket) id: SocketId,
    pub(in crate::socket) listener: SocketId,
    pub(in crate::socket) tuple: FourTuple,
    /// The route of its replies, which the connection inherits.
    pub(super) dst: DstCache,
    pub(in crate::socket) timers: Timers,
    pub(super) flow: Option<FlowId>,
    pub(super) server: Server,
    /// The receive buffer of the listener, in bytes.
    pub(super) rcvbuf: u32,
    /// Our sequence number (`snt_isn`) and the peer's (`rcv_isn`).
    pub(in crate::socket) isn: Seq,
    pub(super) peer_isn: Seq,
    pub(super) mss: u16,
    pub(super) advmss: u16,
    pub(super) has_sack: bool,
    pub(super) has_ecn: bool,
    pub(super) has_window_scale: bool,
    pub(super) snd_wscale: u8,
    pub(super) rcv_wscale: u8,
    pub(super) rcv_wnd: u32,
    /// `None` if the peer does not use timestamps.
    pub(super) ts_recent: Option<(u32, Instant)>,
    /// Time of the first SYN|ACK.
    pub(super) started: Instant,
    /// Number of SYN|ACK retransmissions (`num_retrans`).
    pub(super) retransmits: u32,
    /// Number of timer expirations (`num_timeout`).
    timeouts: u32,
    last_oow_ack: Option<Instant>,
}

/// The result of `tcp_check_req`.
pub(super) enum Checked {
    Drop,
    /// A retransmitted SYN, or a segment outside the window: it was answered.
    Answered,
    /// The listener processes it and replies with a RST.
    Listener,
    /// The peer has aborted the handshake.
    Abandon,
    /// The handshake is aborted, and the peer is informed.
    AbandonWithReset,
    Accept,
}

impl Request {
    pub(super) fn new(
        io: &SocketIo<'_, '_>,
        id: SocketId,
        listener: (SocketId, &Listener),
        segment: &Segment<'_>,
        isn: Seq,
    ) -> Self {
        let (listener, Listener { server, rcvbuf, .. }) = listener;
        let options = segment.options;
        let mut dst = DstCache::default();
        let advmss = io.advertised_mss(&mut dst, segment.tuple);
        let mss_of_data = if options.timestamps.is_some() { advmss - TIMESTAMPS_LEN } else { advmss };
        let (rcv_wnd, rcv_wscale) = initial_window(io, *rcvbuf, mss_of_data, options.window_scale.is_some());
        Self {
            id,
            listener,
            tuple: segment.tuple,
            dst,
            timers: Timers::default(),
            flow: segment.flow,
            server: server.clone(),
            rcvbuf: *rcvbuf,
            isn,
            peer_isn: segment.seq,
            mss: options.mss.unwrap_or(536),
            advmss,
            has_sack: options.is_sack_permitted,
            has_ecn: EcnState::is_offered(segment),
            has_window_scale: options.window_scale.is_some(),
            snd_wscale: options.window_scale.unwrap_or(0),
            rcv_wscale,
            rcv_wnd,
            ts_recent: options.timestamps.map(|(value, _)| (value, io.cx.now)),
            started: io.cx.now,
            retransmits: 0,
            timeouts: 0,
            last_oow_ack: None,
        }
    }

    /// Linux: `tcp_check_req`.
    pub(super) fn check(&mut self, io: &mut SocketIo<'_, '_>, segment: &Segment<'_>) -> Checked {
        const CONTROLS: TcpFlags = TcpFlags(0x16);
        let is_paws_rejected = match (segment.options.timestamps, self.ts_recent) {
            (Some((value, _)), Some((recent, _))) => recent.wrapping_sub(value).cast_signed() > 1,
            (None, _) | (_, None) => false,
        };
        let controls = TcpFlags(segment.flags.0 & CONTROLS.0);
        if segment.seq == self.peer_isn && controls == TcpFlags::SYN && !is_paws_rejected {
            // The client retransmitted its SYN. Replying also restarts the timer.
            if self.is_rate_limited(io.cx.now) {
                return Checked::Drop;
            }
            self.retransmits += 1;
            self.send_syn_ack(io, Some(segment.packet));
            self.timers.arm(io, self.id, TimerKind::Retransmit, self.timeout());
            return Checked::Answered;
        }
        if segment.has(TcpFlags::RST) {
            return match !is_paws_rejected && self.is_in_window(segment) {
                true => self.check_reset(io, segment),
                false => Checked::Drop,
            };
        }
        if segment.has(TcpFlags::ACK) && segment.ack != self.isn + 1 {
            return Checked::Listener;
        }
        if is_paws_rejected || !self.is_in_window(segment) {
            // Linux: tcp_oow_rate_limited. Only what occupies no sequence number, and a SYN, may be part of an ACK loop.
            let may_loop = segment.seq == segment.end_seq() || segment.has(TcpFlags::SYN);
            if may_loop && self.is_rate_limited(io.cx.now) {
                return Checked::Drop;
            }
            self.send_ack(io, segment);
            return Checked::Answered;
        }
        if let Some((value, _)) = segment.options.timestamps.filter(|_| self.ts_recent.is_some())
            && !segment.seq.is_after(self.peer_isn + 1)
        {
            self.ts_recent = Some((value, io.cx.now));
        }
        let is_old_syn = segment.has(TcpFlags::SYN) && segment.seq == self.peer_isn;
        if segment.has(TcpFlags::SYN) && !is_old_syn {
            return Checked::AbandonWithReset;
        }
        if segment.has(TcpFlags::ACK) { Checked::Accept } else { Checked::Drop }
    }

    /// A RST in the window aborts the handshake if it is the next segment; otherwise it is challenged (RFC 5961 §3.2). Kernels
    /// of earlier patch levels accept any in the window.
    fn check_reset(&mut self, io: &mut SocketIo<'_, '_>, segment: &Segment<'_>) -> Checked {
        if segment.seq == self.peer_isn + 1 {
            return Checked::Abandon;
        }
        if self.is_rate_limited(io.cx.now) {
            return Checked::Drop;
        }
        self.send_ack(io, segment);
        Checked::Answered
    }

    /// Linux: `tcp_in_window`.
    fn is_in_window(&self, segment: &Segment<'_>) -> bool {
        let (seq, end) = (segment.seq, segment.end_seq());
        let start = self.peer_isn + 1;
        let limit = start + self.rcv_wnd;
        seq == start || (end.is_after(start) && seq.is_before(limit)) || (seq == limit && seq == end)
    }

    fn is_rate_limited(&mut self, now: Instant) -> bool {
        if self.last_oow_ack.is_some_and(|last| now - last < Duration::from_millis(500)) {
            return true;
        }
        self.last_oow_ack = Some(now);
        false
    }

    /// Sends the SYN|ACK (`tcp_make_synack`).
    pub(super) fn send_syn_ack(&mut self, io: &mut SocketIo<'_, '_>, cause: Option<PacketId>) {
        let flags = TcpFlags::SYN.union(TcpFlags::ACK);
        let segment = Outgoing {
            tuple: self.tuple,
            seq: self.isn,
            ack: self.peer_isn + 1,
            // Linux: tcp_ecn_make_synack.
            flags: if self.has_ecn { flags.union(TcpFlags::ECE) } else { flags },
            window: u16::try_from(self.rcv_wnd).unwrap_or(u16::MAX),
            ecn: Ecn::NotEct,
            options: Options {
                mss: Some(self.advmss),
                window_scale: self.has_window_scale.then_some(self.rcv_wscale),
                is_sack_permitted: self.has_sack,
                timestamps: self.timestamps(io),
            },
            sack: &[],
            payload: &[],
        };
        let sender = self.sender(io, cause);
        io.send_segment(&segment, sender);
    }

    /// Replies to a segment outside the window (`tcp_v4_reqsk_send_ack`).
    fn send_ack(&mut self, io: &mut SocketIo<'_, '_>, segment: &Segment<'_>) {
        let ack = Outgoing {
            tuple: self.tuple,
            seq: self.isn + 1,
            ack: self.peer_isn + 1,
            flags: TcpFlags::ACK,
            window: u16::try_from(self.rcv_wnd >> self.rcv_wscale).unwrap_or(u16::MAX),
            ecn: Ecn::NotEct,
            options: Options { timestamps: self.timestamps(io), ..Options::default() },
            sack: &[],
            payload: &[],
        };
        let sender = self.sender(io, Some(segment.packet));
        io.send_segment(&ack, sender);
    }

    fn timestamps(&self, io: &SocketIo<'_, '_>) -> Option<(u32, u32)> {
        self.ts_recent.map(|(recent, _)| (timestamp(io.cx.now), recent))
    }

    /// A handshake has no counter of its own; its packets have IP ID 0 (`ip_build_and_send_pkt`).
    fn sender(&mut self, io: &SocketIo<'_, '_>, cause: Option<PacketId>) -> Sender {
        let route = self.dst.check(io.routing, self.tuple.local, self.tuple.remote);
        Sender {
            ident: 0,
            socket: Some(self.id),
            // That of the listener (`skb_to_full_sk`, include/net/inet_sock.h).
            owner: Owner::Process,
            route,
            flow: self.flow,
            cause,
            confirms_neighbour: false,
        }
    }

    /// The retransmission interval of the SYN|ACK (`reqsk_timeout`).
    fn timeout(&self) -> Duration {
        (TIMEOUT_INIT * (1 << self.timeouts.min(7))).min(super::rtt::RTO_MAX)
    }

    /// The timer expired: retransmits the SYN|ACK. False if the limit is reached, and the handshake is aborted.
    pub(in crate::socket) fn timer_expired(&mut self, io: &mut SocketIo<'_, '_>) -> bool {
        if self.timeouts >= u32::from(io.settings.tcp_synack_retries) {
            return false;
        }
        self.timeouts += 1;
        self.retransmits += 1;
        self.send_syn_ack(io, None);
        self.timers.arm(io, self.id, TimerKind::Retransmit, self.timeout());
        true
    }
}
