//! The parts of a frame that the network determines, as opposed to random choices of the sender.
//!
//! Omitted: IP IDs, checksums (on a veth they may not be filled in yet), receive windows, TCP timestamps, absolute
//! sequence numbers, payload.

mod options;
mod sequence;
mod words;

pub use options::OptionSummary;
pub use sequence::{InitialSeqs, SeqSummary};

use std::net::Ipv4Addr;

use sim::wire::arp::Arp;
use sim::wire::{
    ETHERNET_HEADER_LEN, EtherType, Ethernet, Icmpv4, Ipv4, MacAddr, Quote, Tcp, TcpFlags, Udp, protocol,
};

use super::{Frame, FrameDirection};
use sequence::{InitialSeqsUntil, SegmentOrigins};

/// A frame reduced to the parts that are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameSummary {
    /// The direction.
    pub direction: FrameDirection,
    /// Source MAC address.
    pub src: MacAddr,
    /// Destination MAC address.
    pub dst: MacAddr,
    /// The contents.
    pub body: Body,
}

/// The contents of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// ARP for IPv4.
    Arp(Arp),
    /// An IPv4 packet.
    Ipv4(IpSummary),
    /// Contents that are not parsed.
    Other {
        /// Its EtherType.
        ethertype: u16,
    },
}

/// An IPv4 packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpSummary {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Time to live, in hops.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
    /// DF.
    pub dont_fragment: bool,
    /// Its place, if it is a fragment; `None` for a complete packet.
    pub fragment: Option<FragmentSummary>,
    /// The payload.
    pub payload: PayloadSummary,
}

/// The place of a fragment in its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentSummary {
    /// Its size without the IP header, in bytes.
    pub size: u16,
    /// The offset of its first byte.
    pub offset: u16,
    /// MF: it is not the last fragment.
    pub has_more: bool,
}

/// The payload of an IPv4 packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadSummary {
    /// A TCP segment.
    Tcp(TcpSummary),
    /// A UDP datagram.
    Udp {
        /// Source and destination port.
        ports: (u16, u16),
        /// Length of the data in bytes.
        len: usize,
    },
    /// An ICMP message.
    Icmp {
        /// Type.
        icmp_type: u8,
        /// Code.
        code: u8,
        /// The rest of the message.
        rest: IcmpRest,
    },
    /// Ports of a protocol whose header was truncated, as in the quote of an ICMP error.
    Ports {
        /// IP protocol number.
        protocol: u8,
        /// Source and destination port.
        ports: (u16, u16),
    },
    /// Anything else.
    Other {
        /// IP protocol number.
        protocol: u8,
        /// Length in bytes.
        len: usize,
    },
}

/// The part of an ICMP message after type, code and checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IcmpRest {
    /// A query or its reply, such as an echo.
    Query {
        /// Identifier.
        id: u16,
        /// Sequence number.
        sequence: u16,
    },
    /// An error.
    Error {
        /// The four bytes before the quote: the next-hop MTU in the last two (RFC 1191 §4), the gateway of a redirect,
        /// zero in most others (RFC 792).
        word: [u8; 4],
        /// The quoted packet; `None` if its header is incomplete.
        quote: Option<Box<IpSummary>>,
    },
}

/// A TCP segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpSummary {
    /// Source and destination port.
    pub ports: (u16, u16),
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: SeqSummary,
    /// Acknowledgment number, if ACK is set.
    pub ack: Option<SeqSummary>,
    /// Options in order, without padding.
    pub options: Vec<OptionSummary>,
    /// Length of the data in bytes.
    pub len: usize,
}

impl FrameSummary {
    /// The summary of a frame; `None` for malformed bytes.
    pub fn of(frame: &Frame, initial: &InitialSeqs) -> Option<Self> {
        let ethernet = Ethernet::new_checked(&*frame.bytes)?;
        let l3 = &frame.bytes[ETHERNET_HEADER_LEN..];
        let other = Body::Other { ethertype: ethernet.ethertype().number() };
        let body = match ethernet.ethertype() {
            EtherType::Arp => Arp::parse(l3).map_or(other, Body::Arp),
            EtherType::Ipv4 => Ipv4::new_checked(l3)
                .map_or(other, |ip| Body::Ipv4(IpSummary::of(&ip, ip.payload(), initial.until(frame.at)))),
            EtherType::Ipv6 | EtherType::Other(_) => other,
        };
        Some(Self { direction: frame.direction, src: ethernet.src(), dst: ethernet.dst(), body })
    }
}

