use super::*;
use crate::arm::script::INITIAL_SEQ;
use sim::wire::arp::{Arp, ArpOperation};
use sim::wire::build::{Ipv4Fields, arp_frame, icmpv4, ipv4, udp};
use sim::wire::{EtherType, Ethernet, Ipv4, MacAddr, TcpFlags, protocol};
use std::net::Ipv4Addr;

const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 1], 40_000);
const SERVER: ([u8; 4], u16) = ([10, 0, 0, 2], 80);
const SYN_ACK: TcpFlags = TcpFlags::SYN.union(TcpFlags::ACK);
const FIN_ACK: TcpFlags = TcpFlags::FIN.union(TcpFlags::ACK);

/// Frames on `node eth0`, in order of addition.
#[derive(Default)]
struct Capture {
    frames: Vec<Frame>,
    initial: u32,
}

impl Capture {
    /// The initial sequence numbers of the two directions are `initial` and one million plus `initial`.
    fn with_initial(initial: u32) -> Self {
        Self { initial, ..Self::default() }
    }

    fn push(&mut self, direction: FrameDirection, bytes: Vec<u8>) -> &mut Self {
        let at = Duration::from_micros(self.frames.len() as u64);
        let (netns, device) = ("node".to_owned(), "eth0".to_owned());
        self.frames.push(Frame { at, netns, device, direction, bytes: bytes.into() });
        self
    }

    fn ip(&mut self, src: [u8; 4], dst: [u8; 4], protocol: u8, ident: u16, l4: &[u8]) -> &mut Self {
        let direction = if src == CLIENT.0 { FrameDirection::Transmitted } else { FrameDirection::Received };
        let (src, dst) = (Ipv4Addr::from(src), Ipv4Addr::from(dst));
        let fields = Ipv4Fields { src, dst, protocol, ttl: 64, tos: 0, ident, dont_fragment: true };
        let mut bytes = ipv4(fields, l4);
        let mac = |addr: Ipv4Addr| MacAddr([2, 0, 0, 0, 0, addr.octets()[3]]);
        Ethernet::new_checked(&mut bytes[..]).expect("a frame").set(mac(dst), mac(src), EtherType::Ipv4);
        self.push(direction, bytes)
    }

    /// A segment; `seq` and `ack` are relative to the initial numbers.
    fn tcp(&mut self, is_client: bool, flags: TcpFlags, seq: u32, ack: u32, data: &[u8]) -> &mut Self {
        let options: &[u8] = if flags.contains(TcpFlags::SYN) { &[2, 4, 5, 0xb4, 1, 3, 3, 7] } else { &[] };
        self.segment(is_client, flags, seq, ack, options, data)
    }

    fn segment(
        &mut self,
        is_client: bool,
        flags: TcpFlags,
        seq: u32,
        ack: u32,
        options: &[u8],
        data: &[u8],
    ) -> &mut Self {
        let (src, dst) = if is_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        let bases = [self.initial, self.initial.wrapping_add(1_000_000)];
        let (own, other) = if is_client { (bases[0], bases[1]) } else { (bases[1], bases[0]) };
        let ack = if flags.contains(TcpFlags::ACK) { other.wrapping_add(ack) } else { 0 };
        let header_words = u8::try_from(5 + options.len() / 4).expect("few");
        let mut l4 = [src.1.to_be_bytes(), dst.1.to_be_bytes()].concat();
        l4.extend_from_slice(&own.wrapping_add(seq).to_be_bytes());
        l4.extend_from_slice(&ack.to_be_bytes());
        l4.extend_from_slice(&[header_words << 4, flags.0, 0xfa, 0xf0, 0, 0, 0, 0]);
        l4.extend_from_slice(options);
        l4.extend_from_slice(data);
        let ident = u16::try_from(self.initial & 0xffff).expect("16 bits");
        self.ip(src.0, dst.0, protocol::TCP, ident, &l4)
    }

    fn handshake(&mut self) -> &mut Self {
        self.tcp(true, TcpFlags::SYN, 0, 0, &[]).tcp(false, SYN_ACK, 0, 1, &[]).tcp(
            true,
            TcpFlags::ACK,
            1,
            1,
            &[],
        )
    }

