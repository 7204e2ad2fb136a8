use crate::netfilter::conntrack::TcpState;
use crate::netfilter::fixture::{Fixture, Path, Rules, Seg, echo, icmp_error, udp};
use crate::netfilter::{Hook, Verdict};

const CLIENT: &str = "10.0.0.1:40000";
const SERVER: &str = "192.168.0.1:80";

/// D-08: a packet that a rule drops leaves nothing behind; the next one of its flow is as new as it was.
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

/// D-49: over the loopback, a packet is seen twice with the same entry.
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
    // D-11: an answer to nothing.
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
    // D-15: it goes where no packet of that flow would go.
    let stray = icmp_error("192.168.0.1", "10.0.0.9", (3, 3), &request);
    assert_eq!(netns.pass(&stray, Path::Forward, &Rules::NONE).state(), "INVALID");
    assert_eq!(netns.last_invalid(), Some("an ICMP error about a flow that is not known"));
}
