use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::observation::{EndpointName, Outcome, Refusal, Transport};
use crate::scenario::ObjectName;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 1, 2));
const BRIDGE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 1, 1));

fn pod(name: &str) -> EndpointName {
    EndpointName::Pod(ObjectName::new("default", name))
}

fn flow(outcome: Outcome, answer: Option<(&str, IpAddr)>) -> FlowObservation {
    FlowObservation {
        from: "pod/client".into(),
        to: "service/web".into(),
        protocol: Transport::Tcp,
        outcome,
        via: None,
        connection: None,
        endpoint: answer.map(|(name, _)| pod(name)),
        source_seen: answer.map(|(_, seen)| seen),
        reply_from: answer.map(|_| CLIENT),
        answered: None,
        status: None,
    }
}

fn addresses(any_of: &[IpAddr]) -> Addresses {
    Addresses { words: "client".into(), any_of: any_of.to_vec() }
}

fn lines(expected: &PreparedExpectation, observed: &Observed) -> Vec<String> {
    check(expected, observed).failures.iter().map(ToString::to_string).collect()
}

#[test]
fn a_name_has_the_addresses_that_are_expected_or_others() {
    let [one, two] = [[10, 244, 1, 2], [10, 244, 1, 3]].map(Ipv4Addr::from);
    let resolved = |is_found, addresses: &[Ipv4Addr], is_truncated| {
        Some(Resolved { is_found, aliases: Vec::new(), addresses: addresses.to_vec(), is_truncated })
    };
    let cut = "a truncated response with the first 2 addresses; a resolver would retry over TCP, which is \
               not modelled";
    for (expected, seen, found) in [
        (&[one, two][..], resolved(true, &[two, one], false), None),
        (&[], resolved(false, &[], false), None),
        (&[one], resolved(true, &[one, two], false), Some("10.244.1.2, 10.244.1.3")),
        (&[one], resolved(false, &[], false), Some("no such name")),
        (&[one], None, Some("no response")),
        // It is unknown whether the missing part is the expected one.
        (&[one, two], resolved(true, &[one, two], true), Some(cut)),
    ] {
        let expectation = PreparedExpectation { addresses: Some(expected.to_vec()), ..Default::default() };
        let observed = Observed { resolved: seen, ..Observed::default() };
        let failures = check(&expectation, &observed).failures;
        let told = failures.first().map(|failure| failure.found.as_str());
        assert_eq!(told, found, "{expected:?} {observed:?}");
    }
}

#[test]
fn every_flow_must_end_as_expected() {
    let connected = flow(Outcome::Connected, Some(("a", CLIENT)));
    let refused = flow(Outcome::Refused(Refusal::TcpReset), None);
    let expected = PreparedExpectation { outcome: Some(OutcomePattern::Connected), ..Default::default() };
    let observed = |flows: &[&FlowObservation]| Observed {
        flows: flows.iter().map(|flow| (*flow).clone()).collect(),
        ..Observed::default()
    };
    assert_eq!(lines(&expected, &observed(&[&connected, &connected])), Vec::<String>::new());
    assert_eq!(
        lines(&expected, &observed(&[&connected, &refused])),
        ["outcome: expected connected, found refused/tcp-reset (1 of 2 connections had another outcome)"]
    );
    // A run may succeed by chance; the exact distribution does not.
    let mut distribution = Distribution::default();
    for (outcome, parts) in [(Outcome::Connected, 3), (Outcome::Timeout, 1)] {
        distribution.add(outcome, None, &Weight::new(parts, 2));
    }
    let lucky = Observed { distribution: Some(distribution), ..observed(&[&connected]) };
    assert_eq!(
        lines(&expected, &lucky),
        ["outcome: expected connected, found timeout with probability 1/4 (0.250000)"]
    );
}

#[test]
fn sources_are_those_of_answered_flows_by_endpoint() {
    let flows = vec![
        flow(Outcome::Connected, Some(("a", BRIDGE))),
        flow(Outcome::Connected, Some(("b", CLIENT))),
        flow(Outcome::Timeout, None),
    ];
    let observed = Observed { flows, ..Observed::default() };
    let check_one = |endpoint: Option<&str>, any_of: &[IpAddr]| {
        let seen = EndpointAddresses { endpoint: endpoint.map(pod), addresses: addresses(any_of) };
        lines(&PreparedExpectation { source_seen: vec![seen], ..Default::default() }, &observed)
    };
    assert_eq!(check_one(None, &[CLIENT, BRIDGE]), Vec::<String>::new());
    assert_eq!(check_one(Some("a"), &[BRIDGE]), Vec::<String>::new());
    assert_eq!(
        check_one(None, &[CLIENT]),
        ["sourceSeen: expected client (10.244.1.2), found 10.244.1.1, seen by pod/a"]
    );
    assert_eq!(
        check_one(Some("c"), &[CLIENT]),
        ["sourceSeen: expected pod/c to see client (10.244.1.2), found no answered connection"]
    );
}

