//! Which packets each match matches.

use super::net::{ETH0, ETH1, Net};
use crate::ct::PacketCt;
use crate::hook::{Hook, Verdict};
use crate::netfilter::conntrack::nf_conntrack_confirm;
use crate::netfilter::fixture::{Seg, echo, icmp_error, ip, ipv4, udp};
use crate::packet::{BridgeInfo, Owner, Packet, PacketType};
use crate::wire::{MacAddr, protocol};
use crate::xtables::TableKind;

/// True if a rule with these conditions matches a packet forwarded from `eth0` to `eth1`.
fn matches(conditions: &str, l3: &[u8]) -> bool {
    matches_with(conditions, l3, |_| {})
}

fn matches_with(conditions: &str, l3: &[u8], change: impl FnOnce(&mut Packet)) -> bool {
    let mut net = Net::new(&format!("*filter\n-A FORWARD {conditions} -j DROP\nCOMMIT\n"));
    let mut packet = net.packet(l3);
    change(&mut packet);
    net.eval(TableKind::Filter, Hook::Forward, &mut packet) != Verdict::Accept
}

/// Checks conditions against one packet.
fn check(l3: &[u8], cases: &[(&str, bool)]) {
    for (conditions, expected) in cases {
        assert_eq!(matches(conditions, l3), *expected, "{conditions}");
    }
}

fn tcp(flags: &str) -> Vec<u8> {
    Seg::new("10.1.2.3:1024", "10.96.0.10:80", flags).bytes()
}

/// Turns a packet into a later fragment with this offset in bytes.
fn later_fragment(mut l3: Vec<u8>, offset: u16) -> Vec<u8> {
    l3[6..8].copy_from_slice(&(offset / 8).to_be_bytes());
    l3
}

#[test]
fn addresses_devices_and_protocol() {
    check(
        &tcp("S"),
        &[
            ("-s 10.1.2.3", true),
            ("! -s 10.1.2.3", false),
            ("-s 10.1.0.0/16 -d 10.96.0.0/12", true),
            ("-s 10.1.2.0/255.255.255.1", false),
            ("-s 0.0.0.0/0", true),
            ("! -d 10.96.0.11", true),
            ("-i eth0 -o eth1", true),
            ("-i eth1", false),
            ("-i eth+", true),
            ("-i eth", false),
            ("-i eth0+", true),
            ("! -i eth0", false),
            ("! -i lo", true),
            ("! -o eth+", false),
            ("-p tcp", true),
            ("! -p tcp", false),
            ("-p 6", true),
            ("-p udp", false),
            ("-p all", true),
            ("! -f", true),
            ("-f", false),
        ],
    );
}

#[test]
fn ranges_of_addresses_policies_and_owners() {
    check(
        &tcp("S"),
        &[
            ("-m iprange --src-range 10.1.2.3", true),
            ("-m iprange --src-range 10.1.2.0-10.1.2.2", false),
            ("-m iprange ! --src-range 10.1.2.0-10.1.2.2 --dst-range 10.96.0.0-10.96.0.10", true),
            ("-m iprange --dst-range 10.96.0.11-10.96.0.9", false),
            ("-m policy --dir in --pol none", true),
            ("-m policy --dir out --pol ipsec --mode tunnel", false),
        ],
    );
    for (owner, conditions, expected) in [
        (Owner::Process, "--uid-owner 0", true),
        (Owner::Process, "! --uid-owner 0", false),
        (Owner::Process, "--gid-owner 1-9", false),
        (Owner::Process, "--socket-exists", true),
        // The kernel's own sockets have no user.
        (Owner::Kernel, "--uid-owner 0", false),
        (Owner::Kernel, "! --uid-owner 0", true),
        (Owner::Kernel, "--socket-exists", true),
        (Owner::Kernel, "! --socket-exists", false),
        (Owner::None, "--uid-owner 0", false),
        (Owner::None, "! --uid-owner 0", true),
        (Owner::None, "--socket-exists", false),
        (Owner::None, "! --socket-exists", true),
    ] {
        let mut net = Net::new(&format!("*filter\n-A OUTPUT -m owner {conditions} -j DROP\nCOMMIT\n"));
        let mut packet = net.packet(&tcp("S"));
        packet.meta.owner = owner;
        let verdict = net.eval(TableKind::Filter, Hook::Output, &mut packet);
        assert_eq!(verdict != Verdict::Accept, expected, "{owner:?} {conditions}");
    }
}

