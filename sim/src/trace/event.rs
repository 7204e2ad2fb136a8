//! Events. There is one small enum per subsystem, so that each has one small printer.

use crate::ct::{CtInfo, TcpState};
use crate::drop_reason::DropReason;
use crate::hook::{Family, Hook};
use crate::ids::{DeviceId, EntryId, FlowId, NetnsId, PacketId, SocketId};
use crate::ipvs::{self, SchedulerKind, ServiceKey, Why};
use crate::packet::Origin;
use crate::route::RouteResult;
use crate::time::Instant;
use crate::tuple::{Direction, Tuple};
use crate::wire::{MacAddr, rewrite::Side};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// An entry of the event stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TraceEvent {
    /// The time.
    pub at: Instant,
    /// The netns.
    pub netns: NetnsId,
    /// The packet being processed, if any.
    pub packet: Option<PacketId>,
    /// The event.
    pub event: Event,
}

/// An event, by subsystem.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A packet was created or ended.
    Packet(PacketEvent),
    /// A frame passed a device.
    Device(DeviceEvent),
    /// A bridge decision.
    Bridge(BridgeEvent),
    /// A packet entered a hook, or an entry returned a verdict.
    Hook(HookEvent),
    /// A rule matched, or a policy applied.
    Rule(RuleEvent),
    /// Conntrack processed a packet.
    Conntrack(ConntrackEvent),
    /// NAT bound the flow or translated the packet.
    Nat(NatEvent),
    /// IPVS decided about a packet, or changed it.
    Ipvs(IpvsEvent),
    /// A routing decision.
    Route(RouteEvent),
    /// A neighbour was queried, or answered.
    Neigh(NeighEvent),
    /// An event at a socket that its user observes.
    Socket(SocketEvent),
}

/// The life cycle of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PacketEvent {
    /// The packet was created.
    Created {
        /// The reason.
        origin: Origin,
        /// The packet that it answers or copies.
        cause: Option<PacketId>,
        /// Its flow.
        flow: Option<FlowId>,
        /// Its bytes, starting with the Ethernet header.
        frame: Box<[u8]>,
    },
    /// The packet ended.
    Ended {
        /// Its flow.
        flow: Option<FlowId>,
        /// How it ended.
        terminal: Terminal,
    },
}

/// The end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Terminal {
    /// Delivered to a socket.
    Delivered {
        /// The socket.
        socket: SocketId,
    },
    /// Processed by the kernel itself: ARP, ICMP echo, ICMP errors.
    Consumed,
    /// Dropped.
    Dropped(DropReason),
    /// Dropped, and an error is sent to the sender.
    Rejected(DropReason),
    /// A fragment that became part of a reassembled packet.
    Reassembled {
        /// The reassembled packet.
        into: PacketId,
    },
    /// Fragmented; the fragments continue.
    Fragmented,
}

/// A frame at a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DeviceEvent {
    /// Received by the device (`__netif_receive_skb_core`).
    Received {
        /// The device.
        device: DeviceId,
        /// The frame.
        frame: Box<[u8]>,
    },
    /// Sent by the device (`dev_queue_xmit`).
    Transmitted {
        /// The device.
        device: DeviceId,
        /// The frame.
        frame: Box<[u8]>,
    },
}

/// A decision of a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BridgeEvent {
    /// A source MAC was learned or moved (`br_fdb_update`).
    Learned {
        /// The port.
        port: DeviceId,
        /// The source.
        mac: MacAddr,
    },
    /// Forwarded to the port from the FDB (`br_forward`).
    Forwarded {
        /// The port.
        port: DeviceId,
    },
    /// Sent to every eligible port (`br_flood`).
    Flooded,
    /// Passed to the bridge device itself (`br_pass_frame_up`).
    PassedUp,
    /// Not delivered to this port (`should_deliver`): it is the ingress port and hairpin mode is off, or the port is down.
    NotDelivered {
        /// The port.
        port: DeviceId,
    },
    /// br_netfilter detected DNAT; the packet stays on the bridge with a new MAC (`br_nf_pre_routing_finish_bridge`).
    DnatBridged,
}

