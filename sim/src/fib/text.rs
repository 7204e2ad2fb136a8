//! The arguments of `ip rule add` and `ip route add` (ip-rule(8), ip-route(8)).

use super::{Fib, PolicyRule, Route, RuleAction, TableId};
use crate::device::{Devices, Scope};
use crate::ids::DeviceId;
use crate::route::RouteKind;
use crate::text::error::{Parse, Problem, RuleError, RuleErrorKind};
use crate::text::line::Line;
use crate::text::value::ranged;
use crate::text::words::Value;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

impl Fib {
    /// Adds a policy rule: the arguments of `ip rule add`, as line `number` of `source`.
    ///
    /// # Errors
    /// A problem of the text, with its place, or the kernel's error.
    pub fn ip_rule_add(
        &mut self,
        devices: &Devices,
        source: &str,
        number: u32,
        line: &str,
    ) -> Result<(), RuleError> {
        let by_name = |name: &str| devices.by_name(name).map(|device| device.id);
        let added = rule(line, self.default_priority(), &by_name).and_then(|rule| {
            self.add_rule(rule).map_err(|error| refused(&error, "a rule that does not exist yet"))
        });
        added.map_err(|problem| problem.in_line("ip rule", &source.into(), number, line))
    }

    /// Adds a route to any table: the arguments of `ip route add`, as line `number` of `source`.
    ///
    /// # Errors
    /// A problem of the text, with its place, or the kernel's error.
    pub fn ip_route_add(
        &mut self,
        devices: &Devices,
        source: &str,
        number: u32,
        line: &str,
    ) -> Result<(), RuleError> {
        let by_name = |name: &str| devices.by_name(name).map(|device| device.id);
        let added = route(line, &by_name).and_then(|(table, route)| {
            let added = self.add(devices, table, route);
            added.map_err(|error| refused(&error, "a route that the kernel accepts"))
        });
        added.map_err(|problem| problem.in_line("ip route", &source.into(), number, line))
    }
}

/// Finds a device by name.
type ByName<'a> = &'a dyn Fn(&str) -> Option<DeviceId>;

const RULE_WORDS: &str = "not, from, to, fwmark, iif, oif, priority, lookup, unreachable, prohibit, blackhole or \
                          suppress_prefixlength";
const ROUTE_WORDS: &str = "via, dev, src, metric, table, scope or onlink";

/// Words that `ip rule` accepts, but that are not modelled.
const UNSUPPORTED_RULE_WORDS: [&str; 14] = [
    "tos",
    "dsfield",
    "realms",
    "goto",
    "nop",
    "nat",
    "ipproto",
    "sport",
    "dport",
    "uidrange",
    "tun_id",
    "l3mdev",
    "suppress_ifgroup",
    "protocol",
];

/// Words that `ip route` accepts, but that are not modelled.
const UNSUPPORTED_ROUTE_WORDS: [&str; 16] = [
    "throw",
    "broadcast",
    "multicast",
    "nat",
    "nexthop",
    "nhid",
    "encap",
    "mtu",
    "advmss",
    "tos",
    "dsfield",
    "realm",
    "window",
    "rtt",
    "congctl",
    "proto",
];

/// A rule; without a priority, it gets `default_priority`.
fn rule(line: &str, default_priority: u32, device: ByName<'_>) -> Parse<PolicyRule> {
    let mut words = Line::split(line);
    let mut rule = PolicyRule::lookup(default_priority, TableId::Main);
    let (mut action, mut suppressed) = (None, None);
    while let Some(word) = words.next() {
        match word.text {
            "not" => rule.is_inverted = true,
            "from" => rule.src = prefix(words.required("a network, or `all`")?)?,
            "to" => rule.dst = prefix(words.required("a network, or `all`")?)?,
            "fwmark" => rule.mark = mark(words.required("a mark, such as 0x1 or 0x1/0xff")?)?,
            "iif" | "dev" => rule.iif = Some(named(words.required("a device")?, device)?),
            "oif" => rule.oif = Some(named(words.required("a device")?, device)?),
            "priority" | "preference" | "pref" | "order" => {
                rule.priority = number(words.required("a number")?)?
            }
            "lookup" | "table" => {
                let table = table(words.required("a table")?)?;
                action = Some(RuleAction::Lookup { table, suppress_prefix_len: None });
            }
            "unreachable" => action = Some(RuleAction::Unreachable),
            "prohibit" => action = Some(RuleAction::Prohibit),
            "blackhole" => action = Some(RuleAction::Blackhole),
            "suppress_prefixlength" | "sup_pl" => {
                let len = words.required("a prefix length")?;
                suppressed = u8::try_from(ranged(len, 0..=32)?).ok();
            }
            text if UNSUPPORTED_RULE_WORDS.contains(&text) => return Err(unsupported(word, RULE_WORDS)),
            _ => return Err(word.expected(RULE_WORDS)),
        }
    }
    rule.action = match (action, suppressed) {
        (Some(RuleAction::Lookup { table, .. }), suppress_prefix_len) => {
            RuleAction::Lookup { table, suppress_prefix_len }
        }
        (Some(refusal), _) => refusal,
        (None, _) => {
            return Err(words.missing("lookup TABLE, unreachable, prohibit or blackhole"));
        }
    };
    Ok(rule)
}

