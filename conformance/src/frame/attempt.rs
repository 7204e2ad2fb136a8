//! How a client's first packets went: each SYN, datagram or echo request by which a flow begins, hop by hop.
//!
//! These are the packets for which a kernel decides: to which endpoint, and from which port. Answers follow from them.

use std::net::Ipv4Addr;
use std::time::Duration;

use sim::wire::{ETHERNET_HEADER_LEN, EtherType, Ethernet, Icmpv4, Ipv4, Tcp, TcpFlags, Udp, protocol};

use super::{Direction, Frame};

/// One of the packets by which a client begins a flow, from device to device. A packet is known again by its IP
/// identification, which no translation changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Where it was seen, in the order of the frames; never empty.
    pub hops: Vec<Sighting>,
}

/// A packet at a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// When.
    pub at: Duration,
    /// Where, and what it looked like there.
    pub place: Appearance,
}

/// Where a packet was seen, and what it looked like there. Ports of an echo request are its identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Appearance {
    /// The node's name.
    pub netns: String,
    /// The device.
    pub device: String,
    /// Which way.
    pub direction: Direction,
    /// Source address and port.
    pub src: (Ipv4Addr, u16),
    /// Destination address and port.
    pub dst: (Ipv4Addr, u16),
}

/// A port that a translation gave to the packets of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslatedPort {
    /// The node that did it.
    pub netns: String,
    /// The port before.
    pub before: u16,
    /// The port after; the same if it passed without a change.
    pub after: u16,
}

/// By which packets a client begins flows.
#[derive(Debug, Clone, Copy)]
pub enum FlowStart<'a> {
    /// By a SYN, a datagram that carries this, or an echo request.
    Request(&'a [u8]),
    /// By any TCP segment or UDP datagram of which this says so, given the protocol's number and the packet without its IP
    /// header. A raw socket can begin with anything.
    Any(fn(u8, &[u8]) -> bool),
}

/// The packets by which a client begins a flow, in order.
///
/// A packet that no device ever saw, because the client's own rules dropped it, is not among them.
pub fn attempts(frames: &[Frame], client: &str, opening: FlowStart<'_>) -> Vec<Attempt> {
    let mut attempts: Vec<((u8, u16, u32), Attempt)> = Vec::new();
    for frame in frames {
        let Some(packet) = FirstPacket::of(frame, opening) else { continue };
        // Somebody else's segment may have the same identification, but not the same sequence number as well.
        let key = (packet.protocol, packet.ident, packet.seq);
        let hop = Sighting { at: frame.at, place: packet.place };
        match attempts.iter_mut().find(|(known, _)| *known == key) {
            Some((_, attempt)) => attempt.hops.push(hop),
            None if hop.place.netns == client && hop.place.direction == Direction::Transmitted => {
                attempts.push((key, Attempt { hops: vec![hop] }));
            }
            // It began before these frames did, or somebody else sent it.
            None => {}
        }
    }
    attempts.into_iter().map(|(_, attempt)| attempt).collect()
}

/// When the first side went another way than the second: the time of the choice that differs, or a little later. `None`
/// if the second went the same way, or if they differ in nothing but how often the client tried.
pub fn parted(first: &[Attempt], second: &[Attempt]) -> Option<Duration> {
    let pairs = first.iter().zip(second);
    pairs.into_iter().find_map(|(first, second)| first.parted(second))
}

/// What translations made of the source port, in the order in which the nodes must have drawn. `own` is the client's.
///
/// Packets of one flow keep what the first was given; a node that left the port alone may have drawn the same one, and is
/// listed once.
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
    /// As [`parted`]. Bridges flood their ports in any order, so the order of hops does not count.
    fn parted(&self, other: &Self) -> Option<Duration> {
        let mut theirs: Vec<&Appearance> = other.hops.iter().map(|hop| &hop.place).collect();
        let mut last = None;
        for Sighting { at, place } in &self.hops {
            let Some(same) = theirs.iter().position(|their| *their == place) else { return Some(*at) };
            theirs.swap_remove(same);
            last = Some(*at);
        }
        // The other went on where this one ended.
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
    /// The packet of a frame, if a flow may begin by it.
    fn of(frame: &Frame, opening: FlowStart<'_>) -> Option<Self> {
        let is_ip = Ethernet::new_checked(&*frame.bytes)?.ethertype() == EtherType::Ipv4;
        let ip = Ipv4::new_checked(frame.bytes.get(ETHERNET_HEADER_LEN..)?).filter(|_| is_ip)?;
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

/// Whether it is a SYN, a datagram that carries `request`, or an echo request.
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
