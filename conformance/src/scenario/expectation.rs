//! Expectations of a scenario.

use std::collections::BTreeMap;
use std::fmt;

use proxy_core::objects::Protocol;
use sim::trace::{Outcome, Refusal, Unreachable};

use super::{ProxyMode, Reference, Share, Target};

/// Expectations of a step, optionally by proxy mode.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expectations {
    /// For all modes not listed.
    pub default: Option<Expectation>,
    /// For modes that differ.
    pub by_mode: BTreeMap<ProxyMode, Expectation>,
}

impl Expectations {
    /// The expectations in `mode`, if any.
    pub fn for_mode(&self, mode: ProxyMode) -> Option<&Expectation> {
        self.by_mode.get(&mode).or(self.default.as_ref())
    }
}

/// A set of expectations; all of them must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expectation {
    /// The outcome of every flow of the step.
    pub outcome: Option<OutcomePattern>,
    /// Outcomes with shares; those not listed must not occur.
    pub outcomes: Vec<(OutcomePattern, Share)>,
    /// Endpoints with shares; those not listed must not answer. `None` if not checked.
    pub endpoints: Option<Vec<(Reference, Share)>>,
    /// The endpoint of each connection, in order; empty if not checked.
    pub sequence: Vec<Reference>,
    /// The source address that endpoints see.
    pub source_seen: Option<SourceSeen>,
    /// The source address of replies to the client.
    pub reply_from: Option<Viewpoint>,
    /// The status of HTTP responses.
    pub status: Option<u16>,
    /// Owners of the name's addresses; empty if the name must not exist.
    pub addresses: Option<Vec<Target>>,
    /// Dropped packets.
    pub dropped: Option<Dropped>,
    /// Conntrack entries after the step.
    pub conntrack: Vec<ConntrackExpectation>,
}

/// An outcome, with or without detail: `refused`, `refused/tcp-reset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutcomePattern {
    /// The request was answered.
    Connected,
    /// Refused, in this way or any.
    Refused(Option<Refusal>),
    /// Unreachable, for this reason or any.
    Unreachable(Option<Unreachable>),
    /// No response within the timeout.
    Timeout,
    /// Reset after it was established.
    Reset,
}

/// All patterns by name.
pub(super) const OUTCOME_NAMES: [(&str, OutcomePattern); 12] = [
    ("connected", OutcomePattern::Connected),
    ("refused", OutcomePattern::Refused(None)),
    ("refused/tcp-reset", OutcomePattern::Refused(Some(Refusal::TcpReset))),
    ("refused/icmp-port-unreachable", OutcomePattern::Refused(Some(Refusal::IcmpPortUnreachable))),
    ("unreachable", OutcomePattern::Unreachable(None)),
    ("unreachable/network", OutcomePattern::Unreachable(Some(Unreachable::Network))),
    ("unreachable/host", OutcomePattern::Unreachable(Some(Unreachable::Host))),
    ("unreachable/protocol", OutcomePattern::Unreachable(Some(Unreachable::Protocol))),
    ("unreachable/prohibited", OutcomePattern::Unreachable(Some(Unreachable::Prohibited))),
    ("unreachable/message-size", OutcomePattern::Unreachable(Some(Unreachable::MessageSize))),
    ("timeout", OutcomePattern::Timeout),
    ("reset", OutcomePattern::Reset),
];

impl OutcomePattern {
    /// The pattern with that name.
    pub fn parse(name: &str) -> Option<Self> {
        OUTCOME_NAMES.iter().find(|(known, _)| *known == name).map(|(_, pattern)| *pattern)
    }

    /// The pattern that matches only this outcome.
    pub const fn exactly(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Connected => Self::Connected,
            Outcome::Refused(how) => Self::Refused(Some(how)),
            Outcome::Unreachable(why) => Self::Unreachable(Some(why)),
            Outcome::Timeout => Self::Timeout,
            Outcome::Reset => Self::Reset,
        }
    }

    /// True if some outcome matches both.
    pub fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::Refused(how), Self::Refused(other)) => how.is_none() || other.is_none() || how == other,
            (Self::Unreachable(why), Self::Unreachable(other)) => {
                why.is_none() || other.is_none() || why == other
            }
            (
                Self::Connected | Self::Refused(_) | Self::Unreachable(_) | Self::Timeout | Self::Reset,
                Self::Connected | Self::Refused(_) | Self::Unreachable(_) | Self::Timeout | Self::Reset,
            ) => self == other,
        }
    }

    /// True if the outcome matches.
    pub fn fits(self, outcome: Outcome) -> bool {
        match self {
            Self::Refused(None) => matches!(outcome, Outcome::Refused(_)),
            Self::Unreachable(None) => matches!(outcome, Outcome::Unreachable(_)),
            Self::Connected
            | Self::Refused(Some(_))
            | Self::Unreachable(Some(_))
            | Self::Timeout
            | Self::Reset => self == Self::exactly(outcome),
        }
    }
}

impl fmt::Display for OutcomePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = OUTCOME_NAMES.iter().find(|(_, pattern)| pattern == self);
        formatter.write_str(row.map_or("", |(name, _)| name))
    }
}

/// The source address that endpoints see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSeen {
    /// For all endpoints.
    All(Viewpoint),
    /// By endpoint.
    ByEndpoint(Vec<(Reference, Viewpoint)>),
}

/// An address, specified by its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewpoint {
    /// `client`: the address of the client.
    Client,
    /// `node`: any address of the node whose kube-proxy chooses the endpoint.
    Node,
    /// `bridge/NODE`: the address of that node's CNI bridge.
    Bridge(String),
    /// An address of this host, Pod, node (any of its addresses) or Service, or a literal address.
    Of(Target),
}

impl fmt::Display for Viewpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => formatter.write_str("client"),
            Self::Node => formatter.write_str("node"),
            Self::Bridge(node) => write!(formatter, "bridge/{node}"),
            Self::Of(target) => write!(formatter, "{target}"),
        }
    }
}

/// Dropped packets of the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The netns.
    pub on: Target,
    /// The reason, with the simulator's or the kernel's name; any reason if absent.
    pub reason: Option<String>,
}

/// Entries of a conntrack table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConntrackExpectation {
    /// The netns of the table.
    pub on: Target,
    /// Matches this protocol.
    pub protocol: Option<Protocol>,
    /// Matches the source of the original direction.
    pub from: Option<Reference>,
    /// Matches the destination of the original direction.
    pub to: Option<Reference>,
    /// Matches entries with this status.
    pub status: Option<FlowStatus>,
    /// The expected number.
    pub entries: u32,
}

/// Whether a conntrack entry has seen a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowStatus {
    /// `[UNREPLIED]`.
    Unreplied,
    /// A reply was seen.
    Replied,
}
