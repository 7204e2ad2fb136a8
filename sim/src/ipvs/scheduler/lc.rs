//! `lc`: the fewest connections. Weights do not matter, except 0.

use super::{Choice, Pool, Why};

/// Linux: ip_vs_lc_schedule, net/netfilter/ipvs/ip_vs_lc.c.
pub(super) fn schedule(pool: Pool<'_>) -> Choice {
    let least =
        pool.iter().filter(|(_, server)| server.accepts()).min_by_key(|(_, server)| server.overhead())?;
    Some((least.0, Why::FewestConnections))
}
