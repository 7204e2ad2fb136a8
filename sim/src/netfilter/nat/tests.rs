use super::NatRange;
use crate::netfilter::Verdict;
use crate::netfilter::fixture::{ETH0, Fixture, Path, Rules, Seg, ip, udp};
use crate::trace::DropReason;

#[test]
fn replies_are_translated_back() {
    let mut netns = Fixture::new();
    let rules = Rules { snat: Rules::masquerade().snat, ..Rules::dnat("192.168.0.1:8080") };
    let request = netns.pass(&udp("10.0.0.1:40000", "10.96.0.1:80"), Path::Forward, &rules);
    assert_eq!(request.ends(), "192.168.0.254:40000 > 192.168.0.1:8080");
    let reply = netns.pass(&udp("192.168.0.1:8080", "192.168.0.254:40000"), Path::Forward, &Rules::NONE);
    assert_eq!(reply.ends(), "10.96.0.1:80 > 10.0.0.1:40000");
    // D-02: the rules are gone, the binding stays.
    let again = netns.pass(&udp("10.0.0.1:40000", "10.96.0.1:80"), Path::Forward, &Rules::NONE);
    assert_eq!(again.ends(), "192.168.0.254:40000 > 192.168.0.1:8080");
}

/// D-07.
#[test]
fn a_masqueraded_flow_dies_when_its_device_changes() {
    let mut netns = Fixture::new();
    let syn = Seg::new("10.0.0.1:40000", "192.168.0.1:80", "S").bytes();
    netns.pass(&syn, Path::Forward, &Rules::masquerade());
    netns.out_dev = ETH0;
    let moved = netns.pass(&syn, Path::Forward, &Rules::masquerade());
    assert_eq!(moved.verdict, Verdict::Drop(DropReason::NatDeviceChanged));
    assert!(netns.list().is_empty());
    assert!(netns.conntrack.is_empty());
}

/// D-05: without need, SNAT changes no port.
#[test]
fn snat_keeps_a_free_port() {
    let mut netns = Fixture::new();
    let rules = Rules::snat(NatRange::to_addr(ip("192.168.0.7")));
    let packet = netns.pass(&udp("10.0.0.1:40000", "192.168.0.1:53"), Path::Forward, &rules);
    assert_eq!(packet.ends(), "192.168.0.7:40000 > 192.168.0.1:53");
}
