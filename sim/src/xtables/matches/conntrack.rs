//! `conntrack` and `state`, its older name (net/netfilter/xt_conntrack.c).

use crate::ct::{CtStatus, PacketCt};
use crate::hook::Family;
use crate::netfilter::conntrack::{Entry, StateBits, state_bits};
use crate::text::ports::{PortRange, PortRangeSyntax};
use crate::tuple::Direction;
use crate::wire::rewrite::Side;
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::look::Look;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::{AddrMask, any_u32, is_beginning_of, print_addr_mask, protocol, uncut_addr_mask};
use crate::xtables::words::Value;
use std::fmt::Write as _;

const STATE: u8 = 0;
const PROTOCOL: u8 = 1;
const ADDR: u8 = 2;
const PORT: u8 = 6;
const STATUS: u8 = 10;
const EXPIRE: u8 = 11;
const DIRECTION: u8 = 12;

/// Names and bits of states, in the order in which the tool prints them (`print_state`, extensions/libxt_conntrack.c).
const STATES: [(&str, StateBits); 7] = [
    ("INVALID", StateBits::INVALID),
    ("NEW", StateBits::NEW),
    ("RELATED", StateBits::RELATED),
    ("ESTABLISHED", StateBits::ESTABLISHED),
    ("UNTRACKED", StateBits::UNTRACKED),
    ("SNAT", StateBits::SNAT),
    ("DNAT", StateBits::DNAT),
];

/// The ends of the two tuples, in the order in which the tool prints their options.
const ENDS: [(Direction, Side, &str); 4] = [
    (Direction::Original, Side::Src, "ctorigsrc"),
    (Direction::Original, Side::Dst, "ctorigdst"),
    (Direction::Reply, Side::Src, "ctreplsrc"),
    (Direction::Reply, Side::Dst, "ctrepldst"),
];

/// `-m conntrack`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Conntrack {
    family: Family,
    /// True for `-m state --state`.
    is_state: bool,
    /// Bits of the options that were used, by number, and of those that were inverted.
    used: u16,
    inverted: u16,
    states: StateBits,
    protocol: u8,
    addrs: [AddrMask; 4],
    ports: [PortRange; 4],
    /// `EXPECTED`, `SEEN_REPLY`, `ASSURED`, `CONFIRMED`, in the kernel's numbers.
    statuses: u8,
    /// Whole seconds, first and last.
    expires: (u32, u32),
    direction: Direction,
}

const fn ct(name: &'static str, id: u8) -> Opt {
    Opt::value(name, id).invertible()
}

