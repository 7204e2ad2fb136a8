//! Routing of received packets (`ip_route_input_slow`, net/ipv4/route.c).
//!
//! D-40: this runs after PREROUTING, so all checks see addresses after DNAT.

use super::source::select_source;
use super::{Fib, FibEntry, FlowKey, Routing};
use crate::device::{Devices, Scope};
use crate::drop_reason::DropReason;
use crate::ids::DeviceId;
use crate::mutation::Mutation;
use crate::route::{RouteKind, RouteResult};
use crate::sysctl::Sysctls;
use std::net::{IpAddr, Ipv4Addr};

/// The key of an input route lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputKey {
    /// Receiving device.
    pub in_dev: DeviceId,
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Type of service. Unused without TOS routes.
    pub tos: u8,
    /// Packet mark, for policy rules.
    pub mark: u32,
}

impl InputKey {
    /// The key by which the route to the destination is found.
    const fn forth(&self) -> FlowKey {
        let Self { in_dev, src, dst, mark, .. } = *self;
        FlowKey { src, dst, iif: in_dev, oif: None, mark }
    }

    /// The key by which the route back to the source is found. `out_dev` is the device for forwarding.
    /// Linux: __fib_validate_source, net/ipv4/fib_frontend.c.
    fn back(&self, sysctls: &Sysctls, out_dev: Option<DeviceId>) -> FlowKey {
        let Self { in_dev, src, dst, mark, .. } = *self;
        let mark = if sysctls.src_valid_mark(in_dev) { mark } else { 0 };
        FlowKey { src: dst, dst: src, iif: out_dev.unwrap_or(DeviceId::LOOPBACK), oif: None, mark }
    }
}

/// Routes a received packet: to a local socket, to another device, or to an error.
///
/// # Errors
/// Martians and reverse path failures are dropped silently. [`DropReason::IpNoRouteIn`],
/// [`DropReason::RouteUnreachable`] and [`DropReason::RouteProhibited`] are reported to the sender; see [`error_code`].
/// Linux: ip_route_input_rcu and ip_route_input_slow.
pub fn route_input(
    fib: &Fib,
    devices: &Devices,
    sysctls: &Sysctls,
    key: &InputKey,
) -> Result<RouteResult, DropReason> {
    let InputKey { in_dev, src, dst, .. } = *key;
    if dst.is_multicast() {
        return route_multicast(fib, devices, sysctls, key);
    }
    if src.is_multicast() || src.is_broadcast() {
        return Err(DropReason::IpInvalidSource);
    }
    if dst.is_broadcast() || (src.is_unspecified() && dst.is_unspecified()) {
        return broadcast_input(fib, devices, sysctls, key);
    }
    if src.is_unspecified() {
        return Err(DropReason::IpInvalidSource);
    }
    if dst.is_unspecified() {
        return Err(DropReason::IpInvalidDestination);
    }
    // D-42. Packets that loop through `lo` already have a route, and are not checked here.
    if (dst.is_loopback() || src.is_loopback())
        && !sysctls.route_localnet(in_dev)
        && !Mutation::LoopbackRouted.is_on()
    {
        return Err(DropReason::IpLocalnet);
    }
    let found = fib.lookup_flow(&key.forth());
    if let Ok(entry) = found {
        match entry.route.kind {
            RouteKind::Broadcast if sysctls.bc_forwarding(in_dev) => {
                return forward(fib, devices, sysctls, key, entry);
            }
            RouteKind::Broadcast => return broadcast_input(fib, devices, sysctls, key),
            RouteKind::Local => {
                validate_source(fib, devices, sysctls, key, None)?;
                let (device, kind) = (DeviceId::LOOPBACK, RouteKind::Local);
                return Ok(RouteResult { kind, device, gateway: None, source: dst.into(), pmtu: None });
            }
            RouteKind::Unicast
            | RouteKind::Multicast
            | RouteKind::Unreachable
            | RouteKind::Prohibit
            | RouteKind::Blackhole => {}
        }
    }
    if !sysctls.forwarding(in_dev) && !Mutation::ForwardingAlwaysOn.is_on() {
        return Err(DropReason::ForwardingOff);
    }
    forward(fib, devices, sysctls, key, found?)
}

