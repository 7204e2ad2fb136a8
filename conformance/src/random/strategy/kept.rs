//! Connections that stay open over several steps.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::strategy::BoxedStrategy;

use super::{PODS, PORTS_MAX, SERVICES, destination, node, party, protocol};
use crate::random::world::{RandomDestination, RandomKept, RandomKeptAction};

pub(super) fn kept() -> BoxedStrategy<RandomKept> {
    use RandomDestination as D;
    let of_service = || (0..SERVICES, 0..PORTS_MAX);
    // Mostly where somebody answers.
    let to = prop_oneof![
        4 => of_service().prop_map(|(slot, port)| D::Service(slot, port)),
        4 => (node(), of_service()).prop_map(|(node, (slot, port))| D::NodePort(node, slot, port)),
        3 => of_service().prop_map(|(slot, port)| D::LoadBalancer(slot, port)),
        3 => (0..PODS).prop_map(D::Pod),
        2 => destination(),
    ];
    let action = prop_oneof![4 => Just(RandomKeptAction::Send), 1 => Just(RandomKeptAction::Close)];
    (party(), to, protocol(), 1..=3_u8, 0..3_u8, vec((0..3_u8, action), 1..=4))
        .prop_map(|(from, to, protocol, count, begin, later)| RandomKept {
            from,
            to,
            protocol,
            count,
            begin,
            later,
        })
        .boxed()
}
