//! ICMP (net/ipv4/icmp.c).

use super::hooks::Stopped;
use super::transport::{self, deliver_to_sockets};
use super::{consume_skb, ip_output, kfree_skb, pmtu, redirect};
use crate::context::{Context, OriginalPacket};
use crate::device::Scope;
use crate::drop_reason::DropReason;
use crate::fib::select_source;
use crate::icmp_limit::IcmpMessage;
use crate::ids::{DeviceId, FlowId, PacketId};
use crate::mutation::Mutation;
use crate::netns::Netns;
use crate::packet::{Meta, Origin, Owner, Packet, PacketType};
use crate::route::{RouteKind, RouteResult};
use crate::sysctl::Setting;
use crate::wire::build::{self, Ipv4Fields};
use crate::wire::icmpv4::{icmp_type, unreachable_code};
use crate::wire::quote::QUOTED_MIN;
use crate::wire::{Icmpv4, Ipv4, Quote, protocol};
use std::net::Ipv4Addr;

/// `IPTOS_TOS_MASK` (include/uapi/linux/ip.h).
const TOS_MASK: u8 = 0x1e;
/// `IPTOS_PREC_INTERNETCONTROL` (include/uapi/linux/ip.h): the precedence of ICMP errors.
const TOS_INTERNET_CONTROL: u8 = 0xc0;
/// RFC 1812 §4.3.2.3: an error message does not exceed 576 bytes.
const ERROR_LEN_MAX: usize = 576;

/// The packet that an ICMP error refers to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    id: PacketId,
    flow: Option<FlowId>,
    l3: &'a [u8],
    meta: &'a Meta,
}

impl<'a> About<'a> {
    /// A packet that is being processed.
    pub(crate) fn packet(packet: &'a Packet) -> Self {
        Self { id: packet.id, flow: packet.flow, l3: packet.l3(), meta: &packet.meta }
    }

    /// A packet rejected by a rule.
    pub(crate) fn original(original: &'a OriginalPacket) -> Self {
        Self { id: original.id, flow: original.flow, l3: &original.bytes, meta: &original.meta }
    }
}

/// Sends an ICMP error (`__icmp_send`). `info` is the second word of the header: the MTU of fragmentation needed, the
/// gateway of a redirect. Nothing is sent if RFC 1122 §3.2.2 forbids it, a rate limit is exceeded, or there is no route
/// back.
pub(crate) fn icmp_send(ns: &mut Netns, cx: &mut Context, about: &About, icmp_type: u8, code: u8, info: u32) {
    let ip = Ipv4::new_unchecked(about.l3);
    if !may_be_answered(about, &ip) {
        return;
    }
    // The error is sent from the contacted address, if it is local. Raw packets may have 0.0.0.0.
    let is_local = about.meta.route.is_some_and(|route| route.kind == RouteKind::Local);
    let source = match is_local && !Mutation::ErrorFromRouteSource.is_on() {
        true => Some(ip.dst()).filter(|contacted| !contacted.is_unspecified()),
        false => inbound_address(ns, about, ip.src()),
    };
    let Ok(route) = ip_output::ip_route_output(ns, cx, source, ip.src()) else { return };
    let message = IcmpMessage {
        icmp_type,
        code,
        peer: ip.src().into(),
        is_about_loopback: about.meta.in_dev == Some(DeviceId::LOOPBACK),
        leaves_by_loopback: route.device == DeviceId::LOOPBACK,
    };
    let now = cx.limit_time(about.meta);
    if !ns.icmp_limit.allow(cx.draws, cx.netns, now, &ns.sysctls, &message) {
        return;
    }
    let room = usize::from(route.mtu(ns.devices.get(route.device).mtu)).min(ERROR_LEN_MAX) - 20 - 8;
    let room = Mutation::ErrorQuotesEightBytes.or(ip.header_len() + 8, room);
    let quote = &about.l3[..usize::from(ip.total_len()).min(room).min(about.l3.len())];
    let tos = if is_error(icmp_type) && !Mutation::ErrorPrecedenceMissing.is_on() {
        (ip.tos() & TOS_MASK) | TOS_INTERNET_CONTROL
    } else {
        ip.tos()
    };
    let message = build::icmpv4(icmp_type, code, info.to_be_bytes(), quote);
    let answer = Answer { src: source.unwrap_or_else(|| route.ipv4_source()), dst: ip.src(), tos, route };
    let mut packet = answer.build(ns, cx, about.id, about.flow, &message);
    // Linux: icmp_glue_bits. An error belongs to the flow of the quoted packet, even before that is confirmed.
    if is_error(icmp_type) && !Mutation::ErrorUntracked.is_on() {
        ns.conntrack.attach(&mut packet, about.meta);
    }
    // A message dropped by OUTPUT is lost; no error is sent for it.
    let _: Result<(), Stopped> = ip_output::ip_local_out(ns, cx, packet);
}

