//! A law of conntrack: with all its timeouts and all pauses scaled by the same factor, connections end alike and entries go
//! through the same states, with remaining times scaled.
//!
//! This is what makes short timeouts on a kernel say something about the defaults. One time does not scale, because no
//! sysctl sets it: a UDP flow becomes a stream 2 s after its first packet (`nf_conntrack_udp_packet`,
//! net/netfilter/nf_conntrack_proto_udp.c). Pauses here are longer than that in both worlds.

#[path = "support/small_cluster.rs"]
mod small_cluster;

use std::time::Duration;

use conformance::arm::Arm;
use conformance::arm::sim::SimArm;
use conformance::netns::NetnsName;
use conformance::observation::{ConntrackObservation, RawFlow};
use conformance::prepare::PreparedAction;
use conformance::proxy::Proxies;
use conformance::scenario::ProxyMode;
use conformance::topology::Topology;
use proptest::prelude::*;
use proptest::sample::select;
use sim::trace::Level;

/// The factor between the two worlds.
const FACTOR: u64 = 10;

/// Conntrack's default timeouts in seconds (net/netfilter/nf_conntrack_proto_*.c); all are multiples of the factor.
const TIMEOUTS: [(&str, u64); 11] = [
    ("udp_timeout", 30),
    ("udp_timeout_stream", 120),
    ("icmp_timeout", 30),
    ("tcp_timeout_syn_sent", 120),
    ("tcp_timeout_syn_recv", 60),
    ("tcp_timeout_established", 432_000),
    ("tcp_timeout_fin_wait", 120),
    ("tcp_timeout_close_wait", 60),
    ("tcp_timeout_last_ack", 30),
    ("tcp_timeout_time_wait", 120),
    ("tcp_timeout_close", 10),
];

/// One step.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// A connection of its own, or datagrams from a port that all of them share.
    Connect(&'static str, &'static str),
    Ping(&'static str),
    /// A pause in milliseconds, with the default timeouts.
    Pause(u64),
}

/// No sum of a few of these comes near a timeout.
const PAUSES: [u64; 4] = [23_000, 36_000, 61_500, 130_000];

fn act() -> impl Strategy<Value = Act> {
    let udp = "protocol: udp, sourcePort: 39999";
    let to = select(vec![
        ("service/web:80", "protocol: tcp"),
        ("node/node-2:30080", "protocol: tcp"),
        ("pod/near:9", "protocol: tcp"),
        ("pod/near:53", udp),
        ("pod/far:53", udp),
        ("pod/far:9", udp),
    ]);
    prop_oneof![
        3 => to.prop_map(|(to, how)| Act::Connect(to, how)),
        1 => select(vec!["pod/near", "pod/far", "node/node-1"]).prop_map(Act::Ping),
        2 => select(PAUSES.to_vec()).prop_map(Act::Pause),
    ]
}

/// What a world shows after each step, with its remaining times multiplied.
fn run(acts: &[Act], factor: u64) -> Vec<(Vec<RawFlow>, Vec<ConntrackObservation>)> {
    let settings =
        TIMEOUTS.map(|(name, value)| format!("net.netfilter.nf_conntrack_{name}: {}", value / factor));
    let settings = settings.join(", ");
    let mut steps = format!(
        "  - set: {{node/node-1: {{sysctl: {{{settings}}}}}, node/node-2: {{sysctl: {{{settings}}}}}}}\n"
    );
    for act in acts {
        steps += &match act {
            Act::Connect(to, how) => {
                format!("  - connect: {{from: outside, to: \"{to}\", {how}, timeout: 300ms}}\n")
            }
            Act::Ping(to) => format!("  - ping: {{from: outside, to: \"{to}\", timeout: 300ms}}\n"),
            Act::Pause(milliseconds) => format!("  - sleep: {}ms\n", milliseconds / factor),
        };
    }
    let prepared = small_cluster::prepared(small_cluster::scenario("bridge", &steps, small_cluster::SERVICE));
    let mut arm = SimArm::new(0, Level::Nothing);
    arm.build(&Topology::of(&prepared.cluster)).expect("a world");
    let (_, rules) = Proxies::start(ProxyMode::Iptables, &prepared.cluster).expect("a configuration");
    for (node, rules) in &rules {
        arm.load(node, rules).expect("rules");
    }
    let mut shown = Vec::new();
    for step in &prepared.steps {
        let mut flows = Vec::new();
        match &step.action {
            PreparedAction::Flows(plan) => flows = arm.flows(plan).expect("connections").flows,
            PreparedAction::Sleep(duration) => arm.sleep(*duration).expect("a pause"),
            PreparedAction::Set { changes, .. } => {
                for change in changes {
                    arm.change(change).expect("a change");
                }
            }
            PreparedAction::Script(_)
            | PreparedAction::Kept(_)
            | PreparedAction::Resolve(_)
            | PreparedAction::Cluster(_)
            | PreparedAction::Look => unreachable!("not among these steps"),
        }
        let mut entries = Vec::new();
        for node in ["node-1", "node-2"] {
            let table = arm.conntrack(&NetnsName::Node(node.to_owned())).expect("a table");
            let scaled = |entry: ConntrackObservation| ConntrackObservation {
                expires_in: entry.expires_in * u32::try_from(factor).expect("a small factor"),
                ..entry
            };
            entries.extend(table.unwrap_or_default().into_iter().map(scaled));
        }
        shown.push((flows, entries));
    }
    shown
}

/// Remaining times are whole seconds, rounded down, and connections take the same few milliseconds in both worlds.
fn is_alike(left: &ConntrackObservation, right: &ConntrackObservation) -> bool {
    let same = ConntrackObservation { expires_in: left.expires_in, ..right.clone() };
    *left == same && left.expires_in.abs_diff(right.expires_in) <= Duration::from_secs(2 * FACTOR)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn states_are_reached_at_scaled_times(acts in proptest::collection::vec(act(), 1..10)) {
        let (plain, scaled) = (run(&acts, 1), run(&acts, FACTOR));
        prop_assert_eq!(plain.len(), scaled.len());
        for (number, ((flows, entries), (other_flows, other_entries))) in plain.iter().zip(&scaled).enumerate() {
            prop_assert_eq!(flows, other_flows, "step {}", number);
            let is_same = entries.len() == other_entries.len()
                && entries.iter().zip(other_entries).all(|(left, right)| is_alike(left, right));
            prop_assert!(is_same, "step {}:\n{:#?}\n{:#?}", number, entries, other_entries);
        }
    }
}
