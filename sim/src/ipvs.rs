//! IPVS: virtual services, real servers, and the connections between them (net/netfilter/ipvs).
//!
//! This module decides; it neither reads packets nor sends them. Its caller, `stack::ipvs`, describes a packet as a
//! [`Segment`] and receives a [`Forwarding`], a [`Refusal`] or a [`Reply`].
//!
//! | module | content |
//! |---|---|
//! | `config` | what `ipvsadm` changes: services, servers, deleted servers |
//! | `decision` | what the packet path has to do |
//! | `input` | packets of clients (`ip_vs_in`) |
//! | `output` | packets of servers (`ip_vs_out`) |
//! | `schedule` | new connections, with templates of persistent clients |
//! | `error` | ICMP errors about connections |
//! | `expire` | the end of connections |
//! | `defense` | what protects against floods: `drop_packet`, `drop_entry` |
//! | `restore`, `listing` | the text of `ipvsadm` |
//! | `scheduler` | which server receives a connection, a file for each scheduler |
//! | `state` | states of connections |
//! | `sysctl` | `net.ipv4.vs.*` by name |
//! | `table` | the connection table |

mod clock;
mod config;
mod connection;
mod decision;
mod defense;
mod error;
mod expire;
mod input;
mod listing;
mod output;
mod restore;
mod schedule;
mod scheduler;
mod segment;
mod server;
mod service;
mod settings;
mod state;
mod sysctl;
mod table;

pub use clock::Clock;
pub use config::ConfigError;
pub use connection::{Connection, ConnectionId};
pub use decision::{Forwarding, PassReason, Refusal, Reply};
pub use listing::ListOrder;
pub use scheduler::{SchedulerKind, Why};
pub use segment::{FlowKey, Protocol, SctpEvent, Segment, Transport};
pub use server::{Forward, RealServer, ServerId, ServerSpec, ServiceKey};
pub use service::{Persistence, ServiceFlags, ServiceSpec, VirtualService};
pub use settings::{Settings, Timeouts};
pub use state::{SctpState, State, TcpState};
pub use table::ConnectionTable;

use defense::Defense;
use expire::Trash;
use rustc_hash::FxHashMap;
use server::Servers;

/// IPVS of a netns (`struct netns_ipvs`).
#[derive(Clone, Debug, Default)]
pub struct Ipvs {
    /// Sysctls.
    pub settings: Settings,
    /// Timeouts of connections.
    pub timeouts: Timeouts,
    /// In the order in which they were added.
    services: Vec<VirtualService>,
    /// Position of each service.
    by_key: FxHashMap<ServiceKey, usize>,
    servers: Servers,
    connections: ConnectionTable,
    trash: Trash,
    defense: Defense,
    /// The first IPv4 service was added: the hooks are registered, and stay (`ip_vs_add_service`,
    /// net/netfilter/ipvs/ip_vs_ctl.c).
    is_enabled: bool,
    /// Connections that ended, and whose conntrack entries have not been removed yet.
    ended: Vec<FlowKey>,
}

impl Ipvs {
    /// True once an IPv4 service was added.
    pub const fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// The services, in the order in which they were added.
    pub fn services(&self) -> &[VirtualService] {
        &self.services
    }

    /// A service.
    pub fn service(&self, key: ServiceKey) -> Option<&VirtualService> {
        self.by_key.get(&key).map(|index| &self.services[*index])
    }

    /// A server, which may be deleted and still have connections.
    pub fn server(&self, id: ServerId) -> Option<&RealServer> {
        self.servers.get(id)
    }

    /// Connections and templates. Entries that expired are removed by [`Ipvs::expire`].
    pub const fn connections(&self) -> &ConnectionTable {
        &self.connections
    }
}

#[cfg(test)]
mod tests;
