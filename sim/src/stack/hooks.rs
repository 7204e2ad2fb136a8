//! The hook table of a netns, and the only place that names every subsystem behind a hook.
//!
//! (family, hook) leads to entries ordered by priority; each gives its own verdict (`nf_hook_slow`, net/netfilter/core.c).

use super::{carry_out, defrag, end_packet, ip_output};
use crate::context::Context;
use crate::ct::PacketCt;
use crate::drop_reason::DropReason;
use crate::hook::{Family, Hook, HookState, Priority, Verdict};
use crate::netfilter::EvalCtx;
use crate::netfilter::conntrack::{nf_conntrack_confirm, nf_conntrack_in};
use crate::netfilter::nat::{NatStep, nat_begin, nat_packet, null_binding};
use crate::netns::Netns;
use crate::packet::Packet;
use crate::trace::{Event, HookEvent, Terminal};
use crate::wire::rewrite::Side;
use crate::xtables::TableKind;

/// A subsystem behind a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookEntry {
    /// `ip_sabotage_in` of br_netfilter: a packet that passed PREROUTING on the bridge skips it on the way up.
    SabotageIn,
    /// `ipv4_conntrack_defrag`: puts fragments together, so that rules see whole packets.
    Defrag,
    /// `ipv4_conntrack_in`, `ipv4_conntrack_local`: finds or makes the conntrack entry.
    Conntrack,
    /// `nf_confirm`: puts a new entry into the table.
    Confirm,
    /// `ipt_do_table` for one table.
    Xtables(TableKind),
    /// `nf_nat_inet_fn` with the chains that it consults while the flow has no binding.
    Nat(Side),
}

/// One row of the table that says which entry stands where.
struct Registration {
    needs: Needs,
    hook: Hook,
    priority: Priority,
    entry: HookEntry,
}

/// What must be in use before the kernel registers an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// br_netfilter, which this kernel always has.
    Nothing,
    /// Some rule that refers to conntrack (`nf_ct_netns_get`, net/netfilter/nf_conntrack_proto.c).
    Conntrack,
    /// That table (`xt_hook_ops_alloc` with `ipt_register_table`, net/ipv4/netfilter/ip_tables.c).
    Table(TableKind),
}

const fn row(needs: Needs, hook: Hook, priority: Priority, entry: HookEntry) -> Registration {
    Registration { needs, hook, priority, entry }
}

/// Who stands where. Rows of one hook and priority run in this order.
const REGISTRATIONS: &[Registration] = &[
    // NF_IP_PRI_FIRST: must come before anything that PREROUTING on the bridge has done already (br_nf_ops).
    row(Needs::Nothing, Hook::Prerouting, Priority(i32::MIN), HookEntry::SabotageIn),
    // ipv4_defrag_ops, net/ipv4/netfilter/nf_defrag_ipv4.c: conntrack asks for it (nf_ct_netns_do_get).
    row(Needs::Conntrack, Hook::Prerouting, Priority::CONNTRACK_DEFRAG, HookEntry::Defrag),
    row(Needs::Conntrack, Hook::Output, Priority::CONNTRACK_DEFRAG, HookEntry::Defrag),
    // ipv4_conntrack_ops, net/netfilter/nf_conntrack_proto.c: a packet is tracked where it enters, confirmed where it leaves.
    row(Needs::Conntrack, Hook::Prerouting, Priority::CONNTRACK, HookEntry::Conntrack),
    row(Needs::Conntrack, Hook::Output, Priority::CONNTRACK, HookEntry::Conntrack),
    row(Needs::Conntrack, Hook::Postrouting, Priority::CONNTRACK_CONFIRM, HookEntry::Confirm),
    row(Needs::Conntrack, Hook::Input, Priority::CONNTRACK_CONFIRM, HookEntry::Confirm),
    // iptable_raw.c: before conntrack, so that NOTRACK can exempt a packet.
    row(Needs::Table(TableKind::Raw), Hook::Prerouting, Priority::RAW, HookEntry::Xtables(TableKind::Raw)),
    row(Needs::Table(TableKind::Raw), Hook::Output, Priority::RAW, HookEntry::Xtables(TableKind::Raw)),
    // iptable_mangle.c: on every hook, before the packet is translated.
    row(
        Needs::Table(TableKind::Mangle),
        Hook::Prerouting,
        Priority::MANGLE,
        HookEntry::Xtables(TableKind::Mangle),
    ),
    row(
        Needs::Table(TableKind::Mangle),
        Hook::Input,
        Priority::MANGLE,
        HookEntry::Xtables(TableKind::Mangle),
    ),
    row(
        Needs::Table(TableKind::Mangle),
        Hook::Forward,
        Priority::MANGLE,
        HookEntry::Xtables(TableKind::Mangle),
    ),
    row(
        Needs::Table(TableKind::Mangle),
        Hook::Output,
        Priority::MANGLE,
        HookEntry::Xtables(TableKind::Mangle),
    ),
    row(
        Needs::Table(TableKind::Mangle),
        Hook::Postrouting,
        Priority::MANGLE,
        HookEntry::Xtables(TableKind::Mangle),
    ),
    // nf_nat_ipv4_ops, net/netfilter/nf_nat_proto.c: destinations before routing, sources after it.
    row(Needs::Table(TableKind::Nat), Hook::Prerouting, Priority::NAT_DST, HookEntry::Nat(Side::Dst)),
    row(Needs::Table(TableKind::Nat), Hook::Output, Priority::NAT_DST, HookEntry::Nat(Side::Dst)),
    row(Needs::Table(TableKind::Nat), Hook::Input, Priority::NAT_SRC, HookEntry::Nat(Side::Src)),
    row(Needs::Table(TableKind::Nat), Hook::Postrouting, Priority::NAT_SRC, HookEntry::Nat(Side::Src)),
    // iptable_filter.c: after DNAT, before SNAT, so that rules see the server and the real client.
    row(
        Needs::Table(TableKind::Filter),
        Hook::Input,
        Priority::FILTER,
        HookEntry::Xtables(TableKind::Filter),
    ),
    row(
        Needs::Table(TableKind::Filter),
        Hook::Forward,
        Priority::FILTER,
        HookEntry::Xtables(TableKind::Filter),
    ),
    row(
        Needs::Table(TableKind::Filter),
        Hook::Output,
        Priority::FILTER,
        HookEntry::Xtables(TableKind::Filter),
    ),
    // iptable_security.c: after filter, for mandatory access control.
    row(
        Needs::Table(TableKind::Security),
        Hook::Input,
        Priority::SECURITY,
        HookEntry::Xtables(TableKind::Security),
    ),
    row(
        Needs::Table(TableKind::Security),
        Hook::Forward,
        Priority::SECURITY,
        HookEntry::Xtables(TableKind::Security),
    ),
    row(
        Needs::Table(TableKind::Security),
        Hook::Output,
        Priority::SECURITY,
        HookEntry::Xtables(TableKind::Security),
    ),
];

