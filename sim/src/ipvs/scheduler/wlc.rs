//! `wlc`: the fewest connections by weight.

use super::load::least_overhead;
use super::{Choice, Pool, Why};

/// Linux: ip_vs_wlc_schedule, net/netfilter/ipvs/ip_vs_wlc.c.
pub(super) fn schedule(pool: Pool<'_>) -> Choice {
    Some((least_overhead(pool)?, Why::LeastLoad))
}
