//! The routing tables: insertion, removal, and longest-prefix match.

use super::exception::{Exceptions, FibInfo, LIFETIME, Lesson};
use super::policy::PolicyRules;
use super::source::select_source;
use super::{FibError, FlowKey, PolicyRule, Route, RuleAction, RuleExists, Selector, TableId};
use crate::device::{Device, Devices, Scope};
use crate::drop_reason::DropReason;
use crate::ids::DeviceId;
use crate::route::{PathMtu, RouteKind};
use crate::sysctl::Sysctls;
use crate::time::{Duration, Instant};
use ipnet::Ipv4Net;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::net::Ipv4Addr;

/// A route in a table (`struct fib_alias` and `struct fib_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FibEntry {
    /// The table that holds it.
    pub table: TableId,
    /// The route as added.
    pub route: Route,
    /// The device of its next hop; none if it rejects packets.
    pub device: Option<DeviceId>,
    /// The scope of its next hop (`nhc_scope`).
    pub(super) nexthop_scope: NextHopScope,
    /// The kernel added it for an address (`RTPROT_KERNEL`).
    pub is_kernel: bool,
}

/// Scope of a next hop; compared with destinations it has one more value (`RT_SCOPE_NOWHERE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NextHopScope {
    Universe,
    Link,
    /// The destination itself is the next hop.
    Host,
    /// The destination is local.
    Nowhere,
}

impl From<Scope> for NextHopScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Universe => Self::Universe,
            Scope::Link => Self::Link,
            Scope::Host => Self::Host,
        }
    }
}

/// The routing tables of a netns.
#[derive(Clone, Debug, Default)]
pub struct Fib {
    /// Entries by prefix length and network, in unspecified order. Entries of one destination are in lookup order:
    /// local table before main table, lower metric before higher, then as added (`fib_find_alias`,
    /// net/ipv4/fib_trie.c).
    entries: FxHashMap<(u8, u32), Vec<FibEntry>>,
    /// Bit `n` is set if a prefix of length `n` exists.
    lengths: u64,
    /// Gateways and path MTUs learned from ICMP.
    exceptions: Exceptions,
    /// Number of changes of routes and exceptions.
    generation: u64,
    /// The user added a local route (`fib_has_custom_local_routes`), which disables the short cut in
    /// `fib_validate_source`.
    pub(super) has_custom_local_routes: bool,
    rules: PolicyRules,
}

/// The tables of a search.
#[derive(Clone, Copy)]
enum Tables {
    /// The common trie of both.
    LocalAndMain,
    One(TableId),
}

impl Fib {
    /// Adds a route, as `ip route add` does.
    ///
    /// # Errors
    /// The errors of `ip route add`.
    // Linux: fib_table_insert, net/ipv4/fib_trie.c, with NLM_F_CREATE | NLM_F_EXCL.
    pub fn add(&mut self, devices: &Devices, table: TableId, route: Route) -> Result<(), FibError> {
        let entry = self.check(devices, table, route)?;
        let is_taken =
            self.at(route.dst).iter().any(|other| other.table == table && other.route.metric == route.metric);
        if is_taken {
            return Err(FibError::Exists);
        }
        self.insert(entry);
        // Linux: inet_rtm_newroute, net/ipv4/fib_frontend.c.
        self.has_custom_local_routes |= route.kind == RouteKind::Local;
        Ok(())
    }

    /// Replaces the first route to the same destination with the same metric, as `ip route replace` does.
    ///
    /// # Errors
    /// The errors of `ip route replace`.
    // Linux: fib_table_insert with NLM_F_CREATE | NLM_F_REPLACE.
    pub fn replace(&mut self, devices: &Devices, table: TableId, route: Route) -> Result<(), FibError> {
        let entry = self.check(devices, table, route)?;
        let place = self.entries.get_mut(&key(route.dst)).and_then(|entries| {
            entries.iter_mut().find(|old| old.table == table && old.route.metric == route.metric)
        });
        match place {
            Some(old) => {
                *old = entry;
                self.generation += 1;
                self.forget_exceptions();
            }
            None => self.insert(entry),
        }
        self.has_custom_local_routes |= route.kind == RouteKind::Local;
        Ok(())
    }

