//! Connections that stay open over several steps.

use std::ops::RangeInclusive;

use proxy_core::objects::Protocol;
use serde_json::{Value, json};

use super::{Printer, StepTarget, TIMEOUT};
use crate::random::world::{RandomKept, RandomKeptAction};

/// Connections that are open.
pub(super) struct OpenConnections {
    /// Their index in the world.
    index: usize,
    /// The client.
    client: String,
}

impl Printer<'_> {
    /// Steps on kept connections that come before the world's other steps with these indexes.
    pub(super) fn kept_steps(&mut self, indexes: &RangeInclusive<u8>) -> Vec<Value> {
        let mut steps = Vec::new();
        // Where links lose a share of their frames, both sides soon have connections in different states.
        let all = if self.lossy.is_some() { &[][..] } else { &self.world.kept };
        for (index, kept) in all.iter().enumerate() {
            let mut at = kept.begin;
            if indexes.contains(&at) {
                steps.push(self.keep(index, kept));
            }
            for (later, action) in &kept.later {
                at += later;
                if indexes.contains(&at) {
                    steps.extend(self.on_kept(index, *action));
                }
            }
        }
        steps
    }

    fn keep(&mut self, index: usize, kept: &RandomKept) -> Value {
        let RandomKept { from, to, protocol, count, .. } = kept;
        let client = self.party(*from);
        self.open.push(OpenConnections { index, client: client.clone() });
        let StepTarget { name, port, protocol } = self.place(*to, *protocol);
        json!({"connect": {
            "from": client,
            "to": format!("{name}:{port}"),
            "protocol": (protocol == Protocol::Udp).then_some("udp"),
            "count": (*count > 1).then_some(count),
            "timeout": TIMEOUT,
            "keep": name_of(index),
        }})
    }

    /// Nothing, if the connections are closed or their client is gone.
    fn on_kept(&mut self, index: usize, action: RandomKeptAction) -> Option<Value> {
        let at = self.open.iter().position(|open| open.index == index)?;
        Some(match action {
            RandomKeptAction::Send => json!({"send": {"continue": name_of(index), "timeout": TIMEOUT}}),
            RandomKeptAction::Close => {
                self.open.remove(at);
                json!({"close": name_of(index)})
            }
        })
    }

    /// This Pod or node is gone, and with it its connections.
    pub(super) fn forget_client(&mut self, client: &str) {
        self.open.retain(|open| open.client != client);
    }
}

fn name_of(index: usize) -> String {
    format!("kept-{index}")
}
