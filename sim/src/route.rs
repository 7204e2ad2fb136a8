//! A routing decision, as a packet carries it (`skb_dst`, include/net/route.h).

use crate::ids::DeviceId;
use std::net::{IpAddr, Ipv4Addr};

/// The type of a route (`rtm_type`, include/uapi/linux/rtnetlink.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteKind {
    /// `RTN_UNICAST`: to a gateway, or directly.
    Unicast,
    /// `RTN_LOCAL`: an address of this netns.
    Local,
    /// `RTN_BROADCAST`: a broadcast address of this netns.
    Broadcast,
    /// `RTN_MULTICAST`.
    Multicast,
    /// `RTN_UNREACHABLE`: answered with ICMP host unreachable.
    Unreachable,
    /// `RTN_PROHIBIT`: answered with ICMP prohibited.
    Prohibit,
    /// `RTN_BLACKHOLE`: dropped silently.
    Blackhole,
}

/// The result of a route lookup (`struct rtable`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteResult {
    /// Unicast, local, broadcast or multicast; the others are errors.
    pub kind: RouteKind,
    /// Output device; the loopback device for local delivery.
    pub device: DeviceId,
    /// Gateway; `None` if the destination is on-link.
    pub gateway: Option<IpAddr>,
    /// Source address for replies or for a socket without one; unspecified if no device has an address.
    pub source: IpAddr,
    /// The path MTU of the destination, if the host has learned one.
    pub pmtu: Option<PathMtu>,
}

/// The MTU of a path, as an ICMP error reported it (`rt_pmtu`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathMtu {
    /// The largest packet, in bytes.
    pub bytes: u16,
    /// The path reported less than `min_pmtu`, so packets must be fragmented on the way (`rt_mtu_locked`).
    pub is_locked: bool,
}

impl RouteResult {
    /// The effective destination of a packet sent to `asked`: 0.0.0.0 means the sender itself
    /// (`ip_route_output_key_hash_rcu`, net/ipv4/route.c, writes the source into the key, from which sockets take it).
    pub const fn destination(&self, asked: IpAddr) -> IpAddr {
        if asked.is_unspecified() { self.source } else { asked }
    }

    /// The largest packet of the host's own along this route, on a device with that MTU, in bytes (`ipv4_mtu`,
    /// net/ipv4/route.c).
    pub fn mtu(&self, device_mtu: u16) -> u16 {
        self.pmtu.map_or(device_mtu, |pmtu| pmtu.bytes)
    }

    /// The largest packet that is forwarded along this route. What the host has learned about the path for itself does not
    /// count, unless it is locked (`ip_dst_mtu_maybe_forward`, include/net/ip.h).
    pub fn forward_mtu(&self, device_mtu: u16) -> u16 {
        self.pmtu.filter(|pmtu| pmtu.is_locked).map_or(device_mtu, |pmtu| pmtu.bytes)
    }

    /// True if a socket may set DF (`ip_dont_fragment`, include/net/ip.h).
    pub fn permits_df(&self) -> bool {
        self.pmtu.is_none_or(|pmtu| !pmtu.is_locked)
    }

    /// The neighbour to which a packet to `dst` goes: the gateway, or `dst` itself (`rt_nexthop`, include/net/route.h).
    pub fn next_hop(&self, dst: IpAddr) -> IpAddr {
        self.gateway.unwrap_or(dst)
    }

    /// The own address that answers a packet to `dst` received along this route: for a broadcast or multicast, the source of
    /// the route back (`fib_compute_spec_dst`, net/ipv4/fib_frontend.c).
    pub const fn spec_dst(&self, dst: IpAddr) -> IpAddr {
        match self.kind {
            RouteKind::Broadcast | RouteKind::Multicast => self.source,
            RouteKind::Unicast
            | RouteKind::Local
            | RouteKind::Unreachable
            | RouteKind::Prohibit
            | RouteKind::Blackhole => dst,
        }
    }

    /// The source address, of a decision of the IPv4 FIB.
    ///
    /// # Panics
    /// If it is an IPv6 address.
    pub fn ipv4_source(&self) -> Ipv4Addr {
        match self.source {
            IpAddr::V4(source) => source,
            IpAddr::V6(source) => unreachable!("the IPv4 FIB gave the source {source}"),
        }
    }
}
