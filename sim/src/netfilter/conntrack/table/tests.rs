use crate::ct::PacketCt;
use crate::drop_reason::DropReason;
use crate::hook::Verdict;
use crate::netfilter::conntrack::Conntrack;
use crate::netfilter::fixture::{ETH0, ETH1, Fixture, Path, Rules, Seg, Snat, echo, ip, udp};
use crate::netfilter::nat::NatRange;
use crate::packet::Packet;
use crate::tuple::{Direction, Tuple};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn client(port: u16) -> String {
    format!("10.0.0.1:{port}")
}

const SERVER: &str = "192.168.0.1:53";

#[test]
fn an_expired_entry_is_invisible() {
    let mut netns = Fixture::new();
    netns.pass(&udp(&client(1), SERVER), Path::Forward, &Rules::NONE);
    let tuple = *netns.only().tuple(Direction::Reply);
    netns.sleep(29.999);
    assert!(netns.conntrack.find(&tuple, netns.now).is_some());
    netns.sleep(0.001);
    assert!(netns.conntrack.find(&tuple, netns.now).is_none());
    assert!(netns.list().is_empty());
    // The reply is too late, and starts a new flow.
    let late = netns.pass(&udp(SERVER, &client(1)), Path::Forward, &Rules::NONE);
    assert_eq!(late.state(), "NEW");
    assert_eq!(netns.list().len(), 1);
}

/// No timer runs when a timeout expires, yet memory stays proportional to live entries.
#[test]
fn expired_entries_do_not_pile_up() {
    let mut netns = Fixture::new();
    for number in 0..20_000_u32 {
        let client = format!("10.{}.{}.1:1000", number >> 8, number & 0xff);
        netns.pass(&udp(&client, SERVER), Path::Forward, &Rules::NONE);
        // 300 flows are live at any time.
        netns.sleep(0.1);
    }
    assert_eq!(netns.list().len(), 299);
    assert!(netns.conntrack.len() < 1000, "{} entries", netns.conntrack.len());
}

/// D-10: whether an entry is evicted depends on buckets; if none is, the packet is dropped.
#[test]
fn a_full_table_drops_new_flows() {
    let mut netns = Fixture::new();
    netns.sysctls.conntrack.max = 8;
    for port in 1..=8 {
        netns.pass(&udp(&client(port), SERVER), Path::Forward, &Rules::NONE);
    }
    // None of these is ASSURED, but they are scattered over 262,144 buckets.
    let ninth = netns.pass(&udp(&client(9), SERVER), Path::Forward, &Rules::NONE);
    assert_eq!(ninth.verdict, Verdict::Drop(DropReason::ConntrackTableFull));
    assert_eq!((netns.conntrack.counters().drop, netns.conntrack.counters().early_drop), (1, 0));
    // Packets of existing flows still pass.
    let known = netns.pass(&udp(SERVER, &client(8)), Path::Forward, &Rules::NONE);
    assert_eq!(known.state(), "ESTABLISHED_REPLY");
    // Expired entries do not count.
    netns.sleep(121.0);
    let later = netns.pass(&udp(&client(10), SERVER), Path::Forward, &Rules::NONE);
    assert_eq!(later.verdict, Verdict::Accept);
    assert_eq!(netns.conntrack.counters().early_drop, 0);
}

/// Each of 1,000 entries is in two of 500 buckets, so eight buckets hold about 32 of them.
#[test]
fn entries_near_a_new_one_are_evicted_unless_they_are_assured() {
    let mut netns = Fixture::new();
    netns.sysctls.conntrack.max = 1000;
    netns.sysctls.conntrack.buckets = 500;
    for port in 1..=1000 {
        netns.pass(&udp(&client(port), SERVER), Path::Forward, &Rules::NONE);
    }
    let next = netns.pass(&udp(&client(2000), SERVER), Path::Forward, &Rules::NONE);
    assert_eq!(next.verdict, Verdict::Accept);
    let evicted = netns.conntrack.counters().early_drop;
    assert!((1..=20).contains(&evicted), "all of one bucket: {evicted}");
    assert_eq!(u64::try_from(netns.conntrack.len()), Ok(1001 - evicted));
    // The others become streams, and the table is full again.
    netns.sleep(3.0);
    let ports: Vec<u16> =
        netns.conntrack.listing(netns.now).iter().map(|row| row.original.src_port()).collect();
    for port in ports {
        netns.pass(&udp(SERVER, &client(port)), Path::Forward, &Rules::NONE);
        netns.pass(&udp(&client(port), SERVER), Path::Forward, &Rules::NONE);
    }
    netns.sysctls.conntrack.max = u32::try_from(netns.conntrack.len()).unwrap();
    let refused = netns.pass(&udp(&client(3000), SERVER), Path::Forward, &Rules::NONE);
    assert_eq!(refused.verdict, Verdict::Drop(DropReason::ConntrackTableFull));
    assert_eq!(netns.conntrack.counters().early_drop, evicted);
}

