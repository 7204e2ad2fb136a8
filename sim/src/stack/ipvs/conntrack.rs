//! IPVS and conntrack (net/netfilter/ipvs/ip_vs_nfct.c).
//!
//! With `vs.conntrack` 0, packets of connections are exempt from conntrack, and with it from NAT: their destination is
//! translated here, outside of conntrack's knowledge. With 1, the reply tuple of a new entry names the server, so that
//! conntrack recognizes its replies; original tuple and NAT status stay as they are.

use crate::context::Context;
use crate::ct::PacketCt;
use crate::ipvs::{FlowKey, Forward, Forwarding, Protocol};
use crate::netns::Netns;
use crate::packet::Packet;
use crate::trace::{ConntrackEvent, Event, IpvsEvent};
use crate::tuple::{Direction, L4Key, Tuple};
use crate::wire::protocol;
use crate::wire::rewrite::Side;
use std::net::SocketAddr;

/// The packet belongs to a connection from now on, and so does its conntrack entry; without `vs.conntrack`, it has none.
/// `side` is the side that was translated.
pub(super) fn associate(
    ns: &mut Netns,
    cx: &mut Context,
    packet: &mut Packet,
    forwarding: &Forwarding,
    side: Side,
) {
    packet.meta.is_ipvs = true;
    if forwarding.owns_conntrack {
        ip_vs_update_conntrack(ns, cx, packet, forwarding, side);
    } else {
        ip_vs_notrack(ns, cx, packet);
    }
}

/// Exempts a tracked packet (`ip_vs_notrack`, include/net/ip_vs.h).
pub(super) fn ip_vs_notrack(ns: &mut Netns, cx: &mut Context, packet: &mut Packet) {
    if let PacketCt::Entry { .. } = packet.meta.ct {
        ns.conntrack.release(packet);
        packet.meta.ct = PacketCt::Untracked;
        cx.record(Some(packet.id), || Event::Ipvs(IpvsEvent::Untracked));
    }
}

/// Changes the reply tuple of a new entry: replies come from the server, or go to the service. Nothing searches for a free
/// tuple.
fn ip_vs_update_conntrack(
    ns: &mut Netns,
    cx: &mut Context,
    packet: &Packet,
    forwarding: &Forwarding,
    side: Side,
) {
    let PacketCt::Entry { id, info } = packet.meta.ct else { return };
    let is_translated = forwarding.forward == Forward::Masquerade && !forwarding.is_one_packet;
    if !is_translated || info.direction() != Direction::Original {
        return;
    }
    let Some(entry) = ns.conntrack.entry_mut(id) else { return };
    if entry.is_confirmed() || entry.is_dying() {
        return;
    }
    let old_reply = *entry.tuple(Direction::Reply);
    let new_reply = with_end(old_reply, side, forwarding);
    entry.alter_reply(new_reply);
    let altered = || Event::Ipvs(IpvsEvent::ConntrackAltered { entry: id, old_reply, new_reply });
    cx.record(Some(packet.id), altered);
}

/// The reply tuple after the translation of one side. ICMP has no ports.
fn with_end(reply: Tuple, side: Side, forwarding: &Forwarding) -> Tuple {
    let ports = |src: Option<u16>, dst: Option<u16>| match reply.l4 {
        L4Key::Ports { src: old_src, dst: old_dst } => {
            L4Key::Ports { src: src.unwrap_or(old_src), dst: dst.unwrap_or(old_dst) }
        }
        L4Key::Icmp { .. } | L4Key::Generic => reply.l4,
    };
    match side {
        Side::Dst => {
            let server = forwarding.server;
            Tuple { src: server.ip(), l4: ports(Some(server.port()), None), ..reply }
        }
        Side::Src => {
            let service = forwarding.flow.peer;
            Tuple { dst: service.ip(), l4: ports(None, Some(service.port())), ..reply }
        }
    }
}

/// Removes the conntrack entries of connections that have ended (`ip_vs_conn_drop_conntrack`).
pub(crate) fn drop_ended(ns: &mut Netns, cx: &mut Context) {
    while let Some(flow) = ns.ipvs.next_ended() {
        let Some(tuple) = original(&flow) else { continue };
        let Some((entry, _)) = ns.conntrack.find(&tuple, cx.now) else { continue };
        let Some(original) = ns.conntrack.entry(entry).map(|found| *found.tuple(Direction::Original)) else {
            continue;
        };
        if ns.conntrack.delete(entry) {
            cx.record(None, || Event::Conntrack(ConntrackEvent::Deleted { entry, original }));
        }
    }
}

/// The tuple of the packets of a client.
fn original(flow: &FlowKey) -> Option<Tuple> {
    let protocol = match flow.protocol? {
        Protocol::Tcp => protocol::TCP,
        Protocol::Udp => protocol::UDP,
        Protocol::Sctp => protocol::SCTP,
    };
    let end = |addr: SocketAddr| (addr.ip(), addr.port());
    let ((src, src_port), (dst, dst_port)) = (end(flow.client), end(flow.peer));
    Some(Tuple { src, dst, protocol, l4: L4Key::Ports { src: src_port, dst: dst_port } })
}
