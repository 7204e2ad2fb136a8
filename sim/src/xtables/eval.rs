//! Traverses a table with a packet: `ipt_do_table`, net/ipv4/netfilter/ip_tables.c.

use super::chain::ChainId;
use super::index::Candidates;
use super::kind::TableKind;
use super::look::{Look, States};
use super::matches::MatchResult;
use super::recent_lists::RecentLists;
use super::rule::Rule;
use super::ruleset::{BaseChain, Chain, Chains, Table};
use super::targets::{Target, TargetVerdict};
use super::value::DeviceMatch;
use crate::drop_reason::DropReason;
use crate::hook::{Family, Verdict};
use crate::netfilter::EvalCtx;
use crate::packet::Packet;
use crate::trace::{Event, RuleAction, RuleEvent, RuleRef};
use crate::wire::{Headers, L4};
use smallvec::SmallVec;
use std::sync::Arc;

/// Traverses the base chain of `table` at the packet's hook.
pub(super) fn ipt_do_table(
    table: &mut Table,
    recent: &mut RecentLists,
    family: Family,
    ctx: &mut EvalCtx<'_, '_>,
    packet: &mut Packet,
    uses_index: bool,
) -> Verdict {
    let Some(id) = table.base_chain(ctx.state.hook) else { return Verdict::Accept };
    let Some(headers) = packet.headers() else { return Verdict::Drop(DropReason::IpHeader) };
    let devices = ctx.devices;
    let name_of = |device: Option<_>| device.map_or("", |id| &*devices.get(id).name);
    let (in_name, out_name) = (name_of(ctx.state.in_dev), name_of(ctx.state.out_dev));
    let is_later_fragment = headers.l4 == L4::Fragment;
    let kind = table.kind;
    let (chains, counters, states) = table.split();
    let base = chains.get(id).base.expect("a hook has a base chain");
    let mut walk = Walk {
        chains,
        counted: SmallVec::new(),
        states,
        recent,
        place: TableRef { family, kind },
        headers,
        in_name,
        out_name,
        is_later_fragment,
        uses_index,
        base,
        stack: SmallVec::new(),
        counted_before_growth: 0,
    };
    let verdict = walk.run(id, ctx, packet);
    let (before, after) = walk.counted.split_at(walk.counted_before_growth);
    counters.add(before, headers.total_len);
    counters.add(after, walk.headers.total_len);
    verdict
}

/// Family and table, which every event contains.
#[derive(Clone, Copy)]
struct TableRef {
    family: Family,
    kind: TableKind,
}

struct Walk<'w> {
    chains: &'w Chains,
    /// Slots of the rules and policies that apply to the packet.
    counted: SmallVec<[u32; 16]>,
    states: &'w mut States,
    recent: &'w mut RecentLists,
    place: TableRef,
    headers: Headers,
    in_name: &'w str,
    out_name: &'w str,
    is_later_fragment: bool,
    uses_index: bool,
    base: BaseChain,
    /// Where to continue after a return; one frame per jump.
    stack: SmallVec<[Frame<'w>; 8]>,
    /// How many of `counted` applied before a target made the packet longer; zero if none did.
    counted_before_growth: usize,
}

/// A chain being traversed.
struct Frame<'w> {
    chain: &'w Chain,
    next: Next<'w>,
}

/// The rules of a chain still to be evaluated.
enum Next<'w> {
    /// All rules from this position on.
    All(usize),
    /// The rules given by the index.
    Indexed(Candidates<'w>),
}

