//! `dh`: the destination address decides. Services of one address have one server.

use super::sh::{BUCKETS, hash, number};
use super::{Ask, Choice, Pool, ServerId, Why, fold};

/// The server of each bucket.
#[derive(Clone, Debug)]
pub(crate) struct Dh(Box<[ServerId]>);

impl Dh {
    /// Fills the buckets round robin. Linux: ip_vs_dh_reassign, net/netfilter/ipvs/ip_vs_dh.c.
    pub(super) fn new(pool: Pool<'_>) -> Self {
        Self(pool.order.iter().copied().cycle().take(BUCKETS).collect())
    }

    /// Linux: ip_vs_dh_schedule, net/netfilter/ipvs/ip_vs_dh.c.
    pub(super) fn schedule(&self, pool: Pool<'_>, ask: &Ask<'_>) -> Choice {
        let bucket = hash(fold(ask.flow.peer.ip()));
        let id = *self.0.get(bucket)?;
        pool.get(id).accepts().then_some((id, Why::Bucket(number(bucket))))
    }
}
