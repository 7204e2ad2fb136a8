use super::{Side, manip_pkt, set_addr, set_port};
use crate::wire::build::{self, Ipv4Fields, Ipv6Fields};
use crate::wire::ipv6::{IPV6_HEADER_LEN, extension};
use crate::wire::{Icmpv4, Ip, Ipv4, checksum, protocol};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn packet(src: IpAddr, dst: IpAddr, number: u8, l4: &[u8]) -> Vec<u8> {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let fields =
                Ipv4Fields { src, dst, protocol: number, ttl: 64, tos: 0, ident: 7, dont_fragment: false };
            build::ipv4(fields, l4).split_off(14)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let fields = Ipv6Fields {
                src,
                dst,
                next_header: number,
                hop_limit: 64,
                traffic_class: 0x2b,
                flow_label: 0x12345,
            };
            build::ipv6(fields, l4).split_off(14)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => panic!("{src} to {dst}"),
    }
}

/// A side, and what its address and port become.
type Rewrite = (Side, (IpAddr, u16));

/// What a packet is made of, checksums apart.
#[derive(Clone, Debug)]
struct Parts {
    src: (IpAddr, u16),
    dst: (IpAddr, u16),
    number: u8,
    /// The sender leaves the checksum out (UDP).
    has_no_checksum: bool,
    /// Destination Options of IPv6 in front.
    has_extension: bool,
    data: Vec<u8>,
}

impl Parts {
    /// The packet with the checksums that its sender would fill in.
    fn build(&self) -> Vec<u8> {
        let (src, dst, number) = (self.src.0, self.dst.0, self.number);
        let ports = [self.src.1.to_be_bytes(), self.dst.1.to_be_bytes()].concat();
        let mut l4 = match number {
            protocol::TCP => [&ports[..], &[0; 8], &[0x50, 0x10, 1, 2, 0, 0, 0, 0], &self.data].concat(),
            protocol::UDP => build::udp(self.src, self.dst, &self.data),
            protocol::SCTP => [&ports[..], &[0; 8], &self.data].concat(),
            protocol::ICMP => build::icmpv4(8, 0, [ports[0], ports[1], 0, 1], &self.data),
            _ => [&[128, 0, 0, 0, ports[0], ports[1], 0, 1], &self.data[..]].concat(),
        };
        match number {
            protocol::TCP | protocol::ICMPV6 => {
                build::finish_transport_checksum(src, dst, number, &mut l4);
            }
            protocol::UDP if self.has_no_checksum => l4[6..8].fill(0),
            protocol::SCTP => checksum::fill_sctp(&mut l4),
            _ => {}
        }
        if self.has_extension {
            l4.splice(..0, [number, 0, 1, 4, 0, 0, 0, 0]);
            return packet(src, dst, extension::DESTINATION, &l4);
        }
        packet(src, dst, number, &l4)
    }

    fn rewrite(&mut self, side: Side, end: (IpAddr, u16)) {
        match side {
            Side::Dst if !matches!(self.number, protocol::ICMP | protocol::ICMPV6) => self.dst = end,
            Side::Src => self.src = end,
            // The identifier counts for both sides.
            Side::Dst => (self.dst.0, self.src.1) = end,
        }
    }

    fn end(&self, side: Side) -> (IpAddr, u16) {
        match side {
            Side::Dst if !matches!(self.number, protocol::ICMP | protocol::ICMPV6) => self.dst,
            Side::Src => self.src,
            Side::Dst => (self.dst.0, self.src.1),
        }
    }
}

fn addr(is_v4: bool) -> impl Strategy<Value = IpAddr> {
    any::<u128>().prop_map(move |bits| match is_v4 {
        true => Ipv4Addr::from_bits(u32::try_from(bits >> 96).unwrap()).into(),
        false => Ipv6Addr::from_bits(bits).into(),
    })
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Src), Just(Side::Dst)]
}

