use crate::frame::FrameLine;
use crate::sample::{Addr, Script, segment};
use crate::walk::{Folder, Walk};
use sim::packet::Origin;
use sim::wire::TcpFlags;
use std::net::{IpAddr, Ipv4Addr};

const CLIENT: Addr = (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 100)), 40000);
const SERVER: Addr = (IpAddr::V4(Ipv4Addr::new(10, 244, 1, 2)), 8080);
const CLIENT_ISN: u32 = u32::MAX - 1;
const SERVER_ISN: u32 = 7_000;

/// One packet: netns, origin, the packet it answers or copies, and its segment.
type Packet = (u32, Origin, Option<u64>, Addr, Addr, TcpFlags, u32, u32, &'static [u8]);

/// The numbers of each packet as printed, from the flags on.
fn numbers(packets: &[Packet]) -> Vec<String> {
    let mut script = Script::default();
    for (id, &(netns, origin, cause, src, dst, flags, seq, ack, payload)) in (0..).zip(packets) {
        let frame = segment(src, dst, flags, seq, ack, payload);
        script.netns(netns).created(id, origin, cause, Some(0), &frame);
    }
    let walk = Walk::fold(&script.events);
    let summary = |journey: &crate::walk::Journey<'_>| {
        let beginning = journey.beginning.expect("every packet was created");
        let text = FrameLine::counted_from(beginning.frame, journey.origins.unwrap_or_default()).to_string();
        text.split(": ").last().unwrap_or_default().replace(" win 64240", "")
    };
    walk.flows[0].journeys.iter().map(summary).collect()
}

const SYN: Packet = (0, Origin::Socket, None, CLIENT, SERVER, TcpFlags::SYN, CLIENT_ISN, 0, b"");

#[test]
fn numbers_count_from_the_syn_on_both_sides() {
    let (syn_ack, ack) = (TcpFlags::SYN.union(TcpFlags::ACK), TcpFlags::ACK);
    let first = CLIENT_ISN.wrapping_add(1);
    let packets = [
        SYN,
        // A retransmission counts as the original.
        SYN,
        (2, Origin::Socket, Some(0), SERVER, CLIENT, syn_ack, SERVER_ISN, first, b""),
        (
            0,
            Origin::Socket,
            Some(2),
            CLIENT,
            SERVER,
            TcpFlags::PSH.union(ack),
            first,
            SERVER_ISN + 1,
            b"hello",
        ),
        // A bridge's copy belongs to the same side.
        (
            1,
            Origin::Clone,
            Some(3),
            CLIENT,
            SERVER,
            TcpFlags::PSH.union(ack),
            first,
            SERVER_ISN + 1,
            b"hello",
        ),
        (2, Origin::Socket, Some(3), SERVER, CLIENT, ack, SERVER_ISN + 1, first.wrapping_add(5), b""),
    ];
    let expected =
        ["S 0:0(0)", "S 0:0(0)", "S. 0:0(0) ack 1", "P. 1:6(5) ack 1", "P. 1:6(5) ack 1", ". ack 6"];
    assert_eq!(numbers(&packets), expected);
}

#[test]
fn a_reset_made_on_the_way_counts_as_the_one_it_speaks_for() {
    let reset = TcpFlags::RST.union(TcpFlags::ACK);
    let packets =
        [SYN, (1, Origin::Kernel, Some(0), SERVER, CLIENT, reset, 0, CLIENT_ISN.wrapping_add(1), b"")];
    assert_eq!(numbers(&packets), ["S 0:0(0)", "R. 0:0(0) ack 1"]);
}

#[test]
fn another_connection_of_the_same_ports_counts_anew() {
    let again = (0, Origin::Socket, None, CLIENT, SERVER, TcpFlags::SYN, 99, 0, &b""[..]);
    let data = (0, Origin::Socket, None, CLIENT, SERVER, TcpFlags::PSH, 100, 0, &b"x"[..]);
    assert_eq!(numbers(&[SYN, again, data]), ["S 0:0(0)", "S 0:0(0)", "P 1:2(1)"]);
}

#[test]
fn without_a_syn_numbers_stay_as_they_are() {
    let data = (0, Origin::Socket, None, CLIENT, SERVER, TcpFlags::PSH, 100, 0, &b"x"[..]);
    assert_eq!(numbers(&[data]), ["P 100:101(1)"]);
}

/// A connection that a step keeps open goes on in a later one.
#[test]
fn numbers_count_from_a_syn_in_an_earlier_part() {
    let mut script = Script::default();
    for (id, flags, sequence) in [(0, TcpFlags::SYN, 99), (1, TcpFlags::PSH, 100)] {
        let frame = segment(CLIENT, SERVER, flags, sequence, 0, b"");
        script.netns(0).created(id, Origin::Socket, None, Some(0), &frame);
    }
    let mut folder = Folder::default();
    let origins = |walk: Walk<'_>| walk.flows[0].journeys[0].origins.map(|origins| origins.sequence);
    let (first, later) = script.events.split_at(1);
    assert_eq!(origins(folder.fold(first)), Some(99));
    assert_eq!(origins(folder.fold(later)), Some(99));
    assert_eq!(origins(Walk::fold(later)), None);
}
