//! Routing of locally generated packets (`ip_route_output_key_hash_rcu`, net/ipv4/route.c).

use super::source::select_source;
use super::{Fib, FibEntry, FlowKey};
use crate::device::{Devices, Scope};
use crate::drop_reason::DropReason;
use crate::ids::DeviceId;
use crate::route::{RouteKind, RouteResult};
use crate::sysctl::Sysctls;
use std::net::{IpAddr, Ipv4Addr};

/// The key of an output route lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputKey {
    /// Source, if already chosen.
    pub src: Option<Ipv4Addr>,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Output device, if already chosen (`SO_BINDTODEVICE`).
    pub oif: Option<DeviceId>,
    /// Packet mark, for policy rules.
    pub mark: u32,
    /// The source need not be a local address (`FLOWI_FLAG_ANYSRC`).
    pub is_any_source: bool,
}

impl OutputKey {
    /// The key for a packet to `dst`, with nothing else specified.
    pub const fn to(dst: Ipv4Addr) -> Self {
        Self { src: None, dst, oif: None, mark: 0, is_any_source: false }
    }

    /// The same key with a source.
    pub const fn from(self, src: Ipv4Addr) -> Self {
        Self { src: Some(src), ..self }
    }
}

/// Routes a locally generated packet. `source` of the result is that of the key if specified.
///
/// # Errors
/// [`DropReason::IpNoRouteOut`] (`ENETUNREACH`; also if the source is not a local address),
/// [`DropReason::RouteUnreachable`] (`EHOSTUNREACH`), [`DropReason::RouteProhibited`] (`EACCES`),
/// [`DropReason::RouteBlackhole`] (`EINVAL`), [`DropReason::IpInvalidSource`], [`DropReason::IpInvalidDestination`] and
/// [`DropReason::IpLocalnet`] (`EINVAL`).
pub fn route_output(
    fib: &Fib,
    devices: &Devices,
    sysctls: &Sysctls,
    key: &OutputKey,
) -> Result<RouteResult, DropReason> {
    let mut key = OutputKey { src: key.src.filter(|src| !src.is_unspecified()), ..*key };
    if let Some(src) = key.src {
        if src.is_multicast() || src.is_broadcast() {
            return Err(DropReason::IpInvalidSource);
        }
        let holder = fib.device_of(devices, src);
        if key.oif.is_none() && is_for_link(key.dst) {
            // The source address determines the output device of such a packet.
            key.oif = Some(holder.ok_or(DropReason::IpNoRouteOut)?);
            return make_route(fib, devices, sysctls, &key, None);
        }
        if !key.is_any_source && holder.is_none() {
            return Err(DropReason::IpNoRouteOut);
        }
    }
    if let Some(oif) = key.oif {
        if !devices.get(oif).is_up {
            return Err(DropReason::IpNoRouteOut);
        }
        if is_local_multicast(key.dst) || key.dst.is_broadcast() {
            key.src = key.src.or_else(|| select_source(devices, sysctls, oif, None, Scope::Link));
            return make_route(fib, devices, sysctls, &key, None);
        }
        if key.dst.is_multicast() {
            key.src = key.src.or_else(|| select_source(devices, sysctls, oif, None, Scope::Universe));
        } else if key.dst.is_unspecified() {
            key.src = key.src.or_else(|| select_source(devices, sysctls, oif, None, Scope::Host));
        }
    }
    if key.dst.is_unspecified() {
        // Linux: "connect to any address" means the local host.
        let own = key.src.unwrap_or(Ipv4Addr::LOCALHOST);
        return Ok(to_self(own));
    }
    lookup_and_make(fib, devices, sysctls, key)
}

