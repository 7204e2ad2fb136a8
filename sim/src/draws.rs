//! Every random decision, asked for by owner, purpose and range, in the integers that the kernel uses.
//!
//! Three drivers answer. *Seeded* gives each (owner, purpose) its own ChaCha stream, so that one more draw here moves
//! nothing there. *Enumerate* follows a prescribed path through the decisions that choose an endpoint and accounts for
//! the exact weight of each alternative. *Replay* takes the alternatives that a capture from a real kernel shows.

mod enumerate;
mod seeded;
mod weight;

pub use enumerate::{Choice, Enumerate};
use seeded::Seeded;
pub use weight::Weight;

use crate::ids::NetnsId;
use crate::time::Instant;
use std::collections::VecDeque;

/// What a draw decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// `-m statistic --mode random` (net/netfilter/xt_statistic.c).
    Statistic,
    /// `numgen random` (net/netfilter/nft_numgen.c).
    Numgen,
    /// First candidate of the NAT port search (net/netfilter/nf_nat_core.c).
    NatPort,
    /// Ephemeral port of a socket (net/ipv4/inet_hashtables.c).
    EphemeralPort,
    /// Initial sequence number (net/core/secure_seq.c).
    Isn,
    /// IP identification.
    IpId,
    /// Whether a link loses a frame.
    LinkLoss,
    /// Whether a link delivers a frame twice.
    LinkDuplicate,
    /// Whether, and by how much, a link delays a frame behind its successors.
    LinkReorder,
}

/// What depends on a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stake {
    /// Which endpoint is selected: the enumerate driver visits each alternative.
    Endpoint,
    /// A number that no outcome depends on.
    Identifier,
    /// Whether frames arrive, and when. There are too many such decisions to visit them all, one for each frame, but outcomes
    /// depend on them: a path on which one is taken has no exact weight.
    Delivery,
}

impl Purpose {
    const fn stake(self) -> Stake {
        match self {
            Self::Statistic | Self::Numgen => Stake::Endpoint,
            Self::NatPort | Self::EphemeralPort | Self::Isn | Self::IpId => Stake::Identifier,
            Self::LinkLoss | Self::LinkDuplicate | Self::LinkReorder => Stake::Delivery,
        }
    }
}

/// A decision that a capture from a real kernel shows, to be taken instead of a random one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Who decided.
    pub owner: NetnsId,
    /// What was decided.
    pub purpose: Purpose,
    /// The alternative taken: 1 or 0 for a chance, the number itself otherwise.
    pub value: u32,
}

/// The source of every random decision of a world.
#[derive(Clone, Debug)]
pub struct Draws {
    seeded: Seeded,
    driver: Driver,
    now: Instant,
}

#[derive(Clone, Debug)]
enum Driver {
    Seeded,
    /// What does not select an endpoint may be recorded.
    Enumerate(Enumerate, VecDeque<Recorded>),
    Replay(VecDeque<Recorded>),
}

impl Draws {
    /// Decisions from streams of `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self { seeded: Seeded::new(seed), driver: Driver::Seeded, now: Instant::START }
    }

    /// The moment of the decisions from here on, noted with each [`Choice`].
    pub(crate) const fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// From here on, follows `path` where an endpoint is selected. Other decisions keep coming from the seed.
    pub fn enumerate(&mut self, path: Enumerate) {
        self.follow(path, []);
    }

    /// From here on, follows `path` where an endpoint is selected, and takes other decisions as recorded. A draw for
    /// which nothing is recorded comes from the seed.
    pub fn follow(&mut self, path: Enumerate, recorded: impl IntoIterator<Item = Recorded>) {
        self.driver = Driver::Enumerate(path, recorded.into_iter().collect());
    }

    /// From here on, takes recorded decisions in order, each by the first draw of its owner and purpose.
    /// A draw for which nothing is recorded comes from the seed.
    pub fn replay(&mut self, recorded: impl IntoIterator<Item = Recorded>) {
        self.driver = Driver::Replay(recorded.into_iter().collect());
    }

    /// The path that was followed, if the enumerate driver is at work.
    pub const fn enumerated(&self) -> Option<&Enumerate> {
        match &self.driver {
            Driver::Enumerate(path, _) => Some(path),
            Driver::Seeded | Driver::Replay(_) => None,
        }
    }

    /// Recorded decisions that no draw has asked for yet.
    pub fn left_over(&self) -> Vec<Recorded> {
        match &self.driver {
            Driver::Replay(recorded) | Driver::Enumerate(_, recorded) => recorded.iter().copied().collect(),
            Driver::Seeded => Vec::new(),
        }
    }

    /// True with probability `threshold` / 2^31, as `statistic_mt` decides: `(u32 & 0x7fffffff) < threshold`.
    pub fn chance(&mut self, owner: NetnsId, purpose: Purpose, threshold: u32) -> bool {
        if let Driver::Enumerate(path, _) = &mut self.driver {
            match purpose.stake() {
                Stake::Endpoint => return path.chance(self.now, threshold),
                Stake::Identifier => {}
                Stake::Delivery => path.note_fault(threshold > 0 && threshold < 1 << 31),
            }
        }
        match self.recorded(owner, purpose) {
            Some(value) => value == 1,
            None => self.seeded.u32(owner, purpose) & 0x7fff_ffff < threshold,
        }
    }

    /// A number below `range`, by multiply and shift as the kernel's `reciprocal_scale` (include/linux/math.h).
    ///
    /// # Panics
    /// If `range` is zero.
    pub fn below(&mut self, owner: NetnsId, purpose: Purpose, range: u32) -> u32 {
        assert!(range > 0, "a draw needs at least one alternative");
        if let Driver::Enumerate(path, _) = &mut self.driver {
            match purpose.stake() {
                Stake::Endpoint => return path.below(self.now, range),
                Stake::Identifier => {}
                Stake::Delivery => path.note_fault(range > 1),
            }
        }
        match self.recorded(owner, purpose) {
            Some(value) => value.min(range - 1),
            None => scale(self.seeded.u32(owner, purpose), range),
        }
    }

    /// Any 32-bit number (`get_random_u32`).
    pub fn u32(&mut self, owner: NetnsId, purpose: Purpose) -> u32 {
        self.recorded(owner, purpose).unwrap_or_else(|| self.seeded.u32(owner, purpose))
    }

    /// Takes what is recorded for the next draw of that owner and purpose, if anything is.
    fn recorded(&mut self, owner: NetnsId, purpose: Purpose) -> Option<u32> {
        let (Driver::Enumerate(_, recorded) | Driver::Replay(recorded)) = &mut self.driver else {
            return None;
        };
        let at = recorded.iter().position(|one| one.owner == owner && one.purpose == purpose)?;
        recorded.remove(at).map(|one| one.value)
    }
}

fn scale(value: u32, range: u32) -> u32 {
    u32::try_from((u64::from(value) * u64::from(range)) >> 32).expect("below the range")
}

#[cfg(test)]
mod tests;
