//! `addrtype`: the type of source and destination address in this netns (net/netfilter/xt_addrtype.c).

use crate::hook::Hook;
use crate::ids::DeviceId;
use crate::route::RouteKind;
use crate::xtables::chain::HookMask;
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::look::Look;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::is_beginning_of;
use crate::xtables::words::Value;
use std::fmt::Write as _;
use std::net::IpAddr;

const SRC: u8 = 0;
const DST: u8 = 1;
const LIMIT_IN: u8 = 2;
const LIMIT_OUT: u8 = 3;

/// Names by their number (`RTN_*`, include/uapi/linux/rtnetlink.h).
const TYPES: [&str; 12] = [
    "UNSPEC",
    "UNICAST",
    "LOCAL",
    "BROADCAST",
    "ANYCAST",
    "MULTICAST",
    "BLACKHOLE",
    "UNREACHABLE",
    "PROHIBIT",
    "THROW",
    "NAT",
    "XRESOLVE",
];

/// `-m addrtype`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Addrtype {
    /// Bits by type number; zero is any.
    src: u16,
    dst: u16,
    src_inverted: bool,
    dst_inverted: bool,
    limit_in: bool,
    limit_out: bool,
}

impl Addrtype {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::value("src-type", SRC).invertible(),
        Opt::value("dst-type", DST).invertible(),
        Opt::flag("limit-iface-in", LIMIT_IN).excluding(1 << LIMIT_OUT),
        Opt::flag("limit-iface-out", LIMIT_OUT).excluding(1 << LIMIT_IN),
    ];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        match call.id {
            SRC => (self.src, self.src_inverted) = (types(call.value)?, call.is_inverted),
            DST => (self.dst, self.dst_inverted) = (types(call.value)?, call.is_inverted),
            LIMIT_IN => self.limit_in = true,
            _ => self.limit_out = true,
        }
        Ok(())
    }

    pub(super) fn finish(self, seen: u32, at: usize) -> Parse<Self> {
        if seen & (1 << SRC | 1 << DST) == 0 {
            return Err(Problem::new(RuleErrorKind::Syntax, at, "`--src-type` or `--dst-type`", "none"));
        }
        Ok(self)
    }

    /// Linux: `addrtype_mt_checkentry_v1`.
    pub(super) fn allowed_hooks(&self) -> HookMask {
        if self.limit_out {
            HookMask::of(&[Hook::Forward, Hook::Output, Hook::Postrouting])
        } else if self.limit_in {
            HookMask::of(&[Hook::Prerouting, Hook::Input, Hook::Forward])
        } else {
            HookMask::ALL
        }
    }

    pub(super) fn print(&self, out: &mut String) {
        print_types(out, "--src-type", self.src, self.src_inverted);
        print_types(out, "--dst-type", self.dst, self.dst_inverted);
        out.push_str(if self.limit_in { " --limit-iface-in" } else { "" });
        out.push_str(if self.limit_out { " --limit-iface-out" } else { "" });
    }

    // Linux: addrtype_mt_v1, net/netfilter/xt_addrtype.c
    pub(super) fn holds(&self, look: &Look<'_, '_, '_>) -> bool {
        let device = match (self.limit_in, self.limit_out) {
            (true, _) => look.ctx.state.in_dev,
            (false, true) => look.ctx.state.out_dev,
            (false, false) => None,
        };
        let holds = |wanted: u16, addr, is_inverted| {
            wanted == 0 || (wanted & type_bit(look, addr, device) != 0) != is_inverted
        };
        holds(self.src, look.headers.src, self.src_inverted)
            && holds(self.dst, look.headers.dst, self.dst_inverted)
    }
}

/// Linux: `match_type`, net/netfilter/xt_addrtype.c, and `inet_dev_addr_type`, net/ipv4/fib_frontend.c.
fn type_bit(look: &Look<'_, '_, '_>, addr: IpAddr, device: Option<DeviceId>) -> u16 {
    let kind = match addr {
        IpAddr::V4(addr) => look.ctx.fib.addr_type_on(addr, device),
        // IPv6 routes are not modelled yet; `AddrType` uses the same names for IPv6 (include/net/ipv6.h).
        IpAddr::V6(addr) if addr.is_multicast() => RouteKind::Multicast,
        IpAddr::V6(_) => RouteKind::Unicast,
    };
    let number = match kind {
        RouteKind::Unicast => 1,
        RouteKind::Local => 2,
        RouteKind::Broadcast => 3,
        RouteKind::Multicast => 5,
        RouteKind::Blackhole => 6,
        RouteKind::Unreachable => 7,
        RouteKind::Prohibit => 8,
    };
    1 << number
}

fn types(value: Value<'_>) -> Parse<u16> {
    let mut mask = 0;
    for part in value.split_commas() {
        // The tool accepts any prefix and takes the first type that matches.
        let number = TYPES.iter().position(|name| is_beginning_of(part.text, name));
        mask |= 1
            << number.ok_or_else(|| part.expected("an address type such as LOCAL, UNICAST or BROADCAST"))?;
    }
    Ok(mask)
}

fn print_types(out: &mut String, option: &str, mask: u16, is_inverted: bool) {
    if mask == 0 {
        return;
    }
    _ = write!(out, "{} {option} ", if is_inverted { " !" } else { "" });
    let mut separator = "";
    for (_, name) in TYPES.iter().enumerate().filter(|(number, _)| mask & 1 << number != 0) {
        _ = write!(out, "{separator}{name}");
        separator = ",";
    }
}
