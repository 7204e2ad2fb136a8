//! `fo`: the highest weight.

use super::{Choice, Pool, RealServer, ServerId, Why};

/// Linux: ip_vs_fo_schedule, net/netfilter/ipvs/ip_vs_fo.c.
pub(super) fn schedule(pool: Pool<'_>) -> Choice {
    highest(pool.iter().filter(|(_, server)| server.accepts()))
}

/// The first server with the highest weight.
pub(super) fn highest<'a>(servers: impl Iterator<Item = (ServerId, &'a RealServer)>) -> Choice {
    let mut highest: Option<(ServerId, i64)> = None;
    for (id, server) in servers {
        if highest.is_none_or(|(_, weight)| server.weight() > weight) {
            highest = Some((id, server.weight()));
        }
    }
    highest.map(|(id, _)| (id, Why::HighestWeight))
}