#[test]
fn a_reply_must_leave_where_the_packet_came_in() {
    // eth0 is 10.0.0.254/24, eth1 is 192.168.0.254/24.
    for (src, options, expected) in [
        ("10.0.0.9", "", true),
        ("10.0.0.9", "--invert", false),
        ("192.168.0.9", "", false),
        ("192.168.0.9", "--loose", true),
        ("192.168.0.9", "--invert", true),
        ("172.16.0.1", "--loose", false),
        ("10.0.0.254", "", false),
        ("10.0.0.254", "--accept-local --loose", true),
        ("192.168.0.254", "--accept-local", false),
    ] {
        let mut net = Net::new(&format!("*raw\n-A PREROUTING -m rpfilter {options} -j DROP\nCOMMIT\n"));
        let mut packet = net.packet(&udp(&format!("{src}:5"), "10.0.0.254:53"));
        let verdict = net.eval(TableKind::Raw, Hook::Prerouting, &mut packet);
        assert_eq!(verdict != Verdict::Accept, expected, "{src} {options}");
    }
}

#[test]
fn a_device_that_is_not_there_has_no_name() {
    for (conditions, expected) in [("-o eth1", false), ("! -o eth1", true), ("-o eth+", false)] {
        let mut net =
            Net::new(&format!("*filter\n:CH -\n-A INPUT -j CH\n-A CH {conditions} -j DROP\nCOMMIT\n"));
        let mut packet = net.packet(&tcp("S"));
        let verdict = net.eval(TableKind::Filter, Hook::Input, &mut packet);
        assert_eq!(verdict != Verdict::Accept, expected, "{conditions}");
    }
}

#[test]
fn tcp_ports_flags_and_options() {
    let with_options =
        Seg::new("10.1.2.3:1024", "10.96.0.10:80", "S").options(&[2, 4, 5, 0xb4, 1, 1, 4, 2]).bytes();
    check(
        &with_options,
        &[
            ("-p tcp --dport 80", true),
            ("-p tcp ! --dport 80", false),
            ("-p tcp --dport 79:81 --sport 1024:", true),
            ("-p tcp --sport :1023", false),
            ("-p tcp --syn", true),
            ("-p tcp ! --syn", false),
            ("-p tcp --tcp-flags SYN,ACK SYN", true),
            ("-p tcp --tcp-flags ALL NONE", false),
            ("-p tcp --tcp-option 2", true),
            ("-p tcp --tcp-option 4", true),
            ("-p tcp --tcp-option 5", false),
            ("-p tcp ! --tcp-option 5", true),
            ("-p tcp -m multiport --dports 443,80", true),
            ("-p tcp -m multiport --dports 443,70:90", true),
            ("-p tcp -m multiport --sports 80", false),
            ("-p tcp -m multiport --ports 80", true),
            ("-p tcp -m multiport ! --ports 80", false),
            ("-p tcp -m multiport ! --dports 443", true),
        ],
    );
}

#[test]
fn udp_and_sctp_ports() {
    check(
        &udp("10.1.2.3:53", "10.96.0.10:5353"),
        &[
            ("-p udp --sport 53 --dport 5353", true),
            ("-p udp ! --sport 53", false),
            ("-p tcp --dport 5353", false),
        ],
    );
    let sctp = ipv4(ip("10.1.2.3"), ip("10.96.0.10"), protocol::SCTP, &[4, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0]);
    check(&sctp, &[("-p sctp --dport 80", true), ("-p sctp --sport 1024 ! --dport 80", false)]);
}

