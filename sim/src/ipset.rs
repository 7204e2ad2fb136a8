//! ipset: sets of addresses, networks and ports that rules ask by name (net/netfilter/ipset/).
//!
//! [`Ipset`] reads what `ipset restore` reads and prints what `ipset save -sorted` prints. What can be said in that language is
//! in one of three states: *implemented*: the types `bitmap:ip`, `bitmap:port`, `hash:ip`, `hash:net`, `hash:ip,port`,
//! `hash:ip,port,ip`, `hash:ip,port,net`, `hash:net,port` and `list:set` with `family`, `maxelem`, `netmask`, `range`, `timeout`,
//! `counters`, `comment` and `nomatch`; *inert*, which is printed again and has no effect on packets here: `hashsize`,
//! `bucketsize`, `initval`, `size`, and the options `-quiet` and `-sorted`; or *rejected* with a [`RuleError`].
//!
//! Four things differ from the real tool. A kernel that was given no `initval` draws one and prints it; here it is not printed.
//! A kernel makes the table of a set larger as it fills, and then prints another `hashsize`. A bucket of its table has room for
//! `bucketsize` elements; what a rule adds to a full one is not added (`mtype_add`, net/netfilter/ipset/ip_set_hash_gen.h), and
//! which buckets are full depends on `hashsize` and `initval`; here every element finds its place. And the real tool sends at
//! most some hundred lines at once, where here all adjacent `add` lines of one set go together (see `restore`).
//!
//! From text to answer: `restore` reads commands, `header` and `element` what belongs to types of sets, `set` keeps elements,
//! `gc` takes out those whose time is over, and `lookup` asks, adds and deletes for packets.

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
pub(crate) use lookup::{Addition, CounterTest, Directions, Question, Shown};

use crate::hook::Family;
use crate::text::error::RuleError;
use crate::time::Instant;
use header::Header;
use list::Member;
use set::{Elements, Set};
use std::sync::Arc;

/// Identity of a set in its netns. It is reused once the set has been destroyed, which needs that nothing names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SetId(u32);

impl SetId {
    fn index(self) -> usize {
        usize::try_from(self.0).expect("a u32 fits usize")
    }
}

/// The sets of a netns (`struct ip_set_net`, net/netfilter/ipset/ip_set_core.c).
///
/// A clone shares elements until one of the two changes them.
#[derive(Clone, Debug, Default)]
pub struct Ipset {
    slots: Vec<Option<Slot>>,
}

/// A set with what swapping leaves in place.
#[derive(Clone, Debug)]
struct Slot {
    name: Box<str>,
    /// Rules and lists that name it.
    references: u32,
    set: Arc<Set>,
}

impl Ipset {
    /// Loads a text as `ipset restore` does at `now`. `file` is where it comes from, for errors.
    ///
    /// # Errors
    /// The first thing that is wrong. What stands before it has happened, except for `add` or `del` lines of one set directly
    /// before a line that cannot be read: the real tool sends such lines together and had not yet sent them.
    pub fn restore(
        &mut self,
        now: Instant,
        file: &str,
        text: &str,
        options: IpsetOptions,
    ) -> Result<(), RuleError> {
        restore::restore(self, now, file, text, options)
    }

    /// What `ipset save -sorted` prints at `now`: every set with its elements, lists of sets last.
    pub fn save(&self, now: Instant) -> String {
        save::save(self, now)
    }

    pub(crate) fn find(&self, name: &str) -> Option<SetId> {
        self.ids().find(|id| *self.slot(*id).name == *name)
    }

    /// The name of a set that something names.
    pub(crate) fn name(&self, id: SetId) -> &str {
        &self.slot(id).name
    }

    /// The family of the packets that the set knows; `None` is both.
    pub(crate) fn family(&self, id: SetId) -> Option<Family> {
        self.set(id).header.family()
    }

    /// A rule or a list names the set from now on.
    pub(crate) fn hold(&mut self, id: SetId) {
        self.slot_mut(id).references += 1;
    }

    /// A rule or a list that named the set has gone.
    pub(crate) fn release(&mut self, id: SetId) {
        self.slot_mut(id).references -= 1;
    }

    /// Every set, by the place that it has in the kernel's array.
    fn ids(&self) -> impl Iterator<Item = SetId> {
        (0..).map(SetId).zip(&self.slots).filter_map(|(id, slot)| slot.as_ref().map(|_| id))
    }

    fn slot(&self, id: SetId) -> &Slot {
        self.slots[id.index()].as_ref().expect("a set that something names exists")
    }

    fn slot_mut(&mut self, id: SetId) -> &mut Slot {
        self.slots[id.index()].as_mut().expect("a set that something names exists")
    }

    fn set(&self, id: SetId) -> &Set {
        &self.slot(id).set
    }

    fn set_mut(&mut self, id: SetId) -> &mut Set {
        Arc::make_mut(&mut self.slot_mut(id).set)
    }

    /// Makes a set in the first free place (`find_free_id`). The caller has checked that the name is free.
    fn create(&mut self, name: &str, header: Header, now: Instant) {
        let slot = Slot { name: name.into(), references: 0, set: Arc::new(Set::new(header, now)) };
        match self.slots.iter_mut().find(|slot| slot.is_none()) {
            Some(free) => *free = Some(slot),
            None => self.slots.push(Some(slot)),
        }
    }

    /// Destroys a set that nothing names.
    fn destroy(&mut self, id: SetId) {
        self.flush(id);
        self.slots[id.index()] = None;
    }

    /// Takes all elements away.
    fn flush(&mut self, id: SetId) {
        for member in self.members(id) {
            self.release(member);
        }
        self.set_mut(id).elements.clear();
    }

    /// The sets in a list of sets.
    fn members(&self, id: SetId) -> Vec<SetId> {
        match &self.set(id).elements {
            Elements::List(members) => members.iter().map(|Member { set, .. }| *set).collect(),
            Elements::Keyed(_) => Vec::new(),
        }
    }

    /// Exchanges what two sets contain: rules go on asking the name that they were given (`ip_set_swap`).
    fn swap(&mut self, one: SetId, other: SetId) {
        let first = Arc::clone(&self.slot(one).set);
        let second = std::mem::replace(&mut self.slot_mut(other).set, first);
        self.slot_mut(one).set = second;
    }

    /// Takes out of a set what was swept up to `now`. Comes before everything that may see the difference.
    fn collect(&mut self, id: SetId, now: Instant) {
        let Some(mut gc) = self.set(id).gc else { return };
        let Some(swept) = gc.sweep(now) else { return };
        self.set_mut(id).gc = Some(gc);
        self.remove_expired(id, swept);
    }

    /// Takes out what has expired by then (`set_cleanup_entries`, net/netfilter/ipset/ip_set_list_set.c; `mtype_gc_do`).
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
