//! Matches on single header fields: `length`, `ttl`, `tos`, `dscp`, `mac`, `pkttype`.

use crate::device::DeviceKind;
use crate::hook::Hook;
use crate::packet::PacketType;
use crate::wire::{Ethernet, MacAddr};
use crate::xtables::chain::HookMask;
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::look::Look;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::{number, ranged};
use crate::xtables::words::Value;
use std::fmt::Write as _;

const fn not(is_inverted: bool) -> &'static str {
    if is_inverted { " !" } else { "" }
}

fn byte(value: Value<'_>, max: u32) -> Parse<u8> {
    ranged(value, 0..=max).map(|read| u8::try_from(read).unwrap_or(u8::MAX))
}

/// `-m length` (net/netfilter/xt_length.c): length of the IP packet in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Length {
    first: u16,
    last: u16,
    is_inverted: bool,
}

impl Length {
    pub(super) const OPTIONS: &'static [Opt] = &[Opt::value("length", 0).invertible().mandatory()];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        let bound = |text: &str, default: u16| match text {
            "" => Some(default),
            text => number(text).and_then(|read| u16::try_from(read).ok()),
        };
        let range = match call.value.text.split_once(':') {
            None => bound(call.value.text, 0).map(|only| (only, only)),
            Some((first, last)) => bound(first, 0).zip(bound(last, u16::MAX)),
        };
        (self.first, self.last) =
            range.ok_or_else(|| call.value.expected("a length in bytes, or a range such as `100:200`"))?;
        self.is_inverted = call.is_inverted;
        Ok(())
    }

    pub(super) fn print(&self, out: &mut String) {
        _ = write!(out, "{} --length {}", not(self.is_inverted), self.first);
        if self.first != self.last {
            _ = write!(out, ":{}", self.last);
        }
    }

    pub(super) fn holds(&self, look: &Look<'_, '_, '_>) -> bool {
        (u32::from(self.first)..=u32::from(self.last)).contains(&look.headers.total_len) != self.is_inverted
    }
}

/// How `ttl` compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TtlMode {
    #[default]
    Equal,
    NotEqual,
    Below,
    Above,
}

/// `-m ttl` (net/netfilter/xt_hl.c).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Ttl {
    mode: TtlMode,
    ttl: u8,
}

impl Ttl {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::value("ttl-lt", 0).excluding(0b111),
        Opt::value("ttl-gt", 1).excluding(0b111),
        Opt::value("ttl-eq", 2).invertible().excluding(0b111),
        Opt::value("ttl", 2).invertible().excluding(0b111),
    ];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        self.ttl = byte(call.value, 255)?;
        self.mode = match (call.id, call.is_inverted) {
            (0, _) => TtlMode::Below,
            (1, _) => TtlMode::Above,
            (_, true) => TtlMode::NotEqual,
            (_, false) => TtlMode::Equal,
        };
        Ok(())
    }

    pub(super) fn finish(self, seen: u32, at: usize) -> Parse<Self> {
        if seen == 0 {
            return Err(Problem::new(
                RuleErrorKind::Syntax,
                at,
                "`--ttl-eq`, `--ttl-lt` or `--ttl-gt`",
                "none",
            ));
        }
        Ok(self)
    }

    pub(super) fn print(&self, out: &mut String) {
        let option = match self.mode {
            TtlMode::Equal => " --ttl-eq",
            TtlMode::NotEqual => " ! --ttl-eq",
            TtlMode::Below => " --ttl-lt",
            TtlMode::Above => " --ttl-gt",
        };
        _ = write!(out, "{option} {}", self.ttl);
    }

    pub(super) const fn holds(&self, look: &Look<'_, '_, '_>) -> bool {
        let ttl = look.headers.ttl;
        match self.mode {
            TtlMode::Equal => ttl == self.ttl,
            TtlMode::NotEqual => ttl != self.ttl,
            TtlMode::Below => ttl < self.ttl,
            TtlMode::Above => ttl > self.ttl,
        }
    }
}

fn tos_of(look: &Look<'_, '_, '_>) -> u8 {
    look.packet.ip().dsfield()
}

/// `-m tos` (net/netfilter/xt_dscp.c).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Tos {
    value: u8,
    mask: u8,
    is_inverted: bool,
}

impl Tos {
    pub(super) const OPTIONS: &'static [Opt] = &[Opt::value("tos", 0).invertible().mandatory()];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        const NAMES: [(&str, u8); 5] = [
            ("Minimize-Delay", 0x10),
            ("Maximize-Throughput", 0x08),
            ("Maximize-Reliability", 0x04),
            ("Minimize-Cost", 0x02),
            ("Normal-Service", 0x00),
        ];
        let by_number = || {
            let (value, mask) = call.value.text.split_once('/').unwrap_or((call.value.text, "0xff"));
            let byte = |text| number(text).and_then(|read| u8::try_from(read).ok());
            byte(value).zip(byte(mask))
        };
        (self.value, self.mask) = NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(call.value.text))
            .map(|(_, value)| (*value, 0x3f))
            .or_else(by_number)
            .ok_or_else(|| call.value.expected("a type of service as VALUE or VALUE/MASK, or its name"))?;
        self.is_inverted = call.is_inverted;
        Ok(())
    }

    pub(super) fn print(&self, out: &mut String) {
        _ = write!(out, "{} --tos 0x{:02x}/0x{:02x}", not(self.is_inverted), self.value, self.mask);
    }

    pub(super) fn holds(&self, look: &Look<'_, '_, '_>) -> bool {
        (tos_of(look) & self.mask == self.value) != self.is_inverted
    }
}

