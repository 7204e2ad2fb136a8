//! The conntrack table of a netns.
//!
//! An entry lives from its first packet until it has been removed from the table and the last packet has released it.
//! Only confirmed entries are found by tuple. No timer runs when a timeout expires: an expired entry is invisible from
//! then on, and each insertion checks a few entries, so that the memory of expired ones is bounded.

mod buckets;

use super::{ConntrackStats, Entry, ProtocolState};
use crate::addr_hash::hash_pair;
use crate::ct::{CtInfo, CtStatus, PacketCt};
use crate::ids::{DeviceId, EntryId};
use crate::netfilter::conntrack::ConntrackTimeouts;
use crate::packet::{Meta, Packet};
use crate::time::Instant;
use crate::tuple::{Direction, L4Key, Tuple};
use buckets::Buckets;
use rustc_hash::FxHashMap;
use slotmap::SlotMap;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

/// Number of entries that an insertion checks for expiry. More than one, so that checks outpace insertions.
const PURGE_PER_INSERT: usize = 2;

/// The source by which NAT finds earlier flows of a client (`hash_by_src`, net/netfilter/nf_nat_core.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct SourceKey {
    addr: IpAddr,
    port: u16,
    protocol: u8,
}

impl SourceKey {
    const fn of(original: &Tuple) -> Self {
        Self { addr: original.src, port: original.src_port(), protocol: original.protocol }
    }
}

/// A tuple as a table key: hashed in as few words as possible (`hash_conntrack_raw`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TupleKey(Tuple);

impl Hash for TupleKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Tuple { src, dst, protocol, l4 } = self.0;
        hash_pair(src, dst, state);
        let l4 = match l4 {
            L4Key::Ports { src, dst } => u64::from(src) << 16 | u64::from(dst),
            L4Key::Icmp { id, icmp_type, code } => {
                u64::from(id) << 16 | u64::from(icmp_type) << 8 | u64::from(code)
            }
            L4Key::Generic => 0,
        };
        state.write_u64(u64::from(protocol) << 32 | l4);
    }
}

/// An entry and the packets that refer to it. They change more often than the entry, and are therefore beside it.
#[derive(Clone, Debug)]
struct Held {
    /// Shared with forks of the world until one of them changes it.
    entry: Arc<Entry>,
    /// Number of packets (`ct_general.use`, without the table).
    holders: u32,
}

impl Deref for Held {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

/// The conntrack table of a netns.
#[derive(Clone, Debug, Default)]
pub struct Conntrack {
    entries: SlotMap<EntryId, Held>,
    by_tuple: FxHashMap<TupleKey, (EntryId, Direction)>,
    /// Entries with a source binding, newest first.
    by_source: FxHashMap<SourceKey, SmallVec<[EntryId; 2]>>,
    /// Every confirmed entry once, and some deleted ones; the front is checked next.
    ring: VecDeque<EntryId>,
    /// `None` until the table is full for the first time.
    buckets: Option<Buckets>,
    /// No confirmed entry expires earlier.
    earliest_deadline: Option<Instant>,
    next_serial: u64,
    pub(crate) counters: ConntrackStats,
}

impl Conntrack {
    /// Closes the flow of a segment that the firewall answered with a RST (`nf_ct_set_closing`). `refused` is the
    /// metadata of that segment. An unconfirmed flow is not changed.
    pub fn set_closing(&mut self, refused: &Meta, timeouts: &ConntrackTimeouts, now: Instant) {
        let PacketCt::Entry { id, .. } = refused.ct else { return };
        let Some(entry) = self.entry_mut(id) else { return };
        if let Some(timeout) = entry.set_closing(timeouts) {
            entry.set_timeout(timeout, now);
            let deadline = entry.deadline();
            self.note_deadline(deadline);
        }
    }

    /// An entry, if it has not been freed.
    pub fn entry(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(id).map(|held| &*held.entry)
    }

    /// Mutable version of [`Conntrack::entry`].
    pub fn entry_mut(&mut self, id: EntryId) -> Option<&mut Entry> {
        self.entries.get_mut(id).map(|held| Arc::make_mut(&mut held.entry))
    }

    /// Number of entries: confirmed, unconfirmed, expired but not purged, and deleted but still referenced by a packet.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of entries created since the start of the netns.
    pub const fn created(&self) -> u64 {
        self.next_serial
    }

