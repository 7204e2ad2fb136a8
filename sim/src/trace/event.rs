//! What can happen to a packet, as data. One small enum per subsystem, so that each has one small printer.

use crate::ct::{CtInfo, TcpState};
use crate::drop_reason::DropReason;
use crate::hook::{Family, Hook};
use crate::ids::{DeviceId, EntryId, FlowId, NetnsId, PacketId, SocketId};
use crate::packet::Origin;
use crate::route::RouteResult;
use crate::time::Instant;
use crate::tuple::{Direction, Tuple};
use crate::wire::{MacAddr, rewrite::Side};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// One entry of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TraceEvent {
    /// When.
    pub at: Instant,
    /// In which netns.
    pub netns: NetnsId,
    /// The packet that was being handled, if one was.
    pub packet: Option<PacketId>,
    /// What happened.
    pub event: Event,
}

/// What happened, by subsystem.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A packet began or ended.
    Packet(PacketEvent),
    /// A frame passed a device.
    Device(DeviceEvent),
    /// A bridge decided.
    Bridge(BridgeEvent),
    /// The packet entered a hook, or an entry of it gave a verdict.
    Hook(HookEvent),
    /// A rule matched, or a policy applied.
    Rule(RuleEvent),
    /// Conntrack looked at the packet.
    Conntrack(ConntrackEvent),
    /// NAT bound the flow or translated the packet.
    Nat(NatEvent),
    /// A routing decision.
    Route(RouteEvent),
    /// A neighbour was asked for, or answered.
    Neigh(NeighEvent),
    /// A socket did something that its user sees.
    Socket(SocketEvent),
}

/// A packet's life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PacketEvent {
    /// It exists from here on.
    Created {
        /// Why.
        origin: Origin,
        /// The packet that it answers or copies.
        cause: Option<PacketId>,
        /// The flow to which it belongs.
        flow: Option<FlowId>,
        /// Its bytes from the Ethernet header on.
        frame: Box<[u8]>,
    },
    /// It ended.
    Ended {
        /// The flow to which it belonged.
        flow: Option<FlowId>,
        /// How.
        terminal: Terminal,
    },
}

/// How a packet ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Terminal {
    /// A socket received it.
    Delivered {
        /// The socket.
        socket: SocketId,
    },
    /// The kernel itself was the addressee: ARP, ICMP echo, ICMP errors.
    Consumed,
    /// It was dropped.
    Dropped(DropReason),
    /// It was dropped, and the sender is being told.
    Rejected(DropReason),
    /// A fragment, which went into a whole packet.
    Reassembled {
        /// The packet that goes on.
        into: PacketId,
    },
    /// It was too large and went on in parts.
    Fragmented,
}

/// A frame at a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DeviceEvent {
    /// Received by the device (`__netif_receive_skb_core`).
    Received {
        /// The device.
        device: DeviceId,
        /// The bytes.
        frame: Box<[u8]>,
    },
    /// Sent by the device (`dev_queue_xmit`).
    Transmitted {
        /// The device.
        device: DeviceId,
        /// The bytes.
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
    /// Forwarded to the port that the FDB names (`br_forward`).
    Forwarded {
        /// The port.
        port: DeviceId,
    },
    /// Sent out of every port that may have it (`br_flood`).
    Flooded,
    /// Passed to the bridge device itself (`br_pass_frame_up`).
    PassedUp,
    /// Not delivered to this port (`should_deliver`): it is the ingress port and hairpin mode is off, or the port is down.
    NotDelivered {
        /// The port.
        port: DeviceId,
    },
    /// br_netfilter saw that DNAT changed the destination; the packet stays on the bridge with a new MAC (`br_nf_pre_routing_finish_bridge`).
    DnatBridged,
}

/// Progress through a hook.
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
    /// The hook is done, every entry accepted.
    Accepted {
        /// Hook.
        hook: Hook,
    },
    /// An entry dropped the packet.
    Dropped {
        /// Hook.
        hook: Hook,
        /// Why.
        reason: DropReason,
    },
}

/// Where a rule stands.
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
    /// The rule as it was written, without its line break.
    pub text: Box<str>,
}

/// What a rule or a chain did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RuleEvent {
    /// Every match of the rule held, and its target acted.
    Matched {
        /// The rule.
        rule: RuleRef,
        /// What the target did.
        action: RuleAction,
    },
    /// A base chain ended without a verdict, so its policy applied.
    Policy {
        /// Family of the ruleset.
        family: Family,
        /// Table name.
        table: &'static str,
        /// Chain name.
        chain: Arc<str>,
        /// The packet goes on, or else is dropped.
        is_accept: bool,
    },
}

