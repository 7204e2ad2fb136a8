//! `icmp` and `icmp6` (net/netfilter/xt_tcpudp.c, before v6.6 net/ipv4/netfilter/ip_tables.c).

use super::MatchResult;
use crate::xtables::error::Parse;
use crate::xtables::look::Look;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::{is_beginning_of, number};
use crate::xtables::words::Value;
use std::fmt::Write as _;

/// `--icmp-type TYPE/CODE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Icmp {
    is_v6: bool,
    /// 255 is any, for IPv4.
    icmp_type: u8,
    first_code: u8,
    last_code: u8,
    is_inverted: bool,
}

const OPTIONS: &[Opt] = &[Opt::value("icmp-type", 0).invertible().mandatory()];
const OPTIONS_V6: &[Opt] = &[Opt::value("icmpv6-type", 0).invertible().mandatory()];

/// A name with its type and codes.
type Name = (&'static str, u8, u8, u8);

/// Linux user space: `icmp_codes`, extensions/libxt_icmp.h.
const NAMES: &[Name] = &[
    ("any", 255, 0, 255),
    ("echo-reply", 0, 0, 255),
    ("pong", 0, 0, 255),
    ("destination-unreachable", 3, 0, 255),
    ("network-unreachable", 3, 0, 0),
    ("host-unreachable", 3, 1, 1),
    ("protocol-unreachable", 3, 2, 2),
    ("port-unreachable", 3, 3, 3),
    ("fragmentation-needed", 3, 4, 4),
    ("source-route-failed", 3, 5, 5),
    ("network-unknown", 3, 6, 6),
    ("host-unknown", 3, 7, 7),
    ("network-prohibited", 3, 9, 9),
    ("host-prohibited", 3, 10, 10),
    ("TOS-network-unreachable", 3, 11, 11),
    ("TOS-host-unreachable", 3, 12, 12),
    ("communication-prohibited", 3, 13, 13),
    ("host-precedence-violation", 3, 14, 14),
    ("precedence-cutoff", 3, 15, 15),
    ("source-quench", 4, 0, 255),
    ("redirect", 5, 0, 255),
    ("network-redirect", 5, 0, 0),
    ("host-redirect", 5, 1, 1),
    ("TOS-network-redirect", 5, 2, 2),
    ("TOS-host-redirect", 5, 3, 3),
    ("echo-request", 8, 0, 255),
    ("ping", 8, 0, 255),
    ("router-advertisement", 9, 0, 255),
    ("router-solicitation", 10, 0, 255),
    ("time-exceeded", 11, 0, 255),
    ("ttl-exceeded", 11, 0, 255),
    ("ttl-zero-during-transit", 11, 0, 0),
    ("ttl-zero-during-reassembly", 11, 1, 1),
    ("parameter-problem", 12, 0, 255),
    ("ip-header-bad", 12, 0, 0),
    ("required-option-missing", 12, 1, 1),
    ("timestamp-request", 13, 0, 255),
    ("timestamp-reply", 14, 0, 255),
    ("address-mask-request", 17, 0, 255),
    ("address-mask-reply", 18, 0, 255),
];

/// Linux user space: `icmpv6_codes`, extensions/libxt_icmp.h.
const NAMES_V6: &[Name] = &[
    ("destination-unreachable", 1, 0, 255),
    ("no-route", 1, 0, 0),
    ("communication-prohibited", 1, 1, 1),
    ("beyond-scope", 1, 2, 2),
    ("address-unreachable", 1, 3, 3),
    ("port-unreachable", 1, 4, 4),
    ("failed-policy", 1, 5, 5),
    ("reject-route", 1, 6, 6),
    ("packet-too-big", 2, 0, 255),
    ("time-exceeded", 3, 0, 255),
    ("ttl-exceeded", 3, 0, 255),
    ("ttl-zero-during-transit", 3, 0, 0),
    ("ttl-zero-during-reassembly", 3, 1, 1),
    ("parameter-problem", 4, 0, 255),
    ("bad-header", 4, 0, 0),
    ("unknown-header-type", 4, 1, 1),
    ("unknown-option", 4, 2, 2),
    ("echo-request", 128, 0, 255),
    ("ping", 128, 0, 255),
    ("echo-reply", 129, 0, 255),
    ("pong", 129, 0, 255),
    ("router-solicitation", 133, 0, 255),
    ("router-advertisement", 134, 0, 255),
    ("neighbour-solicitation", 135, 0, 255),
    ("neighbor-solicitation", 135, 0, 255),
    ("neighbour-advertisement", 136, 0, 255),
    ("neighbor-advertisement", 136, 0, 255),
    ("redirect", 137, 0, 255),
];

impl Icmp {
    pub(super) const fn new(is_v6: bool) -> Self {
        Self { is_v6, icmp_type: 255, first_code: 0, last_code: 255, is_inverted: false }
    }

    pub(super) const fn name(&self) -> &'static str {
        if self.is_v6 { "icmp6" } else { "icmp" }
    }

    /// The protocol that the kernel requires for the match.
    pub(super) const fn protocol_name(&self) -> &'static str {
        if self.is_v6 { "ipv6-icmp" } else { "icmp" }
    }

    pub(super) const fn options(&self) -> &'static [Opt] {
        if self.is_v6 { OPTIONS_V6 } else { OPTIONS }
    }

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        self.is_inverted = call.is_inverted;
        let names = if self.is_v6 { NAMES_V6 } else { NAMES };
        let (icmp_type, first, last) = match by_name(names, call.value)? {
            Some(found) => found,
            None => by_number(call.value)?,
        };
        (self.icmp_type, self.first_code, self.last_code) = (icmp_type, first, last);
        Ok(())
    }

    pub(super) fn print(&self, out: &mut String) {
        out.push_str(if self.is_inverted { " !" } else { "" });
        out.push_str(if self.is_v6 { " --icmpv6-type " } else { " --icmp-type " });
        if self.icmp_type == 255 && !self.is_v6 {
            out.push_str("any");
            return;
        }
        _ = write!(out, "{}", self.icmp_type);
        // The tool prints only the first code of a range.
        if (self.first_code, self.last_code) != (0, 255) {
            _ = write!(out, "/{}", self.first_code);
        }
    }

    // Linux: icmp_match and icmp_type_code_match, net/netfilter/xt_tcpudp.c
    pub(super) fn answer(&self, look: &Look<'_, '_, '_>) -> MatchResult {
        if look.fragment_offset() != 0 {
            return MatchResult::No;
        }
        let Some(header) = look.transport().first_chunk::<8>() else { return MatchResult::HotDrop };
        let is_any = self.icmp_type == 255 && !self.is_v6;
        let has_code = (self.first_code..=self.last_code).contains(&header[1]);
        ((is_any || (header[0] == self.icmp_type && has_code)) != self.is_inverted).into()
    }
}

