//! What a host has learned from ICMP about single destinations: gateways from redirects, and path MTUs
//! (`struct fib_nh_exception`, include/net/ip_fib.h).
//!
//! It is learned per next hop of a route: while another route leads to the destination, it is not used. It is lost with the
//! last route that has this next hop.

use super::{Route, TableId};
use crate::ids::DeviceId;
use crate::route::PathMtu;
use crate::time::{Duration, Instant};
use rustc_hash::FxHashMap;
use std::net::Ipv4Addr;

/// How long a learned gateway is used, unless another redirect confirms it (`RT_GC_TIMEOUT`; `net.ipv4.route.gc_timeout`
/// of the initial namespace).
pub const LIFETIME: Duration = Duration::from_secs(300);

/// Maximum number of destinations. The kernel has 2,048 hash buckets of six to eleven (`FNHE_HASH_SIZE`,
/// `FNHE_RECLAIM_DEPTH`), each of which discards the entry that was used least recently.
const CAPACITY: usize = 2_048 * 6;

/// What routes with equal next hops share (`struct fib_info`; compared by `fib_find_info`, net/ipv4/fib_semantics.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FibInfo {
    pub(super) table: TableId,
    /// The route, with the same destination for all.
    pub(super) route: Route,
    pub(super) device: Option<DeviceId>,
    pub(super) is_kernel: bool,
}

/// What is known about one destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exception {
    of: FibInfo,
    /// `fnhe_gw`.
    pub(super) gateway: Option<Ipv4Addr>,
    /// `fnhe_pmtu`, `fnhe_mtu_locked`.
    pub(super) pmtu: Option<PathMtu>,
    /// The last moment at which it is used (`fnhe_expires`); the last lesson counts for both.
    pub(super) expires_at: Instant,
}

/// What was learned.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lesson {
    Gateway(Ipv4Addr),
    PathMtu(PathMtu),
}

/// All exceptions of a netns.
///
/// Deviation: they expire at once; in the kernel, a socket that has cached the route keeps it until another look-up finds
/// that it has expired.
#[derive(Clone, Debug, Default)]
pub(super) struct Exceptions {
    /// By destination.
    known: FxHashMap<Ipv4Addr, Vec<Exception>>,
    /// The earliest expiry.
    expires_at: Option<Instant>,
}

impl Exceptions {
    /// What was learned about a destination that this next hop leads to.
    /// Linux: find_exception, net/ipv4/route.c.
    pub(super) fn get(&self, of: &FibInfo, dst: Ipv4Addr) -> Option<&Exception> {
        self.known.get(&dst)?.iter().find(|known| known.of == *of)
    }

    /// Removes what has expired; false if nothing has.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let is_due = self.expires_at.is_some_and(|at| now > at);
        if is_due {
            self.retain(|exception| now <= exception.expires_at);
        }
        is_due
    }

    /// Linux: update_or_create_fnhe, net/ipv4/route.c.
    pub(super) fn learn(&mut self, of: FibInfo, dst: Ipv4Addr, lesson: Lesson, expires_at: Instant) {
        let (gateway, pmtu) = match lesson {
            Lesson::Gateway(gateway) => (Some(gateway), None),
            Lesson::PathMtu(pmtu) => (None, Some(pmtu)),
        };
        match self.known.get_mut(&dst).and_then(|known| known.iter_mut().find(|known| known.of == of)) {
            Some(known) => {
                known.gateway = gateway.or(known.gateway);
                known.pmtu = pmtu.or(known.pmtu);
                known.expires_at = expires_at;
            }
            None => {
                self.make_room();
                self.known.entry(dst).or_default().push(Exception { of, gateway, pmtu, expires_at });
            }
        }
        self.note_expiry();
    }

    /// The MTU of a device has changed; false if nothing known depends on it. A path MTU that was the device's follows it.
    /// Linux: fib_nhc_update_mtu, net/ipv4/fib_semantics.c.
    pub(super) fn device_mtu_changed(&mut self, device: DeviceId, before: u16, now: u16) -> bool {
        let mut has_changed = false;
        for known in self.known.values_mut().flatten().filter(|known| known.of.device == Some(device)) {
            let Some(pmtu) = &mut known.pmtu else { continue };
            let is_replaced = match pmtu.is_locked {
                true => now <= pmtu.bytes,
                false => now < pmtu.bytes || before == pmtu.bytes,
            };
            if is_replaced {
                *pmtu = PathMtu { bytes: now, is_locked: false };
                has_changed = true;
            }
        }
        has_changed
    }

    /// Removes what was learned about next hops that no remaining route has (`fib_release_info`, net/ipv4/fib_semantics.c).
    pub(super) fn keep_those_of(&mut self, used: impl Iterator<Item = FibInfo> + Clone) {
        if !self.is_empty() {
            self.retain(|exception| used.clone().any(|of| of == exception.of));
        }
    }

    /// True if nothing is learned.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn retain(&mut self, mut keep: impl FnMut(&Exception) -> bool) {
        self.known.retain(|_, known| {
            known.retain(&mut keep);
            !known.is_empty()
        });
        self.note_expiry();
    }

    fn note_expiry(&mut self) {
        self.expires_at = self.known.values().flatten().map(|exception| exception.expires_at).min();
    }

    /// Discards the oldest destination, if there are too many.
    fn make_room(&mut self) {
        if self.known.len() < CAPACITY {
            return;
        }
        let age = |(dst, known): (&Ipv4Addr, &Vec<Exception>)| {
            (known.iter().map(|exception| exception.expires_at).max(), *dst)
        };
        if let Some((_, oldest)) = self.known.iter().map(age).min() {
            self.known.remove(&oldest);
        }
    }
}
