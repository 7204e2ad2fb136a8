//! Sending segments.
//!
//! Linux: net/ipv4/tcp_output.c.

use super::connection::{Connection, State, WriteTimer};
use super::rtt::RTO_MIN;
use super::segment::{Options, Outgoing, SackBlocks};
use super::send::{InFlight, Nagle};
use super::seq::Seq;
use super::{HEADERS_LEN, MIN_SND_MSS, Sender, TIMESTAMPS_LEN, timestamp};
use crate::ids::TimerKind;
use crate::packet::Owner;
use crate::release::Change;
use crate::socket::SocketIo;
use crate::time::Duration;
use crate::wire::{Ecn, TcpFlags};

impl Connection {
    /// Sends the SYN (`tcp_connect`).
    pub(super) fn send_syn(&mut self, io: &mut SocketIo<'_, '_>) {
        let (seq, end) = (self.snd.snd_una, self.snd.snd_una + 1);
        self.snd.snd_nxt = end;
        self.snd.in_flight.push_back(InFlight {
            seq,
            end,
            sent: io.cx.now,
            is_retransmitted: false,
            is_lost: false,
            is_resent: false,
            is_pushed: false,
        });
        self.retrans_stamp = Some(io.cx.now);
        self.transmit_syn(io);
        self.arm_write_timer(io, WriteTimer::Retransmit, self.rtt.rto);
    }

    /// Sends a SYN, or a SYN|ACK in a simultaneous open (`tcp_send_synack`).
    pub(super) fn transmit_syn(&mut self, io: &mut SocketIo<'_, '_>) {
        let is_answer = self.state == State::SynReceived;
        let flags = if is_answer { TcpFlags::SYN.union(TcpFlags::ACK) } else { TcpFlags::SYN };
        let echo = self.rcv.ts_recent.map_or(0, |(value, _)| value);
        let options = Options {
            mss: Some(self.advmss),
            window_scale: (!is_answer || self.rcv.rcv_wscale > 0).then_some(self.rcv.rcv_wscale),
            is_sack_permitted: self.has_sack,
            timestamps: self.has_timestamps.then(|| (timestamp(io.cx.now), echo)),
        };
        // The window of a SYN is not scaled (RFC 7323 §2.2).
        let window = u16::try_from(self.rcv.rcv_wnd).unwrap_or(u16::MAX);
        let segment = Outgoing {
            tuple: self.tuple,
            seq: self.snd.snd_una,
            ack: self.rcv.rcv_nxt,
            flags,
            window,
            ecn: Ecn::NotEct,
            options,
            sack: &[],
            payload: &[],
        };
        let sender = self.sender(io);
        io.send_segment(&segment, sender);
    }

    /// Sends as much as the windows and Nagle permit (`__tcp_push_pending_frames`, `tcp_write_xmit`).
    pub(super) fn push(&mut self, io: &mut SocketIo<'_, '_>) {
        if !self.snd.has_unsent() {
            return;
        }
        self.sync_mss(io);
        let mss = self.mss();
        let mut count = 0;
        let mut in_flight = self.snd.packets_in_flight();
        let fin_waits = io.settings.release.has(Change::FinWaitsForWindow);
        while let Some((seq, end)) = self.snd.next_segment(mss, Nagle::On)
            && (self.congestion.has_room(in_flight) || (!fin_waits && self.snd.covers_fin(end)))
        {
            in_flight += 1;
            count += 1;
            self.note_small_segment(seq, end, mss);
            let is_pushed = self.snd.is_end_of_write(seq, end);
            self.send_new(io, seq, end, is_pushed);
        }
        let snd = &self.snd;
        self.congestion.note_usage(snd.snd_una, snd.snd_nxt, snd.packets_out(), in_flight, count);
        if count > 0 {
            self.schedule_loss_probe(io, false);
        } else if self.snd.has_unsent() && self.snd.in_flight.is_empty() {
            self.arm_window_probe(io);
        }
    }

    /// Linux: `tcp_minshall_update`.
    pub(super) fn note_small_segment(&mut self, seq: Seq, end: Seq, mss: u32) {
        if end - seq < mss {
            self.snd.snd_sml = end;
        }
    }

    /// Sends a range for the first time (`tcp_event_new_data_sent`).
    pub(super) fn send_new(&mut self, io: &mut SocketIo<'_, '_>, seq: Seq, end: Seq, is_pushed: bool) {
        let was_idle = self.snd.in_flight.is_empty();
        self.snd.in_flight.push_back(InFlight {
            seq,
            end,
            sent: io.cx.now,
            is_retransmitted: false,
            is_lost: false,
            is_resent: false,
            is_pushed,
        });
        self.transmit_range(io, seq, end, is_pushed);
        self.snd.snd_nxt = end;
        if was_idle || self.write_timer == WriteTimer::LossProbe {
            self.rearm_rto(io);
        }
    }

