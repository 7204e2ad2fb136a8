//! Parses option values: numbers, ports, addresses, protocols, marks.

use super::error::Parse;
use super::words::Value;
use crate::hook::Family;
pub(super) use crate::text::value::{number, protocol, protocol_name, ranged};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) fn any_u32(value: Value<'_>) -> Parse<u32> {
    ranged(value, 0..=u32::MAX)
}

/// `MARK` or `MARK/MASK`; the default mask is all ones.
pub(super) fn mark_mask(value: Value<'_>) -> Parse<(u32, u32)> {
    let (mark, mask) = match value.text.split_once('/') {
        Some((mark, mask)) => (any_u32(value.part(mark)), any_u32(value.part(mask))),
        None => (any_u32(value), Ok(u32::MAX)),
    };
    match (mark, mask) {
        (Ok(mark), Ok(mask)) => Ok((mark, mask)),
        (Err(_), _) | (_, Err(_)) => Err(value.expected("a 32-bit number, or two of them as MARK/MASK")),
    }
}

/// ` 0x4000/0x4000`; a mask of all ones is omitted (`xtables_print_mark_mask`).
pub(super) fn print_mark_mask(out: &mut String, mark: u32, mask: u32) {
    _ = if mask == u32::MAX { write!(out, " 0x{mark:x}") } else { write!(out, " 0x{mark:x}/0x{mask:x}") };
}

/// An address and its mask.
///
/// IPv6 is boxed: the rules of one family contain a hundred thousand of these, most of them IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AddrMask {
    /// Any address; the default without the option.
    Any,
    /// Bits outside the mask are zero, else no address matches.
    V4 { addr: u32, mask: u32 },
    /// Like IPv4: address and mask.
    V6(Box<(u128, u128)>),
}

impl AddrMask {
    /// The address, if it is a single IPv4 address.
    pub(super) const fn single_v4(&self) -> Option<u32> {
        match self {
            Self::V4 { addr, mask: u32::MAX } => Some(*addr),
            Self::Any | Self::V4 { .. } | Self::V6(_) => None,
        }
    }

    pub(super) fn contains(&self, addr: std::net::IpAddr) -> bool {
        match (self, addr) {
            (Self::Any, _) => true,
            (Self::V4 { addr: wanted, mask }, std::net::IpAddr::V4(addr)) => addr.to_bits() & mask == *wanted,
            (Self::V6(wanted), std::net::IpAddr::V6(addr)) => addr.to_bits() & wanted.1 == wanted.0,
            (Self::V4 { .. }, std::net::IpAddr::V6(_)) | (Self::V6(_), std::net::IpAddr::V4(_)) => false,
        }
    }
}

/// `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `10/8`, `fd00::/8`; without a mask, a single address.
///
/// Linux: `ipparse_hostnetworkmask` and `ip6parse_hostnetworkmask`, libxtables/xtables.c. Host names are rejected,
/// because they need a resolver.
pub(super) fn addr_mask(family: Family, value: Value<'_>) -> Parse<AddrMask> {
    Ok(match uncut_addr_mask(family, value)? {
        AddrMask::Any => AddrMask::Any,
        AddrMask::V4 { addr, mask } => AddrMask::V4 { addr: addr & mask, mask },
        AddrMask::V6(pair) => AddrMask::V6(Box::new((pair.0 & pair.1, pair.1))),
    })
}

/// Like [`addr_mask`], but bits outside the mask stay, so that no address matches (`XTTYPE_HOSTMASK`,
/// libxtables/xtoptions.c).
pub(super) fn uncut_addr_mask(family: Family, value: Value<'_>) -> Parse<AddrMask> {
    let (addr, mask) = match value.text.split_once('/') {
        Some((addr, mask)) => (value.part(addr), Some(value.part(mask))),
        None => (value, None),
    };
    match family {
        Family::Ipv4 => {
            let mask = mask.map_or(Ok(u32::MAX), mask_v4)?;
            Ok(AddrMask::V4 { addr: addr_v4(addr)?.to_bits(), mask })
        }
        Family::Ipv6 | Family::Bridge => {
            let mask = mask.map_or(Ok(u128::MAX), mask_v6)?;
            Ok(AddrMask::V6(Box::new((addr_v6(addr)?.to_bits(), mask))))
        }
    }
}

/// Up to four numbers separated by dots; missing ones are zero (`numeric_to_ipaddr`, libxtables/xtables.c).
pub(super) fn addr_v4(value: Value<'_>) -> Parse<Ipv4Addr> {
    let mut octets = [0; 4];
    for (index, part) in value.text.split('.').enumerate() {
        let octet = number(part).and_then(|read| u8::try_from(read).ok());
        match (octets.get_mut(index), octet) {
            (Some(place), Some(octet)) => *place = octet,
            (None, _) | (_, None) => return Err(bad_addr(value, "an IPv4 address")),
        }
    }
    Ok(octets.into())
}

fn addr_v6(value: Value<'_>) -> Parse<Ipv6Addr> {
    value.text.parse().map_err(|_| bad_addr(value, "an IPv6 address"))
}

fn bad_addr(value: Value<'_>, expected: &'static str) -> Box<super::error::Problem> {
    let problem = value.expected(expected);
    let is_name =
        value.text.starts_with(|first: char| first.is_ascii_alphabetic()) && !value.text.contains(':');
    if is_name { problem.help("host names need a resolver; use the address") } else { problem }
}

