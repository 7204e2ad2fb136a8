//! The IP sets of IPVS mode: names, types and members.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::objects::{IpFamily, Protocol};

/// A set of kube-proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum SetId {
    /// Endpoints of this node, as destination and source.
    LoopBack,
    /// ClusterIPs.
    ClusterIp,
    /// External IPs with policy Cluster.
    ExternalIp,
    /// External IPs with policy Local.
    ExternalIpLocal,
    /// Load balancer addresses.
    LoadBalancer,
    /// Load balancer addresses with source ranges.
    LoadBalancerFw,
    /// Load balancer addresses with policy Local.
    LoadBalancerLocal,
    /// Load balancer addresses that may be used from themselves.
    LoadBalancerSourceIp,
    /// Load balancer addresses, with each source range.
    LoadBalancerSourceCidr,
    /// NodePorts of TCP.
    NodePortTcp,
    /// NodePorts of TCP with policy Local.
    NodePortLocalTcp,
    /// NodePorts of UDP.
    NodePortUdp,
    /// NodePorts of UDP with policy Local.
    NodePortLocalUdp,
    /// NodePorts of SCTP, with each address of the node.
    NodePortSctp,
    /// NodePorts of SCTP with policy Local, with each address of the node.
    NodePortLocalSctp,
    /// Ports for load balancer health checks.
    HealthCheckNodePort,
    /// Addresses of `kube-ipvs0`.
    IpvsIps,
}

/// What a set holds. `bitmap:port` knows no protocols, hence one set for each of TCP and UDP; it knows no SCTP at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SetType {
    HashIp,
    HashIpPort,
    HashIpPortIp,
    HashIpPortNet,
    BitmapPort,
}

struct Row {
    id: SetId,
    /// For IPv4 and IPv6. Names of IPv6 sets are cut at 31 bytes, the kernel's limit (`IPSET_MAXNAMELEN`).
    names: [&'static str; 2],
    set_type: SetType,
    comment: &'static str,
}

const fn row(id: SetId, names: [&'static str; 2], set_type: SetType, comment: &'static str) -> Row {
    Row { id, names, set_type, comment }
}

/// kube-proxy: `ipsetInfo`, pkg/proxy/ipvs/proxier.go; names and comments in ipset.go beside it.
const SETS: [Row; 17] = [
    row(
        SetId::LoopBack,
        ["KUBE-LOOP-BACK", "KUBE-6-LOOP-BACK"],
        SetType::HashIpPortIp,
        "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose",
    ),
    row(
        SetId::ClusterIp,
        ["KUBE-CLUSTER-IP", "KUBE-6-CLUSTER-IP"],
        SetType::HashIpPort,
        "Kubernetes service cluster ip + port for masquerade purpose",
    ),
    row(
        SetId::ExternalIp,
        ["KUBE-EXTERNAL-IP", "KUBE-6-EXTERNAL-IP"],
        SetType::HashIpPort,
        "Kubernetes service external ip + port for masquerade and filter purpose",
    ),
    row(
        SetId::ExternalIpLocal,
        ["KUBE-EXTERNAL-IP-LOCAL", "KUBE-6-EXTERNAL-IP-LOCAL"],
        SetType::HashIpPort,
        "Kubernetes service external ip + port with externalTrafficPolicy=local",
    ),
    row(
        SetId::LoadBalancer,
        ["KUBE-LOAD-BALANCER", "KUBE-6-LOAD-BALANCER"],
        SetType::HashIpPort,
        "Kubernetes service lb portal",
    ),
    row(
        SetId::LoadBalancerFw,
        ["KUBE-LOAD-BALANCER-FW", "KUBE-6-LOAD-BALANCER-FW"],
        SetType::HashIpPort,
        "Kubernetes service load balancer ip + port for load balancer with sourceRange",
    ),
    row(
        SetId::LoadBalancerLocal,
        ["KUBE-LOAD-BALANCER-LOCAL", "KUBE-6-LOAD-BALANCER-LOCAL"],
        SetType::HashIpPort,
        "Kubernetes service load balancer ip + port with externalTrafficPolicy=local",
    ),
    row(
        SetId::LoadBalancerSourceIp,
        ["KUBE-LOAD-BALANCER-SOURCE-IP", "KUBE-6-LOAD-BALANCER-SOURCE-IP"],
        SetType::HashIpPortIp,
        "Kubernetes service load balancer ip + port + source IP for packet filter purpose",
    ),
    row(
        SetId::LoadBalancerSourceCidr,
        ["KUBE-LOAD-BALANCER-SOURCE-CIDR", "KUBE-6-LOAD-BALANCER-SOURCE-CID"],
        SetType::HashIpPortNet,
        "Kubernetes service load balancer ip + port + source cidr for packet filter purpose",
    ),
    row(
        SetId::NodePortTcp,
        ["KUBE-NODE-PORT-TCP", "KUBE-6-NODE-PORT-TCP"],
        SetType::BitmapPort,
        "Kubernetes nodeport TCP port for masquerade purpose",
    ),
    row(
        SetId::NodePortLocalTcp,
        ["KUBE-NODE-PORT-LOCAL-TCP", "KUBE-6-NODE-PORT-LOCAL-TCP"],
        SetType::BitmapPort,
        "Kubernetes nodeport TCP port with externalTrafficPolicy=local",
    ),
    row(
        SetId::NodePortUdp,
        ["KUBE-NODE-PORT-UDP", "KUBE-6-NODE-PORT-UDP"],
        SetType::BitmapPort,
        "Kubernetes nodeport UDP port for masquerade purpose",
    ),
    row(
        SetId::NodePortLocalUdp,
        ["KUBE-NODE-PORT-LOCAL-UDP", "KUBE-6-NODE-PORT-LOCAL-UDP"],
        SetType::BitmapPort,
        "Kubernetes nodeport UDP port with externalTrafficPolicy=local",
    ),
    row(
        SetId::NodePortSctp,
        ["KUBE-NODE-PORT-SCTP-HASH", "KUBE-6-NODE-PORT-SCTP-HASH"],
        SetType::HashIpPort,
        "Kubernetes nodeport SCTP port for masquerade purpose with type 'hash ip:port'",
    ),
    row(
        SetId::NodePortLocalSctp,
        ["KUBE-NODE-PORT-LOCAL-SCTP-HASH", "KUBE-6-NODE-PORT-LOCAL-SCTP-HAS"],
        SetType::HashIpPort,
        "Kubernetes nodeport SCTP port with externalTrafficPolicy=local with type 'hash ip:port'",
    ),
    row(
        SetId::HealthCheckNodePort,
        ["KUBE-HEALTH-CHECK-NODE-PORT", "KUBE-6-HEALTH-CHECK-NODE-PORT"],
        SetType::BitmapPort,
        "Kubernetes health check node port",
    ),
    row(SetId::IpvsIps, ["KUBE-IPVS-IPS", "KUBE-6-IPVS-IPS"], SetType::HashIp, ""),
];

/// The number of sets.
pub(super) const SET_COUNT: usize = SETS.len();

impl SetId {
    /// Every set, in index order.
    pub(super) fn all() -> impl DoubleEndedIterator<Item = Self> {
        SETS.iter().map(|row| row.id)
    }

    /// The name.
    pub(super) fn name(self, family: IpFamily) -> &'static str {
        SETS[self as usize].names[family as usize]
    }

    /// The comment of rules that match this set.
    pub(super) fn comment(self) -> &'static str {
        SETS[self as usize].comment
    }

