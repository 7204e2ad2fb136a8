//! The table in the format of `conntrack -L`.

use super::{Conntrack, Entry, ProtocolState};
use crate::ct::{CtStatus, SctpState, TcpState};
use crate::time::Instant;
use crate::tuple::{Direction, L4Key, Tuple};
use crate::wire::protocol;
use std::fmt;

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedEntry {
    /// The original tuple.
    pub original: Tuple,
    /// The reply tuple.
    pub reply: Tuple,
    /// Remaining seconds, rounded down.
    pub timeout_seconds: u64,
    /// TCP state, for TCP flows.
    pub tcp_state: Option<TcpState>,
    /// SCTP state, for SCTP flows.
    pub sctp_state: Option<SctpState>,
    /// Status bits.
    pub status: CtStatus,
    /// The conntrack mark.
    pub mark: u32,
    /// References: from the table and from packets.
    pub use_count: u32,
}

impl ListedEntry {
    fn of(entry: &Entry, holders: u32, now: Instant) -> Self {
        let sctp_state = match entry.protocol() {
            ProtocolState::Sctp(track) => Some(track.state()),
            ProtocolState::Tcp(_) | ProtocolState::Udp(_) | ProtocolState::Stateless => None,
        };
        Self {
            original: *entry.tuple(Direction::Original),
            reply: *entry.tuple(Direction::Reply),
            timeout_seconds: entry.remaining(now).as_secs(),
            tcp_state: entry.tcp_state(),
            sctp_state,
            status: entry.status(),
            mark: entry.mark,
            use_count: 1 + holders,
        }
    }
}

impl Conntrack {
    /// The live entries, oldest first. (`conntrack -L` prints them in the order of a hash with a secret key.)
    pub fn listing(&self, now: Instant) -> Vec<ListedEntry> {
        self.with_holders(now).map(|(entry, holders)| ListedEntry::of(entry, holders, now)).collect()
    }
}

impl fmt::Display for ListedEntry {
    /// An entry as printed by `conntrack -L` of conntrack-tools 1.4, without accounting
    /// (`__snprintf_conntrack_default`, libnetfilter_conntrack src/conntrack/snprintf_default.c).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.original.protocol;
        write!(f, "{:<8} {number} {} ", protocol_name(number), self.timeout_seconds)?;
        if let Some(state) = self.tcp_state {
            write!(f, "{} ", state.name())?;
        }
        if let Some(state) = self.sctp_state {
            write!(f, "{} ", state.name())?;
        }
        fmt_tuple(f, &self.original)?;
        if !self.status.contains(CtStatus::SEEN_REPLY) {
            f.write_str("[UNREPLIED] ")?;
        }
        fmt_tuple(f, &self.reply)?;
        if self.status.contains(CtStatus::ASSURED) {
            f.write_str("[ASSURED] ")?;
        }
        write!(f, "mark={} use={}", self.mark, self.use_count)
    }
}

fn fmt_tuple(f: &mut fmt::Formatter<'_>, tuple: &Tuple) -> fmt::Result {
    write!(f, "src={} dst={} ", tuple.src, tuple.dst)?;
    match tuple.l4 {
        L4Key::Ports { src, dst } => write!(f, "sport={src} dport={dst} "),
        L4Key::Icmp { id, icmp_type, code } => write!(f, "type={icmp_type} code={code} id={id} "),
        L4Key::Generic => Ok(()),
    }
}

const fn protocol_name(number: u8) -> &'static str {
    match number {
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        protocol::SCTP => "sctp",
        protocol::ICMP => "icmp",
        _ => "unknown",
    }
}
