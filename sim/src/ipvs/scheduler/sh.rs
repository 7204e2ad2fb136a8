//! `sh`: the client's address decides.

use super::{Ask, Choice, Pool, ServerId, Why};

/// Bits of a bucket number (`IP_VS_SH_TAB_BITS`, `IP_VS_DH_TAB_BITS`).
const BITS: u32 = 8;
/// Number of buckets.
pub(super) const BUCKETS: usize = 1 << BITS;

/// The server of each bucket.
#[derive(Clone, Debug)]
pub(crate) struct Sh(Box<[ServerId]>);

impl Sh {
    /// Fills the buckets round robin, each server its weight times, or once without weight.
    /// Linux: ip_vs_sh_reassign, net/netfilter/ipvs/ip_vs_sh.c.
    pub(super) fn new(pool: Pool<'_>) -> Self {
        let turns = |id: ServerId| pool.get(id).spec.weight.max(1) as usize;
        let servers = pool.order.iter().cycle().flat_map(|id| std::iter::repeat_n(*id, turns(*id)));
        Self(servers.take(BUCKETS).collect())
    }

    /// Linux: ip_vs_sh_schedule, ip_vs_sh_get and ip_vs_sh_get_fallback, net/netfilter/ipvs/ip_vs_sh.c.
    pub(super) fn schedule(&self, pool: Pool<'_>, ask: &Ask<'_>) -> Choice {
        let first = hash(ask.client());
        let accepts = |bucket: usize| {
            let id = *self.0.get(bucket)?;
            pool.get(id).accepts().then_some(id)
        };
        if let Some(id) = accepts(first) {
            return Some((id, Why::Bucket(number(first))));
        }
        if !ask.has_fallback {
            return None;
        }
        // The offset goes round from the first bucket, and is added to it.
        (0..BUCKETS).find_map(|offset| {
            let bucket = ((offset + first) % BUCKETS + first) % BUCKETS;
            accepts(bucket).map(|id| (id, Why::FallbackBucket(number(bucket))))
        })
    }
}

/// Linux: `hash_32`, include/linux/hash.h.
pub(super) const fn hash(value: u32) -> usize {
    (value.wrapping_mul(0x61c8_8647) >> (32 - BITS)) as usize
}

pub(super) fn number(bucket: usize) -> u16 {
    u16::try_from(bucket).expect("tables have less than 65,536 buckets")
}
