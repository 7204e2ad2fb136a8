//! Enumerates all alternatives of the decisions that select an endpoint, with exact weights.

use super::Weight;
use crate::time::Instant;
use std::sync::Arc;

/// One decision on a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The alternative taken, from 0.
    pub taken: u32,
    /// The time.
    pub at: Instant,
    odds: Odds,
    /// The probability of the path up to and including this decision. Paths with a common prefix share it.
    path_weight: Arc<Weight>,
}

/// The alternatives of a decision and their probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Odds {
    /// 1 with probability `threshold` / 2^31, else 0.
    Chance { threshold: u32 },
    /// A number below `range`, by multiply and shift of a 32-bit number.
    Below { range: u32 },
    /// 0 or 1, with unknown probabilities.
    Either,
}

impl Odds {
    /// The number of equally likely numbers that lead to an alternative, and the binary logarithm of the total.
    fn numbers(self, alternative: u32) -> (u64, u32) {
        match self {
            Self::Chance { threshold } if alternative == 0 => (u64::from((1 << 31) - threshold), 31),
            Self::Chance { threshold } => (u64::from(threshold), 31),
            // Any positive weight: the path has none.
            Self::Either => (1, 1),
            Self::Below { range } => {
                // reciprocal_scale maps the 2^32 numbers to `range` intervals; interval i starts at ceil(i * 2^32 /
                // range).
                let begin = |index: u32| (u64::from(index) << 32).div_ceil(u64::from(range));
                (begin(alternative + 1) - begin(alternative), 32)
            }
        }
    }

    const fn count(self) -> u32 {
        match self {
            Self::Chance { .. } | Self::Either => 2,
            Self::Below { range } => range,
        }
    }

    /// The first alternative from `from` on with a nonzero weight.
    fn possible_from(self, from: u32) -> Option<u32> {
        (from..self.count()).find(|alternative| self.numbers(*alternative).0 > 0)
    }
}

/// A path through the decisions of a run. Start with [`Enumerate::first`], run, and continue with
/// [`Enumerate::next_path`].
#[derive(Clone, Debug, Default)]
pub struct Enumerate {
    /// Decisions of an earlier path.
    prefix: Vec<Choice>,
    /// The alternative of the decision after the prefix; `None` for the first possible one.
    turn: Option<u32>,
    taken: Vec<Choice>,
    has_faults: bool,
}

impl Enumerate {
    /// The path that takes the first possible alternative everywhere.
    pub fn first() -> Self {
        Self::default()
    }

    /// The same path, to be run again with the same decisions.
    pub fn again(&self) -> Self {
        Self { prefix: self.taken.clone(), ..Self::default() }
    }

    /// The next path to run, or `None` if every alternative has been visited.
    pub fn next_path(&self) -> Option<Self> {
        self.next_path_of(&self.taken)
    }

    /// Like [`Enumerate::next_path`], but skips paths with the same decisions up to that time.
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

    /// The decisions so far, in order.
    pub fn choices(&self) -> &[Choice] {
        &self.taken
    }

    /// The exact probability of this path: the product of the weights of its decisions. `None` if the seed also decided
    /// whether or when a frame arrives, because then the same decisions may have another outcome.
    pub fn weight(&self) -> Option<Weight> {
        if self.has_faults {
            return None;
        }
        Some(self.taken.last().map_or_else(Weight::one, |choice| (*choice.path_weight).clone()))
    }

    /// Notes that the seed decides whether a frame is affected by a fault, unless the decision is certain.
    pub(super) const fn note_fault(&mut self, is_open: bool) {
        self.has_faults |= is_open;
    }

    pub(super) fn chance(&mut self, at: Instant, threshold: u32) -> bool {
        // Alternative 0 is "no", so that the numbers of a path read as booleans.
        self.choose(at, Odds::Chance { threshold: threshold.min(1 << 31) }) == 1
    }

    pub(super) fn below(&mut self, at: Instant, range: u32) -> u32 {
        self.choose(at, Odds::Below { range })
    }

    /// The first alternative, or on a later path the other one: true.
    pub(super) fn either(&mut self, at: Instant) -> bool {
        self.choose(at, Odds::Either) == 1
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
