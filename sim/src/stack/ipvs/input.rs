//! Packets for virtual services.

use super::super::hooks::Handled;
use super::{conntrack, icmp, segment, xmit};
use crate::context::{Context, Effect, OriginalPacket};
use crate::drop_reason::DropReason;
use crate::hook::{Hook, HookState};
use crate::ipvs::{Forwarding, Refusal};
use crate::netns::Netns;
use crate::packet::{Packet, PacketType};
use crate::trace::{Event, IpvsEvent};
use crate::wire::icmpv4::unreachable_code;
use crate::wire::protocol;

/// At INPUT and OUTPUT: sends a packet for a virtual service to a real server (`ip_vs_in_hook`,
/// net/netfilter/ipvs/ip_vs_core.c).
pub(in crate::stack) fn ip_vs_in_hook(
    ns: &mut Netns,
    cx: &mut Context,
    state: HookState,
    mut packet: Packet,
) -> Handled {
    let is_for_this_host = packet.meta.packet_type == PacketType::Host || state.hook == Hook::Output;
    if packet.meta.is_ipvs || !is_for_this_host || packet.meta.route.is_none() {
        return Handled::Next(packet);
    }
    if packet.ipv4().protocol() == protocol::ICMP {
        return icmp::ip_vs_in_icmp(ns, cx, state, packet);
    }
    let Some(segment) = segment(ns, state, &packet) else {
        // It could come again in another packet.
        packet.meta.is_ipvs |= ns.ipvs.settings.ignore_tunneled;
        return Handled::Next(packet);
    };
    let clock = ns.clock(cx.now);
    let decision = ns.ipvs.input(clock, cx.draws, cx.netns, &segment);
    conntrack::drop_ended(ns, cx);
    match decision {
        Ok(forwarding) => {
            record(ns, cx, &packet, &forwarding);
            xmit::packet_xmit(ns, cx, state, packet, &forwarding)
        }
        Err(refusal) => refuse(cx, state, packet, refusal),
    }
}

pub(super) fn record(ns: &Netns, cx: &mut Context, packet: &Packet, forwarding: &Forwarding) {
    let Forwarding { flow, server, state, server_id, why, .. } = *forwarding;
    cx.record(Some(packet.id), || {
        let service = ns.ipvs.server(server_id).and_then(|server| ns.ipvs.service(server.service));
        Event::Ipvs(match (why, service) {
            (Some(why), Some(service)) => {
                let (key, scheduler) = (service.spec.key, service.spec.scheduler);
                IpvsEvent::Scheduled { service: key, scheduler, why, flow, server, state }
            }
            (Some(_) | None, _) => IpvsEvent::Found { flow, server, state },
        })
    });
}

/// What happens to a packet that is not sent to a real server. Without a server, its sender receives an ICMP error, from the
/// virtual address if that is local (`ip_vs_leave`).
fn refuse(cx: &mut Context, state: HookState, packet: Packet, refusal: Refusal) -> Handled {
    let Some(reason) = reason_of(refusal) else { return Handled::Next(packet) };
    cx.record(Some(packet.id), || Event::Ipvs(IpvsEvent::Refused(refusal)));
    if let Refusal::NoServer(_) = refusal {
        let original = Box::new(OriginalPacket::of(&packet, state));
        cx.effects.push(Effect::IcmpUnreachable { original, code: unreachable_code::PORT });
    }
    Handled::Dropped(packet, reason)
}

/// Why a packet is dropped, unless it goes on.
pub(super) const fn reason_of(refusal: Refusal) -> Option<DropReason> {
    match refusal {
        Refusal::Pass(_) => None,
        Refusal::NoServer(_) => Some(DropReason::IpvsNoServer),
        Refusal::DropRate => Some(DropReason::IpvsDropRate),
        Refusal::ServerGone => Some(DropReason::IpvsServerGone),
        Refusal::OldConntrack => Some(DropReason::IpvsOldConntrack),
        Refusal::NoAssociation => Some(DropReason::IpvsNoAssociation),
    }
}
