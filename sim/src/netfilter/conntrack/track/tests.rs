use crate::ct::{PacketCt, TcpState};
use crate::hook::{Hook, Verdict};
use crate::netfilter::conntrack::{StateBits, state_bits};
use crate::netfilter::fixture::{Fixture, Path, Rules, Seg, echo, entry_of, icmp_error, ip, ipv4, udp};
use crate::time::Duration;
use crate::wire::protocol;
use proptest::prelude::*;

const CLIENT: &str = "10.0.0.1:40000";
const SERVER: &str = "192.168.0.1:80";

/// D-08: a packet dropped by a rule leaves no entry; the next packet of its flow is NEW.
#[test]
fn an_entry_is_found_only_after_its_packet_came_through() {
    let mut netns = Fixture::new();
    let dropped = netns.pass(&udp(CLIENT, SERVER), Path::DroppedInForward, &Rules::NONE);
    assert_eq!(dropped.state(), "NEW");
    assert!(netns.conntrack.is_empty());
    let passed = netns.pass(&udp(CLIENT, SERVER), Path::Forward, &Rules::NONE);
    assert_eq!(passed.state(), "NEW");
    assert_eq!(
        netns.list(),
        ["udp      17 30 src=10.0.0.1 dst=192.168.0.1 sport=40000 dport=80 [UNREPLIED] \
          src=192.168.0.1 dst=10.0.0.1 sport=80 dport=40000 mark=0 use=1"]
    );
}

/// D-49: through the loopback device a packet is seen twice with the same entry.
#[test]
fn a_packet_that_was_seen_is_not_tracked_again() {
    let mut netns = Fixture::new();
    let mut packet = netns.packet(&udp("127.0.0.1:1", "127.0.0.1:2"));
    assert_eq!(netns.walk(&mut packet, Path::Out, &Rules::NONE), Verdict::Accept);
    let seen = packet.meta.ct;
    assert_eq!(netns.walk(&mut packet, Path::In, &Rules::NONE), Verdict::Accept);
    assert_eq!(packet.meta.ct, seen);
    assert_eq!(netns.conntrack.created(), 1);
}

#[test]
fn the_state_of_a_packet_follows_its_flow() {
    let mut netns = Fixture::new();
    let mut state = |bytes: &[u8]| netns.pass(bytes, Path::Forward, &Rules::NONE).state();
    // D-03: until a reply is seen, every packet is NEW.
    assert_eq!(state(&udp(CLIENT, SERVER)), "NEW");
    assert_eq!(state(&udp(CLIENT, SERVER)), "NEW");
    assert_eq!(state(&udp(SERVER, CLIENT)), "ESTABLISHED_REPLY");
    assert_eq!(state(&udp(CLIENT, SERVER)), "ESTABLISHED");
    assert_eq!(state(&echo("10.0.0.1", "192.168.0.1", 8, 7)), "NEW");
    assert_eq!(state(&echo("192.168.0.1", "10.0.0.1", 0, 7)), "ESTABLISHED_REPLY");
    // D-11: a reply without a request.
    assert_eq!(state(&echo("192.168.0.1", "10.0.0.1", 0, 8)), "INVALID");
    assert_eq!(state(&Seg::new(SERVER, CLIENT, "S.").bytes()), "INVALID");
}

#[test]
fn a_copy_of_a_packet_holds_its_entry_as_well() {
    let mut netns = Fixture::new();
    let mut packet = netns.packet(&udp(CLIENT, SERVER));
    netns.at(Hook::Prerouting, |ctx| {
        assert_eq!(super::nf_conntrack_in(ctx, &mut packet), Verdict::Accept);
        ctx.conntrack.hold(&packet);
        ctx.conntrack.release(&packet);
        assert_eq!(ctx.conntrack.len(), 1);
        ctx.conntrack.release(&packet);
        assert_eq!(ctx.conntrack.len(), 0);
    });
}

