//! The paths of a client's first packets: each SYN, datagram or echo request that starts a flow, hop by hop.
//!
//! For these packets a kernel makes random choices: the endpoint and the source port. Replies follow from them.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use sim::wire::udp::UDP_HEADER_LEN;
use sim::wire::{Icmpv4, Ipv4, Tcp, TcpFlags, protocol};

use super::{Frame, FrameDirection};

/// What no translation changes in a packet. An unrelated segment may have the same IP ID, but not the same sequence
/// number too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PacketId {
    /// The protocol number.
    pub protocol: u8,
    /// The IP ID.
    pub ident: u16,
    /// Sequence number of a TCP segment, otherwise zero.
    pub seq: u32,
}

/// The sender of a packet before its own netns translates it. The address is `None` if its kernel chooses it.
pub type Source = (Option<Ipv4Addr>, u16);

/// A packet that starts a flow, from device to device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its source before any translation.
    pub src: Source,
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

impl fmt::Display for Appearance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { netns, device, direction, src, dst } = self;
        let direction = match direction {
            FrameDirection::Received => "in",
            FrameDirection::Transmitted => "out",
        };
        write!(formatter, "{netns} {device} {direction} {}.{} > {}.{}", src.0, src.1, dst.0, dst.1)
    }
}

/// A source port assigned by a translation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslatedPort {
    /// The translating node.
    pub netns: String,
    /// The source before. Flows of several sources may pass the node in one exchange.
    pub before: Source,
    /// The port after; equal if it was not changed.
    pub after: u16,
}