    /// Counters of `conntrack -S`.
    pub const fn counters(&self) -> &ConntrackStats {
        &self.counters
    }

    /// Entries shown by `conntrack -L`, oldest first. An entry that lost a clash is hidden, as in Linux.
    pub fn iter_sorted(&self, now: Instant) -> Vec<&Entry> {
        self.live(now).into_iter().map(|held| &*held.entry).collect()
    }

    /// [`Conntrack::iter_sorted`] with the number of packets that refer to each entry.
    pub(super) fn with_holders(&self, now: Instant) -> impl Iterator<Item = (&Entry, u32)> {
        self.live(now).into_iter().map(|held| (&*held.entry, held.holders))
    }

    fn live(&self, now: Instant) -> Vec<&Held> {
        let mut live: Vec<&Held> = self
            .entries
            .values()
            .filter(|entry| entry.is_confirmed() && !entry.is_dying() && !entry.is_expired(now))
            .filter(|entry| !entry.status.contains(CtStatus::NAT_CLASH))
            .collect();
        live.sort_by_key(|entry| entry.serial);
        live
    }

    /// The entry for packets with this tuple, and their direction (`nf_conntrack_find_get`).
    pub fn find(&self, tuple: &Tuple, now: Instant) -> Option<(EntryId, Direction)> {
        let (id, direction) = *self.by_tuple.get(&TupleKey(*tuple))?;
        (!self.entries[id].is_expired(now)).then_some((id, direction))
    }

    /// Removes an entry from the table (`nf_ct_delete`). It is freed when the last packet releases it. False if it was
    /// not in the table.
    pub fn delete(&mut self, id: EntryId) -> bool {
        let Some(held) = self.entries.get_mut(id).filter(|held| !held.is_dying()) else { return false };
        Arc::make_mut(&mut held.entry).status.insert(CtStatus::DYING);
        let (tuples, holders) = (held.tuples, held.holders);
        for tuple in &tuples {
            if self.by_tuple.get(&TupleKey(*tuple)).is_some_and(|(holder, _)| *holder == id) {
                self.by_tuple.remove(&TupleKey(*tuple));
                if let Some(buckets) = &mut self.buckets {
                    buckets.remove(tuple, id);
                }
            }
        }
        if holders == 0 {
            self.free(id);
        }
        true
    }

    /// Removes all live entries for which `predicate` is true; returns their original tuples, oldest first.
    pub fn delete_matching(&mut self, now: Instant, predicate: impl Fn(&Entry) -> bool) -> Vec<Tuple> {
        let mut doomed: Vec<(u64, EntryId, Tuple)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.is_confirmed() && !entry.is_dying() && !entry.is_expired(now))
            .filter(|(_, entry)| predicate(entry))
            .map(|(id, entry)| (entry.serial, id, *entry.tuple(Direction::Original)))
            .collect();
        doomed.sort_by_key(|(serial, ..)| *serial);
        for (_, id, _) in &doomed {
            self.delete(*id);
        }
        doomed.into_iter().map(|(.., original)| original).collect()
    }

    /// Deletes flows masqueraded behind a device that went down, or behind a removed address of it
    /// (`masq_device_event`, `masq_inet_event`, net/netfilter/nf_nat_masquerade.c).
    pub fn flush_masquerade_of_device(
        &mut self,
        now: Instant,
        device: DeviceId,
        addr: Option<IpAddr>,
    ) -> Vec<Tuple> {
        self.delete_matching(now, |entry| {
            entry.masquerade_device == Some(device)
                && addr.is_none_or(|gone| entry.tuple(Direction::Reply).dst == gone)
        })
    }
}

/// Reference counting.
impl Conntrack {
    /// A copy of a packet adds a reference (`nf_conntrack_get`).
    pub fn hold(&mut self, packet: &Packet) {
        if let PacketCt::Entry { id, .. } = packet.meta.ct {
            self.hold_entry(id);
        }
    }

    /// Releases the entry of a packet that ends or leaves the netns (`nf_conntrack_put`); it is freed if this was the
    /// last reference and it is not in the table. The caller ends the packet, or clears its association.
    pub fn release(&mut self, packet: &Packet) {
        if let PacketCt::Entry { id, .. } = packet.meta.ct {
            self.release_entry(id);
        }
    }

