//! A scenario: the steps on a network, and what must be observed.
//!
//! This is the typed form. [`read`] creates it from a `hairpin/v1` Scenario document; [`crate::prepare`] then resolves
//! it against the manifests.

mod document;
mod duration;
mod expectation;
mod fault;
mod mode;
mod read;
mod reference;
pub mod segment;
mod share;

pub use duration::parse_duration;
pub use expectation::{
    ConntrackExpectation, Dropped, Expectation, Expectations, FlowStatus, OutcomePattern, SourceSeen,
    Viewpoint,
};
pub use fault::FieldFault;
pub use mode::{IpFamilies, ModeChoice, ProxyMode};
pub(crate) use read::nearest;
pub use read::{ReadError, read};
pub use reference::{ObjectKey, ObjectName, PortReference, Reference, Target, is_namespaced};
pub use share::Share;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::Ipv4Net;
use proxy_core::objects::Protocol;

use crate::yaml::Node;

/// `apiVersion` of hairpin's own documents.
pub const API_VERSION: &str = "hairpin/v1";

/// `kind` of a scenario.
pub const KIND: &str = "Scenario";

/// The longest request or response, in bytes. Above this, the receive window limits what is in flight, and some segments have
/// PSH (`forced_push`, net/ipv4/tcp.c), which depends on how the window has grown.
pub const PAYLOAD_MAX: u16 = 32_000;

/// The shortest response whose length a step can select, in bytes: longer than the line of any server.
pub const RECEIVE_MIN: u16 = 512;

/// A scenario as written in its document.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its unique name.
    pub name: String,
    /// What it shows, in one sentence; may be empty.
    pub intent: String,
    /// Requirements that it covers, such as `service.external-traffic-policy.local`.
    pub requirements: Vec<String>,
    /// Supported proxy modes; empty for all of them.
    pub proxy_modes: Vec<ProxyMode>,
    /// The network of the cluster.
    pub network: Network,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// The network of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The CNI plugin. `None`: a bridge per node, or routed Pods if their addresses are not those of the nodes' pod CIDRs.
    pub cni: Option<Cni>,
    /// The plug-in that masquerades what Pods send out of the cluster; none by default.
    pub masquerade: Masquerade,
    /// The range of the nodes' pod CIDRs. `None`: as the manifests tell, or `10.244.0.0/16`.
    pub cluster_cidr: Option<Ipv4Net>,
    /// The range of ClusterIPs. `None`: as the manifests tell, or `10.96.0.0/12`.
    pub service_cidr: Option<Ipv4Net>,
    /// The range of NodePorts. `None`: as the manifests tell, or 30000 to 32767.
    pub node_ports: Option<RangeInclusive<u16>>,
    /// The network of nodes and external hosts. `None`: the smallest one, at least a /24, that contains all nodes.
    pub node_cidr: Option<Ipv4Net>,
    /// The default gateway of the nodes.
    pub gateway: Gateway,
    /// The hairpin flag of all Pods' bridge ports; true by default.
    pub is_hairpin: bool,
    /// The MTU of the Pods' links, and so of the bridges, in bytes; 1500 by default.
    pub pod_mtu: Option<u16>,
    /// Sysctls of every node, in addition to those of the CNI and kube-proxy.
    pub sysctls: BTreeMap<String, String>,
    /// What a node has before kube-proxy starts, by its name.
    pub nodes: BTreeMap<String, NodeNetwork>,
    /// The listening ports of Pods, instead of those that manifests imply.
    pub pods: BTreeMap<ObjectName, Vec<(Protocol, u16)>>,
    /// External hosts.
    pub external_hosts: Vec<ExternalHost>,
}

/// Rules and routes of a node's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeNetwork {
    /// Sets in the format of `ipset restore`, for the rules.
    pub ipset: Option<String>,
    /// Rules in the format of `iptables-restore`.
    pub iptables: Option<String>,
    /// Routes: arguments of `ip route add`, in order.
    pub ip_routes: Vec<String>,
    /// Policy rules: arguments of `ip rule add`, in order.
    pub ip_rules: Vec<String>,
    /// Addresses in addition to that of its Node object, in order.
    pub addresses: Vec<NodeAddress>,
}

/// An additional address of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeAddress {
    /// The device.
    pub device: NodeDevice,
    /// The address and its prefix length.
    pub net: Ipv4Net,
}