fn mask_v4(value: Value<'_>) -> Parse<u32> {
    let dotted = || {
        let mask = value.text.parse::<Ipv4Addr>().ok()?;
        Some(mask.to_bits())
    };
    let length = number(value.text).and_then(|read| u32::try_from(read).ok()).filter(|length| *length <= 32);
    length
        .map(|length| u32::MAX.checked_shl(32 - length).unwrap_or(0))
        .or_else(dotted)
        .ok_or_else(|| value.expected("a prefix length from 0 to 32, or a mask such as 255.255.255.0"))
}

fn mask_v6(value: Value<'_>) -> Parse<u128> {
    let length = number(value.text).and_then(|read| u32::try_from(read).ok()).filter(|length| *length <= 128);
    length
        .map(|length| u128::MAX.checked_shl(128 - length).unwrap_or(0))
        .or_else(|| value.text.parse::<Ipv6Addr>().ok().map(Ipv6Addr::to_bits))
        .ok_or_else(|| value.expected("a prefix length from 0 to 128, or a mask"))
}

/// ` ! -s 10.0.0.0/8`; nothing for any address.
pub(super) fn print_addr_mask(out: &mut String, option: &str, addr: &AddrMask, is_inverted: bool) {
    let not = if is_inverted { " !" } else { "" };
    match addr {
        AddrMask::Any => {}
        // The tool does not distinguish "any address" from no option (`save_ipv4_addr`, iptables/xshared.c).
        AddrMask::V4 { addr: 0, mask: 0 } if !is_inverted => {}
        AddrMask::V4 { addr, mask } => {
            _ = write!(out, "{not} {option} {}/", Ipv4Addr::from_bits(*addr));
            _ = match mask.leading_ones() {
                length if mask.count_ones() == length => write!(out, "{length}"),
                _ => write!(out, "{}", Ipv4Addr::from_bits(*mask)),
            };
        }
        AddrMask::V6(pair) if **pair == (0, 0) && !is_inverted => {}
        AddrMask::V6(pair) => {
            let (addr, mask) = **pair;
            _ = write!(out, "{not} {option} {}/", Ipv6Addr::from_bits(addr));
            _ = match mask.leading_ones() {
                length if mask.count_ones() == length => write!(out, "{length}"),
                _ => write!(out, "{}", Ipv6Addr::from_bits(mask)),
            };
        }
    }
}

/// `10.96.0.1`, `10.0.0.0/8`: a mask of all ones is omitted (`xtables_ipmask_to_numeric`, libxtables/xtables.c).
pub(super) fn print_mask(out: &mut String, addr: &AddrMask) {
    let mut text = String::new();
    print_addr_mask(&mut text, "", addr, true);
    let text = text.trim_start_matches([' ', '!']);
    let is_single = match addr {
        AddrMask::Any => false,
        AddrMask::V4 { mask, .. } => *mask == u32::MAX,
        AddrMask::V6(pair) => pair.1 == u128::MAX,
    };
    out.push_str(if is_single { text.split_once('/').map_or(text, |(addr, _)| addr) } else { text });
}

/// Parses an IPv4 address without a mask, like `inet_pton`.
pub(super) fn plain_v4(value: Value<'_>) -> Parse<Ipv4Addr> {
    value.text.parse().map_err(|_| bad_addr(value, "an IPv4 address"))
}

/// Like [`plain_v4`], for IPv6.
pub(super) fn plain_v6(value: Value<'_>) -> Parse<Ipv6Addr> {
    addr_v6(value)
}

/// True if `text` is a prefix of `name`, ignoring case, like `strncasecmp` with the length of `text`. The tool accepts
/// the empty text as a prefix; this function does not.
pub(super) fn is_beginning_of(text: &str, name: &str) -> bool {
    !text.is_empty() && name.get(..text.len()).is_some_and(|head| head.eq_ignore_ascii_case(text))
}

/// Appends a string, quoted unless it consists of letters, digits, `_` and `-` (`xtables_save_string`,
/// libxtables/xtables.c).
pub(super) fn print_string(out: &mut String, text: &str) {
    out.push(' ');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !text.is_empty() && text.bytes().all(is_plain) {
        out.push_str(text);
        return;
    }
    print_quoted(out, text);
}

/// Prints a device name so that it reads back as one word.
///
/// The real tools print it as it is, and then cannot read a name with a space back. They only warn about such a name, which
/// no device can have (`dev_valid_name`, net/core/dev.c).
pub(super) fn print_device_name(out: &mut String, name: &str) {
    out.push(' ');
    if name.contains(|letter: char| letter.is_whitespace() || matches!(letter, '"' | '\\' | '\'')) {
        print_quoted(out, name);
    } else {
        out.push_str(name);
    }
}

fn print_quoted(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\' | '\'') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
}

/// A device name or pattern in a rule; a trailing `+` matches any suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeviceMatch {
    pub(super) name: Box<str>,
    pub(super) is_inverted: bool,
}

impl DeviceMatch {
    /// Linux: `ifname_compare_aligned`, include/linux/netfilter/x_tables.h. A missing device has the empty name.
    pub(super) fn matches(&self, device: &str) -> bool {
        name_matches(&self.name, device) != self.is_inverted
    }
}

/// True if a device name equals the pattern, or begins with it if it ends in `+`.
pub(super) fn name_matches(pattern: &str, device: &str) -> bool {
    pattern.strip_suffix('+').map_or_else(|| pattern == device, |head| device.starts_with(head))
}

/// A device name or pattern of at most 15 bytes (`xtables_parse_interface`, libxtables/xtables.c).
pub(super) fn device_name(value: Value<'_>) -> Parse<&str> {
    if value.text.is_empty() || value.text.len() > 15 {
        return Err(value.expected("a device name of 1 to 15 bytes"));
    }
    Ok(value.text)
}
