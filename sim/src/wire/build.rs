//! Builds packets, including checksums.

use super::ipv4::IPV4_HEADER_LEN;
use super::ipv6::IPV6_HEADER_LEN;
use super::udp::UDP_HEADER_LEN;
use super::{ETHERNET_HEADER_LEN, EtherType, Ethernet, Ipv4, MacAddr, arp::Arp, checksum, protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The fields of an IPv4 header that a sender chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Fields {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Protocol number.
    pub protocol: u8,
    /// Time to live, in hops.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub ident: u16,
    /// DF.
    pub dont_fragment: bool,
}

/// Space before a transport header for the IPv4 and Ethernet headers (`MAX_TCP_HEADER`, include/net/tcp.h).
pub const HEADROOM: usize = ETHERNET_HEADER_LEN + IPV4_HEADER_LEN;

/// An IPv4 packet behind 14 zero bytes of Ethernet header.
///
/// # Panics
/// If header and payload exceed 65,535 bytes; senders segment before they come here.
pub fn ipv4(fields: Ipv4Fields, payload: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::new();
    reserve_headroom(&mut buffer, payload.len());
    buffer.extend_from_slice(payload);
    push_ipv4(fields, &mut buffer);
    buffer
}

/// Begins an empty buffer with headroom, and capacity for this many bytes after it (`skb_reserve`).
pub fn reserve_headroom(buffer: &mut Vec<u8>, capacity: usize) {
    buffer.reserve(HEADROOM + capacity);
    buffer.resize(HEADROOM, 0);
}

/// Writes the IPv4 header into the headroom of a buffer (`skb_push`, and `__ip_queue_xmit`, net/ipv4/ip_output.c).
///
/// # Panics
/// If header and payload exceed 65,535 bytes, or the buffer has no headroom.
pub fn push_ipv4(fields: Ipv4Fields, buffer: &mut [u8]) {
    let len = u16::try_from(buffer.len() - ETHERNET_HEADER_LEN).expect("an IPv4 packet is under 64 KiB");
    let mut header = Ipv4::new_unchecked(&mut buffer[ETHERNET_HEADER_LEN..]);
    header.begin(fields.protocol, fields.ttl, fields.tos, fields.dont_fragment, fields.dst);
    header.finish(len, fields.ident, fields.src);
}

/// The fields of an IPv6 header that a sender chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Fields {
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
    /// Number of the first header in the payload.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label; its upper twelve bits are not sent.
    pub flow_label: u32,
}

/// An IPv6 packet behind 14 zero bytes of Ethernet header. The payload begins with the extension headers, if there are any.
///
/// # Panics
/// If the payload exceeds 65,535 bytes; senders segment before they come here.
pub fn ipv6(fields: Ipv6Fields, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("an IPv6 payload is under 64 KiB");
    let first = 6 << 28 | u32::from(fields.traffic_class) << 20 | fields.flow_label & 0x000f_ffff;
    let mut bytes = Vec::with_capacity(ETHERNET_HEADER_LEN + IPV6_HEADER_LEN + payload.len());
    bytes.resize(ETHERNET_HEADER_LEN, 0);
    bytes.extend_from_slice(&first.to_be_bytes());
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(&[fields.next_header, fields.hop_limit]);
    bytes.extend_from_slice(&fields.src.octets());
    bytes.extend_from_slice(&fields.dst.octets());
    bytes.extend_from_slice(payload);
    bytes
}

/// Fills in the checksum of a TCP segment, UDP datagram or ICMPv6 message whose checksum field is zero.
pub fn finish_transport_checksum(src: impl Into<IpAddr>, dst: impl Into<IpAddr>, number: u8, l4: &mut [u8]) {
    let len = u16::try_from(l4.len()).expect("a segment is under 64 KiB");
    let value = checksum::finish(checksum::pseudo_header(src, dst, number, len) + checksum::sum(l4));
    match number {
        protocol::TCP => l4[16..18].copy_from_slice(&value.to_be_bytes()),
        protocol::ICMPV6 => l4[2..4].copy_from_slice(&value.to_be_bytes()),
        protocol::UDP => l4[6..8].copy_from_slice(&if value == 0 { 0xffff } else { value }.to_be_bytes()),
        other => unreachable!("protocol {other} has no pseudo-header checksum"),
    }
}

/// A UDP datagram with its checksum.
pub fn udp<A: Into<IpAddr>>(src: (A, u16), dst: (A, u16), payload: &[u8]) -> Vec<u8> {
    let mut l4 = Vec::with_capacity(UDP_HEADER_LEN + payload.len());
    push_udp(src, dst, payload, &mut l4);
    l4
}

/// Appends a UDP datagram with its checksum.
pub fn push_udp<A: Into<IpAddr>>(src: (A, u16), dst: (A, u16), payload: &[u8], buffer: &mut Vec<u8>) {
    let len = u16::try_from(UDP_HEADER_LEN + payload.len()).expect("a datagram is under 64 KiB");
    let begin = buffer.len();
    buffer.extend_from_slice(&src.1.to_be_bytes());
    buffer.extend_from_slice(&dst.1.to_be_bytes());
    buffer.extend_from_slice(&len.to_be_bytes());
    buffer.extend_from_slice(&[0, 0]);
    buffer.extend_from_slice(payload);
    finish_transport_checksum(src.0, dst.0, protocol::UDP, &mut buffer[begin..]);
}

/// An ICMP message with its checksum. `rest` is the second word of the header.
pub fn icmpv4(icmp_type: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut l4 = vec![icmp_type, code, 0, 0];
    l4.extend_from_slice(&rest);
    l4.extend_from_slice(payload);
    let value = checksum::finish(checksum::sum(&l4));
    l4[2..4].copy_from_slice(&value.to_be_bytes());
    l4
}

/// An ARP packet in an Ethernet frame.
pub fn arp_frame(dst: MacAddr, src: MacAddr, arp: &Arp) -> Vec<u8> {
    let mut bytes = vec![0; ETHERNET_HEADER_LEN];
    if let Some(mut ethernet) = Ethernet::new_checked(&mut bytes[..]) {
        ethernet.set(dst, src, EtherType::Arp);
    }
    bytes.extend_from_slice(&arp.emit());
    bytes
}

#[cfg(test)]
mod tests;
