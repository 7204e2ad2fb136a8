//! Elements as text: `10.0.0.1,tcp:80,10.1.0.0/16`, with ranges where the type allows them.

use super::address::{address, family_name, low_half, prefix_length, range_v4};
use super::header::{Header, SetType};
use super::icmp;
use super::keys::{self, Key, print_addr};
use crate::hook::Family;
use crate::text::error::Parse;
use crate::text::ports::{PortRange, PortRangeSyntax};
use crate::text::value::{number, protocol, protocol_name};
use crate::text::words::Value;
use crate::wire::protocol::{ICMP, SCTP, TCP, UDP};
use std::fmt::Write as _;

pub(super) const UDPLITE: u8 = 136;
pub(super) const ICMPV6: u8 = 58;

/// An element as written: each part may denote a range.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spec {
    first: Span,
    ports: Ports,
    second: Span,
}

/// A range of addresses, inclusive.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    from: u128,
    to: u128,
    /// The prefix length, if written as a network.
    prefix: Option<u8>,
}

/// A protocol and a range of ports.
#[derive(Clone, Copy, Debug)]
struct Ports {
    protocol: u8,
    range: PortRange,
}

impl Default for Ports {
    /// What the kernel stores for types without ports.
    fn default() -> Self {
        Self { protocol: 0, range: PortRange::single(0) }
    }
}

impl Spec {
    /// Parses an element of a set that is not a list.
    pub(super) fn read(header: &Header, value: Value<'_>) -> Parse<Self> {
        let parts: Vec<Value<'_>> = value.split_commas().collect();
        let expected = || value.expected(format!("an element such as `{}`", example(header)));
        let family = header.family().unwrap_or(Family::Ipv4);
        let spec = |first, ports, second| Ok(Self { first, ports, second });
        let (none, any) = (Span::default(), Ports::default());
        match (header.set_type, &*parts) {
            (SetType::BitmapPort, [ports]) => spec(none, bitmap_ports(*ports)?, none),
            (SetType::BitmapIp | SetType::HashIp, [addr]) => spec(hosts(family, *addr)?, any, none),
            (SetType::HashNet, [net]) => spec(network(family, *net)?, any, none),
            (SetType::HashIpPort, [addr, port]) => spec(hosts(family, *addr)?, ports(family, *port)?, none),
            (SetType::HashNetPort, [net, port]) => spec(network(family, *net)?, ports(family, *port)?, none),
            (SetType::HashIpPortIp, [addr, port, other]) => {
                spec(hosts(family, *addr)?, ports(family, *port)?, host(family, *other)?)
            }
            (SetType::HashIpPortNet, [addr, port, net]) => {
                spec(hosts(family, *addr)?, ports(family, *port)?, network(family, *net)?)
            }
            (
                SetType::BitmapPort
                | SetType::BitmapIp
                | SetType::HashIp
                | SetType::HashNet
                | SetType::HashIpPort
                | SetType::HashNetPort
                | SetType::HashIpPortIp
                | SetType::HashIpPortNet
                | SetType::ListSet,
                _,
            ) => Err(expected()),
        }
    }

    /// True for the network of all addresses, which the kernel rejects (`IPSET_ERR_INVALID_CIDR`,
    /// `IPSET_ERR_HASH_RANGE`).
    pub(super) fn is_everything(&self, header: &Header) -> bool {
        let span = match header.set_type {
            SetType::HashNet | SetType::HashNetPort => self.first,
            SetType::HashIpPortNet => self.second,
            SetType::BitmapIp
            | SetType::BitmapPort
            | SetType::HashIp
            | SetType::HashIpPort
            | SetType::HashIpPortIp
            | SetType::ListSet => return false,
        };
        span.prefix == Some(0) || (span.from == 0 && span.to == u32::MAX.into() && span.prefix.is_none())
    }

    /// First and last address or port of a bitmap.
    pub(super) fn bounds(&self, header: &Header) -> (u32, u32) {
        if header.set_type == SetType::BitmapPort {
            (self.ports.range.first.into(), self.ports.range.last.into())
        } else {
            (low_half(self.first.from), low_half(self.first.to))
        }
    }

