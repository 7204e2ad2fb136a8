//! `mark` and `connmark` (net/netfilter/xt_mark.c, xt_connmark.c).

use crate::ct::PacketCt;
use crate::xtables::error::Parse;
use crate::xtables::look::Look;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::{mark_mask, print_mark_mask};

/// `--mark VALUE/MASK`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct MarkMatch {
    mark: u32,
    mask: u32,
    is_inverted: bool,
}

impl MarkMatch {
    pub(super) const OPTIONS: &'static [Opt] = &[Opt::value("mark", 0).invertible().mandatory()];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        (self.mark, self.mask) = mark_mask(call.value)?;
        self.is_inverted = call.is_inverted;
        Ok(())
    }

    pub(super) fn print(&self, out: &mut String) {
        out.push_str(if self.is_inverted { " ! --mark" } else { " --mark" });
        print_mark_mask(out, self.mark, self.mask);
    }

    const fn holds(&self, mark: u32) -> bool {
        (mark & self.mask == self.mark) != self.is_inverted
    }

    pub(super) fn holds_for_packet(&self, look: &Look<'_, '_, '_>) -> bool {
        self.holds(look.packet.meta.mark)
    }

    /// Packets without a connection never match, inverted or not.
    pub(super) fn holds_for_connection(&self, look: &Look<'_, '_, '_>) -> bool {
        match look.packet.meta.ct {
            PacketCt::Entry { id, .. } => {
                look.ctx.conntrack.entry(id).is_some_and(|entry| self.holds(entry.mark))
            }
            PacketCt::None | PacketCt::Untracked => false,
        }
    }
}
