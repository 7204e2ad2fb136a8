//! `ovf`: the highest weight, unless it has more active connections than that.

use super::fo::highest;
use super::{Choice, Pool};

/// Linux: ip_vs_ovf_schedule, net/netfilter/ipvs/ip_vs_ovf.c.
pub(super) fn schedule(pool: Pool<'_>) -> Choice {
    highest(pool.iter().filter(|(_, server)| server.accepts() && i64::from(server.active) <= server.weight()))
}
