//! ICMP redirects: a router that sends a packet back through its ingress device informs the sender of the shorter path
//! (`__mkroute_input` and `ip_rt_send_redirect`, net/ipv4/route.c).
//!
//! On a node this happens whenever a NodePort's endpoint is on another node in the same LAN: the client receives an
//! address that it never contacted, because DNAT comes first.

use super::icmp;
use crate::context::Context;
use crate::fib::{Routing, is_redirect_due};
use crate::ids::DeviceId;
use crate::netns::Netns;
use crate::packet::Packet;
use crate::wire::icmpv4::icmp_type;
use std::net::IpAddr;

/// `ICMP_REDIR_HOST`.
const REDIRECT_HOST: u8 = 1;

/// Informs the sender of a forwarded packet that its next hop is on the sender's own link.
pub(super) fn ip_rt_send_redirect(ns: &mut Netns, cx: &mut Context, in_dev: DeviceId, packet: &Packet) {
    let Some(route) = packet.meta.route else { unreachable!("only routed packets are forwarded") };
    let (src, dst) = (packet.ipv4().src(), packet.ipv4().dst());
    let routing = Routing { devices: &ns.devices, fib: &ns.fib, sysctls: &ns.sysctls };
    if !is_redirect_due(routing, in_dev, src, &route) || !ns.icmp_limit.allow_redirect(cx.now, src.into()) {
        return;
    }
    // The message has no room for an IPv6 gateway.
    let IpAddr::V4(gateway) = route.next_hop(dst.into()) else { return };
    let about = icmp::About::packet(packet);
    icmp::icmp_send(ns, cx, &about, icmp_type::REDIRECT, REDIRECT_HOST, u32::from(gateway));
}
