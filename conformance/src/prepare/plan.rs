//! What an arm is to do in a step.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::netns::NetnsName;
use crate::observation::Transport;
use crate::scenario::segment::ScriptLine;
use crate::scenario::{ObjectName, Share};

/// What clients send.
pub(crate) const REQUEST: &[u8] = b"hairpin\n";

/// Connections, or echo requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowPlan {
    /// Where the client is.
    pub from: NetnsName,
    /// The client as the step names it.
    pub from_text: String,
    /// The client's own address.
    pub client: Ipv4Addr,
    /// To what address and port; the port is 0 for echo requests.
    pub to: SocketAddrV4,
    /// The destination as the step names it.
    pub to_text: String,
    /// By what.
    pub transport: Transport,
    /// What the client sends.
    pub request: Vec<u8>,
    /// How many.
    pub count: u32,
    /// The client's port, if it is not the kernel's choice.
    pub source_port: Option<u16>,
    /// How long the client waits.
    pub timeout: Duration,
    /// The node whose kube-proxy would choose the endpoint, if the connection goes by one.
    pub via: Option<String>,
}

/// Queries for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvePlan {
    /// One datagram each, in order; those behind the first name that exists are not sent.
    pub queries: Vec<FlowPlan>,
}

/// A script of raw packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptPlan {
    /// Where the sender is: an external host or a Pod.
    pub from: NetnsName,
    /// The sender as the step names it.
    pub from_text: String,
    /// The sender's own address.
    pub client: Ipv4Addr,
    /// To what address and port.
    pub to: SocketAddrV4,
    /// The destination as the step names it.
    pub to_text: String,
    /// TCP or UDP.
    pub transport: Transport,
    /// The sender's port.
    pub source_port: u16,
    /// How long each packet that must come is waited for.
    pub timeout: Duration,
    /// What is sent and what must come, in order.
    pub lines: Vec<ScriptLine>,
}

/// A change without a manifest.
#[derive(Debug, Clone, PartialEq)]
pub enum StateChange {
    /// The hairpin flag of the port to which a Pod is attached.
    Hairpin {
        /// The Pod, which has a network of its own.
        pod: ObjectName,
        /// Whether it is set.
        is_on: bool,
    },
    /// A sysctl.
    Sysctl {
        /// Whose.
        netns: NetnsName,
        /// Such as `net.ipv4.ip_forward`.
        name: String,
        /// As written to the file.
        value: String,
    },
    /// The link by which a host, a node or a Pod is attached.
    Link {
        /// Who is attached by it.
        netns: NetnsName,
        /// One-way delay, if it changes.
        latency: Option<Duration>,
        /// The share of frames that are lost, if it changes.
        loss: Option<Share>,
    },
}