    fn arp(
        &mut self,
        operation: ArpOperation,
        is_unicast: bool,
        sender: [u8; 4],
        target: [u8; 4],
    ) -> &mut Self {
        let mac = MacAddr([2, 0, 0, 0, 0, sender[3]]);
        let target_mac = MacAddr([2, 0, 0, 0, 0, target[3]]);
        let arp = Arp {
            operation,
            sender_mac: mac,
            sender_ip: sender.into(),
            target_mac,
            target_ip: target.into(),
        };
        let dst = if is_unicast { target_mac } else { MacAddr::BROADCAST };
        self.push(FrameDirection::Transmitted, arp_frame(dst, mac, &arp))
    }

    /// One line per frame.
    fn listing(&self) -> String {
        let initial = InitialSeqs::of(&self.frames);
        let lines = self.frames.iter().filter_map(|frame| FrameSummary::of(frame, &initial));
        lines.map(|line| format!("{line}\n")).collect()
    }
}

fn differences(left: &Capture, right: &Capture) -> String {
    let left = Observer { name: "simulator", frames: &left.frames };
    let right = Observer { name: "kernel", frames: &right.frames };
    compare(left, right, Duration::MAX)
        .differences
        .iter()
        .map(|difference| format!("{difference}\n"))
        .collect()
}

#[test]
fn summaries_read_like_tcpdump() {
    let mut capture = Capture::with_initial(u32::MAX - 1);
    capture.handshake().tcp(true, TcpFlags::PSH.union(TcpFlags::ACK), 1, 1, b"?\n");
    capture.tcp(false, TcpFlags::RST, 3_000_000, 0, &[]);
    let datagram = udp((CLIENT.0, 5), (SERVER.0, 53), b"question");
    capture.ip(CLIENT.0, SERVER.0, protocol::UDP, 7, &datagram);
    let quoted = capture.frames.last().expect("a frame").bytes[14..14 + 28].to_vec();
    capture.ip(SERVER.0, CLIENT.0, protocol::ICMP, 0, &icmpv4(3, 3, [0; 4], &quoted));
    capture.ip(SERVER.0, CLIENT.0, protocol::ICMP, 0, &icmpv4(3, 4, [0, 0, 5, 0x78], &quoted));
    capture.ip(SERVER.0, CLIENT.0, protocol::ICMP, 0, &icmpv4(5, 1, [10, 0, 0, 3], &quoted));
    capture.ip(SERVER.0, CLIENT.0, protocol::ICMP, 0, &icmpv4(12, 0, [20, 0, 0, 0], &quoted));
    let cut_off = [&quoted[..9], &[protocol::TCP], &quoted[10..]].concat();
    capture.ip(SERVER.0, CLIENT.0, protocol::ICMP, 0, &icmpv4(11, 0, [0; 4], &cut_off));
    capture.ip(CLIENT.0, SERVER.0, protocol::ICMP, 0, &icmpv4(8, 0, [0, 9, 0, 1], b"data"));
    capture.ip(CLIENT.0, SERVER.0, 47, 0, &[1, 2, 3]);
    capture.arp(ArpOperation::Request, false, CLIENT.0, SERVER.0);
    capture.arp(ArpOperation::Reply, true, SERVER.0, CLIENT.0);
    insta::assert_snapshot!(capture.listing());
}

#[test]
fn what_is_free_is_no_difference() {
    let mut simulator = Capture::with_initial(0);
    simulator.arp(ArpOperation::Request, false, CLIENT.0, SERVER.0);
    simulator.arp(ArpOperation::Reply, true, SERVER.0, CLIENT.0);
    simulator.handshake().tcp(true, FIN_ACK, 1, 1, &[]).tcp(false, FIN_ACK, 1, 2, &[]);
    simulator.tcp(true, TcpFlags::ACK, 2, 2, &[]);
    let mut kernel = Capture::with_initial(3_999_999_999);
    // Requested twice, answered twice, and confirmed later.
    for _ in 0..2 {
        kernel.arp(ArpOperation::Reply, true, SERVER.0, CLIENT.0);
        kernel.arp(ArpOperation::Request, false, CLIENT.0, SERVER.0);
    }
    kernel.arp(ArpOperation::Request, true, SERVER.0, CLIENT.0);
    kernel.arp(ArpOperation::Request, true, SERVER.0, [10, 0, 0, 3]);
    kernel.arp(ArpOperation::Reply, true, CLIENT.0, SERVER.0);
    kernel.arp(ArpOperation::Reply, true, [10, 0, 0, 3], SERVER.0);
    // The server acknowledges the FIN separately before it sends its own.
    kernel.handshake().tcp(true, FIN_ACK, 1, 1, &[]).tcp(false, TcpFlags::ACK, 1, 2, &[]);
    kernel.tcp(false, FIN_ACK, 1, 2, &[]).tcp(true, TcpFlags::ACK, 2, 2, &[]);
    assert_eq!(differences(&simulator, &kernel), "");
}

