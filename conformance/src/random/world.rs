//! The parts of a random world.
//!
//! Pods, Services and hosts have slots, which may be empty. Steps refer to slots, so that removing an object does not
//! change what steps refer to otherwise; a reference to an empty slot means the next occupied one.

use proxy_core::objects::Protocol;
use sim::wire::TcpFlags;

use crate::scenario::Cni;

/// A small cluster, its network, and the steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomWorld {
    /// The steps, in order.
    pub steps: Vec<RandomStep>,
    /// `svc-0`, `svc-1`, …, by slot.
    pub services: Vec<Option<RandomService>>,
    /// `pod-0`, `pod-1`, …, by slot.
    pub pods: Vec<Option<RandomPod>>,
    /// `client`, `far`, `near`, `router`, by slot.
    pub hosts: Vec<Option<RandomHost>>,
    /// kube-proxy's configuration, the same on every node; the default if `None`.
    pub proxy: Option<RandomProxy>,
    /// Sysctls of every node; the last one with the same name applies.
    pub sysctls: Vec<RandomSysctl>,
    /// The CNI plugin.
    pub cni: Cni,
    /// The hairpin flag of all bridge ports.
    pub is_hairpin: bool,
    /// The default route of the nodes.
    pub gateway: RandomGateway,
    /// `node-1`, `node-2`, …; at least one.
    pub nodes: Vec<RandomNode>,
    /// A link that loses a share of its frames from the beginning, if any.
    pub loss: Option<RandomLoss>,
    /// Addresses of nodes on a second device, if any.
    pub second: Option<RandomSecond>,
    /// An MTU other than the default, if any.
    pub mtu: Option<RandomMtu>,
    /// A script of fragments or ICMP after all other steps, if any.
    pub pieces: Option<RandomPieces>,
    /// Policy routing of a node, if any.
    pub policy: Option<RandomPolicy>,
    /// What happens between the steps.
    pub events: Vec<RandomEvent>,
    /// Waits between the steps that cross timeouts of conntrack.
    pub waits: Vec<RandomWait>,
    /// Connections that stay open over several steps.
    pub kept: Vec<RandomKept>,
    /// How waits pass.
    pub time: Time,
    /// In IPVS mode, its settings; `None` in iptables mode.
    pub ipvs: Option<RandomIpvs>,
}

/// How waits pass where a world runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// They cost nothing: conntrack has its default timeouts.
    Virtual,
    /// On a kernel, by the clock of the machine: long waits and conntrack's timeouts are scaled alike.
    Real,
}

/// Policy routing of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomPolicy {
    /// The slot of the node.
    pub node: u8,
    /// Its rules and routes.
    pub routing: RandomRouting,
}

/// Rules and routes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomRouting {
    /// Arguments of `ip rule add`.
    pub rule: &'static str,
    /// Arguments of `ip route add`.
    pub route: Option<&'static str>,
    /// Rules of iptables that set a mark.
    pub iptables: Option<&'static str>,
}

/// Something that happens between two steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomEvent {
    /// The index of the step before which it happens; after the last step, if there is none.
    pub before: u8,
    /// What happens.
    pub kind: RandomEventKind,
}

/// What happens between two steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RandomEventKind {
    /// An end of a machine's link goes down or up.
    End(RandomParty, RandomEnd, bool),
    /// A node joins, and with it a Pod there.
    Join(RandomNode, RandomPod),
    /// The node in this slot leaves, unless it is a host's next hop or the last one.
    Leave(u8),
}

/// An end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomEnd {
    /// The machine's own device.
    Device,
    /// The other end.
    Port,
}

/// A wait that crosses timeouts of conntrack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomWait {
    /// As [`RandomEvent::before`].
    pub before: u8,
    /// In milliseconds of virtual time.
    pub milliseconds: u32,
}

