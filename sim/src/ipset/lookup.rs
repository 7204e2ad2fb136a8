//! Tests, adds and deletes elements for packets.
//!
//! Linux: `ip_set_test`, `ip_set_add` and `ip_set_del`, net/netfilter/ipset/ip_set_core.c, and `*_kadt` of the types.

use super::element::{ICMPV6, UDPLITE};
use super::entry::{Additions, ElementData, IpsetErrno};
use super::header::{Header, SetType, Storage};
use super::keys::{self, Key, number_of};
use super::set::Elements;
use super::{Ipset, SetId};
use crate::hook::Family;
use crate::mutation::Mutation;
use crate::packet::Packet;
use crate::time::Instant;
use crate::wire::protocol::{ICMP, SCTP, TCP, UDP};
use crate::wire::{Headers, be16};
use std::net::IpAddr;

/// `IPSET_DIM_MAX`.
const MAX_DIRECTIONS: u8 = 6;

/// The side of a packet for each part of an element: `src,dst`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directions {
    count: u8,
    /// One bit for each part that refers to the source.
    sources: u8,
}

impl Directions {
    /// Parses `src,dst,…`: one to six of them.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut read = Self::default();
        for word in text.split(',') {
            let is_source = match word {
                "src" => true,
                "dst" => false,
                _ => return None,
            };
            read.sources |= u8::from(is_source) << read.count;
            read.count += 1;
            if read.count > MAX_DIRECTIONS {
                return None;
            }
        }
        Some(read)
    }

    /// Appends them as written.
    pub(crate) fn print(self, out: &mut String) {
        for part in 0..self.count {
            out.push_str(if part == 0 { "" } else { "," });
            out.push_str(if self.is_source(part) { "src" } else { "dst" });
        }
    }

    const fn is_source(self, part: u8) -> bool {
        self.sources & 1 << part != 0
    }
}

/// The view of a packet that sets have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketView<'p> {
    family: Family,
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    /// Length in bytes, including the IP header.
    len: u32,
    is_later_fragment: bool,
    /// The data after the IP header.
    transport: &'p [u8],
}

impl<'p> PacketView<'p> {
    /// Extracts the view from a packet.
    pub(crate) fn of(family: Family, headers: &Headers, packet: &'p Packet) -> Self {
        let (ip, l3) = (packet.ip(), packet.l3());
        Self {
            family,
            src: headers.src,
            dst: headers.dst,
            protocol: headers.protocol,
            len: headers.total_len,
            is_later_fragment: ip.fragment_offset() > 0,
            transport: l3.get(ip.header_len()..l3.len().min(ip.total_len())).unwrap_or_default(),
        }
    }

    const fn addr(&self, is_source: bool) -> u128 {
        number_of(if is_source { self.src } else { self.dst })
    }

    /// The port, the type and code of an ICMP message, or zero for protocols without ports; `None` if a header is
    /// truncated (`ip_set_get_ip4_port`, net/netfilter/ipset/ip_set_getport.c).
    fn port(&self, is_source: bool) -> Option<u16> {
        if self.protocol == 0 {
            return None;
        }
        if self.is_later_fragment {
            let has_ports = matches!(self.protocol, TCP | SCTP | UDP | UDPLITE | ICMP);
            return (!has_ports).then_some(0);
        }
        let header_len = match self.protocol {
            TCP => 20,
            SCTP => 12,
            UDP | UDPLITE | ICMP | ICMPV6 => 8,
            _ => return Some(0),
        };
        let header = self.transport.get(..header_len)?;
        let is_icmp = matches!(self.protocol, ICMP | ICMPV6);
        Some(be16(header, if is_icmp || is_source || Mutation::IpsetPortOfSource.is_on() { 0 } else { 2 }))
    }

