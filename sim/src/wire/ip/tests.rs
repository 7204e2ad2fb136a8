use super::Ip;
use crate::tuple::{L4Key, Tuple};
use crate::wire::build::{self, Ipv4Fields, Ipv6Fields};
use crate::wire::ipv6::extension;
use crate::wire::protocol::{ICMP, ICMPV6, NO_NEXT_HEADER, TCP, UDP};
use crate::wire::{Headers, L4, TcpFlags};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

fn v4(protocol: u8, l4: &[u8]) -> Vec<u8> {
    let fields = Ipv4Fields { src: A, dst: B, protocol, ttl: 61, tos: 0xb8, ident: 0, dont_fragment: false };
    build::ipv4(fields, l4).split_off(14)
}

fn v6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let fields = Ipv6Fields {
        src: A6,
        dst: B6,
        next_header,
        hop_limit: 61,
        traffic_class: 0xb8,
        flow_label: 0xf_ffff,
    };
    build::ipv6(fields, payload).split_off(14)
}

/// A Fragment header in front of `l4`.
fn fragment(protocol: u8, place: u16, l4: &[u8]) -> Vec<u8> {
    let [high, low] = place.to_be_bytes();
    v6(extension::FRAGMENT, &[&[protocol, 0, high, low, 0, 0, 0, 7], l4].concat())
}

fn with_v4_options(l4: &[u8]) -> Vec<u8> {
    let mut l3 = v4(UDP, &[&[1; 8], l4].concat());
    l3[0] = 0x47;
    l3
}

fn with_v4_place(place: u16, l4: &[u8]) -> Vec<u8> {
    let mut l3 = v4(UDP, l4);
    l3[6..8].copy_from_slice(&place.to_be_bytes());
    l3
}

/// Packet; protocol, header length, fragment offset, is it a fragment, and payload.
type Case<'a> = (Vec<u8>, u8, usize, u16, bool, &'a [u8]);

#[test]
fn both_versions_answer_alike() {
    let hop_by_hop = [&[UDP, 0, 1, 4, 0, 0, 0, 0], &b"12345678"[..]].concat();
    let cut_extension = [&[UDP, 9, 1, 4, 0, 0, 0, 0], &b"12345678"[..]].concat();
    let cases: [Case<'_>; 12] = [
        (v4(UDP, b"12345678"), UDP, 20, 0, false, b"12345678"),
        (with_v4_options(b"12345678"), UDP, 28, 0, false, b"12345678"),
        (with_v4_place(0x2000, b"12345678"), UDP, 20, 0, true, b"12345678"),
        (with_v4_place(0x0001, b"12345678"), UDP, 20, 8, true, b"12345678"),
        (v6(UDP, b"12345678"), UDP, 40, 0, false, b"12345678"),
        (v6(extension::HOP_BY_HOP, &hop_by_hop), UDP, 48, 0, false, b"12345678"),
        (fragment(UDP, 0x0000, b"12345678"), UDP, 48, 0, false, b"12345678"),
        (fragment(UDP, 0x0001, b"12345678"), UDP, 48, 0, true, b"12345678"),
        (fragment(UDP, 0x0008, b"12345678"), UDP, 48, 8, true, b"12345678"),
        (v6(NO_NEXT_HEADER, b""), NO_NEXT_HEADER, 40, 0, false, b""),
        (v6(extension::HOP_BY_HOP, &cut_extension), NO_NEXT_HEADER, 56, 0, false, b""),
        (v6(ICMPV6, b"12345678"), ICMPV6, 40, 0, false, b"12345678"),
    ];
    for (l3, protocol, header_len, offset, is_fragment, payload) in cases {
        let padded = [&l3[..], b"padding"].concat();
        let ip = Ip::new_checked(&padded[..]).expect("a valid packet");
        assert_eq!((ip.protocol(), ip.header_len()), (protocol, header_len), "{l3:02x?}");
        assert_eq!((ip.fragment_offset(), ip.is_fragment()), (offset, is_fragment), "{l3:02x?}");
        assert_eq!((ip.payload(), ip.total_len()), (payload, l3.len()), "{l3:02x?}");
        assert_eq!((ip.dsfield(), ip.ttl()), (0xb8, 61), "{l3:02x?}");
        let (src, dst, icmp): (IpAddr, IpAddr, u8) = match ip {
            Ip::V4(_) => (A.into(), B.into(), ICMP),
            Ip::V6(_) => (A6.into(), B6.into(), ICMPV6),
        };
        assert_eq!((ip.src(), ip.dst(), ip.icmp_protocol()), (src, dst, icmp), "{l3:02x?}");
    }
}

