//! Actual expiry times of kernel timers, which have a granularity of ticks that becomes coarser with the timeout.
//!
//! Without a wheel, timers expire exactly when they are due, as a reader of a trace expects. For comparison with a real
//! kernel, a wheel with the same tick rate and position makes them expire when the kernel's timers do, so that the order of
//! timers is the same.

use crate::time::Instant;

/// Each level is coarser than the one below by this number of bits (`LVL_CLK_SHIFT`, kernel/time/timer.c).
const LEVEL_SHIFT: u32 = 3;
/// Timers with fewer remaining ticks are on the first level (`LVL_START(1)`).
const FIRST_LEVEL: u64 = 63;
/// Levels of a kernel with more than 100 ticks per second (`LVL_DEPTH`).
const LEVELS: u32 = 9;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A kernel's ticks, and their position at the start of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerWheel {
    /// Nanoseconds per tick.
    tick: u64,
    /// The number of the tick in which the world starts (`jiffies`).
    first: u64,
    /// Nanoseconds of that tick that have elapsed by then.
    passed: u64,
}

impl TimerWheel {
    /// A wheel with `hz` ticks per second (`CONFIG_HZ`). The world starts in tick number `jiffies`, of which `passed`
    /// nanoseconds have elapsed.
    ///
    /// # Panics
    /// If `hz` is zero or more than a billion.
    pub const fn new(hz: u32, jiffies: u64, passed: u64) -> Self {
        assert!(hz > 0 && hz as u64 <= NANOS_PER_SECOND, "a tick is at least a nanosecond");
        Self { tick: NANOS_PER_SECOND / hz as u64, first: jiffies, passed }
    }

    /// The expiry of a timer set now for `due` (`calc_wheel_index`, kernel/time/timer.c): not before the tick after the
    /// one in which it is due, and on a coarser level not before that level advances.
    pub fn expiry(&self, now: Instant, due: Instant) -> Instant {
        let ticks = (due.as_nanos().saturating_sub(now.as_nanos())).div_ceil(self.tick);
        let expires = self.number(now) + ticks;
        let is_beyond = |level: &u32| *level < LEVELS && ticks >= FIRST_LEVEL << (LEVEL_SHIFT * (level - 1));
        let level = (1..LEVELS).take_while(is_beyond).last().unwrap_or(0);
        let shift = LEVEL_SHIFT * level;
        let fires = ((expires >> shift) + 1) << shift;
        Instant::from_nanos(((fires - self.first) * self.tick).saturating_sub(self.passed))
    }

    /// The start of the tick that contains an instant, in nanoseconds since the tick in which the world started.
    pub(crate) const fn tick_begin(&self, at: Instant) -> u64 {
        (at.as_nanos() + self.passed) / self.tick * self.tick
    }

    /// The number of the tick that contains an instant.
    fn number(&self, at: Instant) -> u64 {
        self.first + (at.as_nanos() + self.passed) / self.tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;
    use proptest::prelude::*;

    /// With 250 ticks per second, in a world that starts with tick 1,000.
    #[test]
    fn timers_expire_in_whole_ticks_and_late() {
        let wheel = TimerWheel::new(250, 1_000, 0);
        for (due_ms, expires_ms, why) in [
            (0, 4, "the next tick"),
            (4, 8, "one tick later than due"),
            (40, 44, "a delayed acknowledgment"),
            (201, 208, "a retransmission: 51 ticks, rounded up"),
            (248, 252, "the last on the first level"),
            (252, 256, "1,063 ticks are on the second level, which advances at 1,064"),
            (260, 288, "its next advance"),
            (1_000, 1_024, "a SYN: 1,250 ticks, the level advances at 1,256"),
            (2_016, 2_144, "the third level advances every 256 ms"),
        ] {
            let due = Instant::START + Duration::from_millis(due_ms);
            let expected = Instant::START + Duration::from_millis(expires_ms);
            assert_eq!(wheel.expiry(Instant::START, due), expected, "{why}");
        }
        // The world starts in the middle of a tick.
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