/// The code of the ICMP destination unreachable error that a router sends for a packet it could not route, if any.
/// Linux: ip_error, net/ipv4/route.c. The caller checks `IcmpLimit::allow_route_error` first.
pub fn error_code(reason: DropReason) -> Option<u8> {
    const ANSWERED: [(DropReason, u8); 3] = [
        (DropReason::IpNoRouteIn, 0),
        (DropReason::RouteUnreachable, 1),
        // Communication administratively prohibited (RFC 1812).
        (DropReason::RouteProhibited, 13),
    ];
    ANSWERED.iter().find(|(answered, _)| *answered == reason).map(|(_, code)| *code)
}

/// True if the sender of a packet forwarded along `route` should receive a redirect: the packet leaves through its
/// ingress device, and the sender is on that link.
/// Linux: __mkroute_input, net/ipv4/route.c, and the positive result of __fib_validate_source, net/ipv4/fib_frontend.c.
pub fn is_redirect_due(routing: Routing<'_>, key: &InputKey, route: &RouteResult) -> bool {
    let Routing { devices, sysctls, .. } = routing;
    let InputKey { in_dev, src, .. } = *key;
    if route.device != in_dev || !sysctls.send_redirects(in_dev) || Mutation::RedirectsUnsent.is_on() {
        return false;
    }
    let gateway = match route.gateway {
        Some(IpAddr::V4(gateway)) => Some(gateway),
        Some(IpAddr::V6(_)) | None => None,
    };
    let shares_media = sysctls.shared_media(in_dev) || devices.get(in_dev).is_on_link(src, gateway);
    shares_media && is_direct(routing, key)
}

/// True if the reverse path to the source of a packet that leaves through its ingress device is on-link there, without a
/// gateway.
fn is_direct(routing: Routing<'_>, key: &InputKey) -> bool {
    let Routing { devices, fib, sysctls } = routing;
    let in_dev = key.in_dev;
    let back = key.back(sysctls, Some(in_dev));
    match fib.lookup_flow(&back) {
        Ok(back) if back.device == Some(in_dev) => back.gateway().is_none(),
        Ok(_) if !devices.get(in_dev).addrs.is_empty() => fib
            .lookup_flow(&FlowKey { oif: Some(in_dev), ..back })
            .is_ok_and(|back| back.route.kind == RouteKind::Unicast && back.gateway().is_none()),
        Ok(_) | Err(_) => false,
    }
}

// Linux: ip_mkroute_input and __mkroute_input.
fn forward(
    fib: &Fib,
    devices: &Devices,
    sysctls: &Sysctls,
    key: &InputKey,
    entry: &FibEntry,
) -> Result<RouteResult, DropReason> {
    if !matches!(entry.route.kind, RouteKind::Unicast | RouteKind::Broadcast) {
        return Err(DropReason::IpInvalidDestination);
    }
    let device = entry.device.ok_or(DropReason::IpNoRouteIn)?;
    validate_source(fib, devices, sysctls, key, Some(device))?;
    let source = entry.source(devices, sysctls);
    let (gateway, pmtu) = fib.next_hop(entry, key.dst);
    // A forwarded broadcast differs from a datagram only in its neighbour: `RTCF_BROADCAST` is not set on its route.
    Ok(RouteResult {
        kind: RouteKind::Unicast,
        device,
        gateway: gateway.map(IpAddr::V4),
        source: source.into(),
        pmtu,
    })
}

fn broadcast_input(
    fib: &Fib,
    devices: &Devices,
    sysctls: &Sysctls,
    key: &InputKey,
) -> Result<RouteResult, DropReason> {
    if !key.src.is_unspecified() {
        validate_source(fib, devices, sysctls, key, None)?;
    }
    let source = spec_dst(fib, devices, sysctls, key);
    Ok(RouteResult {
        kind: RouteKind::Broadcast,
        device: DeviceId::LOOPBACK,
        gateway: None,
        source: source.into(),
        pmtu: None,
    })
}

/// True if devices receive this multicast group (`ip_check_mc_rcu`, net/ipv4/igmp.c). Every device that is up is a member of
/// 224.0.0.1 (`ip_mc_up`); no application here joins other groups.
pub fn is_member(group: Ipv4Addr) -> bool {
    group == Ipv4Addr::new(224, 0, 0, 1)
}

