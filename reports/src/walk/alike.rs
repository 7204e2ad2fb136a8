//! Finds packets and flows that took the same path, so that one of them can represent the others.

use super::row::{Outline, RowContext};
use super::{FlowWalk, Walk};
use crate::names::Names;
use sim::ids::{FlowId, PacketId};
use std::collections::{BTreeMap, HashMap};

/// For every packet and flow of a walk, the first of the same kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alike {
    packets: BTreeMap<PacketId, PacketId>,
    flows: BTreeMap<FlowId, FlowId>,
}

impl Alike {
    /// Compares journeys by their outlines, and flows by the outlines of their packets and by their outcomes.
    pub fn of(walk: &Walk<'_>, names: Names<'_>) -> Self {
        let mut alike = Self::default();
        // Only used for lookups; iteration order never shows.
        let mut packets: HashMap<Outline, PacketId> = HashMap::new();
        let mut flows = HashMap::new();
        for flow in &walk.flows {
            let firsts: Vec<PacketId> = flow
                .journeys
                .iter()
                .map(|journey| {
                    let outline = RowContext::outline(names, journey);
                    let first = *packets.entry(outline).or_insert(journey.packet);
                    alike.packets.insert(journey.packet, first);
                    first
                })
                .collect();
            let first = *flows.entry((firsts, flow.outcome)).or_insert(flow.flow);
            alike.flows.insert(flow.flow, first);
        }
        alike
    }

    /// The earlier packet that took the same path.
    pub fn packet(&self, id: PacketId) -> Option<PacketId> {
        self.packets.get(&id).copied().filter(|first| *first != id)
    }

    /// The earlier flow whose every packet this one repeats.
    pub fn flow(&self, id: FlowId) -> Option<FlowId> {
        self.flows.get(&id).copied().filter(|first| *first != id)
    }

    /// Flows that repeat `first`, in order.
    pub fn repeats<'a>(&self, first: FlowId, flows: &'a [FlowWalk<'_>]) -> Vec<&'a FlowWalk<'a>> {
        flows.iter().filter(|flow| self.flow(flow.flow) == Some(first)).collect()
    }
}
