//! Connections: the client's view, and the endpoint that answered.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use proxy_core::objects::Protocol;
use serde::{Deserialize, Serialize};
use sim::trace::Outcome;

use super::DropObservation;
use crate::dns::{self, Resolved};
use crate::http::{self, Fetched};
use crate::scenario::{ObjectName, OutcomePattern};

/// The protocol of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// The transport of a Service protocol.
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

/// One connection, or one datagram or echo request with its response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowObservation {
    /// The client, as the step names it.
    pub from: String,
    /// The destination, as the step names it.
    pub to: String,
    /// The protocol.
    pub protocol: Transport,
    /// The outcome for the client.
    #[serde(with = "crate::serial::OutcomeForm")]
    pub outcome: Outcome,
    /// The node whose kube-proxy would choose the endpoint; `None` if the connection passes no node.
    pub via: Option<String>,
    /// The name of a connection that the step keeps open, or that an earlier step has kept open.
    pub connection: Option<String>,
    /// Who answered.
    pub endpoint: Option<EndpointName>,
    /// The source address that the endpoint saw.
    pub source_seen: Option<IpAddr>,
    /// The source address of the response that the client received.
    pub reply_from: Option<IpAddr>,
    /// What a DNS or HTTP server answered.
    pub answered: Option<String>,
    /// The status of an HTTP response.
    pub status: Option<u16>,
}

/// The endpoint of a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EndpointName {
    /// A Pod: `pod/web-0`, `pod/prod/web-0`.
    Pod(ObjectName),
    /// Anything else, by its address and port.
    Address(SocketAddr),
}

impl EndpointName {
    /// The Pod with this name in responses, `NAMESPACE/NAME`; `None` for an external host.
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

/// Observations of the connections of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flows {
    /// Every connection, in order.
    pub flows: Vec<RawFlow>,
    /// Dropped packets of these connections, in order; `None` if this arm cannot observe drops.
    pub drops: Option<Vec<DropObservation>>,
}

/// What the client of one connection observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFlow {
    /// The outcome.
    pub outcome: Outcome,
    /// The server's response.
    pub answer: Option<Answer>,
    /// The source address of the response.
    pub reply_from: Option<IpAddr>,
    /// The response of a DNS server.
    pub resolved: Option<Resolved>,
    /// The response of an HTTP server.
    pub fetched: Option<Fetched>,
}

/// In one line.
impl fmt::Display for RawFlow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { outcome, answer, reply_from, resolved, fetched } = self;
        write!(formatter, "{}", OutcomePattern::exactly(*outcome))?;
        if let Some(answer) = answer {
            write!(formatter, ", {} at {} saw {}", answer.name, answer.local, answer.peer)?;
        }
        if let Some(from) = reply_from {
            write!(formatter, ", answered from {from}")?;
        }
        if let Some(fetched) = fetched {
            write!(formatter, ", {fetched}")?;
        }
        resolved.as_ref().map_or(Ok(()), |resolved| write!(formatter, ", {resolved}"))
    }
}

/// The response line of every server: `NAME PEER_IP:PEER_PORT LOCAL_IP:LOCAL_PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The name of the server.
    pub name: String,
    /// The client as the server saw it.
    pub peer: SocketAddr,
    /// The server's local address.
    pub local: SocketAddr,
}

/// What a server's response says: its identity, and the contents of DNS and HTTP.
pub(crate) type ReadAnswer = (Option<Answer>, Option<Resolved>, Option<Fetched>);

/// Parses a server's response.
pub(crate) fn read_answer(bytes: &[u8]) -> ReadAnswer {
    if let Some((fetched, line)) = http::read(bytes) {
        return (Answer::parse(line.as_bytes()), None, Some(fetched));
    }
    match dns::read(bytes) {
        Some((resolved, line)) => (Answer::parse(line.as_bytes()), Some(resolved), None),
        None => (Answer::parse(bytes), None, None),
    }
}

impl Answer {
    /// Parses the line; `None` if it is malformed.
    pub fn parse(line: &[u8]) -> Option<Self> {
        // Spaces before the end make the response as long as the client wants it.
        let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.trim_end_matches(' ');
        let mut words = line.split(' ');
        let answer = Self {
            name: words.next()?.to_owned(),
            peer: words.next()?.parse().ok()?,
            local: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(answer)
    }

    /// The endpoint: a Pod by name, anything else by address.
    pub fn endpoint(&self) -> EndpointName {
        EndpointName::of_pod(&self.name).unwrap_or(EndpointName::Address(self.local))
    }
}

#[cfg(test)]
mod tests;
