//! `TCPMSS`: lowers the MSS that a SYN announces (net/netfilter/xt_TCPMSS.c).

use super::lacks;
use crate::drop_reason::DropReason;
use crate::fib::{OutputKey, Routing};
use crate::hook::Hook;
use crate::netfilter::EvalCtx;
use crate::packet::Packet;
use crate::trace::RuleAction;
use crate::wire::checksum::Change;
use crate::wire::tcp::TCP_HEADER_LEN;
use crate::wire::{ETHERNET_HEADER_LEN, Ip, be16, tcp_option::kind};
use crate::xtables::chain::HookMask;
use crate::xtables::error::Parse;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::ranged;
use std::fmt::Write as _;
use std::net::IpAddr;

const SET: u8 = 0;
const CLAMP: u8 = 1;

/// Length of the option, and of the longest TCP header, in bytes.
const MSS_LEN: usize = 4;
const MAX_HEADER: usize = 60;
/// What is assumed of a SYN without the option (RFC 1122 §4.2.2.6).
const DEFAULT_MSS: u16 = 536;
/// As above, for IPv6: the smallest MTU without headers (RFC 8200 §8.3).
const DEFAULT_MSS_V6: u16 = 1220;
/// Offset of the checksum in a TCP header.
const CHECKSUM: usize = 16;

/// `-j TCPMSS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct Tcpmss {
    /// `None`: what the MTU of the path permits, in both directions.
    mss: Option<u16>,
}

impl Tcpmss {
    pub(super) const OPTIONS: &'static [Opt] =
        &[Opt::value("set-mss", SET), Opt::flag("clamp-mss-to-pmtu", CLAMP)];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        // Of both options, the tool takes the last (`TCPMSS_parse`, extensions/libxt_TCPMSS.c).
        self.mss = match call.id {
            // An IPv4 header and a TCP header need 40 bytes; the tool counts 20.
            SET => Some(u16::try_from(ranged(call.value, 0..=65_515)?).unwrap_or(u16::MAX)),
            _ => None,
        };
        Ok(())
    }

    pub(super) fn check(seen: u32, at: usize) -> Parse<()> {
        if seen == 0 { Err(lacks(at, "`--set-mss` or `--clamp-mss-to-pmtu`")) } else { Ok(()) }
    }

    /// Linux: `tcpmss_tg4_check`. In chains reached from elsewhere, the MTU of the path is not known.
    pub(super) const fn allowed_hooks(self) -> HookMask {
        match self.mss {
            Some(_) => HookMask::ALL,
            None => HookMask::of(&[Hook::Forward, Hook::Output, Hook::Postrouting]),
        }
    }

    pub(super) fn print(self, out: &mut String) {
        match self.mss {
            Some(mss) => _ = write!(out, " -j TCPMSS --set-mss {mss}"),
            None => out.push_str(" -j TCPMSS --clamp-mss-to-pmtu"),
        }
    }

    // Linux: tcpmss_tg4 and tcpmss_mangle_packet. `Err` is a packet that is dropped.
    pub(super) fn act(self, ctx: &EvalCtx<'_, '_>, packet: &mut Packet) -> Result<RuleAction, DropReason> {
        // A later fragment.
        if packet.ip().fragment_offset() != 0 {
            return Ok(RuleAction::Continue);
        }
        let (start, end) = (packet.ip().header_len(), packet.ip().total_len());
        let segment = packet.l3().get(start..end).unwrap_or_default();
        if segment.len() < TCP_HEADER_LEN {
            return Err(DropReason::NetfilterDrop);
        }
        let header_len = usize::from(segment[12] >> 4) * 4;
        if !(TCP_HEADER_LEN..=segment.len()).contains(&header_len) {
            return Err(DropReason::NetfilterDrop);
        }
        let has_data = segment.len() > header_len;
        let mss = match self.mss {
            Some(mss) => mss,
            None => path_mss(ctx, packet, start + TCP_HEADER_LEN).ok_or(DropReason::NetfilterDrop)?,
        };
        match mss_option(&packet.l3()[start..start + header_len]) {
            Some((_, old)) if old <= mss => Ok(RuleAction::Continue),
            Some((at, old)) => {
                lower(&mut packet.l3_mut()[start..], at, old, mss);
                Ok(RuleAction::Mss { old: Some(old), new: mss })
            }
            // The option cannot be inserted before data, nor into a header that is full.
            None if has_data || header_len == MAX_HEADER => Ok(RuleAction::Continue),
            None => {
                let mss = mss.min(default_mss(packet));
                insert(packet, start, mss);
                Ok(RuleAction::Mss { old: None, new: mss })
            }
        }
    }
}

