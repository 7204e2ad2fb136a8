//! Connections: what the client saw, and who answered.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use proxy_core::objects::Protocol;
use sim::trace::Outcome;

use super::DropObservation;
use crate::dns::{self, Resolved};
use crate::scenario::ObjectName;

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

impl EndpointName {
    /// The Pod that calls itself so in its answers, `NAMESPACE/NAME`; `None` for an external host.
    pub fn of_pod(name: &str) -> Option<Self> {
        let (namespace, name) = name.split_once('/')?;
        Some(Self::Pod(ObjectName::new(namespace, name)))
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => write!(formatter, "pod/{name}"),
            Self::Address(address) => write!(formatter, "{address}"),
        }
    }
}

/// What was seen of the connections of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flows {
    /// Every connection, in order.
    pub flows: Vec<RawFlow>,
    /// Packets of these connections that were dropped, in order; `None` if this arm cannot see drops.
    pub drops: Option<Vec<DropObservation>>,
}

/// What the client of one connection saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFlow {
    /// How it ended.
    pub outcome: Outcome,
    /// What the server wrote.
    pub answer: Option<Answer>,
    /// From where the answer came.
    pub reply_from: Option<IpAddr>,
    /// What a DNS server answered.
    pub resolved: Option<Resolved>,
}

/// The line that every server answers with: `NAME PEER_IP:PEER_PORT LOCAL_IP:LOCAL_PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who answers.
    pub name: String,
    /// The client as the server saw it.
    pub peer: SocketAddr,
    /// The server's own end of the connection.
    pub local: SocketAddr,
}

/// What a server wrote: who it is, and what it knows if it is one of DNS.
pub(crate) fn read_answer(bytes: &[u8]) -> (Option<Answer>, Option<Resolved>) {
    match dns::read(bytes) {
        Some((resolved, line)) => (Answer::parse(line.as_bytes()), Some(resolved)),
        None => (Answer::parse(bytes), None),
    }
}

impl Answer {
    /// Reads the line; `None` if it is none.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
        let mut words = line.split(' ');
        let answer = Self {
            name: words.next()?.to_owned(),
            peer: words.next()?.parse().ok()?,
            local: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(answer)
    }

    /// Who answered: a Pod by its name, what is no Pod by its address.
    pub fn endpoint(&self) -> EndpointName {
        EndpointName::of_pod(&self.name).unwrap_or(EndpointName::Address(self.local))
    }
}

#[cfg(test)]
mod tests;