/// A device of a node that may have additional addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeDevice {
    /// `lo`.
    Loopback,
    /// `eth0`.
    Uplink,
    /// `eth1`, which exists if it has an address; attached to the same switch.
    SecondUplink,
}

impl NodeDevice {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loopback => "lo",
            Self::Uplink => "eth0",
            Self::SecondUplink => "eth1",
        }
    }
}

/// The CNI plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cni {
    /// A bridge per node, and routes to the Pods of every other node.
    Bridge,
    /// A routed veth per Pod, and routes to the Pods of every other node.
    Ptp,
    /// A bridge per node, and a VXLAN between nodes.
    Vxlan,
}

/// The network plug-in that masquerades what Pods send out of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Masquerade {
    /// None.
    None,
    /// The plug-ins bridge and ptp with `ipMasq`.
    Bridge,
    /// flannel.
    Flannel,
    /// kindnet, of kind.
    Kindnet,
    /// Calico with `natOutgoing`.
    Calico,
    /// ip-masq-agent.
    IpMasqAgent,
    /// The VPC CNI of Amazon.
    VpcCni,
}

impl Masquerade {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Bridge,
        Self::Flannel,
        Self::Kindnet,
        Self::Calico,
        Self::IpMasqAgent,
        Self::VpcCni,
    ];

    /// Its name in scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bridge => "bridge",
            Self::Flannel => "flannel",
            Self::Kindnet => "kindnet",
            Self::Calico => "calico",
            Self::IpMasqAgent => "ip-masq-agent",
            Self::VpcCni => "vpc-cni",
        }
    }
}

/// The default gateway of the nodes. The address need not exist: a route is sufficient for a process on a node to reach
/// a VIP, because DNAT is applied before the packet leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateway {
    /// The first address of the node network.
    First,
    /// This address.
    Address(Ipv4Addr),
    /// Nodes have no default route.
    None,
}

/// A host outside of the cluster, on the node network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalHost {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its default gateway, if any.
    pub gateway: Option<Via>,
    /// Additional routes.
    pub routes: Vec<HostRoute>,
    /// Listening ports.
    pub listen: Vec<(Protocol, u16)>,
}

/// A route of an external host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    /// The destination network.
    pub to: Ipv4Net,
    /// The next hop.
    pub via: Via,
}

/// A next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// The address of this node.
    Node(String),
    /// This address.
    Address(Ipv4Addr),
    /// None: destinations are on the link.
    Link,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name; derived from the action by default.
    pub name: String,
    /// The action.
    pub action: Action,
    /// The expectations.
    pub expect: Option<Expectations>,
}

/// The action of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Opens connections, one after the other.
    Connect(Connect),
    /// Plays a script of raw packets.
    Send(Send),
    /// Sends another request on connections that an earlier step kept open.
    SendAgain(SendAgain),
    /// Closes connections that an earlier step kept open.
    Close {
        /// Their name.
        name: String,
    },
    /// Sends ICMP echo requests.
    Ping(Ping),
    /// Resolves a DNS name.
    Resolve(Resolve),
    /// Applies manifests, like `kubectl apply`.
    Apply(Vec<Manifest>),
    /// Deletes objects.
    Delete(Vec<ObjectKey>),
    /// Changes without manifests.
    Set(Vec<SetChange>),
    /// Lets virtual time pass.
    Sleep(Duration),
    /// No action; only the state is checked.
    Expect,
}

/// Opens connections. For UDP: sends a datagram and waits for the response.
#[derive(Debug, Clone, PartialEq)]
pub struct Connect {
    /// The client.
    pub from: Reference,
    /// The destination.
    pub to: Reference,
    /// Transport; TCP by default.
    pub protocol: Protocol,
    /// Number of connections; 1 by default.
    pub count: u32,
    /// The source port; chosen by the kernel if absent. Steps with the same port continue the same conntrack flow.
    pub source_port: Option<u16>,
    /// The client's timeout; 5 s by default.
    pub timeout: Duration,
    /// Length of the request in bytes.
    pub send: Option<u16>,
    /// Length of the response in bytes.
    pub receive: Option<u16>,
    /// The path of a GET over HTTP.
    pub http: Option<String>,
    /// The name by which later steps use the connections, which stay open; closed after the response if absent.
    pub keep: Option<String>,
}

