//! Sequence numbers, which wrap (RFC 9293 §3.4).

use std::ops::{Add, Sub};

/// A sequence number. Not ordered; compare with [`Seq::is_before`] and [`Seq::is_after`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::socket) struct Seq(pub(in crate::socket) u32);

impl Seq {
    /// Linux: `before`, include/net/tcp.h.
    pub(in crate::socket) const fn is_before(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() < 0
    }

    /// Linux: `after`, include/net/tcp.h.
    pub(in crate::socket) const fn is_after(self, other: Self) -> bool {
        other.is_before(self)
    }

    /// True if it is in `low..=high` (`between`, include/net/tcp.h).
    pub(in crate::socket) const fn is_between(self, low: Self, high: Self) -> bool {
        high.0.wrapping_sub(low.0) >= self.0.wrapping_sub(low.0)
    }

    /// The later of two.
    pub(in crate::socket) const fn max(self, other: Self) -> Self {
        if self.is_before(other) { other } else { self }
    }
}

impl Add<u32> for Seq {
    type Output = Self;

    fn add(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }
}

impl Sub for Seq {
    type Output = u32;

    /// The distance from `other` to `self`.
    fn sub(self, other: Self) -> u32 {
        self.0.wrapping_sub(other.0)
    }
}
