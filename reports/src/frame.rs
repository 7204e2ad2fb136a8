//! A frame in one line: addresses and ports in tcpdump's notation, TCP in packetdrill's.

use sim::wire::arp::{Arp, ArpOperation};
use sim::wire::{
    ETHERNET_HEADER_LEN, EtherType, Ethernet, Headers, Icmpv4, Ipv4, L4, Tcp, TcpFlags, Udp, protocol,
};
use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

mod icmp;

/// Formats a frame that starts with its Ethernet header; the header itself is not printed.
///
/// ```text
/// 192.168.0.100.40000 > 192.168.0.11.30080: S 0:0(0) win 64240
/// 10.244.1.2.8080 > 192.168.0.100.40000: P. 1:6(5) ack 6 win 509
/// 10.96.0.10.53 > 10.244.1.2.40000: UDP, length 12
/// ARP, Request who-has 10.244.1.2 tell 10.244.1.1
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FrameLine<'a> {
    frame: &'a [u8],
    origins: Origins,
}

/// Values subtracted from the numbers of a TCP segment so that they are relative to the SYN. Zero leaves them
/// unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origins {
    /// Initial sequence number of the sender.
    pub sequence: u32,
    /// Initial sequence number of the receiver, subtracted from acknowledgment numbers.
    pub acknowledgment: u32,
}

impl<'a> FrameLine<'a> {
    /// Formats a frame with absolute TCP numbers.
    pub fn new(frame: &'a [u8]) -> Self {
        Self { frame, origins: Origins::default() }
    }

    /// Formats a frame with TCP numbers relative to the SYN.
    pub const fn counted_from(frame: &'a [u8], origins: Origins) -> Self {
        Self { frame, origins }
    }
}

impl Display for FrameLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(ethernet) = Ethernet::new_checked(self.frame) else {
            return write!(f, "frame of {} bytes, too short for Ethernet", self.frame.len());
        };
        let payload = &self.frame[ETHERNET_HEADER_LEN..];
        match ethernet.ethertype() {
            EtherType::Arp => arp(f, payload),
            EtherType::Ipv4 => ip(f, payload, self.origins),
            // Until the neighbour is resolved, the 14 bytes of the Ethernet header are zero.
            EtherType::Other(0) => ip(f, payload, self.origins),
            EtherType::Ipv6 => write!(f, "IPv6, length {}", payload.len()),
            EtherType::Other(number) => write!(f, "ethertype {number:#06x}, length {}", payload.len()),
        }
    }
}

fn arp(f: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let Some(arp) = Arp::parse(bytes) else { return write!(f, "ARP, malformed, length {}", bytes.len()) };
    match arp.operation {
        ArpOperation::Request => write!(f, "ARP, Request who-has {} tell {}", arp.target_ip, arp.sender_ip),
        ArpOperation::Reply => write!(f, "ARP, Reply {} is-at {}", arp.sender_ip, arp.sender_mac),
    }
}

/// Formats an IP packet from its network header on.
fn ip(f: &mut Formatter<'_>, l3: &[u8], origins: Origins) -> fmt::Result {
    let (Some(headers), Some(ip)) = (Headers::parse(l3), Ipv4::new_checked(l3)) else {
        return write!(f, "IP, malformed, length {}", l3.len());
    };
    match headers.l4.ports() {
        Some((src, dst)) => write!(f, "{}.{src} > {}.{dst}: ", headers.src, headers.dst)?,
        None => write!(f, "{} > {}: ", headers.src, headers.dst)?,
    }
    let l4 = ip.payload();
    match headers.l4 {
        L4::Tcp { .. } => Tcp::new_checked(l4).map_or(Ok(()), |segment| tcp(f, &segment, origins)),
        L4::Udp { .. } => {
            Udp::new_checked(l4).map_or(Ok(()), |udp| write!(f, "UDP, length {}", udp.payload().len()))
        }
        L4::Sctp { .. } => write!(f, "SCTP, length {}", l4.len()),
        L4::Icmp { .. } => Icmpv4::new_checked(l4).map_or(Ok(()), |message| icmp::write(f, &message)),
        L4::Other => write!(f, "protocol {}, length {}", headers.protocol, l4.len()),
        L4::Fragment => write!(f, "fragment at {}, length {}", ip.fragment_offset(), l4.len()),
        L4::Truncated => write!(f, "protocol {}, header cut short", headers.protocol),
    }
}

/// Formats `S 1:1(0) win 64240`, `P. 1:6(5) ack 6 win 509`. A segment without payload, SYN or FIN shows no sequence
/// range.
fn tcp(f: &mut Formatter<'_>, tcp: &Tcp<&[u8]>, origins: Origins) -> fmt::Result {
    let flags = tcp.flags();
    write!(f, "{flags}")?;
    let len = u32::try_from(tcp.payload().len()).unwrap_or(u32::MAX);
    let bounds = TcpFlags::SYN.union(TcpFlags::FIN).union(TcpFlags::RST);
    if len > 0 || flags.intersects(bounds) {
        let first = tcp.sequence().wrapping_sub(origins.sequence);
        write!(f, " {first}:{}({len})", first.wrapping_add(len))?;
    }
    if flags.contains(TcpFlags::ACK) {
        write!(f, " ack {}", tcp.acknowledgment().wrapping_sub(origins.acknowledgment))?;
    }
    write!(f, " win {}", tcp.window())
}

/// The kind of packet and its addresses, without ports, sequence numbers and lengths.
///
/// ```text
/// 192.168.0.100 > 192.168.0.11: tcp S
/// 10.244.1.2 > 192.168.0.100: tcp P. with data
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PacketKind<'a>(pub &'a [u8]);

impl Display for PacketKind<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let l3 = self.0.get(ETHERNET_HEADER_LEN..).unwrap_or_default();
        let (Some(headers), Some(ip)) = (Headers::parse(l3), Ipv4::new_checked(l3)) else {
            return FrameLine::new(self.0).fmt(f);
        };
        write!(f, "{} > {}: {}", headers.src, headers.dst, protocol_name(headers.protocol))?;
        match headers.l4 {
            L4::Tcp { flags, .. } => {
                let has_data = Tcp::new_checked(ip.payload()).is_some_and(|tcp| !tcp.payload().is_empty());
                write!(f, " {flags}{}", if has_data { " with data" } else { "" })
            }
            L4::Icmp { icmp_type, code, .. } => write!(f, " type {icmp_type} code {code}"),
            L4::Fragment => write!(f, " fragment at {}", ip.fragment_offset()),
            L4::Udp { .. } | L4::Sctp { .. } | L4::Other | L4::Truncated => Ok(()),
        }
    }
}

/// The usual name of a protocol; `protocol 47` for one without ports.
pub fn protocol_name(number: u8) -> Cow<'static, str> {
    match number {
        protocol::ICMP => "icmp".into(),
        protocol::TCP => "tcp".into(),
        protocol::UDP => "udp".into(),
        protocol::SCTP => "sctp".into(),
        other => format!("protocol {other}").into(),
    }
}

#[cfg(test)]
mod tests;
