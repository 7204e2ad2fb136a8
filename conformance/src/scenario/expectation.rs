//! What must be observed.

use std::collections::BTreeMap;
use std::fmt;

use proxy_core::objects::Protocol;
use sim::trace::{Outcome, Refusal, Unreachable};

use super::{ProxyMode, Reference, Share, Target};

/// What must be observed, where it matters by proxy mode.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expectations {
    /// In every mode that is not named.
    pub default: Option<Expectation>,
    /// In modes that differ.
    pub by_mode: BTreeMap<ProxyMode, Expectation>,
}

impl Expectations {
    /// What must be observed in `mode`, if anything.
    pub fn for_mode(&self, mode: ProxyMode) -> Option<&Expectation> {
        self.by_mode.get(&mode).or(self.default.as_ref())
    }
}

/// What must be observed. Every part that is there must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expectation {
    /// How every flow of the step ends.
    pub outcome: Option<OutcomePattern>,
    /// How flows end, by share; outcomes that are not listed have none.
    pub outcomes: Vec<(OutcomePattern, Share)>,
    /// Who answers, by share; endpoints that are not listed have none. `None`: not looked at.
    pub endpoints: Option<Vec<(Reference, Share)>>,
    /// The address that the endpoint sees.
    pub source_seen: Option<SourceSeen>,
    /// The address from which the client is answered.
    pub reply_from: Option<Viewpoint>,
    /// Whose addresses a name has; empty if there must be no such name.
    pub addresses: Option<Vec<Target>>,
    /// Packets that are dropped.
    pub dropped: Option<Dropped>,
    /// Entries in conntrack tables, after the step.
    pub conntrack: Vec<ConntrackExpectation>,
}

/// An outcome, with or without its kind: `refused`, `refused/tcp-reset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutcomePattern {
    /// The request was answered.
    Connected,
    /// Said no, this way or any way.
    Refused(Option<Refusal>),
    /// No way there, for this reason or any.
    Unreachable(Option<Unreachable>),
    /// Nobody answered.
    Timeout,
    /// Established and then reset.
    Reset,
}

/// Every pattern by its name.
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
    /// The pattern of that name.
    pub fn parse(name: &str) -> Option<Self> {
        OUTCOME_NAMES.iter().find(|(known, _)| *known == name).map(|(_, pattern)| *pattern)
    }

    /// The pattern that fits this outcome alone.
    pub const fn exactly(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Connected => Self::Connected,
            Outcome::Refused(how) => Self::Refused(Some(how)),
            Outcome::Unreachable(why) => Self::Unreachable(Some(why)),
            Outcome::Timeout => Self::Timeout,
            Outcome::Reset => Self::Reset,
        }
    }

    /// Whether some outcome fits both.
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

    /// Whether an outcome fits.
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

/// The address that endpoints see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSeen {
    /// All of them.
    All(Viewpoint),
    /// By endpoint.
    ByEndpoint(Vec<(Reference, Viewpoint)>),
}

/// An address by what it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewpoint {
    /// `client`: the address of the one who connects.
    Client,
    /// `node`: any address of the node whose kube-proxy chooses the endpoint.
    Node,
    /// `bridge/NODE`: the address of that node's CNI bridge.
    Bridge(String),
    /// An address of this host, Pod, node (any of its addresses) or Service, or this address.
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

/// Packets of the step that are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// By whom.
    pub on: Target,
    /// Why, as the simulator or the kernel names it; any reason when absent.
    pub reason: Option<String>,
}

/// Entries of a conntrack table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConntrackExpectation {
    /// Whose table.
    pub on: Target,
    /// Only entries of this protocol.
    pub protocol: Option<Protocol>,
    /// Only entries whose first packet came from here.
    pub from: Option<Reference>,
    /// Only entries whose first packet went there.
    pub to: Option<Reference>,
    /// Only entries in this condition.
    pub status: Option<FlowStatus>,
    /// How many there are.
    pub entries: u32,
}

/// Whether a conntrack entry has seen a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowStatus {
    /// `[UNREPLIED]`.
    Unreplied,
    /// It has.
    Replied,
}
