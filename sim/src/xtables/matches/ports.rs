//! `tcp`, `udp`, `sctp` and `multiport`.
//!
//! Linux: net/netfilter/xt_tcpudp.c, xt_sctp.c and xt_multiport.c; options: extensions/libxt_{tcp,udp,sctp,multiport}.c.

use super::MatchResult;
use crate::text::ports::{PortRange, PortRangeSyntax};
use crate::wire::protocol;
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::look::Look;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::ranged;
use smallvec::SmallVec;
use std::fmt::Write as _;

const SPORT: u8 = 0;
const DPORT: u8 = 1;
const TCP_FLAGS: u8 = 2;
const SYN: u8 = 3;
const TCP_OPTION: u8 = 4;

/// Source and destination ports, each optionally inverted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Ports {
    pub(in crate::xtables) src: PortRange,
    pub(in crate::xtables) dst: PortRange,
    pub(in crate::xtables) src_inverted: bool,
    pub(in crate::xtables) dst_inverted: bool,
}

impl Default for Ports {
    fn default() -> Self {
        Self { src: PortRange::ALL, dst: PortRange::ALL, src_inverted: false, dst_inverted: false }
    }
}

impl Ports {
    fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        if call.id == SPORT {
            (self.src, self.src_inverted) = (PortRangeSyntax::PORT.parse(call.value)?, call.is_inverted);
        } else {
            (self.dst, self.dst_inverted) = (PortRangeSyntax::PORT.parse(call.value)?, call.is_inverted);
        }
        Ok(())
    }

    fn print(&self, out: &mut String) {
        print_side(out, "sport", self.src, self.src_inverted);
        print_side(out, "dport", self.dst, self.dst_inverted);
    }

    const fn hold(&self, src: u16, dst: u16) -> bool {
        self.src.contains(src) != self.src_inverted && self.dst.contains(dst) != self.dst_inverted
    }

    /// The only destination port that can match, if there is one.
    pub(in crate::xtables) fn single_dst(&self) -> Option<u16> {
        (!self.dst_inverted && self.dst.is_single()).then_some(self.dst.first)
    }
}

fn print_side(out: &mut String, option: &str, range: PortRange, is_inverted: bool) {
    // The tool prints nothing for all ports, even if inverted, although the rule then never matches.
    if range == PortRange::ALL {
        return;
    }
    out.push_str(if is_inverted { " !" } else { "" });
    _ = write!(out, " --{option} ");
    PortRangeSyntax::PORT.print(out, range);
}

/// `-m tcp`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Tcp {
    pub(in crate::xtables) ports: Ports,
    flag_mask: u8,
    flag_value: u8,
    flags_inverted: bool,
    /// Zero is none.
    option: u8,
    option_inverted: bool,
}

/// In the tool's print order.
const FLAGS: [(&str, u8); 6] =
    [("FIN", 0x01), ("SYN", 0x02), ("RST", 0x04), ("PSH", 0x08), ("ACK", 0x10), ("URG", 0x20)];