/// Reroutes a packet whose destination or mark changed in OUTPUT; its source is kept.
///
/// D-16. The source need not be local, because `REJECT` replies on behalf of another host; only an invalid source
/// (broadcast, multicast) is selected anew.
///
/// # Errors
/// As [`route_output`].
// Linux: ip_route_me_harder, net/ipv4/netfilter.c.
pub fn route_me_harder(
    fib: &Fib,
    devices: &Devices,
    sysctls: &Sysctls,
    key: &OutputKey,
) -> Result<RouteResult, DropReason> {
    let src = key.src.filter(|src| matches!(fib.addr_type(*src), RouteKind::Local | RouteKind::Unicast));
    route_output(fib, devices, sysctls, &OutputKey { src, is_any_source: src.is_some(), ..*key })
}

fn lookup_and_make(
    fib: &Fib,
    devices: &Devices,
    sysctls: &Sysctls,
    mut key: OutputKey,
) -> Result<RouteResult, DropReason> {
    let flow = FlowKey {
        src: key.src.unwrap_or(Ipv4Addr::UNSPECIFIED),
        oif: key.oif,
        mark: key.mark,
        ..FlowKey::to(key.dst)
    };
    let entry = match (fib.lookup_flow(&flow), key.oif) {
        (Ok(entry), _) => entry,
        // With a given device, a destination without a route is assumed to be on-link.
        (Err(_), Some(oif)) => {
            key.src = key.src.or_else(|| select_source(devices, sysctls, oif, None, Scope::Link));
            return make_route(fib, devices, sysctls, &key, None);
        }
        (Err(DropReason::IpNoRouteIn), None) => return Err(DropReason::IpNoRouteOut),
        (Err(reason), None) => return Err(reason),
    };
    if entry.route.kind == RouteKind::Local {
        let source = key.src.or(entry.route.source).unwrap_or(key.dst);
        let (_, pmtu) = fib.next_hop(entry, key.dst);
        return Ok(RouteResult { source: source.into(), pmtu, ..to_self(key.dst) });
    }
    // Linux: fib_select_path.
    key.src = key.src.or_else(|| Some(entry.source(devices, sysctls)));
    key.oif = entry.device;
    make_route(fib, devices, sysctls, &key, Some(entry))
}

// Linux: __mkroute_output.
fn make_route(
    fib: &Fib,
    devices: &Devices,
    sysctls: &Sysctls,
    key: &OutputKey,
    entry: Option<&FibEntry>,
) -> Result<RouteResult, DropReason> {
    let device = key.oif.ok_or(DropReason::IpNoRouteOut)?;
    let source = key.src.unwrap_or(Ipv4Addr::UNSPECIFIED);
    if source.is_loopback() && !devices.get(device).is_loopback() && !sysctls.route_localnet(device) {
        return Err(DropReason::IpLocalnet);
    }
    let (kind, (gateway, pmtu)) = if key.dst.is_broadcast() {
        (RouteKind::Broadcast, (None, None))
    } else if key.dst.is_multicast() {
        // A default route does not send multicast to its gateway.
        let entry = entry.filter(|entry| entry.route.dst.prefix_len() >= 4);
        (RouteKind::Multicast, (entry.and_then(FibEntry::gateway), None))
    } else if key.dst.is_unspecified() {
        return Err(DropReason::IpInvalidDestination);
    } else {
        let next_hop = entry.map(|entry| fib.next_hop(entry, key.dst)).unwrap_or_default();
        (entry.map_or(RouteKind::Unicast, |entry| entry.route.kind), next_hop)
    };
    Ok(RouteResult { kind, device, gateway: gateway.map(IpAddr::V4), source: source.into(), pmtu })
}

const fn to_self(source: Ipv4Addr) -> RouteResult {
    RouteResult {
        kind: RouteKind::Local,
        device: DeviceId::LOOPBACK,
        gateway: None,
        source: IpAddr::V4(source),
        pmtu: None,
    }
}

fn is_for_link(dst: Ipv4Addr) -> bool {
    dst.is_multicast() || dst.is_broadcast()
}

/// 224.0.0.0/24 (`ipv4_is_local_multicast`).
const fn is_local_multicast(addr: Ipv4Addr) -> bool {
    matches!(addr.octets(), [224, 0, 0, _])
}
