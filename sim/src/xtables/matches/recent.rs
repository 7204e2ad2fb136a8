//! `recent`: if, how often and how recently an address was seen (net/netfilter/xt_recent.c).

use crate::hook::Family;
use crate::mutation::Mutation;
use crate::time::Duration;
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::look::Look;
use crate::xtables::options::{Call, Opt};
use crate::xtables::recent_lists::{ListId, RecentLists};
use crate::xtables::value::{any_u32, plain_v4, plain_v6, ranged};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const SET: u8 = 0;
const RCHECK: u8 = 1;
const UPDATE: u8 = 2;
const REMOVE: u8 = 3;
const SECONDS: u8 = 4;
const REAP: u8 = 5;
const HITCOUNT: u8 = 6;
const RTTL: u8 = 7;
const NAME: u8 = 8;
const RSOURCE: u8 = 9;
const RDEST: u8 = 10;
const MASK: u8 = 11;

/// The operation on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Set,
    Check,
    Update,
    Remove,
}

/// `-m recent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Recent {
    operation: Option<Operation>,
    is_inverted: bool,
    /// Zero means any time.
    seconds: u32,
    reap: bool,
    /// Zero means any count.
    hits: u32,
    checks_ttl: bool,
    name: Box<str>,
    looks_at_dst: bool,
    mask: IpAddr,
    list: Option<ListId>,
}

/// `XT_RECENT_MAX_NSTAMPS`.
const MAX_STAMPS: u32 = 65_536;
/// Time stamps kept per address unless a rule needs more.
const DEFAULT_STAMPS: usize = 32;
/// `XT_RECENT_NAME_LEN` without its terminator.
const MAX_NAME_LEN: usize = 199;

const fn operation(name: &'static str, id: u8) -> Opt {
    Opt::flag(name, id).invertible().excluding(0b1111)
}

