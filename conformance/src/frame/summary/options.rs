//! Options of TCP segments, without time stamps.

use std::fmt;

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

/// Options in their order, but for end (0) and padding (1), as RFC 9293 §3.2 numbers them. What is malformed ends the list.
pub(super) fn read(mut bytes: &[u8], initial: &InitialSeqs) -> Vec<OptionSummary> {
    let mut options = Vec::new();
    loop {
        match *bytes {
            [] | [0, ..] => return options,
            [1, ref rest @ ..] => bytes = rest,
            [kind, len, ..] if len >= 2 && bytes.len() >= usize::from(len) => {
                let (option, rest) = bytes.split_at(usize::from(len));
                options.push(OptionSummary::of(kind, &option[2..], initial));
                bytes = rest;
            }
            [_, ..] => return options,
        }
    }
}

impl OptionSummary {
    fn of(kind: u8, data: &[u8], initial: &InitialSeqs) -> Self {
        match (kind, data) {
            (2, [a, b]) => Self::Mss(u16::from_be_bytes([*a, *b])),
            (3, [shift]) => Self::WindowScale(*shift),
            (4, []) => Self::SackPermitted,
            (5, data) if !data.is_empty() && data.len().is_multiple_of(8) => {
                Self::Sack(blocks(data, initial))
            }
            (8, [_, _, _, _, _, _, _, _]) => Self::Timestamps,
            (kind, data) => Self::Other { kind, data: data.to_vec() },
        }
    }
}

fn blocks(data: &[u8], initial: &InitialSeqs) -> Vec<(SeqSummary, SeqSummary)> {
    let (blocks, _) = data.as_chunks::<8>();
    let number = |bytes: [u8; 4]| initial.summary(u32::from_be_bytes(bytes));
    blocks.iter().map(|&[a, b, c, d, e, f, g, h]| (number([a, b, c, d]), number([e, f, g, h]))).collect()
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
