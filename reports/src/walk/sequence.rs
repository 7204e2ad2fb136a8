//! Sequence numbers relative to the SYN.
//!
//! NAT changes addresses and ports on the path but not sequence numbers, so numbers are resolved where a packet is
//! created, and apply to all of its frames.

use super::Beginning;
use crate::frame::Origins;
use sim::ids::{NetnsId, PacketId};
use sim::packet::Origin;
use sim::wire::{ETHERNET_HEADER_LEN, Headers, Ipv4, L4, Tcp, TcpFlags};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// One end of a connection, as seen in its own netns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    netns: NetnsId,
    own: (IpAddr, u16),
    peer: (IpAddr, u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Opener,
    Listener,
}

/// Connections, indexed by their ends and by their packets.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    connections: Vec<Connection>,
    ends: BTreeMap<End, (usize, Side)>,
    packets: BTreeMap<PacketId, (usize, Side)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Connection {
    opener: u32,
    listener: u32,
}

impl Sequences {
    /// Records a new packet, and returns what its numbers are relative to. `None` if it belongs to no connection whose
    /// SYN was recorded.
    pub(super) fn of(&mut self, packet: PacketId, beginning: &Beginning<'_>) -> Option<Origins> {
        let segment = Segment::read(beginning)?;
        let (index, side) = match (beginning.origin, beginning.cause) {
            (Origin::Clone | Origin::Fragment, Some(original)) => *self.packets.get(&original)?,
            (
                Origin::Socket | Origin::Kernel | Origin::Injected | Origin::Clone | Origin::Fragment,
                cause,
            ) => self.place(&segment, cause)?,
        };
        self.packets.insert(packet, (index, side));
        let Connection { opener, listener } = self.connections[index];
        Some(match side {
            Side::Opener => Origins { sequence: opener, acknowledgment: listener },
            Side::Listener => Origins { sequence: listener, acknowledgment: opener },
        })
    }

    fn place(&mut self, segment: &Segment, cause: Option<PacketId>) -> Option<(usize, Side)> {
        let is_syn = segment.flags.contains(TcpFlags::SYN);
        if is_syn && !segment.flags.contains(TcpFlags::ACK) {
            let known = self.ends.get(&segment.end).copied();
            // A retransmitted SYN repeats the number of the first; a different number means another connection.
            if let Some((index, side)) = known
                && self.connections[index].opener == segment.sequence
            {
                return Some((index, side));
            }
            let place = (self.connections.len(), Side::Opener);
            self.connections.push(Connection { opener: segment.sequence, listener: 0 });
            self.ends.insert(segment.end, place);
            return Some(place);
        }
        if let Some(known) = self.ends.get(&segment.end) {
            return Some(*known);
        }
        // A reply: from the listener, or from a hop that resets the connection.
        let (index, asked) = *self.packets.get(&cause?)?;
        let side = match asked {
            Side::Opener => Side::Listener,
            Side::Listener => Side::Opener,
        };
        if is_syn {
            self.connections[index].listener = segment.sequence;
            self.ends.insert(segment.end, (index, side));
        }
        Some((index, side))
    }
}

struct Segment {
    end: End,
    flags: TcpFlags,
    sequence: u32,
}

impl Segment {
    fn read(beginning: &Beginning<'_>) -> Option<Self> {
        let l3 = beginning.frame.get(ETHERNET_HEADER_LEN..)?;
        let headers = Headers::parse(l3)?;
        let L4::Tcp { src_port, dst_port, flags } = headers.l4 else { return None };
        let sequence = Tcp::new_checked(Ipv4::new_checked(l3)?.payload())?.sequence();
        let end = End { netns: beginning.netns, own: (headers.src, src_port), peer: (headers.dst, dst_port) };
        Some(Self { end, flags, sequence })
    }
}

#[cfg(test)]
mod tests;
