//! Takes packets through hooks (`nf_hook_slow`, net/netfilter/core.c). The only module that refers to every subsystem
//! behind a hook.
//!
//! Each entry gets the packet and passes it on, rejects it, or keeps it; see
//! [`HookTable`](crate::hook_table::HookTable) for their order.

use super::{carry_out, defrag, end_packet, ip_output, ipvs};
use crate::context::Context;
use crate::ct::PacketCt;
use crate::drop_reason::DropReason;
use crate::hook::{Hook, HookState, Verdict};
use crate::hook_table::{BaseChain, HookEntry, HookOps};
use crate::netfilter::EvalCtx;
use crate::netfilter::conntrack::{nf_conntrack_confirm, nf_conntrack_in};
use crate::netfilter::nat::nf_nat_inet_fn;
use crate::netns::{AtHook, Netns};
use crate::packet::Packet;
use crate::trace::{Event, HookEvent, Terminal};
use crate::xtables::Xtables;
use std::net::IpAddr;

/// Why a packet did not pass a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It was dropped.
    Dropped(DropReason),
    /// An entry keeps it, or has sent it another way. Its sender sees no error.
    Stolen,
}

/// The result of an entry.
#[derive(Debug)]
#[must_use]
pub(super) enum Handled {
    /// `NF_ACCEPT`: continue with the next entry.
    Next(Packet),
    /// Passes the hook; the remaining entries do not see it. In the kernel such an entry calls `okfn` and returns
    /// `NF_STOLEN`.
    Through(Packet),
    /// `NF_DROP`.
    Dropped(Packet, DropReason),
    /// `NF_STOLEN`: the entry keeps it.
    Stolen,
}

impl Handled {
    fn by(verdict: Verdict, packet: Packet) -> Self {
        match verdict {
            Verdict::Accept => Self::Next(packet),
            Verdict::Drop(reason) => Self::Dropped(packet, reason),
        }
    }
}

/// Takes a packet through a hook (`nf_hook`, include/linux/netfilter.h). Returns it if it passed; else it has ended, or an
/// entry keeps it.
#[inline]
pub(crate) fn nf_hook(
    ns: &mut Netns,
    cx: &mut Context,
    state: HookState,
    packet: Packet,
) -> Result<Packet, Stopped> {
    if ns.hooks.entries(state.family, state.hook).is_empty() {
        return Ok(packet);
    }
    nf_hook_slow(ns, cx, state, packet)
}

fn nf_hook_slow(
    ns: &mut Netns,
    cx: &mut Context,
    state: HookState,
    mut packet: Packet,
) -> Result<Packet, Stopped> {
    let HookState { family, hook, in_dev, out_dev } = state;
    let enter = |cx: &mut Context, packet: &Packet| {
        cx.record(Some(packet.id), || Event::Hook(HookEvent::Entered { family, hook, in_dev, out_dev }));
    };
    let count = ns.hooks.entries(family, hook).len();
    let effects_before = cx.effects.len();
    let mut has_entered = false;
    for index in 0..count {
        let ops = ns.hooks.entries(family, hook)[index];
        // This entry decides if the packet enters the hook at all; it precedes all others.
        if !has_entered && ops.entry != HookEntry::SabotageIn {
            enter(cx, &packet);
            has_entered = true;
        }
        match run(ns, cx, state, ops, packet) {
            Handled::Next(next) => packet = next,
            Handled::Through(packet) => return Ok(packet),
            Handled::Dropped(packet, reason) => {
                cx.record(Some(packet.id), || Event::Hook(HookEvent::Dropped { hook, reason }));
                return Err(stop(ns, cx, packet, reason, effects_before));
            }
            Handled::Stolen => return Err(Stopped::Stolen),
        }
    }
    if !has_entered {
        enter(cx, &packet);
    }
    cx.record(Some(packet.id), || Event::Hook(HookEvent::Accepted { hook }));
    Ok(packet)
}

/// Drops a packet after its sender was informed: the reply needs its conntrack entry.
fn stop(
    ns: &mut Netns,
    cx: &mut Context,
    packet: Packet,
    reason: DropReason,
    effects_before: usize,
) -> Stopped {
    let answers = carry_out(ns, cx, effects_before);
    let terminal = if answers { Terminal::Rejected(reason) } else { Terminal::Dropped(reason) };
    end_packet(ns, cx, packet, terminal);
    Stopped::Dropped(reason)
}

/// The packet fields that routing depends on and that an entry may change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct RouteKey {
    src: IpAddr,
    dst: IpAddr,
    tos: u8,
    mark: u32,
}

impl RouteKey {
    fn of(packet: &Packet) -> Self {
        let ip = packet.ip();
        Self { src: ip.src(), dst: ip.dst(), tos: ip.dsfield(), mark: packet.meta.mark }
    }
}

