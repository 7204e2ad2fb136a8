//! Names of ICMP messages, which take the place of ports.

use crate::hook::Family;
use crate::text::error::Parse;
use crate::text::value::ranged;
use crate::text::words::Value;
use std::fmt::Write as _;

/// Name, type and code; if there are several names, the first is printed. `ipset help hash:ip,port` lists them,
/// including misspellings.
const ICMP: &[(&str, u8, u8)] = &[
    ("echo-reply", 0, 0),
    ("pong", 0, 0),
    ("network-unreachable", 3, 0),
    ("host-unreachable", 3, 1),
    ("protocol-unreachable", 3, 2),
    ("port-unreachable", 3, 3),
    ("fragmentation-needed", 3, 4),
    ("source-route-failed", 3, 5),
    ("network-unknown", 3, 6),
    ("host-unknown", 3, 7),
    ("network-prohibited", 3, 9),
    ("host-prohibited", 3, 10),
    ("TOS-network-unreachable", 3, 11),
    ("TOS-host-unreachable", 3, 12),
    ("communication-prohibited", 3, 13),
    ("host-precedence-violation", 3, 14),
    ("precedence-cutoff", 3, 15),
    ("source-quench", 4, 0),
    ("network-redirect", 5, 0),
    ("host-redirect", 5, 1),
    ("TOS-network-redirect", 5, 2),
    ("TOS-host-redirect", 5, 3),
    ("echo-request", 8, 0),
    ("ping", 8, 0),
    ("router-advertisement", 9, 0),
    ("router-solicitation", 10, 0),
    ("ttl-zero-during-transit", 11, 0),
    ("ttl-zero-during-reassembly", 11, 1),
    ("ip-header-bad", 12, 0),
    ("required-option-missing", 12, 1),
    ("timestamp-request", 13, 0),
    ("timestamp-reply", 14, 0),
    ("address-mask-request", 17, 0),
    ("address-mask-reply", 18, 0),
];

/// Like [`ICMP`], for ICMPv6.
const ICMPV6: &[(&str, u8, u8)] = &[
    ("no-route", 1, 0),
    ("communication-prohibited", 1, 1),
    ("address-unreachable", 1, 3),
    ("port-unreachable", 1, 4),
    ("packet-too-big", 2, 0),
    ("ttl-zero-during-transit", 3, 0),
    ("ttl-zero-during-reassembly", 3, 1),
    ("bad-header", 4, 0),
    ("unknown-header-type", 4, 1),
    ("unknown-option", 4, 2),
    ("echo-request", 128, 0),
    ("ping", 128, 0),
    ("echo-reply", 129, 0),
    ("pong", 129, 0),
    ("router-solicitation", 133, 0),
    ("router-advertisement", 134, 0),
    ("neighbour-solicitation", 135, 0),
    ("neigbour-solicitation", 135, 0),
    ("neighbour-advertisement", 136, 0),
    ("neigbour-advertisement", 136, 0),
    ("redirect", 137, 0),
];

const fn names(family: Family) -> &'static [(&'static str, u8, u8)] {
    match family {
        Family::Ipv4 => ICMP,
        Family::Ipv6 | Family::Bridge => ICMPV6,
    }
}

/// `echo-request` or `8/0`, as the port number that the kernel uses for it.
pub(super) fn type_code(family: Family, value: Value<'_>) -> Parse<u16> {
    if let Some((_, icmp_type, code)) = names(family).iter().find(|(name, ..)| *name == value.text) {
        return Ok(u16::from_be_bytes([*icmp_type, *code]));
    }
    let Some((icmp_type, code)) = value.text.split_once('/') else {
        return Err(value.expected("an ICMP message such as `echo-request`, or type and code such as `8/0`"));
    };
    let octet = |text| {
        let value = value.part(text);
        if value.text.is_empty() {
            Err(value.expected("a number from 0 to 255"))
        } else {
            ranged(value, 0..=255)
        }
    };
    let port = octet(icmp_type)? << 8 | octet(code)?;
    Ok(u16::try_from(port).unwrap_or_default())
}

/// Appends the name of a message, or its type and code.
pub(super) fn print(out: &mut String, family: Family, port: u16) {
    let [icmp_type, code] = port.to_be_bytes();
    let named =
        names(family).iter().find(|(_, named_type, named)| (*named_type, *named) == (icmp_type, code));
    _ = match named {
        Some((name, ..)) => write!(out, "{name}"),
        None => write!(out, "{icmp_type}/{code}"),
    };
}
