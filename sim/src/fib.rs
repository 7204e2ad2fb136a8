//! Routing.

use crate::device::DeviceId;
use std::net::Ipv4Addr;

/// What a route does with a packet (`rtm_type`, include/uapi/linux/rtnetlink.h).
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
    /// `RTN_BLACKHOLE`: dropped in silence.
    Blackhole,
}

/// A routing decision (`struct rtable`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteResult {
    /// Unicast, local or broadcast; the others are errors.
    pub kind: RouteKind,
    /// Output device; the loopback for local delivery.
    pub device: DeviceId,
    /// Gateway; `None` when the destination is on the link.
    pub gateway: Option<Ipv4Addr>,
    /// Source address that a socket without one gets.
    pub source: Ipv4Addr,
}

/// The routing tables of a netns.
#[derive(Clone, Debug, Default)]
pub struct Fib;