#[test]
fn bytes_of_another_version_are_refused() {
    let with_version = |mut l3: Vec<u8>, version: u8| {
        l3[0] = (version << 4) | (l3[0] & 0x0f);
        l3
    };
    for bytes in [
        Vec::new(),
        vec![0x45],
        vec![0x60],
        with_version(v4(UDP, b""), 0),
        with_version(v4(UDP, b""), 5),
        with_version(v6(UDP, b""), 7),
        // As IPv4, its header would be of no length.
        with_version(v6(UDP, b""), 4),
        // As IPv6, it is too short.
        with_version(v4(UDP, b""), 6),
    ] {
        assert!(Ip::new_checked(&bytes[..]).is_none(), "{bytes:02x?}");
        assert_eq!(Headers::parse(&bytes), None, "{bytes:02x?}");
    }
}

/// What transport header a packet shows, and whether conntrack has a tuple for it.
#[test]
fn transport_headers_of_both_versions() {
    let echo = L4::Icmp { icmp_type: 128, code: 0, id: 0x0102 };
    let echo_v4 = L4::Icmp { icmp_type: 8, code: 0, id: 0x0102 };
    for (l3, l4, has_tuple) in [
        (v4(ICMP, &[8, 0, 0, 0, 1, 2, 0, 1]), echo_v4, true),
        (v6(ICMPV6, &[128, 0, 0, 0, 1, 2, 0, 1]), echo, true),
        (fragment(ICMPV6, 0, &[128, 0, 0, 0, 1, 2, 0, 1]), echo, true),
        (v6(ICMPV6, &[128, 0, 0, 0]), L4::Truncated, false),
        // The ICMP of the other version is a protocol like any other.
        (v6(ICMP, &[8, 0, 0, 0, 1, 2, 0, 1]), L4::Other, true),
        (v4(ICMPV6, &[128, 0, 0, 0, 1, 2, 0, 1]), L4::Other, true),
        (v6(UDP, &[0, 1, 0, 2, 0, 8, 0, 0]), L4::Udp { src_port: 1, dst_port: 2 }, true),
        (v6(UDP, &[0, 1, 0, 2]), L4::Truncated, false),
        (fragment(UDP, 8, &[0, 1, 0, 2, 0, 8, 0, 0]), L4::Fragment, false),
        (v6(NO_NEXT_HEADER, b""), L4::Truncated, false),
        (v6(extension::ROUTING, &[TCP, 9]), L4::Truncated, false),
    ] {
        let headers = Headers::parse(&l3).expect("a valid packet");
        assert_eq!(headers.l4, l4, "{l3:02x?}");
        assert_eq!(Tuple::of_packet(&headers).is_some(), has_tuple, "{l3:02x?}");
    }
}