/// The entries of each IPv4 hook, lowest priority first.
#[derive(Clone, Debug, Default)]
pub struct HookTable {
    ipv4: [Vec<(Priority, HookEntry)>; 5],
}

impl HookTable {
    /// Entries of one hook in the order in which they run.
    pub fn entries(&self, family: Family, hook: Hook) -> &[(Priority, HookEntry)] {
        match family {
            Family::Ipv4 => &self.ipv4[hook as usize],
            // IPv6 and bridge chains are not modelled: nothing is registered for them.
            Family::Ipv6 | Family::Bridge => &[],
        }
    }

    /// Registers what is in use, as the kernel does when a table or the first conntrack rule is loaded.
    pub(crate) fn register(&mut self, has_table: impl Fn(TableKind) -> bool, uses_conntrack: bool) {
        for hook in Hook::ALL {
            let mut entries: Vec<_> = REGISTRATIONS
                .iter()
                .filter(|row| row.hook == hook)
                .filter(|row| match row.needs {
                    Needs::Nothing => true,
                    Needs::Conntrack => uses_conntrack,
                    Needs::Table(table) => has_table(table),
                })
                .map(|row| (row.priority, row.entry))
                .collect();
            entries.sort_by_key(|(priority, _)| *priority);
            self.ipv4[hook as usize] = entries;
        }
    }
}

/// A packet that did not get through a hook. It has ended, or waits for other fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

/// Takes a packet through a hook. It comes back if every entry accepted it; else it has ended.
pub(crate) fn nf_hook(
    ns: &mut Netns,
    cx: &mut Context,
    state: HookState,
    mut packet: Packet,
) -> Result<Packet, Stopped> {
    if skips_prerouting(state, &packet) || ns.hooks.entries(state.family, state.hook).is_empty() {
        return Ok(packet);
    }
    let HookState { family, hook, in_dev, out_dev } = state;
    cx.record(Some(packet.id), || Event::Hook(HookEvent::Entered { family, hook, in_dev, out_dev }));
    let effects_before = cx.effects.len();
    for index in 0..ns.hooks.entries(family, hook).len() {
        let (_, entry) = ns.hooks.entries(family, hook)[index];
        if entry == HookEntry::Defrag {
            packet = defrag::ipv4_conntrack_defrag(ns, cx, state, packet)?;
            continue;
        }
        match run(ns, cx, state, entry, &mut packet) {
            Verdict::Accept => {}
            Verdict::Drop(reason) => {
                cx.record(Some(packet.id), || Event::Hook(HookEvent::Dropped { hook, reason }));
                return Err(stop(ns, cx, packet, reason, effects_before));
            }
            Verdict::Stolen => unreachable!("no entry of this table takes packets over"),
        }
    }
    cx.record(Some(packet.id), || Event::Hook(HookEvent::Accepted { hook }));
    Ok(packet)
}

