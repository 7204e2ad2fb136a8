//! Routing decisions and neighbour events.

use super::{Row, RowContext, rule::drop_reason};
use crate::palette::Tone;
use sim::drop_reason::DropReason;
use sim::ids::NetnsId;
use sim::route::{RouteKind, RouteResult};
use sim::trace::{IgnoredRedirect, NeighEvent, RouteEvent};
use std::net::IpAddr;

pub(super) fn route(words: &RowContext<'_>, netns: NetnsId, event: &RouteEvent) -> Row {
    match event {
        RouteEvent::Input { dst, result } => decision(words, netns, *dst, result, ""),
        RouteEvent::Output { dst, result } => {
            let source = result.as_ref().map_or_else(|_| String::new(), |it| format!(" src {}", it.source));
            decision(words, netns, *dst, result, &source)
        }
        RouteEvent::Learned { dst, gateway } => {
            Row::new("route", format!("{dst} via {gateway} from now on: the redirect is followed"))
        }
        RouteEvent::PathMtu { dst, bytes } => Row::new(
            "route",
            format!("{dst} has path MTU {bytes} from now on: fragmentation is needed on the way"),
        ),
        RouteEvent::RedirectIgnored { gateway, reason } => {
            Row::new("route", format!("redirect to {gateway} ignored: {}", ignored(*reason)))
        }
    }
}

/// Why a redirect has no effect.
const fn ignored(reason: IgnoredRedirect) -> &'static str {
    match reason {
        IgnoredRedirect::NoSocket => "no socket sent the quoted packet",
        IgnoredRedirect::SocketLocked => "a program is in a system call on the socket",
        IgnoredRedirect::NotFromGateway => "it does not come from the current gateway",
        IgnoredRedirect::Disabled => "accept_redirects is off",
        IgnoredRedirect::Invalid => "the gateway or the code is invalid",
        IgnoredRedirect::OtherSubnet => "the gateway is on another subnet, and shared_media is off",
        IgnoredRedirect::UnknownGateway => "no route has this gateway, and secure_redirects is on",
        IgnoredRedirect::Unresolved => "its MAC address is not known yet",
    }
}

/// `10.244.2.7 via 192.168.0.12 dev eth0`, in the format of `ip route get`.
fn decision(
    words: &RowContext<'_>,
    netns: NetnsId,
    dst: IpAddr,
    result: &Result<RouteResult, DropReason>,
    source: &str,
) -> Row {
    match result {
        Ok(route) => {
            let via = route.gateway.map_or_else(String::new, |gateway| format!(" via {gateway}"));
            let device = words.device(netns, route.device);
            Row::new("route", format!("{}{dst}{via} dev {device}{source}", kind_prefix(route.kind)))
        }
        Err(reason) => Row::new("route", format!("{dst}: {}", drop_reason(*reason))).tone(Tone::Bad),
    }
}

/// The route type as iproute2 prints it, which omits `unicast`.
const fn kind_prefix(kind: RouteKind) -> &'static str {
    match kind {
        RouteKind::Unicast => "",
        RouteKind::Local => "local ",
        RouteKind::Broadcast => "broadcast ",
        RouteKind::Multicast => "multicast ",
        RouteKind::Unreachable => "unreachable ",
        RouteKind::Prohibit => "prohibit ",
        RouteKind::Blackhole => "blackhole ",
    }
}

pub(super) fn neigh(words: &RowContext<'_>, netns: NetnsId, event: &NeighEvent) -> Row {
    let name = |device| words.device(netns, device);
    match event {
        NeighEvent::Solicited { device, addr } => {
            Row::new("neigh", format!("{addr} dev {}: unresolved, sends a request", name(*device)))
        }
        NeighEvent::Resolved { device, addr, mac } => {
            Row::new("neigh", format!("{addr} dev {} lladdr {mac}", name(*device)))
        }
        NeighEvent::Failed { device, addr } => {
            Row::new("neigh", format!("{addr} dev {}: FAILED, no reply", name(*device))).tone(Tone::Bad)
        }
    }
}
