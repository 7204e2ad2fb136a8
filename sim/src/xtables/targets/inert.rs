//! Targets without effect on where packets go: `NFLOG` and `CHECKSUM`.

use crate::xtables::error::Parse;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::{any_u32, print_string, ranged};
use std::fmt::Write as _;

const GROUP: u8 = 0;
const PREFIX: u8 = 1;
const RANGE: u8 = 2;
const THRESHOLD: u8 = 3;
const SIZE: u8 = 4;

/// `-j NFLOG`: copies the packet to a program that listens to a netlink group (net/netfilter/xt_NFLOG.c).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Nflog {
    group: u16,
    prefix: Box<str>,
    /// `--nflog-range`, which the kernel ignores, or `--nflog-size`.
    len: Option<(bool, u32)>,
    threshold: u16,
}

impl Nflog {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::value("nflog-group", GROUP),
        Opt::value("nflog-prefix", PREFIX),
        Opt::value("nflog-range", RANGE).excluding(1 << SIZE),
        Opt::value("nflog-size", SIZE).excluding(1 << RANGE),
        Opt::value("nflog-threshold", THRESHOLD),
    ];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        let short = || ranged(call.value, 0..=0xffff).map(|read| u16::try_from(read).unwrap_or(u16::MAX));
        match call.id {
            GROUP => self.group = short()?,
            THRESHOLD => self.threshold = short()?,
            PREFIX if call.value.text.is_empty() => return Err(call.value.expected("a prefix")),
            // `struct xt_nflog_info` has room for 63 bytes; the tool truncates longer prefixes.
            PREFIX => self.prefix = call.value.text[..call.value.text.floor_char_boundary(63)].into(),
            option => self.len = Some((option == SIZE, any_u32(call.value)?)),
        }
        Ok(())
    }

    pub(super) fn print(&self, out: &mut String) {
        out.push_str(" -j NFLOG");
        if !self.prefix.is_empty() {
            out.push_str(" --nflog-prefix");
            print_string(out, &self.prefix);
        }
        if self.group != 0 {
            _ = write!(out, " --nflog-group {}", self.group);
        }
        match self.len {
            Some((true, len)) => _ = write!(out, " --nflog-size {len}"),
            Some((false, len)) if len != 0 => _ = write!(out, " --nflog-range {len}"),
            Some((false, _)) | None => {}
        }
        if self.threshold != 0 {
            _ = write!(out, " --nflog-threshold {}", self.threshold);
        }
    }
}

/// `-j CHECKSUM --checksum-fill`: computes a checksum that a device would (net/netfilter/xt_CHECKSUM.c). Packets of the
/// simulator always have theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Checksum;

impl Checksum {
    pub(super) const OPTIONS: &'static [Opt] = &[Opt::flag("checksum-fill", 0).mandatory()];

    pub(super) fn print(out: &mut String) {
        out.push_str(" -j CHECKSUM --checksum-fill");
    }
}