    /// Writes the line that creates the set.
    pub(super) fn write_create(self, text: &mut String, family: IpFamily) {
        let set_type = match SETS[self as usize].set_type {
            SetType::HashIp => "hash:ip",
            SetType::HashIpPort => "hash:ip,port",
            SetType::HashIpPortIp => "hash:ip,port,ip",
            SetType::HashIpPortNet => "hash:ip,port,net",
            SetType::BitmapPort => "bitmap:port range 0-65535\n",
        };
        text.extend(["create ", self.name(family), " ", set_type]);
        if SETS[self as usize].set_type != SetType::BitmapPort {
            let family = match family {
                IpFamily::V4 => "inet",
                IpFamily::V6 => "inet6",
            };
            text.extend([" family ", family, " hashsize 1024 maxelem 65536\n"]);
        }
    }
}

/// An address with a protocol and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Socket {
    pub(super) address: IpAddr,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
}

impl fmt::Display for Socket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, protocol, port } = self;
        write!(formatter, "{address},{}:{port}", protocol.lower())
    }
}

/// A member of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Member {
    Address(IpAddr),
    Socket(Socket),
    SocketAndSource(Socket, IpAddr),
    SocketAndNet(Socket, IpNet),
    Port(u16),
}

impl Member {
    /// True if the kernel stores it. It refuses a network with prefix length 0; kube-proxy logs the error and goes on
    /// without the member, but writes the rules for a set that has it.
    ///
    /// Linux: `hash_ipportnet4_uadt`, net/netfilter/ipset/ip_set_hash_ipportnet.c.
    pub(super) fn is_storable(&self) -> bool {
        match self {
            Self::SocketAndNet(_, net) => net.prefix_len() > 0,
            Self::Address(_) | Self::Socket(_) | Self::SocketAndSource(..) | Self::Port(_) => true,
        }
    }

    /// Writes `VERB SET MEMBER`.
    pub(super) fn write(&self, text: &mut String, verb: &str, set: SetId, family: IpFamily) {
        text.extend([verb, " ", set.name(family), " "]);
        writeln!(text, "{self}").expect("writing to a String does not fail");
    }
}

impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(formatter, "{address}"),
            Self::Socket(socket) => write!(formatter, "{socket}"),
            Self::SocketAndSource(socket, source) => write!(formatter, "{socket},{source}"),
            Self::SocketAndNet(socket, net) => write!(formatter, "{socket},{net}"),
            Self::Port(port) => write!(formatter, "{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_index_order_and_names_fit_the_kernel() {
        for (index, row) in SETS.iter().enumerate() {
            assert_eq!(row.id as usize, index);
            let renamed = row.names[0].replacen("KUBE-", "KUBE-6-", 1);
            assert_eq!(
                row.names[1],
                &renamed[..renamed.len().min(31)],
                "IPSET_MAXNAMELEN is 32 with the NUL"
            );
        }
    }
}
