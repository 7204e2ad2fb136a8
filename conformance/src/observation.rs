//! What every arm can see of a connection: the words in which arms are compared.
//!
//! Nothing here is internal state of a simulator. A kernel shows the same: what the client's socket reported, what the
//! server wrote into its answer, what `conntrack -L` lists.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use proxy_core::objects::Protocol;
pub use sim::trace::{DropReason, Outcome, Refusal, Unreachable};

use crate::scenario::ObjectName;
use crate::topology::Netns;

/// What a flow is carried by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP echo.
    Icmp,
}

impl Transport {
    /// The one of a Service's protocol.
    pub const fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp,
            Protocol::Udp => Self::Udp,
            Protocol::Sctp => Self::Sctp,
        }
    }

    /// Its name in reports: `tcp`, `udp`, `sctp`, `icmp`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Icmp => "icmp",
        }
    }
}

/// One connection, or one datagram or echo request and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowObservation {
    /// Who connected, as the step names it.
    pub from: String,
    /// To what, as the step names it.
    pub to: String,
    /// By what.
    pub protocol: Transport,
    /// How it ended for the one who connected.
    pub outcome: Outcome,
    /// The node whose kube-proxy would choose the endpoint; `None` if the connection goes by no node.
    pub via: Option<String>,
    /// Who answered.
    pub endpoint: Option<EndpointName>,
    /// The address that the endpoint saw.
    pub source_seen: Option<IpAddr>,
    /// The address from which the answer came to the one who connected.
    pub reply_from: Option<IpAddr>,
}

/// Who answers a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointName {
    /// A Pod: `pod/web-0`, `pod/prod/web-0`.
    Pod(ObjectName),
    /// What is no Pod, by the address on which it answered.
    Address(SocketAddr),
}

impl fmt::Display for EndpointName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => write!(formatter, "pod/{name}"),
            Self::Address(address) => write!(formatter, "{address}"),
        }
    }
}

/// One entry of a conntrack table, as `conntrack -L` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConntrackObservation {
    /// By what.
    pub protocol: Transport,
    /// Source and destination of the first packet; ports are 0 for protocols without ports.
    pub original: (SocketAddr, SocketAddr),
    /// Source and destination of its answer, as it is expected.
    pub reply: (SocketAddr, SocketAddr),
    /// Whether a reply was seen.
    pub is_replied: bool,
}

/// How often a rule matched, as `iptables-save -c` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCounter {
    /// The table.
    pub table: String,
    /// The rule, as `iptables-save` prints it.
    pub rule: String,
    /// Packets that it matched.
    pub packets: u64,
}

impl RuleCounter {
    /// The chain that the rule is in: the word behind `-A`.
    pub fn chain(&self) -> &str {
        self.rule.split(' ').nth(1).unwrap_or_default()
    }
}

/// A packet of a step that was dropped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DropObservation {
    /// In which network namespace.
    pub netns: Netns,
    /// Why.
    pub reason: DropReason,
}

impl fmt::Display for ConntrackObservation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((from, to), (reply_from, reply_to)) = (self.original, self.reply);
        let unreplied = if self.is_replied { "" } else { " [UNREPLIED]" };
        write!(
            formatter,
            "{} {from} -> {to}{unreplied}, reply {reply_from} -> {reply_to}",
            self.protocol.name()
        )
    }
}

impl DropObservation {
    /// The name of a reason: that of the kernel where it has one.
    pub fn reason_name(reason: DropReason) -> String {
        reason.kernel_name().map_or_else(|| format!("{reason:?}"), str::to_owned)
    }

    /// Whether `name` names this reason: as the kernel does, with or without `SKB_DROP_REASON_`, or as hairpin does.
    pub fn is_named(reason: DropReason, name: &str) -> bool {
        let kernel = name.strip_prefix("SKB_DROP_REASON_").unwrap_or(name);
        reason.kernel_name() == Some(kernel) || format!("{reason:?}") == name
    }
}

impl fmt::Display for DropObservation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} on {}", Self::reason_name(self.reason), self.netns)
    }
}