    /// Calls `each` with every element that it denotes, in the kernel's order, until one fails.
    pub(super) fn try_each<E>(
        &self,
        header: &Header,
        mut each: impl FnMut(Key) -> Result<(), E>,
    ) -> Result<(), E> {
        let first_is_network = matches!(header.set_type, SetType::HashNet | SetType::HashNetPort);
        let second_is_network = header.set_type == SetType::HashIpPortNet;
        let Ports { protocol, range: PortRange { first, last } } = self.ports;
        for (addr, first_prefix) in self.first.addresses(header, first_is_network) {
            for port in first..=last {
                for (second, second_prefix) in self.second.addresses(header, second_is_network) {
                    let prefix = first_prefix | second_prefix;
                    each(Key { addr, prefix, protocol, port, second })?;
                }
            }
        }
        Ok(())
    }
}

impl Span {
    const fn one(addr: u128) -> Self {
        Self { from: addr, to: addr, prefix: None }
    }

    /// The hosts it denotes, or networks with prefix lengths. With a netmask a host denotes its network; a bitmap
    /// starts at the first address, wherever that is in its network (`bitmap_ip_uadt`), other types at the network
    /// address.
    fn addresses(self, header: &Header, are_networks: bool) -> impl Iterator<Item = (u128, u8)> {
        let family = header.family().unwrap_or(Family::Ipv4);
        let width = keys::bits(family);
        let host_prefix = if self.is_nothing() { width } else { header.netmask().min(width) };
        let mask = keys::mask(family, host_prefix);
        let is_bitmap = header.set_type == SetType::BitmapIp;
        let mut next = Some(if is_bitmap { self.from } else { self.from & mask });
        std::iter::from_fn(move || {
            let addr = next.filter(|addr| *addr <= self.to)?;
            let prefix = match (are_networks, self.prefix, family) {
                (false, _, _) => host_prefix,
                (true, Some(prefix), _) => prefix,
                (true, None, Family::Ipv4) => keys::network_at(low_half(addr), low_half(self.to)),
                (true, None, Family::Ipv6 | Family::Bridge) => width,
            };
            next = addr.checked_add(!keys::mask(family, prefix)).and_then(|last| last.checked_add(1));
            Some((addr & mask, if are_networks { prefix } else { 0 }))
        })
    }

    /// A part that the type does not have.
    const fn is_nothing(self) -> bool {
        self.from == 0 && self.to == 0
    }
}

fn example(header: &Header) -> &'static str {
    let is_ipv4 = header.family() != Some(Family::Ipv6);
    match (header.set_type, is_ipv4) {
        (SetType::BitmapPort, _) => "80",
        (SetType::BitmapIp | SetType::HashIp, true) => "10.0.0.1",
        (SetType::BitmapIp | SetType::HashIp, false) => "fd00::1",
        (SetType::HashNet, true) => "10.0.0.0/24",
        (SetType::HashNet, false) => "fd00::/64",
        (SetType::HashIpPort, true) => "10.0.0.1,tcp:80",
        (SetType::HashIpPort, false) => "fd00::1,tcp:80",
        (SetType::HashNetPort, true) => "10.0.0.0/24,tcp:80",
        (SetType::HashNetPort, false) => "fd00::/64,tcp:80",
        (SetType::HashIpPortIp, true) => "10.0.0.1,tcp:80,10.0.0.2",
        (SetType::HashIpPortIp, false) => "fd00::1,tcp:80,fd00::2",
        (SetType::HashIpPortNet, true) => "10.0.0.1,tcp:80,10.0.0.0/24",
        (SetType::HashIpPortNet, false) => "fd00::1,tcp:80,fd00::/64",
        (SetType::ListSet, _) => "NAME",
    }
}

/// One address.
fn host(family: Family, value: Value<'_>) -> Parse<Span> {
    address(family, value).map(Span::one)
}

/// One address or, for IPv4, a network or range.
fn hosts(family: Family, value: Value<'_>) -> Parse<Span> {
    match family {
        Family::Ipv4 => Ok(match range_v4(value)? {
            Some((from, to)) => Span { from: from.into(), to: to.into(), prefix: None },
            None => host(family, value)?,
        }),
        Family::Ipv6 | Family::Bridge => match value.text.strip_suffix("/128") {
            Some(addr) => host(family, value.part(addr)),
            None => host(family, value),
        },
    }
}

/// A network, one address or, for IPv4, a range.
fn network(family: Family, value: Value<'_>) -> Parse<Span> {
    if let Some((addr, prefix)) = value.text.split_once('/') {
        let addr = address(family, value.part(addr))?;
        let prefix = value.part(prefix);
        let length = prefix_length(family, prefix)?;
        let from = addr & keys::mask(family, length);
        return Ok(Span { from, to: from | !keys::mask(family, length), prefix: Some(length) });
    }
    match family {
        Family::Ipv4 => match range_v4(value)? {
            Some((from, to)) => Ok(Span { from: from.into(), to: to.into(), prefix: None }),
            None => host(family, value),
        },
        Family::Ipv6 | Family::Bridge => host(family, value),
    }
}