    /// The key of a packet for a set; `None` is an error, which never matches (`*_kadt`).
    fn key(&self, header: &Header, directions: Directions) -> Option<Key> {
        let addr = || self.addr(directions.is_source(0));
        let with_port = |key| {
            let port = self.port(directions.is_source(1))?;
            Some(Key { port, protocol: self.protocol, ..key })
        };
        let prefix = if header.set_type.has_networks() { keys::bits(self.family) } else { 0 };
        match header.set_type {
            SetType::BitmapPort => {
                // Only these two have ports for it (`ip_set_get_ip_port`), without distinguishing them.
                let is_known = matches!(self.protocol, TCP | UDP);
                let port = self.port(directions.is_source(0)).filter(|_| is_known)?;
                is_within(header, port.into()).then(|| Key { port, ..Key::default() })
            }
            SetType::BitmapIp => {
                let masked = addr() & keys::mask(Family::Ipv4, header.netmask());
                is_within(header, addr()).then(|| Key { addr: masked, ..Key::default() })
            }
            SetType::HashIp => {
                let addr = addr() & keys::mask(self.family, header.netmask());
                (addr != 0).then(|| Key { addr, ..Key::default() })
            }
            SetType::HashNet => Some(Key { addr: addr(), prefix, ..Key::default() }),
            SetType::HashIpPort | SetType::HashNetPort => {
                with_port(Key { addr: addr(), prefix, ..Key::default() })
            }
            SetType::HashIpPortIp | SetType::HashIpPortNet => {
                let second = self.addr(directions.is_source(2));
                with_port(Key { addr: addr(), prefix, second, ..Key::default() })
            }
            SetType::ListSet => None,
        }
    }
}

fn is_within(header: &Header, value: u128) -> bool {
    match header.storage {
        Storage::Bitmap { range: (first, last), .. } => (first.into()..=last.into()).contains(&value),
        Storage::Hash { .. } | Storage::List { .. } => false,
    }
}

/// A condition on the counters of the matched element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CounterTest {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    Greater(u64),
}

impl CounterTest {
    const fn holds(self, counter: u64) -> bool {
        match self {
            Self::Equal(value) => counter == value,
            Self::NotEqual(value) => counter != value,
            Self::Less(value) => counter < value,
            Self::Greater(value) => counter > value,
        }
    }
}

/// A test of a set by a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetTest {
    pub(crate) directions: Directions,
    /// Exceptions match, other elements do not.
    pub(crate) returns_nomatch: bool,
    /// Does not update the counters of elements.
    pub(crate) keeps_counters: bool,
    /// Does not update the counters of sets in a list.
    pub(crate) keeps_subcounters: bool,
    pub(crate) packets: Option<CounterTest>,
    pub(crate) bytes: Option<CounterTest>,
}

/// An addition to a set by a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addition {
    pub(crate) directions: Directions,
    /// Refreshes an existing element.
    pub(crate) exist: bool,
    /// Seconds; `None` for the set's default.
    pub(crate) timeout: Option<u32>,
}

/// The result before `--return-nomatch` is considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Element,
    Exception,
}

impl Ipset {
    // Linux: ip_set_test
    pub(crate) fn matches(
        &mut self,
        id: SetId,
        question: &SetTest,
        packet: &PacketView<'_>,
        now: Instant,
    ) -> bool {
        if !self.knows(id, question.directions, packet) {
            return false;
        }
        self.collect(id, now);
        let header = self.set(id).header;
        if header.set_type == SetType::ListSet {
            return self.list_matches(id, question, packet, now);
        }
        let found = self.look_up(id, question, packet, now);
        match (found, question.returns_nomatch && header.set_type.has_networks()) {
            (Found::Nothing, _) => false,
            (Found::Element, inverts) => !inverts,
            (Found::Exception, inverts) => inverts,
        }
    }

    /// A set ignores packets of other families, and rules with fewer directions than its elements have parts.
    fn knows(&self, id: SetId, directions: Directions, packet: &PacketView<'_>) -> bool {
        let header = &self.set(id).header;
        directions.count >= header.set_type.dimension()
            && header.family().is_none_or(|family| family == packet.family)
    }

    /// Linux: `mtype_test` and `mtype_test_cidrs`, net/netfilter/ipset/ip_set_hash_gen.h.
    fn look_up(&mut self, id: SetId, question: &SetTest, packet: &PacketView<'_>, now: Instant) -> Found {
        let header = self.set(id).header;
        let Some(key) = packet.key(&header, question.directions) else { return Found::Nothing };
        let mut at = 0;
        while let Some(candidate) = self.set(id).candidate(key, at) {
            at += 1;
            match self.set(id).get(&candidate, now) {
                Some(entry) if !header.extensions.counters => return found(entry),
                Some(_) => {}
                None => continue,
            }
            if let Some(entry) = self.set_mut(id).keyed_mut().get_mut(&candidate)
                && count(entry, question, packet)
            {
                return found(entry);
            }
        }
        Found::Nothing
    }

