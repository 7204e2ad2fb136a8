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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_needs_a_whole_header_and_no_valid_version() {
        let header = |first: u8, len: usize| {
            let mut bytes = vec![0; len];
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            bytes
        };
        for (first, len, l4) in [
            (0x45, 28, Some(8)),
            (0x45, 20, Some(0)),
            (0x45, 19, None),
            (0x46, 28, Some(4)),
            (0x46, 23, None),
            (0x44, 28, None),
            // The kernel reads the header length only.
            (0x65, 28, Some(8)),
            (0x45, 0, None),
        ] {
            let bytes = header(first, len);
            let found = Quote::parse(&bytes).map(|quote| quote.l4.len());
            assert_eq!(found, l4, "{first:#04x} and {len} bytes");
        }
    }
}
