use super::nf_conntrack_confirm;
use crate::ct::{CtStatus, PacketCt};
use crate::drop_reason::DropReason;
use crate::hook::{Hook, Verdict};
use crate::netfilter::fixture::{Fixture, Path, Rules, Seg, udp};
use crate::packet::Packet;

const CLIENT: &str = "10.0.0.1:40000";
const SERVER: &str = "192.168.0.1:80";

/// Processes a packet up to, but not including, confirmation.
fn begin(netns: &mut Fixture, bytes: &[u8], rules: &Rules) -> Packet {
    let mut packet = netns.packet(bytes);
    assert_eq!(netns.walk(&mut packet, Path::DroppedInForward, rules), Verdict::Accept);
    packet
}

fn confirm(netns: &mut Fixture, packet: &mut Packet) -> Verdict {
    assert_eq!(netns.nat(Hook::Postrouting, packet, &Rules::NONE), Verdict::Accept);
    netns.at(Hook::Postrouting, |ctx| nf_conntrack_confirm(ctx, packet))
}

/// D-09: of two TCP packets that start the same flow concurrently, the second is dropped.
#[test]
fn tcp_clashes_are_not_resolved() {
    let mut netns = Fixture::new();
    let syn = Seg::new(CLIENT, SERVER, "S").bytes();
    let [mut first, mut second] = [(), ()].map(|()| begin(&mut netns, &syn, &Rules::NONE));
    assert_eq!(confirm(&mut netns, &mut first), Verdict::Accept);
    assert_eq!(confirm(&mut netns, &mut second), Verdict::Drop(DropReason::ConntrackInsertFailed));
    let counters = netns.conntrack.counters();
    assert_eq!((counters.insert_failed, counters.drop, counters.clash_resolve), (1, 1, 0));
}

/// D-09: the second of two UDP packets joins the entry of the first.
#[test]
fn identical_udp_flows_are_merged() {
    let mut netns = Fixture::new();
    let datagram = udp(CLIENT, SERVER);
    let [mut first, mut second] = [(), ()].map(|()| begin(&mut netns, &datagram, &Rules::NONE));
    assert_ne!(first.meta.ct, second.meta.ct);
    assert_eq!(confirm(&mut netns, &mut first), Verdict::Accept);
    assert_eq!(confirm(&mut netns, &mut second), Verdict::Accept);
    assert_eq!(first.meta.ct, second.meta.ct);
    assert_eq!(netns.conntrack.len(), 1);
    assert_eq!(netns.conntrack.counters().clash_resolve, 1);
}

/// D-09, since Linux 6.12: a request and a response that cross are one flow.
#[test]
fn udp_flows_seen_from_both_ends_are_merged() {
    let mut netns = Fixture::new();
    let mut first = begin(&mut netns, &udp(CLIENT, SERVER), &Rules::NONE);
    let mut second = begin(&mut netns, &udp(SERVER, CLIENT), &Rules::NONE);
    assert_eq!(confirm(&mut netns, &mut first), Verdict::Accept);
    assert_eq!(confirm(&mut netns, &mut second), Verdict::Accept);
    assert_eq!(first.meta.ct, second.meta.ct);
    // The source port of the second was not changed because of the first.
    assert_eq!(second.headers().unwrap().l4.ports(), Some((80, 40_000)));
}

/// D-09: DNAT sent the same request to two servers (DNS over two sockets with one port). The second entry lives for a
/// second, can receive a reply, and is not listed.
#[test]
fn udp_flows_that_differ_in_their_replies_both_pass() {
    let mut netns = Fixture::new();
    let datagram = udp(CLIENT, SERVER);
    let mut first = begin(&mut netns, &datagram, &Rules::dnat("192.168.0.2:53"));
    let mut second = begin(&mut netns, &datagram, &Rules::dnat("192.168.0.3:53"));
    assert_eq!(confirm(&mut netns, &mut first), Verdict::Accept);
    assert_eq!(confirm(&mut netns, &mut second), Verdict::Accept);
    assert_ne!(first.meta.ct, second.meta.ct);
    let PacketCt::Entry { id: loser, .. } = second.meta.ct else { panic!("the loser has an entry") };
    assert!(netns.conntrack.entry(loser).unwrap().status().contains(CtStatus::NAT_CLASH));
    assert_eq!(netns.list().len(), 1);
    for packet in [&first, &second] {
        netns.conntrack.release(packet);
    }
    // Both servers reply, and both replies are translated.
    for server in ["192.168.0.2:53", "192.168.0.3:53"] {
        let answer = netns.pass(&udp(server, CLIENT), Path::Forward, &Rules::NONE);
        assert_eq!(answer.ends(), "192.168.0.1:80 > 10.0.0.1:40000");
    }
    // The client's next packet belongs to the winner.
    let next = netns.pass(&datagram, Path::Forward, &Rules::NONE);
    assert_eq!(next.ends(), "10.0.0.1:40000 > 192.168.0.2:53");
    // Replies do not refresh the loser (D-14: nor make it ASSURED).
    netns.sleep(1.0);
    let late = netns.pass(&udp("192.168.0.3:53", CLIENT), Path::Forward, &Rules::NONE);
    assert_eq!(late.state(), "NEW");
}

/// The reply tuple belongs to another flow: replies could not be distinguished.
#[test]
fn a_reply_that_is_taken_cannot_be_resolved() {
    let mut netns = Fixture::new();
    let mut first = begin(&mut netns, &udp(CLIENT, "192.168.0.8:80"), &Rules::dnat("192.168.0.2:53"));
    let mut second = begin(&mut netns, &udp(CLIENT, "192.168.0.9:80"), &Rules::dnat("192.168.0.2:53"));
    // Neither has a source binding when the other gets its own, as if on two CPUs.
    for packet in [&mut first, &mut second] {
        netns.has_nat = false;
        netns.conntrack.hold(packet);
    }
    let results = [&mut first, &mut second]
        .map(|packet| netns.at(Hook::Postrouting, |ctx| nf_conntrack_confirm(ctx, packet)));
    assert_eq!(results, [Verdict::Accept, Verdict::Drop(DropReason::ConntrackInsertFailed)]);
}

/// D-23: the RST or ICMP error of a REJECT rule does not confirm the entry of the rejected packet.
#[test]
fn an_answer_confirms_nothing() {
    let mut netns = Fixture::new();
    let refused = begin(&mut netns, &udp(CLIENT, SERVER), &Rules::NONE);
    let mut answer = netns.packet(&udp(SERVER, CLIENT));
    netns.conntrack.attach(&mut answer, &refused.meta);
    assert_eq!(netns.walk(&mut answer, Path::Out, &Rules::NONE), Verdict::Accept);
    assert!(netns.list().is_empty());
    for packet in [&refused, &answer] {
        netns.conntrack.release(packet);
    }
    assert!(netns.conntrack.is_empty());
}
