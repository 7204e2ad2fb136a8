//! ICMP messages of a script: `icmp echo-request (56) seq 1`, `icmp unreachable/message-size mtu 1200`.

use std::fmt;
use std::net::Ipv4Addr;

use sim::wire::icmpv4::{icmp_type, unreachable_code};

use super::ScriptPacket;

/// An ICMP message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptIcmp {
    /// An echo request or reply.
    Echo(ScriptEcho),
    /// An error about a packet of the script.
    Error(ScriptIcmpError),
}

/// An echo request or reply (RFC 792). Its identifier is the script's source port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptEcho {
    /// True for a reply.
    pub is_reply: bool,
    /// Length of the data in bytes.
    pub len: u16,
    /// Sequence number.
    pub seq: Option<u16>,
}

/// An ICMP error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptIcmpError {
    /// Type and code.
    pub kind: ScriptIcmpKind,
    /// The field between the header and the quote, which some errors have.
    pub field: Option<ScriptIcmpField>,
    /// The packet that the error quotes. In a sent error, `None` stands for the last packet that the peer sent.
    pub quote: Option<Box<ScriptPacket>>,
}

/// Type and code of an ICMP error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptIcmpKind {
    /// Such as 3, destination unreachable.
    pub icmp_type: u8,
    /// Such as 3, port.
    pub code: u8,
}

/// A field of some ICMP errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptIcmpField {
    /// `mtu 1200`: the MTU of the next hop, in bytes, of `unreachable/message-size` (RFC 1191).
    Mtu(u16),
    /// `gateway 192.168.0.1`: the better gateway, of a redirect (RFC 792).
    Gateway(Ipv4Addr),
    /// `pointer 8`: the offset of the byte at fault, of a parameter problem (RFC 792).
    Pointer(u8),
}

impl ScriptIcmpKind {
    /// The name of the field that such an error has, if any.
    pub const fn field_name(self) -> Option<&'static str> {
        match (self.icmp_type, self.code) {
            (icmp_type::DEST_UNREACHABLE, unreachable_code::FRAGMENTATION_NEEDED) => Some("mtu"),
            (icmp_type::REDIRECT, _) => Some("gateway"),
            (icmp_type::PARAMETER_PROBLEM, _) => Some("pointer"),
            _ => None,
        }
    }
}

impl ScriptIcmpField {
    /// The second word of the ICMP header.
    pub fn word(self) -> [u8; 4] {
        match self {
            Self::Mtu(mtu) => u32::from(mtu).to_be_bytes(),
            Self::Gateway(gateway) => gateway.octets(),
            Self::Pointer(pointer) => [pointer, 0, 0, 0],
        }
    }

    /// The field of an error of this kind, from the second word of the ICMP header.
    pub fn of_word(kind: ScriptIcmpKind, word: [u8; 4]) -> Option<Self> {
        let [first, _, third, fourth] = word;
        match (kind.icmp_type, kind.code) {
            (icmp_type::DEST_UNREACHABLE, unreachable_code::FRAGMENTATION_NEEDED) => {
                Some(Self::Mtu(u16::from_be_bytes([third, fourth])))
            }
            (icmp_type::REDIRECT, _) => Some(Self::Gateway(word.into())),
            (icmp_type::PARAMETER_PROBLEM, _) => Some(Self::Pointer(first)),
            _ => None,
        }
    }
}

/// Names of ICMP errors.
pub(super) const ERROR_NAMES: [(&str, ScriptIcmpKind); 11] = {
    const fn kind(icmp_type: u8, code: u8) -> ScriptIcmpKind {
        ScriptIcmpKind { icmp_type, code }
    }
    const fn unreachable(code: u8) -> ScriptIcmpKind {
        kind(icmp_type::DEST_UNREACHABLE, code)
    }
    [
        ("unreachable/network", unreachable(unreachable_code::NET)),
        ("unreachable/host", unreachable(unreachable_code::HOST)),
        ("unreachable/protocol", unreachable(unreachable_code::PROTOCOL)),
        ("unreachable/port", unreachable(unreachable_code::PORT)),
        ("unreachable/message-size", unreachable(unreachable_code::FRAGMENTATION_NEEDED)),
        ("unreachable/prohibited", unreachable(unreachable_code::ADMIN_PROHIBITED)),
        ("redirect/network", kind(icmp_type::REDIRECT, 0)),
        ("redirect/host", kind(icmp_type::REDIRECT, 1)),
        ("time-exceeded", kind(icmp_type::TIME_EXCEEDED, 0)),
        // Of the reassembly of fragments.
        ("time-exceeded/reassembly", kind(icmp_type::TIME_EXCEEDED, 1)),
        ("parameter-problem", kind(icmp_type::PARAMETER_PROBLEM, 0)),
    ]
};

/// Names of echo messages, and whether they are replies.
pub(super) const ECHO_NAMES: [(&str, bool); 2] = [("echo-request", false), ("echo-reply", true)];

impl fmt::Display for ScriptIcmp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echo(echo) => echo.fmt(formatter),
            Self::Error(error) => error.fmt(formatter),
        }
    }
}

impl fmt::Display for ScriptEcho {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ECHO_NAMES.iter().find(|(_, is_reply)| *is_reply == self.is_reply).map(|(name, _)| *name);
        write!(formatter, "{} ({})", name.unwrap_or_default(), self.len)?;
        self.seq.map_or(Ok(()), |seq| write!(formatter, " seq {seq}"))
    }
}

impl fmt::Display for ScriptIcmpError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(formatter)?;
        if let Some(field) = self.field {
            write!(formatter, " {field}")?;
        }
        self.quote.as_ref().map_or(Ok(()), |quote| write!(formatter, " [{quote}]"))
    }
}

impl fmt::Display for ScriptIcmpKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ERROR_NAMES.iter().find(|(_, kind)| kind == self) {
            Some((name, _)) => formatter.write_str(name),
            None => write!(formatter, "{}/{}", self.icmp_type, self.code),
        }
    }
}

impl fmt::Display for ScriptIcmpField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mtu(mtu) => write!(formatter, "mtu {mtu}"),
            Self::Gateway(gateway) => write!(formatter, "gateway {gateway}"),
            Self::Pointer(pointer) => write!(formatter, "pointer {pointer}"),
        }
    }
}
