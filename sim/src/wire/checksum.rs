//! The Internet checksum (RFC 1071), its incremental update (RFC 1624), and the CRC of SCTP (RFC 9260 appendix A).

use super::protocol;
use std::net::IpAddr;

/// One's-complement sum of `bytes` as big-endian 16-bit words, not completely folded, and not inverted. An odd last byte
/// is padded with zero.
#[must_use]
pub fn sum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks();
    // Words of 32 bits have the same sum after folding (RFC 1071 §2 C), and are half as many.
    let whole: u64 = words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum();
    let last = match *rest {
        [a] => [a, 0, 0, 0],
        [a, b] => [a, b, 0, 0],
        [a, b, c] => [a, b, c, 0],
        _ => [0; 4],
    };
    let sum = whole + u64::from(u32::from_be_bytes(last));
    (0..4).map(|word| u32::from((sum >> (16 * word)) as u16)).sum()
}

/// The pseudo-header sum of TCP and UDP (RFC 9293 §3.1, RFC 768), over IPv6 also of ICMPv6 (RFC 8200 §8.1). `len` is the
/// length of the segment in bytes.
#[must_use]
pub fn pseudo_header(src: impl Into<IpAddr>, dst: impl Into<IpAddr>, protocol: u8, len: u16) -> u32 {
    sum_addr(src.into()) + sum_addr(dst.into()) + u32::from(protocol) + u32::from(len)
}

fn sum_addr(addr: IpAddr) -> u32 {
    match addr {
        IpAddr::V4(addr) => {
            let bits = addr.to_bits();
            (bits >> 16) + (bits & 0xffff)
        }
        IpAddr::V6(addr) => sum(&addr.octets()),
    }
}

/// The sum of the complements of an address's words.
fn sum_complement(addr: IpAddr) -> u32 {
    let words = match addr {
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 8,
    };
    words * 0xffff - sum_addr(addr)
}

/// Folds a sum to 16 bits and inverts it: the value that goes into a header.
#[must_use]
pub fn finish(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(u16::try_from(sum).unwrap_or(u16::MAX))
}

/// A change of covered data: what it adds to the sum (RFC 1624, equation 3).
#[derive(Clone, Copy, Debug)]
pub struct Change(u32);

impl Change {
    /// A 16-bit word changes.
    pub fn of16(old: u16, new: u16) -> Self {
        Self(u32::from(!old) + u32::from(new))
    }

    /// All words of an address change.
    pub fn of_addr(old: IpAddr, new: IpAddr) -> Self {
        Self(sum_complement(old) + sum_addr(new))
    }

    /// The checksum after the change.
    #[must_use]
    pub fn apply(self, checksum: u16) -> u16 {
        finish(u32::from(!checksum) + self.0)
    }
}

/// True if the checksum of a TCP segment, UDP datagram, SCTP packet or ICMPv6 message is right or absent. Other
/// protocols, and headers too short for the checksum, pass (`nf_checksum`, net/netfilter/utils.c; `sctp_error`).
#[must_use]
pub fn is_transport_valid(src: impl Into<IpAddr>, dst: impl Into<IpAddr>, number: u8, l4: &[u8]) -> bool {
    let (src, dst): (IpAddr, IpAddr) = (src.into(), dst.into());
    match number {
        protocol::UDP if l4.len() >= 8 && l4[6..8] == [0, 0] => true,
        protocol::ICMPV6 if src.is_ipv4() => true,
        protocol::TCP | protocol::UDP | protocol::ICMPV6 => {
            let len = u16::try_from(l4.len()).unwrap_or(u16::MAX);
            finish(pseudo_header(src, dst, number, len) + sum(l4)) == 0
        }
        protocol::SCTP if l4.len() >= 12 => l4[8..12] == sctp(l4).to_le_bytes(),
        _ => true,
    }
}

/// The CRC32c of an SCTP packet, with the checksum field taken as zero. It is stored least significant byte first.
///
/// # Panics
/// If the packet is shorter than the common header.
#[must_use]
pub fn sctp(l4: &[u8]) -> u32 {
    !crc32c(crc32c(crc32c(u32::MAX, &l4[..8]), &[0; 4]), &l4[12..])
}

/// Recomputes the CRC of an SCTP packet. Does nothing if the packet is truncated before it, as in an ICMP quote.
pub fn fill_sctp(l4: &mut [u8]) {
    if l4.len() >= 12 {
        let value = sctp(l4);
        l4[8..12].copy_from_slice(&value.to_le_bytes());
    }
}

/// The Castagnoli polynomial, bits reversed.
const CASTAGNOLI: u32 = 0x82f6_3b78;

fn crc32c(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (CASTAGNOLI & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests;
