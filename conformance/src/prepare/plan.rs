//! The instructions for an arm in a step.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use crate::netns::NetnsName;
use crate::observation::Transport;
use crate::scenario::segment::ScriptLine;
use crate::scenario::{LinkState, ObjectName, Share};

/// The request that clients send.
pub(crate) const REQUEST: &[u8] = b"hairpin\n";

/// Connections or echo requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowPlan {
    /// The netns of the client.
    pub from: NetnsName,
    /// The client as the step names it.
    pub from_text: String,
    /// The client's address.
    pub client: IpAddr,
    /// The destination address and port; the port is 0 for echo requests.
    pub to: SocketAddr,
    /// The destination as the step names it.
    pub to_text: String,
    /// The protocol.
    pub transport: Transport,
    /// The payload that the client sends.
    pub request: Vec<u8>,
    /// The number of connections.
    pub count: u32,
    /// The source port, or `None` to let the kernel choose.
    pub source_port: Option<u16>,
    /// The client's timeout.
    pub timeout: Duration,
    /// The node whose kube-proxy would choose the endpoint, if the connection passes one.
    pub via: Option<String>,
    /// The name by which later steps use the connections; closed after the response if absent.
    pub keep: Option<String>,
}

/// What is done with connections that an earlier step kept open, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPlan {
    /// Their name.
    pub name: String,
    /// What is done.
    pub action: KeptAction,
    /// The plan of the step that opened them, with the timeout of this step.
    pub opened: FlowPlan,
}

/// What is done with a kept connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptAction {
    /// Another request is sent, and its response awaited.
    Send,
    /// The connection is closed.
    Close,
}

/// The queries for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvePlan {
    /// One datagram each, in order; queries after the first existing name are not sent.
    pub queries: Vec<FlowPlan>,
}

/// A script of raw packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptPlan {
    /// The netns of the sender; for TCP, an external host or a Pod.
    pub from: NetnsName,
    /// The sender as the step names it.
    pub from_text: String,
    /// The sender's address.
    pub client: Ipv4Addr,
    /// The destination address and port; the port is 0 for echo requests.
    pub to: SocketAddrV4,
    /// The destination as the step names it.
    pub to_text: String,
    /// TCP, UDP or ICMP echo.
    pub transport: Transport,
    /// The source port, or the identifier of echo requests.
    pub source_port: u16,
    /// Timeout of each expected packet.
    pub timeout: Duration,
    /// The lines to send and to expect, in order.
    pub lines: Vec<ScriptLine>,
    /// Continues the sender's connection that an earlier step left open.
    pub is_continuation: bool,
    /// A later step continues the connection: until then the sender's own kernel stays silent, and what arrives is kept.
    /// A sender has at most one such connection at a time.
    pub stays_open: bool,
    /// Number of lines in the earlier steps of the connection.
    pub lines_before: usize,
}

impl ScriptPlan {
    /// True if the sender is a node. Its replies are translated, so the script gets what is delivered locally, not frames.
    pub const fn is_from_node(&self) -> bool {
        matches!(self.from, NetnsName::Node(_))
    }
}

/// A change without a manifest.
#[derive(Debug, Clone, PartialEq)]
pub enum StateChange {
    /// The hairpin flag of a Pod's bridge port.
    Hairpin {
        /// The Pod, which has its own network namespace.
        pod: ObjectName,
        /// The new value.
        is_on: bool,
    },
    /// A sysctl.
    Sysctl {
        /// The netns.
        netns: NetnsName,
        /// Such as `net.ipv4.ip_forward`.
        name: String,
        /// As written to the file.
        value: String,
    },
    /// The link of a host, node or Pod.
    Link {
        /// The netns attached by it.
        netns: NetnsName,
        /// The new one-way delay, if it changes.
        latency: Option<Duration>,
        /// The new share of lost frames, if it changes.
        loss: Option<Share>,
        /// The new MTU of both ends, in bytes, if it changes.
        mtu: Option<u16>,
    },
    /// The state of one end of the link of a host, node or Pod.
    End {
        /// The netns attached by it.
        netns: NetnsName,
        /// Which end.
        end: LinkEnd,
        /// The new state.
        state: LinkState,
    },
}

/// An end of the link that attaches a host, node or Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkEnd {
    /// The device of the host, node or Pod itself.
    Device,
    /// The other end, on the switch or on the Pod's node.
    Port,
}
