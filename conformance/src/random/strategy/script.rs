//! Scripts of raw packets: segments that fit no connection, forged sources, small TTLs.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;
use sim::wire::TcpFlags;

use super::{HOSTS, destination, node, party, protocol, rarely};
use crate::random::world::{
    RandomAddress, RandomLine, RandomPacket, RandomPieces, RandomPiecesKind, RandomStep,
};

pub(super) fn send() -> BoxedStrategy<RandomStep> {
    (party(), destination(), protocol(), vec(line(), 1..=4), rarely(3))
        .prop_map(|(from, to, protocol, lines, has_source_port)| RandomStep::Send {
            from,
            to,
            protocol,
            lines,
            has_source_port,
        })
        .boxed()
}

/// Fragments and ICMP.
pub(super) fn pieces() -> BoxedStrategy<RandomPieces> {
    // Of 2,008 bytes. Some overlap, the second ends within a unit of eight bytes, and the last is of no packet.
    const FRAGMENTS: [&str; 7] =
        ["800@0+", "800@800+", "408@1600", "1600@0+", "1208@800", "800@792+", "100@0+"];
    const ERRORS: [&str; 8] = [
        "unreachable/port",
        "unreachable/host",
        "unreachable/message-size mtu 1200",
        "unreachable/message-size",
        "time-exceeded",
        "time-exceeded/reassembly",
        "parameter-problem pointer 8",
        "redirect/host gateway 192.168.0.1",
    ];
    let kind = prop_oneof![
        any::<bool>().prop_map(|is_df| RandomPiecesKind::Large { is_df }),
        (select(&[1_480_u16, 800, 48][..]), rarely(3))
            .prop_map(|(size, is_df)| RandomPiecesKind::Fragments { size, is_df }),
        vec(select(&FRAGMENTS[..]), 1..=4).prop_map(RandomPiecesKind::Single),
        select(&[56_u16, 1_400, 3_000][..]).prop_map(|len| RandomPiecesKind::Echo { len }),
        select(&ERRORS[..]).prop_map(RandomPiecesKind::Error),
    ];
    (party(), destination(), kind).prop_map(|(from, to, kind)| RandomPieces { from, to, kind }).boxed()
}

fn line() -> BoxedStrategy<RandomLine> {
    prop_oneof![5 => packet().prop_map(RandomLine::Send), 1 => Just(RandomLine::AwaitSynAck)].boxed()
}

fn packet() -> BoxedStrategy<RandomPacket> {
    const SYN_ACK: TcpFlags = TcpFlags::SYN.union(TcpFlags::ACK);
    const PSH_ACK: TcpFlags = TcpFlags::PSH.union(TcpFlags::ACK);
    const FIN_ACK: TcpFlags = TcpFlags::FIN.union(TcpFlags::ACK);
    const RST_ACK: TcpFlags = TcpFlags::RST.union(TcpFlags::ACK);
    const SYN_FIN: TcpFlags = TcpFlags::SYN.union(TcpFlags::FIN);
    const RARE: [TcpFlags; 7] =
        [SYN_ACK, FIN_ACK, TcpFlags::RST, RST_ACK, TcpFlags::FIN, SYN_FIN, TcpFlags(0)];
    let flags = prop_oneof![
        4 => Just(TcpFlags::SYN),
        2 => Just(TcpFlags::ACK),
        2 => Just(PSH_ACK),
        2 => select(&RARE[..]),
    ];
    let seq = prop_oneof![3 => Just(0_u32), 3 => Just(1), 1 => select(&[2, 9, 100_000][..])];
    (
        flags,
        seq,
        select(&[0_u16, 8, 600][..]),
        weighted(0.2, select(&[1_u8, 2, 3, 255][..])),
        weighted(0.25, source()),
        rarely(12),
        // The longer pause begins well after a neighbour has failed: 0.19 s after the packet before.
        select(&[5_u16, 300][..]),
    )
        .prop_map(|(flags, seq, len, ttl, source, is_checksum_bad, delay)| RandomPacket {
            flags,
            seq,
            len,
            ttl,
            source,
            is_checksum_bad,
            delay,
        })
        .boxed()
}

/// A forged source.
fn source() -> BoxedStrategy<RandomAddress> {
    const OTHERS: [&str; 8] = [
        "203.0.113.77",
        "192.168.0.250",
        "10.244.1.200",
        "10.96.0.10",
        "127.0.0.1",
        "127.0.0.5",
        "255.255.255.255",
        "192.168.0.255",
    ];
    prop_oneof![
        2 => (0..HOSTS).prop_map(RandomAddress::Host),
        2 => node().prop_map(RandomAddress::Node),
        1 => node().prop_map(RandomAddress::Bridge),
        2 => (node(), 0..3_u8).prop_map(|(node, place)| RandomAddress::Pod(node, place)),
        3 => select(&OTHERS[..]).prop_map(RandomAddress::Other),
    ]
    .boxed()
}
