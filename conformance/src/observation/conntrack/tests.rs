use super::*;

fn ping(id: u16) -> ConntrackObservation {
    let end = |octet| SocketAddr::from(([10, 0, 0, octet], 0));
    let key = |icmp_type| IcmpKey { icmp_type, code: 0, id };
    ConntrackObservation {
        protocol: Transport::Icmp,
        original: (end(1), end(2)),
        reply: (end(2), end(1)),
        icmp: Some((key(8), key(0))),
        tcp_state: None,
        is_replied: true,
        is_assured: false,
        mark: 0,
        expires_in: Duration::from_secs(29),
    }
}

fn connection(tcp_state: TcpState) -> ConntrackObservation {
    let end = |octet, port| SocketAddr::from(([10, 0, 0, octet], port));
    ConntrackObservation {
        protocol: Transport::Tcp,
        original: (end(1, 40_000), end(2, 80)),
        reply: (end(3, 8_080), end(4, 1_024)),
        icmp: None,
        tcp_state: Some(tcp_state),
        is_replied: true,
        is_assured: true,
        mark: 0,
        expires_in: Duration::from_secs(119),
    }
}

#[test]
fn everything_that_an_entry_shows_tells_it_apart() {
    let entry = connection(TcpState::Established);
    let end = SocketAddr::from(([10, 0, 0, 9], 9));
    let expiring = |expires_in| ConntrackObservation { expires_in, ..entry.clone() };
    let others: [(&str, ConntrackObservation); 11] = [
        ("protocol", ConntrackObservation { protocol: Transport::Sctp, ..entry.clone() }),
        ("original source", ConntrackObservation { original: (end, entry.original.1), ..entry.clone() }),
        ("original destination", ConntrackObservation { original: (entry.original.0, end), ..entry.clone() }),
        ("reply source", ConntrackObservation { reply: (end, entry.reply.1), ..entry.clone() }),
        ("reply destination", ConntrackObservation { reply: (entry.reply.0, end), ..entry.clone() }),
        ("state", connection(TcpState::TimeWait)),
        ("replied", ConntrackObservation { is_replied: false, ..entry.clone() }),
        ("assured", ConntrackObservation { is_assured: false, ..entry.clone() }),
        ("mark", ConntrackObservation { mark: 0x4000, ..entry.clone() }),
        ("longer", expiring(entry.expires_in + EXPIRY_TOLERANCE + MOMENT)),
        ("shorter", expiring(entry.expires_in - EXPIRY_TOLERANCE - MOMENT)),
    ];
    for (what, other) in others {
        let apart = ConntrackObservation::apart(vec![entry.clone()], vec![other.clone()]);
        assert_eq!(apart, (vec![entry.clone()], vec![other]), "{what}");
    }
    let apart = ConntrackObservation::apart(vec![ping(1)], vec![ping(2)]);
    assert_eq!(apart, (vec![ping(1)], vec![ping(2)]), "identifier");
}

const MOMENT: Duration = Duration::from_secs(1);

#[test]
fn remaining_times_may_differ_slightly() {
    for (sooner, later) in [(119, 119), (116, 119), (0, 3)] {
        let entry = |seconds| ConntrackObservation { expires_in: Duration::from_secs(seconds), ..ping(1) };
        for (left, right) in [(sooner, later), (later, sooner)] {
            let apart = ConntrackObservation::apart(vec![entry(left)], vec![entry(right)]);
            assert_eq!(apart, (vec![], vec![]), "{left} {right}");
        }
    }
}

#[test]
fn tables_are_compared_entry_by_entry() {
    let one = ping(1);
    let cases: [(Vec<_>, Vec<_>, usize, usize); 5] = [
        (vec![], vec![], 0, 0),
        (vec![ping(1), ping(2)], vec![ping(2), ping(1)], 0, 0),
        // Several entries of one side do not match the same entry of the other.
        (vec![one.clone(); 5], vec![one.clone()], 4, 0),
        (vec![one.clone()], vec![one.clone(); 5], 0, 4),
        (vec![ping(1), ping(2), ping(2)], vec![ping(2), ping(3)], 2, 1),
    ];
    for (left, right, only_left, only_right) in cases {
        let apart = ConntrackObservation::apart(left.clone(), right.clone());
        assert_eq!((apart.0.len(), apart.1.len()), (only_left, only_right), "{left:?} {right:?}");
    }
}

#[test]
fn ports_of_an_entry_are_identifiers_of_icmp() {
    assert_eq!(connection(TcpState::Close).source_ports(), (40_000, 1_024));
    assert_eq!(ping(7).source_ports(), (7, 7));
}

#[test]
fn a_port_drawn_for_a_hidden_retransmission_does_not_tell_entries_apart() {
    let entry = |is_replied, before, after| {
        let entry = connection(TcpState::Established);
        let with_port = |end: SocketAddr, port| SocketAddr::new(end.ip(), port);
        ConntrackObservation {
            original: (with_port(entry.original.0, before), entry.original.1),
            reply: (entry.reply.0, with_port(entry.reply.1, after)),
            is_replied,
            ..entry
        }
    };
    for (what, is_replied, ports, is_alike) in [
        ("both drawn", false, [1_024, 1_025], true),
        ("one not drawn", false, [40_000, 1_025], false),
        ("with a reply", true, [1_024, 1_025], false),
    ] {
        let [one, other] = ports.map(|after| entry(is_replied, 40_000, after));
        let apart = ConntrackObservation::apart(vec![one], vec![other]);
        assert_eq!(apart == (Vec::new(), Vec::new()), is_alike, "{what}");
    }
}
