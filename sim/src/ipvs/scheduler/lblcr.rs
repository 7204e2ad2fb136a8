//! `lblcr`: connections to one address go to a set of servers, which grows under load.

use super::cache::Cache;
use super::load::{is_overloaded, least, least_overhead};
use super::{Ask, Choice, Clock, Pool, RealServer, ServerId, Why};
use crate::time::Instant;

/// The servers of each destination address.
#[derive(Clone, Debug)]
pub(crate) struct Lblcr(Cache<Set>);

/// Linux: struct ip_vs_dest_set, net/netfilter/ipvs/ip_vs_lblcr.c.
#[derive(Clone, Debug)]
struct Set {
    /// The latest first.
    members: Vec<ServerId>,
    changed_at: Instant,
}

impl Lblcr {
    pub(super) fn new(clock: Clock) -> Self {
        Self(Cache::new(clock))
    }

    /// Linux: ip_vs_lblcr_schedule, net/netfilter/ipvs/ip_vs_lblcr.c.
    pub(super) fn schedule(&mut self, pool: Pool<'_>, ask: &Ask<'_>) -> Choice {
        let (addr, clock) = (ask.flow.peer.ip(), ask.clock);
        self.0.check(clock, ask.settings.lblcr_expiration);
        let Some(set) = self.0.touch(addr, clock.now) else {
            let id = least_overhead(pool)?;
            self.0.insert(addr, Set { members: vec![id], changed_at: clock.now }, clock.now);
            return Some((id, Why::LeastLoad));
        };
        let chosen = set.least(pool);
        if set.members.len() > 1 && clock.since(set.changed_at) > ask.settings.lblcr_expiration {
            set.remove_most(pool, clock.now);
        }
        if let Some((id, server)) = chosen
            && !is_overloaded(server, pool)
        {
            return Some((id, Why::SameDestination));
        }
        let id = least_overhead(pool)?;
        if !set.members.contains(&id) {
            set.members.insert(0, id);
            set.changed_at = clock.now;
        }
        Some((id, Why::LeastLoad))
    }

    pub(super) fn holds(&self, server: ServerId) -> bool {
        self.0.values().any(|set| set.members.contains(&server))
    }
}

impl Set {
    /// The member with the least load (`ip_vs_dest_set_min`).
    fn least<'a>(&self, pool: Pool<'a>) -> Option<(ServerId, &'a RealServer)> {
        let members = self.members.iter().map(|id| (*id, pool.get(*id)));
        least(members.filter(|(_, server)| server.is_available), RealServer::overhead)
    }

    /// Removes the member with the most load among those with a weight (`ip_vs_dest_set_max`, `ip_vs_dest_set_erase`).
    fn remove_most(&mut self, pool: Pool<'_>, now: Instant) {
        let mut most: Option<(usize, &RealServer)> = None;
        for (index, id) in self.members.iter().enumerate() {
            let server = pool.get(*id);
            let is_more = most.is_none_or(|(_, other)| {
                other.overhead() * server.weight() < server.overhead() * other.weight()
            });
            if server.weight() > 0 && is_more {
                most = Some((index, server));
            }
        }
        if let Some((index, _)) = most {
            self.members.remove(index);
            self.changed_at = now;
        }
    }
}
