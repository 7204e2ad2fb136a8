//! When the timers of a kernel really expire: in ticks, and the longer they run the coarser.
//!
//! A world without a wheel lets timers expire exactly when they are due, as if ticks were infinitely short; that is what a
//! reader of a trace expects. Beside a real kernel, a wheel of the same speed and in the same position lets them expire when
//! the kernel's do, so that what depends on the order of timers is the same.

use crate::time::Instant;

/// Bits by which each level is coarser than the one below (`LVL_CLK_SHIFT`, kernel/time/timer.c).
const LEVEL_SHIFT: u32 = 3;
/// Timers with fewer ticks to go than this are on the first level (`LVL_START(1)`).
const FIRST_LEVEL: u64 = 63;
/// Levels of a kernel with more than 100 ticks per second (`LVL_DEPTH`).
const LEVELS: u32 = 9;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A kernel's ticks, and where they are when the world begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerWheel {
    /// Nanoseconds of a tick.
    tick: u64,
    /// The number of the tick in which the world begins (`jiffies`).
    first: u64,
    /// Nanoseconds of that tick that have passed by then.
    passed: u64,
}

impl TimerWheel {
    /// A wheel of `hz` ticks per second (`CONFIG_HZ`). When the world begins, it is tick number `jiffies`, of which
    /// `passed` nanoseconds are over.
    ///
    /// # Panics
    /// If `hz` is zero or more than a billion.
    pub const fn new(hz: u32, jiffies: u64, passed: u64) -> Self {
        assert!(hz > 0 && hz as u64 <= NANOS_PER_SECOND, "ticks are as short as nanoseconds at most");
        Self { tick: NANOS_PER_SECOND / hz as u64, first: jiffies, passed }
    }

    /// When a timer that is set now for `due` expires (`calc_wheel_index`, kernel/time/timer.c): not before the tick after
    /// the one that it is due in, and on a coarser level not before that level moves on.
    pub fn expiry(&self, now: Instant, due: Instant) -> Instant {
        let ticks = (due.as_nanos().saturating_sub(now.as_nanos())).div_ceil(self.tick);
        let expires = self.number(now) + ticks;
        let is_beyond = |level: &u32| *level < LEVELS && ticks >= FIRST_LEVEL << (LEVEL_SHIFT * (level - 1));
        let level = (1..LEVELS).take_while(is_beyond).last().unwrap_or(0);
        let shift = LEVEL_SHIFT * level;
        let fires = ((expires >> shift) + 1) << shift;
        Instant::from_nanos(((fires - self.first) * self.tick).saturating_sub(self.passed))
    }

    /// When the tick began in which an instant lies: nanoseconds since the tick in which the world began.
    pub(crate) const fn tick_begin(&self, at: Instant) -> u64 {
        (at.as_nanos() + self.passed) / self.tick * self.tick
    }

    /// The number of the tick in which an instant lies.
    fn number(&self, at: Instant) -> u64 {
        self.first + (at.as_nanos() + self.passed) / self.tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;
    use proptest::prelude::*;

    /// With 250 ticks per second, in a world that begins with tick 1,000.
    #[test]
    fn timers_expire_in_whole_ticks_and_late() {
        let wheel = TimerWheel::new(250, 1_000, 0);
        for (due_ms, expires_ms, why) in [
            (0, 4, "the next tick"),
            (4, 8, "one tick later than due"),
            (40, 44, "a delayed acknowledgment"),
            (201, 208, "a retransmission: 51 ticks, rounded up"),
            (248, 252, "the last on the first level"),
            (252, 256, "1,063 ticks are on the second level, which moves at 1,064"),
            (260, 288, "the next time it moves"),
            (1_000, 1_024, "a SYN: 1,250 ticks, the level moves at 1,256"),
            (2_016, 2_144, "the third level moves every 256 ms"),
        ] {
            let due = Instant::START + Duration::from_millis(due_ms);
            let expected = Instant::START + Duration::from_millis(expires_ms);
            assert_eq!(wheel.expiry(Instant::START, due), expected, "{why}");
        }
        // The world begins in the middle of a tick.
        let wheel = TimerWheel::new(250, 1_000, 3_000_000);
        assert_eq!(
            wheel.expiry(Instant::START, Instant::from_nanos(4_000_000)),
            Instant::from_nanos(5_000_000)
        );
    }

    proptest! {
        #[test]
        fn timers_are_never_early_and_late_by_an_eighth_at_most(
            hz in prop::sample::select(vec![100_u32, 250, 300, 1_000]),
            jiffies in 0_u64..1 << 40, passed in 0_u64..1_000_000, now in 0_u64..1 << 50, wait in 0_u64..1 << 40,
        ) {
            let wheel = TimerWheel::new(hz, jiffies, passed);
            let (now, due) = (Instant::from_nanos(now), Instant::from_nanos(now + wait));
            let late = wheel.expiry(now, due).as_nanos() - due.as_nanos();
            prop_assert!(late <= 2 * wheel.tick + wait / 7, "{late} after {wait}");
        }
    }
}
