//! `TPROXY`: gives a packet to a transparent proxy on this node (net/netfilter/xt_TPROXY.c).
//!
//! No process of the simulator sets `IP_TRANSPARENT`, so there is no proxy, and the target drops every packet.

use crate::hook::Family;
use crate::hook::Hook;
use crate::wire::protocol;
use crate::xtables::chain::HookMask;
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::{mark_mask, plain_v4, plain_v6};
use std::fmt::Write as _;
use std::net::IpAddr;

const PORT: u8 = 0;
const ADDR: u8 = 1;
const MARK: u8 = 2;

/// `-j TPROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Tproxy {
    port: u16,
    addr: IpAddr,
    mark: (u32, u32),
}

impl Tproxy {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::value("on-port", PORT).mandatory(),
        Opt::value("on-ip", ADDR),
        Opt::value("tproxy-mark", MARK),
    ];
    pub(super) const ALLOWED_HOOKS: HookMask = HookMask::of(&[Hook::Prerouting]);

    pub(super) fn new(family: Family) -> Self {
        let addr = match family {
            Family::Ipv4 => IpAddr::from([0_u8; 4]),
            Family::Ipv6 | Family::Bridge => IpAddr::from([0_u16; 8]),
        };
        Self { port: 0, addr, mark: (0, 0) }
    }

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        match call.id {
            PORT => self.port = crate::text::value::port(call.value)?,
            ADDR => {
                self.addr = match self.addr {
                    IpAddr::V4(_) => plain_v4(call.value)?.into(),
                    IpAddr::V6(_) => plain_v6(call.value)?.into(),
                }
            }
            _ => self.mark = mark_mask(call.value)?,
        }
        Ok(())
    }

    /// Linux: `tproxy_tg4_check`.
    pub(super) fn check(at: usize, (number, is_inverted): (u8, bool)) -> Parse<()> {
        if (number == protocol::TCP || number == protocol::UDP) && !is_inverted {
            return Ok(());
        }
        Err(Problem::new(RuleErrorKind::Refused, at, "`-p tcp` or `-p udp` in a rule with TPROXY", "neither"))
    }

    pub(super) fn print(&self, out: &mut String) {
        let (value, mask) = self.mark;
        _ = write!(
            out,
            " -j TPROXY --on-port {} --on-ip {} --tproxy-mark 0x{value:x}/0x{mask:x}",
            self.port, self.addr
        );
    }
}
