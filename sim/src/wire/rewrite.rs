//! Rewrites addresses and ports in place and updates every checksum.
//!
//! Linux: `manip_pkt` and the `*_manip_pkt` functions of net/netfilter/nf_nat_proto.c.

use super::checksum::Change;
use super::icmpv4::ICMP_HEADER_LEN;
use super::icmpv6::ICMPV6_HEADER_LEN;
use super::tcp::TCP_HEADER_LEN;
use super::udp::UDP_HEADER_LEN;
use super::{Icmpv4, Icmpv6, Ip, be16, checksum, icmpv4, protocol};
use crate::mutation::Mutation;
use std::net::{IpAddr, SocketAddr};

/// Which end of a packet is rewritten (`enum nf_nat_manip_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The source.
    Src,
    /// The destination.
    Dst,
}

impl Side {
    /// The opposite side.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Src => Self::Dst,
            Self::Dst => Self::Src,
        }
    }
}

/// Rewrites one side of a packet for NAT: address, port or ICMP identifier, and every checksum that covers them
/// (`nf_nat_ipv4_manip_pkt`, `nf_nat_ipv6_manip_pkt`, net/netfilter/nf_nat_proto.c).
///
/// `l3` starts at a complete IP header, of a packet or of the quote in an ICMP error. Returns false, and changes
/// nothing, if it is truncated before the fields to rewrite.
///
/// # Panics
/// If the address and the packet have different IP versions.
#[must_use]
pub fn manip_pkt(l3: &mut [u8], side: Side, addr: IpAddr, port: u16) -> bool {
    let transport = Transport::of(&Ip::new_unchecked(&*l3));
    let needed = match transport.kind {
        Kind::Tcp | Kind::Udp | Kind::Sctp | Kind::Icmp | Kind::Icmpv6 => 8,
        Kind::Other => 0,
    };
    if l3.len().saturating_sub(transport.start) < needed {
        return false;
    }
    write_addr(l3, transport, side, addr);
    write_port(l3, transport, side, port);
    true
}

/// Transport protocols that NAT rewrites (`l4proto_manip_pkt`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmpv6,
    /// Not rewritten: a protocol without ports, or a fragment after the first.
    Other,
}

/// The transport protocol of a packet, and its position.
#[derive(Clone, Copy)]
struct Transport {
    kind: Kind,
    /// Offset of the first byte.
    start: usize,
    /// Offset of the end, according to the IP header.
    end: usize,
}

impl Transport {
    fn of<T: AsRef<[u8]>>(ip: &Ip<T>) -> Self {
        let kind = match ip.protocol() {
            _ if ip.fragment_offset() > 0 => Kind::Other,
            protocol::TCP => Kind::Tcp,
            protocol::UDP => Kind::Udp,
            protocol::SCTP => Kind::Sctp,
            protocol::ICMP if matches!(ip, Ip::V4(_)) => Kind::Icmp,
            protocol::ICMPV6 if matches!(ip, Ip::V6(_)) => Kind::Icmpv6,
            _ => Kind::Other,
        };
        Self { kind, start: ip.header_len(), end: ip.total_len().max(ip.header_len()) }
    }

    /// The transport header and its payload, as far as present.
    fn bytes(self, l3: &mut [u8]) -> &mut [u8] {
        let end = self.end.min(l3.len());
        &mut l3[self.start.min(end)..end]
    }
}

/// Offset of the transport checksum, if the packet is long enough.
fn checksum_at(kind: Kind, l4: &[u8]) -> Option<usize> {
    match kind {
        // Linux rewrites the checksum only if the TCP header is complete (`tcp_manip_pkt`).
        Kind::Tcp if l4.len() >= TCP_HEADER_LEN => Some(16),
        // RFC 768: zero means that the sender computed no checksum.
        Kind::Udp if l4.len() >= UDP_HEADER_LEN && be16(l4, 6) != 0 => Some(6),
        Kind::Icmpv6 if l4.len() >= ICMPV6_HEADER_LEN => Some(2),
        // The checksum of ICMPv4 covers no address, and SCTP's CRC is recomputed as a whole.
        Kind::Tcp | Kind::Udp | Kind::Icmpv6 | Kind::Icmp | Kind::Sctp | Kind::Other => None,
    }
}