impl Tcp {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::value("source-port", SPORT).invertible(),
        Opt::value("sport", SPORT).invertible(),
        Opt::value("destination-port", DPORT).invertible(),
        Opt::value("dport", DPORT).invertible(),
        Opt::flag("syn", SYN).invertible().excluding(1 << TCP_FLAGS),
        Opt::two_values("tcp-flags", TCP_FLAGS).invertible().excluding(1 << SYN),
        Opt::value("tcp-option", TCP_OPTION).invertible(),
    ];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        match call.id {
            SYN => {
                (self.flag_mask, self.flag_value, self.flags_inverted) = (0x17, 0x02, call.is_inverted);
            }
            TCP_FLAGS => {
                self.flag_mask = tcp_flags(call.value)?;
                self.flag_value = tcp_flags(call.second)?;
                self.flags_inverted = call.is_inverted;
            }
            TCP_OPTION => {
                self.option = u8::try_from(ranged(call.value, 1..=255)?).unwrap_or(u8::MAX);
                self.option_inverted = call.is_inverted;
            }
            _ => self.ports.set(call)?,
        }
        Ok(())
    }

    pub(super) fn print(&self, out: &mut String) {
        self.ports.print(out);
        if self.option != 0 {
            _ = write!(out, "{} --tcp-option {}", if self.option_inverted { " !" } else { "" }, self.option);
        }
        if self.flag_mask != 0 || self.flags_inverted {
            out.push_str(if self.flags_inverted { " ! --tcp-flags " } else { " --tcp-flags " });
            print_flags(out, self.flag_mask);
            out.push(' ');
            print_flags(out, self.flag_value);
        }
    }

    // Linux: tcp_mt, net/netfilter/xt_tcpudp.c
    pub(super) fn answer(&self, look: &Look<'_, '_, '_>) -> MatchResult {
        if look.fragment_offset() != 0 {
            // A fragment at offset 8 could overwrite the flags checked in the first one (RFC 1858).
            return if look.fragment_offset() == 8 { MatchResult::HotDrop } else { MatchResult::No };
        }
        let bytes = look.transport();
        let Some(header) = bytes.first_chunk::<20>() else { return MatchResult::HotDrop };
        if !self.ports.hold(port_at(bytes, 0), port_at(bytes, 2)) {
            return MatchResult::No;
        }
        if (header[13] & self.flag_mask == self.flag_value) == self.flags_inverted {
            return MatchResult::No;
        }
        if self.option == 0 {
            return MatchResult::Yes;
        }
        let header_len = usize::from(header[12] >> 4) * 4;
        bytes.get(20..header_len).map_or(MatchResult::HotDrop, |options| self.has_option(options))
    }

    // Linux: tcp_find_option, net/netfilter/xt_tcpudp.c
    fn has_option(&self, options: &[u8]) -> MatchResult {
        let mut at = 0;
        while let Some(kind) = options.get(at) {
            if *kind == self.option {
                return (!self.option_inverted).into();
            }
            at += match (*kind, options.get(at + 1)) {
                (0 | 1, _) => 1,
                (_, Some(length)) => usize::from(*length).max(1),
                (_, None) => 1,
            };
        }
        self.option_inverted.into()
    }

    /// True if only segments with SYN match.
    pub(in crate::xtables) const fn needs_syn(&self) -> bool {
        self.flag_value & 0x02 != 0 && !self.flags_inverted
    }

    pub(super) const fn reads_options(&self) -> bool {
        self.option != 0
    }
}

fn tcp_flags(value: crate::xtables::words::Value<'_>) -> Parse<u8> {
    let mut mask = 0;
    for part in value.split_commas().filter(|part| !part.text.is_empty()) {
        let known = FLAGS.iter().find(|(name, _)| name.eq_ignore_ascii_case(part.text)).map(|(_, bit)| *bit);
        mask |= match known {
            Some(bit) => bit,
            None if part.text.eq_ignore_ascii_case("ALL") => 0x3f,
            None if part.text.eq_ignore_ascii_case("NONE") => 0,
            None => return Err(part.expected("FIN, SYN, RST, PSH, ACK, URG, ALL or NONE")),
        };
    }
    Ok(mask)
}

fn print_flags(out: &mut String, mask: u8) {
    let mut separator = "";
    for (name, _) in FLAGS.iter().filter(|(_, bit)| mask & bit != 0) {
        _ = write!(out, "{separator}{name}");
        separator = ",";
    }
    if separator.is_empty() {
        out.push_str("NONE");
    }
}

fn port_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// `-m udp`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Udp {
    pub(in crate::xtables) ports: Ports,
}

const PORT_OPTIONS: &[Opt] = &[
    Opt::value("source-port", SPORT).invertible(),
    Opt::value("sport", SPORT).invertible(),
    Opt::value("destination-port", DPORT).invertible(),
    Opt::value("dport", DPORT).invertible(),
];

impl Udp {
    pub(super) const OPTIONS: &'static [Opt] = PORT_OPTIONS;

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        self.ports.set(call)
    }

    pub(super) fn print(&self, out: &mut String) {
        self.ports.print(out);
    }

    // Linux: udp_mt, net/netfilter/xt_tcpudp.c
    pub(super) fn answer(&self, look: &Look<'_, '_, '_>) -> MatchResult {
        ports_of(look, 8).map_or_else(|answer| answer, |(src, dst)| self.ports.hold(src, dst).into())
    }
}

/// `-m sctp`, without chunk types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Sctp {
    pub(in crate::xtables) ports: Ports,
}

impl Sctp {
    pub(super) const OPTIONS: &'static [Opt] = PORT_OPTIONS;

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        self.ports.set(call)
    }

    pub(super) fn print(&self, out: &mut String) {
        self.ports.print(out);
    }

    // Linux: sctp_mt, net/netfilter/xt_sctp.c
    pub(super) fn answer(&self, look: &Look<'_, '_, '_>) -> MatchResult {
        ports_of(look, 12).map_or_else(|answer| answer, |(src, dst)| self.ports.hold(src, dst).into())
    }
}

