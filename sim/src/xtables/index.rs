//! Finds the rules of a long chain that can match a packet.
//!
//! Rules with a single destination address, or with a single destination port of one protocol, are indexed by it; all
//! other rules are always evaluated. The candidates are evaluated in the order of the chain, each in full, so that
//! verdicts, counters, draws and state are the same as in a traversal of the whole chain. A rule may be skipped only if
//! its first failing condition has no side effect: the address test comes before all matches, and the port is used only
//! if everything before the port match in the rule is pure ([`Match::is_pure`]).

use super::matches::Match;
use super::rule::Rule;
use crate::wire::{Headers, protocol};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::net::IpAddr;

/// Rules by key. Positions are in the order of the chain.
#[derive(Debug, Default)]
pub(super) struct RuleIndex {
    by_addr: FxHashMap<u32, Positions>,
    by_port: FxHashMap<(u8, u16), Positions>,
    by_addr_and_port: FxHashMap<(u32, u8, u16), Positions>,
    others: Vec<u32>,
}

type Positions = SmallVec<[u32; 2]>;

/// Chains shorter than this are not indexed.
const MIN_RULES: usize = 16;

/// The keys of a rule.
#[derive(Clone, Debug, Default)]
struct Keys {
    addr: Option<u32>,
    /// Protocol, and the destination ports one of which the packet must have.
    ports: Option<(u8, SmallVec<[u16; 4]>)>,
}

impl RuleIndex {
    /// The index of a chain; `None` if it gains nothing.
    pub(super) fn build(rules: &[Rule]) -> Option<Self> {
        if rules.len() < MIN_RULES {
            return None;
        }
        let mut index = Self::default();
        for (position, rule) in (0..).zip(rules) {
            index.add(position, &keys(rule));
        }
        // If fewer rules are indexed than always evaluated, a lookup costs more than it saves.
        (index.others.len() < rules.len() / 2).then_some(index)
    }

    fn add(&mut self, position: u32, keys: &Keys) {
        match (keys.addr, &keys.ports) {
            (None, None) => self.others.push(position),
            (Some(addr), None) => self.by_addr.entry(addr).or_default().push(position),
            (None, Some((number, ports))) => {
                for port in ports {
                    self.by_port.entry((*number, *port)).or_default().push(position);
                }
            }
            (Some(addr), Some((number, ports))) => {
                for port in ports {
                    self.by_addr_and_port.entry((addr, *number, *port)).or_default().push(position);
                }
            }
        }
    }

    /// The rules to evaluate for a packet; `None` if the index cannot tell because the packet lacks ports that it
    /// should have: some rules drop such a packet.
    pub(super) fn candidates(&self, headers: &Headers) -> Option<Candidates<'_>> {
        let ports = headers.l4.ports();
        if ports.is_none() && has_ports(headers.protocol) {
            return None;
        }
        let IpAddr::V4(dst) = headers.dst else { return None };
        let (addr, number) = (dst.to_bits(), headers.protocol);
        let mut candidates = Candidates { lists: [&[]; 4], count: 0 };
        candidates.add(Some(&self.others[..]));
        candidates.add(self.by_addr.get(&addr).map(|positions| &positions[..]));
        if let Some((_, port)) = ports {
            candidates.add(self.by_port.get(&(number, port)).map(|positions| &positions[..]));
            candidates.add(self.by_addr_and_port.get(&(addr, number, port)).map(|positions| &positions[..]));
        }
        Some(candidates)
    }
}

/// Rule positions in ascending order, merged from disjoint lists.
#[derive(Clone, Debug)]
pub(super) struct Candidates<'i> {
    /// The first `count` of these have positions left.
    lists: [&'i [u32]; 4],
    count: usize,
}

impl<'i> Candidates<'i> {
    fn add(&mut self, list: Option<&'i [u32]>) {
        if let Some(list) = list.filter(|list| !list.is_empty()) {
            self.lists[self.count] = list;
            self.count += 1;
        }
    }
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let lists = &mut self.lists[..self.count];
        let (at, _) = lists.iter().enumerate().min_by_key(|(_, list)| list[0])?;
        let (first, rest) = lists[at].split_first()?;
        lists[at] = rest;
        if rest.is_empty() {
            self.count -= 1;
            self.lists.swap(at, self.count);
        }
        Some(usize::try_from(*first).expect("a u32 fits usize"))
    }
}

const fn has_ports(number: u8) -> bool {
    const DCCP: u8 = 33;
    const UDPLITE: u8 = 136;
    matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP | DCCP | UDPLITE)
}

fn keys(rule: &Rule) -> Keys {
    let ip = &rule.spec.ip;
    let addr = if ip.dst_inverted { None } else { ip.dst.single_v4() };
    // A packet of a protocol without ports is never looked up by port, so the rule must be for one with ports.
    let ports =
        if ip.protocol_inverted || !has_ports(ip.protocol) { None } else { ports(&rule.spec.matches) };
    Keys { addr, ports: ports.map(|ports| (ip.protocol, ports)) }
}

/// The only destination ports that a rule can match.
fn ports(matches: &[Match]) -> Option<SmallVec<[u16; 4]>> {
    for one in matches {
        let found = one.destination_ports();
        if found.is_some() {
            return found;
        }
        if !one.is_pure() {
            return None;
        }
    }
    None
}