#[test]
fn a_handshake_leads_to_an_assured_entry() {
    let mut netns = Fixture::new();
    let scale = [1, 3, 3, 7];
    let syn = Seg::new(CLIENT, SERVER, "S").seq(1000, 0).options(&scale).bytes();
    let syn_ack = Seg::new(SERVER, CLIENT, "S.").seq(5000, 1001).options(&scale).bytes();
    let ack = Seg::new(CLIENT, SERVER, "P.").seq(1001, 5001).window(502).len(100).bytes();
    let first = netns.pass(&syn, Path::Forward, &Rules::NONE);
    assert_eq!(netns.conntrack.entry(first.entry()).unwrap().tcp_state(), Some(TcpState::SynSent));
    netns.pass(&syn_ack, Path::Forward, &Rules::NONE);
    netns.pass(&ack, Path::Forward, &Rules::NONE);
    assert_eq!(netns.only().tcp_state(), Some(TcpState::Established));
    // The data has not been acknowledged yet: D-13.
    netns.sleep(0.5);
    assert_eq!(
        netns.list(),
        ["tcp      6 299 ESTABLISHED src=10.0.0.1 dst=192.168.0.1 sport=40000 dport=80 \
          src=192.168.0.1 dst=10.0.0.1 sport=80 dport=40000 [ASSURED] mark=0 use=1"]
    );
}

#[test]
fn an_error_is_related_to_the_flow_that_it_quotes() {
    let mut netns = Fixture::new();
    let request = udp(CLIENT, SERVER);
    netns.pass(&request, Path::Forward, &Rules::NONE);
    let error = icmp_error("192.168.0.1", "10.0.0.1", (3, 3), &request);
    assert_eq!(netns.pass(&error, Path::Forward, &Rules::NONE).state(), "RELATED_REPLY");
    // D-15: it is addressed to a host that is not part of the flow.
    let stray = icmp_error("192.168.0.1", "10.0.0.9", (3, 3), &request);
    assert_eq!(netns.pass(&stray, Path::Forward, &Rules::NONE).state(), "INVALID");
    assert_eq!(netns.last_invalid(), Some("an ICMP error about a flow that is not known"));
}

/// A packet with a wrong checksum is INVALID on input, unless `nf_conntrack_checksum` is off.
#[test]
fn a_wrong_checksum_is_invalid() {
    let sctp = ipv4(ip("10.0.0.1"), ip("192.168.0.1"), protocol::SCTP, &[0, 1, 0, 2, 0, 0, 0, 0, 9, 9, 9, 9]);
    for (name, mut bytes, why) in [
        ("TCP", Seg::new(CLIENT, SERVER, "S").bytes(), "a TCP segment with a wrong checksum"),
        ("UDP", udp(CLIENT, SERVER), "a UDP datagram with a wrong checksum"),
        ("ICMP", echo("10.0.0.1", "192.168.0.1", 8, 7), "an ICMP message with a wrong checksum"),
        ("SCTP", sctp, "an SCTP packet with a wrong checksum"),
    ] {
        *bytes.last_mut().unwrap() ^= 1;
        let state = |is_checked: bool, path| {
            let mut netns = Fixture::new();
            netns.sysctls.conntrack.checksum = is_checked;
            let state = netns.pass(&bytes, path, &Rules::NONE).state();
            (state, netns.last_invalid())
        };
        assert_eq!(state(true, Path::Forward), ("INVALID", Some(why)), "{name}");
        if name != "SCTP" {
            assert_eq!(state(false, Path::Forward), ("NEW", None), "{name}");
            // Locally generated packets are not checked.
            assert_eq!(state(true, Path::Out), ("NEW", None), "{name}");
        }
    }
}

