//! Hashes of addresses for tables on the packet path.
//!
//! A derived `Hash` of an address writes its variant, its length and its bytes one after the other; here it is one word
//! for IPv4 and two for IPv6.

use std::hash::Hasher;
use std::net::IpAddr;

/// Hashes two addresses, which mostly are of one family.
#[inline]
pub(crate) fn hash_pair<H: Hasher>(src: IpAddr, dst: IpAddr, state: &mut H) {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            state.write_u64(u64::from(src.to_bits()) << 32 | u64::from(dst.to_bits()));
        }
        (src, dst) => [src, dst].map(words).into_iter().flatten().for_each(|word| state.write_u64(word)),
    }
}

/// Hashes one address.
#[inline]
pub(crate) fn hash_addr<H: Hasher>(addr: IpAddr, state: &mut H) {
    match addr {
        IpAddr::V4(addr) => state.write_u32(addr.to_bits()),
        IpAddr::V6(_) => words(addr).into_iter().for_each(|word| state.write_u64(word)),
    }
}

/// An address as two words.
fn words(addr: IpAddr) -> [u64; 2] {
    let bits = match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().to_bits(),
        IpAddr::V6(addr) => addr.to_bits(),
    };
    [bits >> 64, bits & u128::from(u64::MAX)].map(|word| u64::try_from(word).expect("64 bits"))
}
