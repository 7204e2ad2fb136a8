//! TCP options, without timestamp values.

use std::fmt;

use sim::wire::TcpOption;

use super::SeqSummary;
use super::sequence::SegmentOrigins;

/// A TCP option. Announced values depend on routes, devices and sysctls, but timestamps have a secret offset per pair
/// of hosts (`secure_tcp_ts_off`, net/core/secure_seq.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionSummary {
    /// Maximum segment size in bytes of data (RFC 9293 §3.7.1).
    Mss(u16),
    /// Shift count of windows (RFC 7323 §2.2).
    WindowScale(u8),
    /// SACK is permitted (RFC 2018 §2).
    SackPermitted,
    /// SACK blocks: first sequence number, and the one after the last (RFC 2018 §3).
    Sack(Vec<(SeqSummary, SeqSummary)>),
    /// Timestamps (RFC 7323 §3.2).
    Timestamps,
    /// Any other option, or one of the above with a wrong length.
    Other {
        /// Kind.
        kind: u8,
        /// The bytes after kind and length.
        data: Vec<u8>,
    },
}

/// Options in order, without padding. A malformed option ends the list.
pub(super) fn read(list: &[u8], initial: SegmentOrigins<'_>) -> Vec<OptionSummary> {
    TcpOption::iter(list).filter_map(|option| OptionSummary::of(option, initial)).collect()
}

impl OptionSummary {
    /// `None` for padding.
    fn of(option: TcpOption<'_>, initial: SegmentOrigins<'_>) -> Option<Self> {
        Some(match option {
            TcpOption::Nop => return None,
            TcpOption::Mss(mss) => Self::Mss(mss),
            TcpOption::WindowScale(shift) => Self::WindowScale(shift),
            TcpOption::SackPermitted => Self::SackPermitted,
            TcpOption::Sack(blocks) => {
                let summary = |(first, end)| (initial.peer(first), initial.peer(end));
                Self::Sack(blocks.iter().map(summary).collect())
            }
            TcpOption::Timestamps(..) => Self::Timestamps,
            TcpOption::Other { kind, data } => Self::Other { kind, data: data.to_vec() },
        })
    }
}

impl fmt::Display for OptionSummary {
    /// In tcpdump's notation.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mss(mss) => write!(formatter, "mss {mss}"),
            Self::WindowScale(shift) => write!(formatter, "wscale {shift}"),
            Self::SackPermitted => formatter.write_str("sackOK"),
            Self::Sack(blocks) => {
                formatter.write_str("sack")?;
                blocks.iter().try_for_each(|(first, end)| write!(formatter, " {first}:{end}"))
            }
            Self::Timestamps => formatter.write_str("TS"),
            Self::Other { kind, data } => write!(formatter, "option {kind} {data:02x?}"),
        }
    }
}