impl Conntrack {
    const OPTIONS: &'static [Opt] = &[
        ct("ctstate", STATE),
        ct("ctproto", PROTOCOL),
        ct("ctorigsrc", ADDR),
        ct("ctorigdst", ADDR + 1),
        ct("ctreplsrc", ADDR + 2),
        ct("ctrepldst", ADDR + 3),
        ct("ctstatus", STATUS),
        ct("ctexpire", EXPIRE),
        ct("ctorigsrcport", PORT),
        ct("ctorigdstport", PORT + 1),
        ct("ctreplsrcport", PORT + 2),
        ct("ctrepldstport", PORT + 3),
        Opt::value("ctdir", DIRECTION),
    ];
    const STATE_OPTIONS: &'static [Opt] = &[Opt::value("state", STATE).invertible().mandatory()];

    pub(super) fn new(family: Family, is_state: bool) -> Self {
        Self {
            family,
            is_state,
            used: 0,
            inverted: 0,
            states: StateBits::default(),
            protocol: 0,
            addrs: [AddrMask::Any, AddrMask::Any, AddrMask::Any, AddrMask::Any],
            ports: [PortRange::ALL; 4],
            statuses: 0,
            expires: (0, 0),
            direction: Direction::Original,
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        if self.is_state { "state" } else { "conntrack" }
    }

    pub(super) const fn options(&self) -> &'static [Opt] {
        if self.is_state { Self::STATE_OPTIONS } else { Self::OPTIONS }
    }

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        self.used |= 1 << call.id;
        self.inverted |= u16::from(call.is_inverted) << call.id;
        match call.id {
            STATE => self.states = states(call.value, self.is_state)?,
            PROTOCOL => self.protocol = protocol(call.value)?,
            STATUS => self.statuses = statuses(call.value)?,
            EXPIRE => self.expires = seconds(call.value)?,
            DIRECTION => self.direction = direction(call.value)?,
            addr @ ADDR..PORT => {
                self.addrs[usize::from(addr - ADDR)] = uncut_addr_mask(self.family, call.value)?;
            }
            other => self.ports[usize::from(other - PORT)] = PortRangeSyntax::CONNTRACK.parse(call.value)?,
        }
        Ok(())
    }

    pub(super) fn finish(self: Box<Self>, seen: u32, at: usize) -> Parse<Box<Self>> {
        if seen == 0 {
            return Err(Problem::new(RuleErrorKind::Syntax, at, "an option of `conntrack`", "none"));
        }
        Ok(self)
    }

    const fn uses(&self, id: u8) -> bool {
        self.used & 1 << id != 0
    }

    const fn inverts(&self, id: u8) -> bool {
        self.inverted & 1 << id != 0
    }

    // Linux user space: conntrack_dump, extensions/libxt_conntrack.c
    pub(super) fn print(&self, out: &mut String) {
        let not = |id| if self.inverts(id) { " !" } else { "" };
        if self.uses(STATE) {
            let option = if self.is_state { "state" } else { "ctstate" };
            _ = write!(out, "{} --{option} ", not(STATE));
            let names = STATES.iter().filter(|(_, bit)| self.states.intersects(*bit)).map(|(name, _)| *name);
            print_list(out, names);
        }
        if self.uses(PROTOCOL) {
            _ = write!(out, "{} --ctproto {}", not(PROTOCOL), self.protocol);
        }
        for ((id, (.., option)), addr) in (ADDR..).zip(ENDS).zip(&self.addrs) {
            if self.uses(id) {
                print_ct_addr(out, option, addr, self.inverts(id));
            }
        }
        for ((id, (.., option)), range) in (PORT..).zip(ENDS).zip(self.ports) {
            if self.uses(id) {
                out.push_str(not(id));
                _ = write!(out, " --{option}port ");
                PortRangeSyntax::CONNTRACK.print(out, range);
            }
        }
        if self.uses(STATUS) {
            _ = write!(out, "{} --ctstatus ", not(STATUS));
            let names = STATUSES.iter().filter(|(_, bit)| self.statuses & bit != 0).map(|(name, _)| *name);
            print_list(out, names.chain((self.statuses == 0).then_some("NONE")));
        }
        if self.uses(EXPIRE) {
            let (first, last) = self.expires;
            _ = write!(out, "{} --ctexpire {first}", not(EXPIRE));
            _ = if first == last { Ok(()) } else { write!(out, ":{last}") };
        }
        if self.uses(DIRECTION) {
            out.push_str(match self.direction {
                Direction::Original => " --ctdir ORIGINAL",
                Direction::Reply => " --ctdir REPLY",
            });
        }
    }

    // Linux: conntrack_mt, net/netfilter/xt_conntrack.c
    pub(super) fn holds(&self, look: &Look<'_, '_, '_>) -> bool {
        if self.uses(STATE) {
            let states = state_bits(look.ctx.conntrack, look.packet);
            if states.intersects(self.states) == self.inverts(STATE) {
                return false;
            }
            if self.used == 1 << STATE {
                return true;
            }
        }
        let PacketCt::Entry { id, info } = look.packet.meta.ct else { return self.uses(STATE) };
        let Some(entry) = look.ctx.conntrack.entry(id) else { return self.uses(STATE) };
        if self.uses(DIRECTION) && info.direction() != self.direction {
            return false;
        }
        let remaining = entry.remaining(look.ctx.cx.now).as_secs();
        let facts = [
            (PROTOCOL, entry.tuple(Direction::Original).protocol == self.protocol),
            (STATUS, status_bits(entry) & self.statuses != 0),
            (EXPIRE, (u64::from(self.expires.0)..=u64::from(self.expires.1)).contains(&remaining)),
        ];
        facts.iter().all(|(id, fact)| !self.uses(*id) || *fact != self.inverts(*id)) && self.ends_hold(entry)
    }

    fn ends_hold(&self, entry: &Entry) -> bool {
        ENDS.iter().enumerate().all(|(index, (direction, side, _))| {
            let tuple = entry.tuple(*direction);
            let offset = u8::try_from(index).expect("there are four ends");
            let (addr_id, port_id) = (ADDR + offset, PORT + offset);
            (!self.uses(addr_id) || self.addrs[index].contains(tuple.addr(*side)) != self.inverts(addr_id))
                && (!self.uses(port_id)
                    || self.ports[index].contains(tuple.port(*side)) != self.inverts(port_id))
        })
    }
}