/// D-23: after the firewall has sent a RST the flow is closed, and a new SYN passes like one of a closed flow.
#[test]
fn a_reset_by_the_firewall_closes_the_flow() {
    let mut netns = Fixture::new();
    netns.pass(&Seg::new(CLIENT, SERVER, "S").seq(1000, 0).bytes(), Path::Forward, &Rules::NONE);
    netns.pass(&Seg::new(SERVER, CLIENT, "S.").seq(5000, 1001).bytes(), Path::Forward, &Rules::NONE);
    let mut refused = netns.packet(&Seg::new(CLIENT, SERVER, ".").seq(1001, 5001).bytes());
    assert_eq!(netns.walk(&mut refused, Path::DroppedInForward, &Rules::NONE), Verdict::Accept);
    assert_eq!(netns.only().tcp_state(), Some(TcpState::Established));
    let timeouts = netns.sysctls.conntrack.timeouts.clone();
    let now = netns.now;
    netns.conntrack.set_closing(&refused.meta, &timeouts, now);
    assert_eq!(netns.only().tcp_state(), Some(TcpState::Close));
    assert_eq!(netns.only().remaining(netns.now), Duration::from_secs(10));
}

/// An unconfirmed flow ends with its packet; there is nothing to close.
#[test]
fn a_reset_of_an_unconfirmed_flow_changes_nothing() {
    let mut netns = Fixture::new();
    let mut refused = netns.packet(&Seg::new(CLIENT, SERVER, "S").bytes());
    assert_eq!(netns.walk(&mut refused, Path::DroppedInForward, &Rules::NONE), Verdict::Accept);
    let timeouts = netns.sysctls.conntrack.timeouts.clone();
    let now = netns.now;
    netns.conntrack.set_closing(&refused.meta, &timeouts, now);
    let id = entry_of(refused.meta.ct);
    assert_eq!(netns.conntrack.entry(id).unwrap().tcp_state(), Some(TcpState::SynSent));
}

/// NOTRACK.
#[test]
fn an_untracked_packet_stays_so() {
    let mut netns = Fixture::new();
    let mut packet = netns.packet(&udp(CLIENT, SERVER));
    packet.meta.ct = PacketCt::Untracked;
    assert_eq!(netns.walk(&mut packet, Path::Forward, &Rules::dnat("192.168.0.2:1")), Verdict::Accept);
    assert_eq!(packet.meta.ct, PacketCt::Untracked);
    assert_eq!(packet.l3(), udp(CLIENT, SERVER));
    assert_eq!(state_bits(&netns.conntrack, &packet), StateBits::UNTRACKED);
}

/// A fragment has no ports to track; locally generated fragments pass (`IP_NODEFRAG`).
#[test]
fn fragments_are_not_tracked() {
    let mut later = udp(CLIENT, SERVER);
    later[7] = 1;
    for (path, invalid) in [(Path::Forward, 1), (Path::Out, 0)] {
        let mut netns = Fixture::new();
        assert_eq!(netns.pass(&later, path, &Rules::NONE).state(), "INVALID");
        assert_eq!(netns.conntrack.counters().invalid, invalid);
    }
}

fn any_l4() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let number = prop::sample::select(vec![1_u8, 6, 17, 132, 47]);
    // Small first bytes yield valid chunk, message and option types.
    let byte = prop_oneof![3 => 0_u8..20, 1 => any::<u8>()];
    (number, prop::collection::vec(byte, 0..80))
}

proptest! {
    /// Whatever the bytes are, nothing panics, no entry is lost, and untranslated packets are not changed.
    #[test]
    fn any_bytes_can_pass(packets in prop::collection::vec((any_l4(), any::<bool>()), 1..12)) {
        let mut netns = Fixture::new();
        netns.sysctls.conntrack.checksum = false;
        let rules = Rules { snat: Rules::masquerade().snat, ..Rules::dnat("192.168.0.2:8080") };
        for ((number, l4), is_reply) in packets {
            let (src, dst) = if is_reply { ("192.168.0.2", "192.168.0.254") } else { ("10.0.0.1", "192.168.0.1") };
            let bytes = ipv4(ip(src), ip(dst), number, &l4);
            let passed = netns.pass(&bytes, Path::Forward, &rules);
            prop_assert!(passed.state() != "INVALID" || passed.bytes == bytes);
            prop_assert_eq!(netns.conntrack.len(), netns.conntrack.iter_sorted(netns.now).len());
        }
    }
}
