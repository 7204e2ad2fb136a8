//! What happens between steps: ends of links go down and up, nodes join and leave, time passes; and policy routing.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;

use super::{a_node, node, party, pod};
use crate::random::world::{
    RandomEnd, RandomEvent, RandomEventKind, RandomPolicy, RandomRouting, RandomWait,
};

/// Maximum number of steps.
const STEPS: u8 = 6;

/// By source, destination, device and mark; the tables lead elsewhere than the main table.
const ROUTINGS: [RandomRouting; 8] = [
    routing("fwmark 0x4000/0x4000 lookup 100", Some("default via 192.168.0.103 dev eth0 table 100"), None),
    routing(
        "not fwmark 0x4000/0x4000 iif eth0 lookup 100",
        Some("10.244.0.0/16 via 192.168.0.102 dev eth0 table 100"),
        None,
    ),
    routing(
        "from 10.244.0.0/16 to 192.168.0.0/24 lookup 200",
        Some("192.168.0.96/28 via 192.168.0.11 dev eth0 table 200"),
        None,
    ),
    routing("from 192.168.0.100 prohibit", None, None),
    routing("to 10.244.0.0/16 unreachable priority 40000", None, None),
    routing(
        "lookup main suppress_prefixlength 0",
        Some("10.244.1.0/24 via 192.168.0.101 dev eth0 metric 10"),
        None,
    ),
    routing("fwmark 0x1/0xff lookup 100", Some("blackhole 192.168.0.0/25 table 100"), Some(MARKS)),
    routing("iif lo lookup 200", Some("local 203.0.113.0/24 dev lo table 200"), None),
];

const MARKS: &str = "\
*mangle
-A OUTPUT -p udp -j MARK --set-xmark 0x1/0xff
-A PREROUTING -s 192.168.0.100 -p tcp -j MARK --set-xmark 0x1/0xff
COMMIT
";

const fn routing(
    rule: &'static str,
    route: Option<&'static str>,
    iptables: Option<&'static str>,
) -> RandomRouting {
    RandomRouting { rule, route, iptables }
}

pub(super) fn policy() -> BoxedStrategy<RandomPolicy> {
    (node(), select(&ROUTINGS[..])).prop_map(|(node, routing)| RandomPolicy { node, routing }).boxed()
}

pub(super) fn events() -> BoxedStrategy<Vec<RandomEvent>> {
    let join = (a_node(), pod()).prop_map(|(node, pod)| RandomEventKind::Join(node, pod));
    let leave = node().prop_map(RandomEventKind::Leave);
    let alone = |kind: BoxedStrategy<RandomEventKind>| {
        (before(), kind).prop_map(|(before, kind)| vec![RandomEvent { before, kind }])
    };
    let one = prop_oneof![3 => ends(), 1 => alone(join.boxed()), 1 => alone(leave.boxed())];
    vec(one, 1..=2).prop_map(|events| events.concat()).boxed()
}

/// Mostly before one of the first steps, because there may be only these.
fn before() -> BoxedStrategy<u8> {
    prop_oneof![2 => 0..2_u8, 1 => 2..STEPS].boxed()
}

/// One end of a link goes down, and perhaps up again.
fn ends() -> BoxedStrategy<Vec<RandomEvent>> {
    let end = prop_oneof![Just(RandomEnd::Port), Just(RandomEnd::Device)];
    (party(), end, before(), weighted(0.6, 1..STEPS))
        .prop_map(|(party, end, before, steps)| {
            let event = |before, is_up| RandomEvent { before, kind: RandomEventKind::End(party, end, is_up) };
            let up = steps.map(|steps| event(before + steps, true));
            [event(before, false)].into_iter().chain(up).collect()
        })
        .boxed()
}

pub(super) fn waits() -> BoxedStrategy<Vec<RandomWait>> {
    /// None is near a timeout, and all are longer than the 2 s after which a UDP flow is a stream, also if scaled.
    const WAITS: [u32; 4] = [23_000, 36_000, 61_500, 130_000];
    let wait = (prop_oneof![3 => 1..3_u8, 1 => 3..=STEPS], select(&WAITS[..]));
    vec(wait.prop_map(|(before, milliseconds)| RandomWait { before, milliseconds }), 1..=2).boxed()
}