#[test]
fn a_limit_of_zero_is_none() {
    let mut netns = Fixture::new();
    netns.sysctls.conntrack.max = 0;
    for port in 1..=100 {
        netns.pass(&udp(&client(port), SERVER), Path::Forward, &Rules::NONE);
    }
    assert_eq!(netns.list().len(), 100);
}

/// A deleted entry lives on for the packets that refer to it, so that they are still translated.
#[test]
fn a_packet_keeps_its_deleted_entry() {
    let mut netns = Fixture::new();
    let rules = Rules::dnat("192.168.0.2:8080");
    let syn = Seg::new("10.0.0.1:40000", "192.168.0.1:80", "S").seq(1000, 0).bytes();
    netns.pass(&syn, Path::Forward, &rules);
    let reset = Seg::new("192.168.0.2:8080", "10.0.0.1:40000", "R.").seq(0, 1001).bytes();
    let passed = netns.pass(&reset, Path::Forward, &rules);
    assert_eq!(passed.ends(), "192.168.0.1:80 > 10.0.0.1:40000");
    assert!(netns.conntrack.is_empty());
}

/// Like `conntrack -D`, as used by kube-proxy after endpoints were removed.
#[test]
fn entries_are_deleted_by_what_they_are() {
    let mut netns = Fixture::new();
    for port in [1, 2, 3] {
        netns.pass(&udp(&client(port), SERVER), Path::Forward, &Rules::NONE);
    }
    let now = netns.now;
    let deleted =
        netns.conntrack.delete_matching(now, |entry| entry.tuple(Direction::Original).src_port() != 2);
    let ports: Vec<u16> = deleted.iter().map(Tuple::src_port).collect();
    assert_eq!(ports, [1, 3]);
    assert_eq!(netns.only().tuple(Direction::Original).src_port(), 2);
}

/// D-07: the device went down, or the masquerade address was removed.
#[test]
fn masqueraded_flows_go_with_their_device() {
    let mut netns = Fixture::new();
    netns.pass(&udp(&client(1), SERVER), Path::Forward, &Rules::masquerade());
    netns.pass(&udp(&client(2), SERVER), Path::Forward, &Rules::NONE);
    let now = netns.now;
    let mut flush = |device, addr: Option<&str>| {
        netns.conntrack.flush_masquerade_of_device(now, device, addr.map(|addr| ip(addr).into())).len()
    };
    assert_eq!(flush(ETH0, None), 0);
    assert_eq!(flush(ETH1, Some("192.168.0.7")), 0);
    assert_eq!(flush(ETH1, Some("192.168.0.254")), 1);
    assert_eq!(netns.list().len(), 1);
    netns.pass(&udp(&client(1), SERVER), Path::Forward, &Rules::masquerade());
    assert_eq!(netns.conntrack.flush_masquerade_of_device(now, ETH1, None).len(), 1);
}

/// Operations on packets and the table, for the properties below.
#[derive(Clone, Debug)]
enum Step {
    Pass {
        bytes: Vec<u8>,
        path: Path,
        rules: Rules,
    },
    /// Keeps the packet and its reference.
    Keep {
        bytes: Vec<u8>,
        rules: Rules,
    },
    Let {
        which: prop::sample::Index,
    },
    DeleteOldest,
    Sleep {
        seconds: f64,
    },
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let ends = || (1_u8..4, prop::sample::select(vec![80_u16, 81, 40_000, 40_001]));
    (ends(), ends(), any::<bool>(), 0..6).prop_map(|((host, port), (other, service), back, kind)| {
        let (a, b) = (format!("10.0.0.{host}:{port}"), format!("192.168.0.{other}:{service}"));
        let (src, dst) = if back { (b, a) } else { (a, b) };
        match kind {
            0 | 1 => udp(&src, &dst),
            2 => echo(&format!("10.0.0.{host}"), &format!("192.168.0.{other}"), 8, port),
            3 => Seg::new(&src, &dst, "R").bytes(),
            4 => Seg::new(&src, &dst, ".").bytes(),
            _ => Seg::new(&src, &dst, "S").bytes(),
        }
    })
}

