//! The hash table of conntrack, as far as eviction sees it: which entries are in buckets near each other.

use super::TupleKey;
use crate::ids::EntryId;
use crate::tuple::Tuple;
use rustc_hash::FxHasher;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

/// Number of buckets that are searched for an entry to evict (`NF_CT_EVICTION_RANGE`).
const EVICTION_RANGE: u32 = 8;

/// Entries by bucket; each is in two of them, one for each of its tuples. Kept from the time on when the table is first
/// full, because nothing else depends on buckets.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    /// Decides which tuples share a bucket (`nf_conntrack_hash_rnd`).
    pub(super) key: u32,
    /// Number of buckets; at least one.
    pub(super) count: u32,
    entries: BTreeMap<u32, SmallVec<[EntryId; 2]>>,
}

impl Buckets {
    pub(super) fn new(key: u32, count: u32) -> Self {
        Self { key, count, entries: BTreeMap::new() }
    }

    pub(super) fn insert(&mut self, tuple: &Tuple, id: EntryId) {
        let bucket = self.of(tuple);
        self.entries.entry(bucket).or_default().push(id);
    }

    pub(super) fn remove(&mut self, tuple: &Tuple, id: EntryId) {
        let bucket = self.of(tuple);
        let Some(entries) = self.entries.get_mut(&bucket) else { return };
        entries.retain(|other| *other != id);
        if entries.is_empty() {
            self.entries.remove(&bucket);
        }
    }

    /// The entries in a tuple's bucket and in those behind it, bucket by bucket.
    pub(super) fn near(&self, tuple: &Tuple) -> impl Iterator<Item = impl Iterator<Item = EntryId>> {
        let first = self.of(tuple);
        let all = (0..EVICTION_RANGE.min(self.count)).map(move |step| (first + step) % self.count);
        all.map(|bucket| self.entries.get(&bucket).into_iter().flatten().copied())
    }

    /// Linux: `hash_conntrack_raw` and `scale_hash`. Deviation: another hash function.
    fn of(&self, tuple: &Tuple) -> u32 {
        let mut hasher = FxHasher::default();
        hasher.write_u32(self.key);
        TupleKey(*tuple).hash(&mut hasher);
        // Mixes high and low bits.
        let hash = (hasher.finish() ^ (hasher.finish() >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        u32::try_from((hash * u64::from(self.count)) >> 32).expect("less than the number of buckets")
    }
}
