//! `rr`: one server after the other.

use super::{Change, Choice, Pool, Why};

/// The position of the last used server; `None`: the next is the head of the list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rr(Option<usize>);

impl Rr {
    /// Linux: ip_vs_rr_del_dest, net/netfilter/ipvs/ip_vs_rr.c. The server before a deleted one becomes the last used.
    pub(super) const fn changed(&mut self, change: Change) {
        self.0 = match (self.0, change) {
            (Some(last), Change::Added) => Some(last + 1),
            (Some(last), Change::Deleted(index)) if index <= last => last.checked_sub(1),
            (last, Change::Added | Change::Deleted(_) | Change::Edited) => last,
        };
    }

    /// Linux: ip_vs_rr_schedule, net/netfilter/ipvs/ip_vs_rr.c.
    pub(super) fn schedule(&mut self, pool: Pool<'_>) -> Choice {
        let first = self.0.map_or(0, |last| last + 1);
        let order = (first..pool.order.len()).chain(0..first);
        for index in order {
            if let Some((id, server)) = pool.at(index)
                && server.accepts()
            {
                self.0 = Some(index);
                return Some((id, Why::Next));
            }
        }
        None
    }
}