#[test]
fn what_one_side_has_just_sent_the_other_may_be_about_to_send() {
    let mut simulator = Capture::with_initial(0);
    simulator.handshake();
    let mut kernel = Capture::with_initial(0);
    kernel.handshake();
    // Retransmitted 800 ms after the first.
    simulator.tcp(true, TcpFlags::SYN, 0, 0, &[]).frames[3].at = Duration::from_millis(800);
    fn sides<'a>(first: &'a Capture, second: &'a Capture) -> [Observer<'a>; 2] {
        [("simulator", first), ("kernel", second)].map(|(name, side)| Observer { name, frames: &side.frames })
    }
    for (now, is_told) in [(800, false), (1_000, false), (1_001, true)] {
        for [left, right] in [sides(&simulator, &kernel), sides(&kernel, &simulator)] {
            let found = compare(left, right, Duration::from_millis(now));
            assert_eq!(!found.differences.is_empty(), is_told, "at {now} ms: {found:?}");
            let undecided = (!is_told).then_some(Duration::from_millis(1_000));
            assert_eq!(found.undecided_until, undecided, "at {now} ms");
        }
    }
    // An older difference is reported, whatever came last.
    kernel.frames[0].bytes[22] = 63;
    let [left, right] = sides(&simulator, &kernel);
    assert_eq!(compare(left, right, Duration::from_millis(800)).differences.len(), 1);
}

#[test]
fn what_is_asked_late_is_told_when_as_much_has_passed_as_the_questions_are_old() {
    let questions = |ends: &[(u64, [u8; 4])]| {
        let mut capture = Capture::default();
        for (at, target) in ends {
            capture.arp(ArpOperation::Request, false, CLIENT.0, *target);
            capture.frames.last_mut().expect("a frame").at = Duration::from_millis(*at);
        }
        capture
    };
    // The first request is for the highest address.
    let simulator = questions(&[(1_000, [10, 0, 0, 9])]);
    let kernel = questions(&[(1_000, [10, 0, 0, 9]), (9_000, [10, 0, 0, 2])]);
    let now = |millis| {
        let [left, right] = [("simulator", &simulator), ("kernel", &kernel)]
            .map(|(name, side)| Observer { name, frames: &side.frames });
        let comparison = compare(left, right, Duration::from_millis(millis));
        (comparison.differences.len(), comparison.undecided_until)
    };
    assert_eq!(now(9_000), (0, Some(Duration::from_millis(10_100))));
    assert_eq!(now(10_101), (1, None));
}

#[test]
fn the_end_of_a_handshake_is_not_free() {
    let mut simulator = Capture::with_initial(0);
    simulator.handshake().tcp(true, FIN_ACK, 1, 1, &[]);
    let mut kernel = Capture::with_initial(77);
    kernel.tcp(true, TcpFlags::SYN, 0, 0, &[]).tcp(false, SYN_ACK, 0, 1, &[]).tcp(true, FIN_ACK, 1, 1, &[]);
    insta::assert_snapshot!(differences(&simulator, &kernel));
}

type Change = fn(&mut Vec<u8>);

/// Positions in [`exchange_with`] of the frames that tests modify.
const SYN: usize = 0;
const DATA: usize = 3;
const SACK: usize = 4;
const TOO_LARGE: usize = 5;
const REDIRECT: usize = 6;
const PING: usize = 7;

