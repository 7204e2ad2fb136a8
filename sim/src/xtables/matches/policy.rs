//! `policy`: the IPsec policy by which a packet was or will be transformed (net/netfilter/xt_policy.c).
//!
//! There is no IPsec here, so `--pol none` matches every packet and `--pol ipsec` none.

use crate::hook::Hook;
use crate::xtables::chain::HookMask;
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::{AddrMask, any_u32, print_mask, protocol, protocol_name, uncut_addr_mask};
use crate::xtables::words::Value;
use std::fmt::Write as _;

const DIR: u8 = 0;
const POL: u8 = 1;
const STRICT: u8 = 2;
const REQID: u8 = 3;
const SPI: u8 = 4;
const PROTO: u8 = 5;
const MODE: u8 = 6;
const TUNNEL_DST: u8 = 7;
const TUNNEL_SRC: u8 = 8;
const NEXT: u8 = 9;

/// Elements of a policy (`XT_POLICY_MAX_ELEM`).
const MAX_ELEMENTS: usize = 4;
/// The protocols of IPsec: ESP, AH and IPComp.
const PROTOCOLS: [u8; 3] = [50, 51, 108];

/// `-m policy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Policy {
    direction: Option<Way>,
    is_none: bool,
    is_strict: bool,
    elements: Vec<Element>,
}

/// `--dir`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// One transformation. Bits of `used` and `inverted` are option numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Element {
    used: u16,
    inverted: u16,
    reqid: u32,
    spi: u32,
    proto: u8,
    is_tunnel: bool,
    ends: [Option<AddrMask>; 2],
}

impl Default for Policy {
    fn default() -> Self {
        Self { direction: None, is_none: false, is_strict: false, elements: vec![Element::default()] }
    }
}

impl Policy {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::value("dir", DIR),
        Opt::value("pol", POL),
        Opt::flag("strict", STRICT),
        Opt::value("reqid", REQID).invertible().repeatable(),
        Opt::value("spi", SPI).invertible().repeatable(),
        Opt::value("proto", PROTO).invertible().repeatable(),
        Opt::value("mode", MODE).invertible().repeatable(),
        Opt::value("tunnel-dst", TUNNEL_DST).invertible().repeatable(),
        Opt::value("tunnel-src", TUNNEL_SRC).invertible().repeatable(),
        Opt::flag("next", NEXT).repeatable().requiring(1 << STRICT),
    ];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        match call.id {
            DIR => self.direction = Some(way(call.value)?),
            POL => self.is_none = is_none(call.value)?,
            STRICT => self.is_strict = true,
            NEXT if self.elements.len() == MAX_ELEMENTS => {
                return Err(call.value.expected("at most 4 elements of a policy"));
            }
            NEXT => self.elements.push(Element::default()),
            _ => self.elements.last_mut().expect("there is always an element").set(call)?,
        }
        Ok(())
    }

    /// Linux user space: `policy_check`, extensions/libxt_policy.c.
    pub(super) fn finish(mut self: Box<Self>, at: usize) -> Parse<Box<Self>> {
        let refuse = |expected, found| Err(Problem::new(RuleErrorKind::Syntax, at, expected, found));
        if self.direction.is_none() {
            return refuse("`--dir in` or `--dir out`", "neither");
        }
        if self.is_none {
            if self.is_strict {
                return refuse("`--pol none` without `--strict`", "both");
            }
            self.elements = vec![Element::default()];
            return Ok(self);
        }
        if self.is_strict && self.elements.iter().any(|element| element.used == 0) {
            return refuse("an option in each element of a strict policy", "an empty element");
        }
        if self.elements.iter().any(Element::has_ends_without_tunnel) {
            return refuse("`--tunnel-src` and `--tunnel-dst` with `--mode tunnel` only", "another mode");
        }
        Ok(self)
    }

    /// Linux: `policy_mt_check`.
    pub(super) fn allowed_hooks(&self) -> HookMask {
        match self.direction {
            Some(Way::In) => HookMask::of(&[Hook::Prerouting, Hook::Input, Hook::Forward]),
            Some(Way::Out) => HookMask::of(&[Hook::Forward, Hook::Output, Hook::Postrouting]),
            None => HookMask::ALL,
        }
    }

    pub(super) fn print(&self, out: &mut String) {
        match self.direction {
            Some(Way::In) => out.push_str(" --dir in"),
            Some(Way::Out) => out.push_str(" --dir out"),
            None => {}
        }
        out.push_str(if self.is_none { " --pol none" } else { " --pol ipsec" });
        out.push_str(if self.is_strict { " --strict" } else { "" });
        for (index, element) in self.elements.iter().enumerate() {
            out.push_str(if index > 0 { " --next" } else { "" });
            element.print(out);
        }
    }

    // Linux: policy_mt: without a transformation, `match_policy_in` and `match_policy_out` find none.
    pub(super) const fn holds(&self) -> bool {
        self.is_none
    }
}

