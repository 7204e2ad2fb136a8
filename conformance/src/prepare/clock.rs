//! Checks that the simulator's clock can reach the end of a scenario.

use std::time::Duration;

use crate::scenario::FieldFault;

const HOUR: Duration = Duration::from_secs(3_600);

/// Maximum duration of a scenario. The simulator counts nanoseconds in 64 bits, which are 584 years; the rest is for
/// timeouts after the last step, such as those of conntrack, which sysctls can set to up to 136 years.
const LIMIT: Duration = Duration::from_secs(400 * 365 * 24 * 3_600);

/// Maximum time after the connections of a step, and after the deadline of each connection.
pub(super) const SETTLING: Duration = Duration::from_secs(1);

/// The latest possible time before each step.
#[derive(Debug, Default)]
pub(super) struct Clock {
    elapsed: Duration,
}

impl Clock {
    /// Adds the maximum duration of a step. `path` is the field that determines it.
    ///
    /// # Errors
    /// If the clock may overflow before the end of the step.
    pub(super) fn advance(&mut self, path: &str, longest: Duration) -> Result<(), FieldFault> {
        self.elapsed = self.elapsed.saturating_add(longest);
        if self.elapsed <= LIMIT {
            return Ok(());
        }
        let hours = |duration: Duration| duration.as_secs().div_ceil(HOUR.as_secs());
        Err(FieldFault::new(format!(
            "the scenario may take {} h until the end of this step, more than the simulator's clock can count",
            hours(self.elapsed)
        ))
        .expected(format!("at most {} h in total, the sum of all sleeps and timeouts", hours(LIMIT)))
        .help("shorten the sleeps, or the timeouts of steps with many connections")
        .at(path))
    }
}
