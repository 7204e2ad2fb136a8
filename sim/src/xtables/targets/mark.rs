//! `MARK` and `CONNMARK` (net/netfilter/xt_mark.c, xt_connmark.c).

use super::lacks;
use crate::ct::PacketCt;
use crate::netfilter::EvalCtx;
use crate::packet::Packet;
use crate::trace::RuleAction;
use crate::xtables::error::Parse;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::{any_u32, mark_mask, ranged};
use std::fmt::Write as _;

const SET_MARK: u8 = 0;
const AND_MARK: u8 = 1;
const OR_MARK: u8 = 2;
const XOR_MARK: u8 = 3;
const SET_XMARK: u8 = 4;
const SAVE: u8 = 5;
const RESTORE: u8 = 6;
const MASK: u8 = 7;
const NFMASK: u8 = 8;
const CTMASK: u8 = 9;
const LEFT: u8 = 10;
const RIGHT: u8 = 11;
const ANY: u32 = 0b111_1111;

/// Value and mask of the operation `mark = (mark & ~mask) ^ value`, to which all options reduce.
///
/// Linux user space: `mark_tg_parse`, extensions/libxt_MARK.c.
fn operation(call: &Call<'_>) -> Parse<(u32, u32)> {
    Ok(match call.id {
        SET_XMARK => mark_mask(call.value)?,
        SET_MARK => {
            let (value, mask) = mark_mask(call.value)?;
            (value, value | mask)
        }
        AND_MARK => (0, !any_u32(call.value)?),
        OR_MARK => {
            let bits = any_u32(call.value)?;
            (bits, bits)
        }
        _ => (any_u32(call.value)?, 0),
    })
}

/// `-j MARK`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Mark {
    value: u32,
    mask: u32,
}

impl Mark {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::value("set-xmark", SET_XMARK).excluding(ANY),
        Opt::value("set-mark", SET_MARK).excluding(ANY),
        Opt::value("and-mark", AND_MARK).excluding(ANY),
        Opt::value("or-mark", OR_MARK).excluding(ANY),
        Opt::value("xor-mark", XOR_MARK).excluding(ANY),
    ];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        (self.value, self.mask) = operation(call)?;
        Ok(())
    }

    pub(super) fn check(seen: u32, at: usize) -> Parse<()> {
        if seen == 0 {
            Err(lacks(at, "`--set-xmark`, `--set-mark`, `--and-mark`, `--or-mark` or `--xor-mark`"))
        } else {
            Ok(())
        }
    }

    pub(super) fn print(&self, out: &mut String) {
        _ = write!(out, " -j MARK --set-xmark 0x{:x}/0x{:x}", self.value, self.mask);
    }

    // Linux: mark_tg, net/netfilter/xt_mark.c
    pub(super) fn act(&self, packet: &mut Packet) -> RuleAction {
        let old = packet.meta.mark;
        packet.meta.mark = (old & !self.mask) ^ self.value;
        RuleAction::Mark { old, new: packet.meta.mark }
    }
}

/// The operation of `CONNMARK`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Set,
    Save,
    Restore,
}

/// `-j CONNMARK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Connmark {
    mode: Mode,
    ct_value: u32,
    ct_mask: u32,
    packet_mask: u32,
    is_right_shift: bool,
    shift: u8,
}

impl Default for Connmark {
    fn default() -> Self {
        Self {
            mode: Mode::Set,
            ct_value: 0,
            ct_mask: u32::MAX,
            packet_mask: u32::MAX,
            is_right_shift: false,
            shift: 0,
        }
    }
}

impl Connmark {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::value("set-xmark", SET_XMARK).excluding(ANY),
        Opt::value("set-mark", SET_MARK).excluding(ANY),
        Opt::value("and-mark", AND_MARK).excluding(ANY),
        Opt::value("or-mark", OR_MARK).excluding(ANY),
        Opt::value("xor-mark", XOR_MARK).excluding(ANY),
        Opt::flag("save-mark", SAVE).excluding(ANY),
        Opt::flag("restore-mark", RESTORE).excluding(ANY),
        Opt::value("left-shift-mark", LEFT),
        Opt::value("right-shift-mark", RIGHT),
        Opt::value("ctmask", CTMASK).excluding(1 << MASK),
        Opt::value("nfmask", NFMASK).excluding(1 << MASK),
        Opt::value("mask", MASK).excluding(1 << CTMASK | 1 << NFMASK),
    ];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        match call.id {
            SAVE => self.mode = Mode::Save,
            RESTORE => self.mode = Mode::Restore,
            CTMASK => self.ct_mask = any_u32(call.value)?,
            NFMASK => self.packet_mask = any_u32(call.value)?,
            MASK => {
                self.ct_mask = any_u32(call.value)?;
                self.packet_mask = self.ct_mask;
            }
            LEFT | RIGHT => {
                self.is_right_shift = call.id == RIGHT;
                self.shift = u8::try_from(ranged(call.value, 0..=32)?).unwrap_or(32);
            }
            _ => (self.ct_value, self.ct_mask) = operation(call)?,
        }
        Ok(())
    }

    pub(super) fn check(seen: u32, at: usize) -> Parse<()> {
        if seen & ANY == 0 {
            Err(lacks(at, "an operation such as `--save-mark`, `--restore-mark` or `--set-mark`"))
        } else {
            Ok(())
        }
    }

    pub(super) fn print(&self, out: &mut String) {
        out.push_str(" -j CONNMARK");
        let masks = format!("--nfmask 0x{:x} --ctmask 0x{:x}", self.packet_mask, self.ct_mask);
        _ = match self.mode {
            Mode::Set => write!(out, " --set-xmark 0x{:x}/0x{:x}", self.ct_value, self.ct_mask),
            Mode::Save => write!(out, " --save-mark {masks}"),
            Mode::Restore => write!(out, " --restore-mark {masks}"),
        };
        if self.shift != 0 {
            let side = if self.is_right_shift { "right" } else { "left" };
            _ = write!(out, " --{side}-shift-mark {}", self.shift);
        }
    }

    fn shifted(&self, mark: u32) -> u32 {
        let bits = u32::from(self.shift);
        if self.is_right_shift {
            mark.checked_shr(bits).unwrap_or(0)
        } else {
            mark.checked_shl(bits).unwrap_or(0)
        }
    }

    // Linux: connmark_tg_shift, net/netfilter/xt_connmark.c
    pub(super) fn act(&self, ctx: &mut EvalCtx<'_, '_>, packet: &mut Packet) -> RuleAction {
        let PacketCt::Entry { id, .. } = packet.meta.ct else { return RuleAction::Continue };
        let Some(entry) = ctx.conntrack.entry_mut(id) else { return RuleAction::Continue };
        let old = entry.mark;
        match self.mode {
            Mode::Set => entry.mark = self.shifted((old & !self.ct_mask) ^ self.ct_value),
            Mode::Save => {
                let target = self.shifted(packet.meta.mark & self.packet_mask);
                entry.mark = (old & !self.ct_mask) ^ target;
            }
            Mode::Restore => {
                let target = self.shifted(old & self.ct_mask);
                let old = packet.meta.mark;
                packet.meta.mark = (old & !self.packet_mask) ^ target;
                return RuleAction::Mark { old, new: packet.meta.mark };
            }
        }
        RuleAction::CtMark { old, new: entry.mark }
    }
}
