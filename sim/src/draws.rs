//! Random decisions: each is drawn by owner, purpose and range, in the integers that the kernel uses.
//!
//! There are three drivers. *Seeded* has a ChaCha stream per (owner, purpose), so that an additional draw does not
//! affect others. *Enumerate* follows a given path through the decisions that select an endpoint, and computes the
//! exact weight of each alternative. *Replay* takes the alternatives that were captured from a real kernel.

mod enumerate;
mod seeded;
mod weight;

pub use enumerate::{Choice, Enumerate};
use seeded::Seeded;
pub use weight::Weight;

use crate::arrivals::{Arrival, Arrivals, Seen};
use crate::ids::NetnsId;
use crate::time::Instant;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// The purpose of a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// `-m statistic --mode random` (net/netfilter/xt_statistic.c).
    Statistic,
    /// `numgen random` (net/netfilter/nft_numgen.c).
    Numgen,
    /// The initial offset of the NAT port search (net/netfilter/nf_nat_core.c).
    NatPort,
    /// The ephemeral port of a socket (net/ipv4/inet_hashtables.c).
    EphemeralPort,
    /// Initial sequence number (net/core/secure_seq.c).
    Isn,
    /// IP ID.
    IpId,
    /// How much of its credit an ICMP message takes (`icmp_global_consume`, net/ipv4/icmp.c).
    IcmpCredit,
    /// The two servers of the IPVS scheduler `twos` (net/netfilter/ipvs/ip_vs_twos.c).
    IpvsTwos,
    /// The buckets that IPVS searches for connections to remove (`ip_vs_random_dropentry`,
    /// net/netfilter/ipvs/ip_vs_conn.c).
    IpvsDropEntry,
    /// Whether a link loses a frame.
    LinkLoss,
    /// Whether a link delivers a frame twice.
    LinkDuplicate,
    /// Whether, and by how much, a link delays a frame so that later ones overtake it.
    LinkReorder,
    /// The key of conntrack's hash function (`nf_conntrack_hash_rnd`, net/netfilter/nf_conntrack_core.c).
    ConntrackHash,
}

/// What depends on a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stake {
    /// Which endpoint is selected: the enumerate driver visits each alternative.
    Endpoint,
    /// A number without influence on outcomes.
    Identifier,
    /// A number that is not visible by itself; what it leads to later is a decision of [`Draws::unseen`].
    Hidden,
    /// Whether and when frames arrive. These decisions are too many to enumerate, one for each frame, but outcomes
    /// depend on them: a path with such a decision has no exact weight.
    Delivery,
}

impl Purpose {
    const fn stake(self) -> Stake {
        match self {
            Self::Statistic | Self::Numgen | Self::IpvsTwos => Stake::Endpoint,
            Self::NatPort | Self::EphemeralPort | Self::Isn | Self::IpId => Stake::Identifier,
            Self::IcmpCredit | Self::IpvsDropEntry | Self::ConntrackHash => Stake::Hidden,
            Self::LinkLoss | Self::LinkDuplicate | Self::LinkReorder => Stake::Delivery,
        }
    }
}

/// Source address and port of a flow, before the decision about it.
pub type Source = (IpAddr, u16);

/// A decision captured from a real kernel, to be used in place of a random one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The owner.
    pub owner: NetnsId,
    /// The purpose.
    pub purpose: Purpose,
    /// The source of the flow that it is for; `None` for any.
    pub source: Option<Source>,
    /// The alternative: 1 or 0 for a chance, else the number itself.
    pub value: u32,
}

/// The source of every random decision of a world.
#[derive(Clone, Debug)]
pub struct Draws {
    seeded: Seeded,
    driver: Driver,
    now: Instant,
    /// Forks share them.
    arrivals: Arc<Arrivals>,
}

#[derive(Clone, Debug)]
enum Driver {
    Seeded,
    /// Decisions that do not select an endpoint may be recorded.
    Enumerate(Enumerate, VecDeque<Recorded>),
    Replay(VecDeque<Recorded>),
}

impl Draws {
    /// Draws from streams of `seed`.
    pub fn seeded(seed: u64) -> Self {
        let arrivals = Arc::default();
        Self { seeded: Seeded::new(seed), driver: Driver::Seeded, now: Instant::START, arrivals }
    }

    /// Sets the time that is recorded with each [`Choice`].
    pub(crate) const fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// From here on, follows `path` for decisions that select an endpoint. Other decisions come from the seed.
    pub fn enumerate(&mut self, path: Enumerate) {
        self.follow(path, []);
    }

    /// From here on, follows `path` for decisions that select an endpoint, and uses recorded values for others. Draws
    /// without a recorded value come from the seed.
    pub fn follow(&mut self, path: Enumerate, recorded: impl IntoIterator<Item = Recorded>) {
        self.driver = Driver::Enumerate(path, recorded.into_iter().collect());
    }

