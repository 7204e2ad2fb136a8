//! ipset: sets of addresses, networks and ports that rules refer to by name (net/netfilter/ipset/).
//!
//! [`Ipset`] reads `ipset restore` input and prints `ipset save -sorted` output. Every element of that language is in
//! one of three states: *implemented*: the types `bitmap:ip`, `bitmap:port`, `hash:ip`, `hash:net`, `hash:ip,port`,
//! `hash:ip,port,ip`, `hash:ip,port,net`, `hash:net,port` and `list:set` with `family`, `maxelem`, `netmask`, `range`,
//! `timeout`, `counters`, `comment` and `nomatch`; *inert*, that is printed again without effect on packets:
//! `hashsize`, `bucketsize`, `initval`, `size`, and the options `-quiet` and `-sorted`; or *rejected* with a
//! [`RuleError`].
//!
//! Four differences from the real tool: Without `initval` the kernel draws one and prints it; here it is not printed.
//! The kernel enlarges the hash table of a set as it fills, and then prints another `hashsize`. A bucket has room for
//! `bucketsize` elements; a rule cannot add to a full bucket (`mtype_add`, net/netfilter/ipset/ip_set_hash_gen.h), and
//! which buckets are full depends on `hashsize` and `initval`; here every element has room. The real tool sends at most
//! some hundred lines at once, where here all adjacent `add` lines of one set form one batch (see `restore`).
//!
//! Structure: `restore` parses commands, `header` and `element` what depends on set types, `set` stores elements, `gc`
//! removes expired ones, and `lookup` tests, adds and deletes for packets.

mod address;
mod element;
mod entry;
mod gc;
mod header;
mod icmp;
mod keys;
mod list;
mod lookup;
mod restore;
mod save;
mod set;
mod words;

#[cfg(test)]
mod tests;

pub use restore::IpsetOptions;

pub(crate) use header::MAX_TIMEOUT;
pub(crate) use lookup::{Addition, CounterTest, Directions, PacketView, SetTest};

use crate::hook::Family;
use crate::text::error::RuleError;
use crate::time::Instant;
use header::Header;
use list::Member;
use set::{Elements, Set};
use std::sync::Arc;

/// Identity of a set in its netns. Reused once the set has been destroyed, which requires that it is not referenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SetId(u32);

impl SetId {
    fn index(self) -> usize {
        usize::try_from(self.0).expect("a u32 fits usize")
    }
}

/// The sets of a netns (`struct ip_set_net`, net/netfilter/ipset/ip_set_core.c).
///
/// Clones share elements until one of them changes.
#[derive(Clone, Debug, Default)]
pub struct Ipset {
    slots: Vec<Option<Slot>>,
}

/// A set, with the parts that swapping leaves in place.
#[derive(Clone, Debug)]
struct Slot {
    name: Box<str>,
    /// Number of rules and lists that refer to it.
    references: u32,
    set: Arc<Set>,
}

impl Ipset {
    /// Loads a text at time `now`, as `ipset restore` does. `file` is its name in errors.
    ///
    /// # Errors
    /// The first error. Earlier lines have taken effect, except `add` or `del` lines of one set directly before a line
    /// with a syntax error: the real tool sends such lines in one batch and had not sent them yet.
    pub fn restore(
        &mut self,
        now: Instant,
        file: &str,
        text: &str,
        options: IpsetOptions,
    ) -> Result<(), RuleError> {
        restore::restore(self, now, file, text, options)
    }

    /// The output of `ipset save -sorted` at time `now`: every set with its elements, lists of sets last.
    pub fn save(&self, now: Instant) -> String {
        save::save(self, now)
    }

    pub(crate) fn find(&self, name: &str) -> Option<SetId> {
        self.ids().find(|id| *self.slot(*id).name == *name)
    }

    /// The name of a referenced set.
    pub(crate) fn name(&self, id: SetId) -> &str {
        &self.slot(id).name
    }

    /// The family of packets that the set matches; `None` for both.
    pub(crate) fn family(&self, id: SetId) -> Option<Family> {
        self.set(id).header.family()
    }

    /// Adds a reference from a rule or list.
    pub(crate) fn hold(&mut self, id: SetId) {
        self.slot_mut(id).references += 1;
    }

    /// Removes a reference from a rule or list.
    pub(crate) fn release(&mut self, id: SetId) {
        self.slot_mut(id).references -= 1;
    }

    /// All sets, in the order of the kernel's array.
    fn ids(&self) -> impl Iterator<Item = SetId> {
        (0..).map(SetId).zip(&self.slots).filter_map(|(id, slot)| slot.as_ref().map(|_| id))
    }

    fn slot(&self, id: SetId) -> &Slot {
        self.slots[id.index()].as_ref().expect("a referenced set exists")
    }

    fn slot_mut(&mut self, id: SetId) -> &mut Slot {
        self.slots[id.index()].as_mut().expect("a referenced set exists")
    }

    fn set(&self, id: SetId) -> &Set {
        &self.slot(id).set
    }

    fn set_mut(&mut self, id: SetId) -> &mut Set {
        Arc::make_mut(&mut self.slot_mut(id).set)
    }

    /// Creates a set in the first free slot (`find_free_id`). The caller ensures that the name is unused.
    fn create(&mut self, name: &str, header: Header, now: Instant) {
        let slot = Slot { name: name.into(), references: 0, set: Arc::new(Set::new(header, now)) };
        match self.slots.iter_mut().find(|slot| slot.is_none()) {
            Some(free) => *free = Some(slot),
            None => self.slots.push(Some(slot)),
        }
    }

    /// Destroys an unreferenced set.
    fn destroy(&mut self, id: SetId) {
        self.flush(id);
        self.slots[id.index()] = None;
    }

    /// Removes all elements.
    fn flush(&mut self, id: SetId) {
        for member in self.members(id) {
            self.release(member);
        }
        self.set_mut(id).elements.clear();
    }

    /// The members of a list of sets.
    fn members(&self, id: SetId) -> Vec<SetId> {
        match &self.set(id).elements {
            Elements::List(members) => members.iter().map(|Member { set, .. }| *set).collect(),
            Elements::Keyed(_) => Vec::new(),
        }
    }

    /// Exchanges the contents of two sets: rules keep referring to the same name (`ip_set_swap`).
    fn swap(&mut self, one: SetId, other: SetId) {
        let first = Arc::clone(&self.slot(one).set);
        let second = std::mem::replace(&mut self.slot_mut(other).set, first);
        self.slot_mut(one).set = second;
    }

    /// Performs all sweeps of a set due up to `now`. Must precede everything that can observe the difference.
    fn collect(&mut self, id: SetId, now: Instant) {
        let Some(mut gc) = self.set(id).gc else { return };
        let Some(swept) = gc.sweep(now) else { return };
        self.set_mut(id).gc = Some(gc);
        self.remove_expired(id, swept);
    }

    /// Removes elements that had expired by then (`set_cleanup_entries`, net/netfilter/ipset/ip_set_list_set.c;
    /// `mtype_gc_do`).
    fn remove_expired(&mut self, id: SetId, by: Instant) {
        let gone: Vec<SetId> = match &mut self.set_mut(id).elements {
            Elements::Keyed(keyed) => {
                keyed.remove_expired(by);
                Vec::new()
            }
            Elements::List(members) => {
                let expired = members.extract_if(.., |Member { entry, .. }| entry.is_expired(by));
                expired.map(|member| member.set).collect()
            }
        };
        gone.into_iter().for_each(|set| self.release(set));
    }
}
