//! The key of a flow in one direction (`struct nf_conntrack_tuple`).

use crate::wire::rewrite::Side;
use crate::wire::{Headers, Icmpv4, Icmpv6, Ip, Ipv4, Ipv6, L4, be16, icmpv6, protocol};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Direction of a packet relative to its conntrack entry (`enum ip_conntrack_dir`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The direction of the first packet.
    Original,
    /// The opposite direction.
    Reply,
}

impl Direction {
    /// The opposite direction.
    pub const fn opposite(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// Transport part of a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum L4Key {
    /// TCP, UDP, SCTP.
    Ports {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
    },
    /// ICMP queries.
    Icmp {
        /// Identifier, equal in both directions.
        id: u16,
        /// Type.
        icmp_type: u8,
        /// Code.
        code: u8,
    },
    /// Protocols without ports (`nf_conntrack_proto_generic.c`).
    Generic,
}

/// Addresses, protocol and transport key of one direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Protocol number.
    pub protocol: u8,
    /// Transport key.
    pub l4: L4Key,
}

impl Tuple {
    /// The tuple of a packet (`nf_ct_get_tuple`); `None` for non-first fragments and truncated headers.
    pub fn of_packet(headers: &Headers) -> Option<Self> {
        let l4 = match headers.l4 {
            L4::Tcp { src_port, dst_port, .. }
            | L4::Udp { src_port, dst_port }
            | L4::Sctp { src_port, dst_port } => L4Key::Ports { src: src_port, dst: dst_port },
            L4::Icmp { icmp_type, code, id } => L4Key::Icmp { id, icmp_type, code },
            L4::Other => L4Key::Generic,
            L4::Fragment | L4::Truncated => return None,
        };
        Some(Self { src: headers.src, dst: headers.dst, protocol: headers.protocol, l4 })
    }

    /// The tuple of the packet quoted in an ICMP error, which may be truncated anywhere after its ports
    /// (`nf_ct_get_tuplepr`, net/netfilter/nf_conntrack_core.c). `l3` starts at the quoted IP header. The error decides the
    /// family of the quote, not its version field.
    pub fn of_ipv4_quote(l3: &[u8]) -> Option<Self> {
        Self::of_quote(&Ip::V4(Ipv4::new_quoted(l3)?), l3)
    }

    /// As [`Tuple::of_ipv4_quote`], for an ICMPv6 error.
    pub fn of_ipv6_quote(l3: &[u8]) -> Option<Self> {
        Self::of_quote(&Ip::V6(Ipv6::new_quoted(l3)?), l3)
    }

    fn of_quote(ip: &Ip<&[u8]>, l3: &[u8]) -> Option<Self> {
        if ip.fragment_offset() > 0 {
            return None;
        }
        let (number, bytes) = (ip.protocol(), l3.get(ip.header_len()..)?);
        let l4 = match number {
            protocol::TCP | protocol::UDP | protocol::SCTP if bytes.len() >= 4 => {
                L4Key::Ports { src: be16(bytes, 0), dst: be16(bytes, 2) }
            }
            protocol::TCP | protocol::UDP | protocol::SCTP => return None,
            protocol::ICMP if matches!(ip, Ip::V4(_)) => Icmpv4::new_checked(bytes)
                .map(|icmp| L4Key::Icmp { id: icmp.id(), icmp_type: icmp.icmp_type(), code: icmp.code() })?,
            protocol::ICMPV6 if matches!(ip, Ip::V6(_)) => Icmpv6::new_checked(bytes)
                .map(|icmp| L4Key::Icmp { id: icmp.id(), icmp_type: icmp.icmp_type(), code: icmp.code() })?,
            // The quote ends within an extension header, or nothing follows (`ipv6_get_l4proto`).
            protocol::NO_NEXT_HEADER if matches!(ip, Ip::V6(_)) => return None,
            _ => L4Key::Generic,
        };
        Some(Self { src: ip.src(), dst: ip.dst(), protocol: number, l4 })
    }