    /// From here on, uses recorded decisions in order, each for the first draw with its owner, purpose and source. Draws
    /// without a recorded value come from the seed.
    pub fn replay(&mut self, recorded: impl IntoIterator<Item = Recorded>) {
        self.driver = Driver::Replay(recorded.into_iter().collect());
    }

    /// From here on, rate limits count the time at which the kernel that is followed received these packets; see
    /// [`crate::arrivals`].
    pub fn add_arrivals<'a>(&mut self, arrivals: impl IntoIterator<Item = Arrival<'a>>) {
        Arc::make_mut(&mut self.arrivals).add(self.now, arrivals);
    }

    /// How many nanoseconds later the kernel that is followed received or sent what is received or sent now; negative if
    /// earlier, zero if no kernel is followed.
    pub(crate) fn lateness(&self, owner: NetnsId, what: Seen<'_>) -> i64 {
        self.arrivals.lateness(owner, self.now, what)
    }

    /// From here on, other numbers decide which frames links lose, double and delay: those of this series of the seed,
    /// from its beginning. Series 0 is the one that a world begins with.
    ///
    /// # Panics
    /// If `series` is 2^24 or more.
    pub fn redraw_deliveries(&mut self, series: u32) {
        self.seeded.redraw_deliveries(series);
    }

    /// The path followed, if the enumerate driver is active.
    pub const fn enumerated(&self) -> Option<&Enumerate> {
        match &self.driver {
            Driver::Enumerate(path, _) => Some(path),
            Driver::Seeded | Driver::Replay(_) => None,
        }
    }

    /// Recorded decisions that were not used.
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
                Stake::Identifier | Stake::Hidden => {}
                Stake::Delivery => path.note_fault(threshold > 0 && threshold < 1 << 31),
            }
        }
        match self.recorded(owner, purpose, None) {
            Some(value) => value == 1,
            None => self.seeded.u32(owner, purpose) & 0x7fff_ffff < threshold,
        }
    }

    /// A number below `range`, by multiply and shift as the kernel's `reciprocal_scale` (include/linux/math.h).
    ///
    /// # Panics
    /// If `range` is zero.
    pub fn below(&mut self, owner: NetnsId, purpose: Purpose, range: u32) -> u32 {
        self.below_of(owner, purpose, None, range)
    }

    /// As [`Self::below`], for a flow with this source: flows may be recorded in another order than they draw.
    ///
    /// # Panics
    /// If `range` is zero.
    pub fn below_for(&mut self, owner: NetnsId, purpose: Purpose, source: Source, range: u32) -> u32 {
        self.below_of(owner, purpose, Some(source), range)
    }

    fn below_of(&mut self, owner: NetnsId, purpose: Purpose, source: Option<Source>, range: u32) -> u32 {
        assert!(range > 0, "a draw needs at least one alternative");
        if let Driver::Enumerate(path, _) = &mut self.driver {
            match purpose.stake() {
                Stake::Endpoint => return path.below(self.now, range),
                Stake::Identifier | Stake::Hidden => {}
                Stake::Delivery => path.note_fault(range > 1),
            }
        }
        match self.recorded(owner, purpose, source) {
            Some(value) => value.min(range - 1),
            None => scale(self.seeded.u32(owner, purpose), range),
        }
    }

    /// The result of earlier draws that were not visible: `actual`, unless whoever follows a kernel decides otherwise. The
    /// enumerate driver visits both alternatives, `actual` first; a path with such a decision has no exact weight.
    pub fn unseen(&mut self, actual: bool) -> bool {
        match &mut self.driver {
            Driver::Enumerate(path, _) => {
                path.note_fault(true);
                actual ^ path.either(self.now)
            }
            Driver::Seeded | Driver::Replay(_) => actual,
        }
    }

    /// Any 32-bit number (`get_random_u32`).
    pub fn u32(&mut self, owner: NetnsId, purpose: Purpose) -> u32 {
        self.recorded(owner, purpose, None).unwrap_or_else(|| self.seeded.u32(owner, purpose))
    }

    /// Takes the next recorded value for that owner, purpose and source, if any.
    fn recorded(&mut self, owner: NetnsId, purpose: Purpose, source: Option<Source>) -> Option<u32> {
        let (Driver::Enumerate(_, recorded) | Driver::Replay(recorded)) = &mut self.driver else {
            return None;
        };
        let is_for = |one: &Recorded| one.source.is_none() || one.source == source;
        let at =
            recorded.iter().position(|one| one.owner == owner && one.purpose == purpose && is_for(one))?;
        recorded.remove(at).map(|one| one.value)
    }
}

fn scale(value: u32, range: u32) -> u32 {
    u32::try_from((u64::from(value) * u64::from(range)) >> 32).expect("below the range")
}

#[cfg(test)]
mod tests;