#[test]
fn drops_count_where_they_are_meant_and_flooded_frames_do_not() {
    let node = NetnsName::Node("node-1".into());
    let drop = |reason| DropObservation { netns: node.clone(), reason };
    let check_drops = |reason: Option<&str>, drops: &[DropReason]| {
        let expected = PreparedExpectation {
            dropped: Some((node.clone(), reason.map(str::to_owned))),
            ..Default::default()
        };
        let drops = drops.iter().map(|reason| drop(*reason)).collect();
        lines(&expected, &Observed { drops: Some(drops), ..Observed::default() })
    };
    let none: [String; 0] = [];
    assert_eq!(check_drops(None, &[DropReason::NetfilterDrop]), none);
    assert_eq!(check_drops(Some("NETFILTER_DROP"), &[DropReason::NetfilterDrop]), none);
    assert_eq!(check_drops(Some("SKB_DROP_REASON_NETFILTER_DROP"), &[DropReason::NetfilterDrop]), none);
    assert_eq!(check_drops(Some("LinkLoss"), &[DropReason::LinkLoss]), none);
    assert_eq!(
        check_drops(None, &[DropReason::ArpNotForUs, DropReason::OtherHost]),
        ["dropped: expected a packet to be dropped on node-1, found no dropped packet"]
    );
    assert_eq!(
        check_drops(Some("NO_SOCKET"), &[DropReason::LinkLoss, DropReason::LinkLoss]),
        [
            "dropped: expected a packet to be dropped on node-1 with reason NO_SOCKET, found LinkLoss on node-1"
        ]
    );
    let blind = check(
        &PreparedExpectation { dropped: Some((node.clone(), None)), ..Default::default() },
        &Observed::default(),
    );
    assert_eq!(blind, Evaluation { failures: Vec::new(), unseen: vec![Subject::Dropped] });
}

#[test]
fn conntrack_entries_are_counted_by_what_is_asked() {
    let socket = |text: &str| text.parse::<SocketAddr>().unwrap();
    let entry = |protocol, from: &str, to: &str, is_replied| ConntrackObservation {
        protocol,
        original: (socket(from), socket(to)),
        reply: (socket(to), socket(from)),
        icmp: None,
        tcp_state: None,
        is_replied,
        is_assured: false,
        mark: 0,
        expires_in: Duration::ZERO,
    };
    let table = vec![
        entry(Transport::Udp, "10.244.1.2:40000", "10.96.0.10:53", true),
        entry(Transport::Udp, "10.244.1.2:40001", "10.96.0.10:53", false),
        entry(Transport::Tcp, "10.244.1.2:40000", "10.96.0.10:80", true),
    ];
    let vip: IpAddr = Ipv4Addr::new(10, 96, 0, 10).into();
    let any = ConntrackFilter {
        netns: NetnsName::Node("node-1".into()),
        protocol: None,
        from: None,
        to: None,
        status: None,
        entries: 3,
    };
    let cases = [
        (any.clone(), None),
        (ConntrackFilter { protocol: Some(Transport::Udp), entries: 2, ..any.clone() }, None),
        (ConntrackFilter { to: Some((vip, Some(80))), entries: 1, ..any.clone() }, None),
        (ConntrackFilter { from: Some((CLIENT, Some(40000))), entries: 2, ..any.clone() }, None),
        (ConntrackFilter { status: Some(FlowStatus::Unreplied), entries: 1, ..any.clone() }, None),
        (
            ConntrackFilter {
                status: Some(FlowStatus::Unreplied),
                protocol: Some(Transport::Udp),
                to: Some((vip, None)),
                entries: 0,
                ..any.clone()
            },
            Some(
                "conntrack: expected 0 unreplied udp entries to 10.96.0.10 on node-1, found 1: udp 0 10.244.1.2:40001 -> 10.96.0.10:53 [UNREPLIED], reply 10.96.0.10:53 -> 10.244.1.2:40001",
            ),
        ),
        (
            ConntrackFilter { protocol: Some(Transport::Icmp), entries: 1, ..any.clone() },
            Some("conntrack: expected 1 icmp entry on node-1, found none among 3"),
        ),
    ];
    for (filter, failure) in cases {
        let expected = PreparedExpectation { conntrack: vec![filter], ..Default::default() };
        let observed = Observed { conntrack: vec![Some(table.clone())], ..Observed::default() };
        assert_eq!(lines(&expected, &observed), failure.into_iter().map(str::to_owned).collect::<Vec<_>>());
    }
}
