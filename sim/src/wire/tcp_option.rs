//! Options of TCP segments (RFC 9293 §3.1, RFC 7323, RFC 2018).

use super::{be16, be32};

/// Option kinds (IANA "TCP Option Kind Numbers").
pub mod kind {
    /// End of the list.
    pub const END: u8 = 0;
    /// Padding.
    pub const NOP: u8 = 1;
    /// Maximum segment size.
    pub const MSS: u8 = 2;
    /// Window scale.
    pub const WINDOW_SCALE: u8 = 3;
    /// SACK permitted.
    pub const SACK_PERMITTED: u8 = 4;
    /// SACK.
    pub const SACK: u8 = 5;
    /// Timestamps.
    pub const TIMESTAMPS: u8 = 8;
}

/// Value and echo reply of timestamps, if they are the only option and padded at the front, as most segments have them
/// (`tcp_parse_aligned_timestamp`, net/ipv4/tcp_input.c).
pub fn aligned_timestamps(list: &[u8]) -> Option<(u32, u32)> {
    match *list {
        [kind::NOP, kind::NOP, kind::TIMESTAMPS, 10, a, b, c, d, e, f, g, h] => {
            Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])))
        }
        _ => None,
    }
}

/// Larger window scales are limited to this (RFC 7323 §2.3).
pub const MAX_WINDOW_SCALE: u8 = 14;

/// An option of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption<'b> {
    /// Padding.
    Nop,
    /// The maximum segment size of the sender, in bytes of data.
    Mss(u16),
    /// The window shift, as stored; see [`MAX_WINDOW_SCALE`].
    WindowScale(u8),
    /// SACK is permitted.
    SackPermitted,
    /// Blocks that arrived out of order.
    Sack(SackBlocks<'b>),
    /// Value and echo reply.
    Timestamps(u32, u32),
    /// Any other option, and known ones with an invalid length.
    Other {
        /// Kind.
        kind: u8,
        /// What follows kind and length.
        data: &'b [u8],
    },
}

impl<'b> TcpOption<'b> {
    /// The options in a list. A malformed option ends the list (`tcp_parse_options`, net/ipv4/tcp_input.c).
    pub fn iter(mut list: &'b [u8]) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            if let [kind::NOP, rest @ ..] = list {
                list = rest;
                return Some(Self::Nop);
            }
            let [kind, len, ..] = *list else { return None };
            let data = list.get(2..usize::from(len)).filter(|_| kind != kind::END)?;
            list = &list[usize::from(len)..];
            Some(Self::of(kind, data))
        })
    }

    fn of(kind: u8, data: &'b [u8]) -> Self {
        match (kind, data.len()) {
            (kind::MSS, 2) => Self::Mss(be16(data, 0)),
            (kind::WINDOW_SCALE, 1) => Self::WindowScale(data[0]),
            (kind::SACK_PERMITTED, 0) => Self::SackPermitted,
            (kind::SACK, len) if len > 0 && len.is_multiple_of(8) => Self::Sack(SackBlocks(data)),
            (kind::TIMESTAMPS, 8) => Self::Timestamps(be32(data, 0), be32(data, 4)),
            _ => Self::Other { kind, data },
        }
    }
}

/// The blocks of a SACK option (RFC 2018 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SackBlocks<'b>(&'b [u8]);

impl<'b> SackBlocks<'b> {
    /// First sequence number of each block, and the one after its last.
    pub fn iter(self) -> impl Iterator<Item = (u32, u32)> + 'b {
        self.0.chunks_exact(8).map(|block| (be32(block, 0), be32(block, 4)))
    }
}

#[cfg(test)]
mod tests;
