//! Options of TCP segments, without time stamps.

use std::fmt;

use sim::wire::TcpOption;

use super::{InitialSeqs, SeqSummary};

/// An option of a TCP segment. What a host may announce depends on its routes, devices and settings; but time stamps count from
/// a secret number for each pair of hosts (`secure_tcp_ts_off`, net/core/secure_seq.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionSummary {
    /// The largest segment that the sender takes, in bytes of data (RFC 9293 §3.7.1).
    Mss(u16),
    /// By how many bits windows are shifted (RFC 7323 §2.2).
    WindowScale(u8),
    /// SACK may be used (RFC 2018 §2).
    SackPermitted,
    /// Blocks that arrived out of order: first sequence number, and the one behind the last (RFC 2018 §3).
    Sack(Vec<(SeqSummary, SeqSummary)>),
    /// Time stamps (RFC 7323 §3.2).
    Timestamps,
    /// Anything else, as it stands; also one of those above whose length is wrong.
    Other {
        /// Kind.
        kind: u8,
        /// What follows kind and length.
        data: Vec<u8>,
    },
}

/// Options in their order, without padding. What is malformed ends the list.
pub(super) fn read(list: &[u8], initial: &InitialSeqs) -> Vec<OptionSummary> {
    TcpOption::iter(list).filter_map(|option| OptionSummary::of(option, initial)).collect()
}

impl OptionSummary {
    /// `None` for padding.
    fn of(option: TcpOption<'_>, initial: &InitialSeqs) -> Option<Self> {
        Some(match option {
            TcpOption::Nop => return None,
            TcpOption::Mss(mss) => Self::Mss(mss),
            TcpOption::WindowScale(shift) => Self::WindowScale(shift),
            TcpOption::SackPermitted => Self::SackPermitted,
            TcpOption::Sack(blocks) => {
                let summary = |(first, end)| (initial.summary(first), initial.summary(end));
                Self::Sack(blocks.iter().map(summary).collect())
            }
            TcpOption::Timestamps(..) => Self::Timestamps,
            TcpOption::Other { kind, data } => Self::Other { kind, data: data.to_vec() },
        })
    }
}

impl fmt::Display for OptionSummary {
    /// In the words of tcpdump.
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
