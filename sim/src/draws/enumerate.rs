//! Visiting every alternative of the decisions that select an endpoint, with exact weights.

use crate::time::Instant;
use num_bigint::BigUint;
use num_rational::Ratio;

/// An exact probability.
pub type Weight = Ratio<BigUint>;

/// One decision on a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The alternative that was taken; the first is 0.
    pub taken: u32,
    /// When it was taken.
    pub at: Instant,
    /// Weights of all alternatives; zero weights occur (a probability of 1 leaves no other alternative).
    weights: Vec<Weight>,
}

/// A path through the decisions of a run. Start with [`Enumerate::first`], run, go on with [`Enumerate::next_path`].
#[derive(Clone, Debug, Default)]
pub struct Enumerate {
    prefix: Vec<u32>,
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
        Self { prefix: self.taken.iter().map(|choice| choice.taken).collect(), ..Self::default() }
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
        let mut prefix: Vec<u32> = decided.iter().map(|choice| choice.taken).collect();
        while let Some(last) = prefix.pop() {
            let later = possible_from(&self.taken[prefix.len()].weights, last + 1);
            if let Some(next) = later {
                prefix.push(next);
                return Some(Self { prefix, ..Self::default() });
            }
        }
        None
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
        let weights = self
            .taken
            .iter()
            .map(|choice| choice.weights[usize::try_from(choice.taken).expect("u32 fits usize")].clone());
        Some(weights.fold(Weight::from_integer(BigUint::from(1_u8)), |product, weight| product * weight))
    }

    /// The seed is about to decide whether a fault happens to a frame, if that is open.
    pub(super) const fn note_fault(&mut self, is_open: bool) {
        self.has_faults |= is_open;
    }

    pub(super) fn chance(&mut self, at: Instant, threshold: u32) -> bool {
        // Alternative 0 is "no", so that the numbers of a path read as the booleans they stand for.
        let yes = threshold.min(1 << 31);
        let weights = vec![fraction(u64::from((1 << 31) - yes), 31), fraction(u64::from(yes), 31)];
        self.choose(at, weights) == 1
    }

    pub(super) fn below(&mut self, at: Instant, range: u32) -> u32 {
        // reciprocal_scale maps the 2^32 numbers to `range` intervals; interval i begins at ceil(i * 2^32 / range).
        let begin = |index: u32| (u64::from(index) << 32).div_ceil(u64::from(range));
        self.choose(at, (0..range).map(|index| fraction(begin(index + 1) - begin(index), 32)).collect())
    }

    fn choose(&mut self, at: Instant, weights: Vec<Weight>) -> u32 {
        let prescribed = self.prefix.get(self.taken.len()).copied();
        let taken =
            prescribed.or_else(|| possible_from(&weights, 0)).expect("the weights of a decision sum to one");
        self.taken.push(Choice { taken, at, weights });
        taken
    }
}

fn possible_from(weights: &[Weight], from: u32) -> Option<u32> {
    (from..u32::try_from(weights.len()).ok()?)
        .find(|index| *weights[usize::try_from(*index).expect("u32 fits usize")].numer() > BigUint::ZERO)
}

fn fraction(numerator: u64, denominator_log2: u32) -> Weight {
    Weight::new(BigUint::from(numerator), BigUint::from(1_u64 << denominator_log2))
}
