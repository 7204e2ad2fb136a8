//! When a kernel that a world follows received the same packets.
//!
//! Rate limits of ICMP messages depend on time, and a busy machine processes a packet some milliseconds later than
//! virtual time has it. Whether a limit was exceeded is often not visible either: NAT drops a router's redirects on
//! their way out, yet they count. A world that follows a kernel therefore measures rate limits by that kernel's clock:
//! by the times at which it received the packets that the messages are about. Limits and decisions remain the world's
//! own.
//!
//! The timer of a neighbour that does not reply follows the kernel's requests in the same way: each next request, and the
//! error at last, comes as long after the one before as the kernel waits for a reply.

use crate::ids::NetnsId;
use crate::time::{Duration, Instant};
use crate::wire::{Ipv4, protocol};
use rustc_hash::FxHashMap;
use std::net::Ipv4Addr;

/// How much earlier or later the kernel may have received the same packet. Another arrival is another packet's.
pub const LATENESS_MAX: Duration = Duration::from_millis(100);

/// A packet that the kernel received, or an ARP request that it sent.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The netns that received or sent it.
    pub netns: NetnsId,
    /// The time.
    pub at: Instant,
    /// What it was.
    pub what: Seen<'a>,
}

/// What a kernel received or sent.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// An IP packet received, from its IP header on.
    Packet(&'a [u8]),
    /// An ARP request sent, for this address.
    Request(Ipv4Addr),
}

/// The arrivals known so far; empty if no kernel is followed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrivals {
    times: FxHashMap<(NetnsId, Likeness), Vec<Instant>>,
}

impl Arrivals {
    /// Adds arrivals, and forgets those that are too early for packets received from `now` on.
    pub(crate) fn add<'a>(&mut self, now: Instant, arrivals: impl IntoIterator<Item = Arrival<'a>>) {
        self.times.retain(|_, times| {
            times.retain(|at| now.saturating_since(*at) <= LATENESS_MAX);
            !times.is_empty()
        });
        for Arrival { netns, at, what } in arrivals {
            if let Some(likeness) = Likeness::of(what) {
                self.times.entry((netns, likeness)).or_default().push(at);
            }
        }
    }

    /// How many nanoseconds later than `now` the kernel received or sent it: negative if earlier, zero if it did not.
    pub(crate) fn lateness(&self, netns: NetnsId, now: Instant, what: Seen<'_>) -> i64 {
        if self.times.is_empty() {
            return 0;
        }
        let known = Likeness::of(what).and_then(|likeness| self.times.get(&(netns, likeness)));
        let lateness = |at: &Instant| at.as_nanos().cast_signed() - now.as_nanos().cast_signed();
        let nearest = known.into_iter().flatten().map(lateness).min_by_key(|late| late.unsigned_abs());
        nearest.filter(|late| u128::from(late.unsigned_abs()) <= LATENESS_MAX.as_nanos()).unwrap_or(0)
    }
}

/// What is the same on a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Likeness {
    Packet(PacketLikeness),
    Request(Ipv4Addr),
}

impl Likeness {
    /// `None` if a packet is cut off.
    fn of(what: Seen<'_>) -> Option<Self> {
        match what {
            Seen::Packet(packet) => PacketLikeness::of(packet).map(Self::Packet),
            Seen::Request(target) => Some(Self::Request(target)),
        }
    }
}

/// What a packet has in common with the same packet on a kernel. Identifications, sequence numbers and checksums differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct PacketLikeness {
    src: [u8; 4],
    dst: [u8; 4],
    protocol: u8,
    total_len: u16,
    fragment_offset: u16,
    /// The ports; of an ICMP query, the identifier and sequence number.
    ends: [u8; 4],
    /// The flags of a TCP segment; type and code of an ICMP message.
    kind: [u8; 2],
}

impl PacketLikeness {
    /// Of a packet from its IP header on; `None` if that is cut off.
    fn of(packet: &[u8]) -> Option<Self> {
        const TCP_FLAGS: usize = 13;
        let ip = Ipv4::new_checked(packet)?;
        let l4 = ip.payload();
        let byte = |index: usize| l4.get(index).copied().unwrap_or(0);
        let four = |index: usize| [byte(index), byte(index + 1), byte(index + 2), byte(index + 3)];
        let fragment_offset = ip.fragment_offset();
        let (ends, kind) = match ip.protocol() {
            // Later fragments begin with payload, which may contain anything.
            _ if fragment_offset > 0 => ([0; 4], [0; 2]),
            protocol::ICMP => (four(4), [byte(0), byte(1)]),
            protocol::TCP => (four(0), [byte(TCP_FLAGS), 0]),
            _ => (four(0), [0; 2]),
        };
        Some(Self {
            src: ip.src().octets(),
            dst: ip.dst().octets(),
            protocol: ip.protocol(),
            total_len: ip.total_len(),
            fragment_offset,
            ends,
            kind,
        })
    }
}

#[cfg(test)]
mod tests;
