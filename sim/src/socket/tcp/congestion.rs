//! Congestion control: how many segments may be in flight.
//!
//! Linux: net/ipv4/tcp_cong.c (Reno), net/ipv4/tcp_cubic.c, and the states of net/ipv4/tcp_input.c. Segments are counted, not
//! bytes.
//!
//! Deviations: CUBIC reduces its window as in Linux, but grows it like Reno after a loss, which is what it does itself at the
//! round-trip times of a cluster (`tcp_friendliness`); HyStart is missing, which may end slow start early from 16 segments on.

use super::seq::Seq;
use crate::sysctl::CongestionControl;

/// `TCP_INIT_CWND` (RFC 6928).
const INITIAL_WINDOW: u32 = 10;

/// `icsk_ca_state`. Disorder and Recovery are missing: SACK blocks and duplicate ACKs of the peer are not evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is known to be wrong.
    Open,
    /// The window is being reduced because a router has marked a segment, until this is acknowledged (`TCP_CA_CWR`).
    Reducing(Seq),
    /// The retransmission timer expired. Lasts until this is acknowledged (`TCP_CA_Loss`, `high_seq`).
    Loss(Seq),
}

/// What a loss has changed, to be restored if the timeout was spurious.
#[derive(Clone, Copy, Debug)]
struct Undo {
    window: u32,
    slow_start_until: u32,
}

/// The congestion window of a connection (`snd_cwnd` and related fields).
#[derive(Clone, Debug)]
pub(super) struct Congestion {
    algorithm: CongestionControl,
    state: State,
    /// `snd_cwnd`.
    window: u32,
    /// `snd_ssthresh`.
    slow_start_until: u32,
    /// Acknowledged segments that have not yet enlarged the window (`snd_cwnd_cnt`).
    uncounted: u32,
    /// The window has limited sending since this was acknowledged, or it would have (`is_cwnd_limited`, `max_packets_out`,
    /// `cwnd_usage_seq`).
    usage: Usage,
    undo: Option<Undo>,
    /// Whether a timeout may turn out to be spurious by new data (`frto`, RFC 5682).
    is_probing: bool,
    reduction: Reduction,
}

#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    is_limited: bool,
    most_out: u32,
    until: Seq,
}

/// Proportional rate reduction (RFC 6937; `prior_cwnd`, `prr_delivered`, `prr_out`).
#[derive(Clone, Copy, Debug, Default)]
struct Reduction {
    from: u32,
    delivered: u32,
    sent: u32,
}

/// What to send after an ACK (`tcp_xmit_recovery`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resend {
    /// Only what the window admits.
    Nothing,
    /// New data, to learn whether the timeout was spurious; lost segments if there is none (`REXMIT_NEW`).
    NewData,
    /// Lost segments (`REXMIT_LOST`).
    Lost,
    /// Nothing: the timeout was spurious, and no segment is lost.
    Undone,
}

/// An ACK, as far as congestion control is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acked {
    /// Number of newly acknowledged segments.
    pub(super) segments: u32,
    /// Oldest unacknowledged number, after the ACK.
    pub(super) una: Seq,
    /// Next number to be sent.
    pub(super) next: Seq,
    /// Some of the segments were never retransmitted (`FLAG_ORIG_SACK_ACKED`).
    pub(super) has_original: bool,
    /// It echoes a timestamp from before the retransmission (`tcp_packet_delayed`).
    pub(super) is_of_original: bool,
    /// There is unsent data that fits the peer's window.
    pub(super) has_new_data: bool,
    /// The connection uses SACK.
    pub(super) has_sack: bool,
}

impl Congestion {
    pub(super) fn new(algorithm: CongestionControl) -> Self {
        Self {
            algorithm,
            state: State::Open,
            window: INITIAL_WINDOW,
            slow_start_until: u32::MAX,
            uncounted: 0,
            usage: Usage::default(),
            undo: None,
            is_probing: false,
            reduction: Reduction::default(),
        }
    }

    /// True if another segment may be sent (`tcp_cwnd_test`).
    pub(super) const fn has_room(&self, in_flight: u32) -> bool {
        in_flight < self.window
    }

    /// True if lost segments are being retransmitted.
    pub(super) const fn is_in_loss(&self) -> bool {
        matches!(self.state, State::Loss(_))
    }

    /// The handshake is complete. A SYN that had to be sent three times leaves a window of one segment
    /// (`tcp_init_transfer`).
    pub(super) const fn established(&mut self, syn_retransmits: u32) {
        self.state = State::Open;
        self.undo = None;
        self.window = if syn_retransmits > 1 { 1 } else { INITIAL_WINDOW };
    }

    /// Segments were sent, or could not be because of the window (`tcp_cwnd_validate`).
    pub(super) fn note_usage(&mut self, una: Seq, next: Seq, out: u32, in_flight: u32, count: u32) {
        let is_limited = in_flight >= self.window;
        if count == 0 && !is_limited {
            return;
        }
        let usage = &mut self.usage;
        if !una.is_before(usage.until) || is_limited || (!usage.is_limited && out > usage.most_out) {
            *usage = Usage { is_limited, most_out: out, until: next };
        }
        if matches!(self.state, State::Reducing(_)) {
            self.reduction.sent += count;
        }
    }

    /// The retransmission timer expired: everything in flight is lost, and the window is one segment (`tcp_enter_loss`).
    /// `is_repeated` is true if the same segment has timed out before.
    pub(super) fn enter_loss(&mut self, una: Seq, next: Seq, is_repeated: bool) {
        let is_new = match self.state {
            State::Open | State::Reducing(_) => true,
            State::Loss(high) => !high.is_after(una) || !is_repeated,
        };
        if is_new {
            self.undo = Some(Undo { window: self.window, slow_start_until: self.current_threshold() });
            self.slow_start_until = self.reduced();
        }
        self.is_probing = !self.is_in_loss() || is_repeated;
        self.window = 1;
        self.uncounted = 0;
        self.state = State::Loss(next);
    }

