//! IPVS of a node: virtual services, connections, sets, and the addresses of the dummy device.

mod parse;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proxy_core::ipvs::RealServer;
use proxy_core::objects::Protocol;

use super::apart;

/// What IPVS mode loads on a node, and its connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IpvsObservation {
    /// The virtual services, as `ipvsadm -Ln` lists them.
    pub services: Vec<IpvsService>,
    /// The connections, as `ipvsadm -Lnc` lists them.
    pub connections: Vec<IpvsConnection>,
    /// Sets and their members: lines of `ipset save` without settings of the hash table.
    pub sets: BTreeSet<String>,
    /// The addresses of `kube-ipvs0`.
    pub addresses: BTreeSet<IpAddr>,
}

/// A virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpvsService {
    /// The protocol: `TCP`.
    pub protocol: String,
    /// Address and port.
    pub address: SocketAddr,
    /// Scheduler, flags and persistence: `rr persistent 10800`.
    pub scheduling: String,
    /// The servers, by address.
    pub servers: Vec<IpvsServer>,
}

/// A real server of a virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpvsServer {
    /// Address and port.
    pub address: SocketAddr,
    /// The forwarding method: `Masq`.
    pub forward: String,
    /// The weight.
    pub weight: u32,
    /// ActiveConn: the number of established connections and of handshakes.
    pub active: u32,
    /// InActConn: the number of other connections.
    pub inactive: u32,
}

/// An entry of the connection table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpvsConnection {
    /// The protocol: `TCP`.
    pub protocol: String,
    /// The state; `NONE` for a template of a persistent client.
    pub state: String,
    /// The client; its port is 0 in a template.
    pub client: SocketAddr,
    /// The virtual service.
    pub virtual_service: SocketAddr,
    /// The server.
    pub server: SocketAddr,
    /// The remaining time, in whole seconds.
    pub expires_in: Duration,
}

/// By how much the remaining times of equal entries may differ; see the same constant for conntrack entries.
const EXPIRY_TOLERANCE: Duration = Duration::from_secs(3);

impl IpvsObservation {
    /// Reads listings: `ipvsadm -Ln`, `ipvsadm -Lnc`, `ipset save`, and the addresses of `kube-ipvs0`.
    ///
    /// # Errors
    /// The line that has another form than expected.
    pub fn read(
        services: &str,
        connections: &str,
        sets: &str,
        addresses: BTreeSet<IpAddr>,
    ) -> Result<Self, String> {
        Ok(Self {
            services: parse::services(services)?,
            connections: parse::connections(connections)?,
            sets: sets.lines().map(parse::set_line).collect(),
            addresses,
        })
    }

    /// The number of connections of a server, active or not; `None` if there is no such server.
    pub fn connections_of(&self, server: &RealServer) -> Option<u64> {
        let RealServer { service, address } = server;
        let own = self.services.iter().find(|own| {
            own.address == SocketAddr::new(service.address, service.port)
                && own.protocol == protocol_name(service.protocol)
        })?;
        let found = own.servers.iter().find(|own| own.address.to_string() == **address)?;
        Some(u64::from(found.active) + u64::from(found.inactive))
    }

    /// Lines that describe what only one of two observations has.
    pub fn apart(left: &Self, right: &Self) -> (Vec<String>, Vec<String>) {
        let (mut only_left, mut only_right) = apart(left.rows(), right.rows(), String::eq);
        let connections = (left.connections.clone(), right.connections.clone());
        let (left, right) = apart(connections.0, connections.1, IpvsConnection::is_like);
        only_left.extend(left.iter().map(ToString::to_string));
        only_right.extend(right.iter().map(ToString::to_string));
        (only_left, only_right)
    }

    /// Everything but connections, as lines.
    fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for service in &self.services {
            let IpvsService { protocol, address, scheduling, servers } = service;
            rows.push(format!("{protocol} {address} {scheduling}"));
            rows.extend(servers.iter().map(|server| format!("{protocol} {address} -> {server}")));
        }
        rows.extend(self.sets.iter().cloned());
        rows.extend(self.addresses.iter().map(|address| format!("address {address} of kube-ipvs0")));
        rows
    }
}

impl IpvsConnection {
    fn is_like(&self, other: &Self) -> bool {
        let apart = self.expires_in.abs_diff(other.expires_in);
        apart <= EXPIRY_TOLERANCE && *self == Self { expires_in: self.expires_in, ..other.clone() }
    }
}

/// As `ipvsadm -Ln` names it.
const fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
}

impl fmt::Display for IpvsServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, forward, weight, active, inactive } = self;
        write!(formatter, "{address} {forward} weight {weight}, {active} active, {inactive} inactive")
    }
}

impl fmt::Display for IpvsConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, state, client, virtual_service, server, expires_in } = self;
        write!(
            formatter,
            "{protocol} {} {state} {client} -> {virtual_service} -> {server}",
            expires_in.as_secs()
        )
    }
}

#[cfg(test)]
mod tests;
