//! The packet fields that routing, rules and conntrack use, parsed once.

use super::ipv6::UpperLayer;
use super::{Icmpv4, Icmpv6, Ip, Ipv4, Ipv6, Tcp, TcpFlags, Udp, be16, protocol};
use std::net::IpAddr;

/// Transport fields, as far as the packet contains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum L4 {
    /// TCP.
    Tcp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Control bits.
        flags: TcpFlags,
    },
    /// UDP.
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
    },
    /// SCTP.
    Sctp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
    },
    /// ICMP or ICMPv6.
    Icmp {
        /// Type.
        icmp_type: u8,
        /// Code.
        code: u8,
        /// Identifier; meaningful only for echo and timestamp messages.
        id: u16,
    },
    /// Another protocol.
    Other,
    /// A fragment after the first: it has no transport header.
    Fragment,
    /// The transport header is truncated or missing.
    Truncated,
}

impl L4 {
    /// Source and destination port, of protocols that have them.
    pub const fn ports(self) -> Option<(u16, u16)> {
        match self {
            Self::Tcp { src_port, dst_port, .. }
            | Self::Udp { src_port, dst_port }
            | Self::Sctp { src_port, dst_port } => Some((src_port, dst_port)),
            Self::Icmp { .. } | Self::Other | Self::Fragment | Self::Truncated => None,
        }
    }
}

/// Addresses, protocol and transport fields of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Headers {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Protocol number.
    pub protocol: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Length of the IP packet in bytes.
    pub total_len: u32,
    /// True for every fragment of a datagram, including the first.
    pub is_fragment: bool,
    /// Transport fields.
    pub l4: L4,
}

impl Headers {
    /// Parses an IP packet, starting at its network header; `None` if the IP header itself is malformed.
    pub fn parse(l3: &[u8]) -> Option<Self> {
        match Ip::new_checked(l3)? {
            Ip::V4(ip) => Some(Self::of_ipv4(&ip)),
            Ip::V6(ip) => Some(Self::of_ipv6(&ip)),
        }
    }

    fn of_ipv4(ip: &Ipv4<&[u8]>) -> Self {
        let (offset, number) = (ip.fragment_offset(), ip.protocol());
        Self {
            src: ip.src().into(),
            dst: ip.dst().into(),
            protocol: number,
            ttl: ip.ttl(),
            total_len: ip.total_len().into(),
            is_fragment: ip.more_fragments() || offset > 0,
            l4: if offset > 0 { L4::Fragment } else { transport(Version::V4, number, ip.payload()) },
        }
    }

    fn of_ipv6(ip: &Ipv6<&[u8]>) -> Self {
        let UpperLayer { protocol: number, fragment, .. } = ip.upper_layer_or_none();
        let offset = fragment.map_or(0, |fragment| fragment.offset);
        Self {
            src: ip.src().into(),
            dst: ip.dst().into(),
            protocol: number,
            ttl: ip.hop_limit(),
            total_len: u32::try_from(ip.total_len()).expect("a packet is at most 65,575 bytes"),
            // An atomic fragment (RFC 6946) is a complete packet.
            is_fragment: offset > 0 || fragment.is_some_and(|fragment| fragment.more_fragments),
            l4: if offset > 0 { L4::Fragment } else { transport(Version::V6, number, ip.payload()) },
        }
    }
}

/// IP version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V4,
    V6,
}

fn transport(version: Version, number: u8, bytes: &[u8]) -> L4 {
    match number {
        protocol::TCP => Tcp::new_checked(bytes).map_or(L4::Truncated, |tcp| L4::Tcp {
            src_port: tcp.src_port(),
            dst_port: tcp.dst_port(),
            flags: tcp.flags(),
        }),
        protocol::UDP => Udp::new_checked(bytes)
            .map_or(L4::Truncated, |udp| L4::Udp { src_port: udp.src_port(), dst_port: udp.dst_port() }),
        // The SCTP common header has 12 bytes (RFC 9260 §3.1).
        protocol::SCTP if bytes.len() >= 12 => {
            L4::Sctp { src_port: be16(bytes, 0), dst_port: be16(bytes, 2) }
        }
        protocol::SCTP => L4::Truncated,
        protocol::ICMP if version == Version::V4 => {
            Icmpv4::new_checked(bytes).map_or(L4::Truncated, |icmp| L4::Icmp {
                icmp_type: icmp.icmp_type(),
                code: icmp.code(),
                id: icmp.id(),
            })
        }
        protocol::ICMPV6 if version == Version::V6 => {
            Icmpv6::new_checked(bytes).map_or(L4::Truncated, |icmp| L4::Icmp {
                icmp_type: icmp.icmp_type(),
                code: icmp.code(),
                id: icmp.id(),
            })
        }
        // The end of an IPv6 packet, or an extension header that is cut.
        protocol::NO_NEXT_HEADER if version == Version::V6 => L4::Truncated,
        _ => L4::Other,
    }
}
