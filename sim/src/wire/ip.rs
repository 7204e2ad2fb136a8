//! The IP header of either version, for family-neutral code: conntrack, NAT, rules, sets and sockets.
//!
//! Linux: `nf_ct_get_l4proto`, net/netfilter/nf_conntrack_core.c; `struct nft_pktinfo`, include/net/netfilter/nf_tables.h.

use super::ipv6::FragmentHeader;
use super::{Ipv4, Ipv6, protocol};
use std::net::IpAddr;

/// A view of an IPv4 or IPv6 packet.
#[derive(Clone, Copy, Debug)]
pub enum Ip<T> {
    /// Version 4.
    V4(Ipv4<T>),
    /// Version 6.
    V6(Ipv6<T>),
}

impl<T: AsRef<[u8]>> Ip<T> {
    /// A view of bytes known to contain an IPv4 or IPv6 header; accessors panic on shorter ones. Bytes of another version
    /// are viewed as IPv4.
    ///
    /// # Panics
    /// If there are no bytes.
    pub fn new_unchecked(bytes: T) -> Self {
        match bytes.as_ref()[0] >> 4 {
            6 => Self::V6(Ipv6::new_unchecked(bytes)),
            _ => Self::V4(Ipv4::new_unchecked(bytes)),
        }
    }

    /// A view, or `None` unless version and lengths agree with the bytes.
    pub fn new_checked(bytes: T) -> Option<Self> {
        match bytes.as_ref().first()? >> 4 {
            4 => Ipv4::new_checked(bytes).map(Self::V4),
            6 => Ipv6::new_checked(bytes).map(Self::V6),
            _ => None,
        }
    }

    /// Source address.
    pub fn src(&self) -> IpAddr {
        match self {
            Self::V4(ip) => ip.src().into(),
            Self::V6(ip) => ip.src().into(),
        }
    }

    /// Destination address.
    pub fn dst(&self) -> IpAddr {
        match self {
            Self::V4(ip) => ip.dst().into(),
            Self::V6(ip) => ip.dst().into(),
        }
    }

    /// Protocol of the payload. IPv6 extension headers are skipped, see [`Ipv6::upper_layer`]; if the packet ends within
    /// one, [`protocol::NO_NEXT_HEADER`].
    pub fn protocol(&self) -> u8 {
        match self {
            Self::V4(ip) => ip.protocol(),
            Self::V6(ip) => ip.upper_layer_or_none().protocol,
        }
    }

    /// The number of this version's ICMP: [`protocol::ICMP`] or [`protocol::ICMPV6`].
    pub const fn icmp_protocol(&self) -> u8 {
        match self {
            Self::V4(_) => protocol::ICMP,
            Self::V6(_) => protocol::ICMPV6,
        }
    }

    /// DSCP and ECN: the type of service or the traffic class (`ipv4_get_dsfield`, `ipv6_get_dsfield`, include/net/dsfield.h).
    pub fn dsfield(&self) -> u8 {
        match self {
            Self::V4(ip) => ip.tos(),
            Self::V6(ip) => ip.traffic_class(),
        }
    }

    /// Time to live or hop limit.
    pub fn ttl(&self) -> u8 {
        match self {
            Self::V4(ip) => ip.ttl(),
            Self::V6(ip) => ip.hop_limit(),
        }
    }

    /// Length of the header in bytes, including IPv4 options or IPv6 extension headers.
    pub fn header_len(&self) -> usize {
        match self {
            Self::V4(ip) => ip.header_len(),
            Self::V6(ip) => ip.upper_layer_or_none().offset,
        }
    }

    /// Length of header and payload in bytes.
    pub fn total_len(&self) -> usize {
        match self {
            Self::V4(ip) => usize::from(ip.total_len()),
            Self::V6(ip) => ip.total_len(),
        }
    }

    /// Offset of this fragment in bytes; zero for whole packets.
    pub fn fragment_offset(&self) -> u16 {
        match self {
            Self::V4(ip) => ip.fragment_offset(),
            Self::V6(ip) => fragment(ip).map_or(0, |fragment| fragment.offset),
        }
    }

    /// True for every fragment of a datagram, including the first. An atomic fragment of IPv6 (RFC 6946) is a complete packet.
    pub fn is_fragment(&self) -> bool {
        match self {
            Self::V4(ip) => ip.more_fragments() || ip.fragment_offset() > 0,
            Self::V6(ip) => fragment(ip).is_some_and(|found| found.more_fragments || found.offset > 0),
        }
    }

    /// The payload, up to the total length.
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::V4(ip) => ip.payload(),
            Self::V6(ip) => ip.payload(),
        }
    }
}

fn fragment<T: AsRef<[u8]>>(ip: &Ipv6<T>) -> Option<FragmentHeader> {
    ip.upper_layer_or_none().fragment
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ip<T> {
    /// Changes the source address, and the header checksum of IPv4. [`super::rewrite`] updates transport
    /// checksums.
    ///
    /// # Panics
    /// If the address and the packet have different IP versions.
    pub fn set_src(&mut self, new: IpAddr) {
        match (self, new) {
            (Self::V4(ip), IpAddr::V4(new)) => ip.set_src(new),
            (Self::V6(ip), IpAddr::V6(new)) => ip.set_src(new),
            (Self::V4(_), IpAddr::V6(_)) | (Self::V6(_), IpAddr::V4(_)) => other_version(new),
        }
    }

    /// As [`Ip::set_src`], for the destination address.
    ///
    /// # Panics
    /// If the address and the packet have different IP versions.
    pub fn set_dst(&mut self, new: IpAddr) {
        match (self, new) {
            (Self::V4(ip), IpAddr::V4(new)) => ip.set_dst(new),
            (Self::V6(ip), IpAddr::V6(new)) => ip.set_dst(new),
            (Self::V4(_), IpAddr::V6(_)) | (Self::V6(_), IpAddr::V4(_)) => other_version(new),
        }
    }
}

fn other_version(new: IpAddr) -> ! {
    unreachable!("{new} is of another IP version than the packet")
}

#[cfg(test)]
mod tests;