/// Frames of all kinds, one of them modified.
fn exchange_with(index: usize, change: Change) -> Capture {
    let mut capture = Capture::with_initial(5);
    capture.handshake().tcp(true, TcpFlags::ACK, 1, 1, b"data");
    let block = [capture.initial + 11, capture.initial + 15].map(u32::to_be_bytes).concat();
    let options = [&[1, 1, 5, 10][..], &block, &[1, 1, 8, 10], b"clock123"].concat();
    capture.segment(false, TcpFlags::ACK, 1, 5, &options, &[]);
    let datagram = udp((CLIENT.0, 5), (SERVER.0, 53), b"question");
    for (icmp_type, code, word) in [(3, 4, [0, 0, 5, 0x78]), (5, 1, [10, 0, 0, 3])] {
        let quote = ipv4(
            Ipv4Fields {
                src: CLIENT.0.into(),
                dst: SERVER.0.into(),
                protocol: protocol::UDP,
                ttl: 64,
                tos: 0,
                ident: 7,
                dont_fragment: true,
            },
            &datagram,
        )
        .split_off(14);
        capture.ip(SERVER.0, CLIENT.0, protocol::ICMP, 0, &icmpv4(icmp_type, code, word, &quote));
    }
    capture.ip(CLIENT.0, SERVER.0, protocol::ICMP, 0, &icmpv4(8, 0, [0, 9, 0, 1], b"data"));
    let mut bytes = capture.frames[index].bytes.to_vec();
    change(&mut bytes);
    capture.frames[index].bytes = bytes.into();
    capture
}

#[test]
fn each_field_that_counts_makes_a_difference() {
    let untouched = exchange_with(DATA, |_| {});
    let changes: [(&str, usize, Change); 23] = [
        ("destination MAC", DATA, |bytes| bytes[5] = 9),
        ("source MAC", DATA, |bytes| bytes[11] = 9),
        ("type of service", DATA, |bytes| bytes[15] = 0x10),
        ("DF", DATA, |bytes| bytes[20] = 0),
        ("time to live", DATA, |bytes| bytes[22] = 63),
        ("source address", DATA, |bytes| bytes[29] = 9),
        ("destination port", DATA, |bytes| bytes[37] = 81),
        ("sequence number", DATA, |bytes| bytes[41] += 1),
        ("flags", DATA, |bytes| bytes[47] = 0x18),
        ("kind of an option", SYN, |bytes| bytes[54] = 253),
        ("MSS", SYN, |bytes| bytes[57] -= 40),
        ("window scale", SYN, |bytes| bytes[61] += 1),
        ("no window scale", SYN, |bytes| bytes[59..62].fill(1)),
        ("beginning of a SACK block", SACK, |bytes| bytes[61] += 1),
        ("end of a SACK block", SACK, |bytes| bytes[65] += 1),
        ("no time stamps", SACK, |bytes| bytes[68..78].fill(1)),
        ("MTU of the next hop", TOO_LARGE, |bytes| bytes[41] -= 1),
        ("the unused bytes before that MTU", TOO_LARGE, |bytes| bytes[38] = 1),
        ("destination in the quote", TOO_LARGE, |bytes| bytes[61] = 9),
        ("gateway of a redirect", REDIRECT, |bytes| bytes[41] += 1),
        ("code of a redirect", REDIRECT, |bytes| bytes[35] = 0),
        ("identifier of an echo", PING, |bytes| bytes[39] += 1),
        ("sequence number of an echo", PING, |bytes| bytes[41] += 1),
    ];
    for (what, index, change) in changes {
        assert_ne!(differences(&untouched, &exchange_with(index, change)), "", "{what}");
    }
    let free: [(&str, usize, Change); 7] = [
        ("identification", DATA, |bytes| bytes[18] = 9),
        ("header checksum", DATA, |bytes| bytes[24] ^= 9),
        ("window", DATA, |bytes| bytes[48] ^= 9),
        ("checksum", DATA, |bytes| bytes[50] ^= 9),
        ("padding between options", SACK, |bytes| bytes[54..56].copy_from_slice(&[1, 1])),
        ("a time stamp", SACK, |bytes| bytes[70] ^= 9),
        ("the echo of a time stamp", SACK, |bytes| bytes[77] ^= 9),
    ];
    for (what, index, change) in free {
        assert_eq!(differences(&untouched, &exchange_with(index, change)), "", "{what}");
    }
}

