//! Sets with timeouts are swept periodically. Until then, expired elements remain visible to some operations: they
//! prevent destruction of their set, and their prefix length counts for sets of networks.
//!
//! The kernel sweeps a hash table of more than 1024 buckets in parts, and is late if nothing else wakes its CPU
//! (`INIT_DEFERRABLE_WORK`); here a set is swept at once and on time.

use super::header::{Header, Storage};
use crate::time::{Duration, Instant};

/// `IPSET_GC_TIME`, include/linux/netfilter/ipset/ip_set.h.
const PERIOD_MAX: Duration = Duration::from_secs(180);
const PERIOD_MIN: Duration = Duration::from_secs(1);

/// The schedule of sweeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gc {
    next: Instant,
    period: Duration,
}

impl Gc {
    /// The schedule of a set created at `now`; `None` without timeouts.
    ///
    /// Linux: `IPSET_GC_PERIOD`, include/linux/netfilter/ipset/ip_set.h; `mtype_gc_init`,
    /// net/netfilter/ipset/ip_set_hash_gen.h and ip_set_bitmap_gen.h; `list_set_gc_init`.
    pub(super) fn new(header: &Header, now: Instant) -> Option<Self> {
        let third = u64::from(header.extensions.timeout? / 3);
        let period = Duration::from_secs(third).clamp(PERIOD_MIN, PERIOD_MAX);
        let first = match header.storage {
            Storage::Hash { .. } => PERIOD_MIN,
            Storage::Bitmap { .. } | Storage::List { .. } => period,
        };
        Some(Self { next: now + first, period })
    }

    /// The time of the last sweep up to `now`, if there was one since the last call.
    pub(super) fn sweep(&mut self, now: Instant) -> Option<Instant> {
        let since = now.as_nanos().checked_sub(self.next.as_nanos())?;
        let period = u64::try_from(self.period.as_nanos()).expect("three minutes at most");
        let last = Instant::from_nanos(now.as_nanos() - since % period);
        self.next = last + self.period;
        Some(last)
    }
}
