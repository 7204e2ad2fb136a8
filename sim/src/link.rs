//! The wire between two veth ends: how long a frame takes, and what may happen to it.
//!
//! The kernel's veth has no such wire; a link without faults differs from it by a small fixed latency, so that time moves
//! and events have an order.

use crate::draws::{Draws, Purpose};
use crate::ids::NetnsId;
use crate::time::Duration;
use smallvec::SmallVec;

/// A probability as the draws take it: parts of 2^31.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probability(u32);

impl Probability {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Always.
    pub const ALWAYS: Self = Self(1 << 31);

    /// The nearest to `parts` of a million; `None` above a million.
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

/// How a link treats frames, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// From one end to the other.
    pub latency: Duration,
    /// A frame is lost.
    pub loss: Probability,
    /// A frame arrives twice.
    pub duplicate: Probability,
    /// A frame is held back, so that later ones overtake it.
    pub reorder: Probability,
    /// The longest time for which a frame is held back.
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
    /// After which times a frame that is sent now arrives: never, once or twice. `sender` owns the draws.
    pub fn deliveries(&self, draws: &mut Draws, sender: NetnsId) -> SmallVec<[Duration; 2]> {
        let mut happens = |purpose, probability: Probability| {
            // A fault that is not set draws nothing, so that setting one moves no other.
            probability != Probability::NEVER && draws.chance(sender, purpose, probability.threshold())
        };
        if happens(Purpose::LinkLoss, self.loss) {
            return SmallVec::new();
        }
        let copies = if happens(Purpose::LinkDuplicate, self.duplicate) { 2 } else { 1 };
        (0..copies).map(|_| self.latency + self.hold_back(draws, sender)).collect()
    }

    /// By how much a frame is held back: at least a microsecond if at all.
    fn hold_back(&self, draws: &mut Draws, sender: NetnsId) -> Duration {
        let micros = u32::try_from(self.reorder_by.as_micros()).unwrap_or(u32::MAX);
        let is_held = self.reorder != Probability::NEVER
            && micros > 0
            && draws.chance(sender, Purpose::LinkReorder, self.reorder.threshold());
        if !is_held {
            return Duration::ZERO;
        }
        Duration::from_micros(u64::from(draws.below(sender, Purpose::LinkReorder, micros)) + 1)
    }
}

#[cfg(test)]
mod tests;
