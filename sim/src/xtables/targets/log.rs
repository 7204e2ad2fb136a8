//! `LOG`: inert; the trace shows that the rule matched (net/netfilter/xt_LOG.c).

use crate::xtables::error::Parse;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::{is_beginning_of, number, print_string};
use std::fmt::Write as _;

const LEVEL: u8 = 0;
const PREFIX: u8 = 1;
const FIRST_FLAG: u8 = 2;

/// Flags in the tool's print order.
const FLAGS: [&str; 5] =
    ["log-tcp-sequence", "log-tcp-options", "log-ip-options", "log-uid", "log-macdecode"];

/// `KERN_WARNING`.
const DEFAULT_LEVEL: u8 = 4;

/// `-j LOG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Log {
    level: u8,
    prefix: Box<str>,
    flags: u8,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: DEFAULT_LEVEL, prefix: "".into(), flags: 0 }
    }
}

impl Log {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::value("log-level", LEVEL),
        Opt::value("log-prefix", PREFIX),
        Opt::flag(FLAGS[0], FIRST_FLAG),
        Opt::flag(FLAGS[1], FIRST_FLAG + 1),
        Opt::flag(FLAGS[2], FIRST_FLAG + 2),
        Opt::flag(FLAGS[3], FIRST_FLAG + 3),
        Opt::flag(FLAGS[4], FIRST_FLAG + 4),
    ];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        match call.id {
            LEVEL => {
                self.level = level(call.value.text)
                    .ok_or_else(|| call.value.expected("a level from 0 to 7, or its name such as `debug`"))?;
            }
            PREFIX if call.value.text.is_empty() => {
                return Err(call.value.expected("a prefix"));
            }
            // `struct xt_log_info` has room for 29 bytes; the tool truncates longer prefixes.
            PREFIX => self.prefix = call.value.text[..call.value.text.floor_char_boundary(29)].into(),
            flag => self.flags |= 1 << (flag - FIRST_FLAG),
        }
        Ok(())
    }

    pub(super) fn print(&self, out: &mut String) {
        out.push_str(" -j LOG");
        if !self.prefix.is_empty() {
            out.push_str(" --log-prefix");
            print_string(out, &self.prefix);
        }
        if self.level != DEFAULT_LEVEL {
            _ = write!(out, " --log-level {}", self.level);
        }
        for (_, flag) in FLAGS.iter().enumerate().filter(|(bit, _)| self.flags & 1 << bit != 0) {
            _ = write!(out, " --{flag}");
        }
    }
}

fn level(text: &str) -> Option<u8> {
    const NAMES: [(&str, u8); 11] = [
        ("alert", 1),
        ("crit", 2),
        ("debug", 7),
        ("emerg", 0),
        ("error", 3),
        ("info", 6),
        ("notice", 5),
        ("panic", 0),
        ("warning", 4),
        ("err", 3),
        ("warn", 4),
    ];
    let by_number = number(text).and_then(|read| u8::try_from(read).ok()).filter(|level| *level <= 7);
    by_number.or_else(|| NAMES.iter().find(|(name, _)| is_beginning_of(text, name)).map(|(_, level)| *level))
}
