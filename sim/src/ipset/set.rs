//! A set: its elements, and how they are added and deleted.

use super::element::Spec;
use super::entry::{Additions, ElementData, IpsetErrno};
use super::gc::Gc;
use super::header::{Extensions, Header, SetType, Storage};
use super::keys::Key;
use super::list::Member;
use crate::time::Instant;
use std::collections::BTreeMap;

/// A set.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) header: Header,
    pub(super) elements: Elements,
    /// The schedule of sweeps; `None` without timeouts.
    pub(super) gc: Option<Gc>,
}

/// The contents of a set.
#[derive(Clone, Debug)]
pub(super) enum Elements {
    Keyed(Keyed),
    /// In order, which is significant.
    List(Vec<Member>),
}

impl Elements {
    pub(super) fn clear(&mut self) {
        match self {
            Self::Keyed(keyed) => *keyed = Keyed::default(),
            Self::List(members) => members.clear(),
        }
    }
}

/// Elements by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Keyed {
    entries: BTreeMap<Key, ElementData>,
    /// Prefix lengths in use, longest first, with the number of elements (`struct net_prefixes`).
    prefixes: Vec<(u8, u32)>,
}

/// Maximum number of elements that one line may denote. The kernel accepts more, in batches.
pub(super) const MAX_PER_LINE: u32 = 1 << 20;

impl Keyed {
    /// Elements that have not expired, in key order.
    pub(super) fn valid(&self, now: Instant) -> impl Iterator<Item = (&Key, &ElementData)> {
        self.entries.iter().filter(move |(_, entry)| !entry.is_expired(now))
    }

    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<&ElementData> {
        self.entries.get(key).filter(|entry| !entry.is_expired(now))
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut ElementData> {
        self.entries.get_mut(key)
    }

    /// The longest prefix length in use.
    pub(super) fn longest_prefix(&self) -> Option<u8> {
        self.prefixes.first().map(|(prefix, _)| *prefix)
    }

    fn insert(&mut self, key: Key, entry: ElementData) {
        if self.entries.insert(key, entry).is_none() {
            match self.prefixes.binary_search_by(|(known, _)| key.prefix.cmp(known)) {
                Ok(at) => self.prefixes[at].1 += 1,
                Err(at) => self.prefixes.insert(at, (key.prefix, 1)),
            }
        }
    }

    fn remove(&mut self, key: &Key) -> Option<ElementData> {
        let entry = self.entries.remove(key)?;
        if let Ok(at) = self.prefixes.binary_search_by(|(known, _)| key.prefix.cmp(known)) {
            self.prefixes[at].1 -= 1;
            if self.prefixes[at].1 == 0 {
                self.prefixes.remove(at);
            }
        }
        Some(entry)
    }

    pub(super) fn remove_expired(&mut self, now: Instant) {
        let expired: Vec<Key> =
            self.entries.iter().filter(|(_, entry)| entry.is_expired(now)).map(|(key, _)| *key).collect();
        for key in expired {
            self.remove(&key);
        }
    }
}

impl Set {
    pub(super) fn new(header: Header, now: Instant) -> Self {
        let elements = match header.storage {
            Storage::Bitmap { .. } | Storage::Hash { .. } => Elements::Keyed(Keyed::default()),
            Storage::List { .. } => Elements::List(Vec::new()),
        };
        Self { header, elements, gc: Gc::new(&header, now) }
    }

    /// The elements of a set that is not a list.
    pub(super) fn keyed_mut(&mut self) -> &mut Keyed {
        match &mut self.elements {
            Elements::Keyed(keyed) => keyed,
            Elements::List(_) => unreachable!("lists have no keyed elements"),
        }
    }

    /// Adds everything that an element denotes. Elements before a failure are kept.
    pub(super) fn add(
        &mut self,
        spec: &Spec,
        additions: &Additions,
        exist: bool,
        now: Instant,
    ) -> Result<(), IpsetErrno> {
        self.check(additions)?;
        self.check_spec(spec)?;
        let header = self.header;
        let mut count = 0;
        spec.try_each(&header, |key| {
            count += 1;
            if count > MAX_PER_LINE {
                return Err(IpsetErrno::TooMany);
            }
            self.add_key(key, additions, exist, now)
        })
    }