/// Sends another request on connections that an earlier step kept open.
#[derive(Debug, Clone, PartialEq)]
pub struct SendAgain {
    /// The name of the connections.
    pub name: String,
    /// The client's timeout; 5 s by default.
    pub timeout: Duration,
}

/// Sends raw packets and checks the replies.
#[derive(Debug, Clone, PartialEq)]
pub struct Send {
    /// The connection that the packets belong to.
    pub connection: ScriptConnection,
    /// Timeout of each expected packet; 1 s by default.
    pub timeout: Duration,
    /// The lines to send and to expect, in order.
    pub segments: Vec<segment::ScriptLine>,
}

/// The protocol of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptProtocol {
    /// A transport protocol, and ICMP errors about its packets.
    Transport(Protocol),
    /// ICMP echo, and ICMP errors about it.
    Icmp,
}

impl ScriptProtocol {
    /// Its name in scenarios: `tcp`, `udp`, `sctp`, `icmp`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transport(protocol) => protocol.lower(),
            Self::Icmp => "icmp",
        }
    }
}

/// The connection of a script.
#[derive(Debug, Clone, PartialEq)]
pub enum ScriptConnection {
    /// It begins with this step.
    New {
        /// The sender.
        from: Reference,
        /// The destination.
        to: Reference,
        /// The protocol; TCP by default.
        protocol: ScriptProtocol,
        /// The source port, or the identifier of echo requests; unique per step if absent.
        source_port: Option<u16>,
        /// The name by which later steps continue it, if they do.
        name: Option<String>,
    },
    /// It began with the earlier step that gave it this name.
    Continued(String),
}

/// Sends ICMP echo requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Ping {
    /// The sender.
    pub from: Reference,
    /// The destination.
    pub to: Reference,
    /// Number of requests; 1 by default.
    pub count: u32,
    /// Timeout of each reply; 5 s by default.
    pub timeout: Duration,
}

/// Resolves a DNS name to IPv4 addresses.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolve {
    /// The client.
    pub from: Reference,
    /// The name.
    pub name: String,
}

/// A manifest inside a step, not parsed yet, because that depends on its kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The mapping.
    pub node: Node,
    /// Its path in the scenario's document.
    pub path: String,
}

/// One change without a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct SetChange {
    /// The target.
    pub target: Target,
    /// The change.
    pub change: SetChangeKind,
}

/// A change without a manifest.
#[derive(Debug, Clone, PartialEq)]
pub enum SetChangeKind {
    /// Readiness of a Pod, as reported by its readiness probe.
    Ready(bool),
    /// The hairpin flag of a Pod's bridge port.
    Hairpin(bool),
    /// A sysctl of the target's network namespace.
    Sysctl {
        /// Such as `net.ipv4.ip_forward`.
        name: String,
        /// As written to the file.
        value: String,
    },
    /// The link between the target and its switch or node.
    Link {
        /// The new one-way delay, if it changes.
        latency: Option<Duration>,
        /// The new share of lost frames in each direction, if it changes.
        loss: Option<Share>,
        /// The new MTU of both ends, in bytes, if it changes.
        mtu: Option<u16>,
        /// The new state of the target's own device, if it changes.
        device: Option<LinkState>,
        /// The new state of the other end, if it changes: a port of the switch, of a node's bridge, or of a node.
        port: Option<LinkState>,
    },
}

/// The state of one end of a link, as set by `ip link set DEVICE up` or `down`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of ip(8)")]
pub enum LinkState {
    Up,
    Down,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            cni: None,
            masquerade: Masquerade::None,
            cluster_cidr: None,
            service_cidr: None,
            node_ports: None,
            node_cidr: None,
            gateway: Gateway::First,
            is_hairpin: true,
            pod_mtu: None,
            sysctls: BTreeMap::new(),
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            external_hosts: Vec::new(),
        }
    }
}

impl Action {
    /// The keyword of the action in a step.
    pub const fn keyword(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Send(_) | Self::SendAgain(_) => "send",
            Self::Close { .. } => "close",
            Self::Ping(_) => "ping",
            Self::Resolve(_) => "resolve",
            Self::Apply(_) => "apply",
            Self::Delete(_) => "delete",
            Self::Set(_) => "set",
            Self::Sleep(_) => "sleep",
            Self::Expect => "expect",
        }
    }
}

#[cfg(test)]
mod tests;
