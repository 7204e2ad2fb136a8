//! `physdev`: the bridge ports of a bridged packet (net/netfilter/xt_physdev.c).

use crate::hook::Hook;
use crate::xtables::chain::HookMask;
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::look::Look;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::{device_name, name_matches, print_device_name};
use std::fmt::Write as _;

const IN: u8 = 0;
const OUT: u8 = 1;
const IS_IN: u8 = 2;
const IS_OUT: u8 = 3;
const IS_BRIDGED: u8 = 4;

/// `-m physdev`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Physdev {
    /// Bits of the options that were used, and of those that were inverted.
    used: u8,
    inverted: u8,
    in_port: Box<str>,
    out_port: Box<str>,
}

impl Physdev {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::value("physdev-in", IN).invertible(),
        Opt::value("physdev-out", OUT).invertible(),
        Opt::flag("physdev-is-in", IS_IN).invertible(),
        Opt::flag("physdev-is-out", IS_OUT).invertible(),
        Opt::flag("physdev-is-bridged", IS_BRIDGED).invertible(),
    ];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        self.used |= 1 << call.id;
        self.inverted |= u8::from(call.is_inverted) << call.id;
        if call.id > OUT {
            return Ok(());
        }
        let name = device_name(call.value)?.into();
        *(if call.id == IN { &mut self.in_port } else { &mut self.out_port }) = name;
        Ok(())
    }

    pub(super) fn finish(self: Box<Self>, seen: u32, at: usize) -> Parse<Box<Self>> {
        if seen == 0 {
            return Err(Problem::new(RuleErrorKind::Syntax, at, "an option of `physdev`", "none"));
        }
        Ok(self)
    }

    const fn uses(&self, id: u8) -> bool {
        self.used & 1 << id != 0
    }

    const fn inverts(&self, id: u8) -> bool {
        self.inverted & 1 << id != 0
    }

    /// Linux: `physdev_mt_check`: the output port is not known yet in OUTPUT, unless only bridged packets match.
    pub(super) fn allowed_hooks(&self) -> HookMask {
        let asks_for_out = self.uses(OUT) || self.uses(IS_OUT);
        if asks_for_out && (!self.uses(IS_BRIDGED) || self.inverts(IS_BRIDGED)) {
            HookMask::of(&[Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Postrouting])
        } else {
            HookMask::ALL
        }
    }

    pub(super) fn print(&self, out: &mut String) {
        for (id, option) in [
            (IS_IN, "--physdev-is-in"),
            (IN, "--physdev-in"),
            (IS_OUT, "--physdev-is-out"),
            (OUT, "--physdev-out"),
            (IS_BRIDGED, "--physdev-is-bridged"),
        ] {
            if !self.uses(id) {
                continue;
            }
            _ = write!(out, "{} {option}", if self.inverts(id) { " !" } else { "" });
            match id {
                IN => print_device_name(out, &self.in_port),
                OUT => print_device_name(out, &self.out_port),
                _ => {}
            }
        }
    }

    // Linux: physdev_mt, net/netfilter/xt_physdev.c
    pub(super) fn holds(&self, look: &Look<'_, '_, '_>) -> bool {
        let Some(bridge) = look.packet.meta.bridge else {
            // Not bridged: only inverted options match.
            return self.used & !self.inverted == 0;
        };
        let devices = look.ctx.devices;
        let in_name = &*devices.get(bridge.phys_in).name;
        let out_name = bridge.phys_out.map(|id| &*devices.get(id).name);
        let facts = [
            (IS_BRIDGED, out_name.is_some()),
            (IS_IN, true),
            (IS_OUT, out_name.is_some()),
            (IN, name_matches(&self.in_port, in_name)),
        ];
        if facts.iter().any(|(id, fact)| self.uses(*id) && *fact == self.inverts(*id)) {
            return false;
        }
        if !self.uses(OUT) {
            return true;
        }
        out_name.is_some_and(|name| name_matches(&self.out_port, name) != self.inverts(OUT))
    }
}
