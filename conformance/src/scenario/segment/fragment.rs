//! Fragments of a script's packet: `frag 1480` for all of them, `frag 1480@2960+` for one.

use std::fmt;

use super::{ScriptIcmp, ScriptPacket, ScriptPayload};

/// In which fragments a packet is sent, or arrives. Sizes are in bytes without the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptFragments {
    /// `frag 1480`: all fragments, the largest of which has this size.
    All(u16),
    /// `frag 1480@2960+`: one fragment, in tcpdump's notation.
    One(ScriptFragment),
}

/// One fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptFragment {
    /// Its size in bytes.
    pub size: u16,
    /// The offset of its first byte in the packet's payload; a multiple of 8.
    pub offset: u16,
    /// MF: it is not the last fragment.
    pub has_more: bool,
}

impl ScriptFragments {
    /// The fragments of a payload of `len` bytes, in order.
    pub fn of(self, len: u16) -> Vec<ScriptFragment> {
        match self {
            Self::One(fragment) => vec![fragment],
            Self::All(size) => (0..len)
                .step_by(usize::from(size))
                .map(|offset| {
                    let left = len - offset;
                    ScriptFragment { size: size.min(left), offset, has_more: left > size }
                })
                .collect(),
        }
    }
}

impl ScriptPacket {
    /// The length of the IP payload, in bytes; `None` for an ICMP error, which quotes another packet.
    pub fn payload_len(&self) -> Option<usize> {
        /// The length of a header of UDP or ICMP.
        const SHORT: usize = 8;
        match &self.payload {
            ScriptPayload::Tcp(segment) => Some(segment.header_len() + usize::from(segment.len)),
            ScriptPayload::Udp { len } => Some(SHORT + usize::from(*len)),
            ScriptPayload::Icmp(ScriptIcmp::Echo(echo)) => Some(SHORT + usize::from(echo.len)),
            ScriptPayload::Icmp(ScriptIcmp::Error(_)) => None,
        }
    }
}

impl fmt::Display for ScriptFragments {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(size) => write!(formatter, "frag {size}"),
            Self::One(fragment) => write!(formatter, "frag {fragment}"),
        }
    }
}

impl fmt::Display for ScriptFragment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, offset, has_more } = self;
        write!(formatter, "{size}@{offset}{}", if *has_more { "+" } else { "" })
    }
}
