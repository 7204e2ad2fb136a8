//! `lblc`: connections to one address go to one server, while it has capacity.

use super::cache::Cache;
use super::load::{is_overloaded, least_overhead};
use super::{Ask, Choice, Clock, Pool, ServerId, Why};

/// The server of each destination address.
#[derive(Clone, Debug)]
pub(crate) struct Lblc(Cache<ServerId>);

impl Lblc {
    pub(super) fn new(clock: Clock) -> Self {
        Self(Cache::new(clock))
    }

    /// Linux: ip_vs_lblc_schedule, net/netfilter/ipvs/ip_vs_lblc.c. Thresholds do not matter for a remembered server.
    pub(super) fn schedule(&mut self, pool: Pool<'_>, ask: &Ask<'_>) -> Choice {
        let (addr, now) = (ask.flow.peer.ip(), ask.clock.now);
        self.0.check(ask.clock, ask.settings.lblc_expiration);
        if let Some(id) = self.0.touch(addr, now).copied() {
            let server = pool.get(id);
            if server.is_available && server.weight() > 0 && !is_overloaded(server, pool) {
                return Some((id, Why::SameDestination));
            }
        }
        let id = least_overhead(pool)?;
        self.0.insert(addr, id, now);
        Some((id, Why::LeastLoad))
    }

    pub(super) fn holds(&self, server: ServerId) -> bool {
        self.0.values().any(|id| *id == server)
    }
}
