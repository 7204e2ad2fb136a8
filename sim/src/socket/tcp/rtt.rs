//! Round-trip time and retransmission timeout (RFC 6298, as computed by Linux).

use crate::mutation::Mutation;
use crate::time::Duration;

/// `TCP_TIMEOUT_INIT`: the timeout before any measurement.
pub(super) const TIMEOUT_INIT: Duration = Duration::from_secs(1);
/// `TCP_TIMEOUT_FALLBACK`: the timeout if the handshake yielded no measurement.
const TIMEOUT_FALLBACK: Duration = Duration::from_secs(3);
/// `TCP_RTO_MIN`.
pub(super) const RTO_MIN: Duration = Duration::from_millis(200);
/// `TCP_RTO_MAX`.
pub(super) const RTO_MAX: Duration = Duration::from_secs(120);

/// Microseconds per tick at 250 Hz (`CONFIG_HZ` of most distributions). A timeout is stored in ticks, and doubled as
/// such (`__tcp_set_rto`, include/net/tcp.h).
const TICK_US: u64 = 4_000;

/// The estimator of one connection; in microseconds, as in `struct tcp_sock`.
#[derive(Clone, Debug)]
pub(super) struct Rtt {
    /// Eight times the smoothed round-trip time; zero before the first measurement.
    srtt_us: u64,
    /// Four times the mean deviation.
    mdev_us: u64,
    mdev_max_us: u64,
    rttvar_us: u64,
    /// `icsk_rto`: the timeout, including backoff.
    pub(super) rto: Duration,
    /// Number of doublings of the timeout, or of the interval of window probes (`icsk_backoff`).
    backoff: u32,
}

impl Default for Rtt {
    fn default() -> Self {
        Self {
            srtt_us: 0,
            mdev_us: 0,
            mdev_max_us: 0,
            rttvar_us: 0,
            rto: Mutation::SynTimeoutLong.or(TIMEOUT_INIT * 2, TIMEOUT_INIT),
            backoff: 0,
        }
    }
}

impl Rtt {
    /// The smoothed round-trip time, once measured.
    pub(super) fn smoothed(&self) -> Option<Duration> {
        (self.srtt_us > 0).then(|| Duration::from_micros(self.srtt_us >> 3))
    }

    /// Adds a measurement and resets the backoff.
    ///
    /// Linux: `tcp_rtt_estimator`, net/ipv4/tcp_input.c. Deviation: the variance decays with every smaller measurement,
    /// not once per round trip; exchanges here are too short for a difference.
    pub(super) fn measure(&mut self, sample: Duration) {
        let sample = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX >> 4).max(1);
        let rto_min = u64::try_from(RTO_MIN.as_micros()).expect("200,000");
        if self.srtt_us == 0 {
            self.srtt_us = sample << 3;
            self.mdev_us = sample << 1;
            self.rttvar_us = self.mdev_us.max(rto_min);
            self.mdev_max_us = self.rttvar_us;
        } else {
            let error = sample.abs_diff(self.srtt_us >> 3);
            let is_longer = sample > self.srtt_us >> 3;
            self.srtt_us =
                if is_longer { self.srtt_us + error } else { self.srtt_us - error.min(self.srtt_us - 1) };
            self.mdev_us += error;
            self.mdev_us -= (self.mdev_us - error) >> 2;
            self.mdev_max_us = self.mdev_us.max(rto_min);
            self.rttvar_us = if self.mdev_max_us > self.rttvar_us {
                self.mdev_max_us
            } else {
                self.rttvar_us - ((self.rttvar_us - self.mdev_max_us) >> 2)
            };
        }
        self.rto = self.estimate();
        self.backoff = 0;
    }

    /// The timeout without backoff (`__tcp_set_rto`).
    fn estimate(&self) -> Duration {
        if self.srtt_us == 0 {
            return TIMEOUT_INIT;
        }
        let micros = ((self.srtt_us >> 3) + self.rttvar_us).div_ceil(TICK_US) * TICK_US;
        Duration::from_micros(micros).min(RTO_MAX)
    }

    /// The handshake is complete. Linux: `tcp_init_metrics`, net/ipv4/tcp_metrics.c.
    pub(super) fn finish_handshake(&mut self) {
        if self.srtt_us == 0 {
            self.rto = TIMEOUT_FALLBACK;
        }
    }

    /// Doubles the timeout.
    pub(super) fn back_off(&mut self) {
        self.rto = (self.rto * 2).min(RTO_MAX);
        self.backoff += 1;
    }

    /// Takes the last doubling back. False if there was none.
    pub(super) fn revert_back_off(&mut self) -> bool {
        let Some(backoff) = self.backoff.checked_sub(1) else { return false };
        self.backoff = backoff;
        self.rto = (self.estimate() * (1 << backoff.min(16))).min(RTO_MAX);
        true
    }

    /// The interval to the next probe of a closed window (`tcp_probe0_when`, include/net/tcp.h). It is doubled by probes, the
    /// timeout of data is not.
    pub(super) fn probe_interval(&self) -> Duration {
        let doublings = self.backoff.min((RTO_MAX.as_micros() / RTO_MIN.as_micros()).ilog2() + 1);
        (self.rto.max(RTO_MIN) * (1 << doublings)).min(RTO_MAX)
    }

    /// A closed window was probed.
    pub(super) const fn probe_sent(&mut self) {
        self.backoff += 1;
    }

    /// The window is open, or what fits was sent.
    pub(super) const fn stop_probing(&mut self) {
        self.backoff = 0;
    }
}

/// The duration of `count` retransmissions if the first follows after `base` (`tcp_model_timeout`,
/// net/ipv4/tcp_timer.c).
pub(super) fn model_timeout(count: u32, base: Duration) -> Duration {
    let doublings = (RTO_MAX.as_micros() / base.as_micros()).ilog2();
    let exponential = base * ((2 << count.min(doublings)) - 1);
    exponential + RTO_MAX * count.saturating_sub(doublings)
}
