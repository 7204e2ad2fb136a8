//! Virtual services.

use super::clock::Clock;
use super::scheduler::{Ask, Change, Pool, Scheduler, SchedulerKind, Why};
use super::server::{ServerId, Servers, ServiceKey};
use crate::time::Duration;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Flags of a service (`IP_VS_SVC_F_*`, include/uapi/linux/ip_vs.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceFlags {
    /// `-o`: each datagram is scheduled by itself.
    pub one_packet: bool,
    /// `-b flag-1` (`sh-fallback`, `mh-fallback`).
    pub flag1: bool,
    /// `-b flag-2` (`sh-port`, `mh-port`).
    pub flag2: bool,
    /// `-b flag-3`; no scheduler uses it.
    pub flag3: bool,
}

/// Persistence: connections of a client go to one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// How long a client without connections is remembered.
    pub timeout: Duration,
    /// Clients with equal addresses under this mask are one.
    pub netmask: IpAddr,
}

impl Persistence {
    /// The address that stands for all clients with the same template.
    pub(super) fn mask(&self, client: IpAddr) -> IpAddr {
        match (client, self.netmask) {
            (IpAddr::V4(addr), IpAddr::V4(mask)) => {
                Ipv4Addr::from_bits(addr.to_bits() & mask.to_bits()).into()
            }
            (IpAddr::V6(addr), IpAddr::V6(mask)) => {
                Ipv6Addr::from_bits(addr.to_bits() & mask.to_bits()).into()
            }
            (IpAddr::V4(_) | IpAddr::V6(_), IpAddr::V4(_) | IpAddr::V6(_)) => client,
        }
    }
}

/// The parameters of a virtual service (`struct ip_vs_service_user`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// What identifies it.
    pub key: ServiceKey,
    /// Its scheduler.
    pub scheduler: SchedulerKind,
    /// Its flags.
    pub flags: ServiceFlags,
    /// `-p`: persistence.
    pub persistence: Option<Persistence>,
}

/// A virtual service (`struct ip_vs_service`).
#[derive(Clone, Debug)]
pub struct VirtualService {
    /// Its parameters.
    pub spec: ServiceSpec,
    /// Its servers, the latest first.
    servers: Vec<ServerId>,
    scheduler: Scheduler,
}

impl VirtualService {
    /// A service without servers.
    pub(super) fn new(spec: ServiceSpec, servers: &Servers, clock: Clock) -> Self {
        let scheduler = Scheduler::new(spec.scheduler, Pool { servers, order: &[] }, clock);
        Self { spec, servers: Vec::new(), scheduler }
    }

    /// Its servers in the kernel's order: the latest first.
    pub fn servers(&self) -> &[ServerId] {
        &self.servers
    }

    /// Changes its parameters. Another scheduler starts anew (`ip_vs_edit_service`, net/netfilter/ipvs/ip_vs_ctl.c).
    pub(super) fn edit(&mut self, spec: ServiceSpec, servers: &Servers, clock: Clock) {
        self.spec = spec;
        if self.scheduler.kind() != spec.scheduler {
            self.scheduler = Scheduler::new(spec.scheduler, Pool { servers, order: &self.servers }, clock);
        }
    }

    /// Adds a server at the head of the list (`__ip_vs_update_dest`, net/netfilter/ipvs/ip_vs_ctl.c).
    pub(super) fn add(&mut self, server: ServerId, servers: &Servers) {
        self.servers.insert(0, server);
        self.changed(Change::Added, servers);
    }

    /// Notes that the parameters of a server changed.
    pub(super) fn edited(&mut self, servers: &Servers) {
        self.changed(Change::Edited, servers);
    }

    /// Removes a server from the list (`__ip_vs_unlink_dest`, net/netfilter/ipvs/ip_vs_ctl.c).
    pub(super) fn remove(&mut self, server: ServerId, servers: &Servers) {
        if let Some(index) = self.servers.iter().position(|id| *id == server) {
            self.servers.remove(index);
            self.changed(Change::Deleted(index), servers);
        }
    }

    fn changed(&mut self, change: Change, servers: &Servers) {
        self.scheduler.changed(change, Pool { servers, order: &self.servers });
    }

    /// Selects a server for a new connection.
    pub(super) fn schedule(&mut self, servers: &Servers, ask: &mut Ask<'_>) -> Option<(ServerId, Why)> {
        self.scheduler.schedule(Pool { servers, order: &self.servers }, ask)
    }

    /// True if the scheduler remembers a server.
    pub(super) fn remembers(&self, server: ServerId) -> bool {
        self.scheduler.holds(server)
    }
}
