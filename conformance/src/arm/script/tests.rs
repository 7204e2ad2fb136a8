use std::collections::VecDeque;
use std::net::SocketAddrV4;

use sim::wire::build::{self as wire_build, Ipv4Fields};
use sim::wire::{ETHERNET_HEADER_LEN, EtherType, Ethernet, Icmpv4, Ipv4, Quote, Tcp, TcpOption, protocol};

use super::*;
use crate::netns::NetnsName;
use crate::scenario::segment::{ScriptTcpOption, parse_line};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PORT: u16 = 61_000;
const SERVER_INITIAL: u32 = 77_000;

fn plan(transport: Transport, lines: &[&str]) -> ScriptPlan {
    ScriptPlan {
        from: NetnsName::Host("client".into()),
        from_text: "client".into(),
        client: CLIENT,
        to: SocketAddrV4::new(SERVER, 80),
        to_text: "server".into(),
        transport,
        source_port: PORT,
        timeout: Duration::from_secs(1),
        lines: lines.iter().map(|line| parse_line(line).unwrap()).collect(),
        is_continuation: false,
        stays_open: false,
        lines_before: 0,
    }
}

/// A network on which these frames are received one by one.
#[derive(Default)]
struct Canned {
    frames: VecDeque<Box<[u8]>>,
    sent: Vec<Vec<u8>>,
    waited: Duration,
}

impl Wire for Canned {
    fn send(&mut self, packet: &[u8], to: Ipv4Addr) -> Result<bool, ArmError> {
        assert_eq!(to, SERVER);
        self.sent.push(packet.to_vec());
        Ok(true)
    }

    fn receive(&mut self, within: Duration) -> Result<Vec<Box<[u8]>>, ArmError> {
        let next = self.frames.pop_front();
        if next.is_none() {
            self.waited += within;
        }
        Ok(next.into_iter().collect())
    }

    fn wait_to_send(&mut self, delay: Duration) -> Result<(), ArmError> {
        self.wait(delay)
    }

    fn wait(&mut self, duration: Duration) -> Result<(), ArmError> {
        self.waited += duration;
        Ok(())
    }

    fn now(&self) -> Duration {
        self.waited
    }
}

fn frame(src: Ipv4Addr, protocol: u8, l4: &[u8]) -> Box<[u8]> {
    let fields = Ipv4Fields { src, dst: CLIENT, protocol, ttl: 63, tos: 0, ident: 9, dont_fragment: true };
    let mut bytes = wire_build::ipv4(fields, l4);
    let mac = sim::wire::MacAddr([2, 0, 0, 0, 0, 1]);
    Ethernet::new_checked(&mut bytes[..]).unwrap().set(mac, mac, EtherType::Ipv4);
    bytes.into()
}

