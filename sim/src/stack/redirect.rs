//! ICMP redirects: a router that sends a packet back through its ingress device informs the sender of the shorter path
//! (`__mkroute_input` and `ip_rt_send_redirect`, net/ipv4/route.c), and the sender uses it from then on
//! (`__ip_do_redirect`).
//!
//! On a node this happens whenever a NodePort's endpoint is on another node in the same LAN: the client receives an
//! address that it never contacted, because DNAT comes first. NAT drops such a redirect on the way out
//! (`nf_nat_icmp_reply_translation`); clients that send to Pods directly through the wrong node do follow.

use super::{carry_out, consume_skb, icmp, ip_output, kfree_skb, transport};
use crate::context::Context;
use crate::drop_reason::DropReason;
use crate::fib::{FlowKey, InputKey, Routing, is_redirect_due};
use crate::ids::DeviceId;
use crate::netns::Netns;
use crate::packet::Packet;
use crate::route::{RouteKind, RouteResult};
use crate::socket::SenderRoute;
use crate::trace::{Event, IgnoredRedirect, RouteEvent};
use crate::wire::icmpv4::icmp_type;
use crate::wire::quote::QUOTED_MIN;
use crate::wire::{Icmpv4, Quote};
use std::net::{IpAddr, Ipv4Addr};

/// `ICMP_REDIR_HOST`.
const REDIRECT_HOST: u8 = 1;

/// The last valid code (`ICMP_REDIR_HOSTTOS`). Higher bits of the code are ignored.
const CODE_MAX: u8 = 3;

/// Informs the sender of a forwarded packet that its next hop is on the sender's own link.
pub(super) fn ip_rt_send_redirect(ns: &mut Netns, cx: &mut Context, in_dev: DeviceId, packet: &Packet) {
    let Some(route) = packet.meta.route else { unreachable!("only routed packets are forwarded") };
    let (src, dst) = (packet.ipv4().src(), packet.ipv4().dst());
    let routing = Routing { devices: &ns.devices, fib: &ns.fib, sysctls: &ns.sysctls };
    let now = cx.limit_time(&packet.meta);
    let key = InputKey { in_dev, src, dst, tos: packet.ipv4().tos(), mark: packet.meta.mark };
    if !is_redirect_due(routing, &key, &route) || !ns.icmp_limit.allow_redirect(now, src.into()) {
        return;
    }
    // The message has no room for an IPv6 gateway.
    let IpAddr::V4(gateway) = route.next_hop(dst.into()) else { return };
    let about = icmp::About::packet(packet);
    icmp::icmp_send(ns, cx, &about, icmp_type::REDIRECT, REDIRECT_HOST, u32::from(gateway));
}

/// A redirect, as received.
#[derive(Clone, Copy)]
struct Redirect {
    in_dev: DeviceId,
    /// The router that sent it.
    sender: Ipv4Addr,
    code: u8,
    /// The gateway that it recommends.
    gateway: Ipv4Addr,
    /// Source and destination of the quoted packet.
    src: Ipv4Addr,
    dst: Ipv4Addr,
}

/// A redirect was received (`icmp_redirect`, net/ipv4/icmp.c).
pub(super) fn icmp_redirect(ns: &mut Netns, cx: &mut Context, packet: Packet) {
    let ip = packet.ipv4();
    let Some(icmp) = Icmpv4::new_checked(ip.payload()) else { unreachable!("checked by icmp_rcv") };
    let quoted = icmp.payload();
    let quote = Quote::parse(quoted).filter(|quote| quote.l4.len() >= QUOTED_MIN);
    let (Some(quote), Some(in_dev)) = (quote, packet.meta.in_dev) else {
        return kfree_skb(ns, cx, packet, DropReason::IpHeader);
    };
    let redirect = Redirect {
        in_dev,
        sender: ip.src(),
        code: icmp.code(),
        gateway: Ipv4Addr::from(icmp.word()),
        src: quote.ip.src(),
        dst: quote.ip.dst(),
    };
    let target = transport::with_sockets(ns, cx, |sockets, io| sockets.redirected(io, quoted));
    let event = match ip_do_redirect(ns, cx, redirect, target) {
        Ok(()) => RouteEvent::Learned { dst: redirect.dst.into(), gateway: redirect.gateway.into() },
        Err(reason) => RouteEvent::RedirectIgnored { gateway: redirect.gateway.into(), reason },
    };
    cx.record(Some(packet.id), || Event::Route(event));
    consume_skb(ns, cx, packet);
}

/// Follows a redirect, or says why not (`ip_do_redirect`, `ipv4_redirect` and `ipv4_sk_redirect`, net/ipv4/route.c).
fn ip_do_redirect(
    ns: &mut Netns,
    cx: &mut Context,
    redirect: Redirect,
    target: Result<SenderRoute, IgnoredRedirect>,
) -> Result<(), IgnoredRedirect> {
    let route = match target? {
        SenderRoute::Cached(route) => route,
        SenderRoute::ByLookup => {
            let found = ip_output::ip_route_output(ns, cx, Some(redirect.src), redirect.dst);
            found.map_err(|_| IgnoredRedirect::NoSocket)?
        }
    };
    check(ns, redirect, &route)?;
    let effects_before = cx.effects.len();
    let routing = Routing { devices: &ns.devices, fib: &ns.fib, sysctls: &ns.sysctls };
    let is_resolved = ns.neigh.probe(cx, routing, route.device, redirect.gateway.into());
    carry_out(ns, cx, effects_before);
    if !is_resolved {
        return Err(IgnoredRedirect::Unresolved);
    }
    let flow = FlowKey { src: redirect.src, ..FlowKey::to(redirect.dst) };
    ns.fib.learn_gateway(cx.now, &flow, redirect.gateway);
    Ok(())
}

/// Linux: `__ip_do_redirect`, net/ipv4/route.c.
fn check(ns: &Netns, redirect: Redirect, route: &RouteResult) -> Result<(), IgnoredRedirect> {
    let Redirect { in_dev, sender, code, gateway, .. } = redirect;
    if code & 7 > CODE_MAX {
        return Err(IgnoredRedirect::Invalid);
    }
    if route.gateway != Some(sender.into()) {
        return Err(IgnoredRedirect::NotFromGateway);
    }
    if !ns.sysctls.accept_redirects(in_dev) {
        return Err(IgnoredRedirect::Disabled);
    }
    if gateway == sender || gateway.is_multicast() || gateway.is_broadcast() || gateway.is_unspecified() {
        return Err(IgnoredRedirect::Invalid);
    }
    if ns.sysctls.shared_media(in_dev) {
        let is_host = ns.fib.addr_type(gateway) == RouteKind::Unicast;
        return if is_host { Ok(()) } else { Err(IgnoredRedirect::Invalid) };
    }
    if !ns.devices.get(in_dev).is_on_link(gateway, Some(sender)) {
        return Err(IgnoredRedirect::OtherSubnet);
    }
    if ns.sysctls.secure_redirects(in_dev) && !ns.fib.is_known_gateway(gateway, in_dev) {
        return Err(IgnoredRedirect::UnknownGateway);
    }
    Ok(())
}
