//! Neighbours of a netns, and ARP (net/core/neighbour.c, net/ipv4/arp.c).
//!
//! States and times are those of Linux with two deviations. The reachable time is `base_reachable_time_ms` itself,
//! where the kernel draws a value between 0.5 and 1.5 times that every five minutes. And a reachable entry has no
//! timer: its transition to stale is computed when it is next used, which is not observable, and lets an idle world
//! terminate. Timers run only while a packet or a probe waits for a reply.

mod arp;
mod entry;
mod queue;
mod solicit;
mod table;

pub use entry::NeighState;
pub use table::{NeighTable, Resolution};

#[cfg(test)]
mod tests;