/// Settings of IPVS mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomIpvs {
    /// `ipvs.scheduler`; the default if `None`.
    pub scheduler: Option<&'static str>,
    /// `ipvs.strictARP`.
    pub is_arp_strict: bool,
    /// `ipvs.tcpTimeout`, `tcpFinTimeout` and `udpTimeout`, in this order.
    pub timeouts: Option<[&'static str; 3]>,
    /// A sysctl of every node, set after kube-proxy has started.
    pub sysctl: Option<RandomSysctl>,
}

/// Connections that stay open over several steps. Those on links that lose a share of their frames are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomKept {
    /// The client.
    pub from: RandomParty,
    /// The destination.
    pub to: RandomDestination,
    /// The protocol, if the destination does not determine it.
    pub protocol: Protocol,
    /// The number of connections.
    pub count: u8,
    /// They are opened before the step with this index, or after all steps if there are fewer.
    pub begin: u8,
    /// What is done with them, each so many steps later than what is before it.
    pub later: Vec<(u8, RandomKeptAction)>,
}

/// What a step does with connections that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomKeptAction {
    /// Another request on each.
    Send,
    /// They are closed.
    Close,
}

/// Addresses of nodes on a second device. NodePorts and closed ports of such a node are reached by them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomSecond {
    /// The addresses.
    pub addresses: Vec<RandomSecondAddress>,
    /// The route of all hosts to the second network: over the node in this slot, or none, so that they ask by ARP. The way
    /// back is another one, unless the node has the address itself.
    pub via: Option<u8>,
}

/// The address of a node on a second device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomSecondAddress {
    /// The slot of the node.
    pub node: u8,
    /// True for one of the node network on `lo`, false for one of a second network on `eth1`.
    pub is_loopback: bool,
    /// A sysctl of that node; for addresses on `lo`, `DEVICE` means `eth0`.
    pub sysctl: Option<RandomSysctl>,
}

/// An MTU from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomMtu {
    /// The machine on the link; the Pod network if `None`.
    pub party: Option<RandomParty>,
    /// The MTU, in bytes.
    pub bytes: u16,
}

/// A script of fragments or ICMP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomPieces {
    /// The sender; `client`, if it shares a node's network.
    pub from: RandomParty,
    /// The destination.
    pub to: RandomDestination,
    /// What it sends.
    pub kind: RandomPiecesKind,
}

/// What a script of fragments or ICMP sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RandomPiecesKind {
    /// A packet of 1,400 bytes of data.
    Large {
        /// Its DF flag.
        is_df: bool,
    },
    /// A datagram in fragments.
    Fragments {
        /// Their size, in bytes.
        size: u16,
        /// Their DF flag.
        is_df: bool,
    },
    /// Single fragments of a datagram of 2,000 bytes, in any order, from a list of text.
    Single(Vec<&'static str>),
    /// An echo request.
    Echo {
        /// The length of its data, in bytes.
        len: u16,
    },
    /// A datagram, and an ICMP error about a reply to it.
    Error(&'static str),
}

/// A link that loses a share of its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomLoss {
    /// The machine on the link.
    pub party: RandomParty,
    /// The share, in each direction.
    pub share: &'static str,
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

/// An external host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomHost {
    /// The next hop of its default route, if any.
    pub gateway: Option<RandomNextHop>,
    /// Additional routes.
    pub routes: Vec<RandomRoute>,
    /// True if it listens on TCP port 443 and UDP port 53.
    pub is_listening: bool,
}

/// A route of an external host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomRoute {
    /// The destination.
    pub to: &'static str,
    /// The next hop.
    pub via: RandomNextHop,
}

/// A next hop on the node network, by slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomNextHop {
    /// A node.
    Node(u8),
    /// An external host, which forwards only if a sysctl says so; the first node, if it is the same host.
    Host(u8),
}

/// The default route of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomGateway {
    /// The default: the switch.
    Switch,
    /// None.
    Missing,
    /// The external host in this slot.
    Host(u8),
}