/// `80`, `tcp:80`, `udp:53-60`, `icmp:echo-request`, `gre:0`; TCP by default.
///
/// Linux user space: `ipset_parse_proto_port`, lib/parse.c.
fn ports(family: Family, value: Value<'_>) -> Parse<Ports> {
    let Some((name, rest)) = value.text.split_once(':') else { return port_range(TCP, value) };
    let (name, rest) = (value.part(name), value.part(rest));
    let protocol = known_protocol(name)?;
    let icmp_family = match protocol {
        ICMP => Some(Family::Ipv4),
        ICMPV6 => Some(Family::Ipv6),
        _ => None,
    };
    if icmp_family.is_some_and(|needed| needed != family) {
        return Err(name.expected(format!("a protocol of family {}", family_name(family))));
    }
    match protocol {
        TCP | SCTP | UDP | UDPLITE => port_range(protocol, rest),
        ICMP | ICMPV6 => {
            let port = icmp::type_code(family, rest)?;
            Ok(Ports { protocol, range: PortRange::single(port) })
        }
        _ if number(rest.text) == Some(0) && !rest.text.is_empty() => {
            Ok(Ports { protocol, range: PortRange::single(0) })
        }
        _ => Err(rest.expected("0: the protocol has no ports")),
    }
}

/// A protocol by number or name, in lower or upper case.
fn known_protocol(name: Value<'_>) -> Parse<u8> {
    let expected = || name.expected("a protocol such as `tcp`, or its number");
    let is_lower = !name.text.contains(|letter: char| letter.is_ascii_uppercase());
    let is_upper = !name.text.contains(|letter: char| letter.is_ascii_lowercase());
    let found = protocol(name).ok().filter(|found| *found != 0 && (is_lower || is_upper));
    found.ok_or_else(expected)
}

fn port_range(protocol: u8, value: Value<'_>) -> Parse<Ports> {
    let range = PortRangeSyntax::IPSET.parse(value)?;
    Ok(Ports { protocol, range })
}

/// The ports of `bitmap:port`, which ignores a preceding protocol.
fn bitmap_ports(value: Value<'_>) -> Parse<Ports> {
    let Some((name, rest)) = value.text.split_once(':') else { return port_range(0, value) };
    let name = value.part(name);
    match known_protocol(name)? {
        TCP | UDP => port_range(0, value.part(rest)),
        _ => Err(name.expected("`tcp` or `udp`, or a port alone")),
    }
}

/// Appends an element in `ipset save` format.
pub(super) fn print(out: &mut String, header: &Header, key: &Key) {
    let family = header.family().unwrap_or(Family::Ipv4);
    let addr = |out: &mut String| print_addr(out, family, key.addr);
    let second = |out: &mut String| print_addr(out, family, key.second);
    let prefix = |out: &mut String| {
        if key.prefix != keys::bits(family) {
            _ = write!(out, "/{}", key.prefix);
        }
    };
    match header.set_type {
        SetType::BitmapPort => _ = write!(out, "{}", key.port),
        SetType::BitmapIp | SetType::HashIp => addr(out),
        SetType::HashNet => {
            addr(out);
            prefix(out);
        }
        SetType::HashIpPort => {
            addr(out);
            print_port(out, key);
        }
        SetType::HashNetPort => {
            addr(out);
            prefix(out);
            print_port(out, key);
        }
        SetType::HashIpPortIp => {
            addr(out);
            print_port(out, key);
            out.push(',');
            second(out);
        }
        SetType::HashIpPortNet => {
            addr(out);
            print_port(out, key);
            out.push(',');
            second(out);
            prefix(out);
        }
        SetType::ListSet => unreachable!("a list has no keys"),
    }
}

/// `,tcp:80`, `,icmp:echo-request`.
fn print_port(out: &mut String, key: &Key) {
    _ = match protocol_name(key.protocol) {
        Some(name) => write!(out, ",{name}:"),
        None => write!(out, ",{}:", key.protocol),
    };
    match key.protocol {
        ICMP => icmp::print(out, Family::Ipv4, key.port),
        ICMPV6 => icmp::print(out, Family::Ipv6, key.port),
        _ => _ = write!(out, "{}", key.port),
    }
}