    fn transmit_range(&mut self, io: &mut SocketIo<'_, '_>, seq: Seq, end: Seq, is_pushed: bool) {
        let mut flags = TcpFlags::ACK;
        if self.snd.covers_fin(end) {
            flags = flags.union(TcpFlags::FIN);
        }
        if is_pushed {
            flags = flags.union(TcpFlags::PSH);
        }
        self.transmit(io, seq, Some(end), flags);
    }

    /// Retransmits the segment of the flight with that index (`__tcp_retransmit_skb`). False if it is beyond the peer's window.
    pub(super) fn retransmit(&mut self, io: &mut SocketIo<'_, '_>, index: usize) -> bool {
        if !matches!(self.state, State::SynSent | State::SynReceived) {
            self.sync_mss(io);
            let (mss, may_collapse) = (self.mss(), io.settings.tcp_retrans_collapse);
            if !self.snd.prepare_retransmission(index, mss, may_collapse) {
                return false;
            }
        }
        let sent = &mut self.snd.in_flight[index];
        sent.sent = io.cx.now;
        sent.is_retransmitted = true;
        sent.is_resent = true;
        let (seq, end, is_pushed) = (sent.seq, sent.end, sent.is_pushed);
        match self.state {
            State::SynSent | State::SynReceived => self.transmit_syn(io),
            State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck => self.transmit_range(io, seq, end, is_pushed),
            State::TimeWait(_) | State::Closed => {}
        }
        true
    }

    /// Sends an ACK without data (`tcp_send_ack`).
    pub(super) fn send_ack(&mut self, io: &mut SocketIo<'_, '_>) {
        if self.state == State::Closed {
            return;
        }
        self.transmit(io, self.snd.snd_nxt, None, TcpFlags::ACK);
    }

    /// Aborts the connection for the peer (`tcp_send_active_reset`).
    pub(super) fn send_active_reset(&mut self, io: &mut SocketIo<'_, '_>) {
        self.transmit(io, self.snd.snd_nxt, None, TcpFlags::RST.union(TcpFlags::ACK));
    }

    /// Sends an ACK that provokes a reply: its sequence number is already acknowledged (`tcp_xmit_probe_skb`).
    pub(super) fn send_window_probe(&mut self, io: &mut SocketIo<'_, '_>) {
        let before = Seq(self.snd.snd_una.0.wrapping_sub(1));
        self.transmit(io, before, None, TcpFlags::ACK);
    }

    /// Builds and sends a segment with ACK (`__tcp_transmit_skb`).
    fn transmit(&mut self, io: &mut SocketIo<'_, '_>, seq: Seq, end: Option<Seq>, flags: TcpFlags) {
        let window = self.rcv.select_window(self.rcv_mss());
        let echo = self.rcv.ts_recent.map_or(0, |(value, _)| value);
        let timestamps = self.has_timestamps.then(|| (timestamp(io.cx.now), echo));
        let sack =
            if self.has_sack { self.rcv.sack_blocks(self.most_sack_blocks()) } else { SackBlocks::new() };
        let sender = self.sender(io);
        let snd_nxt = self.snd.snd_nxt;
        let payload = match end {
            Some(end) => self.snd.payload(seq, end),
            None => &[],
        };
        let has_payload = !payload.is_empty();
        let is_new_data = has_payload && !seq.is_before(snd_nxt);
        let (ecn_flags, ecn) = self.ecn.mark(is_new_data);
        let segment = Outgoing {
            tuple: self.tuple,
            seq,
            ack: self.rcv.rcv_nxt,
            flags: flags.union(ecn_flags),
            window,
            ecn,
            options: Options { timestamps, ..Options::default() },
            sack: &sack,
            payload,
        };
        io.send_segment(&segment, sender);
        self.ack.ack_sent();
        self.timers.cancel(TimerKind::DelayedAck);
        if has_payload {
            self.ack.data_sent(io.cx.now);
        }
    }

    /// The peer has responded, so the next hop towards it is reachable. The next segment says so (`sk_dst_confirm`,
    /// include/net/sock.h; `__tcp_transmit_skb`, net/ipv4/tcp_output.c).
    pub(super) const fn confirm_neighbour(&mut self) {
        self.confirms_neighbour = true;
    }

