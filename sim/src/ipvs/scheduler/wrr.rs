//! `wrr`: one server after the other, in rounds for ever smaller weights.

use super::{Choice, Pool, Why};

/// Linux: struct ip_vs_wrr_mark, net/netfilter/ipvs/ip_vs_wrr.c.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrr {
    /// Position of the last used server; `None`: the round begins at the head (`cl`).
    last: Option<usize>,
    /// The weight that a server needs in this round (`cw`).
    needed: i64,
    /// The weight of the first round (`mw`).
    highest: i64,
    /// The difference between two rounds: the greatest common divisor of all weights (`di`).
    step: i64,
}

impl Wrr {
    /// Linux: ip_vs_wrr_init_svc, net/netfilter/ipvs/ip_vs_wrr.c.
    pub(super) fn new(pool: Pool<'_>) -> Self {
        let (step, highest) = rounds(pool);
        Self { last: None, needed: highest, highest, step }
    }

    /// Linux: ip_vs_wrr_dest_changed, net/netfilter/ipvs/ip_vs_wrr.c.
    pub(super) fn changed(&mut self, pool: Pool<'_>) {
        (self.step, self.highest) = rounds(pool);
        self.last = None;
        if self.needed > self.highest || self.needed == 0 {
            self.needed = self.highest;
        } else if self.step > 1 {
            self.needed = self.needed / self.step * self.step + 1;
        }
    }

    /// Linux: ip_vs_wrr_schedule, net/netfilter/ipvs/ip_vs_wrr.c.
    pub(super) fn schedule(&mut self, pool: Pool<'_>) -> Choice {
        if self.highest == 0 {
            return None;
        }
        let start = self.last;
        let mut stop = None;
        let (mut is_last_pass, mut is_restarted) = (false, false);
        loop {
            let from = self.last.map_or(0, |last| last + 1);
            for index in from..pool.order.len() {
                let (id, server) = pool.at(index)?;
                self.last = Some(index);
                if !server.is_overloaded && server.weight() >= self.needed {
                    return Some((id, Why::NextOfWeight(self.needed)));
                }
                if self.last == stop {
                    return None;
                }
            }
            self.last = None;
            self.needed -= self.step;
            if self.needed <= 0 {
                self.needed = self.highest;
                // Every server was compared with the smallest weight.
                if is_last_pass || start.is_none() {
                    return None;
                }
                is_restarted = true;
            }
            is_last_pass = self.needed <= self.step;
            if is_last_pass && is_restarted {
                stop = start;
            }
        }
    }
}

/// The step between rounds and the weight of the first one, with which the last one needs a weight of 1.
fn rounds(pool: Pool<'_>) -> (i64, i64) {
    let weights = || pool.iter().map(|(_, server)| server.weight());
    let step = weights().fold(0, gcd).max(1);
    (step, weights().max().unwrap_or(0) - (step - 1))
}

/// The greatest common divisor; 0 has no influence.
pub(super) const fn gcd(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