    /// Segments are lost because they are too large for the path, not because of congestion (`tcp_simple_retransmit`).
    pub(super) fn enter_loss_of_large(&mut self, next: Seq) {
        if !self.is_in_loss() {
            self.slow_start_until = self.current_threshold();
            self.undo = None;
            self.is_probing = false;
            self.state = State::Loss(next);
        }
    }

    /// The peer reports that a router has marked segments (`tcp_enter_cwr`). True if the window is reduced because of it; then
    /// the peer is told.
    pub(super) fn congestion_reported(&mut self, next: Seq) -> bool {
        match self.state {
            State::Open => {
                self.slow_start_until = self.reduced();
                self.reduction = Reduction { from: self.window, delivered: 0, sent: 0 };
                self.uncounted = 0;
                self.undo = None;
                self.state = State::Reducing(next);
                true
            }
            State::Reducing(_) | State::Loss(_) => false,
        }
    }

    /// A loss probe has repaired a loss: the window is reduced at once (`tcp_process_tlp_ack`).
    pub(super) fn probe_has_repaired(&mut self) {
        self.slow_start_until = self.reduced();
        self.window = self.slow_start_until;
        self.uncounted = 0;
    }

    /// The state after an ACK, and what to send (`tcp_fastretrans_alert`, `tcp_process_loss`).
    pub(super) fn acknowledged(&mut self, ack: &Acked) -> Resend {
        match self.state {
            State::Open => Resend::Nothing,
            State::Reducing(high) => {
                if ack.una.is_after(high) {
                    self.window = self.slow_start_until;
                    self.state = State::Open;
                }
                Resend::Nothing
            }
            State::Loss(high) => self.acknowledged_in_loss(ack, high),
        }
    }

    fn acknowledged_in_loss(&mut self, ack: &Acked, high: Seq) -> Resend {
        let is_recovered = !ack.una.is_before(high);
        let is_advancing = ack.segments > 0;
        let is_spurious = (is_advancing && ack.is_of_original) || (self.is_probing && ack.has_original);
        if is_spurious && let Some(undo) = self.undo.take() {
            self.window = self.window.max(undo.window);
            self.slow_start_until = self.slow_start_until.max(undo.slow_start_until);
            self.state = State::Open;
            return Resend::Undone;
        }
        if self.is_probing && is_advancing && !is_recovered && !ack.next.is_after(high) {
            self.state = State::Loss(ack.next);
            if ack.has_new_data {
                return Resend::NewData;
            }
            self.is_probing = false;
        }
        if !is_recovered {
            return Resend::Lost;
        }
        // Without SACK, something above must be acknowledged (`tcp_is_non_sack_preventing_reopen`).
        if ack.has_sack || ack.una != high {
            self.state = State::Open;
        }
        Resend::Nothing
    }

    /// There was no new data to probe with: lost segments are retransmitted.
    pub(super) const fn stop_probing(&mut self) {
        self.is_probing = false;
    }

    /// Adjusts the window after an ACK (`tcp_cong_control`).
    pub(super) fn adjust(&mut self, segments: u32, in_flight: u32) {
        match self.state {
            State::Reducing(_) => self.reduce(segments, in_flight),
            State::Open | State::Loss(_) => self.grow(segments),
        }
    }

    /// Linux: `tcp_cwnd_reduction`.
    fn reduce(&mut self, segments: u32, in_flight: u32) {
        let Reduction { from, delivered, sent } = &mut self.reduction;
        if segments == 0 {
            return;
        }
        *delivered += segments;
        let count = if in_flight > self.slow_start_until {
            (self.slow_start_until * *delivered).div_ceil(*from).saturating_sub(*sent)
        } else {
            let room = self.slow_start_until - in_flight;
            (delivered.saturating_sub(*sent).max(segments) + 1).min(room)
        };
        self.window = in_flight + count.max(u32::from(*sent == 0));
    }

    /// Linux: `tcp_reno_cong_avoid`, `tcp_slow_start`, `tcp_cong_avoid_ai`, `tcp_is_cwnd_limited`.
    fn grow(&mut self, segments: u32) {
        let is_slow_start = self.window < self.slow_start_until;
        if segments == 0
            || !(self.usage.is_limited || (is_slow_start && self.window < 2 * self.usage.most_out))
        {
            return;
        }
        let mut left = segments;
        if is_slow_start {
            let grown = (self.window + segments).min(self.slow_start_until);
            left -= grown - self.window;
            self.window = grown;
        }
        if left > 0 {
            self.uncounted += left;
            self.window += self.uncounted / self.window;
            self.uncounted %= self.window;
        }
    }

    /// The threshold to return to if a reduction is undone (`tcp_current_ssthresh`).
    fn current_threshold(&self) -> u32 {
        match self.state {
            State::Reducing(_) => self.slow_start_until,
            State::Open | State::Loss(_) => self.slow_start_until.max(self.window / 2 + self.window / 4),
        }
    }

    /// The window after a loss (`tcp_reno_ssthresh`, `cubictcp_recalc_ssthresh`).
    fn reduced(&self) -> u32 {
        let reduced = match self.algorithm {
            CongestionControl::Reno => self.window / 2,
            CongestionControl::Cubic => self.window * 717 / 1_024,
        };
        reduced.max(2)
    }
}
