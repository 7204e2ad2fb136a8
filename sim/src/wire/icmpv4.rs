//! ICMP (RFC 792).

use super::{be16, checksum};

/// Length of an ICMP header in bytes.
pub const ICMP_HEADER_LEN: usize = 8;

/// ICMP types (RFC 792).
pub mod icmp_type {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const DEST_UNREACHABLE: u8 = 3;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Timestamp request.
    pub const TIMESTAMP_REQUEST: u8 = 13;
    /// Timestamp reply.
    pub const TIMESTAMP_REPLY: u8 = 14;
}

/// Codes of destination unreachable (RFC 792, RFC 1122 §3.2.2.1).
pub mod unreachable_code {
    /// Network unreachable.
    pub const NET: u8 = 0;
    /// Host unreachable.
    pub const HOST: u8 = 1;
    /// Protocol unreachable.
    pub const PROTOCOL: u8 = 2;
    /// Port unreachable.
    pub const PORT: u8 = 3;
    /// Fragmentation needed and DF set.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Network administratively prohibited.
    pub const NET_PROHIBITED: u8 = 9;
    /// Host administratively prohibited.
    pub const HOST_PROHIBITED: u8 = 10;
    /// Communication administratively prohibited.
    pub const ADMIN_PROHIBITED: u8 = 13;
}

/// A view of an ICMP message of at least [`ICMP_HEADER_LEN`] bytes.
#[derive(Clone, Copy, Debug)]
pub struct Icmpv4<T>(T);

impl<T: AsRef<[u8]>> Icmpv4<T> {
    /// A view, or `None` if the bytes are shorter than a header.
    pub fn new_checked(bytes: T) -> Option<Self> {
        (bytes.as_ref().len() >= ICMP_HEADER_LEN).then_some(Self(bytes))
    }

    /// Type.
    pub fn icmp_type(&self) -> u8 {
        self.0.as_ref()[0]
    }

    /// Code.
    pub fn code(&self) -> u8 {
        self.0.as_ref()[1]
    }

    /// Identifier of an echo or timestamp message.
    pub fn id(&self) -> u16 {
        be16(self.0.as_ref(), 4)
    }

    /// Sequence number of an echo or timestamp message.
    pub fn sequence(&self) -> u16 {
        be16(self.0.as_ref(), 6)
    }

    /// Next-hop MTU of a fragmentation-needed message (RFC 1191).
    pub fn next_hop_mtu(&self) -> u16 {
        be16(self.0.as_ref(), 6)
    }

    /// The four bytes after the checksum, whose meaning depends on the type.
    pub fn word(&self) -> [u8; 4] {
        let bytes = self.0.as_ref();
        [bytes[4], bytes[5], bytes[6], bytes[7]]
    }

    /// True for messages that report an error and quote a packet.
    pub fn is_error(&self) -> bool {
        is_error(self.icmp_type())
    }

    /// True for requests and replies, which have an identifier: echo, timestamp, information, address mask.
    pub fn is_query(&self) -> bool {
        matches!(self.icmp_type(), 0 | 8 | 13..=18)
    }

    /// The data after the header: echo data, or the quoted packet.
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[ICMP_HEADER_LEN..]
    }

    /// True if the checksum over the whole message is right.
    pub fn is_checksum_valid(&self) -> bool {
        checksum::finish(checksum::sum(self.0.as_ref())) == 0
    }
}

/// True for the types of messages that report an error and quote a packet (RFC 1122 §3.2.2). Source quench (4) is
/// deprecated by RFC 6633, but conntrack still handles it.
pub const fn is_error(icmp_type: u8) -> bool {
    use icmp_type::{DEST_UNREACHABLE, PARAMETER_PROBLEM, REDIRECT, TIME_EXCEEDED};
    matches!(icmp_type, DEST_UNREACHABLE | 4 | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
}

/// Recomputes the checksum of a message.
///
/// # Panics
/// If the message is shorter than a header.
pub fn fill_checksum(message: &mut [u8]) {
    message[2..4].fill(0);
    let value = checksum::finish(checksum::sum(message));
    message[2..4].copy_from_slice(&value.to_be_bytes());
}