    /// Adds a policy rule, as `ip rule add` does.
    ///
    /// # Errors
    /// If the same rule exists.
    pub fn add_rule(&mut self, rule: PolicyRule) -> Result<(), RuleExists> {
        self.generation += 1;
        self.rules.add(rule)
    }

    /// The policy rules, in the order in which they are tried.
    pub fn rules(&self) -> impl Iterator<Item = &PolicyRule> {
        self.rules.iter()
    }

    /// The priority of a rule that is added without one.
    pub(super) fn default_priority(&self) -> u32 {
        self.rules.default_priority()
    }

    /// True if the user has added policy rules (`fib4_has_custom_rules`).
    pub(super) const fn has_custom_rules(&self) -> bool {
        self.rules.is_custom
    }

    /// Removes the first route to `dst` that matches `selector`, as `ip route del` does.
    ///
    /// # Errors
    /// [`FibError::NotFound`].
    // Linux: fib_table_delete, net/ipv4/fib_trie.c; fib_nh_match, net/ipv4/fib_semantics.c.
    pub fn remove(&mut self, table: TableId, dst: Ipv4Net, selector: Selector) -> Result<FibEntry, FibError> {
        let position = self
            .at(dst)
            .iter()
            .position(|entry| entry.table == table && selector.matches(entry))
            .ok_or(FibError::NotFound)?;
        Ok(self.remove_at(dst, position))
    }

