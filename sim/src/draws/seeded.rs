//! One ChaCha stream per owner and purpose.

use super::Purpose;
use crate::ids::NetnsId;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub(super) struct Seeded {
    seed: u64,
    streams: BTreeMap<(NetnsId, Purpose), ChaCha8Rng>,
}

impl Seeded {
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed, streams: BTreeMap::new() }
    }

    pub(super) fn u32(&mut self, owner: NetnsId, purpose: Purpose) -> u32 {
        let seed = self.seed;
        self.streams
            .entry((owner, purpose))
            .or_insert_with(|| {
                let mut stream = ChaCha8Rng::seed_from_u64(seed);
                stream.set_stream(u64::from(owner.0) << 8 | u64::from(purpose as u8));
                stream
            })
            .next_u32()
    }
}