#[test]
fn options_that_are_malformed_or_unknown_are_read_as_far_as_they_go() {
    let cases: [(&[u8], &str); 6] = [
        (&[2, 4, 5, 0xb4, 0, 3, 3, 7], "<mss 1460>"),
        (&[253, 4, 0xf9, 0x89, 1, 1, 1, 1], "<option 253 [f9, 89]>"),
        (&[2, 3, 5, 1], "<option 2 [05]>"),
        (&[3, 3, 7, 2], "<wscale 7>"),
        (&[3, 3, 7, 2, 1, 1, 1, 1], "<wscale 7>"),
        (&[5, 2, 1, 1], "<option 5 []>"),
    ];
    for (options, expected) in cases {
        let padded = [options, &[0; 3]].concat();
        let mut capture = Capture::with_initial(0);
        capture.segment(true, TcpFlags::ACK, 0, 0, &padded[..options.len().next_multiple_of(4)], &[]);
        assert!(capture.listing().contains(expected), "{options:?}: {}", capture.listing());
    }
}

#[test]
fn differences_come_in_the_order_of_time() {
    let mut simulator = Capture::with_initial(0);
    simulator.handshake();
    let mut kernel = Capture::with_initial(0);
    kernel.handshake();
    // The simulator's first frame was on another device, which the kernel never used.
    simulator.frames[0].device = "eth1".to_owned();
    insta::assert_snapshot!(differences(&simulator, &kernel));
}

/// Numbers far from the initial ones: what a script sends, and what answers it.
#[test]
fn far_numbers_are_relative_to_the_connections_own_initial_ones() {
    let capture = |initial: u32| {
        let mut capture = Capture::with_initial(initial);
        capture.handshake();
        for far in [100_000, 1 << 31, u32::MAX] {
            capture.tcp(true, TcpFlags::ACK, 1, far, &[]).tcp(false, TcpFlags::RST, far, 0, &[]);
        }
        capture
    };
    let (left, right) = (capture(5_000_000), capture(3_000_000_000));
    assert_eq!(differences(&left, &right), "");
    let mut other = capture(3_000_000_000);
    other.frames.truncate(other.frames.len() - 1);
    other.tcp(false, TcpFlags::RST, u32::MAX - 1, 0, &[]);
    assert_ne!(differences(&left, &other), "");
}

/// A script sends its SYN again and NAT gives it another port, so another handshake follows; the script goes on with the
/// numbers of the first one.
#[test]
fn numbers_of_an_earlier_handshake_behind_another_port() {
    let capture = |initial: u32, second: u32| {
        let mut capture = Capture::with_initial(initial);
        capture.handshake();
        let first = capture.frames.len();
        capture.tcp(true, TcpFlags::SYN, 0, 0, &[]).tcp(false, SYN_ACK, second, 1, &[]);
        capture.tcp(true, TcpFlags::ACK, 70_000, 60, &[]);
        for (frame, port_at) in capture.frames[first..].iter_mut().zip([34, 36, 34]) {
            frame.bytes[port_at..port_at + 2].copy_from_slice(&43_429_u16.to_be_bytes());
        }
        capture
    };
    let (left, right) = (capture(5_000_000, 77_000_000), capture(3_000_000_000, 1_000_000_000));
    assert_eq!(differences(&left, &right), "");
}

/// A reset with sequence number zero, and the small numbers of a script that does not know the peer's initial one.
#[test]
fn small_numbers_are_not_random() {
    let capture = |initial: u32| {
        let mut capture = Capture::with_initial(initial);
        capture.handshake();
        let peer = initial.wrapping_add(1_000_000);
        for absolute in [0, 1, 5_000] {
            capture.tcp(true, TcpFlags::ACK, 1, relative(peer, absolute), &[]);
            capture.tcp(false, TcpFlags::RST, relative(peer, absolute), 0, &[]);
        }
        capture
    };
    assert_eq!(differences(&capture(5_000_000), &capture(3_000_000_000)), "");
}

