//! Keys of elements: addresses as numbers, with prefix, port and protocol.

use crate::hook::Family;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The identity of an element. Parts that a type does not have are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) addr: u128,
    /// Prefix length of the network, for types that have one.
    pub(super) prefix: u8,
    pub(super) protocol: u8,
    pub(super) port: u16,
    /// The third part of `hash:ip,port,ip` and `hash:ip,port,net`.
    pub(super) second: u128,
}

/// Number of address bits.
pub(super) const fn bits(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 32,
        Family::Ipv6 | Family::Bridge => 128,
    }
}

/// The netmask of a prefix.
pub(super) const fn mask(family: Family, prefix: u8) -> u128 {
    let host_bits = bits(family) - prefix;
    if host_bits == 128 { 0 } else { u128::MAX << host_bits }
}

/// An address as a number.
pub(super) const fn number_of(addr: IpAddr) -> u128 {
    match addr {
        // `u128::from` cannot be called in a constant.
        IpAddr::V4(addr) => addr.to_bits() as u128,
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

/// Appends an address in the format of glibc's `inet_ntop`.
pub(super) fn print_addr(out: &mut String, family: Family, addr: u128) {
    use std::fmt::Write as _;
    let low = u32::try_from(addr & u128::from(u32::MAX)).unwrap_or_default();
    _ = match family {
        Family::Ipv4 => write!(out, "{}", Ipv4Addr::from_bits(low)),
        // An IPv4-compatible address, which Rust no longer formats with dots.
        Family::Ipv6 | Family::Bridge if addr >> 32 == 0 && low >> 16 != 0 => {
            write!(out, "::{}", Ipv4Addr::from_bits(low))
        }
        Family::Ipv6 | Family::Bridge => write!(out, "{}", Ipv6Addr::from_bits(addr)),
    };
}

/// The prefix length of the largest network that starts at `first` and ends at or before `last`
/// (`ip_set_range_to_cidr`, net/netfilter/ipset/pfxlen.c).
pub(super) fn network_at(first: u32, last: u32) -> u8 {
    let fits = |prefix: &u8| {
        let hosts = u32::MAX.checked_shr(u32::from(*prefix)).unwrap_or(0);
        first & hosts == 0 && first | hosts <= last
    };
    (1..32).find(fits).unwrap_or(32)
}