/// The packets with which a client starts flows.
#[derive(Debug, Clone, Copy)]
pub enum FlowStart<'a> {
    /// SYNs, datagrams with this payload, or echo requests, all from this port or with this identifier.
    Request(&'a [u8], u16),
    /// On a connection that was opened before: datagrams or segments with this payload, and segments that close. A node
    /// that has forgotten the connection takes the first of them for the start of a flow.
    Continued(&'a [u8], u16),
    /// What [`FlowStart::Request`] and [`FlowStart::Continued`] are: data starts a flow on a node that has deleted the one of
    /// the SYN.
    RequestOrContinued(&'a [u8], u16),
    /// These packets, each with its source: a raw socket can start a flow with anything. Responses of the sender's own
    /// servers start none.
    Known(&'a [(PacketId, Source)]),
}

impl FlowStart<'_> {
    /// The source of a packet that may start a flow, before any translation.
    fn source(&self, ip: &Ipv4<&[u8]>, id: PacketId) -> Option<Source> {
        match self {
            Self::Request(request, port) => is_request(ip, request).then_some((None, *port)),
            Self::Continued(request, port) => continues(ip, request).then_some((None, *port)),
            Self::RequestOrContinued(request, port) => {
                (is_request(ip, request) || continues(ip, request)).then_some((None, *port))
            }
            Self::Known(packets) => packets.iter().find(|(known, _)| *known == id).map(|(_, src)| *src),
        }
    }
}

/// The packets with which a client starts flows, in order.
///
/// A packet that the client's own rules dropped appears on no device and is not included.
pub fn attempts(frames: &[Frame], client: &str, opening: FlowStart<'_>) -> Vec<Attempt> {
    let mut attempts: Vec<(PacketId, Attempt)> = Vec::new();
    for frame in frames {
        let Some(FirstPacket { id, src, place }) = FirstPacket::of(frame, opening) else { continue };
        let hop = Sighting { at: frame.at, place };
        match attempts.iter_mut().find(|(known, _)| *known == id) {
            Some((_, attempt)) => attempt.hops.push(hop),
            None if hop.place.netns == client && hop.place.direction == FrameDirection::Transmitted => {
                attempts.push((id, Attempt { src, hops: vec![hop] }));
            }
            // It started before these frames, or comes from another host.
            None => {}
        }
    }
    attempts.into_iter().map(|(_, attempt)| attempt).collect()
}

/// How the first side deviates from the second, and when: at the time of the deciding choice, or slightly later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// It goes where the second does not.
    Elsewhere(Duration),
    /// It ends after this hop, and the second goes on. Where frames are hidden, the choice may be later.
    Ended(Duration),
}

impl Parting {
    /// The time.
    pub const fn at(self) -> Duration {
        match self {
            Self::Elsewhere(at) | Self::Ended(at) => at,
        }
    }
}

/// Where the first side deviates from the second. `None` if the paths are equal, or differ only in the number of attempts.
pub fn parted(first: &[Attempt], second: &[Attempt]) -> Option<Parting> {
    let pairs = first.iter().zip(second);
    pairs.into_iter().find_map(|(first, second)| first.parted(second))
}

/// The translations in an exchange, of the packets that open its flows and of those that may open them again. What comes
/// before the first one may be the end of the connection before, which has a port of its own.
pub fn ports_since(opening: &[Attempt], mut reopening: Vec<Attempt>) -> Vec<TranslatedPort> {
    let begun = opening.first().and_then(Attempt::begun);
    reopening.retain(|attempt| begun.is_none_or(|begun| attempt.begun().is_some_and(|at| at >= begun)));
    translated_ports(&reopening)
}

/// The translations of the source port, in the order in which nodes must have made random choices.
///
/// Later packets of a flow keep the port of the first; a node that left the port of a source unchanged may have chosen
/// it at random, and is listed once.
fn translated_ports(attempts: &[Attempt]) -> Vec<TranslatedPort> {
    let mut ports: Vec<TranslatedPort> = Vec::new();
    let mut untouched = Vec::new();
    for Attempt { src, hops } in attempts {
        let (mut before, mut here) = (*src, None);
        for Sighting { place, .. } in hops {
            let port = TranslatedPort { netns: place.netns.clone(), before, after: place.src.1 };
            if before.1 == port.after {
                // Within a netns, the source is that of its arrival.
                untouched.extend((here != Some(&place.netns)).then_some(port));
            } else if ports.iter().rev().find(|known| known.is_of(&port)) != Some(&port) {
                ports.push(port);
            }
            (before, here) = ((Some(place.src.0), place.src.1), Some(&place.netns));
        }
    }
    for port in untouched {
        if ports.iter().all(|known| !known.is_of(&port)) {
            ports.push(port);
        }
    }
    ports
}

impl TranslatedPort {
    /// True if both are about the same source on the same node.
    pub fn is_of(&self, other: &Self) -> bool {
        let (own, theirs) = (self.before, other.before);
        let is_same_addr = own.0.is_none() || theirs.0.is_none() || own.0 == theirs.0;
        self.netns == other.netns && own.1 == theirs.1 && is_same_addr
    }

    /// True if the port was changed.
    pub const fn is_changed(&self) -> bool {
        self.before.1 != self.after
    }
}

impl Attempt {
    /// The time when it was first seen.
    pub fn begun(&self) -> Option<Duration> {
        self.hops.first().map(|hop| hop.at)
    }

    /// As [`parted`]. Bridges flood ports in any order, so the order of hops is ignored.
    fn parted(&self, other: &Self) -> Option<Parting> {
        let mut theirs: Vec<&Appearance> = other.hops.iter().map(|hop| &hop.place).collect();
        let mut last = None;
        for Sighting { at, place } in &self.hops {
            let Some(same) = theirs.iter().position(|their| *their == place) else {
                return Some(Parting::Elsewhere(*at));
            };
            theirs.swap_remove(same);
            last = Some(*at);
        }
        last.filter(|_| !theirs.is_empty()).map(Parting::Ended)
    }
}

/// A packet that may start a flow.
struct FirstPacket {
    id: PacketId,
    src: Source,
    place: Appearance,
}

impl FirstPacket {
    fn of(frame: &Frame, opening: FlowStart<'_>) -> Option<Self> {
        let ip = Ipv4::new_checked(frame.ipv4()?)?;
        let (id, (src_port, dst_port)) = parsed(&ip)?;
        let place = Appearance {
            netns: frame.netns.clone(),
            device: frame.device.clone(),
            direction: frame.direction,
            src: (ip.src(), src_port),
            dst: (ip.dst(), dst_port),
        };
        Some(Self { id, src: opening.source(&ip, id)?, place })
    }
}

impl PacketId {
    /// Of a packet of TCP, UDP or ICMP, or of its first fragment; later fragments take the path of the first one.
    pub fn of(ip: &Ipv4<&[u8]>) -> Option<Self> {
        parsed(ip).map(|(id, _)| id)
    }
}

/// The identity of a packet, with its ports; `None` for a fragment without ports.
fn parsed(ip: &Ipv4<&[u8]>) -> Option<(PacketId, (u16, u16))> {
    if ip.fragment_offset() > 0 {
        return None;
    }
    let (ports, seq) = match ip.protocol() {
        protocol::TCP => {
            let tcp = Tcp::new_checked(ip.payload())?;
            ((tcp.src_port(), tcp.dst_port()), tcp.sequence())
        }
        // The length in the header of a first fragment is that of the whole datagram.
        protocol::UDP => {
            let [src_high, src_low, dst_high, dst_low, ..] = *ip.payload() else { return None };
            ((u16::from_be_bytes([src_high, src_low]), u16::from_be_bytes([dst_high, dst_low])), 0)
        }
        protocol::ICMP => {
            let icmp = Icmpv4::new_checked(ip.payload())?;
            ((icmp.id(), icmp.id()), 0)
        }
        _ => return None,
    };
    Some((PacketId { protocol: ip.protocol(), ident: ip.ident(), seq }, ports))
}

/// True for a SYN, a datagram with payload `request`, or an echo request.
fn is_request(ip: &Ipv4<&[u8]>, request: &[u8]) -> bool {
    match ip.protocol() {
        protocol::TCP => Tcp::new_checked(ip.payload())
            .is_some_and(|tcp| tcp.flags().contains(TcpFlags::SYN) && !tcp.flags().contains(TcpFlags::ACK)),
        protocol::UDP => is_datagram(ip.payload(), request),
        protocol::ICMP => {
            let echo_request = sim::wire::icmpv4::icmp_type::ECHO_REQUEST;
            Icmpv4::new_checked(ip.payload()).is_some_and(|icmp| icmp.icmp_type() == echo_request)
        }
        _ => false,
    }
}

/// True for a datagram with payload `request`, or its first fragment.
fn is_datagram(bytes: &[u8], request: &[u8]) -> bool {
    let Some((header, data)) = bytes.split_at_checked(UDP_HEADER_LEN) else { return false };
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    length == UDP_HEADER_LEN + request.len() && request.starts_with(data)
}

/// True for a datagram with payload `request`, the segment with which it begins, or a FIN.
fn continues(ip: &Ipv4<&[u8]>, request: &[u8]) -> bool {
    let begins = |tcp: &Tcp<&[u8]>| !tcp.payload().is_empty() && request.starts_with(tcp.payload());
    match ip.protocol() {
        protocol::TCP => Tcp::new_checked(ip.payload())
            .is_some_and(|tcp| tcp.flags().contains(TcpFlags::FIN) || begins(&tcp)),
        _ => is_request(ip, request),
    }
}

#[cfg(test)]
mod tests;