/// A route and its table.
fn route(line: &str, device: ByName<'_>) -> Parse<(TableId, Route)> {
    const DESTINATION: &str = "a network, `default`, or a type: local, unreachable, prohibit or blackhole";
    let mut words = Line::split(line);
    let first = words.required(DESTINATION)?;
    let kind = match first.text {
        "unicast" => Some(RouteKind::Unicast),
        "local" => Some(RouteKind::Local),
        "unreachable" => Some(RouteKind::Unreachable),
        "prohibit" => Some(RouteKind::Prohibit),
        "blackhole" => Some(RouteKind::Blackhole),
        text if UNSUPPORTED_ROUTE_WORDS.contains(&text) => return Err(unsupported(first, DESTINATION)),
        _ => None,
    };
    let dst = if kind.is_some() { words.required("a network, or `default`")? } else { first };
    let kind = kind.unwrap_or(RouteKind::Unicast);
    let mut route = Route { kind, ..Route::refusing(kind, network(dst)?) };
    let (mut scope, mut in_table) = (None, None);
    while let Some(word) = words.next() {
        match word.text {
            "via" => route.via = Some(address(words.required("an address")?)?),
            "dev" => route.device = Some(named(words.required("a device")?, device)?),
            "src" => route.source = Some(address(words.required("an address")?)?),
            "metric" | "priority" | "preference" => route.metric = number(words.required("a number")?)?,
            "table" => in_table = Some(table(words.required("a table")?)?),
            "onlink" => route.is_onlink = true,
            "scope" => scope = Some(scope_of(words.required("a scope")?)?),
            text if UNSUPPORTED_ROUTE_WORDS.contains(&text) => return Err(unsupported(word, ROUTE_WORDS)),
            _ => return Err(word.expected(ROUTE_WORDS)),
        }
    }
    // Linux: iproute_modify of iproute2, ip/iproute.c.
    route.scope = scope.unwrap_or(match kind {
        RouteKind::Local => Scope::Host,
        RouteKind::Unicast if route.via.is_none() => Scope::Link,
        RouteKind::Unicast
        | RouteKind::Broadcast
        | RouteKind::Multicast
        | RouteKind::Unreachable
        | RouteKind::Prohibit
        | RouteKind::Blackhole => Scope::Universe,
    });
    let usual = if kind == RouteKind::Local { TableId::Local } else { TableId::Main };
    Ok((in_table.unwrap_or(usual), route))
}

/// The kernel's error about a command as a whole.
fn refused(error: &impl ToString, what: &'static str) -> Box<Problem> {
    Problem::new(RuleErrorKind::Refused, 0, what, error.to_string())
}

fn unsupported(word: Value<'_>, expected: &'static str) -> Box<Problem> {
    word.expected(expected).kind(RuleErrorKind::Unsupported).help("this option of ip(8) is not modelled")
}

fn named(value: Value<'_>, device: ByName<'_>) -> Parse<DeviceId> {
    device(value.text).ok_or_else(|| value.expected("a device of this node"))
}

/// ip(8) reads numbers with base 0 (`get_u32`, lib/utils.c of iproute2).
fn number(value: Value<'_>) -> Parse<u32> {
    ranged(value, 0..=u32::MAX)
}

fn address(value: Value<'_>) -> Parse<Ipv4Addr> {
    value.text.parse().map_err(|_| value.expected("an IPv4 address"))
}

/// `default`, an address, or a network; host bits are kept.
fn network(value: Value<'_>) -> Parse<Ipv4Net> {
    match value.text {
        "default" | "all" | "any" => Ok(Ipv4Net::default()),
        text => text
            .parse()
            .or_else(|_| text.parse().map(|addr| Ipv4Net::new_assert(addr, 32)))
            .map_err(|_| value.expected("an IPv4 network, or `default`")),
    }
}

fn prefix(value: Value<'_>) -> Parse<Ipv4Net> {
    Ok(network(value)?.trunc())
}

/// Without a mask, a mark other than 0 must be equal, and 0 matches any (`fib_nl2rule`, net/core/fib_rules.c).
fn mark(value: Value<'_>) -> Parse<(u32, u32)> {
    let read = |text: &str| number(value.part(text)).ok();
    let both = match value.text.split_once('/') {
        Some((mark, mask)) => read(mark).zip(read(mask)),
        None => read(value.text).map(|mark| (mark, if mark == 0 { 0 } else { u32::MAX })),
    };
    both.ok_or_else(|| value.expected("a mark, such as 0x1 or 0x1/0xff"))
}

fn table(value: Value<'_>) -> Parse<TableId> {
    match value.text {
        "local" => Ok(TableId::Local),
        "main" => Ok(TableId::Main),
        "default" => Ok(TableId::DEFAULT),
        text => text
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .map(TableId::numbered)
            .ok_or_else(|| value.expected("a table: its number, local, main or default")),
    }
}

fn scope_of(value: Value<'_>) -> Parse<Scope> {
    match value.text {
        "global" | "universe" => Ok(Scope::Universe),
        "link" => Ok(Scope::Link),
        "host" => Ok(Scope::Host),
        _ => Err(value.expected("global, link or host")),
    }
}