/// What the target of a rule did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RuleAction {
    /// No target, or one that lets the next rule see the packet.
    Continue,
    /// The packet goes on to the next hook entry.
    Accept,
    /// The packet is dropped.
    Drop,
    /// The packet is dropped and its sender told.
    Reject,
    /// Evaluation goes on in that chain.
    Jump(Arc<str>),
    /// As a jump, without a way back.
    Goto(Arc<str>),
    /// Evaluation goes on after the jump that led here, or with the policy.
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
    /// NAT was set up; the [`NatEvent`] before this event says how.
    Nat,
    /// Conntrack will not look at the packet.
    NoTrack,
}

/// What conntrack saw.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConntrackEvent {
    /// No entry existed; an unconfirmed one was made.
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
    /// The packet belongs to no flow and starts none.
    Invalid {
        /// Why, in words.
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
    /// The entry went into the table.
    Confirmed {
        /// The entry.
        entry: EntryId,
        /// Original tuple.
        original: Tuple,
        /// Reply tuple.
        reply: Tuple,
    },
    /// The entry left the table.
    Deleted {
        /// The entry.
        entry: EntryId,
        /// Original tuple.
        original: Tuple,
    },
}

/// What NAT did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NatEvent {
    /// The flow got its binding for this manip; the reply tuple says what it is.
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
    /// The packet's bytes changed.
    Translated {
        /// Source or destination.
        manip: Side,
        /// Direction of the packet.
        direction: Direction,
        /// Address and port (or identifier) before.
        from: (Ipv4Addr, u16),
        /// Address and port after.
        to: (Ipv4Addr, u16),
    },
    /// An ICMP error's quoted packet was translated as well (`nf_nat_icmp_reply_translation`).
    QuoteTranslated {
        /// Source or destination of the quoted packet.
        manip: Side,
    },
}

/// A routing decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteEvent {
    /// For a packet that arrived (`ip_route_input_slow`).
    Input {
        /// Destination.
        dst: Ipv4Addr,
        /// Where to, or why nowhere.
        result: Result<RouteResult, DropReason>,
    },
    /// For a packet of this netns (`ip_route_output_key_hash_rcu`).
    Output {
        /// Destination.
        dst: Ipv4Addr,
        /// Where to, or why nowhere.
        result: Result<RouteResult, DropReason>,
    },
}

/// What happened to a neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NeighEvent {
    /// An ARP request is going out.
    Solicited {
        /// Device.
        device: DeviceId,
        /// Address that is asked for.
        addr: Ipv4Addr,
    },
    /// The address resolved.
    Resolved {
        /// Device.
        device: DeviceId,
        /// Address.
        addr: Ipv4Addr,
        /// Its MAC.
        mac: MacAddr,
    },
    /// Nobody answered.
    Failed {
        /// Device.
        device: DeviceId,
        /// Address.
        addr: Ipv4Addr,
    },
}

/// What a socket's user sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SocketEvent {
    /// A flow began.
    Opened {
        /// The flow.
        flow: FlowId,
        /// The socket.
        socket: SocketId,
        /// Protocol number.
        protocol: u8,
        /// Own end.
        local: (Ipv4Addr, u16),
        /// Other end, as the user named it.
        remote: (Ipv4Addr, u16),
    },
    /// A server saw a client: the source address is what the application would log.
    Accepted {
        /// The flow to which the packets belong, if a scenario step started it.
        flow: Option<FlowId>,
        /// The socket.
        socket: SocketId,
        /// Own end.
        local: (Ipv4Addr, u16),
        /// Other end.
        remote: (Ipv4Addr, u16),
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

/// How a flow ended for the one that started it; closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The request was answered.
    Connected,
    /// The other side said no.
    Refused(Refusal),
    /// There is no way there.
    Unreachable(Unreachable),
    /// Nobody answered.
    Timeout,
    /// The connection was established and then reset.
    Reset,
}

/// Who said no, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// A TCP RST answered the SYN.
    TcpReset,
    /// An ICMP port unreachable.
    IcmpPortUnreachable,
}

/// Why there is no way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unreachable {
    /// `ENETUNREACH`: no route in the sender's own netns, or ICMP net unreachable.
    Network,
    /// `EHOSTUNREACH`: the neighbour did not answer, or ICMP host unreachable.
    Host,
    /// `ENOPROTOOPT`: ICMP protocol unreachable.
    Protocol,
    /// `EHOSTUNREACH` from an ICMP prohibition, or `EACCES`/`EPERM` of the sender's own netns.
    Prohibited,
    /// `EMSGSIZE`: too large for the path and DF is set.
    MessageSize,
}