impl IpSummary {
    fn of(ip: &Ipv4<&[u8]>, payload: &[u8], initial: InitialSeqsUntil<'_>) -> Self {
        let is_fragment = ip.fragment_offset() > 0 || ip.more_fragments();
        let header_len = u16::try_from(ip.header_len()).unwrap_or(u16::MAX);
        let fragment = FragmentSummary {
            size: ip.total_len().saturating_sub(header_len),
            offset: ip.fragment_offset(),
            has_more: ip.more_fragments(),
        };
        let payload = match ip.fragment_offset() {
            0 => PayloadSummary::of(ip, payload, initial),
            _ => PayloadSummary::Other { protocol: ip.protocol(), len: payload.len() },
        };
        Self {
            src: ip.src(),
            dst: ip.dst(),
            ttl: ip.ttl(),
            tos: ip.tos(),
            dont_fragment: ip.dont_fragment(),
            fragment: is_fragment.then_some(fragment),
            payload,
        }
    }

    /// The packet quoted in an ICMP error: a header, and as much of the rest as the sender included.
    fn quoted(bytes: &[u8], initial: InitialSeqsUntil<'_>) -> Option<Box<Self>> {
        let Quote { ip, l4 } = Quote::parse(bytes)?;
        Some(Box::new(Self::of(&ip, l4, initial)))
    }
}

impl PayloadSummary {
    fn of(ip: &Ipv4<&[u8]>, bytes: &[u8], initial: InitialSeqsUntil<'_>) -> Self {
        let number = ip.protocol();
        let other = || Self::Other { protocol: number, len: bytes.len() };
        match number {
            protocol::TCP => Tcp::new_checked(bytes).map_or_else(
                || cut_off(number, bytes),
                |tcp| Self::Tcp(TcpSummary::of(&tcp, initial.of_segment(ip, &tcp))),
            ),
            protocol::UDP => Udp::new_checked(bytes).map_or_else(
                || cut_off(number, bytes),
                |udp| Self::Udp { ports: (udp.src_port(), udp.dst_port()), len: udp.payload().len() },
            ),
            protocol::ICMP => Icmpv4::new_checked(bytes).map_or_else(other, |icmp| Self::Icmp {
                icmp_type: icmp.icmp_type(),
                code: icmp.code(),
                rest: IcmpRest::of(&icmp, initial),
            }),
            _ => other(),
        }
    }
}

impl IcmpRest {
    fn of(icmp: &Icmpv4<&[u8]>, initial: InitialSeqsUntil<'_>) -> Self {
        match icmp.is_error() {
            true => Self::Error { word: icmp.word(), quote: IpSummary::quoted(icmp.payload(), initial) },
            false => Self::Query { id: icmp.id(), sequence: icmp.sequence() },
        }
    }
}

fn cut_off(number: u8, bytes: &[u8]) -> PayloadSummary {
    match *bytes {
        [a, b, c, d, ..] => {
            let ports = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            PayloadSummary::Ports { protocol: number, ports }
        }
        _ => PayloadSummary::Other { protocol: number, len: bytes.len() },
    }
}

impl TcpSummary {
    fn of(tcp: &Tcp<&[u8]>, initial: SegmentOrigins<'_>) -> Self {
        let flags = tcp.flags();
        Self {
            ports: (tcp.src_port(), tcp.dst_port()),
            flags,
            seq: initial.own(tcp.sequence()),
            ack: flags.contains(TcpFlags::ACK).then(|| initial.peer(tcp.acknowledgment())),
            options: options::read(tcp.options(), initial),
            len: tcp.payload().len(),
        }
    }

    /// True for an ACK without data and other flags.
    pub fn is_pure_ack(&self) -> bool {
        self.flags == TcpFlags::ACK && self.len == 0
    }
}

impl PayloadSummary {
    /// Source and destination port, if present.
    pub const fn ports(&self) -> Option<(u16, u16)> {
        match self {
            Self::Tcp(TcpSummary { ports, .. }) | Self::Udp { ports, .. } | Self::Ports { ports, .. } => {
                Some(*ports)
            }
            Self::Icmp { .. } | Self::Other { .. } => None,
        }
    }
}
