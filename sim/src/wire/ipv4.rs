//! IPv4 (RFC 791).

use super::be16;
use super::checksum::{self, Change};
use std::net::Ipv4Addr;

/// Length of an IPv4 header without options, in bytes.
pub const IPV4_HEADER_LEN: usize = 20;

mod field {
    use std::ops::Range;
    pub(super) const TOS: usize = 1;
    pub(super) const TOTAL_LEN: usize = 2;
    pub(super) const IDENT: usize = 4;
    pub(super) const FRAGMENT: usize = 6;
    pub(super) const TTL: usize = 8;
    pub(super) const PROTOCOL: usize = 9;
    pub(super) const CHECKSUM: Range<usize> = 10..12;
    pub(super) const SRC: Range<usize> = 12..16;
    pub(super) const DST: Range<usize> = 16..20;
}

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// A view of an IPv4 packet.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<T>(T);

impl<T: AsRef<[u8]>> Ipv4<T> {
    /// A view of bytes that are known to contain a header; accessors panic on shorter ones.
    pub const fn new_unchecked(bytes: T) -> Self {
        Self(bytes)
    }

    /// A view, or `None` unless version, header length and total length are consistent with the bytes.
    pub fn new_checked(bytes: T) -> Option<Self> {
        let slice = bytes.as_ref();
        if slice.len() < IPV4_HEADER_LEN || slice[0] >> 4 != 4 {
            return None;
        }
        let header_len = usize::from(slice[0] & 0x0f) * 4;
        let total_len = usize::from(be16(slice, field::TOTAL_LEN));
        (header_len >= IPV4_HEADER_LEN && total_len >= header_len && slice.len() >= total_len)
            .then_some(Self(bytes))
    }

    /// A view of the packet that an ICMP error quotes: the header is complete, the payload may be truncated. `None` if
    /// the header is invalid.
    ///
    /// The version is not checked, as in `icmp_unreach` (net/ipv4/icmp.c) and `ipv4_get_l4proto`
    /// (net/netfilter/nf_conntrack_core.c).
    pub fn new_quoted(bytes: T) -> Option<Self> {
        let slice = bytes.as_ref();
        let header_len = usize::from(slice.first()? & 0x0f) * 4;
        (header_len >= IPV4_HEADER_LEN && slice.len() >= header_len).then_some(Self(bytes))
    }

    /// Header length in bytes, options included.
    pub fn header_len(&self) -> usize {
        usize::from(self.0.as_ref()[0] & 0x0f) * 4
    }

    /// Type of service, or DSCP and ECN.
    pub fn tos(&self) -> u8 {
        self.0.as_ref()[field::TOS]
    }

    /// Length of header and payload in bytes.
    pub fn total_len(&self) -> u16 {
        be16(self.0.as_ref(), field::TOTAL_LEN)
    }

    /// Identification.
    pub fn ident(&self) -> u16 {
        be16(self.0.as_ref(), field::IDENT)
    }

    /// DF: must not be fragmented.
    pub fn dont_fragment(&self) -> bool {
        be16(self.0.as_ref(), field::FRAGMENT) & DONT_FRAGMENT != 0
    }

    /// MF: not the last fragment.
    pub fn more_fragments(&self) -> bool {
        be16(self.0.as_ref(), field::FRAGMENT) & MORE_FRAGMENTS != 0
    }

    /// Offset of this fragment in bytes.
    pub fn fragment_offset(&self) -> u16 {
        (be16(self.0.as_ref(), field::FRAGMENT) & OFFSET_MASK) * 8
    }

    /// Time to live, in hops.
    pub fn ttl(&self) -> u8 {
        self.0.as_ref()[field::TTL]
    }

    /// Protocol of the payload.
    pub fn protocol(&self) -> u8 {
        self.0.as_ref()[field::PROTOCOL]
    }

    /// The header checksum as stored.
    pub fn checksum(&self) -> u16 {
        be16(self.0.as_ref(), field::CHECKSUM.start)
    }

    /// True if the header checksum is right.
    pub fn is_checksum_valid(&self) -> bool {
        checksum::finish(checksum::sum(&self.0.as_ref()[..self.header_len()])) == 0
    }

    /// Source address.
    pub fn src(&self) -> Ipv4Addr {
        addr(&self.0.as_ref()[field::SRC])
    }

    /// Destination address.
    pub fn dst(&self) -> Ipv4Addr {
        addr(&self.0.as_ref()[field::DST])
    }

