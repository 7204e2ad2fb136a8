//! Nodes: their own settings, and which exist while steps add and delete some.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::random::world::{RandomHost, RandomNextHop, RandomWorld};

impl RandomWorld {
    /// `spec.network.nodes`.
    pub(super) fn own_settings(&self) -> Map<String, Value> {
        let own = |number: usize| {
            let here = self.policy.filter(|policy| self.node_number(policy.node) == number);
            let routing = here.map(|policy| policy.routing);
            let settings = json!({
                "addresses": self.second_address(number),
                "iptables": routing.and_then(|routing| routing.iptables),
                "ipRoutes": routing.and_then(|routing| routing.route).map(|route| [route]),
                "ipRules": routing.map(|routing| [routing.rule]),
            });
            (format!("node-{number}"), settings)
        };
        (1..=self.nodes.len()).map(own).collect()
    }

    /// True if a host's route leads over the node.
    fn is_next_hop(&self, number: usize) -> bool {
        let leads_over = |(slot, host): (u8, &RandomHost)| {
            let mut hops = host.routes.iter().map(|route| route.via).chain(host.gateway);
            hops.any(|hop| match hop {
                RandomNextHop::Node(node) => self.node_number(node) == number,
                RandomNextHop::Host(other) => other == slot && number == 1,
            })
        };
        let hosts = (0..).zip(&self.hosts).filter_map(|(slot, host)| Some((slot, host.as_ref()?)));
        let is_second = self.second.as_ref().and_then(|second| second.via).map(|slot| self.node_number(slot));
        hosts.into_iter().any(leads_over) || is_second == Some(number)
    }
}

/// The nodes that exist, and where Pods are.
pub(super) struct Nodes {
    numbers: BTreeSet<usize>,
    /// How many have existed: numbers are not used again.
    count: usize,
    /// The numbers of the nodes of Pods, by the Pods' slots.
    placed: BTreeMap<u8, usize>,
}

impl Nodes {
    pub(super) fn new(world: &RandomWorld) -> Self {
        let count = world.nodes.len();
        let pods = (0..).zip(&world.pods).filter_map(|(slot, pod)| Some((slot, pod.as_ref()?)));
        let placed = pods.map(|(slot, pod)| (slot, world.node_number(pod.node))).collect();
        Self { numbers: (1..=count).collect(), count, placed }
    }

    /// The number of the node in a slot, or of the last node.
    pub(super) fn number(&self, slot: u8) -> usize {
        let node = self.numbers.iter().nth(slot.into()).or(self.numbers.last());
        *node.expect("the last node does not leave")
    }

    /// The name of that node.
    pub(super) fn name(&self, slot: u8) -> String {
        name(self.number(slot))
    }

    /// The name of a Pod's node, which is chosen when the Pod is created.
    pub(super) fn place(&mut self, pod: u8, slot: u8) -> String {
        let number = self.number(slot);
        name(*self.placed.entry(pod).or_insert(number))
    }

    /// The name of the node of an existing Pod.
    pub(super) fn of_pod(&self, pod: u8) -> String {
        name(self.placed[&pod])
    }

    pub(super) fn remove_pod(&mut self, pod: u8) {
        self.placed.remove(&pod);
    }

    /// A node joins; returns its number.
    pub(super) fn join(&mut self) -> usize {
        self.count += 1;
        self.numbers.insert(self.count);
        self.count
    }

    /// True if the node is neither the last one nor the next hop of a host.
    pub(super) fn may_leave(&self, number: usize, world: &RandomWorld) -> bool {
        self.numbers.len() > 1 && !world.is_next_hop(number)
    }

    /// A node leaves; returns the slots of its Pods.
    pub(super) fn leave(&mut self, number: usize) -> Vec<u8> {
        self.numbers.remove(&number);
        self.placed.extract_if(.., |_, node| *node == number).map(|(pod, _)| pod).collect()
    }
}

fn name(number: usize) -> String {
    format!("node-{number}")
}
