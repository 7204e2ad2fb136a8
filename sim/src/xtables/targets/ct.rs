//! `CT --notrack` and `NOTRACK` (net/netfilter/xt_CT.c).

use super::lacks;
use crate::ct::PacketCt;
use crate::packet::Packet;
use crate::trace::RuleAction;
use crate::xtables::error::{Parse, RuleErrorKind};
use crate::xtables::options::{Call, Opt};

/// Exempts a packet from connection tracking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Ct {
    /// True if written as `NOTRACK`.
    is_notrack_name: bool,
    has_notrack: bool,
}

const NOTRACK: u8 = 0;

const OPTIONS: &[Opt] = &[
    Opt::flag("notrack", NOTRACK),
    Opt::value("helper", 1),
    Opt::value("timeout", 2),
    Opt::value("ctevents", 3),
    Opt::value("expevents", 4),
    Opt::value("zone-orig", 5),
    Opt::value("zone-reply", 6),
    Opt::value("zone", 7),
];

impl Ct {
    pub(super) const fn new(is_notrack_name: bool) -> Self {
        Self { is_notrack_name, has_notrack: is_notrack_name }
    }

    pub(super) const fn name(&self) -> &'static str {
        if self.is_notrack_name { "NOTRACK" } else { "CT" }
    }

    pub(super) const fn options(&self) -> &'static [Opt] {
        if self.is_notrack_name { &[] } else { OPTIONS }
    }

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        if call.id != NOTRACK {
            let problem = call.value.expected("`--notrack`, the only supported option of CT");
            return Err(problem.kind(RuleErrorKind::Unsupported));
        }
        self.has_notrack = true;
        Ok(())
    }

    pub(super) fn check(&self, at: usize) -> Parse<()> {
        if self.has_notrack {
            return Ok(());
        }
        Err(lacks(at, "`--notrack`, the only supported option of CT").kind(RuleErrorKind::Unsupported))
    }

    pub(super) fn print(&self, out: &mut String) {
        out.push_str(if self.is_notrack_name { " -j NOTRACK" } else { " -j CT --notrack" });
    }

    // Linux: xt_ct_target, net/netfilter/xt_CT.c. No effect on a packet that is already tracked.
    pub(super) fn act(&self, packet: &mut Packet) -> RuleAction {
        if packet.meta.ct != PacketCt::None {
            return RuleAction::Continue;
        }
        packet.meta.ct = PacketCt::Untracked;
        RuleAction::NoTrack
    }
}