    /// The header, options included.
    pub fn header(&self) -> &[u8] {
        &self.0.as_ref()[..self.header_len()]
    }

    /// Payload, up to the total length.
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[self.header_len()..usize::from(self.total_len())]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv4<T> {
    /// Mutable payload.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let range = self.header_len()..usize::from(self.total_len());
        &mut self.0.as_mut()[range]
    }

    /// Sets the source address and updates the header checksum. For transport checksums see [`super::rewrite`].
    pub fn set_src(&mut self, new: Ipv4Addr) {
        let updated = Change::of_addr(self.src().into(), new.into()).apply(self.checksum());
        self.0.as_mut()[field::SRC].copy_from_slice(&new.octets());
        self.set_checksum(updated);
    }

    /// Sets the destination address and updates the header checksum.
    pub fn set_dst(&mut self, new: Ipv4Addr) {
        let updated = Change::of_addr(self.dst().into(), new.into()).apply(self.checksum());
        self.0.as_mut()[field::DST].copy_from_slice(&new.octets());
        self.set_checksum(updated);
    }

    /// Decrements the TTL (`ip_decrease_ttl`, include/net/ip.h). The caller has checked that it is not zero.
    pub fn decrement_ttl(&mut self) {
        let word = be16(self.0.as_ref(), field::TTL);
        let updated = Change::of16(word, word - 0x0100).apply(self.checksum());
        self.0.as_mut()[field::TTL] -= 1;
        self.set_checksum(updated);
    }

    /// Turns a packet into a fragment, or back into a whole packet: sets length, offset, flags and the header checksum
    /// (`ip_send_check`). `offset` is in bytes, a multiple of 8. Beyond 64 KiB it overflows into MF, as in the kernel
    /// (`ip_frag_next`, net/ipv4/ip_output.c).
    ///
    /// # Panics
    /// If the offset is beyond 512 KiB.
    pub fn set_part(&mut self, total_len: u16, offset: u32, more_fragments: bool, dont_fragment: bool) {
        let more = if more_fragments { MORE_FRAGMENTS } else { 0 };
        let df = if dont_fragment { DONT_FRAGMENT } else { 0 };
        let bytes = self.0.as_mut();
        bytes[field::TOTAL_LEN..field::TOTAL_LEN + 2].copy_from_slice(&total_len.to_be_bytes());
        let eights = u16::try_from(offset / 8).expect("no packet is larger than 64 KiB or starts beyond it");
        let place = eights | more | df;
        bytes[field::FRAGMENT..field::FRAGMENT + 2].copy_from_slice(&place.to_be_bytes());
        self.fill_checksum();
    }

    /// Sets the type of service and updates the header checksum.
    pub fn set_tos(&mut self, tos: u8) {
        self.0.as_mut()[field::TOS] = tos;
        self.fill_checksum();
    }

    fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let header_len = self.header_len();
        let value = checksum::finish(checksum::sum(&self.0.as_ref()[..header_len]));
        self.set_checksum(value);
    }

    /// Writes the fields that a sender chooses, into zeroed bytes; [`Ipv4::finish`] writes the rest.
    pub fn begin(&mut self, protocol: u8, ttl: u8, tos: u8, dont_fragment: bool, dst: Ipv4Addr) {
        let bytes = self.0.as_mut();
        // Version 4, and five words of header.
        bytes[0] = 0x45;
        bytes[field::TOS] = tos;
        let place = if dont_fragment { DONT_FRAGMENT } else { 0 };
        bytes[field::FRAGMENT..field::FRAGMENT + 2].copy_from_slice(&place.to_be_bytes());
        bytes[field::TTL] = ttl;
        bytes[field::PROTOCOL] = protocol;
        bytes[field::DST].copy_from_slice(&dst.octets());
    }

    /// Fills in the fields that the sender's kernel sets, and the checksum over the whole header.
    pub fn finish(&mut self, total_len: u16, ident: u16, src: Ipv4Addr) {
        let bytes = self.0.as_mut();
        bytes[field::TOTAL_LEN..field::TOTAL_LEN + 2].copy_from_slice(&total_len.to_be_bytes());
        bytes[field::IDENT..field::IDENT + 2].copy_from_slice(&ident.to_be_bytes());
        bytes[field::SRC].copy_from_slice(&src.octets());
        self.fill_checksum();
    }

    fn set_checksum(&mut self, value: u16) {
        self.0.as_mut()[field::CHECKSUM].copy_from_slice(&value.to_be_bytes());
    }
}

fn addr(bytes: &[u8]) -> Ipv4Addr {
    Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])
}