#[test]
fn later_fragments_show_no_ports() {
    // D-19
    let fragment = later_fragment(tcp("S"), 1480);
    check(
        &fragment,
        &[
            ("-f", true),
            ("! -f", false),
            ("-p tcp", true),
            ("-p tcp -m tcp", false),
            ("-p tcp --dport 80", false),
            ("-p tcp ! --dport 80", false),
            ("-p tcp -m multiport --dports 80", false),
            ("-p tcp -m multiport ! --dports 80", false),
        ],
    );
    let fragment = later_fragment(echo("10.1.2.3", "10.96.0.10", 8, 1), 8);
    check(&fragment, &[("-p icmp --icmp-type any", false), ("-p icmp", true)]);
}

#[test]
fn what_cannot_be_judged_is_dropped_at_once() {
    let cut = |l3: &[u8], len: usize| {
        let mut l3 = l3[..20 + len].to_vec();
        l3[2..4].copy_from_slice(&u16::try_from(20 + len).unwrap().to_be_bytes());
        l3
    };
    let mut bad_options = tcp("S");
    bad_options[20 + 12] = 0x40;
    for (conditions, l3) in [
        ("-p tcp -m tcp", cut(&tcp("S"), 19)),
        ("-p tcp -m tcp --dport 81", later_fragment(tcp("S"), 8)),
        ("-p tcp --tcp-option 5", bad_options),
        ("-p udp -m udp --dport 1", cut(&udp("10.0.0.1:1", "10.0.0.2:2"), 7)),
        ("-p icmp --icmp-type 0", cut(&echo("10.0.0.1", "10.0.0.2", 8, 1), 7)),
        ("-p tcp -m multiport --dports 81", cut(&tcp("S"), 3)),
    ] {
        let mut net = Net::new(&format!("*filter\n-A FORWARD {conditions}\n-A FORWARD -j ACCEPT\nCOMMIT\n"));
        assert!(!net.forwards(&l3), "{conditions}");
        assert!(net.walked().is_empty(), "{conditions}: no rule matched");
    }
}

#[test]
fn icmp_types_and_codes() {
    let unreachable = icmp_error("10.1.2.3", "10.0.0.9", (3, 4), &udp("10.0.0.9:1", "10.7.7.7:2"));
    check(
        &unreachable,
        &[
            ("-p icmp --icmp-type any", true),
            ("-p icmp --icmp-type 3", true),
            ("-p icmp --icmp-type 3/4", true),
            ("-p icmp --icmp-type fragmentation-needed", true),
            ("-p icmp --icmp-type 3/3", false),
            ("-p icmp --icmp-type 3/3:5", true),
            ("-p icmp ! --icmp-type 3/3", true),
            ("-p icmp --icmp-type echo-request", false),
        ],
    );
}

#[test]
fn single_header_fields() {
    let mut l3 = tcp("S");
    l3[1] = 0xb8;
    l3[8] = 63;
    check(
        &l3,
        &[
            ("-m length --length 40", true),
            ("-m length --length 41:100", false),
            ("-m length ! --length :39", true),
            ("-m ttl --ttl-eq 63", true),
            ("-m ttl ! --ttl-eq 63", false),
            ("-m ttl --ttl-lt 64", true),
            ("-m ttl --ttl-gt 63", false),
            ("-m tos --tos 0xb8", true),
            ("-m tos --tos 0x08/0x0f", true),
            ("-m tos ! --tos 0xb8/0xff", false),
            ("-m dscp --dscp-class EF", true),
            ("-m dscp ! --dscp 46", false),
            ("-m comment --comment words", true),
            ("-m nfacct --nfacct-name words", true),
        ],
    );
}

#[test]
fn marks() {
    for (conditions, expected) in [
        ("-m mark --mark 0x4000/0x4000", true),
        ("-m mark ! --mark 0x4000/0x4000", false),
        ("-m mark --mark 0x4001", true),
        ("-m mark --mark 0x4000", false),
        ("-m connmark --mark 0", false),
        ("-m connmark ! --mark 0", false),
    ] {
        let found = matches_with(conditions, &tcp("S"), |packet| packet.meta.mark = 0x4001);
        assert_eq!(found, expected, "{conditions}");
    }
}

