//! Frames parsed by `etherparse`.

use super::fields::{Fields, Reading, is_echo, is_icmp_error, mac};
use etherparse::{
    ArpPacketSlice, Ethernet2HeaderSlice, Icmpv4Slice, Ipv4HeaderSlice, TcpHeaderSlice, UdpHeaderSlice,
};
use std::net::Ipv4Addr;

pub(crate) fn read(frame: &[u8]) -> Fields {
    let mut reading = Reading::new();
    let Ok(ethernet) = Ethernet2HeaderSlice::from_slice(frame) else { return reading.fields };
    reading.field("ethernet destination", mac(ethernet.destination()));
    reading.field("ethernet source", mac(ethernet.source()));
    reading.field("ethernet type", ethernet.ether_type().0);
    match ethernet.ether_type() {
        etherparse::EtherType::ARP => arp(&mut reading, &frame[14..]),
        etherparse::EtherType::IPV4 => ipv4(&mut reading, &frame[14..]),
        _ => {}
    }
    reading.fields
}

fn arp(reading: &mut Reading, bytes: &[u8]) {
    let Ok(arp) = ArpPacketSlice::from_slice(bytes) else { return };
    let Ok(arp) = arp.to_packet().try_eth_ipv4() else { return };
    reading.field("arp hardware type", 1);
    reading.field("arp protocol type", 0x0800);
    reading.field("arp lengths", "6 4");
    reading.field("arp operation", arp.operation.0);
    reading.field("arp sender mac", mac(arp.sender_mac));
    reading.field("arp sender ip", Ipv4Addr::from(arp.sender_ipv4));
    reading.field("arp target mac", mac(arp.target_mac));
    reading.field("arp target ip", Ipv4Addr::from(arp.target_ipv4));
}

fn ipv4(reading: &mut Reading, bytes: &[u8]) {
    let Ok(ip) = Ipv4HeaderSlice::from_slice(bytes) else { return };
    let header_len = ip.slice().len();
    reading.field("ipv4 header length", header_len);
    reading.field("ipv4 tos", ip.dcp().value() << 2 | ip.ecn().value());
    reading.field("ipv4 total length", ip.total_len());
    reading.field("ipv4 id", ip.identification());
    reading.field("ipv4 dont fragment", ip.dont_fragment());
    reading.field("ipv4 more fragments", ip.more_fragments());
    // In bytes.
    reading.field("ipv4 fragment offset", ip.fragments_offset().byte_offset());
    reading.field("ipv4 ttl", ip.ttl());
    reading.field("ipv4 protocol", ip.protocol().0);
    reading.field("ipv4 checksum", ip.header_checksum());
    reading.field("ipv4 source", ip.source_addr());
    reading.field("ipv4 destination", ip.destination_addr());
    reading.bytes("ipv4 options", ip.options());
    reading.checksum("ipv4", ip.header_checksum() == ip.to_header().calc_header_checksum());
    let payload = &bytes[header_len..bytes.len().min(usize::from(ip.total_len())).max(header_len)];
    reading.field("ipv4 payload length", payload.len());
    if ip.fragments_offset().value() > 0 {
        return;
    }
    match ip.protocol() {
        etherparse::ip_number::TCP => tcp(reading, &ip, payload),
        etherparse::ip_number::UDP => udp(reading, &ip, payload),
        etherparse::ip_number::ICMP => icmp(reading, &ip, payload),
        _ => {}
    }
}

fn tcp(reading: &mut Reading, ip: &Ipv4HeaderSlice<'_>, bytes: &[u8]) {
    let Ok(tcp) = TcpHeaderSlice::from_slice(bytes) else { return };
    let data = &bytes[tcp.slice().len()..];
    reading.field("tcp source port", tcp.source_port());
    reading.field("tcp destination port", tcp.destination_port());
    reading.field("tcp sequence", tcp.sequence_number());
    reading.field("tcp acknowledgment", tcp.acknowledgment_number());
    reading.field("tcp header length", usize::from(tcp.data_offset()) * 4);
    let flags = [tcp.fin(), tcp.syn(), tcp.rst(), tcp.psh(), tcp.ack(), tcp.urg(), tcp.ece(), tcp.cwr()];
    reading.field("tcp flags", flags.iter().rev().fold(0_u8, |byte, flag| byte << 1 | u8::from(*flag)));
    reading.field("tcp window", tcp.window_size());
    reading.field("tcp checksum", tcp.checksum());
    reading.field("tcp urgent pointer", tcp.urgent_pointer());
    reading.bytes("tcp options", tcp.options());
    reading.bytes("tcp data", data);
    if !ip.more_fragments() {
        let sum = tcp.calc_checksum_ipv4_raw(ip.source(), ip.destination(), data);
        reading.checksum("tcp", sum == Ok(tcp.checksum()));
    }
}

fn udp(reading: &mut Reading, ip: &Ipv4HeaderSlice<'_>, bytes: &[u8]) {
    let Ok(udp) = UdpHeaderSlice::from_slice(bytes) else { return };
    reading.field("udp source port", udp.source_port());
    reading.field("udp destination port", udp.destination_port());
    reading.field("udp length", udp.length());
    reading.field("udp checksum", udp.checksum());
    if usize::from(udp.length()) >= 8 && usize::from(udp.length()) <= bytes.len() {
        reading.field("udp data length", usize::from(udp.length()) - 8);
    }
    if !ip.more_fragments() {
        let sum = udp.to_header().calc_checksum_ipv4_raw(ip.source(), ip.destination(), &bytes[8..]);
        // 0: the sender computed none (RFC 768).
        reading.checksum("udp", udp.checksum() == 0 || sum == Ok(udp.checksum()));
    }
}

fn icmp(reading: &mut Reading, ip: &Ipv4HeaderSlice<'_>, bytes: &[u8]) {
    let Ok(icmp) = Icmpv4Slice::from_slice(bytes) else { return };
    let word = icmp.bytes5to8();
    reading.field("icmp type", icmp.type_u8());
    reading.field("icmp code", icmp.code_u8());
    reading.bytes("icmp word", &word);
    if is_echo(icmp.type_u8()) {
        let (etherparse::Icmpv4Type::EchoRequest(echo) | etherparse::Icmpv4Type::EchoReply(echo)) =
            icmp.icmp_type()
        else {
            return;
        };
        reading.field("icmp echo id", echo.id);
        reading.field("icmp echo sequence", echo.seq);
    }
    if !ip.more_fragments() {
        reading.checksum("icmp", icmp.checksum() == icmp.icmp_type().calc_checksum(icmp.payload()));
    }
    if is_icmp_error(icmp.type_u8()) {
        reading.quoted(|reading| ipv4(reading, icmp.payload()));
    }
}
