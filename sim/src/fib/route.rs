//! Routes, as `ip route` writes them.

use crate::device::Scope;
use crate::ids::DeviceId;
use crate::route::RouteKind;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// A routing table (`RT_TABLE_*`, include/uapi/linux/rtnetlink.h). Local precedes main if all else is equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableId {
    /// `RT_TABLE_LOCAL`, 255: local and broadcast addresses.
    Local,
    /// `RT_TABLE_MAIN`, 254.
    Main,
    /// Any other. Only policy rules lead to it, except to [`TableId::DEFAULT`].
    Other(u32),
}

impl TableId {
    /// `RT_TABLE_DEFAULT`, which is searched last and is empty by default.
    pub const DEFAULT: Self = Self::Other(253);

    /// The table with this number.
    pub const fn numbered(number: u32) -> Self {
        match number {
            255 => Self::Local,
            254 => Self::Main,
            _ => Self::Other(number),
        }
    }
}

/// A route to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination network; host bits must be zero.
    pub dst: Ipv4Net,
    /// The type.
    pub kind: RouteKind,
    /// The scope of the destination.
    pub scope: Scope,
    /// Gateway.
    pub via: Option<Ipv4Addr>,
    /// Output device; optional with a gateway.
    pub device: Option<DeviceId>,
    /// Preferred source address (`src`).
    pub source: Option<Ipv4Addr>,
    /// Lower values take precedence among routes to the same destination.
    pub metric: u32,
    /// The gateway is on the link of `device`, regardless of routes (`onlink`).
    pub is_onlink: bool,
}

impl Route {
    /// `ip route add DST via GATEWAY`.
    pub const fn via(dst: Ipv4Net, gateway: Ipv4Addr) -> Self {
        Self { via: Some(gateway), scope: Scope::Universe, ..Self::bare(dst, RouteKind::Unicast) }
    }

    /// `ip route add DST dev DEVICE`.
    pub const fn direct(dst: Ipv4Net, device: DeviceId) -> Self {
        Self { device: Some(device), scope: Scope::Link, ..Self::bare(dst, RouteKind::Unicast) }
    }

    /// `ip route add local DST dev DEVICE`, which `ip` puts into the local table.
    pub const fn local(dst: Ipv4Net, device: DeviceId) -> Self {
        Self { device: Some(device), scope: Scope::Host, ..Self::bare(dst, RouteKind::Local) }
    }

    /// `ip route add {unreachable|prohibit|blackhole} DST`.
    pub const fn refusing(kind: RouteKind, dst: Ipv4Net) -> Self {
        Self::bare(dst, kind)
    }

    /// The same route with an output device (`dev DEVICE`).
    pub const fn on(self, device: DeviceId) -> Self {
        Self { device: Some(device), ..self }
    }

    /// The same route with a preferred source (`src SOURCE`).
    pub const fn from(self, source: Ipv4Addr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// The same route with a metric (`metric METRIC`).
    pub const fn with_metric(self, metric: u32) -> Self {
        Self { metric, ..self }
    }

    /// The same route with an on-link gateway (`onlink`).
    pub const fn onlink(self) -> Self {
        Self { is_onlink: true, ..self }
    }

    const fn bare(dst: Ipv4Net, kind: RouteKind) -> Self {
        Self {
            dst,
            kind,
            scope: Scope::Universe,
            via: None,
            device: None,
            source: None,
            metric: 0,
            is_onlink: false,
        }
    }
}

/// Selects the route to remove: the first that matches all given fields, as in `ip route del`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The type.
    pub kind: Option<RouteKind>,
    /// The scope of the destination.
    pub scope: Option<Scope>,
    /// Gateway.
    pub via: Option<Ipv4Addr>,
    /// Output device.
    pub device: Option<DeviceId>,
    /// Preferred source address.
    pub source: Option<Ipv4Addr>,
    /// Metric; zero matches any, as in the kernel.
    pub metric: u32,
}

/// A route was rejected; the messages are those of `ip route`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FibError {
    /// Host bits are set in the destination (`EINVAL`).
    #[error("Invalid prefix for given prefix length.")]
    HostBits,
    /// The scope does not fit the route type (`EINVAL`).
    #[error("Invalid scope.")]
    InvalidScope,
    /// A gateway or a device was given for a route type that rejects packets (`EINVAL`).
    #[error("Gateway, device and multipath can not be specified for this route type.")]
    RefusingRouteHasNextHop,
    /// A gateway was given for a local route (`EINVAL`).
    #[error("Route with host scope can not have a gateway.")]
    LocalRouteHasGateway,
    /// Neither gateway nor device (`ENODEV`).
    #[error("Device for nexthop is missing.")]
    NoDevice,
    /// The device is down (`ENETDOWN`).
    #[error("Device for nexthop is not up.")]
    DeviceDown,
    /// The device on whose link the gateway is, or that has the gateway as an address, is down (`ENETDOWN`).
    #[error("Network is down")]
    GatewayDeviceDown,
    /// The device of an onlink gateway is down (`ENETDOWN`).
    #[error("Nexthop device is not up.")]
    OnlinkDeviceDown,
    /// The gateway is neither on-link nor a local address (`EINVAL`), or there is no route to it (`ENETUNREACH`).
    #[error("Nexthop has invalid gateway.")]
    InvalidGateway,
    /// `onlink` without a gateway (`EINVAL`).
    #[error("Invalid flags for nexthop - PERVASIVE and ONLINK can not be set.")]
    OnlinkWithoutGateway,
    /// A gateway was declared onlink for a route whose scope does not allow one (`EINVAL`).
    #[error("Nexthop has invalid scope.")]
    InvalidNextHopScope,
    /// The preferred source is not a local address (`EINVAL`).
    #[error("Invalid prefsrc address.")]
    InvalidSource,
    /// A route to the same destinations with the same metric exists (`EEXIST`).
    #[error("File exists")]
    Exists,
    /// No such route (`ESRCH`).
    #[error("No such process")]
    NotFound,
}
