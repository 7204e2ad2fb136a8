//! The end of connections, and of deleted servers.

use super::Ipvs;
use super::clock::Clock;
use super::connection::ConnectionId;
use super::segment::FlowKey;
use super::server::ServerId;
use super::state::State;
use crate::time::{Duration, Instant};

/// Time that a template lasts when it expires before its connections, and interval of checks of the trash
/// (`ip_vs_conn_expire`, net/netfilter/ipvs/ip_vs_conn.c).
const LATER: Duration = Duration::from_secs(60);
/// Linux: `IP_VS_DEST_TRASH_PERIOD`, include/net/ip_vs.h.
const TRASH_PERIOD: Duration = Duration::from_secs(120);

/// Deleted servers, which return with their connections if they are added again in time
/// (`ip_vs_dest_trash_expire`, net/netfilter/ipvs/ip_vs_ctl.c).
#[derive(Clone, Debug, Default)]
pub(super) struct Trash {
    servers: Vec<Trashed>,
    /// The next check, while there are any.
    check_at: Option<Instant>,
    /// The connections of deleted servers end after this instant. A work queue does it, so a server that the same command of
    /// ipvsadm deletes and adds again keeps its connections.
    pub(super) flush_after: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Trashed {
    id: ServerId,
    /// Since when nothing refers to it.
    idle_since: Option<Instant>,
}

impl Trash {
    pub(super) fn add(&mut self, clock: Clock, id: ServerId) {
        if self.servers.is_empty() {
            self.check_at = Some(clock.expiry(TRASH_PERIOD / 2));
        }
        self.servers.push(Trashed { id, idle_since: None });
    }

    /// Takes out the first server for which that is true.
    pub(super) fn take(&mut self, is_wanted: impl Fn(ServerId) -> bool) -> Option<ServerId> {
        let index = self.servers.iter().position(|trashed| is_wanted(trashed.id))?;
        Some(self.servers.remove(index).id)
    }
}

impl Ipvs {
    /// True if something ends by `now`, so that [`Ipvs::expire`] has an effect.
    pub fn is_due(&self, now: Instant) -> bool {
        self.connections.next_expiry().is_some_and(|at| at <= now)
            || self.trash.check_at.is_some_and(|at| at <= now)
            || self.trash.flush_after.is_some_and(|at| at < now)
    }

    /// A connection that ended, and whose conntrack entry ends with it. The entry has the addresses of client and service as
    /// its original tuple (`ip_vs_conn_drop_conntrack`, net/netfilter/ipvs/ip_vs_nfct.c).
    pub fn next_ended(&mut self) -> Option<FlowKey> {
        self.ended.pop()
    }

    /// Ends everything whose time has come by now: connections, templates, deleted servers. Every other function that takes
    /// a clock does this first.
    pub fn expire(&mut self, clock: Clock) {
        if let Some(at) = self.trash.flush_after.take_if(|at| *at < clock.now) {
            self.expire_nodest_connections(clock.at(at));
        }
        while let Some((at, id)) = self.connections.next_expired(clock.now) {
            self.empty_trash(clock, at);
            self.connection_expired(clock.at(at), id);
        }
        self.empty_trash(clock, clock.now);
    }

    /// Linux: ip_vs_conn_expire, net/netfilter/ipvs/ip_vs_conn.c.
    pub(super) fn connection_expired(&mut self, clock: Clock, id: ConnectionId) {
        let entry = self.connections.get_mut(id);
        if entry.controlled > 0 {
            entry.timeout = LATER;
            self.connections.restart(id, clock);
        } else {
            self.remove(clock, id);
        }
    }

    /// Removes a connection or template. If it was removed before its time, a template that no connection established goes
    /// with it.
    fn remove(&mut self, clock: Clock, id: ConnectionId) {
        let Some(entry) = self.connections.remove(id) else { return };
        if entry.owns_conntrack && !entry.is_one_packet && !entry.is_template() {
            self.ended.push(entry.flow);
        }
        self.unbind(entry.server_id, entry.is_template(), entry.is_inactive);
        if let Some(template) = entry.template {
            let control = self.connections.get_mut(template);
            control.controlled -= 1;
            let is_assured = matches!(control.state, State::Template { is_assured: true });
            if entry.timeout == Duration::ZERO && control.controlled == 0 && !is_assured {
                self.delete(clock, template);
            }
        }
    }

    /// Removes a connection before its time (`ip_vs_conn_del`, net/netfilter/ipvs/ip_vs_conn.c).
    pub(super) fn delete(&mut self, clock: Clock, id: ConnectionId) {
        self.connections.get_mut(id).timeout = Duration::ZERO;
        self.connection_expired(clock, id);
    }

    /// Linux: ip_vs_unbind_dest, net/netfilter/ipvs/ip_vs_conn.c.
    fn unbind(&mut self, server: ServerId, is_template: bool, is_inactive: bool) {
        let server = &mut self.servers[server];
        let counter = match (is_template, is_inactive) {
            (true, _) => &mut server.persistent,
            (false, true) => &mut server.inactive,
            (false, false) => &mut server.active,
        };
        *counter -= 1;
        server.update_overload();
    }

    /// Ends connections whose server was deleted (`ip_vs_expire_nodest_conn_flush`, net/netfilter/ipvs/ip_vs_conn.c).
    fn expire_nodest_connections(&mut self, clock: Clock) {
        let orphans: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, entry)| !self.servers[entry.server_id].is_available && entry.controlled == 0)
            .map(|(id, _)| id)
            .collect();
        for id in orphans {
            let Some(entry) = self.connections.get(id) else { continue };
            let template = entry.template;
            self.delete(clock, id);
            if let Some(template) = template
                && self.connections.get(template).is_some_and(|entry| entry.controlled == 0)
            {
                self.delete(clock, template);
            }
        }
    }

    /// Carries out the checks of the trash up to an instant.
    fn empty_trash(&mut self, clock: Clock, until: Instant) {
        while let Some(at) = self.trash.check_at
            && at <= until
        {
            let mut servers = std::mem::take(&mut self.trash.servers);
            servers.retain_mut(|trashed| self.keeps_trashed(trashed, clock.at(at)));
            self.trash.check_at = (!servers.is_empty()).then(|| clock.at(at).expiry(TRASH_PERIOD / 2));
            self.trash.servers = servers;
        }
    }

    /// True if a deleted server stays: while something refers to it, and for some time afterwards.
    fn keeps_trashed(&mut self, trashed: &mut Trashed, clock: Clock) -> bool {
        let is_remembered = || self.services.iter().any(|service| service.remembers(trashed.id));
        if self.servers[trashed.id].is_referenced() || is_remembered() {
            return true;
        }
        let idle_since = *trashed.idle_since.get_or_insert(clock.now);
        let is_kept = idle_since == clock.now || clock.since(idle_since) < TRASH_PERIOD;
        if !is_kept {
            self.servers.remove(trashed.id);
        }
        is_kept
    }
}