/// A packet of either family and any protocol that NAT changes, and what is rewritten in it.
fn any_packet() -> impl Strategy<Value = (Parts, Vec<Rewrite>)> {
    any::<bool>().prop_flat_map(|is_v4| {
        let end = move || (addr(is_v4), any::<u16>());
        let icmp = if is_v4 { protocol::ICMP } else { protocol::ICMPV6 };
        let number = prop::sample::select(vec![protocol::TCP, protocol::UDP, protocol::SCTP, icmp]);
        let data = prop::collection::vec(any::<u8>(), 0..40);
        let parts = (end(), end(), number, any::<bool>(), any::<bool>(), data).prop_map(
            move |(src, dst, number, has_no_checksum, has_extension, data)| {
                let has_extension = has_extension && !is_v4;
                Parts { src, dst, number, has_no_checksum, has_extension, data }
            },
        );
        (parts, prop::collection::vec((side(), end()), 1..8))
    })
}

fn assert_checksums(l3: &[u8]) {
    let ip = Ip::new_checked(l3).unwrap();
    if let Ip::V4(ip) = ip {
        assert!(ip.is_checksum_valid(), "the IP header of {l3:02x?}");
    }
    assert!(checksum::is_transport_valid(ip.src(), ip.dst(), ip.protocol(), ip.payload()), "{l3:02x?}");
    if ip.protocol() == protocol::ICMP {
        assert!(Icmpv4::new_checked(ip.payload()).unwrap().is_checksum_valid(), "{l3:02x?}");
    }
}

proptest! {
    /// A rewritten packet is the one that a sender with the new address and port would have sent.
    #[test]
    fn a_rewrite_gives_what_is_built_anew((mut parts, rewrites) in any_packet()) {
        let mut l3 = parts.build();
        assert_checksums(&l3);
        for (side, end) in rewrites {
            prop_assert!(manip_pkt(&mut l3, side, end.0, end.1));
            parts.rewrite(side, end);
            prop_assert_eq!(&l3, &parts.build());
            assert_checksums(&l3);
        }
    }

    /// NAT followed by its inverse restores the packet.
    #[test]
    fn what_was_rewritten_can_be_written_back((mut parts, rewrites) in any_packet()) {
        let l3 = parts.build();
        let mut there = l3.clone();
        let mut back = Vec::new();
        for (side, end) in rewrites {
            back.push((side, parts.end(side)));
            prop_assert!(manip_pkt(&mut there, side, end.0, end.1));
            parts.rewrite(side, end);
        }
        for (side, end) in back.into_iter().rev() {
            prop_assert!(manip_pkt(&mut there, side, end.0, end.1));
        }
        prop_assert_eq!(there, l3);
    }

    /// A quoted packet may be truncated anywhere; only its header and ports are read.
    #[test]
    fn a_cut_packet_is_rewritten_or_left_alone((mut parts, rewrites) in any_packet(), keep in 0_usize..40) {
        let l3 = parts.build();
        let header_len = Ip::new_checked(&l3[..]).unwrap().header_len();
        let before = l3[..l3.len().min(header_len + keep)].to_vec();
        let mut cut = before.clone();
        let (side, end) = rewrites[0];
        let was_rewritten = manip_pkt(&mut cut, side, end.0, end.1);
        prop_assert_eq!(was_rewritten, before.len() >= header_len + 8);
        if !was_rewritten {
            prop_assert_eq!(cut, before);
            return Ok(());
        }
        parts.rewrite(side, end);
        let whole = parts.build();
        // A TCP header that is cut keeps its checksum, and the CRC of SCTP covers what is left.
        let l4 = header_len..header_len + 8;
        prop_assert_eq!(&cut[..header_len], &whole[..header_len]);
        match parts.number {
            protocol::UDP | protocol::ICMP | protocol::ICMPV6 => prop_assert_eq!(&cut[l4.clone()], &whole[l4]),
            _ => prop_assert_eq!(&cut[header_len..header_len + 4], &whole[header_len..header_len + 4]),
        }
    }

    /// Bytes of any kind behind a header of either version.
    #[test]
    fn whatever_follows_the_header_nothing_panics(
        is_v4 in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 40..120),
        side in side(),
        bits in any::<u128>(),
        port in any::<u16>(),
    ) {
        let mut l3 = bytes;
        l3[0] = if is_v4 { 0x45 } else { 0x60 };
        let new = if is_v4 { IpAddr::from([1, 2, 3, 4]) } else { Ipv6Addr::from_bits(bits).into() };
        let before = l3.clone();
        if manip_pkt(&mut l3, side, new, port) {
            let ip = Ip::new_unchecked(&l3[..]);
            prop_assert_eq!(if side == Side::Src { ip.src() } else { ip.dst() }, new);
        } else {
            prop_assert_eq!(l3, before);
        }
    }
}

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 1));
const A6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));
const B6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 2, 3, 4, 5));