    /// The inverted tuple, for replies (`nf_ct_invert_tuple`); `None` for ICMP messages without reply.
    pub fn reply(&self) -> Option<Self> {
        let l4 = match self.l4 {
            L4Key::Ports { src, dst } => L4Key::Ports { src: dst, dst: src },
            L4Key::Icmp { id, icmp_type, code } => {
                L4Key::Icmp { id, icmp_type: self.inverse_icmp_type(icmp_type)?, code }
            }
            L4Key::Generic => L4Key::Generic,
        };
        Some(Self { src: self.dst, dst: self.src, protocol: self.protocol, l4 })
    }

    /// The ICMP type of the reply to a message of this type, or of the request.
    const fn inverse_icmp_type(&self, icmp_type: u8) -> Option<u8> {
        match self.src {
            IpAddr::V4(_) => inverse_icmpv4_type(icmp_type),
            IpAddr::V6(_) => inverse_icmpv6_type(icmp_type),
        }
    }

    /// The address of one side.
    pub const fn addr(&self, side: Side) -> IpAddr {
        match side {
            Side::Src => self.src,
            Side::Dst => self.dst,
        }
    }

    /// The port of one side, or the ICMP identifier, which applies to both; zero for other protocols.
    pub const fn port(&self, side: Side) -> u16 {
        match side {
            Side::Src => self.src_port(),
            Side::Dst => self.dst_port(),
        }
    }

    /// The tuple with another address on one side.
    #[must_use]
    pub const fn with_addr(mut self, side: Side, addr: IpAddr) -> Self {
        match side {
            Side::Src => self.src = addr,
            Side::Dst => self.dst = addr,
        }
        self
    }

    /// The tuple with another port on one side, or another ICMP identifier. Unchanged for other protocols.
    #[must_use]
    pub const fn with_port(mut self, side: Side, port: u16) -> Self {
        match (&mut self.l4, side) {
            (L4Key::Ports { src, .. }, Side::Src) => *src = port,
            (L4Key::Ports { dst, .. }, Side::Dst) => *dst = port,
            (L4Key::Icmp { id, .. }, Side::Src | Side::Dst) => *id = port,
            (L4Key::Generic, Side::Src | Side::Dst) => {}
        }
        self
    }

    /// Source port, or ICMP identifier; zero for other protocols.
    pub const fn src_port(&self) -> u16 {
        match self.l4 {
            L4Key::Ports { src, .. } => src,
            L4Key::Icmp { id, .. } => id,
            L4Key::Generic => 0,
        }
    }

    /// Destination port, or ICMP identifier; zero for other protocols.
    pub const fn dst_port(&self) -> u16 {
        match self.l4 {
            L4Key::Ports { dst, .. } => dst,
            L4Key::Icmp { id, .. } => id,
            L4Key::Generic => 0,
        }
    }
}

/// Linux: `invmap`, net/netfilter/nf_conntrack_proto_icmp.c.
const fn inverse_icmpv4_type(icmp_type: u8) -> Option<u8> {
    match icmp_type {
        8 => Some(0),
        0 => Some(8),
        13 => Some(14),
        14 => Some(13),
        15 => Some(16),
        16 => Some(15),
        17 => Some(18),
        18 => Some(17),
        _ => None,
    }
}

/// Linux: `invmap`, net/netfilter/nf_conntrack_proto_icmpv6.c.
const fn inverse_icmpv6_type(icmp_type: u8) -> Option<u8> {
    use icmpv6::icmp_type::{ECHO_REPLY, ECHO_REQUEST, NODE_INFO_QUERY, NODE_INFO_REPLY};
    match icmp_type {
        ECHO_REQUEST => Some(ECHO_REPLY),
        ECHO_REPLY => Some(ECHO_REQUEST),
        NODE_INFO_QUERY => Some(NODE_INFO_REPLY),
        NODE_INFO_REPLY => Some(NODE_INFO_QUERY),
        _ => None,
    }
}

impl fmt::Display for Tuple {
    /// `192.168.0.100:40000 -> 192.168.0.11:30080`, `[fd00::1]:40000 -> [fd00::2]:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.l4 {
            L4Key::Ports { src, dst } => {
                write!(f, "{} -> {}", SocketAddr::new(self.src, src), SocketAddr::new(self.dst, dst))
            }
            L4Key::Icmp { id, icmp_type, code } => {
                write!(f, "{} -> {} type {icmp_type} code {code} id {id}", self.src, self.dst)
            }
            L4Key::Generic => write!(f, "{} -> {} protocol {}", self.src, self.dst, self.protocol),
        }
    }
}
