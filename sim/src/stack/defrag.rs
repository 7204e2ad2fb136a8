//! Where the IP stack reassembles fragments (net/ipv4/ip_fragment.c, net/ipv4/netfilter/nf_defrag_ipv4.c).

use super::hooks::Handled;
use super::{carry_out, icmp, kfree_skb};
use crate::context::Context;
use crate::ct::PacketCt;
use crate::defrag::DefragUser;
use crate::drop_reason::DropReason;
use crate::fib::{InputKey, route_input};
use crate::hook::{Hook, HookState};
use crate::ids::DeviceId;
use crate::mutation::Mutation;
use crate::netns::Netns;
use crate::packet::Packet;
use crate::route::RouteKind;
use crate::time::Instant;
use crate::wire::icmpv4::icmp_type;

/// `ICMP_EXC_FRAGTIME`, include/uapi/linux/icmp.h.
const FRAGMENT_TIME_EXCEEDED: u8 = 1;

/// Reassembles fragments for conntrack (`ipv4_conntrack_defrag`).
pub(super) fn ipv4_conntrack_defrag(
    ns: &mut Netns,
    cx: &mut Context,
    state: HookState,
    packet: Packet,
) -> Handled {
    if packet.meta.ct == PacketCt::Untracked || Mutation::FragmentsUnassembled.is_on() {
        return Handled::Next(packet);
    }
    // Linux: nf_ct_defrag_user.
    let user = match state.hook {
        Hook::Output => DefragUser::ConntrackOut,
        Hook::Prerouting | Hook::Input | Hook::Forward | Hook::Postrouting => {
            if packet.meta.bridge.is_some() { DefragUser::ConntrackBridgeIn } else { DefragUser::ConntrackIn }
        }
    };
    let Some(mut whole) = whole(ns, cx, user, packet) else { return Handled::Stolen };
    // Linux: nf_ct_ipv4_gather_frags. It counts where the size of the fragments is forgotten: behind a bridge.
    whole.meta.ignore_df |= whole.meta.defragmented.is_some();
    Handled::Next(whole)
}

/// A packet that is complete, or is completed by this fragment (`ip_defrag`).
pub(super) fn whole(ns: &mut Netns, cx: &mut Context, user: DefragUser, packet: Packet) -> Option<Packet> {
    let ip = packet.ipv4();
    if ip.fragment_offset() == 0 && !ip.more_fragments() {
        return Some(packet);
    }
    let effects_before = cx.effects.len();
    let whole = ns.defrag.ip_defrag(cx, &ns.sysctls, user, packet);
    carry_out(ns, cx, effects_before);
    whole
}

/// Drops datagrams that were incomplete at `due`. An ICMP error is sent if their first fragment is present and, for
/// fragments in transit, only by the destination (`ip_expire`).
pub(crate) fn ip_expire(ns: &mut Netns, cx: &mut Context, due: Instant) {
    for mut expired in ns.defrag.expire(due) {
        if let Some(head) = expired.parts.first_mut().filter(|_| expired.has_first)
            && is_reported(ns, expired.user, expired.in_dev, head)
        {
            icmp::icmp_send(
                ns,
                cx,
                &icmp::About::packet(head),
                icmp_type::TIME_EXCEEDED,
                FRAGMENT_TIME_EXCEEDED,
                0,
            );
        }
        for part in expired.parts {
            kfree_skb(ns, cx, part, DropReason::FragmentTimeout);
        }
    }
}

/// Routes the first fragment as if received on the last fragment's device, as needed for the ICMP error.
fn is_reported(ns: &Netns, user: DefragUser, in_dev: Option<DeviceId>, head: &mut Packet) -> bool {
    let Some(in_dev) = in_dev else { return false };
    head.meta.in_dev = Some(in_dev);
    let ip = head.ipv4();
    let key = InputKey { in_dev, src: ip.src(), dst: ip.dst(), tos: ip.tos(), mark: head.meta.mark };
    let Ok(route) = route_input(&ns.fib, &ns.devices, &ns.sysctls, &key) else { return false };
    head.meta.route = Some(route);
    !user.is_on_the_way() || route.kind == RouteKind::Local
}
