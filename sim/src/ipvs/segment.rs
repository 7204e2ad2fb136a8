//! What IPVS reads of a packet.

use crate::wire::TcpFlags;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A protocol of virtual services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The name in listings (`ip_vs_proto_name`, net/netfilter/ipvs/ip_vs_core.c).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// What an SCTP packet means for the state of a connection (`enum ipvs_sctp_event_t`,
/// net/netfilter/ipvs/ip_vs_proto_sctp.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "chunk types of RFC 9260")]
pub enum SctpEvent {
    Data,
    Init,
    InitAck,
    CookieEcho,
    CookieAck,
    Shutdown,
    ShutdownAck,
    ShutdownComplete,
    Error,
    Abort,
}

impl SctpEvent {
    /// The event of a packet with this first chunk type, and second one if the first is COOKIE ECHO or COOKIE ACK, with
    /// which an ABORT may be bundled (`set_sctp_state`, `sctp_events`).
    pub const fn of(first: u8, second: Option<u8>) -> Self {
        match (first, second) {
            (10 | 11, Some(6)) | (6, _) => Self::Abort,
            (1, _) => Self::Init,
            (2, _) => Self::InitAck,
            (7, _) => Self::Shutdown,
            (8, _) => Self::ShutdownAck,
            (9, _) => Self::Error,
            (10, _) => Self::CookieEcho,
            (11, _) => Self::CookieAck,
            (14, _) => Self::ShutdownComplete,
            // DATA, SACK, HEARTBEAT, ECN and unknown chunks.
            _ => Self::Data,
        }
    }
}

/// The transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP segment.
    Tcp(TcpFlags),
    /// A UDP datagram.
    Udp,
    /// An SCTP packet.
    Sctp(SctpEvent),
}

impl Transport {
    /// The protocol.
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Tcp(_) => Protocol::Tcp,
            Self::Udp => Protocol::Udp,
            Self::Sctp(_) => Protocol::Sctp,
        }
    }

    /// True for packets that abort a connection: they are not answered with an error (`is_tcp_reset`, `is_sctp_abort`,
    /// net/netfilter/ipvs/ip_vs_core.c).
    pub const fn is_abort(self) -> bool {
        match self {
            Self::Tcp(flags) => flags.contains(TcpFlags::RST),
            Self::Sctp(event) => matches!(event, SctpEvent::Abort),
            Self::Udp => false,
        }
    }

    /// True for packets that begin a connection (`is_new_conn`, net/netfilter/ipvs/ip_vs_core.c).
    pub const fn opens_connection(self) -> bool {
        match self {
            Self::Tcp(flags) => flags.contains(TcpFlags::SYN),
            Self::Sctp(event) => matches!(event, SctpEvent::Init),
            Self::Udp => false,
        }
    }
}

/// A packet of one of the protocols that IPVS handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Source address and port.
    pub src: SocketAddr,
    /// Destination address and port.
    pub dst: SocketAddr,
    /// Its transport header.
    pub transport: Transport,
    /// Its mark.
    pub mark: u32,
    /// It was received on the loopback device, or a process of this netns sends it.
    pub is_local: bool,
    /// It belongs to a confirmed conntrack entry (`nf_ct_is_confirmed`).
    pub has_confirmed_entry: bool,
}

/// A direction of a connection by its addresses: the key of both lookups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// `None` for templates of services by firewall mark (`IPPROTO_IP`).
    pub protocol: Option<Protocol>,
    /// The client.
    pub client: SocketAddr,
    /// The other end: the virtual address or the real server.
    pub peer: SocketAddr,
}

impl Segment {
    /// The key of the connection if the packet comes from its client.
    pub const fn client_flow(&self) -> FlowKey {
        FlowKey { protocol: Some(self.transport.protocol()), client: self.src, peer: self.dst }
    }

    /// The key of the connection if the packet goes to its client.
    pub const fn server_flow(&self) -> FlowKey {
        FlowKey { protocol: Some(self.transport.protocol()), client: self.dst, peer: self.src }
    }
}

impl fmt::Display for FlowKey {
    /// `TCP 192.0.2.1:40000 -> 10.96.0.1:80`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.protocol.map_or("IP", Protocol::name);
        write!(f, "{protocol} {} -> {}", self.client, self.peer)
    }
}

/// The 32 bits of an address that hash tables of IPVS use: XOR of the words of an IPv6 address (`addr_fold`).
pub(super) fn fold(addr: IpAddr) -> u32 {
    match addr {
        IpAddr::V4(addr) => addr.to_bits(),
        IpAddr::V6(addr) => {
            let octets = addr.octets();
            octets
                .chunks_exact(4)
                .fold(0, |fold, word| fold ^ u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
        }
    }
}