    /// Associates a reply with the entry of the packet that it answers, in the other direction (`nf_conntrack_attach`,
    /// net/netfilter/nf_conntrack_core.c).
    pub fn attach(&mut self, answer: &mut Packet, original: &Meta) {
        let PacketCt::Entry { id, info } = original.ct else { return };
        if !self.entries.contains_key(id) {
            return;
        }
        self.release(answer);
        self.hold_entry(id);
        let info = match info.direction() {
            Direction::Original => CtInfo::RelatedReply,
            Direction::Reply => CtInfo::Related,
        };
        answer.meta.ct = PacketCt::Entry { id, info };
    }

    pub(super) fn hold_entry(&mut self, id: EntryId) {
        if let Some(held) = self.entries.get_mut(id) {
            held.holders += 1;
        }
    }

    pub(super) fn release_entry(&mut self, id: EntryId) {
        let Some(held) = self.entries.get_mut(id) else { return };
        held.holders = held.holders.saturating_sub(1);
        if held.holders == 0 && (held.is_dying() || !held.is_confirmed()) {
            self.free(id);
        }
    }

    /// Linux: `nf_conntrack_free`, net/netfilter/nf_conntrack_core.c.
    fn free(&mut self, id: EntryId) {
        let Some(entry) = self.entries.remove(id) else { return };
        if !entry.status.contains(CtStatus::SRC_NAT_DONE) {
            return;
        }
        let key = SourceKey::of(entry.tuple(Direction::Original));
        if let Some(same_source) = self.by_source.get_mut(&key) {
            same_source.retain(|other| *other != id);
            if same_source.is_empty() {
                self.by_source.remove(&key);
            }
        }
    }
}

/// Operations for tracking and NAT.
impl Conntrack {
    /// Allocates an unconfirmed entry, to which no packet refers yet (`__nf_conntrack_alloc`). The caller has checked that
    /// there is room.
    pub(super) fn allocate(&mut self, original: Tuple, reply: Tuple, protocol: ProtocolState) -> EntryId {
        let serial = self.next_serial;
        self.next_serial += 1;
        let entry = Arc::new(Entry::new(original, reply, protocol, serial));
        self.entries.insert(Held { entry, holders: 0 })
    }

    /// True if there are fewer entries than the limit, which is none if it is zero.
    ///
    /// Deviation: Linux counts an expired entry until the garbage collector, a search or a listing comes upon it, which
    /// may take a minute.
    pub(super) fn has_room(&mut self, limit: u32, now: Instant) -> bool {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if limit == 0 || self.entries.len() < limit {
            return true;
        }
        self.purge(now);
        self.entries.len() < limit
    }

    /// Inserts an unconfirmed entry under both tuples. The caller has checked that neither belongs to a live entry.
    pub(super) fn insert(&mut self, id: EntryId, now: Instant) {
        self.purge_some(now);
        let Some(tuples) = self.confirm_entry(id, now) else { return };
        // The reply tuple is inserted last: if both tuples of a flow are equal, packets count as replies, as in Linux,
        // where the node added last to a chain is found first.
        for (tuple, direction) in tuples.into_iter().zip([Direction::Original, Direction::Reply]) {
            self.make_findable(tuple, id, direction);
        }
    }

    /// Like [`Conntrack::insert`], in the reply direction only (`nf_ct_resolve_clash_harder`).
    pub(super) fn insert_reply_only(&mut self, id: EntryId, now: Instant) {
        self.purge_some(now);
        let Some([_, reply]) = self.confirm_entry(id, now) else { return };
        self.make_findable(reply, id, Direction::Reply);
    }

    fn confirm_entry(&mut self, id: EntryId, now: Instant) -> Option<[Tuple; 2]> {
        let entry = self.entry_mut(id)?;
        entry.start_timer(now);
        entry.status.insert(CtStatus::CONFIRMED);
        let (tuples, deadline) = (entry.tuples, entry.deadline());
        self.note_deadline(deadline);
        self.ring.push_back(id);
        Some(tuples)
    }

    fn make_findable(&mut self, tuple: Tuple, id: EntryId, direction: Direction) {
        let replaced = self.by_tuple.insert(TupleKey(tuple), (id, direction)).filter(|(old, _)| *old != id);
        if let Some(buckets) = &mut self.buckets {
            if let Some((expired, _)) = replaced {
                buckets.remove(&tuple, expired);
            }
            buckets.insert(&tuple, id);
        }
        if let Some((expired, _)) = replaced {
            self.delete(expired);
        }
    }

