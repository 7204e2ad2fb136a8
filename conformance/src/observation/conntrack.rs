//! Entries of conntrack tables.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use sim::ct::TcpState;

use super::{Transport, apart};

/// A conntrack entry, as `conntrack -L` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConntrackObservation {
    /// The protocol.
    pub protocol: Transport,
    /// Source and destination of the original direction; ports are 0 for protocols without ports.
    pub original: (SocketAddr, SocketAddr),
    /// Source and destination of the reply direction.
    pub reply: (SocketAddr, SocketAddr),
    /// For ICMP: original and reply direction.
    pub icmp: Option<(IcmpKey, IcmpKey)>,
    /// For TCP: the state.
    pub tcp_state: Option<TcpState>,
    /// True if a reply was seen.
    pub is_replied: bool,
    /// True for an ASSURED entry, which is not evicted early.
    pub is_assured: bool,
    /// The connection mark.
    pub mark: u32,
    /// The remaining time, in whole seconds, rounded down.
    pub expires_in: Duration,
}

/// The fields by which conntrack distinguishes ICMP flows between the same hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpKey {
    /// Type.
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// Identifier; the reply's differs if it was translated.
    pub id: u16,
}

/// By how much the remaining times of equal entries may differ: both are rounded, and the packet that renewed the timer
/// may be late by an eighth of the flow's age on one side.
const EXPIRY_TOLERANCE: Duration = Duration::from_secs(3);

impl ConntrackObservation {
    /// Entries that only one of the tables has; their remaining times may differ slightly.
    pub fn apart(left: Vec<Self>, right: Vec<Self>) -> (Vec<Self>, Vec<Self>) {
        apart(left, right, Self::is_like)
    }

    fn is_like(&self, other: &Self) -> bool {
        let apart = self.expires_in.abs_diff(other.expires_in);
        let reply = match self.has_hidden_port() && other.has_hidden_port() {
            true => (other.reply.0, SocketAddr::new(other.reply.1.ip(), self.reply.1.port())),
            false => other.reply,
        };
        apart <= EXPIRY_TOLERANCE && *self == Self { expires_in: self.expires_in, reply, ..other.clone() }
    }

    /// True if the reply's port was drawn at random and nothing shows it: a retransmission between two steps was the first
    /// packet of a connection whose entry had been deleted (with its device, `masq_device_event`), and has no reply.
    fn has_hidden_port(&self) -> bool {
        let (before, after) = self.source_ports();
        self.tcp_state == Some(TcpState::Established) && !self.is_replied && before != after
    }

    /// Source, destination and ICMP identifier of the flow's packets before translation.
    pub fn before(&self) -> (SocketAddr, SocketAddr, Option<u16>) {
        (self.original.0, self.original.1, self.icmp.map(|(question, _)| question.id))
    }

    /// Source, destination and ICMP identifier of the flow's packets after translation.
    pub fn after(&self) -> (SocketAddr, SocketAddr, Option<u16>) {
        (self.reply.1, self.reply.0, self.icmp.map(|(_, answer)| answer.id))
    }

    /// The source port before and after translation, equal if it was not translated; for ICMP, the identifier.
    pub fn source_ports(&self) -> (u16, u16) {
        self.icmp.map_or_else(
            || (self.original.0.port(), self.reply.1.port()),
            |(question, answer)| (question.id, answer.id),
        )
    }
}

impl fmt::Display for ConntrackObservation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.protocol.name(), self.expires_in.as_secs())?;
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

/// One direction of an entry, preceded by a space.
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

#[cfg(test)]
mod tests;