    /// The origin of the next segment; consumes an IP ID.
    pub(super) fn sender(&mut self, io: &SocketIo<'_, '_>) -> Sender {
        let ident = self.ident;
        self.ident = self.ident.wrapping_add(1);
        let route = self.dst.check(io.routing, self.tuple.local, self.tuple.remote);
        let confirms_neighbour = std::mem::take(&mut self.confirms_neighbour);
        let (socket, flow, cause) = (Some(self.id), self.flow, self.cause);
        // Linux: sock_orphan, include/net/sock.h: nobody owns what is sent after close(2).
        let owner = if self.is_orphan() { Owner::None } else { Owner::Process };
        Sender { ident, socket, owner, route, flow, cause, confirms_neighbour }
    }

    /// Number of SACK blocks that fit beside the other options (`tcp_established_options`).
    const fn most_sack_blocks(&self) -> usize {
        if self.has_timestamps { 3 } else { 4 }
    }

    /// Payload bytes of the next segment (`tcp_current_mss`). The SACK blocks that it reports leave less.
    pub(super) fn mss(&self) -> u32 {
        let blocks = if self.has_sack { self.rcv.sack_count().min(self.most_sack_blocks()) } else { 0 };
        match blocks {
            0 => self.mss_without_sack(),
            // At least 8 bytes remain: 36 and four bytes of options from `MIN_SND_MSS`, or 28 and 12.
            blocks => self.mss_without_sack() - 4 - 8 * u32::try_from(blocks).expect("at most 4"),
        }
    }

    /// Notes the current MTU of the path (`tcp_current_mss`, `tcp_sync_mss`).
    pub(super) fn sync_mss(&mut self, io: &SocketIo<'_, '_>) {
        self.pmtu = io.path_mtu(&mut self.dst, self.tuple);
    }

    /// Linux: `mss_cache`, `tcp_sync_mss`.
    fn mss_without_sack(&self) -> u32 {
        let options = if self.has_timestamps { TIMESTAMPS_LEN } else { 0 };
        // At least two segments must fit into the peer's window (`tcp_bound_to_half_wnd`).
        let window = self.snd.max_window;
        let half = if window > 536 { window / 2 } else { window };
        let smallest = u32::from(MIN_SND_MSS - options);
        let largest = self.snd.mss.min(self.pmtu.saturating_sub(HEADERS_LEN)).max(MIN_SND_MSS);
        let mss = u32::from(largest - options);
        if half > 0 { mss.min(half.max(smallest)) } else { mss }
    }

    pub(super) fn arm_write_timer(&mut self, io: &mut SocketIo<'_, '_>, what: WriteTimer, after: Duration) {
        self.write_timer = what;
        self.timers.arm(io, self.id, TimerKind::Retransmit, after);
    }

    /// Sets the retransmission timer for the oldest segment in flight, or clears it (`tcp_rearm_rto`).
    pub(super) fn rearm_rto(&mut self, io: &mut SocketIo<'_, '_>) {
        let Some(head) = self.snd.in_flight.front() else {
            self.timers.cancel(TimerKind::Retransmit);
            return;
        };
        let after = if self.write_timer == WriteTimer::LossProbe {
            // Counts from when the segment was sent, not from when the probe replaced the timer, or found that another
            // probe is pending.
            ((head.sent + self.rtt.rto) - io.cx.now).max(Duration::from_micros(1))
        } else {
            self.rtt.rto
        };
        self.arm_write_timer(io, WriteTimer::Retransmit, after);
    }

    /// Replaces the retransmission timer by one for a loss probe, if the tail of a flight may be lost without later
    /// segments that would reveal it (`tcp_schedule_loss_probe`; RFC 8985 §7). False if no probe is due.
    pub(super) fn schedule_loss_probe(&mut self, io: &mut SocketIo<'_, '_>, is_advancing: bool) -> bool {
        let Some(head) = self.snd.in_flight.front() else { return false };
        if !self.has_sack || self.congestion.is_in_loss() {
            return false;
        }
        let wait = match self.rtt.smoothed() {
            // A single segment may be waiting for a delayed ACK; for several, two ticks are allowed.
            Some(srtt) if self.snd.in_flight.len() == 1 => srtt * 2 + RTO_MIN,
            Some(srtt) => srtt * 2 + Duration::from_millis(2),
            None => super::rtt::TIMEOUT_INIT,
        };
        let until_rto = if is_advancing { self.rtt.rto } else { (head.sent + self.rtt.rto) - io.cx.now };
        let wait = if until_rto.is_zero() { wait } else { wait.min(until_rto) };
        self.arm_write_timer(io, WriteTimer::LossProbe, wait);
        true
    }

    /// Linux: `tcp_check_probe_timer`.
    pub(super) fn arm_window_probe(&mut self, io: &mut SocketIo<'_, '_>) {
        if self.timers.at(TimerKind::Retransmit).is_none() {
            self.arm_write_timer(io, WriteTimer::WindowProbe, self.rtt.rto.max(RTO_MIN));
        }
    }
}
