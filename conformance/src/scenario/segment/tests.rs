use proptest::prelude::*;

use super::*;
use crate::scenario::FieldFault;

#[test]
fn lines_are_read_and_printed_as_they_stand() {
    for line in [
        "> S 0:0(0) win 64240",
        "> S 0:0(0) win 64240 <mss 1460,sackOK,nop,wscale 7>",
        "< S. 0:0(0) ack 1",
        "> . 1:1(0) ack 1",
        "> P. 1:9(8) ack 1",
        "+0.25 > R 1:1(0)",
        "> F. 9:9(0) ack 30",
        "> none 1:1(0)",
        "> S 0:0(0) ttl 1 src 10.0.0.1 nodf",
        "> S 0:0(0) bad-checksum",
        "> R 4294967295:3(4)",
        "+1.000001 > udp (8) ttl 3",
        "< udp (52) src 10.0.0.1",
        "< icmp unreachable/port",
        "< icmp time-exceeded src 10.0.0.1 ttl 64",
        "< icmp 3/9",
        "< icmp redirect/host gateway 10.0.0.1",
        "> icmp unreachable/message-size mtu 1200 [. 1:1001(1000) ack 9]",
        "> icmp unreachable/port src 10.0.0.1 bad-checksum",
        "> icmp parameter-problem pointer 8 [udp (8) ttl 63]",
        "< icmp time-exceeded/reassembly [udp (3000) frag 1480@0+]",
        "> icmp echo-request (3000) seq 7 frag 1480",
        "< icmp echo-reply (56)",
        "> udp (3000) frag 1480",
        "> udp (3000) df ipid 7 frag 1480@1480+",
        "> P. 1:2001(2000) ack 1 ipid 7 frag 540@1480",
        "< udp (3000) frag 1480",
        "< nothing",
    ] {
        let read = parse_line(line).unwrap_or_else(|fault| panic!("{line}: {fault}"));
        let expected = line.replace("src 10.0.0.1 ttl 64", "ttl 64 src 10.0.0.1");
        assert_eq!(read.to_string(), expected);
    }
}

#[test]
fn what_is_no_line_is_told() {
    let said: Vec<String> = [
        "S 0:0(0)",
        ">",
        "> S",
        "> S 0:0",
        "> S 0:1(0)",
        "> S 0:0(0) ack 1",
        "< S. 0:0(0)",
        "> SS 0:0(0)",
        "> syn 0:0(0)",
        "> S 0:0(0) tll 3",
        "> S 0:0(0) ttl 0",
        "> S 0:0(0) ttl",
        "> S 0:0(0) win 70000",
        "> S 0:0(0) win 1 win 1",
        "> S 0:0(0) df nodf",
        "> S 0:0(0) src here",
        "> S 0:0(0) <mss>",
        "> S 0:0(0) <mss 1460",
        "> S 0:0(0) <TS val 1 ecr 0>",
        "> P. 1:2001(2000) ack 1",
        "> udp 8",
        "> udp (8) win 5",
        "> icmp unreachable/port mtu 1200",
        "> icmp unreachable/message-size pointer 1",
        "> icmp redirect/host",
        "> icmp redirect/host gateway here",
        "> icmp unreachable/port [icmp unreachable/port]",
        "> icmp unreachable/port [udp (8)",
        "> icmp unreachable/port [udp (3000) frag 1480]",
        "> icmp unreachable/port frag 8",
        "> icmp echo-request",
        "> icmp echo-request (56) id 7",
        "> icmp echo",
        "> icmp 8/0",
        "> udp (3000)",
        "> udp (65508) frag 1480",
        "> udp (3000) frag 1481",
        "> udp (3000) frag 0",
        "> udp (3000) frag 1480@0+",
        "> udp (3000) ipid 7 frag 1480@0",
        "> udp (3000) ipid 7 frag 1480@4+",
        "> udp (3000) ipid 7 frag 1480@1536+",
        "> udp (3000) ipid 0 frag 1480@0+",
        "< udp (3000) frag 1480@0+",
        "< udp (8) ipid 7",
        "> nothing",
        "< icmp unreachable/prot",
        "< S. 0:0(0) ack 1 bad-checksum",
        "+1 < nothing",
        "+x > S 0:0(0)",
        "+700 > S 0:0(0)",
    ]
    .iter()
    .map(|line| match parse_line(line) {
        Ok(read) => panic!("{line} is read as {read}"),
        Err(FieldFault { message, expected, help, .. }) => {
            format!("{line}\n    {message}\n    expected: {expected}\n    help: {help}\n")
        }
    })
    .collect();
    insta::assert_snapshot!(said.concat());
}