/// Traversal of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HookEvent {
    /// The packet entered the hook (`nf_hook_slow`).
    Entered {
        /// Family.
        family: Family,
        /// Hook.
        hook: Hook,
        /// Input device.
        in_dev: Option<DeviceId>,
        /// Output device.
        out_dev: Option<DeviceId>,
    },
    /// Every entry of the hook accepted the packet.
    Accepted {
        /// Hook.
        hook: Hook,
    },
    /// An entry dropped the packet.
    Dropped {
        /// Hook.
        hook: Hook,
        /// The reason.
        reason: DropReason,
    },
}

/// The location of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleRef {
    /// Family of the ruleset.
    pub family: Family,
    /// Table name.
    pub table: &'static str,
    /// Chain name.
    pub chain: Arc<str>,
    /// Position within its chain, from 1.
    pub number: u32,
    /// From which text it came.
    pub source: Arc<RuleSource>,
}

/// The text that a rule was loaded from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleSource {
    /// The name that the loader gave the text: `iptables.rules`.
    pub file: Arc<str>,
    /// Line of that text, from 1.
    pub line: u32,
    /// The rule as written, without its line break.
    pub text: Box<str>,
}

/// The effect of a rule or a chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RuleEvent {
    /// All matches of the rule were true, and its target was executed.
    Matched {
        /// The rule.
        rule: RuleRef,
        /// The effect of the target.
        action: RuleAction,
    },
    /// A base chain ended without a verdict, and its policy applied.
    Policy {
        /// Family of the ruleset.
        family: Family,
        /// Table name.
        table: &'static str,
        /// Chain name.
        chain: Arc<str>,
        /// True for ACCEPT, false for DROP.
        is_accept: bool,
    },
}

/// The effect of a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RuleAction {
    /// No target, or a non-terminating one.
    Continue,
    /// The packet continues with the next hook entry.
    Accept,
    /// The packet is dropped.
    Drop,
    /// The packet is dropped, and an error is sent to its sender.
    Reject,
    /// Evaluation continues in that chain.
    Jump(Arc<str>),
    /// Like a jump, but without return.
    Goto(Arc<str>),
    /// Evaluation continues after the jump, or with the policy.
    Return,
    /// The packet mark changed.
    Mark {
        /// Before.
        old: u32,
        /// After.
        new: u32,
    },
    /// The conntrack mark changed.
    CtMark {
        /// Before.
        old: u32,
        /// After.
        new: u32,
    },
    /// The MSS that a SYN announces was lowered, or announced in its place.
    Mss {
        /// Before; `None` if the SYN announced none.
        old: Option<u16>,
        /// After.
        new: u16,
    },
    /// NAT was set up; the preceding [`NatEvent`] has the details.
    Nat,
    /// The packet is exempt from conntrack.
    NoTrack,
}

/// A conntrack event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConntrackEvent {
    /// No entry existed; an unconfirmed one was created.
    New {
        /// The entry.
        entry: EntryId,
        /// Its original tuple.
        original: Tuple,
    },
    /// The packet belongs to this entry.
    Found {
        /// The entry.
        entry: EntryId,
        /// Relation of the packet to it.
        info: CtInfo,
        /// Original tuple.
        original: Tuple,
        /// Reply tuple.
        reply: Tuple,
    },
    /// The packet belongs to no flow and cannot start one.
    Invalid {
        /// A description of the reason.
        why: &'static str,
    },
    /// The packet is exempt (NOTRACK).
    Untracked,
    /// TCP state changed.
    TcpStateChanged {
        /// The entry.
        entry: EntryId,
        /// Before.
        from: TcpState,
        /// After.
        to: TcpState,
    },
    /// The entry was inserted into the table.
    Confirmed {
        /// The entry.
        entry: EntryId,
        /// Original tuple.
        original: Tuple,
        /// Reply tuple.
        reply: Tuple,
    },
    /// The entry was removed from the table.
    Deleted {
        /// The entry.
        entry: EntryId,
        /// Original tuple.
        original: Tuple,
    },
}

