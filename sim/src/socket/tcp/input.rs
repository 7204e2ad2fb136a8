//! Received segments of a connection.
//!
//! Linux: `tcp_rcv_state_process`, `tcp_validate_incoming`, `tcp_ack`, `tcp_data_queue`, `tcp_fin`,
//! net/ipv4/tcp_input.c. The fast path of `tcp_rcv_established` has the same results and is omitted.

use super::Disposition;
use super::connection::{Connection, State, WaitFor};
use super::receive::Text;
use super::segment::Segment;
use super::seq::Seq;
use crate::drop_reason::DropReason;
use crate::ids::TimerKind;
use crate::socket::SocketIo;
use crate::socket::flow::Flows;
use crate::time::{Duration, Instant};
use crate::trace::Outcome;
use crate::wire::TcpFlags;

/// `tcp_invalid_ratelimit`: minimum interval of ACKs in reply to unacceptable segments.
const INVALID_RATELIMIT: Duration = Duration::from_millis(500);

impl Connection {
    /// Processes a segment with a valid checksum.
    pub(super) fn segment_arrived(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        flows: &mut Flows,
        segment: &Segment<'_>,
    ) -> Disposition {
        self.cause = Some(segment.packet);
        if segment.flow.is_some() {
            self.flow = segment.flow;
        }
        let verdict = match self.state {
            State::SynSent => self.rcv_synsent_state_process(io, flows, segment),
            State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck => self.rcv_state_process(io, flows, segment),
            State::TimeWait(_) | State::Closed => unreachable!("the table has replaced or removed it"),
        };
        self.cause = None;
        verdict
    }

    fn rcv_state_process(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        flows: &mut Flows,
        segment: &Segment<'_>,
    ) -> Disposition {
        if !segment.flags.intersects(TcpFlags::ACK.union(TcpFlags::RST).union(TcpFlags::SYN)) {
            return Disposition::Drop(DropReason::TcpInvalid);
        }
        if let Err(verdict) = self.validate_incoming(io, flows, segment) {
            return verdict;
        }
        if let Err(verdict) = self.process_ack(io, segment) {
            return verdict;
        }
        let was_handshake = self.state == State::SynReceived;
        if let Some(verdict) = self.advance_state(segment) {
            return verdict;
        }
        let verdict = self.process_text(io, segment);
        if self.state != State::Closed && !matches!(self.state, State::TimeWait(_)) {
            self.push(io);
            self.ack_if_due(io);
        }
        if was_handshake {
            self.wake_connected(io, flows);
        }
        self.wake_app(io, flows);
        verdict
    }

    /// The checks for every segment of a synchronized connection (`tcp_validate_incoming`; RFC 9293 §3.10.7.4, RFC
    /// 5961, RFC 7323 §5).
    fn validate_incoming(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        flows: &mut Flows,
        segment: &Segment<'_>,
    ) -> Result<(), Disposition> {
        let (seq, end) = (segment.seq, segment.end_seq());
        let (is_rst, is_syn) = (segment.has(TcpFlags::RST), segment.has(TcpFlags::SYN));
        let rejected = Err(Disposition::Drop(DropReason::TcpInvalid));
        // A RST is accepted even if its timestamp is old.
        if !is_rst && self.is_paws_rejected(segment) {
            self.answer_unacceptable(io, segment);
            return rejected;
        }
        if !self.rcv.is_acceptable(seq, end) {
            if !is_rst {
                self.answer_unacceptable(io, segment);
            } else if self.is_rst_behind_fin(seq) {
                self.reset_received(io, flows);
                return Err(Disposition::Taken);
            }
            return rejected;
        }
        if is_rst {
            if seq == self.rcv.rcv_nxt || self.is_rst_beyond_gap(seq) || self.is_rst_behind_fin(seq) {
                self.reset_received(io, flows);
                return Err(Disposition::Taken);
            }
            self.send_challenge_ack(io);
            return rejected;
        }
        if is_syn && !self.is_own_syn_ack(segment) {
            self.send_challenge_ack(io);
            return rejected;
        }
        Ok(())
    }

    /// The peer's SYN|ACK in a simultaneous open.
    fn is_own_syn_ack(&self, segment: &Segment<'_>) -> bool {
        self.state == State::SynReceived
            && segment.has(TcpFlags::ACK)
            && segment.seq + 1 == segment.end_seq()
            && segment.end_seq() == self.rcv.rcv_nxt
            && segment.ack == self.snd.snd_nxt
    }

    /// A RST at the end of the peer's data, of which some was lost.
    fn is_rst_beyond_gap(&self, seq: Seq) -> bool {
        self.has_sack && self.rcv.highest_sack() == Some(seq)
    }

    /// A RST whose sender did not count its own FIN (`tcp_reset_check`).
    fn is_rst_behind_fin(&self, seq: Seq) -> bool {
        seq + 1 == self.rcv.rcv_nxt
            && matches!(self.state, State::CloseWait | State::LastAck | State::Closing)
    }