/// A Pod. Its containers declare a TCP port `http` and a UDP port `dns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomPod {
    /// The value of the label `app`.
    pub app: &'static str,
    /// The slot of its node.
    pub node: u8,
    /// True if it uses the node's network namespace.
    pub is_host_network: bool,
    /// True if its readiness probe fails.
    pub is_unready: bool,
    /// True if it is being deleted.
    pub is_terminating: bool,
    /// True if its port `http` has an unusual number.
    pub is_http_elsewhere: bool,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomService {
    /// The type.
    pub kind: ServiceKind,
    /// The value of `app` in its selector.
    pub app: &'static str,
    /// Its ports; at least one.
    pub ports: Vec<RandomPort>,
    /// `externalTrafficPolicy: Local`, if it has external addresses or ports.
    pub is_external_local: bool,
    /// `internalTrafficPolicy: Local`.
    pub is_internal_local: bool,
    /// Session affinity by client address, with a timeout in seconds or the default.
    pub affinity: Option<Option<i32>>,
    /// An external IP.
    pub external_ip: Option<ExternalIp>,
    /// The ipMode of its load balancer; unused for other types.
    pub ingress: Option<Ingress>,
    /// Its loadBalancerSourceRanges.
    pub source_ranges: Option<RandomSourceRanges>,
    /// A load balancer without NodePorts.
    pub has_no_node_ports: bool,
    /// publishNotReadyAddresses.
    pub publishes_not_ready: bool,
    /// `trafficDistribution`.
    pub distribution: Option<&'static str>,
    /// The endpoints of a hand-written EndpointSlice, which replace the selector.
    pub slice: Option<Vec<RandomEndpoint>>,
}

/// An endpoint of a hand-written EndpointSlice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomEndpoint {
    /// Its address.
    pub addr: RandomAddress,
    /// Its condition `ready`.
    pub is_ready: bool,
}

/// An address, by what it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomAddress {
    /// The external host in this slot, or that slot's address.
    Host(u8),
    /// The node in this slot.
    Node(u8),
    /// The CNI bridge of the node in this slot.
    Bridge(u8),
    /// A Pod of the node in the first slot, by its place among the node's addresses for Pods.
    Pod(u8, u8),
    /// Any other address.
    Other(&'static str),
}

/// The type of a Service; headless is a separate one here.
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
    /// The target port.
    pub target: TargetPort,
}

/// The target port of a Service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetPort {
    /// The name that every Pod's port has.
    Named,
    /// The number that most Pods' ports have.
    Number,
    /// Omitted: the number of the Service port, on which no Pod listens.
    Same,
}

/// An external IP of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternalIp {
    /// An unused address.
    Nobody,
    /// The address of the node in this slot.
    Node(u8),
}

/// How a load balancer delivers packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the API's ipMode")]
pub enum Ingress {
    Vip,
    Proxy,
}

/// The sources that may use a load balancer address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomSourceRanges {
    /// Only the external host `client`.
    Client,
    /// The node network.
    Lan,
    /// Pods.
    Pods,
    /// No host of the world.
    Nobody,
}

/// kube-proxy's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomProxy {
    /// `iptables.masqueradeAll`.
    pub is_masquerading_all: bool,
    /// How traffic from Pods is detected.
    pub detect_local: DetectLocal,
    /// Node addresses that accept NodePort traffic.
    pub node_port_addresses: RandomNodePortAddresses,
    /// `iptables.localhostNodePorts`.
    pub localhost_node_ports: Option<bool>,
    /// `iptables.masqueradeBit`.
    pub masquerade_bit: Option<i32>,
    /// `conntrack.tcpBeLiberal`.
    pub is_liberal: bool,
}

/// `detectLocalMode` with its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the API")]
pub enum DetectLocal {
    ClusterCidr,
    NodeCidr,
    BridgeInterface,
    InterfaceNamePrefix,
    /// By cluster CIDR, but without one: traffic from Pods is not detected.
    Nothing,
}

