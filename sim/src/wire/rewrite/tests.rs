use super::{Side, manip_pkt, set_addr, set_port};
use crate::wire::build::{self, Ipv4Fields};
use crate::wire::{Icmpv4, Ipv4, checksum, protocol};
use proptest::prelude::*;
use std::net::Ipv4Addr;

fn packet(src: Ipv4Addr, dst: Ipv4Addr, number: u8, l4: &[u8]) -> Vec<u8> {
    let fields = Ipv4Fields { src, dst, protocol: number, ttl: 64, tos: 0, ident: 7, dont_fragment: false };
    build::ipv4(fields, l4).split_off(14)
}

fn addr() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from_bits)
}

/// A packet of any protocol with ports, with the checksums of its sender.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let parts =
        (addr(), addr(), any::<u16>(), any::<u16>(), prop::collection::vec(any::<u8>(), 0..40), 0_usize..5);
    parts.prop_map(|(src, dst, sport, dport, data, kind)| {
        let ports = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
        let number = [protocol::TCP, protocol::UDP, protocol::UDP, protocol::SCTP, protocol::ICMP][kind];
        let l4 = match number {
            protocol::TCP => {
                let mut l4 = [&ports[..], &[0; 8], &[0x50, 0x10, 1, 2, 0, 0, 0, 0], &data].concat();
                build::finish_transport_checksum(src, dst, number, &mut l4);
                l4
            }
            protocol::UDP => {
                let mut l4 = build::udp((src, sport), (dst, dport), &data);
                // RFC 768: the sender may omit it.
                if kind == 2 {
                    l4[6..8].fill(0);
                }
                l4
            }
            protocol::SCTP => {
                let mut l4 = [&ports[..], &[0; 8], &data].concat();
                checksum::fill_sctp(&mut l4);
                l4
            }
            _ => build::icmpv4(8, 0, [ports[0], ports[1], 0, 1], &data),
        };
        packet(src, dst, number, &l4)
    })
}

fn assert_checksums(l3: &[u8]) {
    let ip = Ipv4::new_checked(l3).unwrap();
    assert!(ip.is_checksum_valid(), "the IP header of {l3:02x?}");
    assert!(checksum::is_transport_valid(ip.src(), ip.dst(), ip.protocol(), ip.payload()), "{l3:02x?}");
    if ip.protocol() == protocol::ICMP {
        assert!(Icmpv4::new_checked(ip.payload()).unwrap().is_checksum_valid(), "{l3:02x?}");
    }
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Src), Just(Side::Dst)]
}

/// Address and port of one side.
fn end_of(l3: &[u8], side: Side) -> (Ipv4Addr, u16) {
    let ip = Ipv4::new_unchecked(l3);
    let at = match (ip.protocol(), side) {
        (protocol::ICMP, _) => 4,
        (_, Side::Src) => 0,
        (_, Side::Dst) => 2,
    };
    let addr = match side {
        Side::Src => ip.src(),
        Side::Dst => ip.dst(),
    };
    (addr, u16::from_be_bytes([ip.payload()[at], ip.payload()[at + 1]]))
}

proptest! {
    #[test]
    fn checksums_are_valid_after_any_rewrites(
        mut l3 in any_packet(),
        rewrites in prop::collection::vec((side(), addr(), any::<u16>()), 1..8),
    ) {
        assert_checksums(&l3);
        for (side, addr, port) in rewrites {
            prop_assert!(manip_pkt(&mut l3, side, addr, port));
            prop_assert_eq!(end_of(&l3, side), (addr, port));
            assert_checksums(&l3);
        }
    }

    /// NAT followed by its inverse restores the packet.
    #[test]
    fn what_was_rewritten_can_be_written_back(
        l3 in any_packet(),
        rewrites in prop::collection::vec((side(), addr(), any::<u16>()), 1..8),
    ) {
        let mut there = l3.clone();
        let mut back = Vec::new();
        for (side, addr, port) in rewrites {
            back.push((side, end_of(&there, side)));
            prop_assert!(manip_pkt(&mut there, side, addr, port));
        }
        for (side, (addr, port)) in back.into_iter().rev() {
            prop_assert!(manip_pkt(&mut there, side, addr, port));
        }
        prop_assert_eq!(there, l3);
    }

    /// A quoted packet may be truncated anywhere; only its header and ports are read.
    #[test]
    fn a_cut_packet_is_rewritten_or_left_alone(
        l3 in any_packet(),
        keep in 0_usize..40,
        side in side(),
        new in (addr(), any::<u16>()),
    ) {
        let mut cut = l3[..l3.len().min(20 + keep)].to_vec();
        let before = cut.clone();
        let was_rewritten = manip_pkt(&mut cut, side, new.0, new.1);
        prop_assert_eq!(was_rewritten, before.len() >= 28);
        if was_rewritten {
            prop_assert_eq!(end_of_cut(&cut, side), new);
            prop_assert_eq!(checksum::finish(checksum::sum(&cut[..20])), 0);
        } else {
            prop_assert_eq!(cut, before);
        }
    }
}

fn end_of_cut(l3: &[u8], side: Side) -> (Ipv4Addr, u16) {
    let mut whole = l3.to_vec();
    whole.resize(2000, 0);
    end_of(&whole, side)
}

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);

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
    assert_eq!(Ipv4::new_unchecked(&l3).src(), B);
    assert!(Ipv4::new_unchecked(&l3).is_checksum_valid());
    assert_eq!(l3[20..], payload);
}

/// In an ICMP error, the bytes of a query's identifier have another meaning (`icmp_manip_pkt`).
#[test]
fn an_icmp_error_has_no_identifier() {
    let mut l3 = packet(A, B, protocol::ICMP, &build::icmpv4(3, 4, [0, 0, 5, 220], b"quote"));
    let before = l3.clone();
    set_port(&mut l3, Side::Src, 99);
    assert_eq!(l3, before);
}

#[test]
fn protocols_without_ports_change_their_address_only() {
    let mut l3 = packet(A, B, 47, b"anything");
    assert!(manip_pkt(&mut l3, Side::Dst, A, 99));
    assert_eq!(l3, packet(A, A, 47, b"anything"));
    set_addr(&mut l3, Side::Dst, B);
    assert_eq!(l3, packet(A, B, 47, b"anything"));
}
