//! States of connections, and how long they last.

mod sctp;
mod tcp;

pub use sctp::SctpState;
pub use tcp::TcpState;

use super::segment::{Protocol, Transport};
use super::settings::Timeouts;
use crate::time::Duration;

/// The direction of a packet (`IP_VS_DIR_*`, include/net/ip_vs.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the client.
    In,
    /// From the server.
    Out,
    /// From the client of a connection whose replies do not pass this netns.
    InOnly,
}

/// The state of a connection or template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// A TCP connection.
    Tcp(TcpState),
    /// A UDP flow; it has only one state.
    Udp,
    /// An SCTP association.
    Sctp(SctpState),
    /// A template. Assured: one of its connections was established (`IP_VS_CTPL_S_ASSURED`).
    Template {
        /// True once a connection was established.
        is_assured: bool,
    },
}

impl State {
    /// The state of a new connection.
    pub(super) const fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp(TcpState::None),
            Protocol::Udp => Self::Udp,
            Protocol::Sctp => Self::Sctp(SctpState::None),
        }
    }

    /// The name in listings (`ip_vs_state_name`, net/netfilter/ipvs/ip_vs_proto.c).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp(state) => state.name(),
            Self::Udp => "UDP",
            Self::Sctp(state) => state.name(),
            Self::Template { is_assured: true } => "ASSURED",
            Self::Template { is_assured: false } => "NONE",
        }
    }

    /// True if a server with a connection in this state counts it as active.
    pub(super) const fn is_active(self) -> bool {
        match self {
            Self::Tcp(state) => state.is_active(),
            Self::Sctp(state) => matches!(state, SctpState::Established),
            Self::Udp | Self::Template { .. } => false,
        }
    }

    /// The state after a packet. `is_secure`: `secure_tcp` acts.
    pub(super) const fn after(self, transport: Transport, way: Way, is_secure: bool) -> Self {
        match (self, transport) {
            (Self::Tcp(state), Transport::Tcp(flags)) => Self::Tcp(state.after(flags, way, is_secure)),
            (Self::Sctp(state), Transport::Sctp(event)) => Self::Sctp(state.after(event, way)),
            (
                Self::Tcp(_) | Self::Sctp(_) | Self::Udp | Self::Template { .. },
                Transport::Tcp(_) | Transport::Sctp(_) | Transport::Udp,
            ) => self,
        }
    }

    /// How long a connection lasts in this state without packets; `None` for templates, which have the timeout of their
    /// service.
    pub(super) fn timeout(self, timeouts: &Timeouts) -> Option<Duration> {
        match self {
            Self::Tcp(TcpState::Established) => Some(timeouts.tcp),
            Self::Tcp(TcpState::FinWait) => Some(timeouts.tcp_fin),
            Self::Tcp(state) => Some(state.timeout()),
            Self::Udp => Some(timeouts.udp),
            Self::Sctp(state) => Some(state.timeout()),
            Self::Template { .. } => None,
        }
    }

    /// True if `before` to this state assures the template of the connection (`ip_vs_control_assure_ct`).
    pub(super) fn assures(self, before: Self, way: Way) -> bool {
        match self {
            Self::Tcp(TcpState::Established) | Self::Sctp(SctpState::Established) => self != before,
            Self::Udp => way == Way::Out,
            Self::Tcp(_) | Self::Sctp(_) | Self::Template { .. } => false,
        }
    }
}
