//! The link between two veth ends: latency and faults.
//!
//! The kernel's veth has no such link; a link without faults differs from it by a small fixed latency, so that time
//! advances and events are ordered.

use crate::draws::{Draws, Purpose};
use crate::ids::NetnsId;
use crate::time::Duration;
use smallvec::SmallVec;

/// A probability in the form that draws use: multiples of 2^-31.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probability(u32);

impl Probability {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Always.
    pub const ALWAYS: Self = Self(1 << 31);

    /// The nearest value to `parts` per million; `None` above one million.
    pub const fn per_million(parts: u32) -> Option<Self> {
        if parts > 1_000_000 {
            return None;
        }
        let nearest = (((parts as u64) << 31) + 500_000) / 1_000_000;
        Some(Self(nearest as u32))
    }

    /// The number of draws below 2^31 that mean yes.
    pub const fn threshold(self) -> u32 {
        self.0
    }
}

/// The properties of a link, equal in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// One-way delay.
    pub latency: Duration,
    /// Probability that a frame is lost.
    pub loss: Probability,
    /// Probability that a frame is delivered twice.
    pub duplicate: Probability,
    /// Probability that a frame is delayed, so that later ones overtake it.
    pub reorder: Probability,
    /// Maximum additional delay of such a frame.
    pub reorder_by: Duration,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(50),
            loss: Probability::NEVER,
            duplicate: Probability::NEVER,
            reorder: Probability::NEVER,
            reorder_by: Duration::from_millis(1),
        }
    }
}

impl Link {
    /// The delay of every frame, if the link loses, doubles and delays none.
    pub fn fixed_delay(&self) -> Option<Duration> {
        let faults = [self.loss, self.duplicate, self.reorder];
        (faults == [Probability::NEVER; 3]).then_some(self.latency)
    }

    /// The delays after which a frame sent now is delivered: never, once or twice. `sender` owns the draws.
    pub fn deliveries(&self, draws: &mut Draws, sender: NetnsId) -> SmallVec<[Duration; 2]> {
        let mut happens = |purpose, probability: Probability| {
            // Faults with probability zero draw nothing, so that setting one does not affect others.
            probability != Probability::NEVER && draws.chance(sender, purpose, probability.threshold())
        };
        if happens(Purpose::LinkLoss, self.loss) {
            return SmallVec::new();
        }
        let is_doubled = happens(Purpose::LinkDuplicate, self.duplicate);
        let mut delays = SmallVec::new();
        delays.push(self.latency + self.hold_back(draws, sender));
        if is_doubled {
            delays.push(self.latency + self.hold_back(draws, sender));
        }
        delays
    }

    /// The additional delay of a reordered frame: at least a microsecond, if any.
    fn hold_back(&self, draws: &mut Draws, sender: NetnsId) -> Duration {
        if self.reorder == Probability::NEVER {
            return Duration::ZERO;
        }
        let micros = u32::try_from(self.reorder_by.as_micros()).unwrap_or(u32::MAX);
        if micros == 0 || !draws.chance(sender, Purpose::LinkReorder, self.reorder.threshold()) {
            return Duration::ZERO;
        }
        Duration::from_micros(u64::from(draws.below(sender, Purpose::LinkReorder, micros)) + 1)
    }
}

#[cfg(test)]
mod tests;
