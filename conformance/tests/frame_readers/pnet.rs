//! Frames parsed by `pnet_packet`.

use super::fields::{Fields, Reading, is_echo, is_icmp_error, mac};
use pnet_packet::Packet;
use pnet_packet::arp::ArpPacket;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::icmp::IcmpPacket;
use pnet_packet::icmp::echo_request::EchoRequestPacket;
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::tcp::TcpPacket;
use pnet_packet::udp::UdpPacket;

pub(crate) fn read(frame: &[u8]) -> Fields {
    let mut reading = Reading::new();
    let Some(ethernet) = EthernetPacket::new(frame) else { return reading.fields };
    reading.field("ethernet destination", mac(ethernet.get_destination().octets()));
    reading.field("ethernet source", mac(ethernet.get_source().octets()));
    reading.field("ethernet type", ethernet.get_ethertype().0);
    match ethernet.get_ethertype() {
        EtherTypes::Arp => arp(&mut reading, ethernet.payload()),
        EtherTypes::Ipv4 => ipv4(&mut reading, ethernet.payload()),
        _ => {}
    }
    reading.fields
}

fn arp(reading: &mut Reading, bytes: &[u8]) {
    let Some(arp) = ArpPacket::new(bytes) else { return };
    reading.field("arp hardware type", arp.get_hardware_type().0);
    reading.field("arp protocol type", arp.get_protocol_type().0);
    reading.field("arp lengths", format!("{} {}", arp.get_hw_addr_len(), arp.get_proto_addr_len()));
    reading.field("arp operation", arp.get_operation().0);
    reading.field("arp sender mac", mac(arp.get_sender_hw_addr().octets()));
    reading.field("arp sender ip", arp.get_sender_proto_addr());
    reading.field("arp target mac", mac(arp.get_target_hw_addr().octets()));
    reading.field("arp target ip", arp.get_target_proto_addr());
}

fn ipv4(reading: &mut Reading, bytes: &[u8]) {
    let Some(ip) = Ipv4Packet::new(bytes) else { return };
    let header_len = usize::from(ip.get_header_length()) * 4;
    // It also parses invalid headers.
    if ip.get_version() != 4 || header_len < 20 || bytes.len() < header_len {
        return;
    }
    reading.field("ipv4 header length", header_len);
    reading.field("ipv4 tos", ip.get_dscp() << 2 | ip.get_ecn());
    reading.field("ipv4 total length", ip.get_total_length());
    reading.field("ipv4 id", ip.get_identification());
    reading.field("ipv4 dont fragment", ip.get_flags() & 0b010 != 0);
    reading.field("ipv4 more fragments", ip.get_flags() & 0b001 != 0);
    reading.field("ipv4 fragment offset", ip.get_fragment_offset() * 8);
    reading.field("ipv4 ttl", ip.get_ttl());
    reading.field("ipv4 protocol", ip.get_next_level_protocol().0);
    reading.field("ipv4 checksum", ip.get_checksum());
    reading.field("ipv4 source", ip.get_source());
    reading.field("ipv4 destination", ip.get_destination());
    reading.bytes("ipv4 options", ip.get_options_raw());
    reading.checksum("ipv4", pnet_packet::ipv4::checksum(&ip) == ip.get_checksum());
    let payload = ip.payload();
    reading.field("ipv4 payload length", payload.len());
    if ip.get_fragment_offset() > 0 {
        return;
    }
    match ip.get_next_level_protocol() {
        IpNextHeaderProtocols::Tcp => tcp(reading, &ip, payload),
        IpNextHeaderProtocols::Udp => udp(reading, &ip, payload),
        IpNextHeaderProtocols::Icmp => icmp(reading, &ip, payload),
        _ => {}
    }
}

fn is_whole(ip: &Ipv4Packet<'_>) -> bool {
    ip.get_flags() & 0b001 == 0
}

fn tcp(reading: &mut Reading, ip: &Ipv4Packet<'_>, bytes: &[u8]) {
    let Some(tcp) = TcpPacket::new(bytes) else { return };
    let header_len = usize::from(tcp.get_data_offset()) * 4;
    if header_len < 20 || bytes.len() < header_len {
        return;
    }
    reading.field("tcp source port", tcp.get_source());
    reading.field("tcp destination port", tcp.get_destination());
    reading.field("tcp sequence", tcp.get_sequence());
    reading.field("tcp acknowledgment", tcp.get_acknowledgement());
    reading.field("tcp header length", header_len);
    reading.field("tcp flags", tcp.get_flags());
    reading.field("tcp window", tcp.get_window());
    reading.field("tcp checksum", tcp.get_checksum());
    reading.field("tcp urgent pointer", tcp.get_urgent_ptr());
    reading.bytes("tcp options", tcp.get_options_raw());
    reading.bytes("tcp data", tcp.payload());
    if is_whole(ip) {
        let sum = pnet_packet::tcp::ipv4_checksum(&tcp, &ip.get_source(), &ip.get_destination());
        reading.checksum("tcp", sum == tcp.get_checksum());
    }
}

fn udp(reading: &mut Reading, ip: &Ipv4Packet<'_>, bytes: &[u8]) {
    let Some(udp) = UdpPacket::new(bytes) else { return };
    reading.field("udp source port", udp.get_source());
    reading.field("udp destination port", udp.get_destination());
    reading.field("udp length", udp.get_length());
    reading.field("udp checksum", udp.get_checksum());
    if udp.get_length() >= 8 && usize::from(udp.get_length()) <= bytes.len() {
        reading.field("udp data length", udp.get_length() - 8);
    }
    if is_whole(ip) {
        let sum = pnet_packet::udp::ipv4_checksum(&udp, &ip.get_source(), &ip.get_destination());
        reading.checksum("udp", udp.get_checksum() == 0 || sum == udp.get_checksum());
    }
}

fn icmp(reading: &mut Reading, ip: &Ipv4Packet<'_>, bytes: &[u8]) {
    // Its header type lacks the word that every message has (RFC 792).
    let Some(icmp) = IcmpPacket::new(bytes).filter(|_| bytes.len() >= 8) else { return };
    let (word, payload) = icmp.payload().split_at(4);
    let icmp_type = icmp.get_icmp_type().0;
    reading.field("icmp type", icmp_type);
    reading.field("icmp code", icmp.get_icmp_code().0);
    reading.bytes("icmp word", word);
    if is_echo(icmp_type) {
        // A reply has the same fields.
        let Some(echo) = EchoRequestPacket::new(bytes) else { return };
        reading.field("icmp echo id", echo.get_identifier());
        reading.field("icmp echo sequence", echo.get_sequence_number());
    }
    if is_whole(ip) {
        reading.checksum("icmp", pnet_packet::icmp::checksum(&icmp) == icmp.get_checksum());
    }
    if is_icmp_error(icmp_type) {
        reading.quoted(|reading| ipv4(reading, payload));
    }
}