    /// Must be called with [`Entry::deadline`] after every change of an entry's timer.
    pub(super) fn note_deadline(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        if self.earliest_deadline.is_none_or(|earliest| deadline < earliest) {
            self.earliest_deadline = Some(deadline);
        }
    }

    /// True if packets with this tuple would belong to another live entry (`nf_conntrack_tuple_taken`).
    pub(crate) fn is_tuple_taken(&mut self, tuple: &Tuple, ignored: EntryId, now: Instant) -> bool {
        let Some((id, _)) = self.find(tuple, now).filter(|(id, _)| *id != ignored) else { return false };
        // Two entries with the same original tuple are the same flow; the clash is resolved at confirmation.
        if self.entries[id].tuples[0] == self.entries[ignored].tuples[0] {
            return false;
        }
        self.counters.found += 1;
        true
    }

    /// Records a flow by its source, for NAT (`nf_nat_setup_info`).
    pub(crate) fn note_source(&mut self, id: EntryId) {
        let key = SourceKey::of(self.entries[id].tuple(Direction::Original));
        self.by_source.entry(key).or_default().insert(0, id);
    }

    /// Flows from the same source, newest first (`find_appropriate_src`).
    pub(crate) fn of_same_source(&self, original: &Tuple, now: Instant) -> impl Iterator<Item = &Entry> {
        self.by_source
            .get(&SourceKey::of(original))
            .into_iter()
            .flatten()
            .map(|id| &*self.entries[*id])
            .filter(move |entry| !entry.is_expired(now))
    }
}

/// Expiry and eviction.
impl Conntrack {
    fn purge_some(&mut self, now: Instant) {
        for _ in 0..PURGE_PER_INSERT.min(self.ring.len()) {
            let Some(id) = self.ring.pop_front() else { return };
            match self.entries.get(id) {
                Some(entry) if entry.is_expired(now) => {
                    self.delete(id);
                }
                Some(entry) if !entry.is_dying() => self.ring.push_back(id),
                Some(_) | None => {}
            }
        }
    }

    /// Deletes expired entries. Cheap if none can have expired.
    fn purge(&mut self, now: Instant) {
        if self.earliest_deadline.is_none_or(|earliest| earliest > now) {
            return;
        }
        let expired: Vec<EntryId> =
            self.entries.iter().filter(|(_, entry)| entry.is_expired(now)).map(|(id, _)| id).collect();
        for id in expired {
            self.delete(id);
        }
        self.earliest_deadline = self.entries.values().filter_map(|entry| entry.deadline()).min();
    }

    /// Evicts the entries of a bucket that are not ASSURED, to make room for a new one (`early_drop` and
    /// `early_drop_list`, net/netfilter/nf_conntrack_core.c): those of the first of eight buckets that has any, from the
    /// new tuple's on. A table with more buckets than entries rarely has one there.
    ///
    /// `bucket_count` is at least one; `key` draws the key of the hash function.
    pub(super) fn early_drop(&mut self, tuple: &Tuple, bucket_count: u32, key: impl FnOnce() -> u32) -> bool {
        let buckets = match self.buckets.take() {
            Some(buckets) if buckets.count == bucket_count => buckets,
            outdated => self.hashed(outdated.map_or_else(key, |buckets| buckets.key), bucket_count),
        };
        let is_evicted = |id: &EntryId| {
            self.entries.get(*id).is_some_and(|entry| !entry.status.contains(CtStatus::ASSURED))
        };
        let evicted = buckets.near(tuple).map(|bucket| bucket.filter(is_evicted).collect::<Vec<_>>());
        let evicted = evicted.into_iter().find(|bucket| !bucket.is_empty()).unwrap_or_default();
        self.buckets = Some(buckets);
        for id in &evicted {
            self.counters.early_drop += u64::from(self.delete(*id));
        }
        !evicted.is_empty()
    }

    /// All findable entries by bucket.
    fn hashed(&self, key: u32, count: u32) -> Buckets {
        let mut buckets = Buckets::new(key, count);
        for (id, entry) in &self.entries {
            for tuple in &entry.tuples {
                if self.by_tuple.get(&TupleKey(*tuple)).is_some_and(|(holder, _)| *holder == id) {
                    buckets.insert(tuple, id);
                }
            }
        }
        buckets
    }
}

#[cfg(test)]
mod tests;