/// The largest segment for which both directions of the path have room, `headers_len` bytes of a packet being headers; `None`
/// if that leaves nothing.
fn path_mss(ctx: &EvalCtx<'_, '_>, packet: &Packet, headers_len: usize) -> Option<u16> {
    let device_mtu = |device| ctx.devices.get(device).mtu;
    let there = packet.meta.route.map(|route| route.mtu(device_mtu(route.device)));
    // Linux: tcpmss_reverse_mtu: the route to the sender, as for a packet of this netns. IPv6 routes are not modelled.
    let back = match packet.ip().src() {
        IpAddr::V4(sender) => {
            let routing = Routing { devices: ctx.devices, fib: ctx.fib, sysctls: ctx.sysctls };
            routing.output(&OutputKey::to(sender)).ok().map(|route| route.mtu(device_mtu(route.device)))
        }
        IpAddr::V6(_) => None,
    };
    let smallest = there.into_iter().chain(back).min().unwrap_or(u16::MAX);
    smallest.checked_sub(u16::try_from(headers_len).ok()?).filter(|mss| *mss > 0)
}

fn default_mss(packet: &Packet) -> u16 {
    match packet.ip().src() {
        IpAddr::V4(_) => DEFAULT_MSS,
        IpAddr::V6(_) => DEFAULT_MSS_V6,
    }
}

/// Position and value of the MSS option in a TCP header. Unlike an endpoint, the target goes on after the end of the list and
/// after a malformed option (`optlen`).
fn mss_option(header: &[u8]) -> Option<(usize, u16)> {
    let mut at = TCP_HEADER_LEN;
    while at + MSS_LEN <= header.len() {
        if header[at] == kind::MSS && usize::from(header[at + 1]) == MSS_LEN {
            return Some((at, be16(header, at + 2)));
        }
        at += match (header[at], header[at + 1]) {
            (kind::END | kind::NOP, _) | (_, 0) => 1,
            (_, len) => usize::from(len),
        };
    }
    None
}

/// Writes a lower value into the option at `at` of a segment.
fn lower(segment: &mut [u8], at: usize, old: u16, new: u16) {
    segment[at + 2..at + MSS_LEN].copy_from_slice(&new.to_be_bytes());
    // At an odd offset this makes the checksum wrong, as in the kernel.
    patch(segment, Change::of16(old, new));
}

/// Puts the option in front of the other options of a SYN without data, whose TCP header starts at `start`.
fn insert(packet: &mut Packet, start: usize, mss: u16) {
    let [high, low] = mss.to_be_bytes();
    let option = [kind::MSS, 4, high, low];
    let at = ETHERNET_HEADER_LEN + start + TCP_HEADER_LEN;
    packet.bytes.splice(at..at, option);
    let segment = &mut packet.l3_mut()[start..];
    let segment_len = u16::try_from(segment.len()).expect("a segment without data is short");
    let old = be16(segment, 12);
    // One more word of four bytes.
    segment[12] += 1 << 4;
    let new = be16(segment, 12);
    for (old, new) in [(segment_len - 4, segment_len), (old, new), (0, be16(&option, 0)), (0, mss)] {
        patch(segment, Change::of16(old, new));
    }
    match packet.ip_mut() {
        Ip::V4(mut ip) => {
            let (total_len, dont_fragment) = (ip.total_len(), ip.dont_fragment());
            let offset = u32::from(ip.fragment_offset());
            let more_fragments = ip.more_fragments();
            ip.set_part(total_len + 4, offset, more_fragments, dont_fragment);
        }
        Ip::V6(mut ip) => ip.set_payload_len(ip.payload_len() + 4),
    }
}

fn patch(segment: &mut [u8], change: Change) {
    let checksum = change.apply(be16(segment, CHECKSUM));
    segment[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
}
