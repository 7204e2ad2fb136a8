//! Rewrites addresses and ports in place and updates every checksum.
//!
//! Linux: `manip_pkt` and the `*_manip_pkt` functions of net/netfilter/nf_nat_proto.c.

use super::tcp::TCP_HEADER_LEN;
use super::udp::UDP_HEADER_LEN;
use super::{Icmpv4, Ipv4, be16, checksum, protocol};
use std::net::Ipv4Addr;

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
/// (`nf_nat_ipv4_manip_pkt`, net/netfilter/nf_nat_proto.c).
///
/// `l3` starts at a complete IPv4 header, of a packet or of the quote in an ICMP error. Returns false, and changes
/// nothing, if it is truncated before the fields to rewrite.
#[must_use]
pub fn manip_pkt(l3: &mut [u8], side: Side, addr: Ipv4Addr, port: u16) -> bool {
    let ip = Ipv4::new_unchecked(&*l3);
    let needed = match ip.protocol() {
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::ICMP => 8,
        _ => 0,
    };
    if ip.fragment_offset() == 0 && l3.len() - ip.header_len() < needed {
        return false;
    }
    set_addr(l3, side, addr);
    set_port(l3, side, port);
    true
}

/// Offset of the transport checksum, if the packet is long enough.
fn checksum_at(number: u8, l4: &[u8]) -> Option<usize> {
    match number {
        // Linux rewrites the checksum only if the TCP header is complete (`tcp_manip_pkt`).
        protocol::TCP if l4.len() >= TCP_HEADER_LEN => Some(16),
        // RFC 768: zero means that the sender computed no checksum.
        protocol::UDP if l4.len() >= UDP_HEADER_LEN && be16(l4, 6) != 0 => Some(6),
        // ICMP's checksum covers no address, and SCTP's CRC is recomputed as a whole.
        _ => None,
    }
}

/// Rewrites an address of an IPv4 packet, its header checksum, and the transport checksum that covers the address. `l3`
/// starts at a complete IPv4 header; the transport header may be truncated, as in an ICMP quote.
pub fn set_addr(l3: &mut [u8], side: Side, new: Ipv4Addr) {
    let mut ip = Ipv4::new_unchecked(&mut *l3);
    let old = match side {
        Side::Src => ip.src(),
        Side::Dst => ip.dst(),
    };
    match side {
        Side::Src => ip.set_src(new),
        Side::Dst => ip.set_dst(new),
    }
    if ip.fragment_offset() > 0 {
        return;
    }
    let (header_len, number) = (ip.header_len(), ip.protocol());
    patch_checksum(&mut l3[header_len..], number, |value| checksum::update_addr(value, old, new));
}

/// Rewrites a port of a TCP, UDP or SCTP packet, or the identifier of an ICMP query (for either side), and the
/// checksum. Does nothing for later fragments and for headers truncated before the field.
pub fn set_port(l3: &mut [u8], side: Side, new: u16) {
    let ip = Ipv4::new_unchecked(&*l3);
    if ip.fragment_offset() > 0 {
        return;
    }
    let (header_len, number) = (ip.header_len(), ip.protocol());
    let end = l3.len().min(usize::from(ip.total_len()).max(header_len));
    let l4 = &mut l3[header_len..end];
    let at = match (number, side) {
        (protocol::TCP | protocol::UDP | protocol::SCTP, Side::Src) => 0,
        (protocol::TCP | protocol::UDP | protocol::SCTP, Side::Dst) => 2,
        (protocol::ICMP, Side::Src | Side::Dst) => 4,
        _ => return,
    };
    if l4.len() < at + 2 {
        return;
    }
    let old = be16(l4, at);
    match number {
        protocol::ICMP => {
            // Linux: icmp_manip_pkt. In an ICMP error, these bytes have another meaning.
            if !Icmpv4::new_checked(&*l4).is_some_and(|icmp| icmp.is_query()) {
                return;
            }
            l4[at..at + 2].copy_from_slice(&new.to_be_bytes());
            let value = checksum::update16(be16(l4, 2), old, new);
            l4[2..4].copy_from_slice(&value.to_be_bytes());
        }
        protocol::SCTP => {
            l4[at..at + 2].copy_from_slice(&new.to_be_bytes());
            checksum::fill_sctp(l4);
        }
        _ => {
            l4[at..at + 2].copy_from_slice(&new.to_be_bytes());
            patch_checksum(l4, number, |value| checksum::update16(value, old, new));
        }
    }
}

fn patch_checksum(l4: &mut [u8], number: u8, update: impl Fn(u16) -> u16) {
    let Some(at) = checksum_at(number, l4) else { return };
    let new = match update(be16(l4, at)) {
        // RFC 768: a computed zero is transmitted as all ones.
        0 if number == protocol::UDP => 0xffff,
        value => value,
    };
    l4[at..at + 2].copy_from_slice(&new.to_be_bytes());
}

#[cfg(test)]
mod tests;
