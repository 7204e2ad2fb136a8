//! The paths of a client's first packets: each SYN, datagram or echo request that starts a flow, hop by hop.
//!
//! For these packets a kernel makes random choices: the endpoint and the source port. Replies follow from them.

use std::net::Ipv4Addr;
use std::time::Duration;

use sim::wire::{Icmpv4, Ipv4, Tcp, TcpFlags, Udp, protocol};

use super::{Frame, FrameDirection};

/// A packet that starts a flow, from device to device. It is recognized by its IP ID, which no translation changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Where it was seen, in frame order; never empty.
    pub hops: Vec<Sighting>,
}

/// A packet at a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The time.
    pub at: Duration,
    /// The place and its addresses there.
    pub place: Appearance,
}

/// Where a packet was seen, and its addresses there. For echo requests, the ports are the identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Appearance {
    /// The node's name.
    pub netns: String,
    /// The device.
    pub device: String,
    /// The direction.
    pub direction: FrameDirection,
    /// Source address and port.
    pub src: (Ipv4Addr, u16),
    /// Destination address and port.
    pub dst: (Ipv4Addr, u16),
}

/// A source port assigned by a translation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslatedPort {
    /// The translating node.
    pub netns: String,
    /// The port before.
    pub before: u16,
    /// The port after; equal if it was not changed.
    pub after: u16,
}

/// The packets with which a client starts flows.
#[derive(Debug, Clone, Copy)]
pub enum FlowStart<'a> {
    /// A SYN, a datagram with this payload, or an echo request.
    Request(&'a [u8]),
    /// Any TCP segment or UDP datagram for which this returns true, given the protocol number and the packet without
    /// its IP header. A raw socket can start a flow with anything.
    Any(fn(u8, &[u8]) -> bool),
}

/// The packets with which a client starts flows, in order.
///
/// A packet that the client's own rules dropped appears on no device and is not included.
pub fn attempts(frames: &[Frame], client: &str, opening: FlowStart<'_>) -> Vec<Attempt> {
    let mut attempts: Vec<((u8, u16, u32), Attempt)> = Vec::new();
    for frame in frames {
        let Some(packet) = FirstPacket::of(frame, opening) else { continue };
        // An unrelated segment may have the same IP ID, but not the same sequence number too.
        let key = (packet.protocol, packet.ident, packet.seq);
        let hop = Sighting { at: frame.at, place: packet.place };
        match attempts.iter_mut().find(|(known, _)| *known == key) {
            Some((_, attempt)) => attempt.hops.push(hop),
            None if hop.place.netns == client && hop.place.direction == FrameDirection::Transmitted => {
                attempts.push((key, Attempt { hops: vec![hop] }));
            }
            // It started before these frames, or comes from another host.
            None => {}
        }
    }
    attempts.into_iter().map(|(_, attempt)| attempt).collect()
}

/// The time at which the first side deviates from the second: the time of the deciding choice, or slightly later.
/// `None` if the paths are equal, or differ only in the number of attempts.
pub fn parted(first: &[Attempt], second: &[Attempt]) -> Option<Duration> {
    let pairs = first.iter().zip(second);
    pairs.into_iter().find_map(|(first, second)| first.parted(second))
}

/// The translations of the source port, in the order in which nodes must have made random choices. `own` is the
/// client's port.
///
/// Later packets of a flow keep the port of the first; a node that left the port unchanged may have chosen it at
/// random, and is listed once.
pub fn translated_ports(attempts: &[Attempt], own: u16) -> Vec<TranslatedPort> {
    let mut ports: Vec<TranslatedPort> = Vec::new();
    for attempt in attempts {
        let mut before = own;
        for Sighting { place, .. } in &attempt.hops {
            let (netns, after) = (&place.netns, place.src.1);
            let port = TranslatedPort { netns: netns.clone(), before, after };
            let is_known =
                ports.iter().rev().find(|known| known.netns == *netns).is_some_and(|known| *known == port);
            if before != after && !is_known {
                ports.push(port);
            }
            before = after;
        }
    }
    let untouched: Vec<TranslatedPort> = attempts
        .iter()
        .flat_map(|attempt| &attempt.hops)
        .filter(|hop| ports.iter().all(|port| port.netns != hop.place.netns))
        .map(|Sighting { place, .. }| TranslatedPort {
            netns: place.netns.clone(),
            before: place.src.1,
            after: place.src.1,
        })
        .collect();
    for port in untouched {
        if ports.iter().all(|known| known.netns != port.netns) {
            ports.push(port);
        }
    }
    ports
}

impl Attempt {
    /// As [`parted`]. Bridges flood ports in any order, so the order of hops is ignored.
    fn parted(&self, other: &Self) -> Option<Duration> {
        let mut theirs: Vec<&Appearance> = other.hops.iter().map(|hop| &hop.place).collect();
        let mut last = None;
        for Sighting { at, place } in &self.hops {
            let Some(same) = theirs.iter().position(|their| *their == place) else { return Some(*at) };
            theirs.swap_remove(same);
            last = Some(*at);
        }
        // The other side continued where this one ended.
        last.filter(|_| !theirs.is_empty())
    }
}

struct FirstPacket {
    protocol: u8,
    ident: u16,
    /// Sequence number of a TCP segment.
    seq: u32,
    place: Appearance,
}

impl FirstPacket {
    /// The packet of a frame, if it may start a flow.
    fn of(frame: &Frame, opening: FlowStart<'_>) -> Option<Self> {
        let ip = Ipv4::new_checked(frame.ipv4()?)?;
        let is_opening = match opening {
            FlowStart::Request(request) => is_request(&ip, request),
            FlowStart::Any(is_meant) => is_meant(ip.protocol(), ip.payload()),
        };
        let (src_port, dst_port, seq) = match ip.protocol() {
            protocol::TCP => {
                let tcp = Tcp::new_checked(ip.payload())?;
                (tcp.src_port(), tcp.dst_port(), tcp.sequence())
            }
            protocol::UDP => {
                let udp = Udp::new_checked(ip.payload())?;
                (udp.src_port(), udp.dst_port(), 0)
            }
            protocol::ICMP => {
                let icmp = Icmpv4::new_checked(ip.payload())?;
                (icmp.id(), icmp.id(), 0)
            }
            _ => return None,
        };
        let place = Appearance {
            netns: frame.netns.clone(),
            device: frame.device.clone(),
            direction: frame.direction,
            src: (ip.src(), src_port),
            dst: (ip.dst(), dst_port),
        };
        is_opening.then(|| Self { protocol: ip.protocol(), ident: ip.ident(), seq, place })
    }
}

/// True for a SYN, a datagram with payload `request`, or an echo request.
fn is_request(ip: &Ipv4<&[u8]>, request: &[u8]) -> bool {
    match ip.protocol() {
        protocol::TCP => Tcp::new_checked(ip.payload())
            .is_some_and(|tcp| tcp.flags().contains(TcpFlags::SYN) && !tcp.flags().contains(TcpFlags::ACK)),
        protocol::UDP => Udp::new_checked(ip.payload()).is_some_and(|udp| udp.payload() == request),
        protocol::ICMP => {
            let echo_request = sim::wire::icmpv4::icmp_type::ECHO_REQUEST;
            Icmpv4::new_checked(ip.payload()).is_some_and(|icmp| icmp.icmp_type() == echo_request)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