/// The tuple of what an ICMPv6 error quotes, and of the packet that answers it.
#[test]
fn quotes_of_ipv6_have_tuples() {
    let udp = [0, 1, 0, 2, 0, 8, 0, 0];
    for (l3, text, reply) in [
        (v6(UDP, &udp)[..44].to_vec(), "[fd00::1]:1 -> [fd00::2]:2", Some("[fd00::2]:2 -> [fd00::1]:1")),
        (
            fragment(UDP, 1, &udp)[..52].to_vec(),
            "[fd00::1]:1 -> [fd00::2]:2",
            Some("[fd00::2]:2 -> [fd00::1]:1"),
        ),
        (
            v6(ICMPV6, &[128, 0, 0, 0, 0, 7, 0, 1]),
            "fd00::1 -> fd00::2 type 128 code 0 id 7",
            Some("fd00::2 -> fd00::1 type 129 code 0 id 7"),
        ),
        // Neighbour solicitation has no answer that conntrack knows.
        (v6(ICMPV6, &[135, 0, 0, 0, 0, 0, 0, 0]), "fd00::1 -> fd00::2 type 135 code 0 id 0", None),
    ] {
        let tuple = Tuple::of_ipv6_quote(&l3).unwrap_or_else(|| panic!("{l3:02x?}"));
        assert_eq!(tuple.to_string(), text);
        assert_eq!(tuple.reply().map(|reply| reply.to_string()).as_deref(), reply);
    }
    for l3 in [
        v6(UDP, &udp)[..43].to_vec(),
        fragment(UDP, 8, &udp),
        v6(extension::HOP_BY_HOP, &[UDP]),
        v6(UDP, &udp)[..39].to_vec(),
    ] {
        assert_eq!(Tuple::of_ipv6_quote(&l3), None, "{l3:02x?}");
    }
    let generic = Tuple::of_ipv6_quote(&v6(47, b"")).expect("any protocol has a tuple");
    assert_eq!(generic.l4, L4Key::Generic);
}

proptest! {
    /// A packet of either version, read by etherparse and by this lens.
    #[test]
    fn headers_are_read_as_etherparse_reads_them(
        is_v4: bool,
        is_tcp: bool,
        has_extension: bool,
        ports: (u16, u16),
        flags in 0_u8..64,
        data in prop::collection::vec(any::<u8>(), 0..30),
    ) {
        let ends = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
        let len = u16::try_from(8 + data.len()).unwrap().to_be_bytes();
        let (number, l4) = if is_tcp {
            (TCP, [&ends[..], &[0; 8], &[0x50, flags, 0, 1, 0, 0, 0, 0], &data].concat())
        } else {
            (UDP, [&ends[..], &len, &[0, 0], &data].concat())
        };
        let l3 = match (is_v4, has_extension) {
            (true, false) => v4(number, &l4),
            (true, true) => {
                let mut l3 = v4(number, &[&[1; 4], &l4[..]].concat());
                l3[0] = 0x46;
                l3
            }
            (false, false) => v6(number, &l4),
            (false, true) => v6(extension::HOP_BY_HOP, &[&[number, 0, 1, 4, 0, 0, 0, 0], &l4[..]].concat()),
        };
        let headers = Headers::parse(&l3).expect("a valid packet");
        let sliced = SlicedPacket::from_ip(&l3).expect("a valid packet");
        let (src, dst, ttl): (IpAddr, IpAddr, u8) = match sliced.net.expect("an IP header") {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), header.ttl())
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), header.hop_limit())
            }
            NetSlice::Arp(_) => panic!("not an IP packet"),
        };
        prop_assert_eq!((headers.src, headers.dst, headers.ttl), (src, dst, ttl));
        let expected = match sliced.transport.expect("a transport header") {
            TransportSlice::Tcp(tcp) => L4::Tcp {
                src_port: tcp.source_port(),
                dst_port: tcp.destination_port(),
                flags: TcpFlags(tcp.slice()[13]),
            },
            TransportSlice::Udp(udp) => {
                L4::Udp { src_port: udp.source_port(), dst_port: udp.destination_port() }
            }
            TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_) => panic!("neither TCP nor UDP"),
        };
        prop_assert_eq!(headers.l4, expected);
        prop_assert_eq!(headers.total_len as usize, l3.len());
    }
}
