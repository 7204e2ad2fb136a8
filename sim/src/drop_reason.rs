//! Why packets are dropped.

/// Why a packet was dropped; closed, so that reports and tests can list every reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// A rule or a chain policy dropped it.
    NetfilterDrop,
    /// Conntrack lost the race to insert its entry, or could not insert it.
    ConntrackInsertFailed,
    /// The conntrack table is full, and nothing in it may be deleted to make room.
    ConntrackTableFull,
    /// NAT found no free tuple, or no address to masquerade with.
    NatFailed,
    /// NAT cannot translate an ICMP error: it is malformed, or a redirect.
    NatIcmpRefused,
    /// The output device of a masqueraded flow changed (`nf_nat_oif_changed`).
    NatDeviceChanged,
    /// The Ethernet frame was for another host.
    OtherHost,
    /// The IP header is malformed.
    IpHeader,
    /// The IP header checksum is wrong.
    IpChecksum,
    /// Reverse path filter.
    IpRpFilter,
    /// The source is an address of the receiver itself.
    IpLocalSource,
    /// The source address can never be one (multicast, broadcast, zero).
    IpInvalidSource,
    /// 127/8 on a device that is not the loopback.
    IpLocalnet,
    /// The destination can never be one (zero, or a broadcast that would have to be forwarded).
    IpInvalidDestination,
    /// No route for a packet that arrived.
    IpNoRouteIn,
    /// No route for a packet of this netns.
    IpNoRouteOut,
    /// The route says unreachable.
    RouteUnreachable,
    /// The route says prohibited.
    RouteProhibited,
    /// The route says nothing and drops.
    RouteBlackhole,
    /// Forwarding is off (`ip_forward` of the receiving device).
    ForwardingOff,
    /// The time to live ran out.
    TtlExpired,
    /// Larger than the MTU, and it may not be fragmented.
    PacketTooBig,
    /// No socket for it.
    NoSocket,
    /// Protocol that nobody handles.
    ProtocolUnknown,
    /// TCP: wrong checksum.
    TcpChecksum,
    /// UDP: wrong checksum.
    UdpChecksum,
    /// ICMP: wrong checksum.
    IcmpChecksum,
    /// TCP: outside the window, or not acceptable in this state.
    TcpInvalid,
    /// TCP: the listener's queue is full.
    TcpListenOverflow,
    /// The neighbour did not answer.
    NeighFailed,
    /// Too many packets wait for the neighbour.
    NeighQueueFull,
    /// There are too many neighbours to add one.
    NeighTableFull,
    /// ARP that asks for nothing that this netns would answer.
    ArpNotForUs,
    /// An ARP packet that is malformed.
    ArpHeader,
    /// The bridge has no port by which it may leave.
    BridgeNoEgressPort,
    /// The device is down, or has no other end.
    DeviceDown,
    /// The device has no carrier, so nothing is queued on it: a bridge of which no port is up.
    QdiscDrop,
    /// A device without anyone behind it (dummy).
    DeviceDiscards,
    /// The link lost it.
    LinkLoss,
    /// The same packet circled until the bound on effects was reached.
    LoopDetected,
    /// Ethernet carried a protocol that is not modelled.
    UnhandledProtocol,
    /// Broadcast or multicast IP that nobody asked for.
    NotForUs,
    /// A fragment of a datagram that was not whole in time.
    FragmentTimeout,
    /// A fragment that was there already.
    FragmentKnown,
    /// Too many fragments of the same sender came between those of this datagram.
    FragmentTooFar,
    /// A fragment that contradicts the others of its datagram, or one of the others.
    FragmentWrong,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 46] = [
        Self::NetfilterDrop,
        Self::ConntrackInsertFailed,
        Self::ConntrackTableFull,
        Self::NatFailed,
        Self::NatIcmpRefused,
        Self::NatDeviceChanged,
        Self::OtherHost,
        Self::IpHeader,
        Self::IpChecksum,
        Self::IpRpFilter,
        Self::IpLocalSource,
        Self::IpInvalidSource,
        Self::IpLocalnet,
        Self::IpInvalidDestination,
        Self::IpNoRouteIn,
        Self::IpNoRouteOut,
        Self::RouteUnreachable,
        Self::RouteProhibited,
        Self::RouteBlackhole,
        Self::ForwardingOff,
        Self::TtlExpired,
        Self::PacketTooBig,
        Self::NoSocket,
        Self::ProtocolUnknown,
        Self::TcpChecksum,
        Self::UdpChecksum,
        Self::IcmpChecksum,
        Self::TcpInvalid,
        Self::TcpListenOverflow,
        Self::NeighFailed,
        Self::NeighQueueFull,
        Self::NeighTableFull,
        Self::ArpNotForUs,
        Self::ArpHeader,
        Self::BridgeNoEgressPort,
        Self::DeviceDown,
        Self::QdiscDrop,
        Self::DeviceDiscards,
        Self::LinkLoss,
        Self::LoopDetected,
        Self::UnhandledProtocol,
        Self::NotForUs,
        Self::FragmentTimeout,
        Self::FragmentKnown,
        Self::FragmentTooFar,
        Self::FragmentWrong,
    ];

    /// The kernel's name (`SKB_DROP_REASON_*`, include/net/dropreason-core.h, v6.18; a few are younger than v6.12) where it has one.
    pub const fn kernel_name(self) -> Option<&'static str> {
        match self {
            Self::NetfilterDrop
            | Self::ConntrackInsertFailed
            | Self::ConntrackTableFull
            | Self::NatFailed
            | Self::NatIcmpRefused
            | Self::NatDeviceChanged => Some("NETFILTER_DROP"),
            Self::OtherHost => Some("OTHERHOST"),
            Self::IpHeader | Self::TtlExpired => Some("IP_INHDR"),
            Self::IpChecksum => Some("IP_CSUM"),
            Self::IpRpFilter => Some("IP_RPFILTER"),
            Self::IpLocalSource => Some("IP_LOCAL_SOURCE"),
            Self::IpInvalidSource => Some("IP_INVALID_SOURCE"),
            Self::IpLocalnet => Some("IP_LOCALNET"),
            Self::IpInvalidDestination => Some("IP_INVALID_DEST"),
            Self::IpNoRouteIn => Some("IP_INNOROUTES"),
            // Linux: ip_error, net/ipv4/route.c. Both are EHOSTUNREACH there; it answers only where it forwards.
            Self::RouteUnreachable | Self::ForwardingOff => Some("IP_INADDRERRORS"),
            Self::IpNoRouteOut => Some("IP_OUTNOROUTES"),
            Self::PacketTooBig => Some("PKT_TOO_BIG"),
            Self::NoSocket => Some("NO_SOCKET"),
            Self::ProtocolUnknown => Some("IP_NOPROTO"),
            Self::TcpChecksum => Some("TCP_CSUM"),
            Self::UdpChecksum => Some("UDP_CSUM"),
            Self::IcmpChecksum => Some("ICMP_CSUM"),
            Self::TcpInvalid => Some("TCP_INVALID_SEQUENCE"),
            Self::TcpListenOverflow => Some("TCP_LISTEN_OVERFLOW"),
            Self::NeighFailed => Some("NEIGH_FAILED"),
            Self::NeighQueueFull => Some("NEIGH_QUEUEFULL"),
            Self::NeighTableFull => Some("NEIGH_CREATEFAIL"),
            Self::DeviceDown => Some("DEV_READY"),
            Self::QdiscDrop => Some("QDISC_DROP"),
            Self::UnhandledProtocol => Some("UNHANDLED_PROTO"),
            Self::FragmentTimeout => Some("FRAG_REASM_TIMEOUT"),
            Self::FragmentKnown => Some("DUP_FRAG"),
            Self::FragmentTooFar => Some("FRAG_TOO_FAR"),
            Self::RouteProhibited
            | Self::RouteBlackhole
            | Self::ArpNotForUs
            | Self::ArpHeader
            | Self::BridgeNoEgressPort
            | Self::DeviceDiscards
            | Self::LinkLoss
            | Self::LoopDetected
            | Self::NotForUs
            | Self::FragmentWrong => None,
        }
    }

    /// The reason in words, fit for the end of a sentence that names the packet.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NetfilterDrop => "a netfilter rule or policy dropped it",
            Self::ConntrackInsertFailed => "conntrack could not insert its entry",
            Self::ConntrackTableFull => "the conntrack table is full",
            Self::NatIcmpRefused => "NAT cannot translate this ICMP error",
            Self::NatFailed => "NAT found no tuple or address to use",
            Self::NatDeviceChanged => "its masqueraded flow now leaves by another device",
            Self::OtherHost => "the frame was addressed to another host",
            Self::IpHeader => "its IP header is malformed",
            Self::IpChecksum => "its IP header checksum is wrong",
            Self::IpRpFilter => "rp_filter: the route back to its source uses another device",
            Self::IpLocalSource => "its source is an address of the receiver",
            Self::IpInvalidSource => "its source address cannot be one",
            Self::IpLocalnet => "127.0.0.0/8 from a device other than lo, and route_localnet is off",
            Self::IpInvalidDestination => "its destination address cannot be one",
            Self::IpNoRouteIn => "there is no route to its destination",
            Self::IpNoRouteOut => "there is no route to its destination",
            Self::RouteUnreachable => "the route to its destination says unreachable",
            Self::RouteProhibited => "the route to its destination says prohibited",
            Self::RouteBlackhole => "the route to its destination is a blackhole",
            Self::ForwardingOff => "ip_forward is off",
            Self::TtlExpired => "its TTL ran out",
            Self::PacketTooBig => "it is larger than the MTU",
            Self::NoSocket => "no socket is bound to its port",
            Self::ProtocolUnknown => "nothing handles its protocol",
            Self::TcpChecksum => "its TCP checksum is wrong",
            Self::UdpChecksum => "its UDP checksum is wrong",
            Self::IcmpChecksum => "its ICMP checksum is wrong",
            Self::TcpInvalid => "TCP does not accept it in this state",
            Self::TcpListenOverflow => "the listener's queue is full",
            Self::NeighFailed => "the neighbour did not answer ARP",
            Self::NeighQueueFull => "too many packets wait for the neighbour",
            Self::NeighTableFull => "the neighbour table is full",
            Self::ArpNotForUs => "it asks for an address that is not held here",
            Self::ArpHeader => "its ARP header is malformed",
            Self::BridgeNoEgressPort => "the bridge has no port by which it may leave",
            Self::DeviceDown => "the device is down",
            Self::QdiscDrop => "the device has no carrier",
            Self::DeviceDiscards => "the device discards what it sends",
            Self::LinkLoss => "the link lost it",
            Self::LoopDetected => "it circled without end",
            Self::UnhandledProtocol => "its Ethernet protocol is not handled",
            Self::NotForUs => "nobody here asked for broadcast or multicast",
            Self::FragmentTimeout => "the other fragments of its datagram did not come in time",
            Self::FragmentKnown => "that fragment was there already",
            Self::FragmentTooFar => "too many other fragments of its sender came between",
            Self::FragmentWrong => "fragments of its datagram contradict each other",
        }
    }
}
