use super::{NatFlags, NatRange, is_initialised, nf_nat_inet_fn, null_binding, redirect, setup_info};
use crate::device::{InterfaceAddr, Scope};
use crate::draws::{Purpose, Recorded};
use crate::drop_reason::DropReason;
use crate::hook::{Hook, Verdict};
use crate::ids::NetnsId;
use crate::netfilter::conntrack::{StateBits, nf_conntrack_in, state_bits};
use crate::netfilter::fixture::{ETH0, ETH1, Fixture, Path, Rules, Seg, Snat, entry_of, icmp_error, ip, udp};
use crate::packet::Packet;
use crate::trace::{Event, NatEvent};
use crate::tuple::Tuple;
use crate::wire::rewrite::Side;
use proptest::prelude::*;

const CLIENT: &str = "10.0.0.1:40000";
const SERVER: &str = "192.168.0.1:80";

#[test]
fn replies_are_translated_back() {
    let mut netns = Fixture::new();
    let rules = Rules { snat: Rules::masquerade().snat, ..Rules::dnat("192.168.0.1:8080") };
    let request = netns.pass(&udp(CLIENT, "10.96.0.1:80"), Path::Forward, &rules);
    assert_eq!(request.ends(), "192.168.0.254:40000 > 192.168.0.1:8080");
    let reply = netns.pass(&udp("192.168.0.1:8080", "192.168.0.254:40000"), Path::Forward, &Rules::NONE);
    assert_eq!(reply.ends(), "10.96.0.1:80 > 10.0.0.1:40000");
    // D-02: the binding stays when the rules are removed.
    let again = netns.pass(&udp(CLIENT, "10.96.0.1:80"), Path::Forward, &Rules::NONE);
    assert_eq!(again.ends(), "192.168.0.254:40000 > 192.168.0.1:8080");
    assert_eq!(
        netns.list(),
        ["udp      17 30 src=10.0.0.1 dst=10.96.0.1 sport=40000 dport=80 \
          src=192.168.0.1 dst=192.168.0.254 sport=8080 dport=40000 mark=0 use=1"]
    );
}

/// D-02: rules are evaluated while the flow is NEW and this side has no binding; the other side's binding does not
/// matter.
#[test]
fn each_side_is_bound_once() {
    let mut netns = Fixture::new();
    let mut packet = netns.packet(&udp(CLIENT, SERVER));
    let rules = Rules::dnat("192.168.0.2:8080");
    assert_eq!(netns.at(Hook::Prerouting, |ctx| nf_conntrack_in(ctx, &mut packet)), Verdict::Accept);
    let bound = |netns: &Fixture, packet: &Packet| {
        let entry = netns.conntrack.entry(entry_of(packet.meta.ct)).unwrap();
        (is_initialised(entry, Side::Src), is_initialised(entry, Side::Dst))
    };
    assert_eq!(bound(&netns, &packet), (false, false));
    assert_eq!(netns.nat(Hook::Prerouting, &mut packet, &rules), Verdict::Accept);
    assert_eq!(bound(&netns, &packet), (false, true));
    // A second binding of the same side is rejected, a null binding does nothing.
    let other = NatRange::to_addr(ip("192.168.0.9").into());
    let again = netns.at(Hook::Prerouting, |ctx| setup_info(ctx, &packet, &other, Side::Dst));
    assert_eq!(again, Verdict::Drop(DropReason::NatFailed));
    assert_eq!(netns.at(Hook::Prerouting, |ctx| null_binding(ctx, &packet, Side::Dst)), Verdict::Accept);
    assert_eq!(netns.nat(Hook::Postrouting, &mut packet, &Rules::NONE), Verdict::Accept);
    assert_eq!(bound(&netns, &packet), (true, true));
    assert_eq!(packet.ipv4().dst(), ip("192.168.0.2"));
}

