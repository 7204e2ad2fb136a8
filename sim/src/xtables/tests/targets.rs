//! Effects of targets on packets and flows.

use super::net::Net;
use crate::context::Effect;
use crate::ct::PacketCt;
use crate::drop_reason::DropReason;
use crate::hook::{Hook, Verdict};
use crate::netfilter::fixture::{Seg, echo, icmp_error, ip, ipv4, udp};
use crate::tuple::Direction;
use crate::wire::protocol;
use crate::xtables::TableKind;

fn tcp(flags: &str) -> Vec<u8> {
    Seg::new("10.1.2.3:1024", "10.96.0.10:80", flags).bytes()
}

#[test]
fn marks_are_masked_and_flipped() {
    for (options, expected) in [
        ("--set-mark 0x10", 0x10),
        ("--set-mark 0x10/0x1", 0xffff_ff10 & !0x1 & 0xff10 | 0x10),
        ("--set-xmark 0x10/0xff", 0xff10),
        ("--and-mark 0xf0f0", 0xf000),
        ("--or-mark 0x4", 0xff04),
        ("--xor-mark 0xff01", 0x0001),
    ] {
        let mut net = Net::new(&format!("*mangle\n-A PREROUTING -j MARK {options}\nCOMMIT\n"));
        let mut packet = net.packet(&tcp("S"));
        packet.meta.mark = 0xff00;
        assert_eq!(net.eval(TableKind::Mangle, Hook::Prerouting, &mut packet), Verdict::Accept);
        assert_eq!(packet.meta.mark, expected, "{options}");
    }
}

#[test]
fn connection_marks_go_to_the_flow_and_back() {
    for (rules, mark, ct_mark) in [
        (["--save-mark", "--save-mark"], 0xabcd, 0xabcd),
        (["--save-mark --mask 0xff", "--save-mark --mask 0xff"], 0xabcd, 0xcd),
        (["--set-mark 0x7", "--or-mark 0x8"], 0xabcd, 0xf),
        (["--set-mark 0x7", "--restore-mark"], 0x7, 0x7),
        (["--set-mark 0x70", "--restore-mark --nfmask 0xff --ctmask 0xf0"], 0xab70, 0x70),
        (["--set-mark 0x7", "--xor-mark 0x5"], 0xabcd, 0x2),
        (["--set-mark 0x7", "--restore-mark --left-shift-mark 4"], 0x70, 0x7),
        (["--save-mark --right-shift-mark 8", "--and-mark 0xf"], 0xabcd, 0xb),
    ] {
        let text = rules.map(|options| format!("-A FORWARD -j CONNMARK {options}\n")).concat();
        let mut net = Net::new(&format!("*mangle\n{text}COMMIT\n"));
        let mut packet = net.packet(&tcp("S"));
        packet.meta.mark = 0xabcd;
        net.track(Hook::Prerouting, &mut packet);
        assert_eq!(net.eval(TableKind::Mangle, Hook::Forward, &mut packet), Verdict::Accept);
        let PacketCt::Entry { id, .. } = packet.meta.ct else { panic!("not tracked") };
        assert_eq!((packet.meta.mark, net.ns.conntrack.entry(id).unwrap().mark), (mark, ct_mark), "{text}");
    }
}

#[test]
fn untracked_packets_stay_so_and_tracked_ones_too() {
    for target in ["NOTRACK", "CT --notrack"] {
        let mut net = Net::new(&format!("*raw\n-A PREROUTING -j {target}\nCOMMIT\n"));
        let mut packet = net.packet(&tcp("S"));
        assert_eq!(net.eval(TableKind::Raw, Hook::Prerouting, &mut packet), Verdict::Accept);
        assert_eq!(packet.meta.ct, PacketCt::Untracked, "{target}");
        let mut tracked = net.packet(&tcp("S"));
        net.track(Hook::Output, &mut tracked);
        let before = tracked.meta.ct;
        assert_eq!(net.eval(TableKind::Raw, Hook::Prerouting, &mut tracked), Verdict::Accept);
        assert_eq!(tracked.meta.ct, before, "{target}: too late");
    }
}

/// The notification to the sender of a rejected packet.
fn told(options: &str, l3: &[u8]) -> Option<String> {
    let mut net = Net::new(&format!("*filter\n-A FORWARD {options}\nCOMMIT\n"));
    let mut packet = net.packet(l3);
    let verdict = net.eval(TableKind::Filter, Hook::Forward, &mut packet);
    assert_eq!(verdict, Verdict::Drop(DropReason::NetfilterDrop));
    assert!(net.effects.len() <= 1);
    net.effects.pop().map(|effect| match effect {
        Effect::IcmpUnreachable { original, code } => {
            assert_eq!((original.id, &*original.bytes), (packet.id, l3));
            format!("icmp {code}")
        }
        Effect::TcpReset { original } => {
            assert_eq!((original.id, &*original.bytes), (packet.id, l3));
            "reset".to_owned()
        }
        Effect::Transmit { .. }
        | Effect::SocketTimer { .. }
        | Effect::NeighTimer { .. }
        | Effect::DefragTimer { .. }
        | Effect::Link { .. }
        | Effect::End { .. } => panic!("{effect:?}"),
    })
}

