//! The two clocks of a run: one measures time, the other stamps frames.
//!
//! Frames are stamped with CLOCK_REALTIME (`ktime_get_real`, `__net_timestamp` in include/linux/skbuff.h); everything
//! else uses CLOCK_MONOTONIC. Both run at the same rate. Their offset changes only when the time is set, when a leap
//! second is inserted, or after a suspend (`tk_set_wall_to_mono`, kernel/time/timekeeping.c).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use thiserror::Error;

/// Tolerance for apparent changes of the offset: times are compared more coarsely than this.
const MOVED_MAX: Duration = Duration::from_millis(2);

/// A reading is imprecise if the thread was preempted during it. The most precise of this many readings is used.
const READINGS: usize = 3;

/// The clocks of a run.
#[derive(Debug)]
pub(super) struct Clocks {
    since: Instant,
    begin: Reading,
}

/// The clock that stamps frames was set during the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the machine's clock was set by {0:?} during the run, and frames are stamped by it, so their times are invalid: run it \
     again; if that does not help, stop the service that sets the clock (systemd-timesyncd, chronyd, ntpd)"
)]
pub(super) struct ClockMoved(Duration);

/// CLOCK_REALTIME at the start of the run, since 1970, as an interval that contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    earliest: Duration,
    latest: Duration,
}

impl Clocks {
    /// The clocks of a run that starts now.
    pub(super) fn begin() -> Self {
        let since = Instant::now();
        Self { since, begin: Reading::take(since) }
    }

    /// Elapsed time of the run.
    pub(super) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// The time of the run at this instant.
    pub(super) fn at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.since)
    }

    /// The time of a frame's stamp since the start of the run; `stamp` is relative to 1970.
    pub(super) fn since_begin(&self, stamp: Duration) -> Duration {
        stamp.saturating_sub(self.begin.latest)
    }

    /// Checks that time stamps of frames are still valid.
    ///
    /// # Errors
    /// If the clock that stamps frames was set since the start of the run.
    pub(super) fn check(&self) -> Result<(), ClockMoved> {
        let moved = self.begin.distance(Reading::take(self.since));
        if moved > MOVED_MAX { Err(ClockMoved(moved)) } else { Ok(()) }
    }
}

impl Reading {
    fn take(since: Instant) -> Self {
        let reading = |_| {
            let before = since.elapsed();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let after = since.elapsed();
            Self { earliest: now.saturating_sub(after), latest: now.saturating_sub(before) }
        };
        let first = reading(0);
        (1..READINGS)
            .map(reading)
            .fold(first, |best, next| if next.width() < best.width() { next } else { best })
    }

    fn width(self) -> Duration {
        self.latest.saturating_sub(self.earliest)
    }

    /// The amount by which two readings contradict each other.
    fn distance(self, other: Self) -> Duration {
        let behind = self.earliest.saturating_sub(other.latest);
        behind.max(other.earliest.saturating_sub(self.latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Clocks {
        /// Simulates such a change.
        pub(crate) fn set_by_an_hour(&mut self) {
            let hour = Duration::from_secs(3_600);
            let Reading { earliest, latest } = self.begin;
            self.begin = Reading { earliest: earliest + hour, latest: latest + hour };
        }
    }

    const fn reading(earliest: u64, latest: u64) -> Reading {
        Reading { earliest: Duration::from_millis(earliest), latest: Duration::from_millis(latest) }
    }

    #[test]
    fn readings_contradict_each_other_by_what_lies_between_them() {
        for (one, other, expected) in [
            (reading(1_000, 1_000), reading(1_000, 1_000), 0),
            // The thread was preempted during one reading or the other.
            (reading(400, 1_000), reading(1_000, 1_000), 0),
            (reading(1_000, 1_001), reading(1_001, 1_700), 0),
            (reading(1_000, 1_001), reading(1_004, 1_700), 3),
            (reading(1_000, 1_001), reading(200, 900), 100),
        ] {
            let expected = Duration::from_millis(expected);
            assert_eq!((one.distance(other), other.distance(one)), (expected, expected), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_clock_that_was_set_is_told() {
        let clocks = Clocks::begin();
        assert_eq!(clocks.check(), Ok(()));
        let hour = Duration::from_secs(3_600);
        let Reading { earliest, latest } = clocks.begin;
        for begin in [
            Reading { earliest: earliest + hour, latest: latest + hour },
            Reading { earliest: earliest - hour, latest: latest - hour },
        ] {
            let set = Clocks { since: clocks.since, begin };
            let ClockMoved(by) = set.check().expect_err("an hour is seen");
            assert!(by.abs_diff(hour) < Duration::from_secs(1), "{by:?}");
        }
    }

    #[test]
    fn stamps_count_from_the_beginning() {
        let clocks = Clocks { since: Instant::now(), begin: reading(900, 1_000) };
        for (stamp, expected) in [(900, 0), (1_000, 0), (1_250, 250)] {
            let found = clocks.since_begin(Duration::from_millis(stamp));
            assert_eq!(found, Duration::from_millis(expected), "{stamp}");
        }
    }
}
