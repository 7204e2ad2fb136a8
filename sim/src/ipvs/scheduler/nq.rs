//! `nq`: an idle server, else as `sed`.

use super::{Choice, Pool, Why, sed};

/// Linux: ip_vs_nq_schedule, net/netfilter/ipvs/ip_vs_nq.c.
pub(super) fn schedule(pool: Pool<'_>) -> Choice {
    let idle = pool.iter().find(|(_, server)| server.accepts() && server.active == 0);
    idle.map_or_else(|| sed::schedule(pool), |(id, _)| Some((id, Why::Idle)))
}