    /// True if the timestamp is older than the last one (`tcp_paws_discard`, `tcp_disordered_ack`).
    pub(super) fn is_paws_rejected(&self, segment: &Segment<'_>) -> bool {
        let (Some((value, _)), Some((recent, _)), true) =
            (segment.options.timestamps, self.rcv.ts_recent, self.has_timestamps)
        else {
            return false;
        };
        let age = recent.wrapping_sub(value).cast_signed();
        if age <= 1 {
            return false;
        }
        // An ACK without data that was overtaken by an equal one is harmless.
        let is_disordered_ack = segment.has(TcpFlags::ACK)
            && segment.seq == segment.end_seq()
            && segment.seq == self.rcv.rcv_nxt
            && segment.ack == self.snd.snd_una
            && u128::from(age.unsigned_abs()) <= self.rtt.rto.as_millis();
        !is_disordered_ack
    }

    /// Replies to a segment outside the window (`tcp_send_dupack`). A SYN is answered with a challenge ACK.
    fn answer_unacceptable(&mut self, io: &mut SocketIo<'_, '_>, segment: &Segment<'_>) {
        let (seq, end) = (segment.seq, segment.end_seq());
        if segment.has(TcpFlags::SYN) {
            self.send_challenge_ack(io);
            return;
        }
        // Segments with data cannot be part of an ACK loop, so they are not limited (`tcp_oow_rate_limited`).
        if seq == end && self.is_rate_limited(io.cx.now) {
            return;
        }
        if seq != end && seq.is_before(self.rcv.rcv_nxt) {
            self.ack.enter_quick(self.quickack_budget());
            let end = if end.is_after(self.rcv.rcv_nxt) { self.rcv.rcv_nxt } else { end };
            self.rcv.report_duplicate(seq, end);
        }
        self.send_ack(io);
    }

    /// RFC 5961 §7.
    pub(super) fn send_challenge_ack(&mut self, io: &mut SocketIo<'_, '_>) {
        if !self.is_rate_limited(io.cx.now) {
            self.send_ack(io);
        }
    }

    /// Linux: `__tcp_oow_rate_limited`.
    fn is_rate_limited(&mut self, now: Instant) -> bool {
        if self.last_oow_ack.is_some_and(|last| now - last < INVALID_RATELIMIT) {
            return true;
        }
        self.last_oow_ack = Some(now);
        false
    }

    /// Processes an acceptable RST (`tcp_reset`).
    fn reset_received(&mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows) {
        self.abort(io, flows, Outcome::Reset);
    }

    /// State transitions caused by the ACK; a verdict if processing ends here.
    fn advance_state(&mut self, segment: &Segment<'_>) -> Option<Disposition> {
        match self.state {
            State::SynReceived => {
                self.snd.snd_wnd = u32::from(segment.window) << self.snd.snd_wscale;
                self.snd.snd_wl1 = segment.seq;
                self.establish();
                None
            }
            State::FinWait1 if self.snd.is_all_acked() => self.fin_acked(segment),
            State::Closing if self.snd.is_all_acked() => {
                self.state = State::TimeWait(WaitFor::Silence);
                Some(Disposition::Taken)
            }
            State::LastAck if self.snd.is_all_acked() => {
                self.state = State::Closed;
                Some(Disposition::Taken)
            }
            State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck => None,
            State::SynSent | State::TimeWait(_) | State::Closed => {
                unreachable!("processed before the acknowledgment")
            }
        }
    }

    /// Our FIN is acknowledged. The socket has no owner any more, so it is replaced by a minisock that waits for the
    /// peer's FIN, unless that arrived with this segment.
    fn fin_acked(&mut self, segment: &Segment<'_>) -> Option<Disposition> {
        self.state = State::FinWait2;
        let fin = u32::from(segment.has(TcpFlags::FIN));
        if self.reaches_beyond_received(segment) {
            self.state = State::Closed;
            return Some(Disposition::Reset(DropReason::TcpInvalid));
        }
        if fin == 0 {
            self.state = State::TimeWait(WaitFor::Fin);
            return Some(Disposition::Taken);
        }
        None
    }

    /// Processes urgent pointer, data and FIN (steps 6 and 7 of `tcp_rcv_state_process`).
    fn process_text(&mut self, io: &mut SocketIo<'_, '_>, segment: &Segment<'_>) -> Disposition {
        if segment.has(TcpFlags::URG) {
            self.rcv.note_urgent(segment);
        }
        match self.state {
            State::CloseWait | State::Closing | State::LastAck
                if !segment.seq.is_before(self.rcv.rcv_nxt) =>
            {
                // Nothing follows a FIN.
                let is_empty = segment.seq == segment.end_seq();
                return if is_empty { Disposition::Taken } else { Disposition::Drop(DropReason::TcpInvalid) };
            }
            State::FinWait1 | State::FinWait2 | State::CloseWait | State::Closing | State::LastAck
                if self.is_receiving_shut_down() && self.reaches_beyond_received(segment) =>
            {
                self.state = State::Closed;
                return Disposition::Reset(DropReason::TcpInvalid);
            }
            State::SynSent
            | State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck
            | State::TimeWait(_)
            | State::Closed => {}
        }
        self.data_queue(io, segment)
    }