    /// Forgets exceptions that have expired.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.exceptions.expire(now) {
            self.generation += 1;
        }
    }

    /// From now on, packets to the destination of `flow` go to `gateway`, as long as the same route leads there, for
    /// [`super::REDIRECT_LIFETIME`]. False if no route leads there.
    /// Linux: the end of __ip_do_redirect, net/ipv4/route.c.
    pub(crate) fn learn_gateway(&mut self, now: Instant, flow: &FlowKey, gateway: Ipv4Addr) -> bool {
        let Some(entry) = self.lookup_flow(flow).ok().copied() else { return false };
        self.exceptions.learn(entry.info(), flow.dst, Lesson::Gateway(gateway), now + LIFETIME);
        self.generation += 1;
        true
    }

    /// From now on, packets to the destination of `flow` fit `pmtu`, as long as the same route leads there, for `lifetime`.
    /// Repeated reports renew this only in its second half. False if nothing has changed.
    /// Linux: the end of __ip_rt_update_pmtu, net/ipv4/route.c.
    pub(crate) fn learn_pmtu(
        &mut self,
        now: Instant,
        flow: &FlowKey,
        pmtu: PathMtu,
        lifetime: Duration,
    ) -> bool {
        let Some(entry) = self.lookup_flow(flow).ok().copied() else { return false };
        let is_fresh = self.exceptions.get(&entry.info(), flow.dst).is_some_and(|known| {
            known.pmtu == Some(pmtu) && !pmtu.is_locked && now + lifetime / 2 < known.expires_at
        });
        if !is_fresh {
            self.exceptions.learn(entry.info(), flow.dst, Lesson::PathMtu(pmtu), now + lifetime);
            self.generation += 1;
        }
        !is_fresh
    }

    /// The MTU of a device has changed (`fib_sync_mtu`, net/ipv4/fib_semantics.c).
    pub(crate) fn device_mtu_changed(&mut self, device: DeviceId, before: u16, now: u16) {
        if self.exceptions.device_mtu_changed(device, before, now) {
            self.generation += 1;
        }
    }

    /// The gateway and the path MTU for packets to `dst` along this route: learned ones, or the gateway of the route; `None`
    /// if `dst` is on-link.
    /// Linux: rt_set_nexthop and rt_bind_exception, net/ipv4/route.c.
    pub(super) fn next_hop(&self, entry: &FibEntry, dst: Ipv4Addr) -> (Option<Ipv4Addr>, Option<PathMtu>) {
        if self.exceptions.is_empty() {
            return (entry.gateway(), None);
        }
        let known = self.exceptions.get(&entry.info(), dst);
        let learned = known.and_then(|known| known.gateway);
        (learned.or_else(|| entry.gateway()), known.and_then(|known| known.pmtu))
    }

    /// True if some route has this gateway on this device (`ip_fib_check_default`, net/ipv4/fib_semantics.c).
    pub(crate) fn is_known_gateway(&self, gateway: Ipv4Addr, device: DeviceId) -> bool {
        let mut entries = self.entries.values().flatten();
        entries.any(|entry| entry.route.via == Some(gateway) && entry.device == Some(device))
    }

    /// A number that changes whenever a route changes.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// The routes of a table, ordered by destination.
    pub fn routes(&self, table: TableId) -> impl Iterator<Item = &FibEntry> {
        let mut keys: Vec<_> = self.entries.iter().collect();
        keys.sort_by_key(|((len, addr), _)| (*addr, Reverse(*len)));
        keys.into_iter().flat_map(|(_, entries)| entries).filter(move |entry| entry.table == table)
    }

    /// Looks up a destination: the longest prefix, then the lowest metric.
    ///
    /// # Errors
    /// As [`Fib::lookup_flow`].
    pub fn lookup(&self, dst: Ipv4Addr) -> Result<&FibEntry, DropReason> {
        self.lookup_flow(&FlowKey::to(dst))
    }

    /// Looks up a route in the tables that the policy rules select.
    ///
    /// # Errors
    /// [`DropReason::IpNoRouteIn`] if there is no route; [`DropReason::RouteUnreachable`],
    /// [`DropReason::RouteProhibited`] or [`DropReason::RouteBlackhole`] for routes of these types.
    pub fn lookup_flow(&self, key: &FlowKey) -> Result<&FibEntry, DropReason> {
        self.lookup_in_scope(key, Scope::Universe)
    }

    /// Like [`Fib::lookup_flow`], restricted to destinations of at least a scope.
    // Linux: fib_lookup, include/net/ip_fib.h; fib_rules_lookup, net/core/fib_rules.c.
    fn lookup_in_scope(&self, key: &FlowKey, scope: Scope) -> Result<&FibEntry, DropReason> {
        let found = |tables| self.lookup_table(tables, key.dst, key.oif, scope);
        if !self.rules.is_custom {
            let found = found(Tables::LocalAndMain).or_else(|| found(Tables::One(TableId::DEFAULT)));
            return found.unwrap_or(Err(DropReason::IpNoRouteIn));
        }
        for rule in self.rules.iter().filter(|rule| rule.matches(key)) {
            match rule.action {
                RuleAction::Lookup { table, suppress_prefix_len } => match found(Tables::One(table)) {
                    // Linux: fib4_rule_suppress, net/ipv4/fib_rules.c.
                    Some(Ok(entry))
                        if suppress_prefix_len.is_some_and(|len| entry.route.dst.prefix_len() <= len) => {}
                    Some(result) => return result,
                    None => {}
                },
                // Linux: fib4_rule_action: ENETUNREACH, where a route of this type gives EHOSTUNREACH.
                RuleAction::Unreachable => return Err(DropReason::IpNoRouteIn),
                RuleAction::Prohibit => return Err(DropReason::RouteProhibited),
                RuleAction::Blackhole => return Err(DropReason::RouteBlackhole),
            }
        }
        Err(DropReason::IpNoRouteIn)
    }

    /// Searches one table, restricted to next hops on one device and to destinations of at least a scope; `None` if it has
    /// no route.
    /// Linux: fib_table_lookup, net/ipv4/fib_trie.c. A route that rejects packets ends the search, whatever the device.
    fn lookup_table(
        &self,
        tables: Tables,
        dst: Ipv4Addr,
        device: Option<DeviceId>,
        scope: Scope,
    ) -> Option<Result<&FibEntry, DropReason>> {
        let entry = self.covering(dst).find(|entry| {
            let is_searched = match tables {
                Tables::LocalAndMain => entry.table <= TableId::Main,
                Tables::One(table) => entry.table == table,
            };
            is_searched
                && entry.route.scope >= scope
                && (refusal(entry.route.kind).is_some()
                    || device.is_none_or(|device| entry.device == Some(device)))
        })?;
        Some(refusal(entry.route.kind).map_or(Ok(entry), Err))
    }

    /// The entry of the local table for an address, if any.
    fn local(&self, addr: Ipv4Addr) -> Option<&FibEntry> {
        let tables = if self.rules.is_custom { Tables::One(TableId::Local) } else { Tables::LocalAndMain };
        self.lookup_table(tables, addr, None, Scope::Universe)?.ok()
    }

    /// The type of an address (`inet_addr_type`, net/ipv4/fib_frontend.c; also `inet_addr_type_dev_table`, which
    /// differs only with VRFs). D-22: local is what the local table says, whether or not a device has the address.
    pub fn addr_type(&self, addr: Ipv4Addr) -> RouteKind {
        self.addr_type_on(addr, None)
    }

    /// Like [`Fib::addr_type`], but relative to one device: a local address of another device is unicast
    /// (`inet_dev_addr_type`, used by `-m addrtype --limit-iface-in`).
    pub fn addr_type_on(&self, addr: Ipv4Addr, device: Option<DeviceId>) -> RouteKind {
        if addr.is_unspecified() || addr.is_broadcast() {
            return RouteKind::Broadcast;
        }
        if addr.is_multicast() {
            return RouteKind::Multicast;
        }
        match self.local(addr) {
            Some(entry) if device.is_none() || entry.device == device => entry.route.kind,
            Some(_) | None => RouteKind::Unicast,
        }
    }

    /// The device whose local route covers this address (`__ip_dev_find`, net/ipv4/devinet.c).
    pub fn device_of(&self, devices: &Devices, addr: Ipv4Addr) -> Option<DeviceId> {
        if let Some(holder) = devices.owner_of(addr) {
            return Some(holder.id);
        }
        // Linux finds addresses here that are local without being assigned, such as 127.0.0.2.
        self.local(addr).filter(|entry| entry.route.kind == RouteKind::Local).and_then(|entry| entry.device)
    }

    /// Inserts a kernel route after existing ones; does nothing if it exists.
    /// Linux: fib_magic, net/ipv4/fib_frontend.c, with NLM_F_CREATE | NLM_F_APPEND.
    pub(super) fn append_kernel(&mut self, device: &Device, table: TableId, route: Route) {
        let nexthop_scope =
            if route.scope == Scope::Host { NextHopScope::Nowhere } else { NextHopScope::Host };
        let entry = FibEntry { table, route, device: Some(device.id), nexthop_scope, is_kernel: true };
        let is_there = self
            .at(route.dst)
            .iter()
            .any(|other| other.table == table && other.route == route && other.is_kernel);
        if !is_there {
            self.insert(entry);
        }
    }

    /// Removes a kernel route, if it exists.
    pub(super) fn remove_kernel(&mut self, table: TableId, route: &Route) {
        let position = self.at(route.dst).iter().position(|entry| {
            entry.is_kernel && entry.table == table && Route { metric: route.metric, ..entry.route } == *route
        });
        if let Some(position) = position {
            self.remove_at(route.dst, position);
        }
    }

    /// Keeps the entries for which `keep` returns true.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&FibEntry) -> bool) {
        self.generation += 1;
        self.entries.retain(|_, entries| {
            entries.retain(&mut keep);
            !entries.is_empty()
        });
        self.lengths = self.entries.keys().fold(0, |bits, (len, _)| bits | 1 << len);
        self.forget_exceptions();
    }

    /// Every entry whose prefix contains `dst`, in lookup order. Visits only the prefix lengths that exist, and does not
    /// allocate.
    fn covering(&self, dst: Ipv4Addr) -> impl Iterator<Item = &FibEntry> {
        let bits = u32::from(dst);
        let mut lengths = self.lengths;
        let longest_first = std::iter::from_fn(move || {
            let len = 63_u32.checked_sub(lengths.leading_zeros())?;
            lengths ^= 1 << len;
            u8::try_from(len).ok()
        });
        longest_first
            .filter_map(move |len| {
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                self.entries.get(&(len, bits & mask))
            })
            .flatten()
    }

    fn at(&self, dst: Ipv4Net) -> &[FibEntry] {
        self.entries.get(&key(dst)).map_or(&[], Vec::as_slice)
    }

    fn insert(&mut self, entry: FibEntry) {
        self.generation += 1;
        let entries = self.entries.entry(key(entry.route.dst)).or_default();
        let order = |entry: &FibEntry| (entry.table, entry.route.metric);
        let at = entries.partition_point(|other| order(other) <= order(&entry));
        entries.insert(at, entry);
        self.lengths |= 1 << entry.route.dst.prefix_len();
    }

    fn remove_at(&mut self, dst: Ipv4Net, position: usize) -> FibEntry {
        self.generation += 1;
        let entries = self.entries.get_mut(&key(dst)).expect("the caller found an entry here");
        let removed = entries.remove(position);
        if entries.is_empty() {
            self.entries.remove(&key(dst));
            self.lengths = self.entries.keys().fold(0, |bits, (len, _)| bits | 1 << len);
        }
        self.forget_exceptions();
        removed
    }

    fn forget_exceptions(&mut self) {
        self.exceptions.keep_those_of(self.entries.values().flatten().map(FibEntry::info));
    }

    // Linux: fib_create_info and fib_props, net/ipv4/fib_semantics.c.
    fn check(&self, devices: &Devices, table: TableId, route: Route) -> Result<FibEntry, FibError> {
        if route.dst.addr() != route.dst.network() {
            return Err(FibError::HostBits);
        }
        if widest_scope(route.kind) > route.scope {
            return Err(FibError::InvalidScope);
        }
        if refusal(route.kind).is_some() {
            if route.via.is_some() || route.device.is_some() {
                return Err(FibError::RefusingRouteHasNextHop);
            }
            let nexthop_scope = NextHopScope::Universe;
            return Ok(FibEntry { table, route, device: None, nexthop_scope, is_kernel: false });
        }
        let (device, nexthop_scope) = self.check_next_hop(devices, table, &route)?;
        let is_own = |addr| self.addr_type(addr) == RouteKind::Local;
        let names_itself = |addr| route.kind == RouteKind::Local && addr == route.dst.addr();
        if route.source.is_some_and(|source| !names_itself(source) && !is_own(source)) {
            return Err(FibError::InvalidSource);
        }
        Ok(FibEntry { table, route, device: Some(device), nexthop_scope, is_kernel: false })
    }

    // Linux: fib_check_nh and its parts, net/ipv4/fib_semantics.c.
    fn check_next_hop(
        &self,
        devices: &Devices,
        table: TableId,
        route: &Route,
    ) -> Result<(DeviceId, NextHopScope), FibError> {
        if route.scope == Scope::Host {
            if route.via.is_some() {
                return Err(FibError::LocalRouteHasGateway);
            }
            return Ok((route.device.ok_or(FibError::NoDevice)?, NextHopScope::Nowhere));
        }
        let Some(gateway) = route.via else {
            if route.is_onlink {
                return Err(FibError::OnlinkWithoutGateway);
            }
            let device = route.device.ok_or(FibError::NoDevice)?;
            return if devices.get(device).is_up {
                Ok((device, NextHopScope::Host))
            } else {
                Err(FibError::DeviceDown)
            };
        };
        if route.is_onlink {
            if route.scope >= Scope::Link {
                return Err(FibError::InvalidNextHopScope);
            }
            let device = route.device.ok_or(FibError::NoDevice)?;
            if !devices.get(device).is_up {
                return Err(FibError::OnlinkDeviceDown);
            }
            if self.addr_type(gateway) != RouteKind::Unicast {
                return Err(FibError::InvalidGateway);
            }
            return Ok((device, NextHopScope::Link));
        }
        // The gateway must be nearer than the destination: on-link, or a local address.
        let nearer = if route.scope >= Scope::Link { Scope::Host } else { Scope::Link };
        // The route's own table is searched first, then all of them.
        let key = FlowKey { oif: route.device, ..FlowKey::to(gateway) };
        let in_own = match table {
            TableId::Local | TableId::Main => None,
            TableId::Other(_) => {
                self.lookup_table(Tables::One(table), gateway, route.device, nearer).and_then(Result::ok)
            }
        };
        let hop = match in_own {
            Some(hop) => hop,
            None => self.lookup_in_scope(&key, nearer).map_err(|_| FibError::InvalidGateway)?,
        };
        match (hop.route.kind, hop.device) {
            (RouteKind::Unicast | RouteKind::Local, Some(device)) if devices.get(device).is_up => {
                Ok((device, hop.route.scope.into()))
            }
            (RouteKind::Unicast | RouteKind::Local, Some(_)) => Err(FibError::GatewayDeviceDown),
            _ => Err(FibError::InvalidGateway),
        }
    }
}