/// A chain that binds the flow or drops the packet is the last one evaluated.
#[test]
fn chains_are_asked_in_their_order_until_one_decides() {
    #[derive(Clone, Copy)]
    enum Chain {
        Says(&'static str),
        Drops,
        SaysNothing,
    }
    use Chain::{Drops, Says, SaysNothing};
    let dropped = Verdict::Drop(DropReason::NetfilterDrop);
    let cases: [(&[Chain], usize, Verdict, &str); 5] = [
        (&[], 0, Verdict::Accept, "192.168.0.1"),
        (&[SaysNothing, SaysNothing], 2, Verdict::Accept, "192.168.0.1"),
        (&[SaysNothing, Says("192.168.0.2"), Says("192.168.0.3")], 2, Verdict::Accept, "192.168.0.2"),
        (&[Drops, Says("192.168.0.2")], 1, dropped, "192.168.0.1"),
        (&[Says("192.168.0.2"), Drops], 1, Verdict::Accept, "192.168.0.2"),
    ];
    for (chains, asked, verdict, dst) in cases {
        let mut netns = Fixture::new();
        let mut packet = netns.packet(&udp(CLIENT, SERVER));
        let mut count = 0;
        let said = netns.at(Hook::Prerouting, |ctx| {
            assert_eq!(nf_conntrack_in(ctx, &mut packet), Verdict::Accept);
            nf_nat_inet_fn(ctx, &mut packet, chains, |ctx, packet, chain| {
                count += 1;
                match chain {
                    Says(addr) => setup_info(ctx, packet, &NatRange::to_addr(ip(addr).into()), Side::Dst),
                    Drops => dropped,
                    SaysNothing => Verdict::Accept,
                }
            })
        });
        assert_eq!((count, said, packet.ipv4().dst()), (asked, verdict, ip(dst)));
    }
}

/// D-04, D-05: port selection. The first draw is the offset from the first port of the class.
#[test]
fn a_taken_port_is_replaced_within_its_class() {
    // The client's port, the offset drawn, the resulting port.
    const CASES: &[(u16, u32, u16)] = &[
        (40_000, 0, 1024),
        (40_000, 64_511, 65_535),
        // 64,512 ports, then wraps around.
        (40_000, 64_512, 1024),
        // The candidate used by the first flow is skipped.
        (40_000, 38_976, 40_001),
        (1024, 0, 1025),
        (100, 0, 1),
        (511, 510, 1),
        (512, 0, 600),
        (1023, 423, 600),
        (600, 0, 601),
    ];
    for (port, offset, expected) in CASES {
        let mut netns = Fixture::new();
        let rules = Rules::snat(NatRange::to_addr(ip("192.168.0.7").into()));
        netns.pass(&udp(&format!("10.0.0.1:{port}"), SERVER), Path::Forward, &rules);
        let owner = NetnsId(0);
        netns.draws.replay([Recorded { owner, purpose: Purpose::NatPort, source: None, value: *offset }]);
        let second = netns.pass(&udp(&format!("10.0.0.2:{port}"), SERVER), Path::Forward, &rules);
        assert_eq!(second.ends(), format!("192.168.0.7:{expected} > 192.168.0.1:80"), "port {port}");
        assert!(netns.draws.left_over().is_empty(), "one draw for port {port}");
    }
}

/// D-05: nothing is drawn if there is no choice.
#[test]
fn a_port_that_is_kept_needs_no_draw() {
    let owner = NetnsId(0);
    let to = |text: &str| NatRange::to_addr(ip(text).into());
    for rules in [
        Rules::NONE,
        Rules::masquerade(),
        Rules::snat(to("192.168.0.7")),
        Rules::dnat("192.168.0.2:8080"),
        Rules {
            dnat: Some(NatRange { min_port: Some(1), max_port: Some(9), ..to("192.168.0.2") }),
            snat: None,
        },
        Rules::snat(NatRange { min_port: Some(39_999), max_port: Some(40_009), ..to("192.168.0.7") }),
    ] {
        let mut netns = Fixture::new();
        netns.draws.replay([Recorded { owner, purpose: Purpose::NatPort, source: None, value: 0 }]);
        netns.pass(&udp(CLIENT, SERVER), Path::Forward, &rules);
        assert_eq!(netns.draws.left_over().len(), 1, "{rules:?}");
    }
}

/// D-05: 128 candidates from one random port, then 64, 32, 16 and 8 from others.
#[test]
fn the_search_gives_up_after_rounds_of_fewer_candidates() {
    let mut netns = Fixture::new();
    let owner = NetnsId(0);
    let range = NatRange {
        min_port: Some(10_000),
        max_port: Some(10_999),
        ..NatRange::to_addr(ip("192.168.0.7").into())
    };
    // Flows of a thousand clients use every port.
    for number in 0..1000_u32 {
        let client = format!("10.1.{}.{}:5", number >> 8, number & 0xff);
        netns.draws.replay([Recorded { owner, purpose: Purpose::NatPort, source: None, value: number }]);
        netns.pass(&udp(&client, SERVER), Path::Forward, &Rules::snat(range));
    }
    assert_eq!(netns.list().len(), 1000);
    let found_before = netns.conntrack.counters().found;
    netns.draws.replay((0..9).map(|value| Recorded {
        owner,
        purpose: Purpose::NatPort,
        source: None,
        value,
    }));
    let refused = netns.pass(&udp(CLIENT, SERVER), Path::Forward, &Rules::snat(range));
    assert_eq!(refused.verdict, Verdict::Drop(DropReason::ConntrackInsertFailed));
    assert_eq!(netns.draws.left_over().len(), 9 - 5);
    assert_eq!(netns.conntrack.counters().found - found_before, 128 + 64 + 32 + 16 + 8);
    assert_eq!(netns.conntrack.counters().insert_failed, 1);
}

/// D-05: late in the search, a closed TCP flow gives way to a SYN beyond its sequence number.
#[test]
fn a_closed_flow_gives_way_to_a_new_one() {
    let range = NatRange::to_addr(ip("192.168.0.7").into()).with_port(5000);
    let rules = Rules::snat(range);
    // Sequence number of the new SYN, whether the old flow is closed, whether it gives way.
    for (sequence, is_closed, gives_way) in [(9000, true, true), (500, true, false), (9000, false, false)] {
        let mut netns = Fixture::new();
        let (old, back) = ("10.0.0.1:1000", "192.168.0.7:5000");
        netns.pass(&Seg::new(old, SERVER, "S").seq(1000, 0).bytes(), Path::Forward, &rules);
        netns.pass(&Seg::new(SERVER, back, "S.").seq(5000, 1001).bytes(), Path::Forward, &rules);
        netns.pass(&Seg::new(old, SERVER, ".").seq(1001, 5001).bytes(), Path::Forward, &rules);
        if is_closed {
            netns.pass(&Seg::new(old, SERVER, "F.").seq(1001, 5001).bytes(), Path::Forward, &rules);
            netns.pass(&Seg::new(SERVER, back, "F.").seq(5001, 1002).bytes(), Path::Forward, &rules);
            netns.pass(&Seg::new(old, SERVER, ".").seq(1002, 5002).bytes(), Path::Forward, &rules);
        }
        // One port is a range of one, whose first candidate is the last; but only `--random` searches it.
        let range = NatRange { flags: NatFlags { random: true, ..NatFlags::default() }, ..range };
        let syn = Seg::new("10.0.0.2:1000", SERVER, "S").seq(sequence, 0).bytes();
        let passed = netns.pass(&syn, Path::Forward, &Rules::snat(range));
        assert_eq!(passed.verdict == Verdict::Accept, gives_way, "{sequence} {is_closed}");
        assert_eq!(netns.list().len(), 1);
    }
}

/// D-07.
#[test]
fn a_masqueraded_flow_dies_when_its_device_changes() {
    let mut netns = Fixture::new();
    let syn = Seg::new(CLIENT, SERVER, "S").bytes();
    netns.pass(&syn, Path::Forward, &Rules::masquerade());
    // Replies may leave through any device.
    netns.out_dev = ETH0;
    let reply = Seg::new(SERVER, "192.168.0.254:40000", "S.").seq(5000, 1).bytes();
    assert_eq!(netns.pass(&reply, Path::Forward, &Rules::NONE).ends(), "192.168.0.1:80 > 10.0.0.1:40000");
    let moved = netns.pass(&syn, Path::Forward, &Rules::masquerade());
    assert_eq!(moved.verdict, Verdict::Drop(DropReason::NatDeviceChanged));
    assert!(netns.list().is_empty());
    assert!(netns.conntrack.is_empty());
}

/// D-07: only MASQUERADE ties a flow to a device.
#[test]
fn another_source_does_not_tie_a_flow_to_its_device() {
    let mut netns = Fixture::new();
    let rules = Rules::snat(NatRange::to_addr(ip("192.168.0.7").into()));
    netns.pass(&udp(CLIENT, SERVER), Path::Forward, &rules);
    netns.out_dev = ETH0;
    assert_eq!(netns.pass(&udp(CLIENT, SERVER), Path::Forward, &rules).verdict, Verdict::Accept);
}

/// D-06.
#[test]
fn masquerade_needs_an_address() {
    let mut netns = Fixture::new();
    let bare = |netns: &mut Fixture, id| netns.devices.get_mut(id).addrs.clear();
    bare(&mut netns, ETH1);
    // The address of another device is used.
    let lent = netns.pass(&udp(CLIENT, SERVER), Path::Forward, &Rules::masquerade());
    assert_eq!(lent.ends(), "10.0.0.254:40000 > 192.168.0.1:80");
    bare(&mut netns, ETH0);
    let refused = netns.pass(&udp("10.0.0.1:40001", SERVER), Path::Forward, &Rules::masquerade());
    assert_eq!(refused.verdict, Verdict::Drop(DropReason::NatFailed));
    // A host that requests an address has none to translate.
    let dhcp = netns.pass(&udp("0.0.0.0:68", "255.255.255.255:67"), Path::Forward, &Rules::masquerade());
    assert_eq!(dhcp.ends(), "0.0.0.0:68 > 255.255.255.255:67");
}

/// REDIRECT: to the loopback address for locally generated packets, else to the first address of the device, whatever
/// its scope.
#[test]
fn redirect_leads_here() {
    for (hook, addrs, expected) in [
        (Hook::Output, &["10.0.0.254/24"][..], Ok("127.0.0.1")),
        (Hook::Prerouting, &["10.0.0.254/24", "10.0.0.7/24"], Ok("10.0.0.254")),
        (Hook::Prerouting, &["169.254.1.1/16", "10.0.0.254/24"], Ok("169.254.1.1")),
        (Hook::Prerouting, &[], Err(DropReason::NatFailed)),
    ] {
        let mut netns = Fixture::new();
        netns.devices.get_mut(ETH0).addrs = addrs
            .iter()
            .map(|net| InterfaceAddr { net: net.parse().unwrap(), scope: Scope::Link, is_secondary: false })
            .collect();
        let mut packet = netns.packet(&udp(CLIENT, "198.51.100.1:80"));
        let verdict = netns.at(hook, |ctx| {
            assert_eq!(nf_conntrack_in(ctx, &mut packet), Verdict::Accept);
            redirect(ctx, &packet, &NatRange { min_port: Some(3128), ..NatRange::default() })
        });
        assert_eq!(netns.nat(hook, &mut packet, &Rules::NONE), Verdict::Accept);
        let result = match verdict {
            Verdict::Drop(reason) => Err(reason),
            Verdict::Accept => Ok(packet.ipv4().dst().to_string()),
        };
        assert_eq!(result, expected.map(str::to_owned), "{hook} {addrs:?}");
    }
}

/// D-17: the source of locally delivered packets can be translated too. The listing is from Linux 6.18.
#[test]
fn input_binds_the_source() {
    let mut netns = Fixture::new();
    let rules = Rules::snat(NatRange::to_addr(ip("10.0.0.77").into()));
    let request = netns.pass(&udp("10.0.0.1:40005", "10.0.0.254:5353"), Path::In, &rules);
    assert_eq!(request.ends(), "10.0.0.77:40005 > 10.0.0.254:5353");
    let answer = netns.pass(&udp("10.0.0.254:5353", "10.0.0.77:40005"), Path::Out, &Rules::NONE);
    assert_eq!(answer.ends(), "10.0.0.254:5353 > 10.0.0.1:40005");
    assert_eq!(
        netns.list(),
        ["udp      17 30 src=10.0.0.1 dst=10.0.0.254 sport=40005 dport=5353 \
          src=10.0.0.254 dst=10.0.0.77 sport=5353 dport=40005 mark=0 use=1"]
    );
}

/// D-15, D-23: a reply of REJECT to an already translated packet refers to the packet as its sender sent it. The reply
/// traverses the nat rules of POSTROUTING, because the source of its flow has no binding yet; they have no visible
/// effect. Addresses and ports are those of Linux 6.18, with and without the MASQUERADE rule.
#[test]
fn the_answer_of_a_reject_rule_is_translated() {
    for postrouting in [Rules::NONE, Rules::masquerade()] {
        let mut netns = Fixture::new();
        let dnat = Rules::dnat("192.168.0.2:8080");
        netns.out_dev = ETH0;
        let refused = udp("10.0.0.1:40000", "10.96.0.1:80");
        let error = answer(&mut netns, &refused, &dnat, &postrouting, |refused| {
            icmp_error("10.0.0.254", "10.0.0.1", (3, 3), refused)
        });
        assert_eq!(error.ipv4().src(), ip("10.96.0.1"));
        let quoted = Tuple::of_ipv4_quote(&error.l3()[28..]).unwrap();
        assert_eq!(quoted.to_string(), "10.0.0.1:40000 -> 10.96.0.1:80");
        let refused = Seg::new("10.0.0.1:40000", "10.96.0.1:80", "S").seq(1000, 0).bytes();
        let reset = answer(&mut netns, &refused, &dnat, &postrouting, |_| {
            Seg::new("192.168.0.2:8080", "10.0.0.1:40000", "R.").seq(0, 1001).window(0).bytes()
        });
        let expected = Seg::new("10.96.0.1:80", "10.0.0.1:40000", "R.").seq(0, 1001).window(0).bytes();
        assert_eq!(reset.l3(), expected);
        assert!(netns.conntrack.is_empty());
    }
}

/// Rejects a packet in FORWARD, and sends the reply that `make` builds from its bytes.
fn answer(
    netns: &mut Fixture,
    bytes: &[u8],
    rules: &Rules,
    postrouting: &Rules,
    make: impl Fn(&[u8]) -> Vec<u8>,
) -> Packet {
    let mut refused = netns.packet(bytes);
    assert_eq!(netns.walk(&mut refused, Path::DroppedInForward, rules), Verdict::Accept);
    let mut answer = netns.packet(&make(refused.l3()));
    netns.conntrack.attach(&mut answer, &refused.meta);
    assert_eq!(netns.walk(&mut answer, Path::Out, postrouting), Verdict::Accept);
    netns.conntrack.release(&refused);
    netns.conntrack.release(&answer);
    answer
}

/// A packet without an entry is not translated, and traverses no rule (D-11).
#[test]
fn invalid_packets_are_left_alone() {
    let mut netns = Fixture::new();
    let stray = Seg::new(SERVER, "192.168.0.254:40000", "S.").bytes();
    let passed = netns.pass(&stray, Path::Forward, &Rules::dnat("192.168.0.2:8080"));
    assert_eq!((passed.state(), passed.bytes), ("INVALID", stray));
}

#[test]
fn rules_can_ask_whether_a_flow_is_translated() {
    let mut netns = Fixture::new();
    let mut bits = |client: &str, rules: &Rules| {
        let mut packet = netns.packet(&udp(client, SERVER));
        assert_eq!(netns.walk(&mut packet, Path::Forward, rules), Verdict::Accept);
        let bits = state_bits(&netns.conntrack, &packet);
        netns.conntrack.release(&packet);
        bits
    };
    assert_eq!(bits("10.0.0.1:1", &Rules::NONE), StateBits::NEW);
    assert_eq!(bits("10.0.0.1:2", &Rules::dnat("192.168.0.2:80")), StateBits::NEW.union(StateBits::DNAT));
    assert_eq!(bits("10.0.0.1:3", &Rules::masquerade()), StateBits::NEW.union(StateBits::SNAT));
    // D-04: a binding to the original value is not a translation.
    let to_itself = Rules { snat: Some(Snat::To(NatRange::to_addr(ip("10.0.0.1").into()))), dnat: None };
    assert_eq!(bits("10.0.0.1:4", &to_itself), StateBits::NEW);
}

#[test]
fn the_trace_says_what_was_bound_and_translated() {
    let mut netns = Fixture::new();
    netns.pass(&udp(CLIENT, "10.96.0.1:80"), Path::Forward, &Rules::dnat("192.168.0.1:8080"));
    let nat: Vec<String> = netns
        .trace
        .events()
        .iter()
        .filter_map(|event| {
            let Event::Nat(nat) = &event.event else { return None };
            Some(match nat {
                NatEvent::Bound { manip, old_reply, new_reply, .. } => {
                    format!("{manip:?} bound: replies {old_reply}, now {new_reply}")
                }
                NatEvent::Translated { manip, direction, from, to } => {
                    format!("{manip:?} of {direction:?} translated: {from:?} to {to:?}")
                }
                NatEvent::QuoteTranslated { manip } => format!("{manip:?} of the quote translated"),
            })
        })
        .collect();
    assert_eq!(
        nat,
        [
            "Dst bound: replies 10.96.0.1:80 -> 10.0.0.1:40000, now 192.168.0.1:8080 -> 10.0.0.1:40000",
            "Dst of Original translated: (10.96.0.1, 80) to (192.168.0.1, 8080)",
            "Src bound: replies 192.168.0.1:8080 -> 10.0.0.1:40000, now 192.168.0.1:8080 -> 10.0.0.1:40000",
        ]
    );
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let addr = || prop::sample::select(vec!["192.168.0.100", "192.168.0.101", "192.168.0.109"]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(random, random_fully, persistent)| NatFlags { random, random_fully, persistent });
    let ports = prop::option::of((1_u16..60_000, 0_u16..3));
    let range = (addr(), addr(), ports, flags).prop_map(|(min, max, ports, flags)| NatRange {
        min_addr: Some(ip(min).into()),
        max_addr: Some(ip(max).into()),
        min_port: ports.map(|(first, _)| first),
        max_port: ports.map(|(first, more)| first + more),
        flags,
    });
    let snat = prop_oneof![range.clone().prop_map(Snat::To), Just(Snat::Masquerade(NatRange::default())),];
    (prop::option::of(range), prop::option::of(snat)).prop_map(|(dnat, snat)| Rules { dnat, snat })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// For any rules: if the server replies to the source it saw, the client gets a reply from the address it
    /// contacted.
    #[test]
    fn every_answer_finds_its_client(
        flows in prop::collection::vec(((1_u8..4, 1_u16..9), (1_u8..4, 80_u16..83), any_rules()), 1..30),
    ) {
        let mut netns = Fixture::new();
        for ((host, port), (server, service), rules) in flows {
            let (client, vip) = (format!("10.0.0.{host}:{port}"), format!("192.168.0.{server}:{service}"));
            let request = netns.pass(&udp(&client, &vip), Path::Forward, &rules);
            if request.verdict != Verdict::Accept {
                // No tuple was free; the flow leaves no entry.
                prop_assert_eq!(request.verdict, Verdict::Drop(DropReason::ConntrackInsertFailed));
                continue;
            }
            let ends = request.ends();
            let (seen_client, seen_server) = ends.split_once(" > ").unwrap();
            let answer = netns.pass(&udp(seen_server, seen_client), Path::Forward, &Rules::NONE);
            prop_assert_eq!(answer.bytes, udp(&vip, &client));
        }
    }
}
