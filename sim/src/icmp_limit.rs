//! Rate limits of ICMP messages that a netns sends (net/ipv4/icmp.c, `inet_peer_xrlim_allow` in net/ipv4/inetpeer.c).
//!
//! D-23. Two token buckets in sequence: one per netns, one per destination. Time is counted in ticks of a millisecond,
//! as with `CONFIG_HZ=1000`; a slower tick only makes the kernel's arithmetic coarser.

use crate::mutation::Mutation;
mod credit;

use crate::draws::{Draws, Purpose};
use crate::ids::NetnsId;
use crate::sysctl::{Setting, Sysctls};
use crate::time::Instant;
use crate::timer_wheel::TimerWheel;
use credit::Credit;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Ticks per second.
const HZ: u64 = 1_000;
/// Burst of messages to a destination (`XRLIM_BURST_FACTOR`).
const BURST_FACTOR: u64 = 6;
/// The cost of a route error, and its burst (`ip_rt_error_cost`, `ip_rt_error_burst`).
const ROUTE_ERROR_COST: u64 = HZ;
const ROUTE_ERROR_BURST: u64 = 5 * HZ;
/// Number of redirects that a peer may ignore before they stop (`ip_rt_redirect_number`).
const REDIRECTS_MAX: u32 = 9;
/// The first interval between redirects; each is twice the previous one (`ip_rt_redirect_load`).
const REDIRECT_PAUSE: u64 = HZ / 50;
/// After an interval of this length the redirect count restarts (`ip_rt_redirect_silence`).
const REDIRECT_SILENCE: u64 = REDIRECT_PAUSE << (REDIRECTS_MAX + 1);
/// The assumed age of a new peer (`inet_getpeer`).
const NEVER: u64 = 60 * HZ;
/// Minimum number of peers remembered (`inet_peer_threshold` is never below it).
const PEERS_MAX: usize = 4_096;

/// A message about to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpMessage {
    /// ICMP type (RFC 792).
    pub icmp_type: u8,
    /// ICMP code.
    pub code: u8,
    /// Its destination.
    pub peer: IpAddr,
    /// The packet that it refers to was received on the loopback device.
    pub is_about_loopback: bool,
    /// It will be sent through the loopback device.
    pub leaves_by_loopback: bool,
}

/// The token buckets of a netns.
#[derive(Clone, Debug, Default)]
pub struct IcmpLimit {
    /// Available tokens (`icmp_global_credit`).
    credit: Credit,
    /// Time of the last refill (`icmp_global_stamp`); `None` at first, so that the first message fills the bucket.
    credited_at: Option<u64>,
    peers: BTreeMap<IpAddr, Peer>,
    /// `None`: ticks are a millisecond, and the first starts with the world.
    wheel: Option<TimerWheel>,
    /// The tick of the last message. A kernel that is followed may have received packets in another order.
    latest: u64,
}

/// A destination (`struct inet_peer`). Errors, route errors and redirects share tokens and time, so that each kind
/// delays the others.
#[derive(Clone, Copy, Debug)]
struct Peer {
    tokens: u64,
    /// Tick of the last update.
    updated_at: u64,
    /// Redirects since the last silence.
    redirects: u32,
}

impl IcmpLimit {
    /// True if the message may be sent; it is counted then.
    /// Linux: __icmp_send and icmp_reply, with icmpv4_global_allow, icmpv4_xrlim_allow and icmp_global_consume.
    pub fn allow(
        &mut self,
        draws: &mut Draws,
        owner: NetnsId,
        now: Instant,
        sysctls: &Sysctls,
        message: &IcmpMessage,
    ) -> bool {
        if message.is_about_loopback || is_exempt(sysctls, message) || Mutation::ErrorsUnlimited.is_on() {
            return true;
        }
        let now = self.ticks(now);
        if !self.has_credit(draws, now, sysctls) {
            return false;
        }
        // A cost of zero is unlimited; but a tick later the peer has no tokens for a route error.
        let cost = u64::from(sysctls.value(Setting::IcmpRatelimit));
        if !message.leaves_by_loopback && !self.take(now, message.peer, cost, BURST_FACTOR * cost) {
            return false;
        }
        self.credit.consume(draws.below(owner, Purpose::IcmpCredit, 3));
        true
    }

