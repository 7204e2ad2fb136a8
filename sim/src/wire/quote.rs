//! The packet that an ICMP error quotes (RFC 792; RFC 1812 §4.3.2.3).

use super::{Ipv4, be16};

/// Bytes that must follow the quoted IP header for a socket to be found (RFC 792; `icmp_socket_deliver`, net/ipv4/icmp.c).
pub const QUOTED_MIN: usize = 8;

/// A quoted packet: the IP header is complete, the rest may be truncated anywhere.
#[derive(Clone, Copy, Debug)]
pub struct Quote<'b> {
    /// The IP header.
    pub ip: Ipv4<&'b [u8]>,
    /// The available part of its transport header and data.
    pub l4: &'b [u8],
}

impl<'b> Quote<'b> {
    /// Parses the payload of an ICMP error; `None` unless the quoted IP header is complete.
    pub fn parse(payload: &'b [u8]) -> Option<Self> {
        let ip = Ipv4::new_quoted(payload)?;
        Some(Self { ip, l4: &payload[ip.header_len()..] })
    }

    /// The ports, if present. Only for protocols with ports.
    pub fn ports(&self) -> Option<(u16, u16)> {
        (self.l4.len() >= 4).then(|| (be16(self.l4, 0), be16(self.l4, 2)))
    }
}