/// Linux: `ip_sabotage_in`, net/bridge/br_netfilter_hooks.c. It runs first and steals the packet from the rest of the hook.
fn skips_prerouting(state: HookState, packet: &Packet) -> bool {
    state.hook == Hook::Prerouting && packet.meta.bridge.is_some_and(|info| !info.is_in_prerouting)
}

/// Ends a dropped packet, after whoever refused it has told the sender: the answer needs its conntrack entry.
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
    Stopped
}

fn run(ns: &mut Netns, cx: &mut Context, state: HookState, entry: HookEntry, packet: &mut Packet) -> Verdict {
    match entry {
        // Decided before the walk: see skips_prerouting.
        HookEntry::SabotageIn => Verdict::Accept,
        HookEntry::Defrag => unreachable!("it may take the packet over: see nf_hook"),
        HookEntry::Conntrack => nf_conntrack_in(&mut eval_ctx(ns, cx, state).0, packet),
        HookEntry::Confirm => nf_conntrack_confirm(&mut eval_ctx(ns, cx, state).0, packet),
        HookEntry::Xtables(TableKind::Mangle) if state.hook == Hook::Output => {
            mangle_output(ns, cx, state, packet)
        }
        HookEntry::Xtables(table) => {
            let (mut ctx, xtables) = eval_ctx(ns, cx, state);
            xtables.eval(state.family, table, &mut ctx, packet)
        }
        HookEntry::Nat(manip) => nat(ns, cx, state, manip, packet),
    }
}

/// The disjoint parts of a netns that evaluation may see.
fn eval_ctx<'a, 'b>(
    ns: &'a mut Netns,
    cx: &'a mut Context<'b>,
    state: HookState,
) -> (EvalCtx<'a, 'b>, &'a mut crate::xtables::Xtables) {
    let ctx = EvalCtx {
        cx,
        state,
        devices: &ns.devices,
        fib: &ns.fib,
        sysctls: &ns.sysctls,
        ipset: &mut ns.ipset,
        conntrack: &mut ns.conntrack,
    };
    (ctx, &mut ns.xtables)
}

/// A mark, address or TOS that changed in mangle OUTPUT can change the route (`ipt_mangle_out`, net/ipv4/netfilter/iptable_mangle.c).
fn mangle_output(ns: &mut Netns, cx: &mut Context, state: HookState, packet: &mut Packet) -> Verdict {
    let look = |packet: &Packet| {
        let ip = packet.ipv4();
        (ip.src(), ip.dst(), ip.tos(), packet.meta.mark)
    };
    let before = look(packet);
    let (mut ctx, xtables) = eval_ctx(ns, cx, state);
    let verdict = xtables.eval(state.family, TableKind::Mangle, &mut ctx, packet);
    if verdict == Verdict::Accept && look(packet) != before {
        return reroute(ns, cx, packet);
    }
    verdict
}

/// NAT as one entry: it consults its chains only while the flow has no binding of this kind, and then translates
/// (`nf_nat_inet_fn`, net/netfilter/nf_nat_core.c; `nf_nat_ipv4_*`, net/netfilter/nf_nat_proto.c).
fn nat(ns: &mut Netns, cx: &mut Context, state: HookState, manip: Side, packet: &mut Packet) -> Verdict {
    let dst_before = packet.ipv4().dst();
    let (mut ctx, xtables) = eval_ctx(ns, cx, state);
    let verdict = match nat_begin(&mut ctx, packet, manip) {
        NatStep::Skip => Verdict::Accept,
        NatStep::Drop(reason) => Verdict::Drop(reason),
        NatStep::Translate => nat_packet(&mut ctx, packet, manip),
        NatStep::WalkChains => {
            let chains = xtables.eval(state.family, TableKind::Nat, &mut ctx, packet);
            let bound = and_then(chains, || null_binding(&mut ctx, packet, manip));
            and_then(bound, || nat_packet(&mut ctx, packet, manip))
        }
    };
    if verdict != Verdict::Accept || packet.ipv4().dst() == dst_before {
        return verdict;
    }
    match state.hook {
        // The route of a packet that came over the loopback is no longer its own (nf_nat_ipv4_pre_routing).
        Hook::Prerouting => {
            packet.meta.route = None;
            Verdict::Accept
        }
        Hook::Output if matches!(packet.meta.ct, PacketCt::Entry { .. }) => reroute(ns, cx, packet),
        Hook::Input | Hook::Forward | Hook::Output | Hook::Postrouting => Verdict::Accept,
    }
}

/// Goes on only with an accepted packet.
fn and_then(verdict: Verdict, next: impl FnOnce() -> Verdict) -> Verdict {
    match verdict {
        Verdict::Accept => next(),
        Verdict::Drop(_) | Verdict::Stolen => verdict,
    }
}

fn reroute(ns: &mut Netns, cx: &mut Context, packet: &mut Packet) -> Verdict {
    match ip_output::ip_route_me_harder(ns, cx, packet) {
        Ok(()) => Verdict::Accept,
        Err(reason) => Verdict::Drop(reason),
    }
}
