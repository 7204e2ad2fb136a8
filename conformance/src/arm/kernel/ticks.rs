//! Ticks of this machine's kernel: their frequency, and the current count.

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use sim::timer_wheel::TimerWheel;

/// Possible tick rates per second (`CONFIG_HZ`, kernel/Kconfig.hz).
const SPEEDS: [u32; 4] = [100, 250, 300, 1_000];

/// The kernel's timer wheel, for a world that started this long ago. `None` if the kernel does not expose it; timers then differ
/// by the kernel's rounding.
pub(super) fn timer_wheel(elapsed: Duration) -> Option<TimerWheel> {
    static TICKS: OnceLock<Option<Ticks>> = OnceLock::new();
    let Ticks { hz, first } = (*TICKS.get_or_init(ticks))?;
    let elapsed = u64::try_from(elapsed.as_nanos()).ok()?;
    let start = monotonic_nanos()?.checked_sub(elapsed)?;
    let tick = tick_nanos(hz);
    Some(TimerWheel::new(hz, first + start / tick, start % tick))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    hz: u32,
    /// The tick count at the start of the monotonic clock.
    first: u64,
}

/// A tick may occur between the two lines of a reading, so the earliest of several is used.
fn ticks() -> Option<Ticks> {
    let reading = || parse(&fs::read_to_string("/proc/timer_list").ok()?);
    let readings: Vec<Ticks> = (0..5).filter_map(|_| reading()).collect();
    readings.into_iter().min_by_key(|ticks| ticks.first)
}

/// Parses `now at NANOSECONDS nsecs` and `jiffies: NUMBER` (kernel/time/timer_list.c). The count starts 300 seconds
/// before 2^32 (`INITIAL_JIFFIES`, include/linux/jiffies.h), which reveals the rate.
fn parse(list: &str) -> Option<Ticks> {
    let number = |before: &str| {
        let rest = list.lines().find_map(|line| line.strip_prefix(before))?;
        rest.split(' ').next()?.parse::<u64>().ok()
    };
    let (nanos, jiffies) = (number("now at ")?, number("jiffies: ")?);
    let counted = |hz: u32| {
        let first = (1_u64 << 32) - 300 * u64::from(hz);
        (first + nanos / tick_nanos(hz)).abs_diff(jiffies)
    };
    let hz = SPEEDS.into_iter().min_by_key(|hz| counted(*hz))?;
    // The count and the clock start within a second of each other; otherwise the kernel counts differently.
    let first = jiffies.checked_sub(nanos / tick_nanos(hz))?;
    (counted(hz) < u64::from(hz)).then_some(Ticks { hz, first })
}

/// Length of a tick in nanoseconds, rounded as in the kernel (`TICK_NSEC`, include/vdso/jiffies.h). Ticks are counted
/// with it (`tick_do_update_jiffies64`, kernel/time/tick-sched.c), so at 300 Hz they run ahead of seconds.
const fn tick_nanos(hz: u32) -> u64 {
    let hz = hz as u64;
    (1_000_000_000 + hz / 2) / hz
}

fn monotonic_nanos() -> Option<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    let seconds = u64::try_from(now.tv_sec()).ok()?;
    Some(seconds * 1_000_000_000 + u64::try_from(now.tv_nsec()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_and_number_of_ticks_are_read() {
        let list = |now: u64, jiffies: u64| {
            format!("Timer List Version: v0.10\nnow at {now} nsecs\n\njiffies: {jiffies}\n")
        };
        let begin = |hz: u64| (1 << 32) - 300 * hz;
        let two_years = 2 * 365 * 24 * 3_600;
        // Ticks are whole nanoseconds, which a three-hundredth of a second is not.
        for (hz, tick) in [(100, 10_000_000), (250, 4_000_000), (300, 3_333_333), (1_000, 1_000_000)] {
            for seconds in [20, 6_419, 1_000_000, two_years] {
                let now = seconds * 1_000_000_000 + 1;
                let found = parse(&list(now, begin(hz) + now / tick - 35));
                let found = found.map(|ticks| (u64::from(ticks.hz), ticks.first + 35 - begin(hz)));
                assert_eq!(found, Some((hz, 0)), "{hz} a second, after {seconds} s");
            }
        }
        assert_eq!(parse(&list(1_000_000_000, 17)), None, "not a Linux count");
        assert_eq!(parse("nothing"), None);
    }
}
