//! ICMP messages in tcpdump's notation.

use super::protocol_name;
use sim::wire::icmpv4::{ICMP_HEADER_LEN, icmp_type, unreachable_code};
use sim::wire::{Icmpv4, Ipv4, protocol};
use std::fmt::{self, Formatter};
use std::net::Ipv4Addr;

/// `ICMP echo request, id 7, seq 1, length 64`, `ICMP 10.96.0.10 tcp port 80 unreachable, length 68`.
pub(super) fn write(f: &mut Formatter<'_>, icmp: &Icmpv4<&[u8]>) -> fmt::Result {
    let (kind, code) = (icmp.icmp_type(), icmp.code());
    match kind {
        icmp_type::ECHO_REQUEST => write!(f, "ICMP echo request, id {}, seq {}", icmp.id(), icmp.sequence())?,
        icmp_type::ECHO_REPLY => write!(f, "ICMP echo reply, id {}, seq {}", icmp.id(), icmp.sequence())?,
        icmp_type::DEST_UNREACHABLE => unreachable(f, icmp)?,
        icmp_type::TIME_EXCEEDED => f.write_str("ICMP time exceeded in-transit")?,
        icmp_type::REDIRECT => write!(f, "ICMP redirect, code {code}")?,
        other => write!(f, "ICMP type {other}, code {code}")?,
    }
    write!(f, ", length {}", icmp.payload().len() + ICMP_HEADER_LEN)
}

fn unreachable(f: &mut Formatter<'_>, icmp: &Icmpv4<&[u8]>) -> fmt::Result {
    let quoted = Quoted::read(icmp.payload());
    match (icmp.code(), quoted) {
        (unreachable_code::PORT, Some(Quoted { dst, proto, dst_port: Some(port) })) => {
            write!(f, "ICMP {dst} {} port {port} unreachable", protocol_name(proto))
        }
        (unreachable_code::NET, Some(Quoted { dst, .. })) => write!(f, "ICMP net {dst} unreachable"),
        (unreachable_code::HOST, Some(Quoted { dst, .. })) => write!(f, "ICMP host {dst} unreachable"),
        (unreachable_code::PROTOCOL, Some(Quoted { dst, proto, .. })) => {
            write!(f, "ICMP {dst} protocol {proto} unreachable")
        }
        (unreachable_code::FRAGMENTATION_NEEDED, Some(Quoted { dst, .. })) => {
            write!(f, "ICMP {dst} unreachable - need to frag (mtu {})", icmp.next_hop_mtu())
        }
        (
            unreachable_code::NET_PROHIBITED
            | unreachable_code::HOST_PROHIBITED
            | unreachable_code::ADMIN_PROHIBITED,
            Some(Quoted { dst, .. }),
        ) => {
            write!(f, "ICMP host {dst} unreachable - admin prohibited")
        }
        (code, _) => write!(f, "ICMP unreachable, code {code}"),
    }
}

/// What an ICMP error reveals about the packet it quotes.
struct Quoted {
    dst: Ipv4Addr,
    proto: u8,
    dst_port: Option<u16>,
}

impl Quoted {
    /// Parses the quoted header. RFC 792 quotes only eight transport bytes, so the total length in the header is
    /// ignored.
    fn read(quote: &[u8]) -> Option<Self> {
        let ip = Ipv4::new_quoted(quote)?;
        let has_ports = matches!(ip.protocol(), protocol::TCP | protocol::UDP | protocol::SCTP);
        let port = quote.get(ip.header_len() + 2..ip.header_len() + 4).filter(|_| has_ports);
        let dst_port = port.map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        Some(Self { dst: ip.dst(), proto: ip.protocol(), dst_port })
    }
}
