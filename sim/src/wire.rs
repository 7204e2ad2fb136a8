//! Headers as lenses over bytes, checksums, and packet building.
//!
//! A lens reads and writes fields in place without validation; [`Headers::parse`] validates. Rewrites keep checksums
//! valid with the incremental update of RFC 1624.

pub mod arp;
pub mod build;
pub mod checksum;
pub mod ecn;
pub mod ethernet;
pub mod headers;
pub mod icmpv4;
pub mod icmpv6;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod quote;
pub mod rewrite;
pub mod tcp;
pub mod tcp_option;
pub mod udp;

pub use ecn::Ecn;
pub use ethernet::{ETHERNET_HEADER_LEN, EtherType, Ethernet, MacAddr};
pub use headers::{Headers, L4};
pub use icmpv4::Icmpv4;
pub use icmpv6::Icmpv6;
pub use ip::Ip;
pub use ipv4::Ipv4;
pub use ipv6::Ipv6;
pub use quote::Quote;
pub use tcp::{Tcp, TcpFlags};
pub use tcp_option::TcpOption;
pub use udp::Udp;

/// IP protocol numbers used by the simulator (IANA "Protocol Numbers").
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// IPv4 in IPv4 (RFC 2003).
    pub const IPIP: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// Nothing follows (RFC 8200 §4.7).
    pub const NO_NEXT_HEADER: u8 = 59;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// Reads a big-endian 16-bit field at `at`.
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Reads a big-endian 32-bit field at `at`.
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
