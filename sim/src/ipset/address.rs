//! Parses addresses in elements and in the options of `create`.

use super::keys;
use crate::hook::Family;
use crate::text::error::Parse;
use crate::text::value::{number, ranged};
use crate::text::words::Value;
use std::net::Ipv6Addr;

/// The name of a family after `family`.
pub(super) const fn family_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "inet",
        Family::Ipv6 | Family::Bridge => "inet6",
    }
}

/// `10.0.0.0/24` or `10.0.0.0-10.0.0.255`, in either order; `None` for anything else.
pub(super) fn range_v4(value: Value<'_>) -> Parse<Option<(u32, u32)>> {
    let number = |text| address(Family::Ipv4, value.part(text)).map(low_half);
    if let Some((addr, prefix)) = value.text.split_once('/') {
        let hosts = !keys::mask(Family::Ipv4, prefix_length(Family::Ipv4, value.part(prefix))?);
        let (addr, hosts) = (number(addr)?, low_half(hosts));
        return Ok(Some((addr & !hosts, addr | hosts)));
    }
    let Some((from, to)) = value.text.split_once('-') else { return Ok(None) };
    let (from, to) = (number(from)?, number(to)?);
    Ok(Some((from.min(to), from.max(to))))
}

pub(super) fn prefix_length(family: Family, value: Value<'_>) -> Parse<u8> {
    let width = keys::bits(family);
    Ok(u8::try_from(ranged(value, 0..=width.into())?).unwrap_or(width))
}

/// An address, optionally in brackets. Host names are rejected: they depend on a resolver.
pub(super) fn address(family: Family, value: Value<'_>) -> Parse<u128> {
    let inner = value.text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(value.text);
    let (addr, expected) = match family {
        Family::Ipv4 => (addr_v4(inner).map(u128::from), "an IPv4 address"),
        Family::Ipv6 | Family::Bridge => (inner.parse().ok().map(Ipv6Addr::to_bits), "an IPv6 address"),
    };
    addr.ok_or_else(|| {
        let problem = value.expected(expected);
        let is_name = inner.starts_with(|first: char| first.is_ascii_alphabetic()) && !inner.contains(':');
        if is_name { problem.help("host names depend on a resolver; use the address") } else { problem }
    })
}

/// Up to four numbers separated by dots; the last one fills the rest (`inet_aton`).
fn addr_v4(text: &str) -> Option<u32> {
    let parts: Vec<u64> = text.split('.').map(number_of_addr).collect::<Option<_>>()?;
    let (last, heads) = parts.split_last()?;
    let left = 32_u32.checked_sub(8 * u32::try_from(heads.len()).ok()?).filter(|left| *left > 0)?;
    let is_in_range = heads.iter().all(|head| *head < 256) && *last < 1 << left;
    let high = heads.iter().fold(0, |high, head| high << 8 | head);
    u32::try_from(high << left | last).ok().filter(|_| is_in_range)
}

fn number_of_addr(text: &str) -> Option<u64> {
    if text.is_empty() { None } else { number(text) }
}

pub(super) fn low_half(addr: u128) -> u32 {
    u32::try_from(addr & u128::from(u32::MAX)).unwrap_or_default()
}