#[test]
fn the_frame_and_its_addressee() {
    let with_source = |packet: &mut Packet| packet.bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
    for (conditions, expected) in
        [("-m mac --mac-source 02:00:00:00:00:07", true), ("-m mac ! --mac-source 02:00:00:00:00:07", false)]
    {
        assert_eq!(matches_with(conditions, &tcp("S"), with_source), expected, "{conditions}");
    }
    for (conditions, expected) in [
        ("-m pkttype --pkt-type broadcast", true),
        ("-m pkttype ! --pkt-type multicast", true),
        ("-m pkttype --pkt-type unicast", false),
    ] {
        let broadcast = |packet: &mut Packet| packet.meta.packet_type = PacketType::Broadcast;
        assert_eq!(matches_with(conditions, &tcp("S"), broadcast), expected, "{conditions}");
    }
}

#[test]
fn address_types() {
    // D-22: everything in the local table is local, including 127/8; with a device, only the device's own addresses.
    let to = |dst: &str| udp("10.1.2.3:1", &format!("{dst}:2"));
    for (conditions, dst, expected) in [
        ("-m addrtype --dst-type LOCAL", "10.0.0.254", true),
        ("-m addrtype --dst-type LOCAL", "192.168.0.254", true),
        ("-m addrtype --dst-type LOCAL", "127.9.9.9", true),
        ("-m addrtype --dst-type LOCAL", "10.0.0.1", false),
        ("-m addrtype ! --dst-type LOCAL", "10.0.0.1", true),
        ("-m addrtype --dst-type UNICAST", "10.0.0.1", true),
        ("-m addrtype --dst-type BROADCAST", "10.0.0.255", true),
        ("-m addrtype --dst-type BROADCAST", "255.255.255.255", true),
        ("-m addrtype --dst-type MULTICAST", "224.0.0.1", true),
        ("-m addrtype --dst-type LOCAL,BROADCAST", "10.0.0.255", true),
        ("-m addrtype --dst-type LOCAL --limit-iface-in", "10.0.0.254", true),
        ("-m addrtype --dst-type LOCAL --limit-iface-in", "192.168.0.254", false),
        ("-m addrtype --dst-type LOCAL --limit-iface-out", "192.168.0.254", true),
        ("-m addrtype --src-type LOCAL", "10.0.0.254", false),
        ("-m addrtype ! --src-type LOCAL --dst-type LOCAL", "10.0.0.254", true),
    ] {
        assert_eq!(matches(conditions, &to(dst)), expected, "{conditions} {dst}");
    }
}

#[test]
fn bridge_ports() {
    let bridged = |phys_out| BridgeInfo {
        phys_in: ETH0,
        phys_out,
        was_other_host: false,
        is_in_prerouting: false,
        original_dst: ip("10.96.0.10").into(),
        src_mac: MacAddr::ZERO,
        is_bridged_dnat: false,
    };
    let (none, half, full) = (None, Some(bridged(None)), Some(bridged(Some(ETH1))));
    for (conditions, expected) in [
        ("-m physdev --physdev-in eth0", [false, true, true]),
        ("-m physdev ! --physdev-in eth0", [true, false, false]),
        ("-m physdev --physdev-in eth+ --physdev-out eth1", [false, false, true]),
        ("-m physdev ! --physdev-out eth1", [true, false, false]),
        ("-m physdev --physdev-is-in", [false, true, true]),
        ("-m physdev --physdev-is-out", [false, false, true]),
        ("-m physdev ! --physdev-is-out", [true, true, false]),
        ("-m physdev --physdev-is-bridged", [false, false, true]),
        ("-m physdev ! --physdev-is-bridged", [true, true, false]),
    ] {
        let found = [none, half, full]
            .map(|bridge| matches_with(conditions, &tcp("S"), |packet| packet.meta.bridge = bridge));
        assert_eq!(found, expected, "{conditions}");
    }
}