    /// The first matching set of a list (`list_set_ktest`, net/netfilter/ipset/ip_set_list_set.c). The list's own
    /// counters are not tested.
    fn list_matches(&mut self, id: SetId, question: &SetTest, packet: &PacketView<'_>, now: Instant) -> bool {
        let inner = SetTest {
            packets: None,
            bytes: None,
            keeps_counters: question.keeps_counters || question.keeps_subcounters,
            ..*question
        };
        let mut at = 0;
        while let Some((member, is_expired)) = self.member(id, at, now) {
            at += 1;
            // An expired member is still tested, and counts.
            if !self.matches(member, &inner, packet, now) || is_expired {
                continue;
            }
            if !self.set(id).header.extensions.counters {
                return true;
            }
            if let Elements::List(members) = &mut self.set_mut(id).elements
                && count(&mut members[at - 1].entry, question, packet)
            {
                return true;
            }
        }
        false
    }

    /// A member of a list, and whether it has expired.
    fn member(&self, list: SetId, at: usize, now: Instant) -> Option<(SetId, bool)> {
        match &self.set(list).elements {
            Elements::List(members) => members.get(at).map(|one| (one.set, one.entry.is_expired(now))),
            Elements::Keyed(_) => None,
        }
    }

    /// Adds an element for a packet; failure does not affect the packet.
    pub(crate) fn add_packet(
        &mut self,
        id: SetId,
        addition: &Addition,
        packet: &PacketView<'_>,
        now: Instant,
    ) {
        _ = self.try_add(id, addition, packet, now);
    }

    // Linux: ip_set_add
    fn try_add(
        &mut self,
        id: SetId,
        addition: &Addition,
        packet: &PacketView<'_>,
        now: Instant,
    ) -> Result<(), IpsetErrno> {
        self.try_change(id, addition.directions, packet, now, &|ipset, id, key| {
            let additions = Additions {
                timeout: addition.timeout,
                packets: Some(1),
                bytes: Some(packet.len.into()),
                ..Additions::default()
            };
            ipset.set_mut(id).add_key(key, &additions, addition.exist, now)
        })
    }

    /// Deletes the element for a packet.
    pub(crate) fn del_packet(
        &mut self,
        id: SetId,
        directions: Directions,
        packet: &PacketView<'_>,
        now: Instant,
    ) {
        _ = self.try_change(id, directions, packet, now, &|ipset, id, key| {
            ipset.set_mut(id).del_key(&key, false, now)
        });
    }

    /// Changes a set or, for a list, the first member that can be changed.
    fn try_change(
        &mut self,
        id: SetId,
        directions: Directions,
        packet: &PacketView<'_>,
        now: Instant,
        change: &dyn Fn(&mut Self, SetId, Key) -> Result<(), IpsetErrno>,
    ) -> Result<(), IpsetErrno> {
        if !self.knows(id, directions, packet) {
            return Err(IpsetErrno::Missing);
        }
        self.collect(id, now);
        let set = self.set(id);
        match &set.elements {
            Elements::Keyed(keyed) => {
                let key = packet.key(&set.header, directions).ok_or(IpsetErrno::OutOfRange)?;
                // A new network has the longest prefix length in use.
                let smallest = keyed.longest_prefix().unwrap_or(key.prefix);
                let key = set.header.in_network(key, smallest);
                change(self, id, key)
            }
            Elements::List(_) => {
                let mut at = 0;
                while let Some((member, is_expired)) = self.member(id, at, now) {
                    at += 1;
                    if !is_expired && self.try_change(member, directions, packet, now, change).is_ok() {
                        return Ok(());
                    }
                }
                Err(IpsetErrno::Missing)
            }
        }
    }
}

fn found(entry: &ElementData) -> Found {
    if entry.is_exception && !Mutation::IpsetNomatchIgnored.is_on() {
        Found::Exception
    } else {
        Found::Element
    }
}

/// Updates the counters of an element, and tests the rule's condition (`ip_set_match_extensions`).
fn count(entry: &mut ElementData, question: &SetTest, packet: &PacketView<'_>) -> bool {
    if !question.keeps_counters {
        entry.packets = entry.packets.wrapping_add(1);
        entry.bytes = entry.bytes.wrapping_add(packet.len.into());
    }
    question.packets.is_none_or(|test| test.holds(entry.packets))
        && question.bytes.is_none_or(|test| test.holds(entry.bytes))
}