/// The source of an error about a forwarded packet with icmp_errors_use_inbound_ifaddr: an address of the device that
/// received it. A packet on its way from port to port of a bridge was not routed (`rt_is_input_route`).
fn inbound_address(ns: &Netns, about: &About, to: Ipv4Addr) -> Option<Ipv4Addr> {
    let is_bridged = about.meta.bridge.is_some_and(|info| info.phys_out.is_some());
    if ns.sysctls.value(Setting::IcmpErrorsUseInboundIfaddr) == 0 || is_bridged {
        return None;
    }
    select_source(&ns.devices, &ns.sysctls, about.meta.in_dev?, Some(to), Scope::Link)
}

/// Linux: the checks at the start of `__icmp_send`.
fn may_be_answered(about: &About, ip: &Ipv4<&[u8]>) -> bool {
    let is_group = about.meta.route.is_some_and(|route| match route.kind {
        RouteKind::Broadcast | RouteKind::Multicast => true,
        RouteKind::Unicast
        | RouteKind::Local
        | RouteKind::Unreachable
        | RouteKind::Prohibit
        | RouteKind::Blackhole => false,
    });
    if about.meta.packet_type != PacketType::Host || is_group || ip.fragment_offset() > 0 {
        return Mutation::ErrorsAboutGroups.is_on() && ip.fragment_offset() == 0;
    }
    let is_about_error = ip.protocol() == protocol::ICMP
        && about.l3.get(ip.header_len()..).and_then(Icmpv4::new_checked).is_none_or(|icmp| icmp.is_error());
    !is_about_error
}

/// Linux: `icmp_pointers[].error`.
const fn is_error(icmp_type: u8) -> bool {
    matches!(
        icmp_type,
        icmp_type::DEST_UNREACHABLE
            | 4
            | icmp_type::REDIRECT
            | icmp_type::TIME_EXCEEDED
            | icmp_type::PARAMETER_PROBLEM
    )
}

/// A routed ICMP message of this netns.
struct Answer {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    tos: u8,
    route: RouteResult,
}

impl Answer {
    /// Linux: `icmp_push_reply`. ICMP sockets of the kernel never set DF (`icmp_init`: `IP_PMTUDISC_DONT`).
    fn build(
        self,
        ns: &Netns,
        cx: &mut Context,
        cause: PacketId,
        flow: Option<FlowId>,
        message: &[u8],
    ) -> Packet {
        let ident = ip_output::ip_select_ident(cx);
        let fields = Ipv4Fields {
            src: self.src,
            dst: self.dst,
            protocol: protocol::ICMP,
            ttl: ns.sysctls.ip_default_ttl(),
            tos: self.tos,
            ident,
            dont_fragment: false,
        };
        let mut packet = cx.create(Origin::Kernel, Some(cause), flow, build::ipv4(fields, message));
        packet.meta.route = Some(self.route);
        packet.meta.owner = Owner::Kernel;
        packet
    }
}

/// An ICMP message was received (`icmp_rcv`).
pub(crate) fn icmp_rcv(ns: &mut Netns, cx: &mut Context, packet: Packet) {
    let ip = packet.ipv4();
    let Some(icmp) = Icmpv4::new_checked(ip.payload()) else {
        return kfree_skb(ns, cx, packet, DropReason::IcmpChecksum);
    };
    if !icmp.is_checksum_valid() {
        return kfree_skb(ns, cx, packet, DropReason::IcmpChecksum);
    }
    match icmp.icmp_type() {
        icmp_type::ECHO_REQUEST => icmp_echo(ns, cx, packet),
        icmp_type::ECHO_REPLY => {
            let reply = |sockets: &mut crate::socket::Sockets,
                         io: &mut crate::socket::SocketIo,
                         packet: &Packet| { sockets.icmp_rcv_echo_reply(io, packet) };
            let delivery = deliver_to_sockets(ns, cx, &packet, reply);
            transport::end_delivered(ns, cx, packet, delivery);
        }
        icmp_type::DEST_UNREACHABLE | icmp_type::TIME_EXCEEDED | icmp_type::PARAMETER_PROBLEM => {
            icmp_unreach(ns, cx, packet);
        }
        icmp_type::REDIRECT => redirect::icmp_redirect(ns, cx, packet),
        // Other types are accepted and ignored.
        _ => consume_skb(ns, cx, packet),
    }
}

