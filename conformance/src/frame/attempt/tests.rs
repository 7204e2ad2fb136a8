use super::*;
use sim::wire::build::{Ipv4Fields, ipv4, udp};
use sim::wire::{ETHERNET_HEADER_LEN, EtherType, Ethernet, MacAddr};

const REQUEST: &[u8] = b"hello\n";
const CLIENT: [u8; 4] = [10, 0, 0, 1];

/// The port from which the client sends.
const PORT: u16 = 40;

/// A datagram at a device: IP ID, time in milliseconds, `NETNS DEVICE` with `>` for sent, `<` for received, source
/// port, last byte of the destination.
type Row = (u16, u64, &'static str, u16, u8);

fn frames(rows: &[Row]) -> Vec<Frame> {
    rows.iter().map(|row| frame(*row, REQUEST)).collect()
}

fn frame(row: Row, payload: &[u8]) -> Frame {
    let (_, _, _, src_port, dst) = row;
    packet(row, protocol::UDP, &udp((CLIENT.into(), src_port), (Ipv4Addr::new(10, 0, 0, dst), 53), payload))
}

/// A segment with this payload, or else a SYN.
fn segment(row: Row, payload: &[u8]) -> Frame {
    let (_, _, _, src_port, _) = row;
    let flags = if payload.is_empty() { TcpFlags::SYN } else { TcpFlags::PSH.union(TcpFlags::ACK) };
    let mut l4 = vec![0; 20];
    l4[..2].copy_from_slice(&src_port.to_be_bytes());
    l4[12] = 0x50;
    l4[13] = flags.0;
    l4.extend_from_slice(payload);
    packet(row, protocol::TCP, &l4)
}

fn packet((ident, at, place, _, dst): Row, protocol: u8, l4: &[u8]) -> Frame {
    let mut words = place.split(' ');
    let mut word = || words.next().expect("three words").to_owned();
    let (netns, device, direction) = (word(), word(), word());
    let (src, dst) = (Ipv4Addr::from(CLIENT), Ipv4Addr::new(10, 0, 0, dst));
    let fields = Ipv4Fields { src, dst, protocol, ttl: 64, tos: 0, ident, dont_fragment: true };
    let mut bytes = ipv4(fields, l4);
    Ethernet::new_checked(&mut bytes[..]).expect("a frame").set(
        MacAddr::ZERO,
        MacAddr::ZERO,
        EtherType::Ipv4,
    );
    Frame {
        at: Duration::from_millis(at),
        netns,
        device,
        direction: if direction == ">" { FrameDirection::Transmitted } else { FrameDirection::Received },
        bytes: bytes.into(),
    }
}

fn attempts_of(rows: &[Row]) -> Vec<Attempt> {
    attempts(&frames(rows), "pod", FlowStart::Request(REQUEST, PORT))
}

/// One line per attempt, hop by hop.
fn listing(attempts: &[Attempt]) -> Vec<String> {
    let hop = |hop: &Sighting| {
        format!("{} {} {}->{}", hop.place.netns, hop.place.device, hop.place.src.1, hop.place.dst.0)
    };
    attempts.iter().map(|attempt| attempt.hops.iter().map(hop).collect::<Vec<_>>().join(", ")).collect()
}

#[test]
fn first_packets_are_followed_by_their_identification() {
    let mut captured = frames(&[
        // The end of an earlier flow whose start was not captured.
        (6, 0, "node veth <", 4_000, 9),
        (7, 1, "pod eth0 >", 4_001, 9),
        (7, 2, "node veth <", 4_001, 9),
        (8, 3, "pod eth0 >", 4_001, 9),
        (7, 4, "node eth0 >", 5_001, 3),
        (8, 5, "node eth0 >", 5_001, 4),
    ]);
    // A response of the client's own server, and a frame that is not IP.
    captured.push(frame((9, 6, "pod eth0 >", 53, 9), b"pod/a 1 2\n"));
    captured.push(Frame { bytes: vec![0; 20].into(), ..captured[0].clone() });
    assert_eq!(
        listing(&attempts(&captured, "pod", FlowStart::Request(REQUEST, PORT))),
        [
            "pod eth0 4001->10.0.0.9, node veth 4001->10.0.0.9, node eth0 5001->10.0.0.3",
            "pod eth0 4001->10.0.0.9, node eth0 5001->10.0.0.4"
        ]
    );
}

#[test]
fn ways_part_where_a_packet_is_seen_that_the_other_side_did_not_see() {
    let way: &[Row] = &[(1, 0, "pod eth0 >", 1, 9), (1, 1, "node veth <", 1, 9), (1, 2, "node cni0 >", 1, 2)];
    let other_endpoint: &[Row] =
        &[(1, 0, "pod eth0 >", 1, 9), (1, 1, "node veth <", 1, 9), (1, 2, "node cni0 >", 1, 3)];
    let shorter: &[Row] = &[(1, 0, "pod eth0 >", 1, 9), (1, 1, "node veth <", 1, 9)];
    let flooded: &[Row] =
        &[(1, 0, "pod eth0 >", 1, 9), (1, 2, "node cni0 >", 1, 2), (1, 1, "node veth <", 1, 9)];
    let second_try =
        [way, &[(2, 10, "pod eth0 >", 1, 9), (2, 11, "node veth <", 1, 9), (2, 12, "node cni0 >", 1, 3)]]
            .concat();
    let second_try_elsewhere =
        [way, &[(5, 10, "pod eth0 >", 1, 9), (5, 11, "node veth <", 1, 9), (5, 13, "node eth0 >", 1, 4)]]
            .concat();
    type Case<'a> = (&'a str, &'a [Row], &'a [Row], Option<Parting>);
    let (elsewhere, ended) = (
        |at| Some(Parting::Elsewhere(Duration::from_millis(at))),
        |at| Some(Parting::Ended(Duration::from_millis(at))),
    );
    let cases: [Case<'_>; 7] = [
        ("the same path", way, way, None),
        ("ports of a bridge in another order", way, flooded, None),
        ("another endpoint", way, other_endpoint, elsewhere(2)),
        ("the first side ends early, because of its last decision", shorter, way, ended(1)),
        ("the second side ends early", way, shorter, elsewhere(2)),
        ("the first has one more attempt, otherwise equal", &second_try, way, None),
        ("the second packet goes elsewhere", &second_try, &second_try_elsewhere, elsewhere(12)),
    ];
    for (what, first, second, expected) in cases {
        let found = parted(&attempts_of(first), &attempts_of(second));
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn ports_are_those_that_nodes_drew() {
    let masqueraded: &[Row] =
        &[(1, 0, "pod eth0 >", 40, 9), (1, 1, "a veth <", 40, 9), (1, 2, "a eth0 >", 77, 2)];
    let same_again =
        [masqueraded, &[(2, 3, "pod eth0 >", 40, 9), (2, 4, "a veth <", 40, 9), (2, 5, "a eth0 >", 77, 2)]]
            .concat();
    let drawn_again =
        [masqueraded, &[(2, 3, "pod eth0 >", 40, 9), (2, 4, "a veth <", 40, 9), (2, 5, "a eth0 >", 78, 2)]]
            .concat();
    let twice = [masqueraded, &[(1, 3, "b eth0 <", 77, 2), (1, 4, "b cni0 >", 99, 3)]].concat();
    let own: &[Row] = &[(1, 0, "pod eth0 >", 50, 9)];
    let cases: [(&str, &[Row], &[&str]); 6] = [
        ("masqueraded", masqueraded, &["a 40 77", "pod 40 40"]),
        ("a second packet of the same flow", &same_again, &["a 40 77", "pod 40 40"]),
        ("a second packet with a new random port", &drawn_again, &["a 40 77", "a 40 78", "pod 40 40"]),
        ("by two nodes", &twice, &["a 40 77", "b 77 99", "pod 40 40"]),
        ("by the client's own node, before any device", own, &["pod 40 50"]),
        ("not translated", &masqueraded[..2], &["pod 40 40", "a 40 40"]),
    ];
    for (what, rows, expected) in cases {
        assert_eq!(ports(&attempts_of(rows)), expected, "{what}");
    }
}

/// A node that has deleted the entry of the SYN translates the data anew.
#[test]
fn the_data_of_a_connection_shows_a_port_as_well() {
    let syn = |row| segment(row, b"");
    let data = |row| segment(row, REQUEST);
    let frames = [
        syn((1, 0, "pod eth0 >", PORT, 9)),
        syn((1, 1, "a veth <", PORT, 9)),
        syn((1, 2, "a eth0 >", 77, 2)),
        data((2, 3, "pod eth0 >", PORT, 9)),
        data((2, 4, "a veth <", PORT, 9)),
        data((2, 5, "a eth0 >", 78, 2)),
    ];
    for (start, expected) in [
        (FlowStart::Request(REQUEST, PORT), &["a 40 77", "pod 40 40"][..]),
        (FlowStart::RequestOrContinued(REQUEST, PORT), &["a 40 77", "a 40 78", "pod 40 40"]),
    ] {
        assert_eq!(ports(&attempts(&frames, "pod", start)), expected, "{start:?}");
    }
}

/// On a busy machine, the last segments of a connection may be captured with the next one, whose client is a node.
#[test]
fn the_end_of_the_connection_before_shows_no_port() {
    let frames = [
        segment((1, 0, "a eth0 >", 76, 2), REQUEST),
        segment((2, 1, "a eth0 >", 77, 2), b""),
        segment((3, 2, "a eth0 >", 78, 2), REQUEST),
    ];
    let of = |start| attempts(&frames, "a", start);
    let ports =
        ports_since(&of(FlowStart::Request(REQUEST, PORT)), of(FlowStart::RequestOrContinued(REQUEST, PORT)));
    assert_eq!(ports.iter().map(|port| port.after).collect::<Vec<_>>(), [77, 78]);
}

/// `NETNS BEFORE AFTER` of each translation.
fn ports(attempts: &[Attempt]) -> Vec<String> {
    let ports = translated_ports(attempts);
    ports.iter().map(|port| format!("{} {} {}", port.netns, port.before.1, port.after)).collect()
}

#[test]
fn the_ports_of_several_sources_are_told_apart() {
    // Two sources of one script, which have the same port, pass the same node; the second flow is seen there first.
    let sources = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 77)];
    let from = |source: Ipv4Addr, row: Row| {
        let Frame { bytes, .. } = frame(row, REQUEST);
        let mut bytes = bytes.into_vec();
        let mut ip = Ipv4::new_unchecked(&mut bytes[ETHERNET_HEADER_LEN..]);
        let (len, ident) = (ip.total_len(), ip.ident());
        ip.finish(len, ident, source);
        Frame { bytes: bytes.into(), ..frame(row, REQUEST) }
    };
    let node = Ipv4Addr::new(10, 0, 0, 250);
    let frames = [
        from(sources[0], (1, 0, "pod eth0 >", PORT, 9)),
        from(sources[1], (2, 0, "pod eth0 >", PORT, 9)),
        from(sources[1], (2, 1, "a veth <", PORT, 9)),
        from(node, (2, 1, "a eth0 >", 78, 2)),
        from(sources[0], (1, 2, "a veth <", PORT, 9)),
        from(node, (1, 2, "a eth0 >", 77, 2)),
        // A response of the sender's own server: its identification is not one of the script's.
        from(sources[0], (0, 3, "pod eth0 >", 53, 250)),
        from(node, (0, 3, "a eth0 >", 99, 250)),
    ];
    let id = |ident| PacketId { protocol: protocol::UDP, ident, seq: 0 };
    let known = [(id(1), (Some(sources[0]), PORT)), (id(2), (Some(sources[1]), PORT))];
    let found = attempts(&frames, "pod", FlowStart::Known(&known));
    assert_eq!(found.iter().map(|attempt| attempt.src).collect::<Vec<_>>(), known.map(|(_, src)| src));
    let port = |netns: &str, source, after| TranslatedPort {
        netns: netns.to_owned(),
        before: (Some(source), PORT),
        after,
    };
    assert_eq!(
        translated_ports(&found),
        [
            port("a", sources[0], 77),
            port("a", sources[1], 78),
            port("pod", sources[0], PORT),
            port("pod", sources[1], PORT),
        ]
    );
}
