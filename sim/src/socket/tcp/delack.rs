//! Delayed acknowledgments (`struct inet_connection_sock`, `icsk_ack`).

use crate::time::{Duration, Instant};

/// A tick at HZ 1000.
const TICK: Duration = Duration::from_millis(1);
/// `TCP_ATO_MIN` and `TCP_DELACK_MIN`.
const ATO_MIN: Duration = Duration::from_millis(40);
/// `TCP_DELACK_MAX`.
const DELACK_MAX: Duration = Duration::from_millis(200);
/// `TCP_MAX_QUICKACKS`.
const MAX_QUICKACKS: u32 = 16;

/// State of delayed acknowledgments.
#[derive(Clone, Debug, Default)]
pub(super) struct AckPolicy {
    /// `ICSK_ACK_SCHED`: an ACK is pending.
    pub(super) is_scheduled: bool,
    /// `ICSK_ACK_NOW`: it must not be delayed.
    pub(super) is_urgent: bool,
    /// `quick`: number of ACKs that are still sent immediately.
    quick: u32,
    /// `pingpong`: the application responds to what it receives, so ACKs wait for its data.
    is_pingpong: bool,
    /// `ato`: predicted interval between segments, and hence the delay of an ACK; zero before any data.
    ato: Duration,
    /// `lrcvtime`: time of the last data.
    last_received: Instant,
    /// `ICSK_ACK_PUSHED`, `ICSK_ACK_PUSHED2`: small segments since the last ACK, up to two.
    pushed: u8,
}

impl AckPolicy {
    /// Linux: `tcp_event_data_recv`, net/ipv4/tcp_input.c.
    pub(super) fn data_received(&mut self, now: Instant, is_small: bool, quick: u32, rto: Duration) {
        self.is_scheduled = true;
        if is_small {
            self.pushed = (self.pushed + 1).min(2);
        }
        let gap = now - self.last_received;
        if self.ato.is_zero() {
            self.grant_quick(quick);
            self.ato = ATO_MIN;
        } else if gap <= ATO_MIN / 2 {
            self.ato = self.ato / 2 + ATO_MIN / 2;
        } else if gap < self.ato {
            self.ato = (self.ato / 2 + gap).min(rto);
        } else if gap > rto {
            // The sender was idle or lost something: send ACKs quickly.
            self.grant_quick(quick);
        }
        self.last_received = now;
    }

    /// Linux: `tcp_enter_quickack_mode`, net/ipv4/tcp_input.c.
    pub(super) fn enter_quick(&mut self, quick: u32) {
        self.grant_quick(quick);
        self.is_pingpong = false;
        self.ato = ATO_MIN;
    }

    fn grant_quick(&mut self, quick: u32) {
        self.quick = self.quick.max(quick.clamp(2, MAX_QUICKACKS));
    }

    /// A response within `ato` of the last data makes the session interactive (`tcp_event_data_sent`,
    /// net/ipv4/tcp_output.c; `tcp_pingpong_thresh` is 1).
    pub(super) fn data_sent(&mut self, now: Instant) {
        if now - self.last_received < self.ato {
            self.is_pingpong = true;
        }
    }

    /// The handshake ended, other than by a simultaneous open; it counts as data for [`AckPolicy::data_sent`].
    pub(super) const fn connected(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// A FIN was received (`tcp_fin`): its ACK may be combined with the FIN that the application is about to cause.
    pub(super) const fn fin_received(&mut self) {
        self.is_scheduled = true;
        self.is_pingpong = true;
    }

    /// True if ACKs are sent immediately (`tcp_in_quickack_mode`).
    pub(super) const fn is_quick(&self) -> bool {
        self.is_urgent || (self.quick > 0 && !self.is_pingpong)
    }

    /// True if an ACK is due now that the application has read everything (`tcp_cleanup_rbuf`, net/ipv4/tcp.c).
    pub(super) const fn is_due_after_read(&self) -> bool {
        self.is_scheduled && (self.pushed == 2 || (self.pushed == 1 && !self.is_pingpong))
    }

    /// A segment carried an ACK (`tcp_event_ack_sent`, net/ipv4/tcp_output.c).
    pub(super) fn ack_sent(&mut self) {
        if self.quick == 1 {
            // At the end of quick mode, the predicted interval is reset to its minimum (`tcp_dec_quickack_mode`).
            self.ato = ATO_MIN;
        }
        self.quick = self.quick.saturating_sub(1);
        self.is_scheduled = false;
        self.is_urgent = false;
        self.pushed = 0;
    }

    /// The delay of an ACK that waits for data (`tcp_send_delayed_ack`, net/ipv4/tcp_output.c).
    pub(super) fn delay(&self, rtt: Option<Duration>) -> Duration {
        if self.ato <= ATO_MIN {
            // Before the first data it is zero, and a timer that is due now expires with the next tick.
            return self.ato.max(TICK);
        }
        let limit = if self.is_pingpong || self.pushed > 0 { DELACK_MAX } else { Duration::from_millis(500) };
        let limit = rtt.map_or(limit, |rtt| rtt.max(ATO_MIN).min(limit));
        self.ato.min(limit).min(DELACK_MAX)
    }

    /// The delay expired without data (`tcp_delack_timer_handler`, net/ipv4/tcp_timer.c).
    pub(super) fn timed_out(&mut self, rto: Duration) {
        if self.is_pingpong {
            self.is_pingpong = false;
            self.ato = ATO_MIN;
        } else {
            self.ato = (self.ato * 2).min(rto);
        }
    }
}