#[test]
fn later_fragments_have_no_ports() {
    let mut l3 = packet(A, B, protocol::UDP, &build::udp((A, 1), (B, 2), b"data"));
    // Offset 8; the header checksum is computed separately.
    l3[7] = 1;
    l3[10..12].fill(0);
    let sum = checksum::finish(checksum::sum(&l3[..20]));
    l3[10..12].copy_from_slice(&sum.to_be_bytes());
    let payload = l3[20..].to_vec();
    assert!(manip_pkt(&mut l3, Side::Src, B, 99));
    assert_eq!(Ip::new_unchecked(&l3).src(), B);
    assert!(Ipv4::new_unchecked(&l3).is_checksum_valid());
    assert_eq!(l3[20..], payload);
}

#[test]
fn later_fragments_of_ipv6_have_no_ports() {
    // Offset 8, the last one.
    let payload = [&[protocol::UDP, 0, 0, 8, 0, 0, 0, 7], &b"the rest of it"[..]].concat();
    let mut l3 = packet(A6, B6, extension::FRAGMENT, &payload);
    assert!(manip_pkt(&mut l3, Side::Src, B6, 99));
    assert_eq!(l3, packet(B6, B6, extension::FRAGMENT, &payload));
}

/// Linux: `nf_nat_ipv6_manip_pkt`.
#[test]
fn without_a_transport_header_ipv6_changes_its_address_only() {
    for (next_header, payload) in [
        (protocol::NO_NEXT_HEADER, &b"ignored"[..]),
        // Longer than the packet.
        (extension::HOP_BY_HOP, &[protocol::TCP, 9, 0, 0, 0, 0, 0, 0]),
        (extension::FRAGMENT, &[protocol::TCP, 0, 0]),
        // ICMP of the other version.
        (protocol::ICMP, &[8, 0, 0, 0, 0, 1, 0, 1]),
    ] {
        let mut l3 = packet(A6, B6, next_header, payload);
        assert!(manip_pkt(&mut l3, Side::Dst, A6, 99), "{next_header}");
        assert_eq!(l3, packet(A6, A6, next_header, payload), "{next_header}");
    }
}

/// Of an ICMP error, the bytes where a query has its identifier mean something else (`icmp_manip_pkt`).
#[test]
fn an_icmp_error_has_no_identifier() {
    let mut l3 = packet(A, B, protocol::ICMP, &build::icmpv4(3, 4, [0, 0, 5, 220], b"quote"));
    let before = l3.clone();
    set_port(&mut l3, Side::Src, 99);
    assert_eq!(l3, before);
}

/// The checksum of ICMPv6 covers the addresses, that of an error as well.
#[test]
fn an_icmpv6_error_keeps_its_word_and_a_valid_checksum() {
    let mut message = [&[2, 0, 0, 0, 0, 0, 5, 220], &b"quote"[..]].concat();
    build::finish_transport_checksum(A6, B6, protocol::ICMPV6, &mut message);
    let mut l3 = packet(A6, B6, protocol::ICMPV6, &message);
    assert!(manip_pkt(&mut l3, Side::Src, B6, 99));
    assert_checksums(&l3);
    assert_eq!(l3[IPV6_HEADER_LEN + 4..], message[4..]);
}

#[test]
fn protocols_without_ports_change_their_address_only() {
    for (a, b) in [(A, B), (A6, B6)] {
        let mut l3 = packet(a, b, 47, b"anything");
        assert!(manip_pkt(&mut l3, Side::Dst, a, 99));
        assert_eq!(l3, packet(a, a, 47, b"anything"));
        set_addr(&mut l3, Side::Dst, b);
        assert_eq!(l3, packet(a, b, 47, b"anything"));
    }
}

#[test]
#[should_panic(expected = "another IP version")]
fn a_packet_keeps_its_version() {
    let mut l3 = packet(A, B, protocol::UDP, &build::udp((A, 1), (B, 2), b"data"));
    set_addr(&mut l3, Side::Src, A6);
}