/// A NAT event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NatEvent {
    /// The flow got a binding for this manip; the reply tuple contains it.
    Bound {
        /// The entry.
        entry: EntryId,
        /// Source or destination.
        manip: Side,
        /// Reply tuple before.
        old_reply: Tuple,
        /// Reply tuple after; equal for a null binding.
        new_reply: Tuple,
    },
    /// The packet was rewritten.
    Translated {
        /// Source or destination.
        manip: Side,
        /// Direction of the packet.
        direction: Direction,
        /// Address and port (or identifier) before.
        from: (IpAddr, u16),
        /// Address and port after.
        to: (IpAddr, u16),
    },
    /// The packet quoted in an ICMP error was translated as well (`nf_nat_icmp_reply_translation`).
    QuoteTranslated {
        /// Source or destination of the quoted packet.
        manip: Side,
    },
}

/// A decision of IPVS, or its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpvsEvent {
    /// The packet opened a connection, for which the scheduler selected a real server (`ip_vs_schedule`).
    Scheduled {
        /// The virtual service.
        service: ServiceKey,
        /// Its scheduler.
        scheduler: SchedulerKind,
        /// Why it selected the server.
        why: Why,
        /// Client and virtual address.
        flow: ipvs::FlowKey,
        /// The real server.
        server: SocketAddr,
        /// State of the connection after the packet.
        state: ipvs::State,
    },
    /// The packet comes from the client of a connection, or is an error about one.
    Found {
        /// Client and virtual address.
        flow: ipvs::FlowKey,
        /// The real server.
        server: SocketAddr,
        /// State of the connection after the packet.
        state: ipvs::State,
    },
    /// The packet comes from the real server of a connection (`handle_response`).
    Replied {
        /// Client and virtual address.
        flow: ipvs::FlowKey,
        /// The real server.
        server: SocketAddr,
        /// State of the connection after the packet.
        state: ipvs::State,
    },
    /// The packet is dropped.
    Refused(ipvs::Refusal),
    /// Address and port of one side were rewritten.
    Translated {
        /// Source or destination.
        side: Side,
        /// Before.
        from: SocketAddr,
        /// After.
        to: SocketAddr,
    },
    /// An ICMP error and its quote were rewritten (`ip_vs_nat_icmp`).
    ErrorTranslated {
        /// The side of the error; in the quote, the other side was rewritten.
        side: Side,
        /// Address of that side, and port of the quote.
        to: SocketAddr,
    },
    /// The packet is the payload of another one now (`ip_vs_tunnel_xmit`).
    Encapsulated {
        /// Destination of the outer packet.
        server: IpAddr,
    },
    /// The packet is exempt from conntrack from now on, because `net.ipv4.vs.conntrack` is 0 (`ip_vs_notrack`).
    Untracked,
    /// The reply tuple of its new conntrack entry was changed (`ip_vs_update_conntrack`).
    ConntrackAltered {
        /// The entry.
        entry: EntryId,
        /// Reply tuple before.
        old_reply: Tuple,
        /// Reply tuple after.
        new_reply: Tuple,
    },
}