impl Recent {
    pub(super) const OPTIONS: &'static [Opt] = &[
        operation("set", SET),
        operation("rcheck", RCHECK),
        operation("update", UPDATE),
        operation("remove", REMOVE),
        Opt::value("seconds", SECONDS),
        Opt::flag("reap", REAP).requiring(1 << SECONDS),
        Opt::value("hitcount", HITCOUNT),
        Opt::flag("rttl", RTTL).excluding(1 << SET | 1 << REMOVE),
        Opt::value("name", NAME),
        Opt::flag("rsource", RSOURCE),
        Opt::flag("rdest", RDEST),
        Opt::value("mask", MASK),
    ];

    pub(super) fn new(family: Family) -> Self {
        Self {
            operation: None,
            is_inverted: false,
            seconds: 0,
            reap: false,
            hits: 0,
            checks_ttl: false,
            name: "DEFAULT".into(),
            looks_at_dst: false,
            mask: match family {
                Family::Ipv4 => Ipv4Addr::BROADCAST.into(),
                Family::Ipv6 | Family::Bridge => Ipv6Addr::from_bits(u128::MAX).into(),
            },
            list: None,
        }
    }

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        self.is_inverted |= call.is_inverted;
        match call.id {
            SET => self.operation = Some(Operation::Set),
            RCHECK => self.operation = Some(Operation::Check),
            UPDATE => self.operation = Some(Operation::Update),
            REMOVE => self.operation = Some(Operation::Remove),
            SECONDS => self.seconds = ranged(call.value, 1..=u32::MAX)?,
            REAP => self.reap = true,
            HITCOUNT => self.hits = any_u32(call.value)?,
            RTTL => self.checks_ttl = true,
            NAME => self.name = list_name(call)?,
            RSOURCE => self.looks_at_dst = false,
            RDEST => self.looks_at_dst = true,
            _ => {
                self.mask = match self.mask {
                    IpAddr::V4(_) => plain_v4(call.value)?.into(),
                    IpAddr::V6(_) => plain_v6(call.value)?.into(),
                }
            }
        }
        Ok(())
    }

    /// Linux: `recent_mt_check`.
    pub(super) fn finish(mut self: Box<Self>, at: usize, lists: &mut RecentLists) -> Parse<Box<Self>> {
        let asks = self.seconds != 0 || self.hits != 0 || self.checks_ttl || self.reap;
        match self.operation {
            None => {
                let expected = "`--set`, `--rcheck`, `--update` or `--remove`";
                return Err(Problem::new(RuleErrorKind::Syntax, at, expected, "none"));
            }
            Some(Operation::Set | Operation::Remove) if asks => {
                return Err(Problem::new(
                    RuleErrorKind::Refused,
                    at,
                    "`--set` or `--remove` without `--seconds`, `--hitcount`, `--rttl` and `--reap`",
                    "both",
                ));
            }
            Some(Operation::Set | Operation::Remove | Operation::Check | Operation::Update) => {}
        }
        if self.hits >= MAX_STAMPS {
            let expected = format!("`--hitcount` below {MAX_STAMPS}");
            return Err(Problem::new(RuleErrorKind::Refused, at, expected, format!("`{}`", self.hits)));
        }
        self.list = Some(lists.intern(&self.name));
        Ok(self)
    }

    /// Acquires the list when the rule is added to a chain.
    pub(in crate::xtables) fn hold(&self, lists: &mut RecentLists) {
        let stamps = match usize::try_from(self.hits).unwrap_or(usize::MAX) {
            0 => DEFAULT_STAMPS,
            hits => hits.next_power_of_two(),
        };
        lists.hold(self.list_id(), stamps, self.mask);
    }

    /// The list; set once the rule has been parsed.
    pub(in crate::xtables) const fn list_id(&self) -> ListId {
        self.list.expect("parsing is finished")
    }

    pub(super) fn print(&self, out: &mut String) {
        out.push_str(if self.is_inverted { " !" } else { "" });
        out.push_str(match self.operation {
            Some(Operation::Set) => " --set",
            Some(Operation::Check) => " --rcheck",
            Some(Operation::Update) => " --update",
            Some(Operation::Remove) => " --remove",
            None => "",
        });
        if self.seconds != 0 {
            _ = write!(out, " --seconds {}", self.seconds);
        }
        out.push_str(if self.reap { " --reap" } else { "" });
        if self.hits != 0 {
            _ = write!(out, " --hitcount {}", self.hits);
        }
        out.push_str(if self.checks_ttl { " --rttl" } else { "" });
        let side = if self.looks_at_dst { "--rdest" } else { "--rsource" };
        _ = write!(out, " --name {} --mask {} {side}", self.name, self.mask);
    }

    // Linux: recent_mt, net/netfilter/xt_recent.c
    pub(super) fn holds(&self, look: &mut Look<'_, '_, '_>) -> bool {
        let now = look.ctx.cx.now;
        let addr = if self.looks_at_dst { look.headers.dst } else { look.headers.src };
        let ttl = self.ttl_before_forwarding(look);
        let list = look.recent.list_mut(self.list_id());
        let addr = list.masked(addr);
        let Some(position) = list.find(addr, if self.checks_ttl { ttl } else { 0 }) else {
            if self.operation != Some(Operation::Set) {
                return self.is_inverted;
            }
            list.add(addr, ttl, now);
            return !self.is_inverted;
        };
        match self.operation {
            Some(Operation::Set) => {
                if !Mutation::RecentSetOnce.is_on() {
                    list.update(position, ttl, now);
                }
                !self.is_inverted
            }
            Some(Operation::Remove) => {
                list.remove(position);
                !self.is_inverted
            }
            Some(Operation::Check | Operation::Update) | None => {
                let window = (self.seconds > 0 && !Mutation::RecentSecondsIgnored.is_on())
                    .then(|| Duration::from_secs(self.seconds.into()));
                let wanted = usize::try_from(self.hits.max(1)).unwrap_or(usize::MAX);
                let holds = (list.hits(position, window, now) >= wanted) != self.is_inverted;
                if let (true, Some(window)) = (self.reap, window) {
                    list.reap(window, now);
                }
                // The reaper may just have removed this entry.
                if self.operation == Some(Operation::Update)
                    && holds
                    && let Some(position) = list.find(addr, 0)
                {
                    list.update(position, ttl, now);
                }
                holds
            }
        }
    }

    /// The TTL of the packet before this netns forwarded it, which decrements it.
    ///
    /// Linux: `xt_out(par) != NULL && (!skb->sk || !net_eq(net, sock_net(skb->sk)))`; a packet without an input device
    /// is assumed to come from a socket of this netns.
    fn ttl_before_forwarding(&self, look: &Look<'_, '_, '_>) -> u8 {
        let is_forwarded = look.ctx.state.out_dev.is_some() && look.packet.meta.in_dev.is_some();
        look.headers.ttl.wrapping_add(u8::from(is_forwarded))
    }
}

/// A name that is valid as a file in /proc (`xt_check_proc_name`, net/netfilter/x_tables.c).
fn list_name(call: &Call<'_>) -> Parse<Box<str>> {
    let name = call.value.text;
    if name.is_empty() || name.len() > MAX_NAME_LEN || name.contains('/') || name == "." || name == ".." {
        return Err(call.value.expected("a list name of 1 to 199 bytes without `/`"));
    }
    Ok(name.into())
}
