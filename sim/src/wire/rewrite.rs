//! Rewriting addresses and ports in place, with every checksum kept valid.
//!
//! Linux: `manip_pkt` and the `*_manip_pkt` functions of net/netfilter/nf_nat_proto.c.

use super::{Ipv4, be16, checksum, protocol};
use std::net::Ipv4Addr;

/// Which end of a packet is rewritten (`enum nf_nat_manip_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The source.
    Src,
    /// The destination.
    Dst,
}

/// Where a transport checksum lies within the transport header, and whether zero means "none".
fn checksum_at(protocol_number: u8) -> Option<(usize, bool)> {
    match protocol_number {
        protocol::TCP => Some((16, false)),
        // RFC 768: a UDP checksum of zero means that the sender made none.
        protocol::UDP => Some((6, true)),
        // SCTP's CRC covers no address, and ICMP's checksum covers no pseudo-header.
        _ => None,
    }
}

/// Rewrites an address of an IPv4 packet, its header checksum, and the transport checksum that covers the address.
/// `l3` starts at a valid IPv4 header; its transport header may be cut short, as in an ICMP quote.
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
///
/// SCTP's CRC32c is recomputed by the receiver's offload in Linux and is not modelled here.
pub fn set_port(l3: &mut [u8], side: Side, new: u16) {
    let ip = Ipv4::new_unchecked(&*l3);
    if ip.fragment_offset() > 0 {
        return;
    }
    let (header_len, number) = (ip.header_len(), ip.protocol());
    let l4 = &mut l3[header_len..];
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
    l4[at..at + 2].copy_from_slice(&new.to_be_bytes());
    if number == protocol::ICMP {
        let value = checksum::update16(be16(l4, 2), old, new);
        l4[2..4].copy_from_slice(&value.to_be_bytes());
    } else {
        patch_checksum(l4, number, |value| checksum::update16(value, old, new));
    }
}

fn patch_checksum(l4: &mut [u8], number: u8, update: impl Fn(u16) -> u16) {
    let Some((at, zero_means_none)) = checksum_at(number) else { return };
    if l4.len() < at + 2 {
        return;
    }
    let old = be16(l4, at);
    if zero_means_none && old == 0 {
        return;
    }
    let new = match update(old) {
        // RFC 768: a computed zero is sent as all ones.
        0 if zero_means_none => 0xffff,
        value => value,
    };
    l4[at..at + 2].copy_from_slice(&new.to_be_bytes());
}