    /// True if a router may report to `peer` that its packet could not be routed. Checked before [`IcmpLimit::allow`],
    /// and takes from the same bucket, so such errors count twice.
    /// Linux: ip_error, net/ipv4/route.c.
    pub fn allow_route_error(&mut self, now: Instant, peer: IpAddr) -> bool {
        let now = self.ticks(now);
        let state = self.peer(now, peer);
        state.tokens = state.tokens.min(ROUTE_ERROR_BURST);
        self.take(now, peer, ROUTE_ERROR_COST, ROUTE_ERROR_BURST)
    }

    /// True if `peer`, whose packet leaves through its ingress device, may receive a redirect. Checked before
    /// [`IcmpLimit::allow`], which does not limit redirects unless the mask is changed.
    ///
    /// A redirect after a silence takes the peer's tokens, so that it receives no other error for a second.
    /// Linux: ip_rt_send_redirect, net/ipv4/route.c.
    pub fn allow_redirect(&mut self, now: Instant, peer: IpAddr) -> bool {
        let now = self.ticks(now);
        let state = self.peer(now, peer);
        if now > state.updated_at + REDIRECT_SILENCE {
            state.tokens = 0;
            state.redirects = 0;
        }
        if state.redirects >= REDIRECTS_MAX {
            state.updated_at = now;
            return false;
        }
        let pause = Mutation::RedirectPauseLong.or(10 * REDIRECT_PAUSE, REDIRECT_PAUSE) << state.redirects;
        let is_due = state.redirects == 0 || now > state.updated_at + pause;
        if is_due {
            state.updated_at = now;
            state.redirects += 1;
        }
        is_due
    }

    /// From here on, time advances with the ticks of that wheel.
    pub(crate) const fn set_wheel(&mut self, wheel: TimerWheel) {
        self.wheel = Some(wheel);
    }

    /// Ticks do not start at zero, so that there is a time before the first message.
    fn ticks(&mut self, at: Instant) -> u64 {
        let nanos = self.wheel.map_or(at.as_nanos(), |wheel| wheel.tick_begin(at));
        self.latest = self.latest.max(NEVER + nanos / 1_000_000);
        self.latest
    }

    // Linux: icmp_global_allow. Tokens are added in steps of at least 20 ms, for at most one second.
    fn has_credit(&mut self, draws: &mut Draws, now: u64, sysctls: &Sysctls) -> bool {
        if self.credit.is_left(draws) {
            return true;
        }
        let since = self.credited_at.map_or(HZ, |then| (now - then).min(HZ));
        if since < HZ / 50 {
            return false;
        }
        let earned = u64::from(sysctls.value(Setting::IcmpMsgsPerSec)) * since / HZ;
        if earned == 0 {
            return false;
        }
        self.credited_at = Some(now);
        self.credit.add(earned, u64::from(sysctls.value(Setting::IcmpMsgsBurst)));
        true
    }

    // Linux: inet_peer_xrlim_allow. Within a tick no tokens are added, and tokens saved under a higher limit are kept.
    fn take(&mut self, now: u64, peer: IpAddr, cost: u64, burst: u64) -> bool {
        let state = self.peer(now, peer);
        if now > state.updated_at {
            let earned = now - state.updated_at;
            let earned = Mutation::ErrorTokensSlow.or(earned / 10, earned);
            state.tokens = (state.tokens + earned).min(burst);
            state.updated_at = now;
        }
        let is_allowed = state.tokens >= cost;
        if is_allowed {
            state.tokens -= cost;
        }
        is_allowed
    }

    // Linux: inet_getpeer, net/ipv4/inetpeer.c.
    fn peer(&mut self, now: u64, peer: IpAddr) -> &mut Peer {
        self.forget_idle(now);
        self.peers.entry(peer).or_insert(Peer { tokens: 0, updated_at: now - NEVER, redirects: 0 })
    }

    /// Forgets peers with full buckets once there are many: they behave like new ones.
    /// Linux: inet_peer_gc uses the time since last use, ten minutes at first; the result is the same for idle peers.
    fn forget_idle(&mut self, now: u64) {
        if self.peers.len() >= PEERS_MAX {
            self.peers.retain(|_, peer| now - peer.updated_at < 600 * HZ);
        }
    }
}

// Linux: icmpv4_mask_allow. Path MTU discovery must not fail, and only the types in the mask are limited.
fn is_exempt(sysctls: &Sysctls, message: &IcmpMessage) -> bool {
    let is_frag_needed = (message.icmp_type, message.code) == (3, 4);
    let mask = sysctls.value(Setting::IcmpRatemask);
    is_frag_needed || message.icmp_type > 18 || mask & 1 << message.icmp_type == 0
}

#[cfg(test)]
mod tests;
