//! Why packets are dropped.

/// Why a packet was dropped; a closed list, so that reports and tests can enumerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Dropped by a rule or a chain policy.
    NetfilterDrop,
    /// Conntrack could not insert the entry, for example because of a clash.
    ConntrackInsertFailed,
    /// The conntrack table is full, and no entry can be evicted.
    ConntrackTableFull,
    /// NAT found no free tuple, or no address to masquerade with.
    NatFailed,
    /// NAT cannot translate an ICMP error, because it is malformed or a redirect.
    NatIcmpRefused,
    /// The output device of a masqueraded flow changed (`nf_nat_oif_changed`).
    NatDeviceChanged,
    /// IPVS: no server of the service accepts new connections (`ip_vs_leave`).
    IpvsNoServer,
    /// IPVS: the server of the connection was deleted.
    IpvsServerGone,
    /// IPVS: the conntrack entry of an earlier connection must end first.
    IpvsOldConntrack,
    /// IPVS: `drop_packet` drops some new connections.
    IpvsDropRate,
    /// IPVS: an SCTP packet that belongs to no association and opens none.
    IpvsNoAssociation,
    /// IPVS: a packet of a server that belongs to no connection (`nat_icmp_send`).
    IpvsNoConnection,
    /// IPVS: the packet must not cross between this netns and others (`crosses_local_route_boundary`).
    IpvsLocalBoundary,
    /// The Ethernet frame was addressed to another host.
    OtherHost,
    /// The IP header is malformed.
    IpHeader,
    /// The IP header checksum is wrong.
    IpChecksum,
    /// Reverse path filter.
    IpRpFilter,
    /// The source is a local address of the receiver.
    IpLocalSource,
    /// The source address is invalid (multicast, broadcast, zero).
    IpInvalidSource,
    /// 127/8 on a device other than the loopback device.
    IpLocalnet,
    /// The destination address is invalid (zero, or a broadcast that would be forwarded).
    IpInvalidDestination,
    /// No route for a received packet.
    IpNoRouteIn,
    /// No route for a locally generated packet.
    IpNoRouteOut,
    /// The route has type unreachable.
    RouteUnreachable,
    /// The route has type prohibit.
    RouteProhibited,
    /// The route has type blackhole.
    RouteBlackhole,
    /// Forwarding is off (`ip_forward` of the receiving device).
    ForwardingOff,
    /// The TTL expired.
    TtlExpired,
    /// Larger than the MTU, and must not be fragmented.
    PacketTooBig,
    /// No matching socket.
    NoSocket,
    /// Unknown transport protocol.
    ProtocolUnknown,
    /// TCP: wrong checksum.
    TcpChecksum,
    /// UDP: wrong checksum.
    UdpChecksum,
    /// ICMP: wrong checksum.
    IcmpChecksum,
    /// TCP: outside the window, or not acceptable in the current state.
    TcpInvalid,
    /// TCP: the listener's queue is full.
    TcpListenOverflow,
    /// Neighbour resolution failed.
    NeighFailed,
    /// The neighbour's queue is full.
    NeighQueueFull,
    /// The neighbour table is full.
    NeighTableFull,
    /// An ARP packet that this netns does not answer.
    ArpNotForUs,
    /// A malformed ARP packet.
    ArpHeader,
    /// The bridge has no egress port for it.
    BridgeNoEgressPort,
    /// The device is down or has no peer.
    DeviceDown,
    /// The device has no carrier: a bridge without active ports.
    QdiscDrop,
    /// The device discards everything it sends (dummy).
    DeviceDiscards,
    /// Lost on a link.
    LinkLoss,
    /// A loop: the same packet exceeded the limit of link crossings.
    LoopDetected,
    /// An Ethernet protocol that is not modelled.
    UnhandledProtocol,
    /// Broadcast or multicast IP without a receiver.
    NotForUs,
    /// A fragment of a datagram that was not completed in time.
    FragmentTimeout,
    /// A duplicate fragment.
    FragmentKnown,
    /// Too many fragments of the same sender arrived between those of this datagram.
    FragmentTooFar,
    /// A fragment of a datagram with overlapping fragments.
    FragmentWrong,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 53] = [
        Self::NetfilterDrop,
        Self::ConntrackInsertFailed,
        Self::ConntrackTableFull,
        Self::NatFailed,
        Self::NatIcmpRefused,
        Self::NatDeviceChanged,
        Self::IpvsNoServer,
        Self::IpvsServerGone,
        Self::IpvsOldConntrack,
        Self::IpvsDropRate,
        Self::IpvsNoAssociation,
        Self::IpvsNoConnection,
        Self::IpvsLocalBoundary,
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

    /// The kernel's name (`SKB_DROP_REASON_*`, include/net/dropreason-core.h, v6.18; a few are newer than v6.12), if it
    /// has one.
    pub const fn kernel_name(self) -> Option<&'static str> {
        match self {
            Self::NetfilterDrop
            | Self::ConntrackInsertFailed
            | Self::ConntrackTableFull
            | Self::NatFailed
            | Self::NatIcmpRefused
            | Self::NatDeviceChanged
            | Self::IpvsNoServer
            | Self::IpvsServerGone
            | Self::IpvsOldConntrack
            | Self::IpvsDropRate
            | Self::IpvsNoAssociation
            | Self::IpvsNoConnection => Some("NETFILTER_DROP"),
            Self::OtherHost => Some("OTHERHOST"),
            Self::IpHeader | Self::TtlExpired => Some("IP_INHDR"),
            Self::IpChecksum => Some("IP_CSUM"),
            Self::IpRpFilter => Some("IP_RPFILTER"),
            Self::IpLocalSource => Some("IP_LOCAL_SOURCE"),
            Self::IpInvalidSource => Some("IP_INVALID_SOURCE"),
            Self::IpLocalnet => Some("IP_LOCALNET"),
            Self::IpInvalidDestination => Some("IP_INVALID_DEST"),
            Self::IpNoRouteIn => Some("IP_INNOROUTES"),
            // Linux: ip_error, net/ipv4/route.c. Both are EHOSTUNREACH there; it replies only if it forwards.
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
            Self::IpvsLocalBoundary
            | Self::RouteProhibited
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

    /// A description of the reason, whose subject is the packet.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NetfilterDrop => "a netfilter rule or policy dropped it",
            Self::ConntrackInsertFailed => "conntrack could not insert its entry",
            Self::ConntrackTableFull => "the conntrack table is full",
            Self::NatIcmpRefused => "NAT cannot translate this ICMP error",
            Self::NatFailed => "NAT found no tuple or address to use",
            Self::NatDeviceChanged => "the output device of its masqueraded flow changed",
            Self::IpvsNoServer => "no server of its virtual service accepts new connections",
            Self::IpvsServerGone => "the IPVS server of its connection was deleted",
            Self::IpvsOldConntrack => "the conntrack entry of an earlier connection must end first",
            Self::IpvsDropRate => "IPVS drops some new connections: drop_packet",
            Self::IpvsNoAssociation => "IPVS knows no association of this SCTP packet",
            Self::IpvsNoConnection => "its sender is an IPVS server, and it belongs to no connection",
            Self::IpvsLocalBoundary => {
                "IPVS does not send loopback addresses to other hosts, or others to 127.0.0.0/8"
            }
            Self::OtherHost => "the frame was addressed to another host",
            Self::IpHeader => "its IP header is malformed",
            Self::IpChecksum => "its IP header checksum is wrong",
            Self::IpRpFilter => "rp_filter: the route back to its source uses another device",
            Self::IpLocalSource => "its source is an address of the receiver",
            Self::IpInvalidSource => "its source address is invalid",
            Self::IpLocalnet => "127.0.0.0/8 from a device other than lo, and route_localnet is off",
            Self::IpInvalidDestination => "its destination address is invalid",
            Self::IpNoRouteIn => "there is no route to its destination",
            Self::IpNoRouteOut => "there is no route to its destination",
            Self::RouteUnreachable => "the route to its destination has type unreachable",
            Self::RouteProhibited => "the route to its destination has type prohibit",
            Self::RouteBlackhole => "the route to its destination is a blackhole",
            Self::ForwardingOff => "ip_forward is off",
            Self::TtlExpired => "its TTL expired",
            Self::PacketTooBig => "it is larger than the MTU",
            Self::NoSocket => "no socket is bound to its port",
            Self::ProtocolUnknown => "its transport protocol is unknown",
            Self::TcpChecksum => "its TCP checksum is wrong",
            Self::UdpChecksum => "its UDP checksum is wrong",
            Self::IcmpChecksum => "its ICMP checksum is wrong",
            Self::TcpInvalid => "TCP does not accept it in this state",
            Self::TcpListenOverflow => "the listener's queue is full",
            Self::NeighFailed => "the neighbour did not answer ARP",
            Self::NeighQueueFull => "the neighbour's queue is full",
            Self::NeighTableFull => "the neighbour table is full",
            Self::ArpNotForUs => "its target address is not local",
            Self::ArpHeader => "its ARP header is malformed",
            Self::BridgeNoEgressPort => "the bridge has no egress port for it",
            Self::DeviceDown => "the device is down",
            Self::QdiscDrop => "the device has no carrier",
            Self::DeviceDiscards => "the device discards what it sends",
            Self::LinkLoss => "the link lost it",
            Self::LoopDetected => "it is in a forwarding loop",
            Self::UnhandledProtocol => "its Ethernet protocol is not handled",
            Self::NotForUs => "it is broadcast or multicast without a receiver",
            Self::FragmentTimeout => "its datagram was not completed in time",
            Self::FragmentKnown => "it is a duplicate fragment",
            Self::FragmentTooFar => "too many fragments of its sender arrived in between",
            Self::FragmentWrong => "fragments of its datagram overlap",
        }
    }
}
