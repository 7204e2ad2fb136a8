//! One ChaCha stream per owner and purpose.

use super::{Purpose, Stake};
use crate::ids::NetnsId;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub(super) struct Seeded {
    seed: u64,
    /// Selects the streams of [`Stake::Delivery`].
    series: u32,
    streams: BTreeMap<(NetnsId, Purpose), ChaCha8Rng>,
}

impl Seeded {
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed, series: 0, streams: BTreeMap::new() }
    }

    pub(super) fn u32(&mut self, owner: NetnsId, purpose: Purpose) -> u32 {
        let seed = self.seed;
        let series = if purpose.stake() == Stake::Delivery { self.series } else { 0 };
        self.streams
            .entry((owner, purpose))
            .or_insert_with(|| {
                let mut stream = ChaCha8Rng::seed_from_u64(seed);
                let number = u64::from(series) << 40 | u64::from(owner.0) << 8 | u64::from(purpose as u8);
                stream.set_stream(number);
                stream
            })
            .next_u32()
    }

    /// Begins other streams for decisions about the delivery of frames.
    pub(super) fn redraw_deliveries(&mut self, series: u32) {
        assert!(series < 1 << 24, "the number of a stream has 64 bits");
        self.streams.retain(|(_, purpose), _| purpose.stake() != Stake::Delivery);
        self.series = series;
    }
}
