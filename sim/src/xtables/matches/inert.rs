//! Matches without a condition on the packet: `comment`, and the byte counter `nfacct`.

use crate::xtables::error::Parse;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::print_string;

/// `-m comment` (net/netfilter/xt_comment.c).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Comment(Box<str>);

/// `XT_MAX_COMMENT_LEN` without its terminator.
const MAX_COMMENT_LEN: usize = 255;

impl Comment {
    pub(super) const OPTIONS: &'static [Opt] = &[Opt::value("comment", 0).mandatory()];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        if call.value.text.len() > MAX_COMMENT_LEN {
            return Err(call.value.expected("a comment of at most 255 bytes"));
        }
        self.0 = call.value.text.into();
        Ok(())
    }

    pub(super) fn print(&self, out: &mut String) {
        out.push_str(" --comment");
        print_string(out, &self.0);
    }
}

/// `-m nfacct`: counts packets under a name. The counter has no quota, so the match always holds (`nfacct_mt`,
/// net/netfilter/xt_nfacct.c); kube-proxy uses it only for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Nfacct(Box<str>);

/// `NFACCT_NAME_MAX` without its terminator.
const MAX_NFACCT_LEN: usize = 31;

impl Nfacct {
    pub(super) const OPTIONS: &'static [Opt] = &[Opt::value("nfacct-name", 0).mandatory()];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        if call.value.text.is_empty() || call.value.text.len() > MAX_NFACCT_LEN {
            return Err(call.value.expected("a name of 1 to 31 bytes"));
        }
        self.0 = call.value.text.into();
        Ok(())
    }

    pub(super) fn print(&self, out: &mut String) {
        // The tool prints two blanks.
        out.push_str(" --nfacct-name ");
        print_string(out, &self.0);
    }
}