/// Source and destination port, or the result for a packet without them. The header needs `header_len` bytes.
fn ports_of(look: &Look<'_, '_, '_>, header_len: usize) -> Result<(u16, u16), MatchResult> {
    if look.fragment_offset() != 0 {
        return Err(MatchResult::No);
    }
    let bytes = look.transport();
    if bytes.len() < header_len {
        return Err(MatchResult::HotDrop);
    }
    Ok((port_at(bytes, 0), port_at(bytes, 2)))
}

/// The ports that `multiport` compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) enum PortSide {
    #[default]
    Source,
    Destination,
    Either,
}

/// `-m multiport`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Multiport {
    pub(in crate::xtables) side: PortSide,
    pub(in crate::xtables) is_inverted: bool,
    pub(in crate::xtables) ports: SmallVec<[PortRange; 4]>,
}

const SPORTS: u8 = 0;
const DPORTS: u8 = 1;
const PORTS: u8 = 2;

/// `XT_MULTI_PORTS`; a range takes two entries.
const MULTI_PORTS: usize = 15;

impl Multiport {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::value("source-ports", SPORTS).invertible().excluding(0b111),
        Opt::value("sports", SPORTS).invertible().excluding(0b111),
        Opt::value("destination-ports", DPORTS).invertible().excluding(0b111),
        Opt::value("dports", DPORTS).invertible().excluding(0b111),
        Opt::value("ports", PORTS).invertible().excluding(0b111),
    ];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        let (number, is_protocol_inverted) = call.protocol;
        let has_ports = matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP | 136 | 33);
        if is_protocol_inverted || !has_ports {
            return Err(Problem::new(
                RuleErrorKind::Syntax,
                call.value.at,
                "`-p tcp`, `-p udp`, `-p udplite`, `-p sctp` or `-p dccp` before the ports",
                "another protocol, or none",
            ));
        }
        self.side = match call.id {
            SPORTS => PortSide::Source,
            DPORTS => PortSide::Destination,
            _ => PortSide::Either,
        };
        self.is_inverted = call.is_inverted;
        let mut places = 0;
        for part in call.value.split_commas() {
            let range = PortRangeSyntax::MULTIPORT.parse(part)?;
            places += if range.is_single() { 1 } else { 2 };
            if places > MULTI_PORTS {
                return Err(part.expected("at most 15 ports, where a range counts twice"));
            }
            self.ports.push(range);
        }
        Ok(())
    }

    pub(super) fn finish(self: Box<Self>, seen: u32, at: usize) -> Parse<Box<Self>> {
        if seen == 0 {
            return Err(Problem::new(
                RuleErrorKind::Syntax,
                at,
                "`--sports`, `--dports` or `--ports`",
                "none",
            ));
        }
        Ok(self)
    }

    pub(super) fn print(&self, out: &mut String) {
        out.push_str(if self.is_inverted { " !" } else { "" });
        out.push_str(match self.side {
            PortSide::Source => " --sports ",
            PortSide::Destination => " --dports ",
            PortSide::Either => " --ports ",
        });
        for (index, range) in self.ports.iter().enumerate() {
            out.push_str(if index == 0 { "" } else { "," });
            PortRangeSyntax::MULTIPORT.print(out, *range);
        }
    }

    /// The only destination ports that can match, if there are no ranges.
    pub(super) fn single_dsts(&self) -> Option<SmallVec<[u16; 4]>> {
        if self.side != PortSide::Destination || self.is_inverted {
            return None;
        }
        let single = |range: &PortRange| range.is_single().then_some(range.first);
        let mut ports: SmallVec<[u16; 4]> = self.ports.iter().map(single).collect::<Option<_>>()?;
        ports.sort_unstable();
        ports.dedup();
        Some(ports)
    }

    // Linux: multiport_mt, net/netfilter/xt_multiport.c
    pub(super) fn answer(&self, look: &Look<'_, '_, '_>) -> MatchResult {
        ports_of(look, 4).map_or_else(
            |answer| answer,
            |(src, dst)| {
                let holds = |range: &PortRange| match self.side {
                    PortSide::Source => range.contains(src),
                    PortSide::Destination => range.contains(dst),
                    PortSide::Either => range.contains(src) || range.contains(dst),
                };
                (self.ports.iter().any(holds) != self.is_inverted).into()
            },
        )
    }
}