fn any_option() -> impl Strategy<Value = ScriptTcpOption> {
    prop_oneof![
        any::<u16>().prop_map(ScriptTcpOption::Mss),
        (0..=14_u8).prop_map(ScriptTcpOption::WindowScale),
        Just(ScriptTcpOption::SackPermitted),
        Just(ScriptTcpOption::Nop),
    ]
}

fn any_segment() -> impl Strategy<Value = ScriptPayload> {
    let options = proptest::collection::vec(any_option(), 0..8);
    (any::<u8>(), any::<u32>(), 0..=1400_u16, any::<u32>(), any::<Option<u16>>(), options).prop_map(
        |(flags, seq, len, ack, window, options)| {
            let flags = TcpFlags(flags);
            let ack = flags.contains(TcpFlags::ACK).then_some(ack);
            ScriptPayload::Tcp(ScriptSegment { flags, seq, len, ack, window, options })
        },
    )
}

fn any_udp() -> impl Strategy<Value = ScriptPayload> {
    (0..=1400_u16).prop_map(|len| ScriptPayload::Udp { len })
}

fn any_echo() -> impl Strategy<Value = ScriptPayload> {
    (any::<bool>(), 0..=1400_u16, any::<Option<u16>>()).prop_map(|(is_reply, len, seq)| {
        ScriptPayload::Icmp(ScriptIcmp::Echo(ScriptEcho { is_reply, len, seq }))
    })
}

/// An error with the field that its kind has.
fn any_error() -> impl Strategy<Value = ScriptPayload> {
    let kind = (prop_oneof![Just(3_u8), Just(4), Just(5), Just(11), Just(12)], any::<u8>());
    let quoted = proptest::option::of(any_packet(prop_oneof![any_segment(), any_udp(), any_echo()].boxed()));
    (kind, any::<[u8; 4]>(), quoted).prop_map(|((icmp_type, code), word, quote)| {
        let kind = ScriptIcmpKind { icmp_type, code };
        let field = ScriptIcmpField::of_word(kind, word);
        ScriptPayload::Icmp(ScriptIcmp::Error(ScriptIcmpError { kind, field, quote: quote.map(Box::new) }))
    })
}

fn any_packet(payload: BoxedStrategy<ScriptPayload>) -> impl Strategy<Value = ScriptPacket> {
    let src = any::<Option<u32>>().prop_map(|bits| bits.map(Ipv4Addr::from_bits));
    (payload, proptest::option::of(1..=255_u8), src, any::<Option<bool>>()).prop_map(
        |(payload, ttl, src, dont_fragment)| ScriptPacket {
            ttl,
            src,
            dont_fragment,
            ..ScriptPacket::new(payload)
        },
    )
}

/// A packet, in fragments or as a single one of them.
fn any_sent() -> impl Strategy<Value = ScriptPacket> {
    let payload = prop_oneof![any_segment(), any_udp(), any_echo(), any_error()].boxed();
    let cut = (any::<Option<bool>>(), 1..=180_u16, 0..=180_u16, 1..=u16::MAX);
    (any_packet(payload), cut).prop_map(|(packet, (cut, size, offset, ident))| {
        let Some(len) = packet.payload_len().and_then(|len| u16::try_from(len).ok()) else { return packet };
        let fragments = match cut {
            None => return packet,
            Some(true) => ScriptFragments::All(size * 8),
            Some(false) => {
                let offset = (offset * 8).min((len - 1) / 8 * 8);
                let size = size.min(len - offset);
                ScriptFragments::One(ScriptFragment { size, offset, has_more: offset == 0 || size % 2 == 0 })
            }
        };
        ScriptPacket { ident: Some(ident), fragments: Some(fragments), ..packet }
    })
}

fn any_line() -> impl Strategy<Value = ScriptLine> {
    let sent = (any_sent(), 0..600_000_000_000_u64, any::<bool>());
    prop_oneof![
        sent.prop_map(|(packet, nanos, is_checksum_bad)| ScriptLine::Send {
            delay: Duration::from_nanos(nanos),
            packet,
            is_checksum_bad
        }),
        any_packet(prop_oneof![any_segment(), any_udp(), any_echo(), any_error()].boxed())
            .prop_map(ScriptLine::Expect),
        Just(ScriptLine::ExpectNothing),
    ]
}

proptest! {
    #[test]
    fn what_is_printed_reads_as_what_it_was(line in any_line()) {
        prop_assert_eq!(parse_line(&line.to_string()), Ok(line));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-+<>.:, ()SRPFa-z0-9@\\[\\]/µ]{0,40}") {
        let _: Result<ScriptLine, FieldFault> = parse_line(&text);
    }
}
