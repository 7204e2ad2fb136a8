//! The tunnel transmitter: the packet becomes the payload of another (`ip_vs_tunnel_xmit`,
//! net/netfilter/ipvs/ip_vs_xmit.c; RFC 2003).

use super::super::hooks::{Handled, Stopped};
use super::super::{ip_output, kfree_skb};
use super::route::{Mode, OutRoute, ip_vs_get_out_rt};
use super::xmit::{mark_sent, send_or_cont};
use crate::context::Context;
use crate::ct::PacketCt;
use crate::hook::{HookState, Verdict};
use crate::ipvs::Forwarding;
use crate::netfilter::conntrack::nf_conntrack_confirm;
use crate::netns::Netns;
use crate::packet::Packet;
use crate::trace::{Event, IpvsEvent};
use crate::wire::build::{self, HEADROOM, Ipv4Fields};
use crate::wire::ecn::Ecn;
use crate::wire::ipv4::IPV4_HEADER_LEN;
use crate::wire::protocol;
use std::net::Ipv4Addr;

/// The length of the outer header.
const OVERHEAD: u16 = IPV4_HEADER_LEN as u16;
/// The ECN field of the type of service (`INET_ECN_MASK`).
const ECN_MASK: u8 = 0b11;

/// Encapsulates the packet for a server, which has the virtual address too.
pub(super) fn ip_vs_tunnel_xmit(
    ns: &mut Netns,
    cx: &mut Context,
    state: HookState,
    packet: Packet,
    server: Ipv4Addr,
    forwarding: &Forwarding,
) -> Handled {
    let keeps_dont_fragment = ns.ipvs.settings.pmtu_disc;
    let mode = Mode { overhead: OVERHEAD, obeys_dont_fragment: keeps_dont_fragment, ..Mode::SEGMENT };
    let mut packet = match ip_vs_get_out_rt(ns, cx, packet, server, mode) {
        None => return Handled::Stolen,
        Some(OutRoute::Local(mut packet)) => {
            mark_sent(ns, cx, &mut packet, forwarding);
            return send_or_cont(ns, cx, packet, true);
        }
        Some(OutRoute::Remote(packet)) => packet,
    };
    push_header(cx, &mut packet, server, keeps_dont_fragment);
    cx.record(Some(packet.id), || Event::Ipvs(IpvsEvent::Encapsulated { server: server.into() }));
    // Linux: ip_vs_tunnel_xmit_prepare. The outer packet is tracked by itself.
    packet.meta.is_ipvs = true;
    if forwarding.owns_conntrack
        && let Verdict::Drop(reason) = nf_conntrack_confirm(&mut ns.at_hook(cx, state).ctx, &mut packet)
    {
        kfree_skb(ns, cx, packet, reason);
        return Handled::Stolen;
    }
    packet.meta.ignore_df = true;
    ns.conntrack.release(&packet);
    packet.meta.ct = PacketCt::None;
    let _: Result<(), Stopped> = ip_output::ip_local_out(ns, cx, packet);
    Handled::Stolen
}

/// Puts the outer header before the packet. It takes TTL, type of service and, if permitted, DF from the inner one.
fn push_header(cx: &mut Context, packet: &mut Packet, server: Ipv4Addr, keeps_dont_fragment: bool) {
    let Some(route) = packet.meta.route else { unreachable!("the packet is routed") };
    let inner = packet.ipv4();
    let fields = Ipv4Fields {
        src: route.ipv4_source(),
        dst: server,
        protocol: protocol::IPIP,
        ttl: inner.ttl(),
        tos: outer_tos(inner.tos()),
        ident: ip_output::ip_select_ident(cx),
        dont_fragment: keeps_dont_fragment && inner.dont_fragment(),
    };
    let mut bytes = vec![0; HEADROOM];
    bytes.extend_from_slice(packet.l3());
    build::push_ipv4(fields, &mut bytes);
    packet.bytes = bytes;
}

/// The sender learns of congestion in the tunnel only through the inner header, so a mark there is not repeated
/// (`INET_ECN_encapsulate`, include/net/inet_ecn.h).
const fn outer_tos(inner: u8) -> u8 {
    match Ecn::of_tos(inner) {
        Ecn::Ce => (inner & !ECN_MASK) | Ecn::Ect0.tos(),
        Ecn::NotEct | Ecn::Ect0 | Ecn::Ect1 => inner,
    }
}
