//! Received acknowledgments: removes acknowledged segments from the flight, updates the peer's window, and retransmits.
//!
//! Linux: `tcp_ack`, net/ipv4/tcp_input.c.

use super::Disposition;
use super::congestion::{Acked, Resend};
use super::connection::{Connection, State, WriteTimer};
use super::segment::Segment;
use super::send::{Acked as SegmentsAcked, Nagle};
use super::seq::Seq;
use crate::drop_reason::DropReason;
use crate::ids::TimerKind;
use crate::release::Change;
use crate::socket::SocketIo;
use crate::time::{Duration, Instant};
use crate::wire::TcpFlags;

/// Classification of an ACK by `tcp_ack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AckResult {
    /// Acknowledges new data, or repeats the last ACK.
    Valid,
    /// Older than the last ACK, within a window.
    Old,
    /// Much older (RFC 5961 §5.2).
    TooOld,
    /// Acknowledges data that was never sent.
    Unsent,
}

impl Connection {
    /// Processes the ACK field; `Err` ends processing of the segment.
    pub(super) fn process_ack(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        segment: &Segment<'_>,
    ) -> Result<(), Disposition> {
        let rejected = Disposition::Drop(DropReason::TcpInvalid);
        if !segment.has(TcpFlags::ACK) {
            return Err(rejected);
        }
        match self.take_ack(io, segment) {
            AckResult::Valid => Ok(()),
            AckResult::Old | AckResult::TooOld | AckResult::Unsent if self.state == State::SynReceived => {
                Err(Disposition::Reset(DropReason::TcpInvalid))
            }
            // The payload of such a segment may still be new.
            AckResult::Old => Ok(()),
            AckResult::Unsent if !io.settings.release.has(Change::UnsentAckIsAnswered) => Err(rejected),
            // RFC 5961 §5.2.
            AckResult::TooOld | AckResult::Unsent => {
                self.send_challenge_ack(io);
                Err(rejected)
            }
        }
    }

    /// Linux: `tcp_ack`.
    fn take_ack(&mut self, io: &mut SocketIo<'_, '_>, segment: &Segment<'_>) -> AckResult {
        let (ack, una) = (segment.ack, self.snd.snd_una);
        if ack.is_before(una) {
            // No ACK can be for data that was never sent.
            let oldest = self.snd.max_window.min(self.snd.bytes_acked);
            return if una - ack > oldest { AckResult::TooOld } else { AckResult::Old };
        }
        if ack.is_after(self.snd.snd_nxt) {
            return AckResult::Unsent;
        }
        let is_advancing = ack.is_after(una);
        if is_advancing {
            self.retransmits = 0;
        }
        if let Some((value, _)) = segment.options.timestamps.filter(|_| self.has_timestamps) {
            self.rcv.note_timestamp(segment.seq, value, io.cx.now);
        }
        self.update_window(segment);
        self.soft_error = None;
        self.acked_at = io.cx.now;
        let was_idle = self.snd.in_flight.is_empty();
        let acked = self.snd.acknowledge(ack);
        if acked.segments > 0 {
            self.confirm_neighbour();
            let echo = segment.options.timestamps.map(|(_, echo)| echo);
            self.measure_rtt(io.cx.now, acked.sent.filter(|_| !acked.is_ambiguous), echo);
        }
        self.loss_probe_acked(ack, is_advancing);
        if was_idle {
            self.window_may_have_opened(io);
        } else {
            self.control_congestion(io, segment, &acked);
        }
        AckResult::Valid
    }

    /// Linux: `tcp_process_tlp_ack`.
    fn loss_probe_acked(&mut self, ack: Seq, is_advancing: bool) {
        let Some(high) = self.tlp_high_seq.filter(|high| !ack.is_before(*high)) else { return };
        if self.is_tlp_retransmission && ack.is_after(high) {
            // Without the probe, a loss at the end of the flight would not have been noticed.
            self.congestion.probe_has_repaired();
            self.ecn.queue_cwr();
        } else if self.is_tlp_retransmission && is_advancing {
            // Only a duplicate ACK tells that both arrived.
            return;
        }
        self.tlp_high_seq = None;
    }

