//! The credit of a netns for ICMP messages, of which each message takes 0, 1 or 2 at random, so that the rate of a host cannot
//! be measured from outside.

use crate::draws::Draws;

/// The available credit (`icmp_global_credit`), and what an observer of the messages knows about it.
///
/// What a message takes is not visible. It shows when the credit may or may not be used up: whoever follows a kernel then learns
/// which it was, and that narrows the range.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Credit {
    /// The actual credit; it may become negative by one.
    actual: i64,
    /// The least and the most that it may be, by all messages so far.
    least: i64,
    most: i64,
}

impl Credit {
    /// True if there is any.
    pub(super) fn is_left(&mut self, draws: &mut Draws) -> bool {
        if self.least > 0 || self.most <= 0 {
            return self.actual > 0;
        }
        let is_left = draws.unseen(self.actual > 0);
        if is_left {
            self.least = 1;
        } else {
            self.most = 0;
        }
        self.actual = self.actual.clamp(self.least, self.most);
        is_left
    }

    /// A message takes this many.
    ///
    /// Linux: `icmp_global_consume`, net/ipv4/icmp.c.
    pub(super) fn consume(&mut self, count: u32) {
        self.actual -= i64::from(count);
        self.least -= 2;
    }

    /// Adds what was earned, up to `limit`.
    pub(super) fn add(&mut self, earned: u64, limit: u64) {
        let bounded = |credit: i64| credit.saturating_add_unsigned(earned).min(limit.cast_signed());
        *self = Self { actual: bounded(self.actual), least: bounded(self.least), most: bounded(self.most) };
    }
}
