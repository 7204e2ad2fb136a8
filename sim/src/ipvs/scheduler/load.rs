//! Comparison of servers by load, without division.

use super::{Pool, RealServer, ServerId};

/// The first server with the least load per weight among those that accept connections.
///
/// Linux: the loops of ip_vs_wlc_schedule, ip_vs_sed_schedule, __ip_vs_lblc_schedule, net/netfilter/ipvs. Only the first
/// server needs a weight; one without weight can have no smaller load.
pub(super) fn least<'a>(
    servers: impl Iterator<Item = (ServerId, &'a RealServer)>,
    load: impl Fn(&RealServer) -> i64,
) -> Option<(ServerId, &'a RealServer)> {
    let mut least: Option<(ServerId, &RealServer)> = None;
    for (id, server) in servers.filter(|(_, server)| server.accepts()) {
        let is_less =
            least.is_none_or(|(_, other)| load(other) * server.weight() > load(server) * other.weight());
        if is_less {
            least = Some((id, server));
        }
    }
    least
}

/// The first server of a service with the fewest connections by weight.
pub(super) fn least_overhead(pool: Pool<'_>) -> Option<ServerId> {
    least(pool.iter(), RealServer::overhead).map(|(id, _)| id)
}

/// Connections once a new one is added, which decides the delay that a client expects (`ip_vs_sed_dest_overhead`).
pub(super) const fn expected(server: &RealServer) -> i64 {
    server.active as i64 + 1
}

/// True if a server has more active connections than weight, and another less than half
/// (`is_overloaded`, net/netfilter/ipvs/ip_vs_lblc.c).
pub(super) fn is_overloaded(server: &RealServer, pool: Pool<'_>) -> bool {
    i64::from(server.active) > server.weight()
        && pool.iter().any(|(_, other)| i64::from(other.active) * 2 < other.weight())
}
