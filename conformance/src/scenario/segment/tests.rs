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
        "> icmp unreachable/port",
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

fn any_line() -> impl Strategy<Value = ScriptLine> {
    let udp = || (0..=1400_u16).prop_map(|len| ScriptPayload::Udp { len });
    let icmp = any::<(u8, u8)>()
        .prop_map(|(icmp_type, code)| ScriptPayload::Icmp(ScriptIcmpError { icmp_type, code }));
    let packet = |payload: BoxedStrategy<ScriptPayload>| {
        let src = any::<Option<u32>>().prop_map(|bits| bits.map(Ipv4Addr::from_bits));
        (payload, proptest::option::of(1..=255_u8), src, any::<Option<bool>>())
            .prop_map(|(payload, ttl, src, dont_fragment)| ScriptPacket { payload, ttl, src, dont_fragment })
    };
    let sent = (packet(prop_oneof![any_segment(), udp()].boxed()), 0..600_000_000_000_u64, any::<bool>());
    prop_oneof![
        sent.prop_map(|(packet, nanos, is_checksum_bad)| ScriptLine::Send {
            delay: Duration::from_nanos(nanos),
            packet,
            is_checksum_bad
        }),
        packet(prop_oneof![any_segment(), udp(), icmp].boxed()).prop_map(ScriptLine::Expect),
        Just(ScriptLine::ExpectNothing),
    ]
}

proptest! {
    #[test]
    fn what_is_printed_reads_as_what_it_was(line in any_line()) {
        prop_assert_eq!(parse_line(&line.to_string()), Ok(line));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-+<>.:, ()SRPFa-z0-9µ]{0,40}") {
        let _: Result<ScriptLine, FieldFault> = parse_line(&text);
    }
}