// Linux: ip_route_input_mc and ip_mc_validate_source.
fn route_multicast(
    fib: &Fib,
    devices: &Devices,
    sysctls: &Sysctls,
    key: &InputKey,
) -> Result<RouteResult, DropReason> {
    if !is_member(key.dst) {
        return Err(DropReason::NotForUs);
    }
    if key.src.is_multicast() || key.src.is_broadcast() {
        return Err(DropReason::IpInvalidSource);
    }
    if key.src.is_loopback() && !sysctls.route_localnet(key.in_dev) {
        return Err(DropReason::IpLocalnet);
    }
    // 224.0.0.0/24 is link-local, and may be used by hosts without an address.
    if !key.src.is_unspecified() {
        validate_source(fib, devices, sysctls, key, None)?;
    }
    let source = spec_dst(fib, devices, sysctls, key);
    Ok(RouteResult {
        kind: RouteKind::Multicast,
        device: DeviceId::LOOPBACK,
        gateway: None,
        source: source.into(),
        pmtu: None,
    })
}

/// The local address used to reply to a broadcast or multicast (`fib_compute_spec_dst`).
fn spec_dst(fib: &Fib, devices: &Devices, sysctls: &Sysctls, key: &InputKey) -> Ipv4Addr {
    if key.src.is_unspecified() {
        return select_source(devices, sysctls, key.in_dev, None, Scope::Link)
            .unwrap_or(Ipv4Addr::UNSPECIFIED);
    }
    match fib.lookup_flow(&FlowKey { src: Ipv4Addr::UNSPECIFIED, ..key.back(sysctls, None) }) {
        Ok(entry) => entry.source(devices, sysctls),
        Err(_) => select_source(devices, sysctls, key.in_dev, Some(key.src), Scope::Universe)
            .unwrap_or(Ipv4Addr::UNSPECIFIED),
    }
}

/// Checks whether a packet from this source may be received on this device. `out_dev` is the device for forwarding.
///
/// D-41: one of the receiver's own addresses is never a valid source, regardless of rp_filter, unless accept_local.
/// D-43: strict mode requires the reverse path to use the ingress device; loose mode requires any reverse path.
/// Linux: fib_validate_source and __fib_validate_source, net/ipv4/fib_frontend.c.
fn validate_source(
    fib: &Fib,
    devices: &Devices,
    sysctls: &Sysctls,
    key: &InputKey,
    out_dev: Option<DeviceId>,
) -> Result<(), DropReason> {
    if Mutation::SourceUnvalidated.is_on() {
        return Ok(());
    }
    let InputKey { in_dev, src, .. } = *key;
    let rp_filter = sysctls.rp_filter(in_dev);
    // If the packet leaves through its ingress device, the kernel needs the full check to decide about a redirect.
    let may_redirect = out_dev == Some(in_dev) && sysctls.send_redirects(in_dev);
    if rp_filter == 0 && !may_redirect {
        if sysctls.accept_local(in_dev) {
            return Ok(());
        }
        if !fib.has_custom_local_routes && !fib.has_custom_rules() {
            return match devices.owner_of(src) {
                Some(_) => Err(DropReason::IpLocalSource),
                None => Ok(()),
            };
        }
    }
    let last_resort = || if rp_filter == 0 { Ok(()) } else { Err(DropReason::IpRpFilter) };
    let Ok(back) = fib.lookup_flow(&key.back(sysctls, out_dev)) else { return last_resort() };
    match back.route.kind {
        RouteKind::Unicast => {}
        RouteKind::Local if sysctls.accept_local(in_dev) => {}
        RouteKind::Local => return Err(DropReason::IpLocalSource),
        RouteKind::Broadcast
        | RouteKind::Multicast
        | RouteKind::Unreachable
        | RouteKind::Prohibit
        | RouteKind::Blackhole => return Err(DropReason::IpInvalidSource),
    }
    let is_own_over_loopback = back.route.kind == RouteKind::Local && in_dev == DeviceId::LOOPBACK;
    if back.device == Some(in_dev) || is_own_over_loopback {
        return Ok(());
    }
    if devices.get(in_dev).addrs.is_empty() {
        return last_resort();
    }
    if rp_filter == 1 && !Mutation::StrictFilterLoose.is_on() { Err(DropReason::IpRpFilter) } else { Ok(()) }
}