fn any_rules() -> impl Strategy<Value = Rules> {
    prop::sample::select(vec![
        Rules::NONE,
        Rules::masquerade(),
        Rules::dnat("192.168.0.2:80"),
        Rules::snat(NatRange::to_addr(ip("192.168.0.200").into()).with_port(7)),
        Rules { snat: Some(Snat::Masquerade(NatRange::default())), ..Rules::dnat("192.168.0.3:81") },
    ])
}

fn any_step() -> impl Strategy<Value = Step> {
    let path = prop::sample::select(vec![Path::Forward, Path::In, Path::Out, Path::DroppedInForward]);
    prop_oneof![
        6 => (any_bytes(), path, any_rules()).prop_map(|(bytes, path, rules)| Step::Pass { bytes, path, rules }),
        2 => (any_bytes(), any_rules()).prop_map(|(bytes, rules)| Step::Keep { bytes, rules }),
        2 => any::<prop::sample::Index>().prop_map(|which| Step::Let { which }),
        1 => Just(Step::DeleteOldest),
        1 => (0.0..40.0).prop_map(|seconds| Step::Sleep { seconds }),
    ]
}

/// The number of packets that refer to each entry.
fn check_holders(conntrack: &Conntrack, kept: &[Packet]) {
    let mut holders: BTreeMap<_, u32> = BTreeMap::new();
    for packet in kept {
        if let PacketCt::Entry { id, .. } = packet.meta.ct {
            *holders.entry(id).or_default() += 1;
        }
    }
    for (id, entry) in &conntrack.entries {
        let held = holders.get(&id).copied().unwrap_or(0);
        assert_eq!(entry.holders, held, "holders of {entry:?}");
        assert!(entry.is_confirmed() && !entry.is_dying() || held > 0, "nobody has {entry:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The entries are exactly those in the table or referenced by packets; tuples of live entries are unique; and at
    /// the end nothing is left.
    #[test]
    fn entries_live_exactly_as_long_as_they_are_needed(steps in prop::collection::vec(any_step(), 1..80)) {
        let mut netns = Fixture::new();
        netns.sysctls.conntrack.max = 12;
        let mut kept: Vec<Packet> = Vec::new();
        for step in steps {
            match step {
                Step::Pass { bytes, path, rules } => {
                    netns.pass(&bytes, path, &rules);
                }
                Step::Keep { bytes, rules } => {
                    let mut packet = netns.packet(&bytes);
                    // Kept, whatever the verdict.
                    let _: Verdict = netns.walk(&mut packet, Path::DroppedInForward, &rules);
                    kept.push(packet);
                }
                Step::Let { which } if !kept.is_empty() => {
                    let packet = kept.swap_remove(which.index(kept.len()));
                    netns.conntrack.release(&packet);
                }
                Step::Let { .. } => {}
                Step::DeleteOldest => {
                    let oldest = netns.conntrack.entries.iter().min_by_key(|(_, entry)| entry.serial);
                    if let Some(id) = oldest.map(|(id, _)| id) {
                        netns.conntrack.delete(id);
                    }
                }
                Step::Sleep { seconds } => netns.sleep(seconds),
            }
            check_holders(&netns.conntrack, &kept);
            let live = netns.conntrack.iter_sorted(netns.now);
            let mut tuples: Vec<&Tuple> = live.iter().flat_map(|entry| &entry.tuples).collect();
            let count = tuples.len();
            tuples.sort();
            tuples.dedup();
            prop_assert_eq!(tuples.len(), count, "tuples of {:#?}", live);
        }
        for packet in &kept {
            netns.conntrack.release(packet);
        }
        let ids: Vec<_> = netns.conntrack.entries.keys().collect();
        for id in ids {
            netns.conntrack.delete(id);
        }
        prop_assert!(netns.conntrack.is_empty());
        prop_assert!(netns.conntrack.by_tuple.is_empty());
        prop_assert!(netns.conntrack.by_source.is_empty());
    }
}