/// A script forges addresses and ports of an earlier connection, but sends its own numbers, which are the same in all runs.
#[test]
fn numbers_of_a_script_are_absolute_within_another_connection() {
    let capture = |initial: u32, forged: u32| {
        let mut capture = Capture::with_initial(initial);
        let peer = initial.wrapping_add(1_000_000);
        capture.handshake();
        capture.tcp(true, TcpFlags::PSH, relative(initial, forged), 0, &[7]);
        capture.tcp(
            false,
            TcpFlags::RST.union(TcpFlags::ACK),
            relative(peer, 0),
            relative(initial, forged + 1),
            &[],
        );
        capture
    };
    for forged in [0, 1, 9, 70_000, 100_000].map(|offset| INITIAL_SEQ + offset) {
        let left = capture(5_000_000, forged);
        assert_eq!(differences(&left, &capture(3_000_000_000, forged)), "", "{forged}");
        // Exactly this number; neither one at the same distance from the random number, nor one that is as far above
        // that as this one is above the script's initial number.
        assert_ne!(differences(&left, &capture(3_000_000_000, forged + 1)), "", "{forged}");
        assert_ne!(differences(&left, &capture(5_000_001, forged + 1)), "", "{forged}");
        let of_connection = 3_000_000_000 + (forged - INITIAL_SEQ);
        assert_ne!(differences(&left, &capture(3_000_000_000, of_connection)), "", "{forged}");
    }
    // A connection's own segments never count as a script's, even if its random number is near a script's.
    let own = |initial: u32| {
        let mut capture = Capture::with_initial(initial);
        capture.handshake().tcp(true, TcpFlags::PSH, 1, 1, b"hello").tcp(false, TcpFlags::ACK, 1, 6, &[]);
        capture
    };
    for near in [INITIAL_SEQ - 3, INITIAL_SEQ, INITIAL_SEQ + 70_000] {
        assert_eq!(differences(&own(5_000_000), &own(near)), "", "{near}");
    }
}

/// The relative number of an absolute one.
const fn relative(initial: u32, absolute: u32) -> u32 {
    absolute.wrapping_sub(initial)
}

/// The last fragment of a datagram, with this source in its header.
fn with_last_fragment(capture: &mut Capture, src: [u8; 4], ttl: u8, data: &[u8]) {
    let fields = Ipv4Fields {
        src: src.into(),
        dst: SERVER.0.into(),
        protocol: protocol::UDP,
        ttl,
        tos: 0,
        ident: 7,
        dont_fragment: false,
    };
    let mut bytes = ipv4(fields, data);
    let macs = (MacAddr([2, 0, 0, 0, 0, 2]), MacAddr([2, 0, 0, 0, 0, src[3]]));
    Ethernet::new_checked(&mut bytes[..]).expect("a frame").set(macs.0, macs.1, EtherType::Ipv4);
    let total_len = u16::try_from(bytes.len() - 14).expect("short");
    Ipv4::new_unchecked(&mut bytes[14..]).set_part(total_len, 16, false, false);
    capture.push(FrameDirection::Transmitted, bytes);
}

#[test]
fn later_fragments_have_the_addresses_of_the_first_one_whatever_a_capture_shows() {
    let datagram = udp((Ipv4Addr::from(CLIENT.0), 7), (Ipv4Addr::from(SERVER.0), 80), &[0; 16]);
    let of = |src: [u8; 4], ttl: u8, len: usize, has_first: bool| {
        let mut capture = Capture::default();
        if has_first {
            capture.ip(CLIENT.0, SERVER.0, protocol::UDP, 7, &datagram[..16]);
            let first = &mut capture.frames[0].bytes;
            Ipv4::new_unchecked(&mut first[14..]).set_part(36, 0, true, false);
        }
        with_last_fragment(&mut capture, src, ttl, &vec![0; len]);
        capture
    };
    let plain = of(CLIENT.0, 64, 8, true);
    let overwritten = of([10, 0, 0, 9], 63, 8, true);
    assert_eq!(differences(&plain, &overwritten), "");
    // Its size is compared, and so is its header if there is no first fragment.
    assert_ne!(differences(&plain, &of(CLIENT.0, 64, 9, true)), "");
    assert_ne!(differences(&of(CLIENT.0, 64, 8, false), &of([10, 0, 0, 9], 63, 8, false)), "");
}
