//! What a random world is made of.
//!
//! Pods, Services and hosts have slots, which may be empty. Steps name slots, so that leaving one out does not change what
//! steps mean by the others; what they name by an empty slot is the next one that is taken.

use proxy_core::objects::Protocol;

use crate::scenario::Cni;

/// A small cluster, the network beneath it, and what happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomWorld {
    /// What happens, in order.
    pub steps: Vec<RandomStep>,
    /// `svc-0`, `svc-1`, …, by slot.
    pub services: Vec<Option<RandomService>>,
    /// `pod-0`, `pod-1`, …, by slot.
    pub pods: Vec<Option<RandomPod>>,
    /// `client`, `far`, by slot.
    pub hosts: Vec<Option<RandomHost>>,
    /// kube-proxy's configuration, the same on every node; the default if `None`.
    pub proxy: Option<RandomProxy>,
    /// Settings of every node; of two with the same name the later one counts.
    pub sysctls: Vec<RandomSysctl>,
    /// How Pods are attached.
    pub cni: Cni,
    /// The hairpin flag of bridge ports.
    pub is_hairpin: bool,
    /// Whether nodes have a default route.
    pub has_gateway: bool,
    /// `node-1`, `node-2`, …; at least one.
    pub nodes: Vec<RandomNode>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomNode {
    /// The value of the label `topology.kubernetes.io/zone`.
    pub zone: Option<&'static str>,
}

/// A sysctl and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomSysctl {
    /// Such as `net.ipv4.ip_forward`.
    pub name: &'static str,
    /// As written to the file.
    pub value: &'static str,
}

/// A machine outside of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomHost {
    /// Whether it has a default route, and by the node of which slot.
    pub gateway: Option<u8>,
    /// Further routes.
    pub routes: Vec<RandomRoute>,
    /// Whether it answers, on TCP port 443 and UDP port 53.
    pub is_listening: bool,
}

/// A route of an external host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomRoute {
    /// To where.
    pub to: &'static str,
    /// By the node of this slot.
    pub node: u8,
}

/// A Pod. Its containers declare a TCP port `http` and a UDP port `dns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomPod {
    /// The value of the label `app`.
    pub app: &'static str,
    /// The node of which slot it is on.
    pub node: u8,
    /// It shares the node's network namespace.
    pub is_host_network: bool,
    /// It does not pass its readiness probe.
    pub is_unready: bool,
    /// It has been asked to end.
    pub is_terminating: bool,
    /// The number of its port `http` is another one than usual.
    pub is_http_elsewhere: bool,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomService {
    /// Its type.
    pub kind: ServiceKind,
    /// Which Pods it selects.
    pub app: &'static str,
    /// Its ports; at least one.
    pub ports: Vec<RandomPort>,
    /// `externalTrafficPolicy: Local`, where it has external addresses or ports.
    pub is_external_local: bool,
    /// `internalTrafficPolicy: Local`.
    pub is_internal_local: bool,
    /// Session affinity by the client's address, with a timeout in seconds or the default one.
    pub affinity: Option<Option<i32>>,
    /// An address of the user's choice.
    pub external_ip: Option<ExternalIp>,
    /// Points where a load balancer takes traffic; without meaning for other types.
    pub ingress: Option<Ingress>,
    /// Who may use them.
    pub source_ranges: Option<SourceRanges>,
    /// A load balancer gets no NodePorts.
    pub has_no_node_ports: bool,
    /// Unready Pods are endpoints too.
    pub publishes_not_ready: bool,
    /// `trafficDistribution`.
    pub distribution: Option<&'static str>,
}

/// The type of a Service; headless is one of its own here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the API")]
pub enum ServiceKind {
    ClusterIp,
    NodePort,
    LoadBalancer,
    Headless,
}

/// A port of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomPort {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where it leads.
    pub target: TargetPort,
}

/// The target port of a Service's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetPort {
    /// By the name that every Pod's port has.
    Named,
    /// By the number that most Pods' ports have.
    Number,
    /// Left out: the number of the Service's own port, on which no Pod answers.
    Same,
}