impl Element {
    fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        let bit = 1 << call.id;
        if self.used & bit != 0 {
            return Err(call.value.expected("each option once in an element"));
        }
        self.used |= bit;
        self.inverted |= if call.is_inverted { bit } else { 0 };
        match call.id {
            REQID => self.reqid = any_u32(call.value)?,
            SPI => self.spi = any_u32(call.value)?,
            PROTO => {
                self.proto = protocol(call.value)?;
                if !PROTOCOLS.contains(&self.proto) {
                    return Err(call.value.expected("esp, ah or ipcomp"));
                }
            }
            MODE => self.is_tunnel = is_tunnel(call.value)?,
            _ => {
                self.ends[usize::from(call.id - TUNNEL_DST)] = Some(uncut_addr_mask(call.family, call.value)?)
            }
        }
        Ok(())
    }

    const fn has_ends_without_tunnel(&self) -> bool {
        let has_mode = self.used & 1 << MODE != 0;
        let is_tunnel = has_mode && self.is_tunnel != (self.inverted & 1 << MODE != 0);
        self.used & (1 << TUNNEL_DST | 1 << TUNNEL_SRC) != 0 && !is_tunnel
    }

    fn print(&self, out: &mut String) {
        const OPTIONS: [(u8, &str); 6] = [
            (REQID, "--reqid"),
            (SPI, "--spi"),
            (PROTO, "--proto"),
            (MODE, "--mode"),
            (TUNNEL_DST, "--tunnel-dst"),
            (TUNNEL_SRC, "--tunnel-src"),
        ];
        for (id, option) in OPTIONS.into_iter().filter(|(id, _)| self.used & 1 << id != 0) {
            _ = write!(out, "{} {option} ", if self.inverted & 1 << id != 0 { " !" } else { "" });
            match id {
                REQID => _ = write!(out, "{}", self.reqid),
                SPI => _ = write!(out, "0x{:x}", self.spi),
                PROTO => out.push_str(protocol_name(self.proto).unwrap_or_default()),
                MODE => out.push_str(if self.is_tunnel { "tunnel" } else { "transport" }),
                _ => self.ends[usize::from(id - TUNNEL_DST)].iter().for_each(|end| print_mask(out, end)),
            }
        }
    }
}

fn way(value: Value<'_>) -> Parse<Way> {
    match value.text {
        "in" => Ok(Way::In),
        "out" => Ok(Way::Out),
        _ => Err(value.expected("in or out")),
    }
}

fn is_none(value: Value<'_>) -> Parse<bool> {
    match value.text {
        "none" => Ok(true),
        "ipsec" => Ok(false),
        _ => Err(value.expected("none or ipsec")),
    }
}

fn is_tunnel(value: Value<'_>) -> Parse<bool> {
    match value.text {
        "tunnel" => Ok(true),
        "transport" => Ok(false),
        _ => Err(value.expected("transport or tunnel")),
    }
}
