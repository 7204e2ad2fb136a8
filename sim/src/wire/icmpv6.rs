//! ICMPv6 (RFC 4443).

use super::be16;

/// Length of an ICMPv6 header with the word that most messages have behind the checksum, in bytes.
pub const ICMPV6_HEADER_LEN: usize = 8;

/// ICMPv6 types (RFC 4443; RFC 4620 for node information).
pub mod icmp_type {
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Node information query.
    pub const NODE_INFO_QUERY: u8 = 139;
    /// Node information reply.
    pub const NODE_INFO_REPLY: u8 = 140;
}

/// A view of an ICMPv6 message of at least [`ICMPV6_HEADER_LEN`] bytes.
#[derive(Clone, Copy, Debug)]
pub struct Icmpv6<T>(T);

impl<T: AsRef<[u8]>> Icmpv6<T> {
    /// A view, or `None` if the bytes are shorter than a header.
    pub fn new_checked(bytes: T) -> Option<Self> {
        (bytes.as_ref().len() >= ICMPV6_HEADER_LEN).then_some(Self(bytes))
    }

    /// Type.
    pub fn icmp_type(&self) -> u8 {
        self.0.as_ref()[0]
    }

    /// Code.
    pub fn code(&self) -> u8 {
        self.0.as_ref()[1]
    }

    /// Identifier of an echo message.
    pub fn id(&self) -> u16 {
        be16(self.0.as_ref(), 4)
    }

    /// An echo request or reply, whose identifier NAT may change (`icmpv6_manip_pkt`, net/netfilter/nf_nat_proto.c).
    pub fn is_echo(&self) -> bool {
        matches!(self.icmp_type(), icmp_type::ECHO_REQUEST | icmp_type::ECHO_REPLY)
    }
}