/// An external address of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternalIp {
    /// One that nobody has.
    Nobody,
    /// That of the node in this slot.
    Node(u8),
}

/// How a load balancer hands over packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the API's ipMode")]
pub enum Ingress {
    Vip,
    Proxy,
}

/// Who may use a load balancer's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceRanges {
    /// The external host `client` alone.
    Client,
    /// The network of the nodes.
    Lan,
    /// Pods.
    Pods,
    /// Nobody of the world.
    Nobody,
}

/// kube-proxy's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomProxy {
    /// `iptables.masqueradeAll`.
    pub is_masquerading_all: bool,
    /// How traffic of Pods is told from other traffic.
    pub detect_local: DetectLocal,
    /// Addresses on which NodePorts answer.
    pub node_port_addresses: NodePortAddresses,
    /// `iptables.localhostNodePorts`.
    pub localhost_node_ports: Option<bool>,
    /// `iptables.masqueradeBit`.
    pub masquerade_bit: Option<i32>,
    /// `conntrack.tcpBeLiberal`.
    pub is_liberal: bool,
}

/// `detectLocalMode` with what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the API")]
pub enum DetectLocal {
    ClusterCidr,
    NodeCidr,
    BridgeInterface,
    InterfaceNamePrefix,
    /// By a cluster CIDR that is not given, so not at all.
    Nothing,
}

/// `nodePortAddresses`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// The default: all.
    All,
    /// `primary`.
    Primary,
    /// The network of the nodes.
    Lan,
    /// Loopback.
    Loopback,
    /// A network of which no node has an address.
    Nowhere,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RandomStep {
    /// Connections.
    Connect {
        /// Who connects.
        from: RandomParty,
        /// To what.
        to: RandomDestination,
        /// By what, where the destination does not say.
        protocol: Protocol,
        /// How many.
        count: u8,
        /// From a port that all such steps of the client share.
        has_source_port: bool,
    },
    /// Echo requests.
    Ping {
        /// Who asks.
        from: RandomParty,
        /// Whom; ports mean nothing.
        to: RandomDestination,
    },
    /// A Pod that is new, or one of an earlier such step with another condition.
    ApplyPod {
        /// Its slot among such Pods.
        slot: u8,
        /// The Pod.
        pod: RandomPod,
    },
    /// A Service, new or in place of the one in this slot.
    ApplyService {
        /// Its slot.
        slot: u8,
        /// The Service.
        service: RandomService,
    },
    /// A Pod goes.
    DeletePod(u8),
    /// A Service goes.
    DeleteService(u8),
    /// Something changes without a manifest.
    Set(RandomSetting),
    /// Time passes, in milliseconds.
    Sleep(u16),
}

/// A change without a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomSetting {
    /// Readiness of the Pod in this slot.
    Ready(u8, bool),
    /// The hairpin flag of the Pod in this slot.
    Hairpin(u8, bool),
    /// A sysctl of the node in this slot.
    Node(u8, RandomSysctl),
}

/// Who connects, by kind and slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RandomParty {
    Host(u8),
    Pod(u8),
    Node(u8),
}

/// To what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomDestination {
    /// The ClusterIP of the Service in this slot, by its port of this index.
    Service(u8, u8),
    /// The NodePort of the Service in the second slot, on the node in the first.
    NodePort(u8, u8, u8),
    /// The load balancer's address.
    LoadBalancer(u8, u8),
    /// The external address.
    ExternalIp(u8, u8),
    /// A Pod.
    Pod(u8),
    /// The NodePort of a Service on 127.0.0.1.
    Loopback(u8, u8),
    /// A host.
    Host(u8),
    /// The healthCheckNodePort of the Service in the second slot, on the node in the first.
    HealthCheck(u8, u8),
    /// A port of a node on which nobody answers.
    NodeClosed(u8),
    /// A port that the Service in this slot does not have, by its ClusterIP.
    ServiceClosed(u8),
    /// A port on which the Pod in this slot does not answer.
    PodClosed(u8),
    /// The address of the CNI bridge of the node in this slot.
    Bridge(u8),
    /// An address that nobody has.
    Nobody(&'static str),
}
