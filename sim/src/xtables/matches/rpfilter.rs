//! `rpfilter`: a reply to the packet would leave through the device on which it came in (net/ipv4/netfilter/ipt_rpfilter.c).

use crate::fib::FlowKey;
use crate::hook::Hook;
use crate::ids::DeviceId;
use crate::route::RouteKind;
use crate::xtables::chain::HookMask;
use crate::xtables::error::Parse;
use crate::xtables::kind::TableKind;
use crate::xtables::look::Look;
use crate::xtables::options::{Call, Opt};
use std::net::{IpAddr, Ipv4Addr};

const LOOSE: u8 = 0;
const VALID_MARK: u8 = 1;
const ACCEPT_LOCAL: u8 = 2;
const INVERT: u8 = 3;

/// The options, in the order in which they are printed.
const NAMES: [(u8, &str); 4] = [
    (LOOSE, " --loose"),
    (VALID_MARK, " --validmark"),
    (ACCEPT_LOCAL, " --accept-local"),
    (INVERT, " --invert"),
];

/// `-m rpfilter`: bits of its options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Rpfilter(u8);

impl Rpfilter {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::flag("loose", LOOSE),
        Opt::flag("validmark", VALID_MARK),
        Opt::flag("accept-local", ACCEPT_LOCAL),
        Opt::flag("invert", INVERT),
    ];
    pub(super) const ALLOWED_HOOKS: HookMask = HookMask::of(&[Hook::Prerouting]);
    /// Linux: `rpfilter_check`.
    pub(super) const TABLES: &'static [TableKind] = &[TableKind::Mangle, TableKind::Raw];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        self.0 |= 1 << call.id;
        Ok(())
    }

    const fn has(&self, id: u8) -> bool {
        self.0 & 1 << id != 0
    }

    pub(super) fn print(&self, out: &mut String) {
        for (id, name) in NAMES {
            out.push_str(if self.has(id) { name } else { "" });
        }
    }

    // Linux: rpfilter_mt.
    pub(super) fn holds(&self, look: &Look<'_, '_, '_>) -> bool {
        self.has_way_back(look) != self.has(INVERT)
    }

    fn has_way_back(&self, look: &Look<'_, '_, '_>) -> bool {
        // IPv6 routes are not modelled.
        let (IpAddr::V4(src), IpAddr::V4(dst)) = (look.headers.src, look.headers.dst) else { return true };
        let Some(device) = look.ctx.state.in_dev else { return true };
        if look.ctx.devices.get(device).is_loopback() {
            return true;
        }
        if dst.is_multicast() && src.octets()[0] == 0 {
            return dst.octets()[..3] == [224, 0, 0];
        }
        self.lookup_reverse(look, device, src, dst)
    }

    // Linux: rpfilter_lookup_reverse; rpfilter_get_saddr.
    fn lookup_reverse(
        &self,
        look: &Look<'_, '_, '_>,
        device: DeviceId,
        src: Ipv4Addr,
        dst: Ipv4Addr,
    ) -> bool {
        let has_no_source = dst.is_multicast() || dst.is_broadcast() || dst.octets()[0] == 0;
        let key = FlowKey {
            src: if has_no_source { Ipv4Addr::UNSPECIFIED } else { dst },
            mark: if self.has(VALID_MARK) { look.packet.meta.mark } else { 0 },
            ..FlowKey::to(src)
        };
        let Ok(entry) = look.ctx.fib.lookup_flow(&key) else { return false };
        let is_accepted = match entry.route.kind {
            RouteKind::Unicast => true,
            RouteKind::Local => self.has(ACCEPT_LOCAL),
            RouteKind::Broadcast
            | RouteKind::Multicast
            | RouteKind::Unreachable
            | RouteKind::Prohibit
            | RouteKind::Blackhole => false,
        };
        is_accepted && (entry.device == Some(device) || self.has(LOOSE))
    }
}
