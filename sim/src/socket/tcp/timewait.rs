//! Remains of a closed connection: TIME_WAIT, and FIN_WAIT2 without an owner.
//!
//! Linux: `tcp_timewait_state_process`, `tcp_time_wait`, net/ipv4/tcp_minisocks.c.

use super::connection::{Connection, Inherited, WaitFor};
use super::segment::{FourTuple, Options, Outgoing, Segment};
use super::seq::Seq;
use super::{Sender, timestamp};
use crate::ids::{FlowId, SocketId, TimerKind};
use crate::packet::Owner;
use crate::socket::SocketIo;
use crate::socket::timer::Timers;
use crate::time::{Duration, Instant};
use crate::wire::{Ecn, TcpFlags};

/// A socket that only replies to late segments (`struct tcp_timewait_sock`).
#[derive(Clone, Debug)]
pub(in crate::socket) struct TimeWait {
    pub(in crate::socket) id: SocketId,
    pub(in crate::socket) tuple: FourTuple,
    pub(in crate::socket) timers: Timers,
    flow: Option<FlowId>,
    waits_for: WaitFor,
    rcv_nxt: Seq,
    snd_nxt: Seq,
    rcv_wnd: u32,
    rcv_wscale: u8,
    /// Last timestamp of the peer, and when it was received; `None` without timestamps.
    pub(in crate::socket) ts_recent: Option<(u32, Instant)>,
    last_oow_ack: Option<Instant>,
}

/// How to handle a segment (`enum tcp_tw_status`).
pub(super) enum AtTimeWait {
    /// `TCP_TW_SUCCESS`: nothing.
    Ignore,
    Ack,
    Reset,
    /// A new SYN: the connection may be reopened, with this sequence number.
    Syn(Seq),
    /// The socket is removed.
    Kill,
}

impl TimeWait {
    /// Replaces a connection (`tcp_time_wait`).
    pub(in crate::socket) fn new(
        io: &mut SocketIo<'_, '_>,
        connection: &Connection,
        waits_for: WaitFor,
    ) -> Self {
        let mut time_wait = Self {
            id: connection.id,
            tuple: connection.tuple,
            timers: connection.timers.clone(),
            flow: connection.flow,
            waits_for,
            rcv_nxt: connection.rcv.rcv_nxt,
            snd_nxt: connection.snd.snd_nxt,
            rcv_wnd: connection.rcv.window_left(),
            rcv_wscale: connection.rcv.rcv_wscale,
            ts_recent: connection.rcv.ts_recent.filter(|_| connection.has_timestamps),
            last_oow_ack: None,
        };
        time_wait.timers.cancel(TimerKind::Retransmit);
        time_wait.timers.cancel(TimerKind::DelayedAck);
        let rto = connection.rtt.rto;
        // FIN_WAIT2 lasts at least three and a half timeouts (`tcp_fin_time`).
        let length = match waits_for {
            WaitFor::Fin => io.settings.tcp_fin_timeout.max(rto * 7 / 2),
            WaitFor::Silence => Connection::time_wait(),
        };
        time_wait.timers.arm(io, connection.id, TimerKind::TimeWait, length);
        time_wait
    }

    /// True if the peer's FIN was received.
    pub(in crate::socket) const fn is_finished(&self) -> bool {
        matches!(self.waits_for, WaitFor::Silence)
    }

    /// The initial sequence number of a new connection with this tuple: beyond any that the old one may have used.
    fn next_isn(&self) -> Seq {
        self.snd_nxt + 65_535 + 2
    }

    /// State that a new connection with this tuple inherits.
    pub(super) fn inherited(&self) -> Inherited {
        Inherited { isn: self.next_isn(), ts_recent: self.ts_recent }
    }

    fn restart(&mut self, io: &mut SocketIo<'_, '_>) {
        self.timers.arm(io, self.id, TimerKind::TimeWait, Connection::time_wait());
    }

    pub(super) fn process(&mut self, io: &mut SocketIo<'_, '_>, segment: &Segment<'_>) -> AtTimeWait {
        let is_paws_rejected = match (segment.options.timestamps, self.ts_recent) {
            (Some((value, _)), Some((recent, _))) => {
                // Within a minute, even a RST with an old timestamp is rejected (`tcp_paws_reject`).
                recent.wrapping_sub(value).cast_signed() > 0
            }
            (None, _) | (_, None) => false,
        };
        match self.waits_for {
            WaitFor::Fin => self.process_fin_wait2(io, segment, is_paws_rejected),
            WaitFor::Silence => self.process_time_wait(io, segment, is_paws_rejected),
        }
    }

