use super::{FrameLine, PacketKind};
use crate::sample::{Addr, segment, udp};
use sim::wire::arp::{Arp, ArpOperation};
use sim::wire::{MacAddr, TcpFlags, build, icmpv4::icmp_type, protocol};
use std::net::{IpAddr, Ipv4Addr};

const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 100);
const SERVER_V4: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
const CLIENT: Addr = (IpAddr::V4(CLIENT_V4), 40000);
const SERVER: Addr = (IpAddr::V4(SERVER_V4), 80);

fn ip(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let fields = build::Ipv4Fields {
        src: SERVER_V4,
        dst: CLIENT_V4,
        protocol,
        ttl: 64,
        tos: 0,
        ident: 0,
        dont_fragment: true,
    };
    build::ipv4(fields, payload)
}

fn icmp(icmp_type: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    ip(protocol::ICMP, &build::icmpv4(icmp_type, code, rest, payload))
}

fn check(frame: &[u8], summary: &str, kind: &str) {
    assert_eq!(FrameLine::new(frame).to_string(), summary);
    assert_eq!(PacketKind(frame).to_string(), kind);
}

#[test]
fn tcp_reads_as_packetdrill_writes_it() {
    let syn_ack = TcpFlags::SYN.union(TcpFlags::ACK);
    let push = TcpFlags::PSH.union(TcpFlags::ACK);
    for (flags, payload, summary, kind) in [
        (TcpFlags::SYN, "", "S 7:7(0) win 64240", "tcp S"),
        (syn_ack, "", "S. 7:7(0) ack 9 win 64240", "tcp S."),
        (TcpFlags::ACK, "", ". ack 9 win 64240", "tcp ."),
        (push, "hello", "P. 7:12(5) ack 9 win 64240", "tcp P. with data"),
        (TcpFlags::RST, "", "R 7:7(0) win 64240", "tcp R"),
    ] {
        check(
            &segment(CLIENT, SERVER, flags, 7, 9, payload.as_bytes()),
            &format!("192.168.0.100.40000 > 10.96.0.10.80: {summary}"),
            &format!("192.168.0.100 > 10.96.0.10: {kind}"),
        );
    }
}

#[test]
fn sequence_numbers_wrap() {
    let frame = segment(CLIENT, SERVER, TcpFlags::PSH, u32::MAX, 0, b"ab");
    assert!(FrameLine::new(&frame).to_string().contains(" 4294967295:1(2) "), "{}", FrameLine::new(&frame));
}

#[test]
fn udp_shows_its_length() {
    check(
        &udp(CLIENT, SERVER, b"query"),
        "192.168.0.100.40000 > 10.96.0.10.80: UDP, length 5",
        "192.168.0.100 > 10.96.0.10: udp",
    );
}

#[test]
fn icmp_errors_name_what_they_quote() {
    let quote = &udp(CLIENT, SERVER, b"query")[14..];
    for (icmp_type, code, rest, payload, summary) in [
        (icmp_type::ECHO_REQUEST, 0, [0, 7, 0, 1], &b"data"[..], "ICMP echo request, id 7, seq 1, length 12"),
        (icmp_type::ECHO_REPLY, 0, [0, 7, 0, 1], b"data", "ICMP echo reply, id 7, seq 1, length 12"),
        (icmp_type::DEST_UNREACHABLE, 3, [0; 4], quote, "ICMP 10.96.0.10 udp port 80 unreachable, length 41"),
        (icmp_type::DEST_UNREACHABLE, 1, [0; 4], quote, "ICMP host 10.96.0.10 unreachable, length 41"),
        (
            icmp_type::DEST_UNREACHABLE,
            4,
            [0, 0, 0x05, 0xaa],
            quote,
            "ICMP 10.96.0.10 unreachable - need to frag (mtu 1450), length 41",
        ),
        // A quote that is truncated within its IP header yields nothing.
        (icmp_type::DEST_UNREACHABLE, 3, [0; 4], &quote[..12], "ICMP unreachable, code 3, length 20"),
        (icmp_type::TIME_EXCEEDED, 0, [0; 4], quote, "ICMP time exceeded in-transit, length 41"),
    ] {
        let frame = icmp(icmp_type, code, rest, payload);
        assert_eq!(FrameLine::new(&frame).to_string(), format!("10.96.0.10 > 192.168.0.100: {summary}"));
    }
}

#[test]
fn arp_asks_and_answers() {
    let arp = Arp {
        operation: ArpOperation::Request,
        sender_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        sender_ip: SERVER_V4,
        target_mac: MacAddr::ZERO,
        target_ip: CLIENT_V4,
    };
    let frame = |operation| {
        build::arp_frame(MacAddr::BROADCAST, MacAddr([2, 0, 0, 0, 0, 1]), &Arp { operation, ..arp })
    };
    let request = "ARP, Request who-has 192.168.0.100 tell 10.96.0.10";
    check(&frame(ArpOperation::Request), request, request);
    let reply = "ARP, Reply 10.96.0.10 is-at 02:00:00:00:00:01";
    check(&frame(ArpOperation::Reply), reply, reply);
}

#[test]
fn what_cannot_be_read_is_said_to_be_so() {
    assert_eq!(FrameLine::new(&[0; 3]).to_string(), "frame of 3 bytes, too short for Ethernet");
    assert_eq!(FrameLine::new(&[0; 20]).to_string(), "IP, malformed, length 6");
    let cut = &segment(CLIENT, SERVER, TcpFlags::SYN, 0, 0, b"")[..40];
    assert_eq!(FrameLine::new(cut).to_string(), "IP, malformed, length 26");
}