#[test]
fn reject_says_what_it_was_told_to() {
    for (options, expected) in [
        ("-j REJECT", "icmp 3"),
        ("-j REJECT --reject-with icmp-net-unreachable", "icmp 0"),
        ("-j REJECT --reject-with icmp-host-unreachable", "icmp 1"),
        ("-j REJECT --reject-with icmp-proto-unreachable", "icmp 2"),
        ("-j REJECT --reject-with icmp-port-unreachable", "icmp 3"),
        ("-j REJECT --reject-with icmp-net-prohibited", "icmp 9"),
        ("-j REJECT --reject-with icmp-host-prohibited", "icmp 10"),
        ("-j REJECT --reject-with icmp-admin-prohibited", "icmp 13"),
        ("-p tcp -j REJECT --reject-with tcp-reset", "reset"),
    ] {
        assert_eq!(told(options, &tcp("S")).as_deref(), Some(expected), "{options}");
    }
}

#[test]
fn reject_keeps_silent_where_linux_does() {
    // D-23
    let spoilt = |mut l3: Vec<u8>| {
        *l3.last_mut().unwrap() ^= 1;
        l3
    };
    let later = |mut l3: Vec<u8>| {
        l3[7] = 2;
        l3
    };
    let without_checksum = |mut l3: Vec<u8>| {
        l3[26..28].fill(0);
        l3
    };
    let datagram = || udp("10.1.2.3:1", "10.96.0.10:2");
    let error = icmp_error("10.1.2.3", "10.96.0.10", (3, 1), &datagram());
    let unknown = ipv4(ip("10.1.2.3"), ip("10.96.0.10"), 47, b"what GRE carries");
    let (icmp, reset) = ("-j REJECT", "-p tcp -j REJECT --reject-with tcp-reset");
    for (options, l3, expected) in [
        (icmp, tcp("S"), true),
        (icmp, spoilt(tcp("S")), false),
        (icmp, later(tcp("S")), false),
        (icmp, datagram(), true),
        (icmp, spoilt(datagram()), false),
        (icmp, without_checksum(datagram()), true),
        (icmp, echo("10.1.2.3", "10.96.0.10", 8, 1), true),
        (icmp, spoilt(echo("10.1.2.3", "10.96.0.10", 8, 1)), false),
        (icmp, error, false),
        (icmp, unknown, true),
        (reset, tcp("S"), true),
        (reset, tcp("R"), false),
        (reset, spoilt(tcp("S")), false),
        (reset, later(tcp("S")), false),
    ] {
        assert_eq!(told(options, &l3).is_some(), expected, "{options} {l3:02x?}");
    }
}

/// The reply tuple of a flow whose first packet traversed the nat table at that hook.
fn bound(rule: &str, hook: Hook, l3: &[u8]) -> String {
    let mut net = Net::new(&format!("*nat\n-A {rule}\nCOMMIT\n"));
    let mut packet = net.packet(l3);
    if hook == Hook::Postrouting {
        packet.meta.route = Some(crate::route::RouteResult {
            kind: crate::route::RouteKind::Unicast,
            device: super::net::ETH1,
            gateway: None,
            source: ip("192.168.0.254").into(),
            pmtu: None,
        });
    }
    net.track(Hook::Prerouting, &mut packet);
    assert_eq!(net.nat(hook, &mut packet), Verdict::Accept, "{rule}");
    let PacketCt::Entry { id, .. } = packet.meta.ct else { panic!("not tracked") };
    net.ns.conntrack.entry(id).unwrap().tuple(Direction::Reply).to_string()
}

#[test]
fn nat_targets_bind_the_flow() {
    let (pre, post) = (Hook::Prerouting, Hook::Postrouting);
    for (rule, hook, expected) in [
        ("PREROUTING -p tcp -j DNAT --to-destination 10.9.9.9:8080", pre, "10.9.9.9:8080 -> 10.1.2.3:1024"),
        ("PREROUTING -p tcp -j DNAT --to-destination 10.9.9.9", pre, "10.9.9.9:80 -> 10.1.2.3:1024"),
        ("PREROUTING -p tcp -j DNAT --to-destination :8080", pre, "10.96.0.10:8080 -> 10.1.2.3:1024"),
        ("PREROUTING -p tcp -j REDIRECT --to-ports 8080", pre, "10.0.0.254:8080 -> 10.1.2.3:1024"),
        ("POSTROUTING -p tcp -j SNAT --to-source 10.9.9.9:5000", post, "10.96.0.10:80 -> 10.9.9.9:5000"),
        ("POSTROUTING -j SNAT --to-source 10.9.9.9", post, "10.96.0.10:80 -> 10.9.9.9:1024"),
        ("POSTROUTING -j MASQUERADE", post, "10.96.0.10:80 -> 192.168.0.254:1024"),
        ("POSTROUTING -p tcp -j MASQUERADE --to-ports 5000", post, "10.96.0.10:80 -> 192.168.0.254:5000"),
        ("POSTROUTING -p udp -j MASQUERADE", post, "10.96.0.10:80 -> 10.1.2.3:1024"),
    ] {
        assert_eq!(bound(rule, hook, &tcp("S")), expected, "{rule}");
    }
}

#[test]
fn a_nat_target_ends_the_walk() {
    let mut net = Net::new(
        "*nat\n-A PREROUTING -p tcp -j DNAT --to-destination 10.9.9.9\n-A PREROUTING -j MARK --set-mark 1\nCOMMIT\n",
    );
    let mut packet = net.packet(&tcp("S"));
    net.track(Hook::Prerouting, &mut packet);
    assert_eq!(net.nat(Hook::Prerouting, &mut packet), Verdict::Accept);
    assert_eq!((packet.meta.mark, net.walked()), (0, vec!["PREROUTING 1 Nat".to_owned()]));
    assert_eq!(packet.headers().unwrap().protocol, protocol::TCP);
}
