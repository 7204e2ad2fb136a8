//! What every arm can see of a connection: the words in which arms are compared.
//!
//! Nothing here is internal state of a simulator. A kernel shows the same: what the client's socket reported, what the
//! server wrote into its answer, what `conntrack -L` lists.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use proxy_core::objects::Protocol;
pub use sim::netfilter::conntrack::TcpState;
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
    /// Of ICMP: the first packet, and its answer, as it is expected.
    pub icmp: Option<(IcmpKey, IcmpKey)>,
    /// Of TCP: how far the connection is.
    pub tcp_state: Option<TcpState>,
    /// Whether a reply was seen.
    pub is_replied: bool,
    /// Whether it stays when room is made for others.
    pub is_assured: bool,
    /// Its mark.
    pub mark: u32,
}

/// By what conntrack tells ICMP messages between the same two hosts apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpKey {
    /// Type.
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// Identifier; that of an answer is another one if it was translated.
    pub id: u16,
}

impl ConntrackObservation {
    /// What one table has and the other has not. An entry that one has twice and the other once is left over once.
    pub fn apart(left: Vec<Self>, right: Vec<Self>) -> (Vec<Self>, Vec<Self>) {
        let mut only_right = right;
        let mut only_left = left;
        only_left.retain(|entry| match only_right.iter().position(|other| other == entry) {
            Some(index) => {
                only_right.remove(index);
                false
            }
            None => true,
        });
        (only_left, only_right)
    }

    /// The port from which its packets come, and the one to which a translation changed it, or the same; of ICMP, identifiers.
    pub fn source_ports(&self) -> (u16, u16) {
        self.icmp.map_or_else(
            || (self.original.0.port(), self.reply.1.port()),
            |(question, answer)| (question.id, answer.id),
        )
    }
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
        formatter.write_str(self.protocol.name())?;
        if let Some(state) = self.tcp_state {
            write!(formatter, " {}", state.name())?;
        }
        Way(self.original, self.icmp.map(|(question, _)| question)).fmt(formatter)?;
        formatter.write_str(if self.is_replied { ", reply" } else { " [UNREPLIED], reply" })?;
        Way(self.reply, self.icmp.map(|(_, answer)| answer)).fmt(formatter)?;
        formatter.write_str(if self.is_assured { " [ASSURED]" } else { "" })?;
        match self.mark {
            0 => Ok(()),
            mark => write!(formatter, " mark {mark:#x}"),
        }
    }
}

/// One direction of an entry, behind a space.
struct Way((SocketAddr, SocketAddr), Option<IcmpKey>);

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self((from, to), icmp) = self;
        match icmp {
            Some(IcmpKey { icmp_type, code, id }) => {
                write!(formatter, " {} -> {} type {icmp_type} code {code} id {id}", from.ip(), to.ip())
            }
            None => write!(formatter, " {from} -> {to}"),
        }
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

#[cfg(test)]
mod tests;