    /// True if nothing more is read (`RCV_SHUTDOWN`): the application closed the socket, or the peer has sent its FIN.
    const fn is_receiving_shut_down(&self) -> bool {
        self.is_orphan() || self.rcv.is_finished
    }

    /// True if the segment has data, not only a FIN, beyond what was received (`TCP_ABORT_ON_DATA`).
    fn reaches_beyond_received(&self, segment: &Segment<'_>) -> bool {
        let fin = u32::from(segment.has(TcpFlags::FIN));
        let end_of_data = Seq(segment.end_seq().0.wrapping_sub(fin));
        segment.seq != segment.end_seq() && end_of_data.is_after(self.rcv.rcv_nxt)
    }

    /// Linux: `tcp_data_queue`.
    fn data_queue(&mut self, io: &mut SocketIo<'_, '_>, segment: &Segment<'_>) -> Disposition {
        let is_cwr = self.ecn.is_cwr_accepted(segment);
        self.ack.is_urgent |= is_cwr;
        let had_gap = self.rcv.has_gap();
        let was_finished = self.rcv.is_finished;
        match self.rcv.take_text(segment) {
            Text::Nothing => return Disposition::Taken,
            Text::InOrder(_) => {
                if segment.len() > 0 {
                    let is_small = segment.len() < self.rcv_mss();
                    self.ack.data_received(io.cx.now, is_small, self.quickack_budget(), self.rtt.rto);
                    self.check_congestion_mark(segment);
                }
                // RFC 5681 §4.2: a segment that fills a gap is acknowledged immediately.
                if had_gap && !self.rcv.has_gap() {
                    self.ack.is_scheduled = true;
                    self.ack.is_urgent = true;
                }
            }
            Text::BeyondGap => {
                self.check_congestion_mark(segment);
                self.ack.is_scheduled = true;
                self.ack.is_urgent = true;
            }
            Text::Unwanted => {
                self.ack.enter_quick(self.quickack_budget());
                self.ack.is_scheduled = true;
                return Disposition::Drop(DropReason::TcpInvalid);
            }
        }
        if self.rcv.is_finished && !was_finished {
            self.fin_received(io);
        }
        Disposition::Taken
    }

    /// Linux: `tcp_data_ecn_check`.
    fn check_congestion_mark(&mut self, segment: &Segment<'_>) {
        if self.ecn.is_quick_ack_due(segment.ecn) {
            self.ack.enter_quick(2);
        }
    }

    /// Linux: `tcp_fin`.
    fn fin_received(&mut self, io: &mut SocketIo<'_, '_>) {
        match self.state {
            State::SynReceived | State::Established => {
                self.state = State::CloseWait;
                self.ack.fin_received();
            }
            State::FinWait1 => {
                self.send_ack(io);
                self.state = State::Closing;
            }
            State::FinWait2 => {
                self.send_ack(io);
                self.state = State::TimeWait(WaitFor::Silence);
            }
            State::CloseWait | State::Closing | State::LastAck => {}
            State::SynSent | State::TimeWait(_) | State::Closed => {
                unreachable!("data is not processed in these states")
            }
        }
    }

    /// Sends a pending ACK, or delays it (`__tcp_ack_snd_check`).
    fn ack_if_due(&mut self, io: &mut SocketIo<'_, '_>) {
        if !self.ack.is_scheduled {
            return;
        }
        let is_much = self.rcv.rcv_nxt - self.rcv.rcv_wup > self.rcv_mss();
        if is_much || self.ack.is_quick() || self.rcv.has_gap() {
            self.send_ack(io);
        } else if self.timers.at(TimerKind::DelayedAck).is_none() {
            let delay = self.ack.delay(self.rtt.smoothed());
            self.timers.arm(io, self.id, TimerKind::DelayedAck, delay);
        }
    }

    /// The application has read something (`tcp_cleanup_rbuf`, net/ipv4/tcp.c).
    pub(super) fn after_read(&mut self, io: &mut SocketIo<'_, '_>) {
        let is_open = !matches!(self.state, State::Closed | State::TimeWait(_));
        if is_open && self.ack.is_due_after_read() {
            self.send_ack(io);
        }
    }

    /// The initial estimate of the peer's segment size (`tcp_initialize_rcv_mss`).
    pub(super) fn rcv_mss(&self) -> u32 {
        u32::from(self.advmss).min(536).min(self.rcv.rcv_wnd / 2).max(88)
    }

    /// Number of immediate ACKs when quick mode starts (`tcp_incr_quickack`).
    fn quickack_budget(&self) -> u32 {
        self.rcv.rcv_wnd / (2 * self.rcv_mss())
    }
}
