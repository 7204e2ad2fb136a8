//! ICMP redirects: a router that sends a packet back out of the device it came by tells the sender of the shorter way
//! (`__mkroute_input` and `ip_rt_send_redirect`, net/ipv4/route.c).
//!
//! On a node this happens whenever a NodePort's endpoint is on another node of the same LAN: the client hears of an address
//! that it never asked for, because DNAT comes before.

use super::icmp;
use crate::context::Context;
use crate::device::DeviceId;
use crate::netns::Netns;
use crate::packet::Packet;
use crate::time::{Duration, Instant};
use crate::wire::icmpv4::icmp_type;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// `ip_rt_redirect_load`: HZ / 50.
const LOAD: Duration = Duration::from_millis(20);
/// `ip_rt_redirect_number`: after so many redirects without effect the peer is left alone.
const NUMBER: u32 = 9;
/// `ip_rt_redirect_silence`: (HZ / 50) << (9 + 1). After so long a silence the count begins anew.
const SILENCE: Duration = Duration::from_millis(20 << 10);
/// `ICMP_REDIR_HOST`.
const REDIRECT_HOST: u8 = 1;

/// Redirects sent so far, per peer (`struct inet_peer`).
#[derive(Clone, Debug, Default)]
pub struct RedirectLimit {
    peers: BTreeMap<Ipv4Addr, (u32, Instant)>,
}

impl RedirectLimit {
    /// Whether another redirect may go to this peer now; if so it is counted.
    fn allow(&mut self, now: Instant, peer: Ipv4Addr) -> bool {
        let (count, last) = self.peers.get(&peer).copied().unwrap_or((0, now));
        let count = if now - last > SILENCE { 0 } else { count };
        if count >= NUMBER {
            // The kernel moves the time of the last one on, so that only silence of the peer lifts the ban.
            self.peers.insert(peer, (count, now));
            return false;
        }
        let is_due = count == 0 || now - last > LOAD * (1 << count);
        if is_due {
            self.peers.insert(peer, (count + 1, now));
        }
        is_due
    }
}

/// Tells the sender of `packet`, which is being forwarded, that its next hop is on the sender's own link.
pub(super) fn ip_rt_send_redirect(ns: &mut Netns, cx: &mut Context, in_dev: DeviceId, packet: &Packet) {
    let Some(route) = packet.meta.route else { unreachable!("only routed packets are forwarded") };
    let src = packet.ipv4().src();
    if route.device != in_dev || !ns.sysctls.send_redirects(in_dev) || !is_on_link(ns, in_dev, src) {
        return;
    }
    if !ns.redirect_limit.allow(cx.now, src) {
        return;
    }
    let gateway = route.gateway.unwrap_or_else(|| packet.ipv4().dst());
    let about = icmp::About::packet(packet);
    icmp::icmp_send(ns, cx, &about, icmp_type::REDIRECT, REDIRECT_HOST, u32::from(gateway));
}

/// The way back to the sender needs no gateway (`fib_validate_source` says so with a positive result).
fn is_on_link(ns: &Netns, in_dev: DeviceId, src: Ipv4Addr) -> bool {
    ns.fib.lookup(src).is_ok_and(|entry| entry.gateway().is_none() && entry.device == Some(in_dev))
}
