use super::*;
use crate::device::Devices;
use crate::draws::{Enumerate, Recorded};
use std::net::Ipv4Addr;

const PORT_UNREACHABLE: IcmpMessage = IcmpMessage {
    icmp_type: 3,
    code: 3,
    peer: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
    is_about_loopback: false,
    leaves_by_loopback: false,
};

/// Draws with which each message takes one credit.
fn average() -> Draws {
    let one = Recorded { owner: NetnsId(0), purpose: Purpose::IcmpCredit, source: None, value: 1 };
    let mut draws = Draws::seeded(0);
    draws.replay(std::iter::repeat_n(one, 10_000));
    draws
}

fn at_millis(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// The number of messages allowed out of `count` at each of these times.
fn check(settings: &[(&str, &str)], message: IcmpMessage, at: &[(u64, usize)], expected: &[usize]) {
    let mut sysctls = Sysctls::default();
    for (name, value) in settings {
        sysctls.set(&Devices::default(), name, value).unwrap();
    }
    let mut limit = IcmpLimit::default();
    let mut draws = average();
    let sent: Vec<_> = at
        .iter()
        .map(|&(millis, count)| {
            (0..count)
                .filter(|_| limit.allow(&mut draws, NetnsId(0), at_millis(millis), &sysctls, &message))
                .count()
        })
        .collect();
    assert_eq!(sent, expected, "{settings:?} {message:?} {at:?}");
}

#[test]
fn d23_a_peer_gets_six_at_once_then_one_a_second() {
    check(&[], PORT_UNREACHABLE, &[(0, 20)], &[6]);
    check(&[], PORT_UNREACHABLE, &[(0, 20), (999, 5), (1_000, 5), (1_999, 5)], &[6, 0, 1, 0]);
    check(&[], PORT_UNREACHABLE, &[(0, 20), (3_500, 20), (60_000, 20)], &[6, 3, 6]);
}

#[test]
fn d23_what_is_exempt() {
    let loopback = IcmpMessage { leaves_by_loopback: true, ..PORT_UNREACHABLE };
    let looped = IcmpMessage { is_about_loopback: true, ..PORT_UNREACHABLE };
    // The bucket of the netns holds 50 tokens and limits what leaves through the loopback device, unless it was also
    // received there.
    check(&[], loopback, &[(0, 100)], &[50]);
    check(&[], looped, &[(0, 100)], &[100]);
    check(&[], IcmpMessage { code: 4, ..PORT_UNREACHABLE }, &[(0, 100)], &[100]);
    check(&[], IcmpMessage { icmp_type: 0, code: 0, ..PORT_UNREACHABLE }, &[(0, 100)], &[100]);
    check(&[], IcmpMessage { icmp_type: 11, code: 0, ..PORT_UNREACHABLE }, &[(0, 100)], &[6]);
}

#[test]
fn sysctls_change_the_limits() {
    check(&[("net.ipv4.icmp_ratelimit", "0")], PORT_UNREACHABLE, &[(0, 100)], &[50]);
    check(&[("net.ipv4.icmp_ratelimit", "100")], PORT_UNREACHABLE, &[(0, 20), (100, 5)], &[6, 1]);
    check(&[("net.ipv4.icmp_ratemask", "0")], PORT_UNREACHABLE, &[(0, 100)], &[100]);
    let unlimited_peer = ("net.ipv4.icmp_ratelimit", "0");
    check(&[unlimited_peer, ("net.ipv4.icmp_msgs_burst", "5")], PORT_UNREACHABLE, &[(0, 9)], &[5]);
    check(
        &[unlimited_peer, ("net.ipv4.icmp_msgs_per_sec", "100")],
        PORT_UNREACHABLE,
        &[(0, 100), (19, 9), (20, 9), (120, 99)],
        &[50, 0, 2, 10],
    );
}

#[test]
fn the_bucket_of_the_netns_spans_peers() {
    let sysctls = Sysctls::default();
    let mut limit = IcmpLimit::default();
    let mut draws = average();
    let allowed = (0..=255)
        .filter(|host| {
            let peer = IpAddr::from([10, 0, 1, *host]);
            limit.allow(
                &mut draws,
                NetnsId(0),
                at_millis(0),
                &sysctls,
                &IcmpMessage { peer, ..PORT_UNREACHABLE },
            )
        })
        .count();
    assert_eq!(allowed, 50);
}

#[test]
fn route_errors_take_from_the_same_bucket() {
    let sysctls = Sysctls::default();
    let mut limit = IcmpLimit::default();
    let mut draws = average();
    let peer = PORT_UNREACHABLE.peer;
    let allowed = (0..20)
        .filter(|_| {
            limit.allow_route_error(at_millis(0), peer)
                && limit.allow(&mut draws, NetnsId(0), at_millis(0), &sysctls, &PORT_UNREACHABLE)
        })
        .count();
    // Five tokens, two per message: the third message finds one token for its first limit and none for the second.
    assert_eq!(allowed, 2);
}

#[test]
fn an_error_that_costs_nothing_leaves_no_tokens_for_a_route_error() {
    let mut sysctls = Sysctls::default();
    sysctls.set(&Devices::default(), "net.ipv4.icmp_ratelimit", "0").unwrap();
    let mut limit = IcmpLimit::default();
    let mut draws = average();
    assert!(limit.allow(&mut draws, NetnsId(0), at_millis(0), &sysctls, &PORT_UNREACHABLE));
    assert!(!limit.allow_route_error(at_millis(999), PORT_UNREACHABLE.peer));
    assert!(limit.allow_route_error(at_millis(1_000), PORT_UNREACHABLE.peer));
}

/// The error is sent in the same tick as the route check; tokens are capped in the next tick.
#[test]
fn within_a_tick_an_error_that_costs_nothing_leaves_what_there_was() {
    let mut sysctls = Sysctls::default();
    sysctls.set(&Devices::default(), "net.ipv4.icmp_ratelimit", "0").unwrap();
    let mut limit = IcmpLimit::default();
    let mut draws = average();
    let peer = PORT_UNREACHABLE.peer;
    for millis in [0, 0, 300] {
        assert!(limit.allow_route_error(at_millis(millis), peer), "at {millis} ms");
        assert!(limit.allow(&mut draws, NetnsId(0), at_millis(millis), &sysctls, &PORT_UNREACHABLE));
    }
    assert!(limit.allow(&mut draws, NetnsId(0), at_millis(301), &sysctls, &PORT_UNREACHABLE));
    assert!(!limit.allow_route_error(at_millis(301), peer));
}

/// The times, in milliseconds, at which a redirect may be sent.
fn check_redirects(at: &[u64], expected: &[u64]) {
    let mut limit = IcmpLimit::default();
    let sent: Vec<_> =
        at.iter().filter(|millis| limit.allow_redirect(at_millis(**millis), PORT_UNREACHABLE.peer)).collect();
    assert_eq!(sent, expected.iter().collect::<Vec<_>>());
}

#[test]
fn redirects_become_rare_and_then_stop() {
    check_redirects(&[0, 0, 40, 41, 121, 122], &[0, 41, 122]);
    let every_second: Vec<_> = (0..60).map(|second| second * 1_000).collect();
    check_redirects(&every_second, &[0, 1_000, 2_000, 3_000, 4_000, 5_000, 7_000, 10_000, 16_000]);
    // Only silence lifts the ban.
    let nine = [0, 1_000, 2_000, 3_000, 4_000, 5_000, 7_000, 10_000, 16_000];
    check_redirects(&[&nine[..], &[27_000, 47_480, 67_961]].concat(), &[&nine[..], &[67_961]].concat());
}

#[test]
fn a_redirect_holds_errors_back_for_a_second() {
    let sysctls = Sysctls::default();
    let mut limit = IcmpLimit::default();
    let mut draws = average();
    let peer = PORT_UNREACHABLE.peer;
    assert!(limit.allow_redirect(at_millis(0), peer));
    assert!(!limit.allow(&mut draws, NetnsId(0), at_millis(999), &sysctls, &PORT_UNREACHABLE));
    assert!(limit.allow(&mut draws, NetnsId(0), at_millis(1_000), &sysctls, &PORT_UNREACHABLE));
}

#[test]
fn a_burst_is_fifty_messages_on_average() {
    let mut sysctls = Sysctls::default();
    sysctls.set(&Devices::default(), "net.ipv4.icmp_ratelimit", "0").unwrap();
    let burst = |seed| {
        let (mut limit, mut draws) = (IcmpLimit::default(), Draws::seeded(seed));
        (0..500)
            .filter(|_| limit.allow(&mut draws, NetnsId(0), at_millis(0), &sysctls, &PORT_UNREACHABLE))
            .count()
    };
    let bursts: Vec<usize> = (0..200).map(burst).collect();
    let sum: usize = bursts.iter().sum();
    assert!((200 * 49..200 * 53).contains(&sum), "{sum} in 200 bursts");
    assert!(bursts.iter().min() < Some(&48) && bursts.iter().max() > Some(&54), "{bursts:?}");
}

#[test]
fn whoever_follows_decides_when_the_credit_may_be_used_up() {
    let mut sysctls = Sysctls::default();
    for (name, value) in [("net.ipv4.icmp_ratelimit", "0"), ("net.ipv4.icmp_msgs_burst", "3")] {
        sysctls.set(&Devices::default(), name, value).unwrap();
    }
    // The numbers of allowed messages on all paths through four of them: two use up four credits, at most.
    let mut counts = Vec::new();
    let mut next = Some(Enumerate::first());
    while let Some(path) = next {
        let (mut limit, mut draws) = (IcmpLimit::default(), average());
        draws.enumerate(path);
        let count = (0..4)
            .filter(|_| limit.allow(&mut draws, NetnsId(0), at_millis(0), &sysctls, &PORT_UNREACHABLE))
            .count();
        counts.push(count);
        let path = draws.enumerated().unwrap();
        assert_eq!(path.weight(), None, "its probability is unknown");
        next = path.next_path();
    }
    counts.sort_unstable();
    assert_eq!(counts, [2, 3, 4]);
}
