//! Numbers and protocols, as the tools parse them.

use super::error::Parse;
use super::words::Value;
use std::ops::RangeInclusive;

/// A number as parsed by `strtoul` with base 0: decimal, `0x` hexadecimal or `0` octal; `None` if characters are left
/// over.
///
/// Linux: `xtables_strtoul`, libxtables/xtables.c.
pub(crate) fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    // `from_str_radix` accepts a sign, which the tool does not.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, radix).ok())?
}

/// A decimal number within a range, as written to a sysctl; otherwise what was expected.
///
/// Linux: `proc_dointvec_minmax`, kernel/sysctl.c.
pub(crate) fn decimal(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let expected = || format!("a number from {} to {}", range.start(), range.end());
    text.trim().parse().ok().filter(|number| range.contains(number)).ok_or_else(expected)
}

/// A number within a range.
pub(crate) fn ranged(value: Value<'_>, range: RangeInclusive<u32>) -> Parse<u32> {
    number(value.text)
        .and_then(|read| u32::try_from(read).ok())
        .filter(|read| range.contains(read))
        .ok_or_else(|| value.expected(format!("a number from {} to {}", range.start(), range.end())))
}

/// A port number.
pub(crate) fn port(value: Value<'_>) -> Parse<u16> {
    number(value.text).and_then(|read| u16::try_from(read).ok()).ok_or_else(|| {
        let problem = value.expected("a port number from 0 to 65535");
        let is_name = value.text.starts_with(|first: char| first.is_ascii_alphabetic());
        if is_name { problem.help("service names depend on /etc/services; use the number") } else { problem }
    })
}

/// Names of protocol numbers, as in Debian's /etc/protocols; accepted by `-p` and printed by `iptables-save`.
const PROTOCOLS: &[(&str, u8)] = &[
    ("all", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ggp", 3),
    ("ipencap", 4),
    ("st", 5),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("pup", 12),
    ("udp", 17),
    ("hmp", 20),
    ("xns-idp", 22),
    ("rdp", 27),
    ("iso-tp4", 29),
    ("dccp", 33),
    ("xtp", 36),
    ("ddp", 37),
    ("idpr-cmtp", 38),
    ("ipv6", 41),
    ("ipv6-route", 43),
    ("ipv6-frag", 44),
    ("idrp", 45),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("skip", 57),
    ("ipv6-icmp", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("rspf", 73),
    ("vmtp", 81),
    ("eigrp", 88),
    ("ospf", 89),
    ("ax.25", 93),
    ("ipip", 94),
    ("etherip", 97),
    ("encap", 98),
    ("pim", 103),
    ("ipcomp", 108),
    ("vrrp", 112),
    ("l2tp", 115),
    ("isis", 124),
    ("sctp", 132),
    ("fc", 133),
    ("mobility-header", 135),
    ("udplite", 136),
    ("mpls-in-ip", 137),
    ("manet", 138),
    ("hip", 139),
    ("shim6", 140),
    ("wesp", 141),
    ("rohc", 142),
    ("ethernet", 143),
    // Additional names of the tool's own list (`xtables_chain_protos`, libxtables/xtables.c).
    ("icmpv6", 58),
    ("ipv6-mh", 135),
    ("mh", 135),
];

/// A protocol by number or case-insensitive name.
pub(crate) fn protocol(value: Value<'_>) -> Parse<u8> {
    let by_number = || number(value.text).and_then(|read| u8::try_from(read).ok());
    PROTOCOLS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(value.text))
        .map(|(_, number)| *number)
        .or_else(by_number)
        .ok_or_else(|| value.expected("a protocol name or a number from 0 to 255"))
}

/// The name of a protocol, if any.
pub(crate) fn protocol_name(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}
