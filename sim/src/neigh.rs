//! Neighbours of a netns, and ARP (net/core/neighbour.c, net/ipv4/arp.c).
//!
//! States and times are those of Linux with two deviations. The reachable time is `base_reachable_time_ms` itself, where the
//! kernel draws anew every five minutes from half to one and a half of it. And a reachable entry has no timer: that it went
//! stale is found out when it is looked at next, which nobody can tell from outside, and lets a quiet world come to an end.
//! Timers run only while a packet or a probe waits for an answer.

mod arp;
mod entry;
mod queue;
mod solicit;
mod table;

pub use entry::NeighState;
pub use table::{NeighTable, Resolution};

#[cfg(test)]
mod tests;
