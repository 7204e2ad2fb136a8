//! What `ipvsadm` changes.

use super::Ipvs;
use super::clock::Clock;
use super::server::{RealServer, ServerId, ServerSpec, ServiceKey};
use super::service::{ServiceSpec, VirtualService};
use std::net::SocketAddr;

/// A change that the kernel refuses. The texts are those of `ipvsadm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The service exists (`EEXIST`).
    #[error("Service already exists")]
    ServiceExists,
    /// The service does not exist (`ESRCH`).
    #[error("No such service")]
    NoSuchService,
    /// The service has that server (`EEXIST`).
    #[error("Destination already exists")]
    ServerExists,
    /// The service does not have that server (`ENOENT`).
    #[error("No such destination")]
    NoSuchServer,
    /// The lower threshold is above the upper one, or the weight is too large (`ERANGE`).
    #[error("Numerical result out of range")]
    OutOfRange,
}

/// Weights are signed numbers in the kernel.
const WEIGHT_MAX: u32 = 0x7fff_ffff;

impl Ipvs {
    /// Adds a service (`ip_vs_add_service`, net/netfilter/ipvs/ip_vs_ctl.c).
    ///
    /// # Errors
    /// If it exists.
    pub fn add_service(&mut self, clock: Clock, spec: ServiceSpec) -> Result<(), ConfigError> {
        self.expire(clock);
        if self.by_key.contains_key(&spec.key) {
            return Err(ConfigError::ServiceExists);
        }
        self.is_enabled |= !spec.key.is_ipv6();
        self.by_key.insert(spec.key, self.services.len());
        self.services.push(VirtualService::new(spec, &self.servers, clock));
        Ok(())
    }

    /// Changes scheduler, flags and persistence of a service (`ip_vs_edit_service`).
    ///
    /// # Errors
    /// If it does not exist.
    pub fn edit_service(&mut self, clock: Clock, spec: ServiceSpec) -> Result<(), ConfigError> {
        self.expire(clock);
        let index = self.index(spec.key)?;
        self.services[index].edit(spec, &self.servers, clock);
        Ok(())
    }

    /// Deletes a service with its servers; their connections stay (`ip_vs_del_service`).
    ///
    /// # Errors
    /// If it does not exist.
    pub fn delete_service(&mut self, clock: Clock, key: ServiceKey) -> Result<(), ConfigError> {
        self.expire(clock);
        let index = self.index(key)?;
        let service = self.services.remove(index);
        self.by_key.remove(&key);
        for (index, service) in self.services.iter().enumerate().skip(index) {
            self.by_key.insert(service.spec.key, index);
        }
        for server in service.servers() {
            self.discard(clock, *server);
        }
        Ok(())
    }

    /// Deletes all services (`ip_vs_flush`).
    pub fn flush(&mut self, clock: Clock) {
        while let Some(service) = self.services.first() {
            let key = service.spec.key;
            self.delete_service(clock, key).expect("a listed service exists");
        }
    }

    /// Adds a server at the head of the service's list. If the same service deleted one with this address and port, and it
    /// is not forgotten, it returns with its connections (`ip_vs_add_dest`, `ip_vs_trash_get_dest`).
    ///
    /// # Errors
    /// If the service does not exist, or has the server; if a value is out of range.
    pub fn add_server(&mut self, clock: Clock, key: ServiceKey, spec: ServerSpec) -> Result<(), ConfigError> {
        self.expire(clock);
        check(&spec)?;
        let index = self.index(key)?;
        if self.find(index, spec.addr).is_some() {
            return Err(ConfigError::ServerExists);
        }
        let returned = self.trash.take(|id| {
            self.servers.get(id).is_some_and(|server| server.service == key && server.spec.addr == spec.addr)
        });
        let id = returned.unwrap_or_else(|| self.servers.insert(RealServer::new(spec, key)));
        self.servers[id].update(spec, true);
        self.services[index].add(id, &self.servers);
        Ok(())
    }

    /// Changes a server (`ip_vs_edit_dest`).
    ///
    /// # Errors
    /// If service or server do not exist, or a value is out of range.
    pub fn edit_server(
        &mut self,
        clock: Clock,
        key: ServiceKey,
        spec: ServerSpec,
    ) -> Result<(), ConfigError> {
        self.expire(clock);
        check(&spec)?;
        let index = self.index(key)?;
        let id = self.find(index, spec.addr).ok_or(ConfigError::NoSuchServer)?;
        self.servers[id].update(spec, false);
        self.services[index].edited(&self.servers);
        Ok(())
    }

    /// Deletes a server; its connections stay (`ip_vs_del_dest`).
    ///
    /// # Errors
    /// If service or server do not exist.
    pub fn delete_server(
        &mut self,
        clock: Clock,
        key: ServiceKey,
        addr: SocketAddr,
    ) -> Result<(), ConfigError> {
        self.expire(clock);
        let index = self.index(key)?;
        let id = self.find(index, addr).ok_or(ConfigError::NoSuchServer)?;
        self.services[index].remove(id, &self.servers);
        self.discard(clock, id);
        Ok(())
    }

    /// Puts a server that no service lists any more into the trash. With `expire_nodest_conn`, its connections end soon,
    /// unless it returns before (`__ip_vs_del_dest`, `ip_vs_enqueue_expire_nodest_conns`).
    fn discard(&mut self, clock: Clock, id: ServerId) {
        self.servers[id].is_available = false;
        self.trash.add(clock, id);
        if self.settings.expire_nodest_conn {
            self.trash.flush_after.get_or_insert(clock.now);
        }
    }

    fn index(&self, key: ServiceKey) -> Result<usize, ConfigError> {
        self.by_key.get(&key).copied().ok_or(ConfigError::NoSuchService)
    }

    /// The server of a service with that address and port (`ip_vs_lookup_dest`).
    fn find(&self, service: usize, addr: SocketAddr) -> Option<ServerId> {
        let servers = self.services[service].servers();
        servers.iter().copied().find(|id| self.servers[*id].spec.addr == addr)
    }
}

const fn check(spec: &ServerSpec) -> Result<(), ConfigError> {
    if spec.weight > WEIGHT_MAX || spec.lower > spec.upper {
        return Err(ConfigError::OutOfRange);
    }
    Ok(())
}
