//! A part of a suite, for one of several machines.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// `K/N`: the K-th of every N runs.
///
/// Shards of equal N are disjoint, and together contain every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// The number of the shard, from 1 to `count`.
    number: usize,
    /// The number of shards.
    count: usize,
}

/// The text is not a valid shard.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected K/N with K from 1 to N, such as 1/4")]
pub struct NotAShard;

impl Shard {
    /// True if the shard contains the run with that index, from 0, in the whole suite.
    pub const fn has(self, index: usize) -> bool {
        index % self.count == self.number - 1
    }
}

impl FromStr for Shard {
    type Err = NotAShard;

    fn from_str(text: &str) -> Result<Self, NotAShard> {
        let (number, count) = text.split_once('/').ok_or(NotAShard)?;
        let parsed = |text: &str| text.parse::<usize>().map_err(|_| NotAShard);
        let shard = Self { number: parsed(number)?, count: parsed(count)? };
        if (1..=shard.count).contains(&shard.number) { Ok(shard) } else { Err(NotAShard) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shards_are_read() {
        assert_eq!("2/3".parse(), Ok(Shard { number: 2, count: 3 }));
        for text in ["", "1", "0/3", "4/3", "1/0", "0/0", "-1/2", "1/2/3", "a/b", "1/99999999999999999999"] {
            assert_eq!(text.parse::<Shard>(), Err(NotAShard), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_run_is_in_exactly_one_shard(count in 1_usize..50, index in 0_usize..10_000) {
            let owners = (1..=count).filter(|number| Shard { number: *number, count }.has(index));
            prop_assert_eq!(owners.count(), 1);
        }

        #[test]
        fn shards_have_as_many_runs_as_others_or_one_more(count in 1_usize..20, runs in 0_usize..200) {
            let size = |number| (0..runs).filter(|index| Shard { number, count }.has(*index)).count();
            let sizes: Vec<usize> = (1..=count).map(size).collect();
            prop_assert!(sizes.iter().all(|size| *size == runs / count || *size == runs / count + 1));
        }
    }
}
