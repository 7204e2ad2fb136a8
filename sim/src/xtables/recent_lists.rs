//! The lists of `recent`: addresses and when they were seen.
//!
//! Linux: `struct recent_table` and `struct recent_entry`, net/netfilter/xt_recent.c. A netns has one list per name,
//! shared by all tables, families and rules that use it; it lives as long as any rule uses it.

use crate::mutation::Mutation;
use crate::time::{Duration, Instant};
use rustc_hash::FxHashMap;
use std::net::IpAddr;

/// Identifies a list in its netns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ListId(u32);

/// Maximum number of addresses per list (`ip_list_tot`, a module parameter with this default).
const MAX_ENTRIES: usize = 100;

/// The lists of a netns.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentLists {
    by_name: FxHashMap<Box<str>, ListId>,
    lists: Vec<RecentList>,
    free: Vec<ListId>,
    /// Lists that no rule uses yet.
    unheld: Vec<ListId>,
}

/// One list.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentList {
    name: Box<str>,
    /// Number of rules that use it.
    rules: u32,
    /// Mask of addresses, from the first rule that used the list.
    mask: Option<IpAddr>,
    /// Time stamps kept per address.
    max_stamps: usize,
    /// Least recently seen first.
    entries: Vec<RecentEntry>,
}

/// An address in a list.
#[derive(Clone, Debug)]
pub(super) struct RecentEntry {
    pub(super) addr: IpAddr,
    pub(super) ttl: u8,
    /// Time stamps, as a ring.
    stamps: Vec<Instant>,
    /// Position of the next time stamp; the latest is before it.
    next: usize,
}

impl RecentLists {
    /// The list of that name, created if necessary. It stays only if a rule acquires it with [`RecentLists::hold`].
    pub(super) fn intern(&mut self, name: &str) -> ListId {
        let name = if Mutation::RecentListShared.is_on() { "DEFAULT" } else { name };
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.lists.push(RecentList::default());
            ListId(u32::try_from(self.lists.len() - 1).expect("fewer than 2^32 lists"))
        });
        self.list_mut(id).name = name.into();
        self.by_name.insert(name.into(), id);
        self.unheld.push(id);
        id
    }

    /// Acquires the list for a rule.
    ///
    /// Linux: `recent_mt_check`. A rule that needs more time stamps than are kept clears the list.
    pub(super) fn hold(&mut self, id: ListId, max_stamps: usize, mask: IpAddr) {
        let list = self.list_mut(id);
        if list.rules == 0 {
            (list.max_stamps, list.mask) = (max_stamps, Some(mask));
        } else if max_stamps > list.max_stamps {
            list.entries.clear();
            list.max_stamps = max_stamps;
        }
        list.rules += 1;
    }

    /// Releases the list for a deleted rule; the last one deletes the list (`recent_mt_destroy`).
    pub(super) fn release(&mut self, id: ListId) {
        let list = self.list_mut(id);
        list.rules -= 1;
        self.drop_unused(id);
    }

    /// Deletes the lists that a finished command created for rules that were not added.
    pub(super) fn sweep(&mut self) {
        for id in std::mem::take(&mut self.unheld) {
            self.drop_unused(id);
        }
    }

    /// Deletes a list that no rule uses.
    fn drop_unused(&mut self, id: ListId) {
        let list = self.list_mut(id);
        if list.rules == 0 && !list.name.is_empty() {
            let name = std::mem::take(list).name;
            self.by_name.remove(&name);
            self.free.push(id);
        }
    }

    /// Mutable access to a list.
    pub(super) fn list_mut(&mut self, id: ListId) -> &mut RecentList {
        &mut self.lists[index(id)]
    }
}

fn index(id: ListId) -> usize {
    usize::try_from(id.0).expect("a u32 fits usize")
}

impl RecentList {
    /// The address under the list's mask (`nf_inet_addr_mask`).
    pub(super) fn masked(&self, addr: IpAddr) -> IpAddr {
        match (addr, self.mask) {
            (IpAddr::V4(addr), Some(IpAddr::V4(mask))) => IpAddr::V4(addr & mask),
            (IpAddr::V6(addr), Some(IpAddr::V6(mask))) => IpAddr::V6(addr & mask),
            (IpAddr::V4(_), Some(IpAddr::V6(_)) | None) | (IpAddr::V6(_), Some(IpAddr::V4(_)) | None) => addr,
        }
    }

    /// Position of an address, if the list has it with that TTL; zero on either side matches any TTL
    /// (`recent_entry_lookup`).
    pub(super) fn find(&self, addr: IpAddr, ttl: u8) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.addr == addr && (ttl == entry.ttl || ttl == 0 || entry.ttl == 0))
    }

    /// Adds an address seen now; the least recently seen makes room (`recent_entry_init`).
    pub(super) fn add(&mut self, addr: IpAddr, ttl: u8, now: Instant) {
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.remove(0);
        }
        self.entries.push(RecentEntry { addr, ttl, stamps: vec![now], next: 1 });
    }

    /// Records that an address was seen now, which makes it the latest (`recent_entry_update`).
    pub(super) fn update(&mut self, position: usize, ttl: u8, now: Instant) {
        let mut entry = self.entries.remove(position);
        entry.next %= self.max_stamps;
        if entry.next == entry.stamps.len() {
            entry.stamps.push(now);
        } else {
            entry.stamps[entry.next] = now;
        }
        entry.next += 1;
        entry.ttl = ttl;
        self.entries.push(entry);
    }

    /// Removes an address (`recent_entry_remove`).
    pub(super) fn remove(&mut self, position: usize) {
        self.entries.remove(position);
    }

    /// How many of an address's time stamps are within `window` before now; without `window`, all.
    pub(super) fn hits(&self, position: usize, window: Option<Duration>, now: Instant) -> usize {
        self.entries[position].stamps.iter().filter(|stamp| is_within(**stamp, window, now)).count()
    }

    /// Removes the least recently seen address if it was not seen within `window`, at most one (`recent_entry_reap`).
    pub(super) fn reap(&mut self, window: Duration, now: Instant) {
        let is_old = |entry: &RecentEntry| {
            entry.next > 0 && !is_within(entry.stamps[entry.next - 1], Some(window), now)
        };
        if self.entries.first().is_some_and(is_old) {
            self.entries.remove(0);
        }
    }
}

/// Linux: `time_after(jiffies - seconds * HZ, stamp)` is true for time stamps that are too old; one exactly as old as
/// the window counts.
fn is_within(stamp: Instant, window: Option<Duration>, now: Instant) -> bool {
    window.is_none_or(|window| now - stamp <= window)
}