/// Replies to an echo request from the contacted address, or to a broadcast from an own one (`icmp_echo`, `icmp_reply`).
fn icmp_echo(ns: &mut Netns, cx: &mut Context, packet: Packet) {
    let ip = packet.ipv4();
    let Some(received) = packet.meta.route else { unreachable!("only routed packets are delivered") };
    let is_unicast = received.kind == RouteKind::Local;
    let is_on = |setting| ns.sysctls.value(setting) != 0;
    let is_ignored = is_on(Setting::IcmpEchoIgnoreAll) && !Mutation::EchoIgnoreUnread.is_on();
    if is_ignored || (!is_unicast && is_on(Setting::IcmpEchoIgnoreBroadcasts)) {
        return kfree_skb(ns, cx, packet, DropReason::NotForUs);
    }
    let Some(request) = Icmpv4::new_checked(ip.payload()) else { unreachable!("checked by icmp_rcv") };
    let rest = [ip.payload()[4], ip.payload()[5], ip.payload()[6], ip.payload()[7]];
    let message = build::icmpv4(icmp_type::ECHO_REPLY, 0, rest, request.payload());
    let src = if is_unicast { ip.dst() } else { received.ipv4_source() };
    let (dst, tos) = (ip.src(), ip.tos());
    if let Ok(route) = ip_output::ip_route_output(ns, cx, Some(src), dst)
        && may_reply(ns, cx, &packet.meta, dst, route)
    {
        let answer = Answer { src, dst, tos, route };
        let reply = answer.build(ns, cx, packet.id, packet.flow, &message);
        let _: Result<(), Stopped> = ip_output::ip_local_out(ns, cx, reply);
    }
    consume_skb(ns, cx, packet);
}

/// True if the rate limits permit an echo reply (`icmp_reply`). Replies are limited if `icmp_ratemask` includes their type,
/// which it does not by default. Unlike an error, a reply about a packet from the loopback device counts for the limit of
/// the netns.
fn may_reply(ns: &mut Netns, cx: &mut Context, request: &Meta, dst: Ipv4Addr, route: RouteResult) -> bool {
    let reply = IcmpMessage {
        icmp_type: icmp_type::ECHO_REPLY,
        code: 0,
        peer: dst.into(),
        is_about_loopback: false,
        leaves_by_loopback: route.device == DeviceId::LOOPBACK,
    };
    let now = cx.limit_time(request);
    ns.icmp_limit.allow(cx.draws, cx.netns, now, &ns.sysctls, &reply)
}

/// Delivers an error to the socket whose packet it quotes (`icmp_unreach`, `icmp_socket_deliver`).
fn icmp_unreach(ns: &mut Netns, cx: &mut Context, packet: Packet) {
    let ip = packet.ipv4();
    let Some(icmp) = Icmpv4::new_checked(ip.payload()) else { unreachable!("checked by icmp_rcv") };
    let (icmp_type, code, mtu) = (icmp.icmp_type(), icmp.code(), icmp.next_hop_mtu());
    let quoted = icmp.payload();
    if Quote::parse(quoted).is_none_or(|quote| quote.l4.len() < QUOTED_MIN) {
        return kfree_skb(ns, cx, packet, DropReason::IpHeader);
    }
    if (icmp_type, code) == (icmp_type::DEST_UNREACHABLE, unreachable_code::FRAGMENTATION_NEEDED) {
        pmtu::update_pmtu(ns, cx, &packet, quoted, mtu);
    }
    transport::with_sockets(ns, cx, |sockets, io| sockets.icmp_err(io, icmp_type, code, quoted));
    consume_skb(ns, cx, packet);
}
