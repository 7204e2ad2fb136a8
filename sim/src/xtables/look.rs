//! The context in which a match evaluates a packet.

use super::recent_lists::RecentLists;
use crate::netfilter::EvalCtx;
use crate::packet::Packet;
use crate::time::Instant;
use crate::wire::Headers;
use std::collections::BTreeMap;

/// The mutable state of matches, keyed by the slot of the rule and the position of the match in it.
#[derive(Clone, Debug, Default)]
pub(super) struct States(BTreeMap<(u32, u8), MatchState>);

/// The state of one match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MatchState {
    /// `statistic --mode nth`: packets since the last match.
    Nth(u32),
    /// `limit`: the remaining credit.
    Limit {
        /// When `credit` was updated.
        at: Instant,
        /// In the kernel's units; see `limit.rs`.
        credit: u32,
    },
}

impl States {
    /// The state for `key`, initialized with `initial` on first use.
    pub(super) fn get_or_insert(&mut self, key: (u32, u8), initial: MatchState) -> &mut MatchState {
        self.0.entry(key).or_insert(initial)
    }

    /// Removes the state of a deleted rule.
    pub(super) fn forget(&mut self, slot: u32) {
        if self.0.is_empty() {
            return;
        }
        let keys: Vec<_> = self.0.range((slot, 0)..=(slot, u8::MAX)).map(|(key, _)| *key).collect();
        for key in keys {
            self.0.remove(&key);
        }
    }
}

/// A packet at a hook, as seen by matches.
pub(super) struct Look<'l, 'a, 'b> {
    pub(super) ctx: &'l mut EvalCtx<'a, 'b>,
    pub(super) packet: &'l Packet,
    pub(super) headers: &'l Headers,
    pub(super) recent: &'l mut RecentLists,
    pub(super) states: &'l mut States,
    /// Key of the current rule and match.
    pub(super) key: (u32, u8),
}

impl Look<'_, '_, '_> {
    /// Offset of this fragment in bytes; zero for whole packets.
    pub(super) fn fragment_offset(&self) -> u16 {
        self.packet.ip().fragment_offset()
    }

    /// The bytes after the IP header, and after the extension headers of IPv6.
    pub(super) fn transport(&self) -> &[u8] {
        let ip = self.packet.ip();
        let l3 = self.packet.l3();
        l3.get(ip.header_len()..l3.len().min(ip.total_len())).unwrap_or_default()
    }
}
