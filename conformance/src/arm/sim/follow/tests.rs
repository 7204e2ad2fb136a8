use std::net::SocketAddr;

use super::*;
use crate::prepare::REQUEST;

fn end(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

/// `SRC > DST` before and after translation.
fn entry(before: [&str; 2], after: [&str; 2]) -> ConntrackObservation {
    ConntrackObservation {
        protocol: Transport::Udp,
        original: (end(before[0]), end(before[1])),
        reply: (end(after[1]), end(after[0])),
        icmp: None,
        tcp_state: None,
        is_replied: false,
        is_assured: false,
        mark: 0,
        expires_in: Duration::ZERO,
    }
}

fn plan() -> FlowPlan {
    FlowPlan {
        from: NetnsName::Host("client".to_owned()),
        from_text: "client".to_owned(),
        client: end("192.168.0.100:0").ip(),
        to: end("192.168.0.11:30053"),
        to_text: "node/node-1:30053".to_owned(),
        transport: Transport::Udp,
        request: REQUEST.to_vec(),
        count: 1,
        source_port: Some(40_000),
        timeout: Duration::from_secs(1),
        via: None,
        keep: None,
    }
}

/// A kernel lists entries in the order of its hash table, which is not that of another one.
#[test]
fn the_order_of_entries_does_not_matter() {
    let of = |host: u8| {
        let before = [&*format!("10.244.1.{host}:40000"), "192.168.0.11:30053"];
        entry(before, before)
    };
    let listed = |entries: Vec<_>| BTreeMap::from([("node-1".to_owned(), entries)]);
    let [one, other] = [vec![of(2), of(3)], vec![of(3), of(2)]]
        .map(|entries| of_exchange(&plan(), listed(entries), without_progress));
    assert_eq!(one["node-1"].len(), 2);
    assert_eq!(one, other);
}

/// node-1 masquerades to node-2, which masquerades again; another flow has the port that node-1 drew as its own.
#[test]
fn entries_are_followed_from_node_to_node() {
    let first =
        entry(["192.168.0.100:40000", "192.168.0.11:30053"], ["192.168.0.11:50000", "192.168.0.12:30054"]);
    let second =
        entry(["192.168.0.11:50000", "192.168.0.12:30054"], ["192.168.0.12:60000", "192.168.0.250:53"]);
    let of_another =
        entry(["10.244.2.2:50000", "192.168.0.12:30054"], ["10.244.2.2:50000", "192.168.0.12:30054"]);
    let tables = BTreeMap::from([
        ("node-1".to_owned(), vec![first.clone()]),
        ("node-2".to_owned(), vec![of_another, second.clone()]),
        ("node-3".to_owned(), vec![]),
    ]);
    let own = BTreeMap::from([
        ("node-1".to_owned(), vec![first]),
        ("node-2".to_owned(), vec![second]),
        ("node-3".to_owned(), vec![]),
    ]);
    assert_eq!(of_exchange(&plan(), tables.clone(), without_progress), own);

    // Counters are read where there is no entry, and every drawn port is known.
    let flow = RawFlow {
        outcome: sim::trace::Outcome::Timeout,
        answer: None,
        reply_from: None,
        resolved: None,
        fetched: None,
    };
    let shown = Shown::new(&plan(), flow, &[], CounterListing::IptablesSave);
    let mut counted = Vec::new();
    let counters = |node: &str| {
        counted.push(node.to_owned());
        Ok(Vec::new())
    };
    let shown = shown.with_tables(&plan(), tables, CountersNeeded::WithoutEntries, counters).unwrap();
    assert_eq!(counted, ["node-3"]);
    let port = |netns: &str, addr: [u8; 4], before, after| TranslatedPort {
        netns: netns.to_owned(),
        before: (Some(addr.into()), before),
        after,
    };
    assert_eq!(
        shown.ports,
        [
            port("node-1", [192, 168, 0, 100], 40_000, 50_000),
            port("node-2", [192, 168, 0, 11], 50_000, 60_000)
        ]
    );
}