/// A segment from the server's port, with absolute numbers.
fn tcp_from(src: Ipv4Addr, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Box<[u8]> {
    let mut l4 = [80_u16.to_be_bytes(), PORT.to_be_bytes()].concat();
    l4.extend_from_slice(&seq.to_be_bytes());
    l4.extend_from_slice(&ack.to_be_bytes());
    let options: &[u8] = if flags & 2 != 0 { &[2, 4, 5, 0xb4, 8, 2, 1, 1] } else { &[] };
    let words = u8::try_from(5 + options.len() / 4).unwrap();
    l4.extend_from_slice(&[words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    l4.extend_from_slice(options);
    l4.extend_from_slice(data);
    frame(src, protocol::TCP, &l4)
}

fn syn_ack() -> Box<[u8]> {
    tcp_from(SERVER, 0x12, SERVER_INITIAL, INITIAL_SEQ + 1, &[])
}

/// A script, the received frames, and the expected mismatch.
type Case = (&'static [&'static str], Vec<Box<[u8]>>, &'static str);

/// The mismatch with its line number; empty if there is none.
fn found(transport: Transport, lines: &[&str], frames: Vec<Box<[u8]>>) -> String {
    let mut wire = Canned { frames: frames.into(), ..Canned::default() };
    let mismatch = play(&plan(transport, lines), &mut ScriptState::default(), &mut wire).unwrap();
    mismatch.map(|it| format!("{}: {}", it.number, it.found)).unwrap_or_default()
}

#[test]
fn what_comes_is_compared_with_what_is_written() {
    let ack = || tcp_from(SERVER, 0x10, SERVER_INITIAL + 1, INITIAL_SEQ + 1, &[]);
    let data = || tcp_from(SERVER, 0x18, SERVER_INITIAL + 1, INITIAL_SEQ + 9, b"hello");
    let elsewhere = || tcp_from(Ipv4Addr::new(10, 0, 0, 3), 0x12, SERVER_INITIAL, INITIAL_SEQ + 1, &[]);
    let cases: [Case; 17] = [
        (&["< S. 0:0(0) ack 1"], vec![syn_ack()], ""),
        (&["< S. 0:0(0) ack 1 win 1 ttl 63"], vec![syn_ack()], "1: < S. 0:0(0) ack 1 win 65535 ttl 63"),
        (&["< S. 0:0(0) ack 1 ttl 64"], vec![syn_ack()], "1: < S. 0:0(0) ack 1 ttl 63"),
        (&["< S. 0:0(0) ack 1 nodf"], vec![syn_ack()], "1: < S. 0:0(0) ack 1 df"),
        (
            &["< S. 0:0(0) ack 1 <mss 1460>"],
            vec![syn_ack()],
            "1: < S. 0:0(0) ack 1 <mss 1460,kind 8,nop,nop>",
        ),
        (&["< S. 0:0(0) ack 2"], vec![syn_ack()], "1: < S. 0:0(0) ack 1"),
        (&["< S. 0:0(0) ack 1"], vec![], "1: no packet arrived"),
        (&["< nothing"], vec![], ""),
        (&["< nothing"], vec![ack()], "1: < . 77001:77001(0) ack 1"),
        (&["< S. 0:0(0) ack 1", "< nothing"], vec![syn_ack(), ack()], "2: < . 1:1(0) ack 1"),
        // An acknowledgment may arrive separately or in the response.
        (&["< S. 0:0(0) ack 1", "< P. 1:6(5) ack 9"], vec![syn_ack(), ack(), data()], ""),
        (&["< S. 0:0(0) ack 1", "< . 1:1(0) ack 1", "< P. 1:6(5) ack 9"], vec![syn_ack(), ack(), data()], ""),
        (&["< S. 0:0(0) ack 1", "< . 1:1(0) ack 1"], vec![syn_ack(), data()], "2: < P. 1:6(5) ack 9"),
        // A reply that was not translated back.
        (&["< S. 0:0(0) ack 1"], vec![elsewhere()], "1: < S. 0:0(0) ack 1, from 10.0.0.3:80"),
        (&["< S. 0:0(0) ack 1 src 10.0.0.3"], vec![elsewhere()], ""),
        // A RST in reply to a segment without a connection.
        (&["> . 1:1(0) ack 1", "< R 1:1(0)"], vec![tcp_from(SERVER, 4, 1, 0, &[])], ""),
        (&["< R. 0:0(0) ack 1"], vec![tcp_from(SERVER, 0x14, 0, INITIAL_SEQ + 1, &[])], ""),
    ];
    for (lines, frames, expected) in cases {
        assert_eq!(found(Transport::Tcp, lines, frames), expected, "{lines:?}");
    }
}

#[test]
fn icmp_errors_belong_to_the_packet_that_they_quote() {
    let quote = |dst: Ipv4Addr, port: u16| {
        let fields = Ipv4Fields {
            src: CLIENT,
            dst,
            protocol: protocol::UDP,
            ttl: 1,
            tos: 0,
            ident: 1,
            dont_fragment: true,
        };
        let l4 = wire_build::udp((CLIENT, port), (dst, 80), b"hairpin\n");
        wire_build::ipv4(fields, &l4).split_off(ETHERNET_HEADER_LEN)
    };
    let router = Ipv4Addr::new(10, 0, 0, 9);
    let error = |quoted: &[u8]| frame(router, protocol::ICMP, &wire_build::icmpv4(11, 0, [0; 4], quoted));
    let cases = [
        ("< icmp time-exceeded", error(&quote(SERVER, PORT)), ""),
        ("< icmp time-exceeded src 10.0.0.9", error(&quote(SERVER, PORT)), ""),
        ("< icmp time-exceeded [udp (8) ttl 1]", error(&quote(SERVER, PORT)), ""),
        (
            "< icmp time-exceeded [udp (8) ttl 2]",
            error(&quote(SERVER, PORT)),
            "2: < icmp time-exceeded [udp (8) ttl 1]",
        ),
        (
            "< icmp time-exceeded [. 1:1(0) ack 1]",
            error(&quote(SERVER, PORT)),
            "2: < icmp time-exceeded [udp (8)]",
        ),
        ("< icmp unreachable/port", error(&quote(SERVER, PORT)), "2: < icmp time-exceeded"),
        (
            "< icmp time-exceeded src 10.0.0.8",
            error(&quote(SERVER, PORT)),
            "2: < icmp time-exceeded src 10.0.0.9",
        ),
        // A quote that was not translated back.
        (
            "< icmp time-exceeded",
            error(&quote(router, PORT)),
            "2: < icmp time-exceeded, about a packet to 10.0.0.9:80",
        ),
        ("< icmp time-exceeded", error(&quote(SERVER, 4)), "2: no packet arrived"),
        ("< icmp time-exceeded", error(&quote(SERVER, PORT)[..20]), "2: no packet arrived"),
    ];
    for (line, arrived, expected) in cases {
        assert_eq!(found(Transport::Udp, &["> udp (8)", line], vec![arrived]), expected, "{line}");
    }
}

#[test]
fn packets_are_built_as_lines_say() {
    let lines = [
        "> S 0:0(0) <mss 1460,sackOK,nop,wscale 7>",
        "+0.5 > P. 1:12(11) ack 1 win 500 ttl 3",
        "> R 1:1(0) src 10.9.9.9 nodf",
        "> . 1:1(0) ack 1 bad-checksum",
    ];
    let mut wire = Canned::default();
    assert_eq!(play(&plan(Transport::Tcp, &lines), &mut ScriptState::default(), &mut wire), Ok(None));
    assert_eq!(wire.waited, Duration::from_millis(500) + LINGERING);
    let words: Vec<String> = wire
        .sent
        .iter()
        .map(|bytes| {
            let ip = Ipv4::new_checked(&bytes[..]).unwrap();
            let tcp = Tcp::new_checked(ip.payload()).unwrap();
            let len = u16::try_from(ip.payload().len()).unwrap();
            let sum = sim::wire::checksum::pseudo_header(ip.src(), ip.dst(), protocol::TCP, len)
                + sim::wire::checksum::sum(ip.payload());
            format!(
                "{}:{} > {}:{} {} seq {} ack {} win {} options {:?} data {:?} ttl {} id {:#x} df {} sound {}",
                ip.src(),
                tcp.src_port(),
                ip.dst(),
                tcp.dst_port(),
                tcp.flags(),
                tcp.sequence(),
                tcp.acknowledgment(),
                tcp.window(),
                TcpOption::iter(tcp.options()).map(ScriptTcpOption::from).collect::<Vec<_>>(),
                String::from_utf8_lossy(tcp.payload()),
                ip.ttl(),
                ip.ident(),
                ip.dont_fragment(),
                sim::wire::checksum::finish(sum) == 0 && ip.is_checksum_valid(),
            )
        })
        .collect();
    insta::assert_snapshot!(words.join("\n"));
}

/// A datagram from the server's port, in fragments of this size.
fn udp_from_server(len: usize, size: usize) -> Vec<Box<[u8]>> {
    let l4 = wire_build::udp((SERVER, 80), (CLIENT, PORT), &vec![7; len]);
    let parts: Vec<&[u8]> = l4.chunks(size).collect();
    let part = |(index, data): (usize, &&[u8])| {
        let mut bytes = frame(SERVER, protocol::UDP, data);
        let mut ip = Ipv4::new_unchecked(&mut bytes[ETHERNET_HEADER_LEN..]);
        let total_len = ip.total_len();
        ip.set_part(total_len, u32::try_from(index * size).unwrap(), index + 1 < parts.len(), false);
        bytes
    };
    parts.iter().enumerate().map(part).collect()
}

#[test]
fn received_fragments_are_reassembled() {
    let (all, reversed) = (udp_from_server(3000, 1480), udp_from_server(3000, 1480).into_iter().rev());
    let missing = vec![all[0].clone(), all[2].clone()];
    let cases = [
        ("< udp (3000)", all.clone(), ""),
        ("< udp (3000) frag 1480", all.clone(), ""),
        ("< udp (3000) frag 1472", all.clone(), "1: < udp (3000) frag 1480"),
        ("< udp (3001)", reversed.collect(), "1: < udp (3000)"),
        ("< udp (3000)", missing.clone(), "1: no packet arrived, only fragments 1480@0+, 48@2960"),
        ("< nothing", missing, ""),
        // A complete packet has no fragments.
        ("< udp (8) frag 8", udp_from_server(8, 1480), "1: < udp (8)"),
    ];
    for (line, frames, expected) in cases {
        assert_eq!(found(Transport::Udp, &[line], frames), expected, "{line}");
    }
}

#[test]
fn packets_are_cut_as_lines_say() {
    let lines = [
        "> udp (3000) frag 1480",
        "> udp (3000) ipid 7 frag 1480@1480+",
        "> udp (3000) ipid 7 df frag 48@2960",
        "> udp (8) frag 1480",
    ];
    let mut wire = Canned::default();
    assert_eq!(play(&plan(Transport::Udp, &lines), &mut ScriptState::default(), &mut wire), Ok(None));
    let words = |bytes: &Vec<u8>| {
        let ip = Ipv4::new_checked(&bytes[..]).unwrap();
        assert!(ip.is_checksum_valid());
        let (len, offset, more) = (ip.payload().len(), ip.fragment_offset(), ip.more_fragments());
        format!("id {:#x} {len}@{offset} more {more} df {}", ip.ident(), ip.dont_fragment())
    };
    let sent: Vec<String> = wire.sent.iter().map(words).collect();
    assert_eq!(
        sent,
        [
            "id 0x4001 1480@0 more true df false",
            "id 0x4001 1480@1480 more true df false",
            "id 0x4001 48@2960 more false df false",
            "id 0x7 1480@1480 more true df false",
            "id 0x7 48@2960 more false df true",
            "id 0x4004 16@0 more false df false",
        ]
    );
    // The fragments of a line are those of one datagram with a right checksum.
    let data: Vec<u8> = wire.sent[..3]
        .iter()
        .flat_map(|bytes| Ipv4::new_checked(&bytes[..]).unwrap().payload().to_vec())
        .collect();
    let len = u16::try_from(data.len()).unwrap();
    let sum = sim::wire::checksum::pseudo_header(CLIENT, SERVER, protocol::UDP, len)
        + sim::wire::checksum::sum(&data);
    assert_eq!(sim::wire::checksum::finish(sum), 0);
}

/// What a sent ICMP message says: its header, and the quoted packet.
fn icmp_words(bytes: &[u8]) -> String {
    let ip = Ipv4::new_checked(bytes).unwrap();
    let icmp = Icmpv4::new_checked(ip.payload()).unwrap();
    let head = format!(
        "{} type {} code {} {:?} sound {}",
        ip.src(),
        icmp.icmp_type(),
        icmp.code(),
        icmp.word(),
        icmp.is_checksum_valid()
    );
    match Quote::parse(icmp.payload()).filter(|_| icmp.is_error()) {
        None => format!("{head} data {}", icmp.payload().len()),
        Some(quote) => {
            let (src, dst) = quote.ports().unwrap();
            let (from, to, l4) = (quote.ip.src(), quote.ip.dst(), quote.l4.len());
            format!("{head} about {from}:{src} > {to}:{dst} length {} with {l4}", quote.ip.total_len())
        }
    }
}

#[test]
fn sent_icmp_errors_quote_the_last_packet_or_the_one_in_brackets() {
    let lines = [
        "> S 0:0(0)",
        "> icmp unreachable/host [S. 5:5(0) ack 1]",
        "< S. 0:0(0) ack 1",
        "> icmp unreachable/message-size mtu 1200 src 10.0.0.9",
        "> icmp redirect/host gateway 10.0.0.9 [. 1:1001(1000) ack 1]",
        "> icmp parameter-problem pointer 8 bad-checksum",
    ];
    let mut wire = Canned { frames: vec![syn_ack()].into(), ..Canned::default() };
    let mut state = ScriptState::default();
    assert_eq!(play(&plan(Transport::Tcp, &lines), &mut state, &mut wire), Ok(None));
    let said: Vec<String> = wire.sent[1..].iter().map(|bytes| icmp_words(bytes)).collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn echo_requests_have_the_identifier_of_the_script() {
    let reply = |id: u16| {
        let [high, low] = id.to_be_bytes();
        frame(SERVER, protocol::ICMP, &wire_build::icmpv4(0, 0, [high, low, 0, 1], &[0; 56]))
    };
    let script = ScriptPlan { to: SocketAddrV4::new(SERVER, 0), ..plan(Transport::Icmp, &[]) };
    let cases = [
        ("< icmp echo-reply (56)", reply(PORT), ""),
        ("< icmp echo-reply (56) seq 1", reply(PORT), ""),
        ("< icmp echo-reply (56) seq 2", reply(PORT), "2: < icmp echo-reply (56) seq 1"),
        ("< icmp echo-reply (56)", reply(PORT + 1), "2: no packet arrived"),
    ];
    for (line, arrived, expected) in cases {
        let lines = ["> icmp echo-request (56)", line].map(|line| parse_line(line).unwrap()).to_vec();
        let mut wire = Canned { frames: vec![arrived].into(), ..Canned::default() };
        let script = ScriptPlan { lines, ..script.clone() };
        let mismatch = play(&script, &mut ScriptState::default(), &mut wire).unwrap();
        assert_eq!(mismatch.map(|it| format!("{}: {}", it.number, it.found)).unwrap_or_default(), expected);
        assert_eq!(icmp_words(&wire.sent[0]), "10.0.0.1 type 8 code 0 [238, 72, 0, 1] sound true data 56");
    }
}
