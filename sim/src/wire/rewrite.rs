//! Rewriting addresses and ports in place, with every checksum kept valid.
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
    /// The other one.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Src => Self::Dst,
            Self::Dst => Self::Src,
        }
    }
}

/// Makes one end of a packet what NAT wants it to be: address, port or ICMP identifier, and every checksum that covers them
/// (`nf_nat_ipv4_manip_pkt`, net/netfilter/nf_nat_proto.c).
///
/// `l3` starts at an IPv4 header that is whole; it is a packet, or what an ICMP error quotes of one. False, and nothing
/// changed, if it is cut before the fields that have to be rewritten.
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

/// Where the transport checksum lies, if the packet is long enough to have it.
fn checksum_at(number: u8, l4: &[u8]) -> Option<usize> {
    match number {
        // Linux rewrites the checksum of a TCP header that is whole, or not at all (`tcp_manip_pkt`).
        protocol::TCP if l4.len() >= TCP_HEADER_LEN => Some(16),
        // RFC 768: a checksum of zero means that the sender made none.
        protocol::UDP if l4.len() >= UDP_HEADER_LEN && be16(l4, 6) != 0 => Some(6),
        // ICMP's checksum covers no address, and SCTP's CRC is renewed as a whole.
        _ => None,
    }
}

/// Rewrites an address of an IPv4 packet, its header checksum, and the transport checksum that covers the address.
/// `l3` starts at a whole IPv4 header; its transport header may be cut short, as in an ICMP quote.
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

/// Rewrites a port of a TCP, UDP or SCTP packet, or the identifier of an ICMP query (on either side), with its checksum.
/// Does nothing for later fragments and for headers that are cut before the field.
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
            // Linux: icmp_manip_pkt. Of an error, these bytes mean something else.
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
        // RFC 768: a computed zero is sent as all ones.
        0 if number == protocol::UDP => 0xffff,
        value => value,
    };
    l4[at..at + 2].copy_from_slice(&new.to_be_bytes());
}

#[cfg(test)]
mod tests;
