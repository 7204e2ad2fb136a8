//! Whether the clock of the simulator reaches the end of a scenario.

use std::time::Duration;

use crate::scenario::FieldFault;

const HOUR: Duration = Duration::from_secs(3_600);

/// How long a scenario may take. The simulator counts nanoseconds in 64 bits, which are 584 years; the rest is for what ends
/// after the last step, such as conntrack timeouts, which sysctls set to up to 136 years.
const LIMIT: Duration = Duration::from_secs(400 * 365 * 24 * 3_600);

/// What passes after the connections of a step, and after the deadline of each, at most.
pub(super) const SETTLING: Duration = Duration::from_secs(1);

/// How late it may be before each step.
#[derive(Debug, Default)]
pub(super) struct Clock {
    elapsed: Duration,
}

impl Clock {
    /// Adds the longest time that a step may take. `path` is that of the field which says so.
    ///
    /// # Errors
    /// If the clock may end before the step does.
    pub(super) fn advance(&mut self, path: &str, longest: Duration) -> Result<(), FieldFault> {
        self.elapsed = self.elapsed.saturating_add(longest);
        if self.elapsed <= LIMIT {
            return Ok(());
        }
        let hours = |duration: Duration| duration.as_secs().div_ceil(HOUR.as_secs());
        Err(FieldFault::new(format!(
            "the scenario may last {} h up to the end of this step, more than the clock of the simulator counts",
            hours(self.elapsed)
        ))
        .expected(format!("at most {} h in total, sleeps and timeouts added up", hours(LIMIT)))
        .help("shorten the sleeps, or the timeouts of steps with many connections")
        .at(path))
    }
}
