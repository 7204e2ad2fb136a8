//! `SET`: adds the packet's address, port and so on to a set, or deletes it (net/netfilter/xt_set.c,
//! extensions/libxt_SET.c).

use super::lacks;
use crate::ipset::{Addition, MAX_TIMEOUT, PacketView, SetId};
use crate::netfilter::EvalCtx;
use crate::packet::Packet;
use crate::wire::Headers;
use crate::xtables::error::{Parse, RuleErrorKind};
use crate::xtables::matches::Named;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::ranged;
use std::fmt::Write as _;

const ADD_SET: u8 = 0;
const DEL_SET: u8 = 1;
const EXIST: u8 = 2;
const TIMEOUT: u8 = 3;
const MAP_SET: u8 = 4;

/// `-j SET`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct SetTarget {
    add: Option<Named>,
    del: Option<Named>,
    addition: Addition,
}

impl SetTarget {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::two_values("add-set", ADD_SET),
        Opt::two_values("del-set", DEL_SET),
        Opt::flag("exist", EXIST).requiring(1 << ADD_SET),
        Opt::value("timeout", TIMEOUT).requiring(1 << ADD_SET),
        Opt::two_values("map-set", MAP_SET),
    ];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        match call.id {
            ADD_SET => {
                let named = Named::read(call)?;
                self.addition.directions = named.directions;
                self.add = Some(named);
            }
            DEL_SET => self.del = Some(Named::read(call)?),
            EXIST => self.addition.exist = true,
            TIMEOUT => self.addition.timeout = Some(ranged(call.value, 0..=u32::MAX - 1)?),
            _ => {
                let problem = call.value.expected("`--add-set` or `--del-set`");
                return Err(problem
                    .kind(RuleErrorKind::Unsupported)
                    .help("`--map-set` needs `skbinfo`, which is not modelled"));
            }
        }
        Ok(())
    }

    pub(super) fn check(seen: u32, at: usize) -> Parse<()> {
        if seen & (1 << ADD_SET | 1 << DEL_SET) == 0 {
            return Err(lacks(at, "`--add-set` or `--del-set`"));
        }
        Ok(())
    }

    /// The sets that it changes.
    pub(in crate::xtables) fn ids(&self) -> [Option<SetId>; 2] {
        [&self.add, &self.del].map(|named| named.as_ref().map(|named| named.id))
    }

    // Linux user space: set_target_save_v3, extensions/libxt_SET.c
    pub(super) fn print(&self, out: &mut String) {
        out.push_str(" -j SET");
        if let Some(add) = &self.add {
            add.print(out, "--add-set");
        }
        out.push_str(if self.addition.exist { " --exist" } else { "" });
        if let Some(timeout) = self.addition.timeout {
            _ = write!(out, " --timeout {timeout}");
        }
        if let Some(del) = &self.del {
            del.print(out, "--del-set");
        }
    }

    // Linux: set_target_v3, net/netfilter/xt_set.c
    pub(super) fn act(&self, ctx: &mut EvalCtx<'_, '_>, packet: &Packet, headers: &Headers) {
        let shown = PacketView::of(ctx.state.family, headers, packet);
        let now = ctx.cx.now;
        if let Some(add) = &self.add {
            let timeout = self.addition.timeout.map(|timeout| timeout.min(MAX_TIMEOUT));
            ctx.ipset.add_packet(add.id, &Addition { timeout, ..self.addition }, &shown, now);
        }
        if let Some(del) = &self.del {
            ctx.ipset.del_packet(del.id, del.directions, &shown, now);
        }
    }
}
