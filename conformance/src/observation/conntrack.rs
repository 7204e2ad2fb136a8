//! Entries of conntrack tables.

use std::fmt;
use std::net::SocketAddr;

use sim::ct::TcpState;

use super::Transport;

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

#[cfg(test)]
mod tests;
