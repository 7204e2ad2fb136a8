//! Real servers.

use super::segment::Protocol;
use slotmap::{SlotMap, new_key_type};
use std::net::{IpAddr, SocketAddr};

new_key_type! {
    /// A real server of a virtual service, or a deleted one that still has connections.
    pub struct ServerId;
}

/// All real servers of a netns.
pub(super) type Servers = SlotMap<ServerId, RealServer>;

/// What identifies a virtual service (`struct ip_vs_service_user`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKey {
    /// An address, port and protocol. Port 0: every port that has no service of its own.
    Addr {
        /// The protocol.
        protocol: Protocol,
        /// The virtual address and port.
        addr: SocketAddr,
    },
    /// Packets of a family with a mark.
    Mark {
        /// IPv6, not IPv4.
        is_ipv6: bool,
        /// The mark, not 0.
        mark: u32,
    },
}

impl ServiceKey {
    /// True for IPv6.
    pub const fn is_ipv6(self) -> bool {
        match self {
            Self::Addr { addr, .. } => addr.is_ipv6(),
            Self::Mark { is_ipv6, .. } => is_ipv6,
        }
    }

    /// The port; 0 for a mark.
    pub const fn port(self) -> u16 {
        match self {
            Self::Addr { addr, .. } => addr.port(),
            Self::Mark { .. } => 0,
        }
    }
}

/// How packets reach a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forward {
    /// `-m`: destination address and port are translated, and back in replies.
    Masquerade,
    /// `-g`: the packet is sent to the server's hardware address, unchanged.
    Route,
    /// `-i`: the packet is encapsulated in another IP header.
    Tunnel,
}

/// The parameters of a real server (`struct ip_vs_dest_user`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// Address and port. Port 0: the port of the packet.
    pub addr: SocketAddr,
    /// How packets reach it.
    pub forward: Forward,
    /// Share of new connections; 0 for none.
    pub weight: u32,
    /// Number of connections at which it receives no more (`-x`); 0 for unlimited.
    pub upper: u32,
    /// Number of connections below which it receives connections again (`-y`); 0 for three quarters of `upper`.
    pub lower: u32,
}

/// A real server (`struct ip_vs_dest`).
#[derive(Clone, Debug)]
pub struct RealServer {
    /// Its parameters.
    pub spec: ServerSpec,
    /// The virtual service that it belongs, or belonged to.
    pub service: ServiceKey,
    /// The last weight above 0 (`last_weight`), which `mh` uses.
    pub last_weight: u32,
    /// Connections that are established or being established (ActiveConn).
    pub active: u32,
    /// Other connections (InActConn).
    pub inactive: u32,
    /// Templates (PersistConn).
    pub persistent: u32,
    /// It belongs to its service (`IP_VS_DEST_F_AVAILABLE`); false after it was deleted.
    pub is_available: bool,
    /// It reached its upper threshold (`IP_VS_DEST_F_OVERLOAD`).
    pub is_overloaded: bool,
}

impl RealServer {
    /// Linux: ip_vs_new_dest, net/netfilter/ipvs/ip_vs_ctl.c.
    pub(super) const fn new(spec: ServerSpec, service: ServiceKey) -> Self {
        Self {
            spec,
            service,
            last_weight: 0,
            active: 0,
            inactive: 0,
            persistent: 0,
            is_available: false,
            is_overloaded: false,
        }
    }

    /// Its address.
    pub const fn addr(&self) -> IpAddr {
        self.spec.addr.ip()
    }

    /// Its port; 0: the port of the packet.
    pub const fn port(&self) -> u16 {
        self.spec.addr.port()
    }

    /// Its weight, for arithmetic.
    pub const fn weight(&self) -> i64 {
        self.spec.weight as i64
    }

    /// Connections, open or closing (`ip_vs_dest_totalconns`).
    pub const fn total(&self) -> u32 {
        self.active + self.inactive
    }

    /// Connections weighted by how much they cost (`ip_vs_dest_conn_overhead`, include/net/ip_vs.h).
    pub const fn overhead(&self) -> i64 {
        ((self.active as i64) << 8) + self.inactive as i64
    }

    /// True if it accepts new connections.
    pub const fn accepts(&self) -> bool {
        self.spec.weight > 0 && !self.is_overloaded
    }

    /// Sets its parameters, when it is added or changed (`__ip_vs_update_dest`, net/netfilter/ipvs/ip_vs_ctl.c).
    pub(super) fn update(&mut self, spec: ServerSpec, is_added: bool) {
        self.spec = spec;
        if is_added || spec.weight > 0 {
            self.last_weight = spec.weight;
        }
        self.is_available = true;
        self.update_overload();
        if spec.upper != 0 && self.total() >= spec.upper {
            self.is_overloaded = true;
        }
    }

    /// A connection was bound to it (`ip_vs_bind_dest`, net/netfilter/ipvs/ip_vs_conn.c).
    pub(super) const fn bound(&mut self) {
        if self.spec.upper != 0 && self.total() >= self.spec.upper {
            self.is_overloaded = true;
        }
    }

    /// A connection left it, or its thresholds changed (`ip_vs_unbind_dest`, net/netfilter/ipvs/ip_vs_conn.c).
    pub(super) fn update_overload(&mut self) {
        let total = u64::from(self.total());
        let is_below = if self.spec.lower != 0 {
            total < u64::from(self.spec.lower)
        } else {
            self.spec.upper == 0 || total * 4 < u64::from(self.spec.upper) * 3
        };
        if is_below {
            self.is_overloaded = false;
        }
    }

    /// True while a connection or template refers to it.
    pub(super) const fn is_referenced(&self) -> bool {
        self.active + self.inactive + self.persistent > 0
    }
}