    fn process_fin_wait2(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        segment: &Segment<'_>,
        is_paws_rejected: bool,
    ) -> AtTimeWait {
        let (seq, end) = (segment.seq, segment.end_seq());
        if is_paws_rejected || !self.is_in_window(seq, end) {
            return self.ack_rate_limited(io.cx.now, segment);
        }
        if segment.has(TcpFlags::RST) {
            return AtTimeWait::Kill;
        }
        if segment.has(TcpFlags::SYN) && !seq.is_before(self.rcv_nxt) {
            return AtTimeWait::Reset;
        }
        if !segment.has(TcpFlags::ACK) || !end.is_after(self.rcv_nxt) || end == seq {
            return AtTimeWait::Ignore;
        }
        if !segment.has(TcpFlags::FIN) || end != self.rcv_nxt + 1 {
            // New data after close.
            return AtTimeWait::Reset;
        }
        self.waits_for = WaitFor::Silence;
        self.rcv_nxt = end;
        self.note_timestamp(io.cx.now, segment);
        self.restart(io);
        AtTimeWait::Ack
    }

    fn process_time_wait(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        segment: &Segment<'_>,
        is_paws_rejected: bool,
    ) -> AtTimeWait {
        let (seq, end) = (segment.seq, segment.end_seq());
        let (is_syn, is_rst) = (segment.has(TcpFlags::SYN), segment.has(TcpFlags::RST));
        if !is_paws_rejected && seq == self.rcv_nxt && (seq == end || is_rst) {
            // `tcp_rfc1337` is 0: a RST ends TIME_WAIT.
            if is_rst {
                return AtTimeWait::Kill;
            }
            self.restart(io);
            self.note_timestamp(io.cx.now, segment);
            return AtTimeWait::Ignore;
        }
        let has_newer_timestamp = matches!((segment.options.timestamps, self.ts_recent),
            (Some((value, _)), Some((recent, _))) if recent.wrapping_sub(value).cast_signed() < 0);
        if is_syn
            && !is_rst
            && !segment.has(TcpFlags::ACK)
            && !is_paws_rejected
            && (seq.is_after(self.rcv_nxt) || has_newer_timestamp)
        {
            return AtTimeWait::Syn(self.next_isn());
        }
        if is_rst {
            return AtTimeWait::Ignore;
        }
        if is_paws_rejected || segment.has(TcpFlags::ACK) {
            self.restart(io);
        }
        self.ack_rate_limited(io.cx.now, segment)
    }

    /// Linux: `tcp_in_window`.
    fn is_in_window(&self, seq: Seq, end: Seq) -> bool {
        let limit = self.rcv_nxt + self.rcv_wnd;
        seq == self.rcv_nxt
            || (end.is_after(self.rcv_nxt) && seq.is_before(limit))
            || (seq == limit && seq == end)
    }

    fn note_timestamp(&mut self, now: Instant, segment: &Segment<'_>) {
        if let Some((value, _)) = segment.options.timestamps.filter(|_| self.ts_recent.is_some()) {
            self.ts_recent = Some((value, now));
        }
    }

    /// Linux: `tcp_timewait_check_oow_rate_limit`; segments with data are not limited.
    fn ack_rate_limited(&mut self, now: Instant, segment: &Segment<'_>) -> AtTimeWait {
        let is_limited = segment.seq == segment.end_seq() || segment.has(TcpFlags::SYN);
        if is_limited && self.last_oow_ack.is_some_and(|last| now - last < Duration::from_millis(500)) {
            return AtTimeWait::Ignore;
        }
        if is_limited {
            self.last_oow_ack = Some(now);
        }
        AtTimeWait::Ack
    }

    /// Linux: `tcp_v4_timewait_ack`.
    pub(super) fn send_ack(&self, io: &mut SocketIo<'_, '_>, segment: &Segment<'_>) {
        let timestamps = self.ts_recent.map(|(recent, _)| (timestamp(io.cx.now), recent));
        let ack = Outgoing {
            tuple: self.tuple,
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: TcpFlags::ACK,
            window: u16::try_from(self.rcv_wnd >> self.rcv_wscale).unwrap_or(u16::MAX),
            ecn: Ecn::NotEct,
            options: Options { timestamps, ..Options::default() },
            sack: &[],
            payload: &[],
        };
        let flow = segment.flow.or(self.flow);
        let cause = Some(segment.packet);
        io.send_segment(
            &ack,
            Sender {
                ident: 0,
                socket: Some(self.id),
                owner: Owner::Kernel,
                route: None,
                flow,
                cause,
                confirms_neighbour: false,
            },
        );
    }
}
