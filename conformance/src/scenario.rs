//! A scenario: what happens on a network, step by step, and what must be observed.
//!
//! This is the typed form. [`read`] makes it from a `hairpin/v1` Scenario document; [`crate::prepare`] then compares
//! it with the manifests beside it.

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
pub use mode::{IpFamilies, ProxyMode};
pub(crate) use read::nearest;
pub use read::{ReadError, read};
pub use reference::{ObjectName, PortReference, Reference, Target};
pub use share::Share;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use proxy_core::objects::{Kind, Protocol};

use crate::yaml::Node;

/// `apiVersion` of hairpin's own documents.
pub const API_VERSION: &str = "hairpin/v1";

/// `kind` of a scenario.
pub const KIND: &str = "Scenario";

/// A scenario as its document says it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name, by which it is listed and found.
    pub name: String,
    /// What it shows, in one sentence.
    pub intent: String,
    /// Requirements that it covers, such as `service.external-traffic-policy.local`.
    pub requirements: Vec<String>,
    /// Proxy modes in which it runs; empty for all that there are.
    pub proxy_modes: Vec<ProxyMode>,
    /// The network beneath the cluster.
    pub network: Network,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// The network beneath the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// How pods are attached.
    pub cni: Cni,
    /// From which the nodes' pod CIDRs are taken; `10.244.0.0/16` by default.
    pub cluster_cidr: Ipv4Net,
    /// From which ClusterIPs are taken; `10.96.0.0/12` by default.
    pub service_cidr: Ipv4Net,
    /// The network that nodes and external hosts share. `None`: the smallest that holds the addresses of all nodes,
    /// but no smaller than a /24.
    pub node_cidr: Option<Ipv4Net>,
    /// The default gateway of the nodes.
    pub gateway: Gateway,
    /// Whether bridge ports of pods have the hairpin flag; true by default.
    pub is_hairpin: bool,
    /// Sysctls of every node, beside those that the CNI and kube-proxy set.
    pub sysctls: BTreeMap<String, String>,
    /// Machines outside the cluster.
    pub external_hosts: Vec<ExternalHost>,
}

/// How pods are attached to their node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cni {
    /// A bridge per node, and a route to the pods of every other node.
    Bridge,
    /// A routed veth per pod, and a route to the pods of every other node.
    Ptp,
    /// A bridge per node, and a VXLAN between nodes.
    Vxlan,
}

/// The default gateway of the nodes. Nobody needs to have that address: a route is enough for a process on a node to
/// reach a VIP, because DNAT happens before the packet leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateway {
    /// The first address of the nodes' network.
    First,
    /// This address.
    Address(Ipv4Addr),
    /// Nodes have no default route.
    None,
}

/// A machine outside the cluster, on the network of the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalHost {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its default gateway, if it has one.
    pub gateway: Option<Via>,
    /// Further routes.
    pub routes: Vec<HostRoute>,
    /// Ports on which it answers.
    pub listen: Vec<(Protocol, u16)>,
}

/// A route of an external host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    /// Destinations.
    pub to: Ipv4Net,
    /// Next hop.
    pub via: Via,
}

/// A next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// The address of this node.
    Node(String),
    /// This address.
    Address(Ipv4Addr),
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What it is about; made from the action if its author gave no name.
    pub name: String,
    /// What happens.
    pub action: Action,
    /// What must be observed.
    pub expect: Option<Expectations>,
}

/// What happens in a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Connections are opened, one after the other.
    Connect(Connect),
    /// Raw segments are sent.
    Send(Send),
    /// ICMP echo requests are sent.
    Ping(Ping),
    /// A DNS name is resolved.
    Resolve(Resolve),
    /// Manifests are applied, as `kubectl apply` does.
    Apply(Vec<Manifest>),
    /// Objects are deleted.
    Delete(Vec<ObjectReference>),
    /// Things change without a manifest.
    Set(Vec<SetChange>),
    /// Virtual time passes.
    Sleep(Duration),
    /// Nothing; the state is looked at.
    Expect,
}

/// Opening connections. For UDP: sending a datagram and waiting for the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Connect {
    /// Who connects.
    pub from: Reference,
    /// To what.
    pub to: Reference,
    /// Transport; TCP by default.
    pub protocol: Protocol,
    /// How many connections; 1 by default.
    pub count: u32,
    /// The client's port; chosen by its kernel when absent. Two steps with the same port are the same flow to
    /// conntrack.
    pub source_port: Option<u16>,
    /// How long the client waits; 5 s by default.
    pub timeout: Duration,
}

/// Sending raw packets, and saying what must come back.
#[derive(Debug, Clone, PartialEq)]
pub struct Send {
    /// Who sends.
    pub from: Reference,
    /// To what.
    pub to: Reference,
    /// Transport; TCP by default.
    pub protocol: Protocol,
    /// The sender's port; every step has one of its own when absent.
    pub source_port: Option<u16>,
    /// How long each packet that must come is waited for; 1 s by default.
    pub timeout: Duration,
    /// What is sent and what must come, in order.
    pub segments: Vec<segment::ScriptLine>,
}

/// Sending ICMP echo requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Ping {
    /// Who sends.
    pub from: Reference,
    /// To what.
    pub to: Reference,
    /// How many; 1 by default.
    pub count: u32,
    /// How long to wait for each answer; 5 s by default.
    pub timeout: Duration,
}

/// Resolving a DNS name to IPv4 addresses.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolve {
    /// Who asks.
    pub from: Reference,
    /// The name.
    pub name: String,
}

/// A manifest inside a step, not yet read: its kind decides how.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The mapping.
    pub node: Node,
    /// Where it stands in the scenario's document.
    pub path: String,
}

/// Names an object of the cluster: `service/web`, `deployment/prod/web`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectReference {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace (`default` when not given) and name.
    pub name: ObjectName,
}

/// One change without a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct SetChange {
    /// Whose.
    pub target: Target,
    /// What.
    pub change: SetChangeKind,
}

/// What can change without a manifest.
#[derive(Debug, Clone, PartialEq)]
pub enum SetChangeKind {
    /// Whether a Pod is ready, as its readiness probe would say.
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
        /// One-way delay, if it changes.
        latency: Option<Duration>,
        /// The share of frames that are lost, in each direction, if it changes.
        loss: Option<Share>,
    },
}

impl Default for Network {
    fn default() -> Self {
        Self {
            cni: Cni::Bridge,
            cluster_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16),
            service_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 12),
            node_cidr: None,
            gateway: Gateway::First,
            is_hairpin: true,
            sysctls: BTreeMap::new(),
            external_hosts: Vec::new(),
        }
    }
}

impl Action {
    /// The key of the step that stands for it.
    pub const fn keyword(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Send(_) => "send",
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