/// Runs one entry, and reroutes the packet if the entry requires it.
fn run(ns: &mut Netns, cx: &mut Context, state: HookState, ops: HookOps, packet: Packet) -> Handled {
    if !ops.is_rerouting {
        return run_entry(ns, cx, state, ops.entry, packet);
    }
    let before = RouteKey::of(&packet);
    match run_entry(ns, cx, state, ops.entry, packet) {
        Handled::Next(packet) if RouteKey::of(&packet) != before => reroute(ns, cx, packet),
        handled @ (Handled::Next(_) | Handled::Through(_) | Handled::Dropped(..) | Handled::Stolen) => {
            handled
        }
    }
}

fn run_entry(
    ns: &mut Netns,
    cx: &mut Context,
    state: HookState,
    entry: HookEntry,
    mut packet: Packet,
) -> Handled {
    match entry {
        HookEntry::SabotageIn => ip_sabotage_in(packet),
        HookEntry::Defrag => defrag::ipv4_conntrack_defrag(ns, cx, state, packet),
        HookEntry::Conntrack => {
            let verdict = nf_conntrack_in(&mut ns.at_hook(cx, state).ctx, &mut packet);
            Handled::by(verdict, packet)
        }
        HookEntry::Confirm => {
            let verdict = nf_conntrack_confirm(&mut ns.at_hook(cx, state).ctx, &mut packet);
            Handled::by(verdict, packet)
        }
        HookEntry::Nat => nat(ns, cx, state, packet),
        HookEntry::IpvsOut => ipvs::ip_vs_out_hook(ns, cx, state, packet),
        HookEntry::IpvsIn => ipvs::ip_vs_in_hook(ns, cx, state, packet),
        HookEntry::IpvsForwardIcmp => ipvs::ip_vs_forward_icmp(ns, cx, state, packet),
        HookEntry::Chain(chain) => {
            let AtHook { mut ctx, xtables, .. } = ns.at_hook(cx, state);
            let verdict = eval(xtables, chain, &mut ctx, &mut packet);
            Handled::by(verdict, packet)
        }
    }
}

/// A packet that traversed PREROUTING on a bridge does not traverse it again when passed up (`ip_sabotage_in`,
/// net/bridge/br_netfilter_hooks.c).
fn ip_sabotage_in(packet: Packet) -> Handled {
    if packet.meta.bridge.is_some_and(|info| !info.is_in_prerouting) {
        Handled::Through(packet)
    } else {
        Handled::Next(packet)
    }
}

/// Traverses a chain.
fn eval(xtables: &mut Xtables, chain: BaseChain, ctx: &mut EvalCtx, packet: &mut Packet) -> Verdict {
    match chain {
        BaseChain::Xtables(table) => xtables.eval(ctx.state.family, table, ctx, packet),
    }
}

/// NAT, and rerouting of packets whose destination differs from the source of replies (`nf_nat_ipv4_*`,
/// net/netfilter/nf_nat_proto.c).
// Part of `run_entry`, it would slow down the entries that do little.
#[inline(never)]
fn nat(ns: &mut Netns, cx: &mut Context, state: HookState, mut packet: Packet) -> Handled {
    let dst_before = (state.hook == Hook::Prerouting).then(|| packet.ip().dst());
    let AtHook { mut ctx, xtables, hooks } = ns.at_hook(cx, state);
    let chains = hooks.nat_chains(state.family, state.hook).iter().map(|(_, chain)| *chain);
    let ask = |ctx: &mut EvalCtx, packet: &mut Packet, chain| eval(xtables, chain, ctx, packet);
    let verdict = nf_nat_inet_fn(&mut ctx, &mut packet, chains, ask);
    if verdict != Verdict::Accept {
        return Handled::by(verdict, packet);
    }
    match state.hook {
        // The route of a packet received on the loopback device is outdated after DNAT (nf_nat_ipv4_pre_routing).
        Hook::Prerouting => {
            if dst_before.is_some_and(|before| packet.ip().dst() != before) {
                packet.meta.route = None;
            }
            Handled::Next(packet)
        }
        Hook::Output if is_sent_elsewhere(ns, &packet) => reroute(ns, cx, packet),
        Hook::Input | Hook::Forward | Hook::Output | Hook::Postrouting => Handled::Next(packet),
    }
}

/// True if the packet's conntrack entry names another destination than the source of the replies. It need not be NAT that
/// translated it: a packet that IPVS sends to a server passes OUTPUT again, with the mark that rules have set meanwhile
/// (`nf_nat_ipv4_local_fn`).
fn is_sent_elsewhere(ns: &Netns, packet: &Packet) -> bool {
    let PacketCt::Entry { id, info } = packet.meta.ct else { return false };
    let direction = info.direction();
    ns.conntrack
        .entry(id)
        .is_some_and(|entry| entry.tuple(direction).dst != entry.tuple(direction.opposite()).src)
}

fn reroute(ns: &mut Netns, cx: &mut Context, mut packet: Packet) -> Handled {
    match ip_output::ip_route_me_harder(ns, cx, &mut packet) {
        Ok(()) => Handled::Next(packet),
        Err(reason) => Handled::Dropped(packet, reason),
    }
}