    /// Linux: `tcp_ack_update_window`, `tcp_may_update_window`.
    fn update_window(&mut self, segment: &Segment<'_>) {
        let shift = if segment.has(TcpFlags::SYN) { 0 } else { self.snd.snd_wscale };
        let window = u32::from(segment.window) << shift;
        let snd = &mut self.snd;
        let is_newer = segment.ack.is_after(snd.snd_una)
            || segment.seq.is_after(snd.snd_wl1)
            || (segment.seq == snd.snd_wl1 && (window > snd.snd_wnd || window == 0));
        if is_newer {
            snd.snd_wl1 = segment.seq;
            snd.snd_wnd = window;
            snd.max_window = snd.max_window.max(window);
        }
    }

    /// Measures the round-trip time since `sent`, or since the echoed timestamp (`tcp_ack_update_rtt`).
    pub(super) fn measure_rtt(&mut self, now: Instant, sent: Option<Instant>, echo: Option<u32>) {
        if let Some(sent) = sent {
            self.rtt.measure(now - sent);
        } else if let Some(echo) = echo.filter(|echo| *echo != 0 && self.has_timestamps) {
            self.rtt.measure(Duration::from_millis(u64::from(super::timestamp(now).wrapping_sub(echo))));
        }
    }

    /// Nothing was in flight, so the ACK may open a closed window (`tcp_ack_probe`).
    fn window_may_have_opened(&mut self, io: &mut SocketIo<'_, '_>) {
        if !self.snd.has_unsent() {
            return;
        }
        self.retransmits = 0;
        if self.snd.next_segment(self.mss(), Nagle::On).is_some() {
            self.rtt.stop_probing();
            self.timers.cancel(TimerKind::Retransmit);
        } else {
            self.arm_write_timer(io, WriteTimer::WindowProbe, self.rtt.probe_interval());
        }
    }

    /// Segments are in flight: adjusts the congestion window, restarts the timer and retransmits lost segments
    /// (`tcp_fastretrans_alert`, `tcp_cong_control`, `tcp_xmit_recovery`).
    fn control_congestion(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        segment: &Segment<'_>,
        acked: &SegmentsAcked,
    ) {
        let snd = &self.snd;
        let (una, next, segments) = (snd.snd_una, snd.snd_nxt, acked.segments);
        let resend = self.congestion.acknowledged(&Acked {
            segments,
            una,
            next,
            has_original: acked.has_original,
            is_of_original: self.is_ack_of_original(segment),
            has_new_data: snd.has_unsent() && snd.window_left() > 0,
            has_sack: self.has_sack,
        });
        if self.ecn.is_echo(segment) && self.congestion.congestion_reported(next) {
            self.ecn.queue_cwr();
        }
        if resend == Resend::Undone {
            self.snd.in_flight.iter_mut().for_each(|sent| sent.is_lost = false);
        }
        if !self.congestion.is_in_loss() {
            self.retrans_stamp = None;
        }
        if segments > 0 && !self.schedule_loss_probe(io, true) {
            self.rearm_rto(io);
        }
        self.congestion.adjust(segments, self.snd.packets_in_flight());
        match resend {
            Resend::Nothing | Resend::Undone => {}
            Resend::Lost => self.retransmit_lost(io),
            Resend::NewData => {
                self.push(io);
                if self.snd.snd_nxt == next {
                    self.congestion.stop_probing();
                    self.retransmit_lost(io);
                }
            }
        }
    }

    /// True if the peer answers the first transmission of a segment, not its retransmission (Eifel, RFC 3522;
    /// `tcp_packet_delayed`).
    fn is_ack_of_original(&self, segment: &Segment<'_>) -> bool {
        let echo = segment.options.timestamps.map(|(_, echo)| echo).filter(|echo| *echo != 0);
        match (echo.filter(|_| self.has_timestamps), self.retrans_stamp) {
            (Some(echo), Some(first)) => echo.wrapping_sub(super::timestamp(first)).cast_signed() < 0,
            (None, _) | (_, None) => false,
        }
    }

    /// Retransmits as many lost segments as the congestion window admits (`tcp_xmit_retransmit_queue`,
    /// net/ipv4/tcp_output.c).
    pub(super) fn retransmit_lost(&mut self, io: &mut SocketIo<'_, '_>) {
        let mut index = 0;
        // Retransmission may split or merge segments.
        while index < self.snd.in_flight.len() && self.congestion.has_room(self.snd.packets_in_flight()) {
            let sent = &self.snd.in_flight[index];
            if sent.is_lost && !sent.is_resent && !self.retransmit(io, index) {
                break;
            }
            index += 1;
        }
    }
}
