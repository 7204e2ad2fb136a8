//! `socket`: a socket of this netns is open for the packet (net/netfilter/xt_socket.c).
//!
//! No process of the simulator sets `IP_TRANSPARENT`, so `--transparent` never matches.

use crate::ct::{CtInfo, CtStatus, PacketCt};
use crate::hook::Hook;
use crate::tuple::{Direction, L4Key};
use crate::wire::{Icmpv4, Quote, protocol};
use crate::xtables::chain::HookMask;
use crate::xtables::error::Parse;
use crate::xtables::look::Look;
use crate::xtables::options::{Call, Opt};
use std::net::IpAddr;

const TRANSPARENT: u8 = 0;
const NO_WILDCARD: u8 = 1;
const RESTORE_MARK: u8 = 2;

/// `-m socket`: bits of its options. Sockets have no marks of their own, so `--restore-skmark` changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Socket(u8);

/// The ends of a packet as a socket sees them.
struct Ends {
    protocol: u8,
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
}

impl Socket {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::flag("transparent", TRANSPARENT),
        Opt::flag("nowildcard", NO_WILDCARD),
        Opt::flag("restore-skmark", RESTORE_MARK),
    ];
    pub(super) const ALLOWED_HOOKS: HookMask = HookMask::of(&[Hook::Prerouting, Hook::Input]);

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        self.0 |= 1 << call.id;
        Ok(())
    }

    const fn has(&self, id: u8) -> bool {
        self.0 & 1 << id != 0
    }

    pub(super) fn print(&self, out: &mut String) {
        for (id, name) in [
            (TRANSPARENT, " --transparent"),
            (NO_WILDCARD, " --nowildcard"),
            (RESTORE_MARK, " --restore-skmark"),
        ] {
            out.push_str(if self.has(id) { name } else { "" });
        }
    }

    // Linux: socket_match.
    pub(super) fn holds(&self, look: &Look<'_, '_, '_>) -> bool {
        let Some(Ends { protocol, local, remote }) = ends(look) else { return false };
        let Some(found) = look.ctx.sockets.of_packet(protocol, local, remote) else { return false };
        !self.has(TRANSPARENT) && (self.has(NO_WILDCARD) || !found.is_on_all_addresses)
    }
}

// Linux: nf_sk_lookup_slow_v4 and extract_icmp4_fields, net/ipv4/netfilter/nf_socket_ipv4.c.
fn ends(look: &Look<'_, '_, '_>) -> Option<Ends> {
    let headers = look.headers;
    let mut ends = match headers.protocol {
        protocol::TCP | protocol::UDP => {
            let (src, dst) = headers.l4.ports()?;
            Ends { protocol: headers.protocol, local: (headers.dst, dst), remote: (headers.src, src) }
        }
        protocol::ICMP => quoted_ends(look)?,
        _ => return None,
    };
    if let Some(original) = before_masquerade(look) {
        ends.local = original;
    }
    Some(ends)
}

/// The ends of the packet that an ICMP error quotes, which this netns has sent.
fn quoted_ends(look: &Look<'_, '_, '_>) -> Option<Ends> {
    let icmp = Icmpv4::new_checked(look.transport()).filter(Icmpv4::is_error)?;
    let quote = Quote::parse(icmp.payload())?;
    let number = quote.ip.protocol();
    if number != protocol::TCP && number != protocol::UDP {
        return None;
    }
    let (src, dst) = quote.ports()?;
    Some(Ends { protocol: number, local: (quote.ip.src().into(), src), remote: (quote.ip.dst().into(), dst) })
}

/// The source of the flow before SNAT, if the packet is a reply to it: PREROUTING of raw and mangle precede NAT.
fn before_masquerade(look: &Look<'_, '_, '_>) -> Option<(IpAddr, u16)> {
    let PacketCt::Entry { id, info } = look.packet.meta.ct else { return None };
    let is_reply = match info {
        CtInfo::EstablishedReply => look.headers.protocol != protocol::ICMP,
        CtInfo::RelatedReply => look.headers.protocol == protocol::ICMP,
        CtInfo::Established | CtInfo::Related | CtInfo::New => false,
    };
    let entry = look.ctx.conntrack.entry(id).filter(|_| is_reply)?;
    if !entry.status().contains(CtStatus::SRC_NAT_DONE) {
        return None;
    }
    let original = entry.tuple(Direction::Original);
    match original.l4 {
        L4Key::Ports { src, .. } => Some((original.src, src)),
        L4Key::Icmp { .. } | L4Key::Generic => None,
    }
}