/// `-m dscp` (net/netfilter/xt_dscp.c).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Dscp {
    dscp: u8,
    is_inverted: bool,
}

impl Dscp {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::value("dscp", 0).invertible().excluding(0b10),
        Opt::value("dscp-class", 1).invertible().excluding(0b01),
    ];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        self.dscp = if call.id == 0 {
            byte(call.value, 0x3f)?
        } else {
            dscp_class(call.value.text)
                .ok_or_else(|| call.value.expected("a class: BE, EF, CS0 to CS7 or AF11 to AF43"))?
        };
        self.is_inverted = call.is_inverted;
        Ok(())
    }

    pub(super) fn finish(self, seen: u32, at: usize) -> Parse<Self> {
        if seen == 0 {
            return Err(Problem::new(RuleErrorKind::Syntax, at, "`--dscp` or `--dscp-class`", "none"));
        }
        Ok(self)
    }

    pub(super) fn print(&self, out: &mut String) {
        _ = write!(out, "{} --dscp 0x{:02x}", not(self.is_inverted), self.dscp);
    }

    pub(super) fn holds(&self, look: &Look<'_, '_, '_>) -> bool {
        (tos_of(look) >> 2 == self.dscp) != self.is_inverted
    }
}

/// RFC 2474, RFC 2597, RFC 3246.
fn dscp_class(name: &str) -> Option<u8> {
    match name.to_ascii_uppercase().as_bytes() {
        b"BE" => Some(0),
        b"EF" => Some(0x2e),
        [b'C', b'S', class @ b'0'..=b'7'] => Some((class - b'0') << 3),
        [b'A', b'F', class @ b'1'..=b'4', precedence @ b'1'..=b'3'] => {
            Some((class - b'0') << 3 | (precedence - b'0') << 1)
        }
        _ => None,
    }
}

/// `-m mac` (net/netfilter/xt_mac.c).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Mac {
    source: MacAddr,
    is_inverted: bool,
}

impl Mac {
    pub(super) const OPTIONS: &'static [Opt] = &[Opt::value("mac-source", 0).invertible().mandatory()];
    pub(super) const ALLOWED_HOOKS: HookMask = HookMask::of(&[Hook::Prerouting, Hook::Input, Hook::Forward]);

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        let mut octets = [0; 6];
        let mut parts = call.value.text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| (1..=2).contains(&part.len()));
            *octet = part
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| call.value.expected("a MAC address"))?;
        }
        if parts.next().is_some() {
            return Err(call.value.expected("a MAC address"));
        }
        (self.source, self.is_inverted) = (MacAddr(octets), call.is_inverted);
        Ok(())
    }

    pub(super) fn print(&self, out: &mut String) {
        _ = write!(out, "{} --mac-source {}", not(self.is_inverted), self.source);
    }

    // Linux: mac_mt, net/netfilter/xt_mac.c. Packets from non-Ethernet devices never match.
    pub(super) fn holds(&self, look: &Look<'_, '_, '_>) -> bool {
        let Some(device) = look.ctx.state.in_dev else { return false };
        if look.ctx.devices.get(device).kind == DeviceKind::Loopback {
            return false;
        }
        Ethernet::new_checked(&look.packet.bytes[..])
            .is_some_and(|frame| (frame.src() == self.source) != self.is_inverted)
    }
}

/// `-m pkttype` (net/netfilter/xt_pkttype.c).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Pkttype {
    packet_type: PacketType,
    is_inverted: bool,
}

impl Default for Pkttype {
    fn default() -> Self {
        Self { packet_type: PacketType::Host, is_inverted: false }
    }
}

impl Pkttype {
    pub(super) const OPTIONS: &'static [Opt] = &[Opt::value("pkt-type", 0).invertible().mandatory()];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        self.packet_type = match call.value.text.to_ascii_lowercase().as_str() {
            "unicast" | "host" => PacketType::Host,
            "broadcast" | "bcast" => PacketType::Broadcast,
            "multicast" | "mcast" => PacketType::Multicast,
            "otherhost" => PacketType::OtherHost,
            _ => return Err(call.value.expected("`unicast`, `broadcast`, `multicast` or `otherhost`")),
        };
        self.is_inverted = call.is_inverted;
        Ok(())
    }

    pub(super) fn print(&self, out: &mut String) {
        let name = match self.packet_type {
            PacketType::Host => "unicast",
            PacketType::Broadcast => "broadcast",
            PacketType::Multicast => "multicast",
            PacketType::OtherHost => "otherhost",
        };
        _ = write!(out, "{} --pkt-type {name}", not(self.is_inverted));
    }

    pub(super) fn holds(&self, look: &Look<'_, '_, '_>) -> bool {
        (look.packet.meta.packet_type == self.packet_type) != self.is_inverted
    }
}
