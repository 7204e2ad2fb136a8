//! `sed`: the fewest active connections by weight, counting the new one.

use super::load::{expected, least};
use super::{Choice, Pool, Why};

/// Linux: ip_vs_sed_schedule, net/netfilter/ipvs/ip_vs_sed.c.
pub(super) fn schedule(pool: Pool<'_>) -> Choice {
    least(pool.iter(), expected).map(|(id, _)| (id, Why::LeastLoad))
}