/// A routing decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteEvent {
    /// For a received packet (`ip_route_input_slow`).
    Input {
        /// Destination.
        dst: IpAddr,
        /// The route, or why there is none.
        result: Result<RouteResult, DropReason>,
    },
    /// For a locally generated packet (`ip_route_output_key_hash_rcu`).
    Output {
        /// Destination.
        dst: IpAddr,
        /// The route, or why there is none.
        result: Result<RouteResult, DropReason>,
    },
    /// An ICMP redirect was followed: a gateway was learned for a destination (`__ip_do_redirect`).
    Learned {
        /// Destination.
        dst: IpAddr,
        /// The gateway.
        gateway: IpAddr,
    },
    /// An ICMP error about an own packet lowered the path MTU of a destination (`__ip_rt_update_pmtu`).
    PathMtu {
        /// Destination.
        dst: IpAddr,
        /// The path MTU in bytes.
        bytes: u16,
    },
    /// An ICMP redirect was ignored.
    RedirectIgnored {
        /// The gateway that it names.
        gateway: IpAddr,
        /// Why.
        reason: IgnoredRedirect,
    },
}

/// Why an ICMP redirect was not followed (`__ip_do_redirect`, net/ipv4/route.c; `tcp_v4_err`, net/ipv4/tcp_ipv4.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IgnoredRedirect {
    /// No socket of this netns sent the quoted packet, or it has no route cached.
    NoSocket,
    /// A program is in a system call on the socket.
    SocketLocked,
    /// It does not come from the current gateway.
    NotFromGateway,
    /// `accept_redirects` is off.
    Disabled,
    /// The gateway is not a unicast address of another host, or the code is unknown.
    Invalid,
    /// The gateway is on another subnet, and `shared_media` is off.
    OtherSubnet,
    /// The gateway is not that of a route, with `secure_redirects` and without `shared_media`.
    UnknownGateway,
    /// The address of the gateway is not resolved yet; an ARP request is sent.
    Unresolved,
}

/// A neighbour event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NeighEvent {
    /// An ARP request is sent.
    Solicited {
        /// Device.
        device: DeviceId,
        /// The requested address.
        addr: IpAddr,
    },
    /// The address was resolved.
    Resolved {
        /// Device.
        device: DeviceId,
        /// Address.
        addr: IpAddr,
        /// Its MAC.
        mac: MacAddr,
    },
    /// Resolution failed.
    Failed {
        /// Device.
        device: DeviceId,
        /// Address.
        addr: IpAddr,
    },
}

/// An event that a socket's user observes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SocketEvent {
    /// A flow started.
    Opened {
        /// The flow.
        flow: FlowId,
        /// The socket.
        socket: SocketId,
        /// Protocol number.
        protocol: u8,
        /// Local address and port.
        local: (IpAddr, u16),
        /// Remote address and port, as the user specified them.
        remote: (IpAddr, u16),
    },
    /// A server accepted a client: the source address is the one the application would log.
    Accepted {
        /// The flow of the packets, if a scenario step started it.
        flow: Option<FlowId>,
        /// The socket.
        socket: SocketId,
        /// Local address and port.
        local: (IpAddr, u16),
        /// Remote address and port.
        remote: (IpAddr, u16),
    },
    /// The flow reached its outcome.
    Finished {
        /// The flow.
        flow: FlowId,
        /// The socket.
        socket: SocketId,
        /// The outcome.
        outcome: Outcome,
    },
}

/// The outcome of a flow for its client; a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The request was answered.
    Connected,
    /// The connection was refused.
    Refused(Refusal),
    /// The destination is unreachable.
    Unreachable(Unreachable),
    /// No response within the timeout.
    Timeout,
    /// The connection was established and then reset.
    Reset,
}

/// How a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// A TCP RST in reply to the SYN.
    TcpReset,
    /// An ICMP port unreachable.
    IcmpPortUnreachable,
}

/// Why a destination is unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unreachable {
    /// `ENETUNREACH`: no route in the sender's own netns, or ICMP net unreachable.
    Network,
    /// `EHOSTUNREACH`: neighbour resolution failed, or ICMP host unreachable.
    Host,
    /// `ENOPROTOOPT`: ICMP protocol unreachable.
    Protocol,
    /// `EHOSTUNREACH` from an ICMP prohibition, or `EACCES`/`EPERM` in the sender's own netns.
    Prohibited,
    /// `EMSGSIZE`: too large for the path, with DF set.
    MessageSize,
}
