//! Packets of real servers.

use super::super::hooks::Handled;
use super::super::{ip_output, kfree_skb};
use super::{conntrack, icmp, segment, whole, xmit};
use crate::context::{Context, Effect, OriginalPacket};
use crate::drop_reason::DropReason;
use crate::hook::{Hook, HookState};
use crate::ipvs::{Forwarding, Reply};
use crate::netns::Netns;
use crate::packet::Packet;
use crate::route::RouteKind;
use crate::trace::{Event, IpvsEvent};
use crate::wire::icmpv4::unreachable_code;
use crate::wire::protocol;
use crate::wire::rewrite::Side;

/// At INPUT, OUTPUT and FORWARD: translates the reply of a real server, so that it comes from the virtual address
/// (`ip_vs_out_hook`, net/netfilter/ipvs/ip_vs_core.c).
pub(in crate::stack) fn ip_vs_out_hook(
    ns: &mut Netns,
    cx: &mut Context,
    state: HookState,
    packet: Packet,
) -> Handled {
    if packet.meta.is_ipvs {
        return Handled::Next(packet);
    }
    let Some(packet) = whole(ns, cx, state, packet) else { return Handled::Stolen };
    if packet.ipv4().protocol() == protocol::ICMP {
        return icmp::ip_vs_out_icmp(ns, cx, state, packet);
    }
    let Some(segment) = segment(ns, state, &packet) else { return Handled::Next(packet) };
    let clock = ns.clock(cx.now);
    let reply = ns.ipvs.output(clock, cx.draws, cx.netns, &segment);
    conntrack::drop_ended(ns, cx);
    match reply {
        Reply::Translate(forwarding) | Reply::Follow(forwarding) => {
            handle_response(ns, cx, state, packet, &forwarding, reply)
        }
        Reply::Pass => Handled::Next(packet),
        Reply::NoConnection => {
            let original = Box::new(OriginalPacket::of(&packet, state));
            cx.effects.push(Effect::IcmpUnreachable { original, code: unreachable_code::PORT });
            Handled::Dropped(packet, DropReason::IpvsNoConnection)
        }
    }
}

/// Linux: handle_response.
fn handle_response(
    ns: &mut Netns,
    cx: &mut Context,
    state: HookState,
    mut packet: Packet,
    forwarding: &Forwarding,
    reply: Reply,
) -> Handled {
    let Forwarding { flow, server, state: connection_state, .. } = *forwarding;
    let replied = || Event::Ipvs(IpvsEvent::Replied { flow, server, state: connection_state });
    cx.record(Some(packet.id), replied);
    if matches!(reply, Reply::Translate(_)) {
        xmit::translate(cx, &mut packet, Side::Src, server, flow.peer);
        if let Err(reason) = ip_vs_route_me_harder(ns, cx, state, &mut packet) {
            kfree_skb(ns, cx, packet, reason);
            return Handled::Stolen;
        }
    }
    conntrack::associate(ns, cx, &mut packet, forwarding, Side::Src);
    Handled::Next(packet)
}

/// Routes a reply to a remote client anew, as a packet from the virtual address (`ip_vs_route_me_harder`). A bridged packet is
/// not routed: the kernel gives it the new route, but no one reads it.
pub(super) fn ip_vs_route_me_harder(
    ns: &mut Netns,
    cx: &mut Context,
    state: HookState,
    packet: &mut Packet,
) -> Result<(), DropReason> {
    let is_to_this_host = packet.meta.route.is_some_and(|route| route.kind == RouteKind::Local);
    if !ns.ipvs.settings.snat_reroute || state.hook == Hook::Input || is_to_this_host {
        return Ok(());
    }
    let before = packet.meta.route;
    ip_output::ip_route_me_harder(ns, cx, packet)?;
    if before.is_none() {
        packet.meta.route = None;
    }
    Ok(())
}
