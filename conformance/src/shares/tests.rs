use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::observation::{Refusal, Transport};
use crate::scenario::ObjectName;

fn pod(name: &str) -> EndpointName {
    EndpointName::Pod(ObjectName::new("default", name))
}

fn flow(outcome: Outcome, endpoint: Option<&str>) -> FlowObservation {
    FlowObservation {
        from: "client".into(),
        to: "service/web".into(),
        protocol: Transport::Tcp,
        outcome,
        via: None,
        connection: None,
        endpoint: endpoint.map(pod),
        source_seen: None,
        reply_from: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        answered: None,
        status: None,
    }
}

fn ratio(numerator: u64, denominator: u64) -> Weight {
    assert!(denominator.is_power_of_two());
    Weight::new(numerator, denominator.ilog2())
}

/// Three endpoints, chosen by chained `statistic` rules.
fn thirds() -> Distribution {
    let mut distribution = Distribution::default();
    let first = ratio(715_827_883, 1 << 31);
    let rest = ratio((1 << 31) - 715_827_883, 1 << 32);
    for (name, weight) in [("web-0", &first), ("web-1", &rest), ("web-2", &rest)] {
        distribution.add(Outcome::Connected, Some(pod(name)), weight);
    }
    distribution
}

fn share(text: &str) -> Share {
    Share::parse(text).unwrap()
}

fn expected(shares: &[(&str, &str)]) -> Vec<(EndpointName, Share)> {
    shares.iter().map(|(name, text)| (pod(name), share(text))).collect()
}

fn lines(failures: &[Failure]) -> String {
    failures.iter().map(|failure| format!("{failure}\n")).collect()
}

#[test]
fn rules_are_as_exact_as_they_can_be() {
    let flows: Vec<_> = ["web-0", "web-1", "web-2"].map(|name| flow(Outcome::Connected, Some(name))).into();
    // (expected shares, failures)
    let cases: [(&[(&str, &str)], usize); 4] = [
        (&[("web-0", "1/3"), ("web-1", "1/3"), ("web-2", "1/3")], 0),
        (&[("web-0", "0.3333333"), ("web-1", "1/3"), ("web-2", "1/3")], 1),
        (&[("web-0", "1/2"), ("web-1", "1/2")], 4),
        (&[("web-0", "1/3"), ("web-1", "1/3")], 2),
    ];
    for (shares, failure_count) in cases {
        let expected = expected(shares);
        let shares = endpoint_shares(&flows, Some(&thirds()), Some(&expected));
        let failures = check_endpoints(&shares);
        assert_eq!(failures.len(), failure_count, "{expected:?}:\n{}", lines(&failures));
    }
    let shares =
        endpoint_shares(&flows, Some(&thirds()), Some(&expected(&[("web-0", "1/2"), ("web-1", "1/2")])));
    insta::assert_snapshot!(lines(&check_endpoints(&shares)));
}

#[test]
fn without_exact_weights_counts_decide() {
    let many =
        |count: u32, name: &str| vec![flow(Outcome::Connected, Some(name)); usize::try_from(count).unwrap()];
    // (connections by endpoint, whether they fit 1/2 and 1/2)
    for (counts, goes_well) in
        [([32, 32], true), ([20, 44], true), ([2, 62], false), ([64, 0], false), ([1, 0], true)]
    {
        let flows = [many(counts[0], "web-0"), many(counts[1], "web-1")].concat();
        let expected = expected(&[("web-0", "1/2"), ("web-1", "1/2")]);
        let failures = check_endpoints(&endpoint_shares(&flows, None, Some(&expected)));
        assert_eq!(failures.is_empty(), goes_well, "{counts:?}:\n{}", lines(&failures));
    }
    let stranger = endpoint_shares(&many(3, "web-9"), None, Some(&expected(&[("web-0", "1")])));
    assert!(
        lines(&check_endpoints(&stranger)).contains("pod/web-9 to answer 0 of all connections, found 3 of 3")
    );
}

#[test]
fn outcomes_have_shares_too() {
    let mut distribution = Distribution::default();
    distribution.add(Outcome::Connected, Some(pod("web-0")), &ratio(3, 4));
    distribution.add(Outcome::Refused(Refusal::TcpReset), None, &ratio(1, 4));
    let flows = [flow(Outcome::Connected, Some("web-0")), flow(Outcome::Refused(Refusal::TcpReset), None)];
    let check = |shares: &[(&str, &str)]| {
        let expected: Vec<_> =
            shares.iter().map(|(name, text)| (OutcomePattern::parse(name).unwrap(), share(text))).collect();
        lines(&check_outcomes(&flows, Some(&distribution), &expected))
    };
    assert_eq!(check(&[("connected", "3/4"), ("refused", "1/4")]), "");
    assert_eq!(check(&[("connected", "3/4"), ("refused/tcp-reset", "1/4")]), "");
    insta::assert_snapshot!(check(&[("connected", "1/3"), ("timeout", "2/3")]));
}

#[test]
fn shares_name_the_expected_endpoints_first_and_nobody_last() {
    let flows = [
        flow(Outcome::Timeout, None),
        flow(Outcome::Connected, Some("a")),
        flow(Outcome::Connected, Some("c")),
    ];
    let shares = endpoint_shares(&flows, None, Some(&expected(&[("c", "1/2"), ("b", "0")])));
    let rows: Vec<_> = shares
        .iter()
        .map(|share| (share.endpoint.as_ref().map(ToString::to_string), share.count, share.total))
        .collect();
    let name = |text: &str| Some(format!("pod/{text}"));
    assert_eq!(rows, [(name("c"), 1, 3), (name("b"), 0, 3), (name("a"), 1, 3), (None, 1, 3)]);
    assert!((shares[0].sampled() - 1.0 / 3.0).abs() < 1e-12);
}

#[test]
fn weights_are_approximated_for_people() {
    for (numerator, denominator) in [(0, 1), (1, 1), (1, 4), (715_827_883, 1 << 31)] {
        let exact = numerator as f64 / denominator as f64;
        assert!((approximation(&ratio(numerator, denominator)) - exact).abs() < 1e-15);
    }
}
