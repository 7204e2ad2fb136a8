//! Time as kernel timers count it.

use crate::time::{Duration, Instant};
use crate::timer_wheel::TimerWheel;

/// The current time, and the ticks of the kernel's timers if they are simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The current time.
    pub now: Instant,
    /// Without it, timers expire exactly when they are due.
    pub wheel: Option<TimerWheel>,
}

impl Clock {
    /// A clock without ticks.
    pub const fn exact(now: Instant) -> Self {
        Self { now, wheel: None }
    }

    /// The same clock at another time.
    #[must_use]
    pub const fn at(self, now: Instant) -> Self {
        Self { now, ..self }
    }

    /// The expiry of a timer that is set now and due after `wait`.
    pub fn expiry(&self, wait: Duration) -> Instant {
        let due = self.now + wait;
        self.wheel.map_or(due, |wheel| wheel.expiry(self.now, due))
    }

    /// The time since `earlier`, in whole ticks if there are any (a difference of `jiffies`).
    pub fn since(&self, earlier: Instant) -> Duration {
        match self.wheel {
            None => self.now - earlier,
            Some(wheel) => {
                Duration::from_nanos(wheel.tick_begin(self.now).saturating_sub(wheel.tick_begin(earlier)))
            }
        }
    }
}