/// `IPS_*` (include/uapi/linux/netfilter/nf_conntrack_common.h). Expected flows are not modelled: nothing has that bit.
const STATUSES: [(&str, u8); 4] = [("EXPECTED", 1), ("SEEN_REPLY", 2), ("ASSURED", 4), ("CONFIRMED", 8)];

fn status_bits(entry: &Entry) -> u8 {
    let bit = |status, bit| if entry.status().contains(status) { bit } else { 0 };
    bit(CtStatus::SEEN_REPLY, 2) | bit(CtStatus::ASSURED, 4) | bit(CtStatus::CONFIRMED, 8)
}

fn print_list<'n>(out: &mut String, names: impl Iterator<Item = &'n str>) {
    for (index, name) in names.enumerate() {
        out.push_str(if index == 0 { "" } else { "," });
        out.push_str(name);
    }
}

/// As other addresses, but a mask of all ones is left out (`conntrack_dump_addr`).
fn print_ct_addr(out: &mut String, option: &str, addr: &AddrMask, is_inverted: bool) {
    let mut text = String::new();
    print_addr_mask(&mut text, &format!("--{option}"), addr, is_inverted);
    let full = match addr {
        AddrMask::V4 { mask: u32::MAX, .. } => "/32",
        AddrMask::V6(pair) if pair.1 == u128::MAX => "/128",
        AddrMask::Any | AddrMask::V4 { .. } | AddrMask::V6(_) => "",
    };
    out.push_str(text.strip_suffix(full).unwrap_or(&text));
}

fn states(value: Value<'_>, is_state: bool) -> Parse<StateBits> {
    let known = if is_state { &STATES[..5] } else { &STATES[..] };
    let mut mask = StateBits::default();
    for part in value.split_commas() {
        let found = known.iter().find(|(name, _)| is_beginning_of(part.text, name));
        let (_, bit) = found.ok_or_else(|| {
            part.expected("INVALID, NEW, RELATED, ESTABLISHED, UNTRACKED, SNAT or DNAT, separated by commas")
        })?;
        mask = mask.union(*bit);
    }
    Ok(mask)
}

fn statuses(value: Value<'_>) -> Parse<u8> {
    let mut mask = 0;
    for part in value.split_commas() {
        let found = STATUSES.iter().chain(&[("NONE", 0)]).find(|(name, _)| is_beginning_of(part.text, name));
        mask |= found
            .map(|(_, bit)| *bit)
            .ok_or_else(|| part.expected("NONE, EXPECTED, SEEN_REPLY, ASSURED or CONFIRMED"))?;
    }
    Ok(mask)
}

fn seconds(value: Value<'_>) -> Parse<(u32, u32)> {
    let Some((first, last)) = value.text.split_once(':') else {
        return any_u32(value).map(|only| (only, only));
    };
    let first = if first.is_empty() { 0 } else { any_u32(value.part(first))? };
    let last = if last.is_empty() { u32::MAX } else { any_u32(value.part(last))? };
    Ok((first, last))
}

fn direction(value: Value<'_>) -> Parse<Direction> {
    match value.text.to_ascii_uppercase().as_str() {
        "ORIGINAL" => Ok(Direction::Original),
        "REPLY" => Ok(Direction::Reply),
        _ => Err(value.expected("`ORIGINAL` or `REPLY`")),
    }
}
