//! Visiting every alternative of the decisions that select an endpoint, with exact weights.

use super::Weight;
use crate::time::Instant;
use std::sync::Arc;

/// One decision on a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The alternative that was taken; the first is 0.
    pub taken: u32,
    /// When it was taken.
    pub at: Instant,
    odds: Odds,
    /// The probability of the path up to here, this decision included. Paths that begin alike share it.
    path_weight: Arc<Weight>,
}

/// The alternatives of a decision, and how probable each is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Odds {
    /// 1 with probability `threshold` / 2^31, else 0.
    Chance { threshold: u32 },
    /// A number below `range`, by multiply and shift of a 32-bit number.
    Below { range: u32 },
}

impl Odds {
    /// How many of the equally likely numbers lead to an alternative, and the binary logarithm of how many there are.
    fn numbers(self, alternative: u32) -> (u64, u32) {
        match self {
            Self::Chance { threshold } if alternative == 0 => (u64::from((1 << 31) - threshold), 31),
            Self::Chance { threshold } => (u64::from(threshold), 31),
            Self::Below { range } => {
                // reciprocal_scale maps the 2^32 numbers to `range` intervals; interval i begins at ceil(i * 2^32 / range).
                let begin = |index: u32| (u64::from(index) << 32).div_ceil(u64::from(range));
                (begin(alternative + 1) - begin(alternative), 32)
            }
        }
    }

    const fn count(self) -> u32 {
        match self {
            Self::Chance { .. } => 2,
            Self::Below { range } => range,
        }
    }

    /// The first alternative from `from` on that has a weight: a probability of 1 leaves no other alternative.
    fn possible_from(self, from: u32) -> Option<u32> {
        (from..self.count()).find(|alternative| self.numbers(*alternative).0 > 0)
    }
}

/// A path through the decisions of a run. Start with [`Enumerate::first`], run, go on with [`Enumerate::next_path`].
#[derive(Clone, Debug, Default)]
pub struct Enumerate {
    /// Decisions as an earlier path took them.
    prefix: Vec<Choice>,
    /// The alternative of the decision after the prefix; the first possible one if none.
    turn: Option<u32>,
    taken: Vec<Choice>,
    has_faults: bool,
}

impl Enumerate {
    /// The path that takes the first possible alternative everywhere.
    pub fn first() -> Self {
        Self::default()
    }

    /// The same path, to be run again: every decision as it was taken.
    pub fn again(&self) -> Self {
        Self { prefix: self.taken.clone(), ..Self::default() }
    }

    /// The path to run next, or `None` when every alternative has been visited.
    pub fn next_path(&self) -> Option<Self> {
        self.next_path_of(&self.taken)
    }

    /// As [`Enumerate::next_path`], leaving out every path whose decisions up to that moment are the same as here.
    pub fn next_path_that_differs_by(&self, moment: Instant) -> Option<Self> {
        let decided = self.taken.iter().take_while(|choice| choice.at <= moment).count();
        self.next_path_of(&self.taken[..decided])
    }

    fn next_path_of(&self, decided: &[Choice]) -> Option<Self> {
        let mut turns = decided.iter().enumerate().rev();
        let (kept, turn) = turns.find_map(|(kept, choice)| {
            choice.odds.possible_from(choice.taken + 1).map(|alternative| (kept, alternative))
        })?;
        Some(Self { prefix: decided[..kept].to_vec(), turn: Some(turn), ..Self::default() })
    }

    /// The decisions taken so far, in order.
    pub fn choices(&self) -> &[Choice] {
        &self.taken
    }

    /// The exact probability of this path: the product of the weights of its decisions. `None` if the seed has also decided
    /// whether or when a frame arrives, because then the same decisions may end otherwise.
    pub fn weight(&self) -> Option<Weight> {
        if self.has_faults {
            return None;
        }
        Some(self.taken.last().map_or_else(Weight::one, |choice| (*choice.path_weight).clone()))
    }

    /// The seed is about to decide whether a fault happens to a frame, if that is open.
    pub(super) const fn note_fault(&mut self, is_open: bool) {
        self.has_faults |= is_open;
    }

    pub(super) fn chance(&mut self, at: Instant, threshold: u32) -> bool {
        // Alternative 0 is "no", so that the numbers of a path read as the booleans they stand for.
        self.choose(at, Odds::Chance { threshold: threshold.min(1 << 31) }) == 1
    }

    pub(super) fn below(&mut self, at: Instant, range: u32) -> u32 {
        self.choose(at, Odds::Below { range })
    }

    fn choose(&mut self, at: Instant, odds: Odds) -> u32 {
        let position = self.taken.len();
        let (taken, known) = match self.prefix.get(position) {
            Some(choice) if choice.odds == odds => (choice.taken, Some(Arc::clone(&choice.path_weight))),
            Some(choice) => (choice.taken, None),
            None if position == self.prefix.len() && self.turn.is_some() => (self.turn.unwrap_or(0), None),
            None => (odds.possible_from(0).expect("the weights of a decision sum to one"), None),
        };
        let path_weight = known.unwrap_or_else(|| {
            let (numbers, log2_total) = odds.numbers(taken);
            let weight = Weight::new(numbers, log2_total);
            Arc::new(self.taken.last().map_or_else(|| weight.clone(), |last| &*last.path_weight * &weight))
        });
        self.taken.push(Choice { taken, at, odds, path_weight });
        taken
    }
}
