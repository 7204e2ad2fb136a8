//! `owner`: the user and the group whose process sent the packet (net/netfilter/xt_owner.c).
//!
//! Every process of the simulator runs as root, as those of a lab do, and belongs to no further group.

use crate::hook::Hook;
use crate::packet::Owner as PacketOwner;
use crate::xtables::chain::HookMask;
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::look::Look;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::number;
use crate::xtables::words::Value;
use std::fmt::Write as _;
use std::ops::RangeInclusive;

const UID: u8 = 0;
const GID: u8 = 1;
const SOCKET_EXISTS: u8 = 2;
const SUPPLEMENTARY: u8 = 3;

/// The user and group of every process.
const ROOT: u32 = 0;

/// `-m owner`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Owner {
    uid: Option<Ids>,
    gid: Option<Ids>,
    /// `Some(true)` is `! --socket-exists`.
    socket: Option<bool>,
    has_supplementary: bool,
}

/// A range of user or group numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ids {
    range: RangeInclusive<u32>,
    is_inverted: bool,
}

impl Owner {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::value("uid-owner", UID).invertible(),
        Opt::value("gid-owner", GID).invertible(),
        Opt::flag("socket-exists", SOCKET_EXISTS).invertible(),
        Opt::flag("suppl-groups", SUPPLEMENTARY),
    ];
    pub(super) const ALLOWED_HOOKS: HookMask = HookMask::of(&[Hook::Output, Hook::Postrouting]);

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        let is_inverted = call.is_inverted;
        match call.id {
            UID => self.uid = Some(Ids { range: ids(call.value)?, is_inverted }),
            GID => self.gid = Some(Ids { range: ids(call.value)?, is_inverted }),
            SOCKET_EXISTS => self.socket = Some(is_inverted),
            _ => self.has_supplementary = true,
        }
        Ok(())
    }

    pub(super) fn finish(self: Box<Self>, at: usize) -> Parse<Box<Self>> {
        let problem = |expected| Err(Problem::new(RuleErrorKind::Syntax, at, expected, "none"));
        if self.has_supplementary && self.gid.is_none() {
            return problem("`--gid-owner` with `--suppl-groups`");
        }
        if self.uid.is_none() && self.gid.is_none() && self.socket.is_none() {
            return problem("`--uid-owner`, `--gid-owner` or `--socket-exists`");
        }
        Ok(self)
    }

    pub(super) fn print(&self, out: &mut String) {
        if let Some(is_inverted) = self.socket {
            out.push_str(if is_inverted { " ! --socket-exists" } else { " --socket-exists" });
        }
        for (option, ids) in [("--uid-owner", &self.uid), ("--gid-owner", &self.gid)] {
            let Some(Ids { range, is_inverted }) = ids else { continue };
            _ = write!(out, "{} {option} {}", if *is_inverted { " !" } else { "" }, range.start());
            if range.start() != range.end() {
                _ = write!(out, "-{}", range.end());
            }
        }
        out.push_str(if self.has_supplementary { " --suppl-groups" } else { "" });
    }

    // Linux: owner_mt.
    pub(super) fn holds(&self, look: &Look<'_, '_, '_>) -> bool {
        let is_plain = |ids: &Option<Ids>| ids.as_ref().is_some_and(|ids| !ids.is_inverted);
        match look.packet.meta.owner {
            // Only inverted options hold.
            PacketOwner::None => !is_plain(&self.uid) && !is_plain(&self.gid) && self.socket != Some(false),
            PacketOwner::Kernel => self.socket != Some(true) && !is_plain(&self.uid) && !is_plain(&self.gid),
            PacketOwner::Process => {
                let holds = |ids: &Option<Ids>| {
                    ids.as_ref().is_none_or(|ids| ids.range.contains(&ROOT) != ids.is_inverted)
                };
                self.socket != Some(true) && holds(&self.uid) && holds(&self.gid)
            }
        }
    }
}

/// `1337` or `0-99`. Names depend on the machine's own files, except root, which has number 0 on all.
///
/// Linux user space: `owner_parse_range`, extensions/libxt_owner.c; `owner_check` of the kernel refuses an empty range.
fn ids(value: Value<'_>) -> Parse<RangeInclusive<u32>> {
    if value.text == "root" {
        return Ok(ROOT..=ROOT);
    }
    let read =
        |text: &str| number(text).and_then(|read| u32::try_from(read).ok()).filter(|id| *id < u32::MAX);
    let (first, last) = value.text.split_once('-').unwrap_or((value.text, value.text));
    match (read(first), read(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        (Some(_), Some(_)) => Err(value.expected("a range from a lower to a higher number")),
        (None, _) | (_, None) => {
            let problem = value.expected("a user or group number, or a range such as 0-99");
            Err(problem.help("names depend on the files of the machine; use the number"))
        }
    }
}
