//! IPv6 (RFC 8200).
//!
//! Left out: jumbograms (RFC 2675). A payload length of zero means that there is no payload.

use super::{be16, be32, protocol};
use std::net::Ipv6Addr;

/// Length of an IPv6 header without extension headers, in bytes.
pub const IPV6_HEADER_LEN: usize = 40;

mod field {
    use std::ops::Range;
    pub(super) const VERSION_CLASS_LABEL: usize = 0;
    pub(super) const PAYLOAD_LEN: usize = 4;
    pub(super) const NEXT_HEADER: usize = 6;
    pub(super) const HOP_LIMIT: usize = 7;
    pub(super) const SRC: Range<usize> = 8..24;
    pub(super) const DST: Range<usize> = 24..40;
}

/// Next-header numbers of extension headers (IANA "IPv6 Extension Header Types").
pub mod extension {
    /// Hop-by-Hop Options.
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing.
    pub const ROUTING: u8 = 43;
    /// Fragment.
    pub const FRAGMENT: u8 = 44;
    /// Authentication (RFC 4302).
    pub const AUTHENTICATION: u8 = 51;
    /// Destination Options.
    pub const DESTINATION: u8 = 60;
}

/// The Fragment header (RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentHeader {
    /// Offset of this fragment in bytes.
    pub offset: u16,
    /// Not the last fragment.
    pub more_fragments: bool,
    /// Identification.
    pub ident: u32,
}

/// The header after the extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpperLayer {
    /// Protocol number; [`protocol::NO_NEXT_HEADER`] if nothing follows.
    pub protocol: u8,
    /// Its offset from the start of the IPv6 header, in bytes.
    pub offset: usize,
    /// The Fragment header, if one was passed.
    pub fragment: Option<FragmentHeader>,
}

/// A view of an IPv6 packet.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<T>(T);

impl<T: AsRef<[u8]>> Ipv6<T> {
    /// A view of bytes known to contain a header; accessors panic on shorter ones.
    pub const fn new_unchecked(bytes: T) -> Self {
        Self(bytes)
    }

    /// A view, or `None` if version or payload length do not match the bytes (`ip6_rcv_core`, net/ipv6/ip6_input.c).
    pub fn new_checked(bytes: T) -> Option<Self> {
        let view = Self::new_quoted(bytes)?;
        let slice = view.0.as_ref();
        (slice[0] >> 4 == 6 && slice.len() >= view.total_len()).then_some(view)
    }

    /// A view of the packet that an ICMPv6 error quotes: the header is complete, the rest may be truncated.
    /// `None` if it is not. The version is not checked, as in `ipv6_get_l4proto` (net/netfilter/nf_conntrack_core.c).
    pub fn new_quoted(bytes: T) -> Option<Self> {
        (bytes.as_ref().len() >= IPV6_HEADER_LEN).then_some(Self(bytes))
    }

    /// Traffic class: DSCP and ECN.
    pub fn traffic_class(&self) -> u8 {
        ((be16(self.0.as_ref(), field::VERSION_CLASS_LABEL) >> 4) & 0xff) as u8
    }

    /// Flow label, 20 bits.
    pub fn flow_label(&self) -> u32 {
        be32(self.0.as_ref(), field::VERSION_CLASS_LABEL) & 0x000f_ffff
    }

    /// Length of what follows the header, extension headers included, in bytes.
    pub fn payload_len(&self) -> u16 {
        be16(self.0.as_ref(), field::PAYLOAD_LEN)
    }

    /// Length of header and payload in bytes.
    pub fn total_len(&self) -> usize {
        IPV6_HEADER_LEN + usize::from(self.payload_len())
    }

    /// Number of the header that follows this one: an extension header or the payload's protocol.
    pub fn next_header(&self) -> u8 {
        self.0.as_ref()[field::NEXT_HEADER]
    }

    /// Hop limit.
    pub fn hop_limit(&self) -> u8 {
        self.0.as_ref()[field::HOP_LIMIT]
    }

    /// Source address.
    pub fn src(&self) -> Ipv6Addr {
        addr(self.0.as_ref(), field::SRC.start)
    }

    /// Destination address.
    pub fn dst(&self) -> Ipv6Addr {
        addr(self.0.as_ref(), field::DST.start)
    }

    /// Skips the extension headers. `None` if the packet ends within one.
    ///
    /// A fragment after the first continues with bytes from the middle of the datagram, so the walk stops at its Fragment header, with the protocol that the Fragment header names (`ipv6_find_hdr`, net/ipv6/exthdrs_core.c;
    /// `ipv6_skip_exthdr` ends before that header).
    pub fn upper_layer(&self) -> Option<UpperLayer> {
        let slice = self.0.as_ref();
        let bytes = &slice[..slice.len().min(self.total_len())];
        let mut found = UpperLayer { protocol: self.next_header(), offset: IPV6_HEADER_LEN, fragment: None };
        loop {
            let at = found.offset;
            let len = match found.protocol {
                extension::HOP_BY_HOP | extension::ROUTING | extension::DESTINATION => {
                    (usize::from(*bytes.get(at + 1)?) + 1) * 8
                }
                // RFC 4302 §2.2: in words, less two.
                extension::AUTHENTICATION => (usize::from(*bytes.get(at + 1)?) + 2) * 4,
                extension::FRAGMENT => 8,
                _ => return Some(found),
            };
            let header = bytes.get(at..at + len)?;
            if found.protocol == extension::FRAGMENT {
                let place = be16(header, 2);
                let (offset, more_fragments) = (place & !7, place & 1 != 0);
                found.fragment = Some(FragmentHeader { offset, more_fragments, ident: be32(header, 4) });
            }
            found.protocol = header[0];
            found.offset += len;
            if found.fragment.is_some_and(|fragment| fragment.offset > 0) {
                return Some(found);
            }
        }
    }

    /// The payload after the extension headers, up to the payload length.
    pub fn payload(&self) -> &[u8] {
        let slice = self.0.as_ref();
        let end = slice.len().min(self.total_len());
        &slice[self.upper_layer_or_none().offset.min(end)..end]
    }

    /// The upper layer, or [`protocol::NO_NEXT_HEADER`] at the end of a packet that ends within an extension header.
    pub(super) fn upper_layer_or_none(&self) -> UpperLayer {
        let end = || self.total_len().min(self.0.as_ref().len());
        self.upper_layer().unwrap_or_else(|| UpperLayer {
            protocol: protocol::NO_NEXT_HEADER,
            offset: end(),
            fragment: None,
        })
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv6<T> {
    /// Changes the source address. [`super::rewrite`] updates transport checksums; the header has none.
    pub fn set_src(&mut self, new: Ipv6Addr) {
        self.0.as_mut()[field::SRC].copy_from_slice(&new.octets());
    }

    /// Changes the destination address.
    pub fn set_dst(&mut self, new: Ipv6Addr) {
        self.0.as_mut()[field::DST].copy_from_slice(&new.octets());
    }

    /// Sets the length of what follows the header, in bytes.
    pub fn set_payload_len(&mut self, len: u16) {
        self.0.as_mut()[field::PAYLOAD_LEN..field::PAYLOAD_LEN + 2].copy_from_slice(&len.to_be_bytes());
    }

    /// Lowers the hop limit by one. The caller has checked that it is above zero.
    pub fn decrement_hop_limit(&mut self) {
        self.0.as_mut()[field::HOP_LIMIT] -= 1;
    }
}

fn addr(bytes: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[at..at + 16]);
    Ipv6Addr::from_octets(octets)
}

#[cfg(test)]
mod tests;
