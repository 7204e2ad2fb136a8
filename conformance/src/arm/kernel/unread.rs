//! How long clients and servers leave data unread that is not complete.
//!
//! A read may acknowledge, on another processor than the one that receives, and what the sender then sends may overtake what it
//! has sent before.

use std::time::Duration;

/// After this, they read what has arrived.
pub(super) const READ_PATIENCE: Duration = Duration::from_millis(20);

/// The time between two looks.
pub(super) const READ_PAUSE: Duration = Duration::from_micros(200);
