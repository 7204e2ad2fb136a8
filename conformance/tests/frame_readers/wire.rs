//! Frames parsed by the simulator.

use super::fields::{Fields, Reading, is_echo, is_icmp_error, mac};
use sim::wire::arp::{Arp, ArpOperation};
use sim::wire::{Ethernet, Icmpv4, Ipv4, Tcp, Udp, checksum, protocol};

pub(crate) fn read(frame: &[u8]) -> Fields {
    let mut reading = Reading::new();
    let Some(ethernet) = Ethernet::new_checked(frame) else { return reading.fields };
    reading.field("ethernet destination", mac(ethernet.dst().0));
    reading.field("ethernet source", mac(ethernet.src().0));
    let ethertype = ethernet.ethertype().number();
    reading.field("ethernet type", ethertype);
    match ethertype {
        0x0806 => arp(&mut reading, &frame[14..]),
        0x0800 => ipv4(&mut reading, &frame[14..]),
        _ => {}
    }
    reading.fields
}

fn arp(reading: &mut Reading, bytes: &[u8]) {
    let Some(arp) = Arp::parse(bytes) else { return };
    // The simulator parses only ARP for IPv4 over Ethernet.
    reading.field("arp hardware type", 1);
    reading.field("arp protocol type", 0x0800);
    reading.field("arp lengths", "6 4");
    let operation = match arp.operation {
        ArpOperation::Request => 1,
        ArpOperation::Reply => 2,
    };
    reading.field("arp operation", operation);
    reading.field("arp sender mac", mac(arp.sender_mac.0));
    reading.field("arp sender ip", arp.sender_ip);
    reading.field("arp target mac", mac(arp.target_mac.0));
    reading.field("arp target ip", arp.target_ip);
}

fn ipv4(reading: &mut Reading, bytes: &[u8]) {
    let ip = if reading.is_quoted() { Ipv4::new_quoted(bytes) } else { Ipv4::new_checked(bytes) };
    let Some(ip) = ip else { return };
    reading.field("ipv4 header length", ip.header_len());
    reading.field("ipv4 tos", ip.tos());
    reading.field("ipv4 total length", ip.total_len());
    reading.field("ipv4 id", ip.ident());
    reading.field("ipv4 dont fragment", ip.dont_fragment());
    reading.field("ipv4 more fragments", ip.more_fragments());
    reading.field("ipv4 fragment offset", ip.fragment_offset());
    reading.field("ipv4 ttl", ip.ttl());
    reading.field("ipv4 protocol", ip.protocol());
    reading.field("ipv4 checksum", ip.checksum());
    reading.field("ipv4 source", ip.src());
    reading.field("ipv4 destination", ip.dst());
    reading.bytes("ipv4 options", &bytes[20..ip.header_len()]);
    reading.checksum("ipv4", ip.is_checksum_valid());
    let end = bytes.len().min(usize::from(ip.total_len())).max(ip.header_len());
    let payload = &bytes[ip.header_len()..end];
    reading.field("ipv4 payload length", payload.len());
    if ip.fragment_offset() > 0 {
        return;
    }
    let is_whole = !ip.more_fragments();
    let is_sum_valid = checksum::is_transport_valid(ip.src(), ip.dst(), ip.protocol(), payload);
    match ip.protocol() {
        protocol::TCP => tcp(reading, payload, is_whole.then_some(is_sum_valid)),
        protocol::UDP => udp(reading, payload, is_whole.then_some(is_sum_valid)),
        protocol::ICMP => icmp(reading, payload, is_whole),
        _ => {}
    }
}

fn tcp(reading: &mut Reading, bytes: &[u8], is_sum_valid: Option<bool>) {
    let Some(tcp) = Tcp::new_checked(bytes) else { return };
    reading.field("tcp source port", tcp.src_port());
    reading.field("tcp destination port", tcp.dst_port());
    reading.field("tcp sequence", tcp.sequence());
    reading.field("tcp acknowledgment", tcp.acknowledgment());
    reading.field("tcp header length", tcp.header_len());
    reading.field("tcp flags", tcp.flags().0);
    reading.field("tcp window", tcp.window());
    reading.field("tcp checksum", tcp.checksum());
    reading.bytes("tcp options", tcp.options());
    reading.bytes("tcp data", tcp.payload());
    if let Some(is_valid) = is_sum_valid {
        reading.checksum("tcp", is_valid);
    }
}

fn udp(reading: &mut Reading, bytes: &[u8], is_sum_valid: Option<bool>) {
    // A quote or a first fragment may be shorter than the length field.
    let (Some(src), Some(dst), Some(length), Some(sum)) =
        (word(bytes, 0), word(bytes, 2), word(bytes, 4), word(bytes, 6))
    else {
        return;
    };
    if let Some(udp) = Udp::new_checked(bytes) {
        let read = (udp.src_port(), udp.dst_port(), udp.length(), udp.checksum());
        assert_eq!(read, (src, dst, length, sum), "the header of a whole datagram");
        reading.field("udp data length", udp.payload().len());
    }
    reading.field("udp source port", src);
    reading.field("udp destination port", dst);
    reading.field("udp length", length);
    reading.field("udp checksum", sum);
    if let Some(is_valid) = is_sum_valid {
        reading.checksum("udp", is_valid);
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn icmp(reading: &mut Reading, bytes: &[u8], is_whole: bool) {
    let Some(icmp) = Icmpv4::new_checked(bytes) else { return };
    reading.field("icmp type", icmp.icmp_type());
    reading.field("icmp code", icmp.code());
    reading.bytes("icmp word", &icmp.word());
    if is_echo(icmp.icmp_type()) {
        reading.field("icmp echo id", icmp.id());
        reading.field("icmp echo sequence", icmp.sequence());
    }
    if is_whole {
        reading.checksum("icmp", icmp.is_checksum_valid());
    }
    if is_icmp_error(icmp.icmp_type()) {
        reading.quoted(|reading| ipv4(reading, icmp.payload()));
    }
}