fn by_name(names: &[Name], value: Value<'_>) -> Parse<Option<(u8, u8, u8)>> {
    let mut fitting = names.iter().filter(|(name, ..)| is_beginning_of(value.text, name));
    match (fitting.next(), fitting.next()) {
        (Some((first, ..)), Some((second, ..))) => {
            Err(value.expected("one ICMP type").help(format!("it could be `{first}` or `{second}`")))
        }
        (Some((_, icmp_type, first_code, last_code)), None) => {
            Ok(Some((*icmp_type, *first_code, *last_code)))
        }
        (None, _) => Ok(None),
    }
}

fn by_number(value: Value<'_>) -> Parse<(u8, u8, u8)> {
    let byte = |text: &str| number(text).and_then(|read| u8::try_from(read).ok());
    let (icmp_type, code) = match value.text.split_once('/') {
        None => (byte(value.text), Some((0, 255))),
        Some((icmp_type, codes)) => {
            let codes = match codes.split_once(':') {
                None => byte(codes).map(|code| (code, code)),
                Some((first, last)) => byte(first).zip(byte(last)),
            };
            (byte(icmp_type), codes)
        }
    };
    match (icmp_type, code) {
        (Some(icmp_type), Some((first, last))) => Ok((icmp_type, first, last)),
        (None, _) | (_, None) => {
            Err(value.expected("the name of an ICMP type, or TYPE or TYPE/CODE in numbers"))
        }
    }
}