impl<'w> Walk<'w> {
    fn frame(&self, id: ChainId) -> Frame<'w> {
        let chain = self.chains.get(id);
        let candidates = if self.uses_index {
            chain.index().and_then(|index| index.candidates(&self.headers))
        } else {
            None
        };
        Frame { chain, next: candidates.map_or(Next::All(0), Next::Indexed) }
    }

    fn run(&mut self, id: ChainId, ctx: &mut EvalCtx<'_, '_>, packet: &mut Packet) -> Verdict {
        let mut frame = self.frame(id);
        loop {
            let Some((number, rule)) = frame.next_rule() else {
                match self.stack.pop() {
                    Some(caller) => {
                        frame = caller;
                        continue;
                    }
                    None => return self.policy(ctx, packet),
                }
            };
            match self.ask(rule, ctx, packet) {
                MatchResult::No => continue,
                MatchResult::HotDrop => return Verdict::Drop(DropReason::NetfilterDrop),
                MatchResult::Yes => {}
            }
            self.counted.push(rule.slot);
            match &rule.spec.target {
                Target::Return => {
                    self.record(ctx, packet, &frame, number, rule, || RuleAction::Return);
                    frame.end();
                }
                Target::Jump(chain) => {
                    let name = &self.chains.get(*chain).name;
                    self.record(ctx, packet, &frame, number, rule, || RuleAction::Jump(Arc::clone(name)));
                    let callee = self.frame(*chain);
                    self.stack.push(std::mem::replace(&mut frame, callee));
                }
                Target::Goto(chain) => {
                    let name = &self.chains.get(*chain).name;
                    self.record(ctx, packet, &frame, number, rule, || RuleAction::Goto(Arc::clone(name)));
                    frame = self.frame(*chain);
                }
                target @ (Target::None
                | Target::Accept
                | Target::Drop
                | Target::Checksum(_)
                | Target::Connmark(_)
                | Target::Ct(_)
                | Target::Log(_)
                | Target::Mark(_)
                | Target::Nat(_)
                | Target::Nflog(_)
                | Target::Reject(_)
                | Target::Set(_)
                | Target::Tcpmss(_)
                | Target::Tproxy(_)
                | Target::Trace) => {
                    let (outcome, action) = target.act(ctx, packet, &self.headers);
                    if let RuleAction::Mss { old: None, .. } = action {
                        self.packet_has_grown(packet);
                    }
                    self.record(ctx, packet, &frame, number, rule, || action);
                    if let TargetVerdict::Done(verdict) = outcome {
                        return verdict;
                    }
                }
            }
        }
    }

    fn packet_has_grown(&mut self, packet: &Packet) {
        self.counted_before_growth = self.counted.len();
        self.headers = packet.headers().expect("the target keeps the headers whole");
    }

    /// Evaluates the conditions of a rule in order.
    fn ask(&mut self, rule: &Rule, ctx: &mut EvalCtx<'_, '_>, packet: &Packet) -> MatchResult {
        if !self.ip_packet_match(rule) {
            return MatchResult::No;
        }
        for (position, one) in (0..).zip(&rule.spec.matches) {
            let mut look = Look {
                ctx,
                packet,
                headers: &self.headers,
                recent: self.recent,
                states: self.states,
                key: (rule.slot, position),
            };
            let answer = one.answer(&mut look);
            if answer != MatchResult::Yes {
                return answer;
            }
        }
        MatchResult::Yes
    }

    // Linux: ip_packet_match, net/ipv4/netfilter/ip_tables.c
    fn ip_packet_match(&self, rule: &Rule) -> bool {
        let ip = &rule.spec.ip;
        if !rule.has_ip_conditions {
            return true;
        }
        let device_matches = |wanted: &Option<Box<DeviceMatch>>, name| {
            wanted.as_ref().is_none_or(|wanted| wanted.matches(name))
        };
        ip.src.contains(self.headers.src) != ip.src_inverted
            && ip.dst.contains(self.headers.dst) != ip.dst_inverted
            && device_matches(&ip.in_device, self.in_name)
            && device_matches(&ip.out_device, self.out_name)
            && (ip.protocol == 0 || (ip.protocol == self.headers.protocol) != ip.protocol_inverted)
            && ip.fragment.is_none_or(|is_inverted| self.is_later_fragment != is_inverted)
    }

    /// The end of a base chain.
    fn policy(&mut self, ctx: &mut EvalCtx<'_, '_>, packet: &Packet) -> Verdict {
        let BaseChain { hook, is_accept, slot } = self.base;
        self.counted.push(slot);
        let TableRef { family, kind } = self.place;
        ctx.cx.record(Some(packet.id), || {
            let chain = hook.chain_name().into();
            Event::Rule(RuleEvent::Policy { family, table: kind.name(), chain, is_accept })
        });
        if is_accept { Verdict::Accept } else { Verdict::Drop(DropReason::NetfilterDrop) }
    }

    #[inline]
    fn record(
        &self,
        ctx: &mut EvalCtx<'_, '_>,
        packet: &Packet,
        frame: &Frame<'_>,
        number: usize,
        rule: &Rule,
        action: impl FnOnce() -> RuleAction,
    ) {
        let TableRef { family, kind } = self.place;
        ctx.cx.record(Some(packet.id), || {
            let rule = RuleRef {
                family,
                table: kind.name(),
                chain: Arc::clone(&frame.chain.name),
                number: u32::try_from(number + 1).unwrap_or(u32::MAX),
                source: Arc::clone(&rule.source),
            };
            Event::Rule(RuleEvent::Matched { rule, action: action() })
        });
    }
}

impl<'w> Frame<'w> {
    /// The next rule to evaluate, with its zero-based position.
    #[inline]
    fn next_rule(&mut self) -> Option<(usize, &'w Rule)> {
        let at = match &mut self.next {
            Next::All(at) => {
                *at += 1;
                *at - 1
            }
            Next::Indexed(candidates) => candidates.next()?,
        };
        self.chain.rules().get(at).map(|rule| (at, rule))
    }

    /// Skips the remaining rules.
    fn end(&mut self) {
        self.next = Next::All(self.chain.rules().len());
    }
}