/// Rules applied to packets of one flow: a translated SYN, its reply, and packets without a flow.
#[test]
fn connections() {
    for (conditions, expected) in [
        // SYN, SYN/ACK, untracked, invalid
        ("-m conntrack --ctstate NEW", [true, false, false, false]),
        ("-m conntrack --ctstate ESTABLISHED,RELATED", [false, true, false, false]),
        ("-m conntrack ! --ctstate ESTABLISHED,RELATED", [true, false, true, true]),
        ("-m conntrack --ctstate UNTRACKED", [false, false, true, false]),
        ("-m conntrack --ctstate INVALID", [false, false, false, true]),
        ("-m conntrack --ctstate DNAT", [true, true, false, false]),
        ("-m conntrack --ctstate SNAT", [false, false, false, false]),
        ("-m conntrack ! --ctstate DNAT", [false, false, true, true]),
        ("-m state --state NEW,INVALID", [true, false, false, true]),
        ("-m conntrack --ctstatus SEEN_REPLY", [false, true, false, false]),
        ("-m conntrack --ctstatus CONFIRMED", [false, true, false, false]),
        ("-m conntrack ! --ctstatus CONFIRMED", [true, false, false, false]),
        ("-m conntrack --ctstatus NONE", [false, false, false, false]),
        ("-m conntrack --ctdir ORIGINAL", [true, false, false, false]),
        ("-m conntrack --ctdir REPLY", [false, true, false, false]),
        ("-m conntrack --ctproto tcp", [true, true, false, false]),
        ("-m conntrack ! --ctproto tcp", [false, false, false, false]),
        ("-m conntrack --ctorigdst 10.96.0.0/16", [true, true, false, false]),
        ("-m conntrack --ctorigdst 10.96.0.10/16", [false, false, false, false]),
        ("-m conntrack --ctorigsrc 10.1.2.3 --ctorigsrcport 1024", [true, true, false, false]),
        ("-m conntrack ! --ctorigdstport 80", [false, false, false, false]),
        ("-m conntrack --ctreplsrc 192.168.0.5 --ctreplsrcport 8000:9000", [true, true, false, false]),
        ("-m conntrack --ctrepldst 10.1.2.3 --ctrepldstport 1024", [true, true, false, false]),
        ("-m conntrack --ctstate NEW --ctorigdstport 80", [true, false, false, false]),
        ("-m conntrack --ctstate UNTRACKED --ctorigdstport 81", [false, false, true, false]),
        ("-m conntrack --ctdir REPLY --ctexpire 60", [false, true, false, false]),
        ("-m conntrack --ctdir REPLY ! --ctexpire :59", [false, true, false, false]),
        ("-m conntrack --ctdir REPLY --ctexpire 61:", [false, false, false, false]),
    ] {
        let mut net = Net::new(&format!(
            "*filter\n-A FORWARD {conditions} -j DROP\nCOMMIT\n*nat\n-A PREROUTING -p tcp -j DNAT --to-destination 192.168.0.5:8080\nCOMMIT\n"
        ));
        let says = |net: &mut Net, packet: &mut Packet| {
            net.eval(TableKind::Filter, Hook::Forward, packet) != Verdict::Accept
        };
        let mut syn = net.packet(&tcp("S"));
        net.track(Hook::Prerouting, &mut syn);
        assert_eq!(net.nat(Hook::Prerouting, &mut syn), Verdict::Accept);
        let of_syn = says(&mut net, &mut syn);
        net.at(Hook::Postrouting, |_, ctx| assert_eq!(nf_conntrack_confirm(ctx, &mut syn), Verdict::Accept));
        let answer = Seg::new("192.168.0.5:8080", "10.1.2.3:1024", "S.").bytes();
        let mut answer = net.packet(&answer);
        net.track(Hook::Prerouting, &mut answer);
        let mut untracked = net.packet(&tcp("S"));
        untracked.meta.ct = PacketCt::Untracked;
        let mut invalid = net.packet(&tcp("S"));
        let found = [
            of_syn,
            says(&mut net, &mut answer),
            says(&mut net, &mut untracked),
            says(&mut net, &mut invalid),
        ];
        assert_eq!(found, expected, "{conditions}");
    }
}