    /// Adds one element (`mtype_add`, net/netfilter/ipset/ip_set_hash_gen.h and ip_set_bitmap_gen.h).
    pub(super) fn add_key(
        &mut self,
        key: Key,
        additions: &Additions,
        exist: bool,
        now: Instant,
    ) -> Result<(), IpsetErrno> {
        if key.addr == 0 && matches!(self.header.set_type, SetType::HashIp | SetType::HashIpPort) {
            return Err(IpsetErrno::ZeroAddress);
        }
        let header = self.header;
        let keyed = self.keyed_mut();
        if let Some(known) = keyed.entries.get_mut(&key).filter(|entry| !entry.is_expired(now)) {
            if !exist {
                return Err(IpsetErrno::Exists);
            }
            known.renew(additions, &header.extensions, now);
            return Ok(());
        }
        keyed.remove(&key);
        if is_full(&header, keyed) {
            keyed.remove_expired(now);
            if is_full(&header, keyed) {
                return Err(IpsetErrno::Full);
            }
        }
        keyed.insert(key, ElementData::new(additions, &header.extensions, now));
        Ok(())
    }

    /// Deletes everything that an element denotes. Elements before a failure are deleted.
    pub(super) fn del(&mut self, spec: &Spec, exist: bool, now: Instant) -> Result<(), IpsetErrno> {
        self.check_spec(spec)?;
        let header = self.header;
        let mut count = 0;
        spec.try_each(&header, |key| {
            count += 1;
            if count > MAX_PER_LINE {
                return Err(IpsetErrno::TooMany);
            }
            self.del_key(&key, exist, now)
        })
    }

    /// Deletes one element (`mtype_del`). Expired elements remain until the set is swept.
    pub(super) fn del_key(&mut self, key: &Key, exist: bool, now: Instant) -> Result<(), IpsetErrno> {
        let keyed = self.keyed_mut();
        let is_there = keyed.get(key, now).is_some();
        if is_there {
            keyed.remove(key);
        }
        if is_there || exist { Ok(()) } else { Err(IpsetErrno::Missing) }
    }

    /// The element with that key, if it has not expired.
    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<&ElementData> {
        match &self.elements {
            Elements::Keyed(keyed) => keyed.get(key, now),
            Elements::List(_) => None,
        }
    }

    /// The element with that key; in a set of networks, the `at`th one that may contain the address, smallest network
    /// first.
    pub(super) fn candidate(&self, key: Key, at: usize) -> Option<Key> {
        match &self.elements {
            Elements::Keyed(keyed) if self.header.set_type.has_networks() => {
                keyed.prefixes.get(at).map(|(prefix, _)| self.header.in_network(key, *prefix))
            }
            Elements::Keyed(_) => (at == 0).then_some(key),
            Elements::List(_) => None,
        }
    }

    /// Checks that the set has the extensions that an `add` uses.
    pub(super) fn check(&self, additions: &Additions) -> Result<(), IpsetErrno> {
        let Extensions { timeout, counters, comment } = self.header.extensions;
        if additions.timeout.is_some() && timeout.is_none() {
            return Err(IpsetErrno::NoExtension("timeout"));
        }
        if (additions.packets.is_some() || additions.bytes.is_some()) && !counters {
            return Err(IpsetErrno::NoExtension("counters"));
        }
        if additions.comment.is_some() && !comment {
            return Err(IpsetErrno::NoExtension("comment"));
        }
        Ok(())
    }

    /// Linux: `bitmap_ip_uadt` and `bitmap_port_uadt` check both ends first.
    fn check_spec(&self, spec: &Spec) -> Result<(), IpsetErrno> {
        if spec.is_everything(&self.header) {
            return Err(IpsetErrno::Everything);
        }
        let Storage::Bitmap { range: (first, last), .. } = self.header.storage else { return Ok(()) };
        let (from, to) = spec.bounds(&self.header);
        if from < first || to > last { Err(IpsetErrno::OutOfRange) } else { Ok(()) }
    }
}

fn is_full(header: &Header, keyed: &Keyed) -> bool {
    match header.storage {
        Storage::Hash { max_elements, .. } => {
            keyed.entries.len() >= usize::try_from(max_elements).unwrap_or(usize::MAX)
        }
        Storage::Bitmap { .. } | Storage::List { .. } => false,
    }
}
