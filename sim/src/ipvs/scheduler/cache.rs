//! Memory of destination addresses, for `lblc` and `lblcr`.
//!
//! Deviation: the kernel removes entries that are unused for six minutes if there are more than 16,384 addresses; here
//! the number of addresses is unlimited.

use super::Clock;
use crate::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Linux: CHECK_EXPIRE_INTERVAL and COUNT_FOR_FULL_EXPIRATION, net/netfilter/ipvs/ip_vs_lblc.c.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
const CHECKS_PER_EXPIRATION: u32 = 30;

/// What is remembered, by destination address.
#[derive(Clone, Debug)]
pub(super) struct Cache<T> {
    entries: BTreeMap<IpAddr, Entry<T>>,
    next_check: Instant,
    /// Checks since the last one that removed old entries.
    checks: u32,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    value: T,
    used_at: Instant,
}

impl<T> Cache<T> {
    /// Starts the timer. Linux: ip_vs_lblc_init_svc, net/netfilter/ipvs/ip_vs_lblc.c.
    pub(super) fn new(clock: Clock) -> Self {
        Self { entries: BTreeMap::new(), next_check: clock.expiry(CHECK_INTERVAL), checks: 1 }
    }

    /// Carries out the checks that were due up to now. Every 30th removes the entries that were not used for
    /// `expiration`. Linux: ip_vs_lblc_check_expire, ip_vs_lblc_full_check, net/netfilter/ipvs/ip_vs_lblc.c.
    pub(super) fn check(&mut self, clock: Clock, expiration: Duration) {
        while self.next_check <= clock.now {
            let then = clock.at(self.next_check);
            if self.checks == CHECKS_PER_EXPIRATION {
                self.checks = 0;
                self.entries.retain(|_, entry| then.since(entry.used_at) < expiration);
            }
            self.checks += 1;
            self.next_check = then.expiry(CHECK_INTERVAL);
        }
    }

    /// The entry of an address, which is used now.
    pub(super) fn touch(&mut self, addr: IpAddr, now: Instant) -> Option<&mut T> {
        let entry = self.entries.get_mut(&addr)?;
        entry.used_at = now;
        Some(&mut entry.value)
    }

    /// Remembers a value, which is used now.
    pub(super) fn insert(&mut self, addr: IpAddr, value: T, now: Instant) {
        self.entries.insert(addr, Entry { value, used_at: now });
    }

    /// All values.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.values().map(|entry| &entry.value)
    }
}