impl FibEntry {
    fn info(&self) -> FibInfo {
        let Self { table, route, device, is_kernel, .. } = *self;
        FibInfo { table, route: Route { dst: Ipv4Net::default(), ..route }, device, is_kernel }
    }

    /// The gateway, if it is the next hop: a gateway that is a local address makes the route direct.
    /// Linux: rt_set_nexthop, net/ipv4/route.c, uses `nhc_gw` if `nhc_scope` is RT_SCOPE_LINK.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.route.via.filter(|_| self.nexthop_scope == NextHopScope::Link)
    }

    /// The source address of the route; unspecified if no device has one.
    /// Linux: fib_result_prefsrc, net/ipv4/fib_semantics.c.
    pub fn source(&self, devices: &Devices, sysctls: &Sysctls) -> Ipv4Addr {
        self.route
            .source
            .or_else(|| select_source(devices, sysctls, self.device?, self.route.via, self.route.scope))
            .unwrap_or(Ipv4Addr::UNSPECIFIED)
    }
}

impl Selector {
    fn matches(&self, entry: &FibEntry) -> bool {
        let agrees = |wanted: Option<Ipv4Addr>, has| wanted.is_none_or(|wanted| has == Some(wanted));
        self.kind.is_none_or(|kind| entry.route.kind == kind)
            && self.scope.is_none_or(|scope| entry.route.scope == scope)
            && self.device.is_none_or(|device| entry.device == Some(device))
            && agrees(self.via, entry.route.via)
            && agrees(self.source, entry.route.source)
            && (self.metric == 0 || entry.route.metric == self.metric)
    }
}

fn key(dst: Ipv4Net) -> (u8, u32) {
    (dst.prefix_len(), u32::from(dst.network()))
}

/// Why routes of this type reject packets, if they do (`fib_props[].error`).
const fn refusal(kind: RouteKind) -> Option<DropReason> {
    match kind {
        RouteKind::Unreachable => Some(DropReason::RouteUnreachable),
        RouteKind::Prohibit => Some(DropReason::RouteProhibited),
        RouteKind::Blackhole => Some(DropReason::RouteBlackhole),
        RouteKind::Unicast | RouteKind::Local | RouteKind::Broadcast | RouteKind::Multicast => None,
    }
}

/// The widest scope allowed for this route type (`fib_props[].scope`).
const fn widest_scope(kind: RouteKind) -> Scope {
    match kind {
        RouteKind::Local => Scope::Host,
        RouteKind::Broadcast => Scope::Link,
        RouteKind::Unicast
        | RouteKind::Multicast
        | RouteKind::Unreachable
        | RouteKind::Prohibit
        | RouteKind::Blackhole => Scope::Universe,
    }
}
