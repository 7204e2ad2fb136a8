//! Handles expired timers of connections.
//!
//! Linux: net/ipv4/tcp_timer.c.

use super::connection::{Connection, State, WriteTimer};
use super::rtt::{RTO_MAX, RTO_MIN, model_timeout};
use super::send::Nagle;
use crate::ids::TimerKind;
use crate::socket::SocketIo;
use crate::socket::flow::Flows;

/// Number of retransmissions after which a connection without an owner is given up (`tcp_orphan_retries`).
const ORPHAN_RETRIES: u32 = 8;

impl Connection {
    /// Handles an expired timer that has not been replaced.
    pub(in crate::socket) fn timer_expired(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        flows: &mut Flows,
        kind: TimerKind,
    ) {
        match kind {
            TimerKind::Deadline => self.deadline_passed(io, flows),
            TimerKind::DelayedAck => {
                if self.ack.is_scheduled {
                    self.ack.timed_out(self.rtt.rto);
                    self.send_ack(io);
                }
            }
            TimerKind::Retransmit => match self.write_timer {
                WriteTimer::Retransmit => self.retransmit_timeout(io, flows),
                WriteTimer::LossProbe => self.send_loss_probe(io),
                WriteTimer::WindowProbe => self.probe_window(io, flows),
            },
            TimerKind::TimeWait => unreachable!("a connection in TIME_WAIT is a TimeWait"),
        }
    }

    /// Linux: `tcp_retransmit_timer`.
    pub(super) fn retransmit_timeout(&mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows) {
        if self.snd.in_flight.is_empty() {
            return;
        }
        let is_probe = self.is_window_closed();
        if if is_probe { self.is_silent(io) } else { self.is_given_up(io) } {
            self.abort(io, flows, self.timeout_outcome());
            return;
        }
        self.enter_loss();
        self.retransmits += u32::from(!is_probe);
        self.retransmit(io, 0);
        self.retrans_stamp.get_or_insert(io.cx.now);
        let is_linear = self.state == State::SynSent
            && self.retransmits <= u32::from(io.settings.tcp_syn_linear_timeouts);
        if !is_linear {
            self.rtt.back_off();
        }
        self.arm_write_timer(io, WriteTimer::Retransmit, self.rtt.rto);
    }

    /// True if the peer has closed its window after the segment was sent. Its retransmissions are probes then, for as long as
    /// the peer answers.
    fn is_window_closed(&self) -> bool {
        let is_handshake = matches!(self.state, State::SynSent | State::SynReceived);
        self.snd.snd_wnd == 0 && !self.is_orphan() && !is_handshake
    }

    /// Linux: `tcp_rtx_probe0_timed_out`.
    fn is_silent(&self, io: &SocketIo<'_, '_>) -> bool {
        let Some(first) = self.retrans_stamp else { return false };
        let limit = RTO_MAX * 2;
        io.cx.now - self.acked_at > limit && io.cx.now - first > limit
    }

    /// Marks everything in flight as lost (`tcp_enter_loss`, net/ipv4/tcp_input.c).
    fn enter_loss(&mut self) {
        for sent in &mut self.snd.in_flight {
            sent.is_lost = true;
            sent.is_resent = false;
        }
        self.congestion.enter_loss(self.snd.snd_una, self.snd.snd_nxt, self.retransmits > 0);
        self.tlp_high_seq = None;
        self.ecn.queue_cwr();
        self.syn_retransmits += u32::from(self.state == State::SynSent);
    }

    /// Linux: `tcp_write_timeout`.
    fn is_given_up(&self, io: &SocketIo<'_, '_>) -> bool {
        let settings = &io.settings;
        let syn_retries = u32::from(settings.tcp_syn_retries);
        match self.state {
            State::SynSent => self.retransmits >= syn_retries + u32::from(settings.tcp_syn_linear_timeouts),
            State::SynReceived => self.retransmits >= u32::from(settings.tcp_synack_retries),
            State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck
            | State::TimeWait(_)
            | State::Closed => self.has_timed_out(io),
        }
    }

    /// Linux: `retransmits_timed_out`.
    fn has_timed_out(&self, io: &SocketIo<'_, '_>) -> bool {
        let Some(first) = self.retrans_stamp else { return false };
        io.cx.now - first >= model_timeout(self.patience(io), RTO_MIN)
    }

    /// Maximum number of retransmissions of the connection.
    fn patience(&self, io: &SocketIo<'_, '_>) -> u32 {
        if !self.is_orphan() {
            u32::from(io.settings.tcp_retries2)
        } else if self.soft_error.is_some() && self.rtt.rto >= RTO_MAX {
            0
        } else {
            ORPHAN_RETRIES
        }
    }

    /// Retransmits the last segment, or sends new data, so that its ACK reveals what was lost (`tcp_send_loss_probe`).
    fn send_loss_probe(&mut self, io: &mut SocketIo<'_, '_>) {
        if self.tlp_high_seq.is_none() && !self.snd.in_flight.is_empty() {
            self.sync_mss(io);
            let mss = self.mss();
            let is_sent = match self.snd.next_segment(mss, Nagle::Off) {
                Some((seq, end)) => {
                    self.note_small_segment(seq, end, mss);
                    self.send_new(io, seq, end, self.snd.is_end_of_write(seq, end));
                    self.is_tlp_retransmission = false;
                    true
                }
                None => {
                    self.is_tlp_retransmission = self.retransmit(io, self.snd.in_flight.len() - 1);
                    self.is_tlp_retransmission
                }
            };
            if is_sent {
                self.tlp_high_seq = Some(self.snd.snd_nxt);
                // The retransmission timer restarts at the probe.
                self.write_timer = WriteTimer::Retransmit;
            }
        }
        self.rearm_rto(io);
    }

    /// Linux: `tcp_probe_timer`, `tcp_send_probe0`, `tcp_write_wakeup`.
    fn probe_window(&mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows) {
        if !self.snd.in_flight.is_empty() || !self.snd.has_unsent() {
            return;
        }
        if self.retransmits >= self.patience(io) {
            self.abort(io, flows, self.timeout_outcome());
            return;
        }
        self.sync_mss(io);
        let room = self.snd.window_left().min(self.mss());
        if room > 0 {
            // Sends as much as fits, even if the segment must be split.
            let seq = self.snd.snd_nxt;
            self.retransmits = 0;
            self.rtt.stop_probing();
            self.send_new(io, seq, seq + room, true);
        } else {
            self.retransmits += 1;
            self.send_window_probe(io);
            self.rtt.probe_sent();
            self.arm_write_timer(io, WriteTimer::WindowProbe, self.rtt.probe_interval());
        }
    }
}
