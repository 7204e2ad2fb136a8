//! Path MTU discovery of local senders: an ICMP error "fragmentation needed" about a packet of a socket lowers the MTU for its
//! destination (`__ip_rt_update_pmtu`, net/ipv4/route.c). The socket then reacts to the error itself.
//!
//! Not modelled: `ip_no_pmtu_disc`, which is refused as an unknown sysctl.

use super::{ip_output, transport};
use crate::context::Context;
use crate::fib::FlowKey;
use crate::netns::Netns;
use crate::packet::Packet;
use crate::route::{PathMtu, RouteResult};
use crate::socket::SenderRoute;
use crate::sysctl::Setting;
use crate::time::Duration;
use crate::trace::{Event, RouteEvent};
use crate::wire::Quote;
use std::net::Ipv4Addr;

/// Lowers the MTU of the path of a quoted packet, if a socket or the kernel of this netns sent it.
///
/// Linux: `inet_csk_update_pmtu`, net/ipv4/inet_connection_sock.c; `ipv4_sk_update_pmtu` and `ipv4_update_pmtu`,
/// net/ipv4/route.c.
pub(super) fn update_pmtu(ns: &mut Netns, cx: &mut Context, packet: &Packet, quoted: &[u8], mtu: u16) {
    let Some(Quote { ip, .. }) = Quote::parse(quoted) else { return };
    let (src, dst) = (ip.src(), ip.dst());
    let route = match transport::with_sockets(ns, cx, |sockets, io| sockets.sender_route(io, quoted)) {
        Some(SenderRoute::Cached(route)) => route,
        Some(SenderRoute::ByLookup) => match ip_output::ip_route_output(ns, cx, Some(src), dst) {
            Ok(route) => route,
            Err(_) => return,
        },
        None => return,
    };
    if let Some(pmtu) = ip_rt_update_pmtu(ns, cx, (src, dst), &route, mtu) {
        let bytes = pmtu.bytes;
        cx.record(Some(packet.id), || Event::Route(RouteEvent::PathMtu { dst: dst.into(), bytes }));
    }
}

/// The new path MTU, if there is one.
fn ip_rt_update_pmtu(
    ns: &mut Netns,
    cx: &Context,
    (src, dst): (Ipv4Addr, Ipv4Addr),
    route: &RouteResult,
    mtu: u16,
) -> Option<PathMtu> {
    let before = route.mtu(ns.devices.get(route.device).mtu);
    if !route.permits_df() || before < mtu {
        return None;
    }
    let min = u16::try_from(ns.sysctls.value(Setting::RouteMinPmtu)).unwrap_or(u16::MAX);
    let is_locked = mtu < min;
    let pmtu = PathMtu { bytes: if is_locked { before.min(min) } else { mtu }, is_locked };
    let lifetime = Duration::from_secs(ns.sysctls.value(Setting::RouteMtuExpires).into());
    let flow = FlowKey { src, ..FlowKey::to(dst) };
    ns.fib.learn_pmtu(cx.now, &flow, pmtu, lifetime).then_some(pmtu)
}