/// Rewrites an address of an IP packet, the header checksum of IPv4, and the transport checksum that covers the address.
/// `l3` starts at a complete IP header; the transport header may be truncated, as in an ICMP quote.
///
/// # Panics
/// If the address and the packet have different IP versions.
pub fn set_addr(l3: &mut [u8], side: Side, new: IpAddr) {
    let transport = Transport::of(&Ip::new_unchecked(&*l3));
    write_addr(l3, transport, side, new);
}

fn write_addr(l3: &mut [u8], transport: Transport, side: Side, new: IpAddr) {
    let mut ip = Ip::new_unchecked(&mut *l3);
    let old = match side {
        Side::Src => ip.src(),
        Side::Dst => ip.dst(),
    };
    match side {
        Side::Src => ip.set_src(new),
        Side::Dst => ip.set_dst(new),
    }
    let change = Change::of_addr(old, new);
    let l4 = l3.get_mut(transport.start..).unwrap_or_default();
    patch_checksum(l4, transport.kind, change);
}

/// Rewrites a port of a TCP, UDP or SCTP packet, or the identifier of an ICMP query (for either side), and the
/// checksum. Does nothing for later fragments and for headers truncated before the field.
pub fn set_port(l3: &mut [u8], side: Side, new: u16) {
    let transport = Transport::of(&Ip::new_unchecked(&*l3));
    write_port(l3, transport, side, new);
}

fn write_port(l3: &mut [u8], transport: Transport, side: Side, new: u16) {
    let kind = transport.kind;
    let l4 = transport.bytes(l3);
    let at = match (kind, side) {
        (Kind::Tcp | Kind::Udp | Kind::Sctp, Side::Src) => 0,
        (Kind::Tcp | Kind::Udp | Kind::Sctp, Side::Dst) => 2,
        (Kind::Icmp | Kind::Icmpv6, Side::Src | Side::Dst) => 4,
        (Kind::Other, Side::Src | Side::Dst) => return,
    };
    // In an ICMP error, these bytes have another meaning (`icmp_manip_pkt`).
    let has_field = match kind {
        Kind::Tcp | Kind::Udp | Kind::Sctp => l4.len() >= at + 2,
        Kind::Icmp => Icmpv4::new_checked(&*l4).is_some_and(|icmp| icmp.is_query()),
        Kind::Icmpv6 => Icmpv6::new_checked(&*l4).is_some_and(|icmp| icmp.is_echo()),
        Kind::Other => false,
    };
    if !has_field {
        return;
    }
    let old = be16(l4, at);
    l4[at..at + 2].copy_from_slice(&new.to_be_bytes());
    match kind {
        Kind::Icmp => {
            let value = Change::of16(old, new).apply(be16(l4, 2));
            l4[2..4].copy_from_slice(&value.to_be_bytes());
        }
        Kind::Sctp => checksum::fill_sctp(l4),
        Kind::Tcp | Kind::Udp | Kind::Icmpv6 | Kind::Other => {
            patch_checksum(l4, kind, Change::of16(old, new));
        }
    }
}

/// Rewrites one side of the packet that an ICMPv4 error quotes, and the error's checksum. The quoted ports must be present;
/// the quoted transport checksum is not changed (`ip_vs_nat_icmp`, net/netfilter/ipvs/ip_vs_core.c).
///
/// # Panics
/// If the error is shorter than that, or the address is not IPv4.
pub fn set_quoted_end(message: &mut [u8], side: Side, to: SocketAddr) {
    let quote = &mut message[ICMP_HEADER_LEN..];
    let mut ip = Ip::new_unchecked(&mut *quote);
    let ports = ip.header_len();
    let at = match side {
        Side::Src => {
            ip.set_src(to.ip());
            ports
        }
        Side::Dst => {
            ip.set_dst(to.ip());
            ports + 2
        }
    };
    quote[at..at + 2].copy_from_slice(&to.port().to_be_bytes());
    icmpv4::fill_checksum(message);
}

fn patch_checksum(l4: &mut [u8], kind: Kind, change: Change) {
    if Mutation::NatChecksumStale.is_on() {
        return;
    }
    let Some(at) = checksum_at(kind, l4) else { return };
    let new = match change.apply(be16(l4, at)) {
        // RFC 768: a computed zero is transmitted as all ones.
        0 if kind == Kind::Udp => 0xffff,
        value => value,
    };
    l4[at..at + 2].copy_from_slice(&new.to_be_bytes());
}

#[cfg(test)]
mod tests;