/// `nodePortAddresses`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomNodePortAddresses {
    /// The default: all.
    All,
    /// `primary`.
    Primary,
    /// The node network.
    Lan,
    /// Loopback.
    Loopback,
    /// A network without any node address.
    Nowhere,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RandomStep {
    /// Connections.
    Connect {
        /// The client.
        from: RandomParty,
        /// The destination.
        to: RandomDestination,
        /// The protocol, if the destination does not determine it.
        protocol: Protocol,
        /// The number of connections.
        count: u8,
        /// True to use the source port that all such steps of the client share.
        has_source_port: bool,
        /// Length of the request in bytes.
        send: Option<u16>,
        /// Length of the response in bytes.
        receive: Option<u16>,
    },
    /// Echo requests.
    Ping {
        /// The sender.
        from: RandomParty,
        /// The destination; ports are ignored.
        to: RandomDestination,
    },
    /// A script of raw packets.
    Send {
        /// The sender; `client`, if it shares a node's network.
        from: RandomParty,
        /// The destination.
        to: RandomDestination,
        /// The protocol, if the destination does not determine it.
        protocol: Protocol,
        /// The lines.
        lines: Vec<RandomLine>,
        /// True to use the source port that connections with a fixed port have.
        has_source_port: bool,
    },
    /// Adds a Pod, or changes one that such a step added.
    ApplyPod {
        /// Its slot among such Pods.
        slot: u8,
        /// The Pod.
        pod: RandomPod,
    },
    /// Adds a Service, or replaces the one in this slot.
    ApplyService {
        /// Its slot.
        slot: u8,
        /// The Service.
        service: RandomService,
    },
    /// Deletes a Pod.
    DeletePod(u8),
    /// Deletes a Service.
    DeleteService(u8),
    /// A change without a manifest.
    Set(RandomSetting),
    /// Lets time pass, in milliseconds.
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
    /// A sysctl of any machine.
    Sysctl(RandomParty, RandomSysctl),
    /// Connects or disconnects a machine.
    Link(RandomParty, bool),
}

/// A line of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomLine {
    /// Sends a packet.
    Send(RandomPacket),
    /// Waits for the SYN-ACK of a connection; nothing for UDP.
    AwaitSynAck,
}

/// A packet of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomPacket {
    /// Control bits of a TCP segment.
    pub flags: TcpFlags,
    /// Its relative sequence number.
    pub seq: u32,
    /// Length of the data in bytes.
    pub len: u16,
    /// TTL in hops; the default if `None`.
    pub ttl: Option<u8>,
    /// A forged source address.
    pub source: Option<RandomAddress>,
    /// True for a wrong checksum.
    pub is_checksum_bad: bool,
    /// Milliseconds to wait before. Never zero: a kernel takes a packet along its whole path before the sender continues,
    /// whereas the links of the simulator take time. Sums are far from 40, 80, 160 and 320, the intervals of redirects.
    pub delay: u16,
}

/// A client, by kind and slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RandomParty {
    Host(u8),
    Pod(u8),
    Node(u8),
}

/// A destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomDestination {
    /// The ClusterIP of the Service in this slot, with its port of this index.
    Service(u8, u8),
    /// The NodePort of the Service in the second slot, on the node in the first.
    NodePort(u8, u8, u8),
    /// The load balancer address of a Service.
    LoadBalancer(u8, u8),
    /// The external IP of a Service.
    ExternalIp(u8, u8),
    /// A Pod.
    Pod(u8),
    /// The NodePort of a Service on 127.0.0.1.
    Loopback(u8, u8),
    /// A host.
    Host(u8),
    /// The healthCheckNodePort of the Service in the second slot, on the node in the first.
    HealthCheck(u8, u8),
    /// A port of a node without a listener.
    NodeClosed(u8),
    /// A port that the Service in this slot does not define, on its ClusterIP.
    ServiceClosed(u8),
    /// A port on which the Pod in this slot does not listen.
    PodClosed(u8),
    /// The address of the CNI bridge of the node in this slot.
    Bridge(u8),
    /// An unused address.
    Nobody(&'static str),
}
