//! What decides the course of a connection: the rule, the policy, or the reason why a packet ended.

use crate::frame::Origins;
use crate::names::Names;
use crate::walk::row::{Detail, RowContext};
use crate::walk::{Ending, Hop, Journey, WalkStep, WalkStepKind};
use conformance::observation::Outcome;
use serde::Serialize;
use sim::drop_reason::DropReason;
use sim::trace::{IpvsEvent, RuleAction, RuleEvent, RuleRef, Terminal};
use sim::wire::{ETHERNET_HEADER_LEN, EtherType, Ethernet, Ipv4, protocol};

/// Something that decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The netns.
    pub netns: String,
    /// The place in the stack: `PREROUTING nat`, `route`.
    pub place: String,
    /// What it did.
    pub effect: String,
    /// The chain of a rule or policy.
    pub chain: Option<String>,
    /// The text that a rule was loaded from.
    pub file: Option<String>,
    /// The line in that text, from 1.
    pub line: Option<u32>,
    /// The rule.
    pub rule: Option<String>,
}

/// True for IP packets of the connection itself and for errors about it: not ARP, not redirects.
pub(super) fn is_of_flow(journey: &Journey<'_>) -> bool {
    let Some(beginning) = &journey.beginning else { return false };
    // A packet has no Ethernet header before it leaves its host; an ARP message is created with one.
    let is_arp =
        Ethernet::new_checked(beginning.frame).is_some_and(|frame| frame.ethertype() == EtherType::Arp);
    let packet = beginning.frame.get(ETHERNET_HEADER_LEN..).filter(|_| !is_arp).and_then(Ipv4::new_checked);
    packet.is_some_and(|ip| {
        ip.protocol() != protocol::ICMP
            || ip.payload().first() != Some(&sim::wire::icmpv4::icmp_type::REDIRECT)
    })
}

/// The packet whose end decides a connection that does not succeed: the first one that is dropped or rejected, or else the first
/// one that waits.
pub(super) fn decisive<'a, 'b>(journeys: &[&'a Journey<'b>], outcome: Outcome) -> Option<&'a Journey<'b>> {
    if outcome == Outcome::Connected {
        return None;
    }
    let has_ended = |journey: &&&Journey<'_>| match journey.ending.map(|ending| ending.terminal) {
        // A bridge floods copies to everyone.
        Some(Terminal::Dropped(DropReason::OtherHost | DropReason::NotForUs | DropReason::ArpNotForUs)) => {
            false
        }
        Some(Terminal::Dropped(_) | Terminal::Rejected(_)) => true,
        Some(
            Terminal::Delivered { .. }
            | Terminal::Consumed
            | Terminal::Reassembled { .. }
            | Terminal::Fragmented,
        )
        | None => false,
    };
    let waits = |journey: &&&Journey<'_>| journey.ending.is_none();
    journeys.iter().find(has_ended).or_else(|| journeys.iter().find(waits)).copied()
}

/// The packet whose way is shown: of a connection that succeeds, the first one that is delivered; else the first one.
pub(super) fn shown<'a, 'b>(journeys: &[&'a Journey<'b>], outcome: Outcome) -> Option<&'a Journey<'b>> {
    let is_delivered = |journey: &&&Journey<'_>| {
        journey
            .ending
            .is_some_and(|ending| matches!(ending.terminal, Terminal::Delivered { .. } | Terminal::Consumed))
    };
    let delivered = journeys.iter().find(is_delivered).filter(|_| outcome == Outcome::Connected);
    delivered.or(journeys.first()).copied()
}

/// What decided: the rules that translated the packet shown, or what ended the decisive one.
pub(super) fn decisions(
    names: Names<'_>,
    shown: Option<&Journey<'_>>,
    decisive: Option<&Journey<'_>>,
) -> Vec<Decision> {
    let Some(decisive) = decisive else {
        let hops = shown.into_iter().flat_map(|shown| &shown.hops);
        return hops.flat_map(|hop| hop.steps.iter().filter_map(|step| chosen(names, hop, step))).collect();
    };
    let Some(hop) = decisive.hops.last() else { return Vec::new() };
    let by_rule = hop.steps.iter().rev().find_map(|step| refused(names, hop, step));
    // A rule may drop what arrives; anything else ends for a reason of the stack.
    let is_by_rule = decisive.ending.is_some_and(|ending| is_netfilter(ending.terminal));
    match by_rule.filter(|_| is_by_rule) {
        Some(decision) => vec![decision],
        None => vec![ended(names, decisive, hop)],
    }
}

const fn is_netfilter(terminal: Terminal) -> bool {
    matches!(
        terminal,
        Terminal::Dropped(DropReason::NetfilterDrop) | Terminal::Rejected(DropReason::NetfilterDrop)
    )
}

/// A rule that translates, or a scheduler that chooses.
fn chosen(names: Names<'_>, hop: &Hop<'_>, step: &WalkStep<'_>) -> Option<Decision> {
    match step.kind {
        WalkStepKind::Rule(RuleEvent::Matched { rule, action: RuleAction::Nat }) => {
            Some(of_rule(names, hop, step, rule, "translates"))
        }
        WalkStepKind::Ipvs(event @ IpvsEvent::Scheduled { .. }) => {
            let words = RowContext { names, detail: Detail::Exact, origins: Origins::default() };
            let row = words.row(hop.netns, &WalkStep { kind: WalkStepKind::Ipvs(event), ..*step });
            let text = row.text.split("; new ").next().unwrap_or_default().to_owned();
            Some(Decision { effect: text, ..bare(names, hop, row.place) })
        }
        WalkStepKind::Rule(_)
        | WalkStepKind::Ipvs(_)
        | WalkStepKind::Device(_)
        | WalkStepKind::Bridge(_)
        | WalkStepKind::Hook(_)
        | WalkStepKind::Conntrack(_)
        | WalkStepKind::Nat(_)
        | WalkStepKind::Route(_)
        | WalkStepKind::Neigh(_)
        | WalkStepKind::Socket(_) => None,
    }
}

/// A rule or policy that drops or rejects.
fn refused(names: Names<'_>, hop: &Hop<'_>, step: &WalkStep<'_>) -> Option<Decision> {
    match step.kind {
        WalkStepKind::Rule(RuleEvent::Matched { rule, action: RuleAction::Drop }) => {
            Some(of_rule(names, hop, step, rule, "drops"))
        }
        WalkStepKind::Rule(RuleEvent::Matched { rule, action: RuleAction::Reject }) => {
            Some(of_rule(names, hop, step, rule, "rejects"))
        }
        WalkStepKind::Rule(RuleEvent::Policy { table, chain, is_accept: false, .. }) => Some(Decision {
            effect: "drops by policy".to_owned(),
            chain: Some(chain.to_string()),
            ..bare(names, hop, place(step, table))
        }),
        WalkStepKind::Rule(RuleEvent::Policy { .. } | RuleEvent::Matched { .. })
        | WalkStepKind::Device(_)
        | WalkStepKind::Bridge(_)
        | WalkStepKind::Hook(_)
        | WalkStepKind::Conntrack(_)
        | WalkStepKind::Nat(_)
        | WalkStepKind::Ipvs(_)
        | WalkStepKind::Route(_)
        | WalkStepKind::Neigh(_)
        | WalkStepKind::Socket(_) => None,
    }
}

/// The end of a packet, for a reason of the stack.
fn ended(names: Names<'_>, journey: &Journey<'_>, hop: &Hop<'_>) -> Decision {
    let words = RowContext { names, detail: Detail::Exact, origins: Origins::default() };
    match (&journey.ending, hop.steps.last()) {
        (Some(ending), _) => Decision { effect: end_text(&words, ending), ..bare(names, hop, String::new()) },
        (None, Some(step)) => {
            let row = words.row(hop.netns, step);
            Decision { effect: format!("waits: {}", row.text), ..bare(names, hop, row.place) }
        }
        (None, None) => bare(names, hop, String::new()),
    }
}

/// `dropped: NETFILTER_DROP: …`, `delivered`.
pub(super) fn end_text(words: &RowContext<'_>, ending: &Ending) -> String {
    let row = words.ending(ending);
    match ending.terminal {
        Terminal::Dropped(_) | Terminal::Rejected(_) => format!("{}: {}", row.place, row.text),
        Terminal::Delivered { .. } => "delivered".to_owned(),
        Terminal::Consumed => "answered by the kernel".to_owned(),
        Terminal::Reassembled { .. } | Terminal::Fragmented => row.place,
    }
}

fn of_rule(names: Names<'_>, hop: &Hop<'_>, step: &WalkStep<'_>, rule: &RuleRef, effect: &str) -> Decision {
    Decision {
        effect: effect.to_owned(),
        chain: Some(rule.chain.to_string()),
        file: Some(rule.source.file.to_string()),
        line: Some(rule.source.line),
        rule: Some(rule.source.text.to_string()),
        ..bare(names, hop, place(step, rule.table))
    }
}

fn place(step: &WalkStep<'_>, table: &str) -> String {
    step.hook.map_or_else(|| table.to_owned(), |hook| format!("{hook} {table}"))
}

fn bare(names: Names<'_>, hop: &Hop<'_>, place: String) -> Decision {
    Decision {
        netns: names.netns(hop.netns).into_owned(),
        place,
        effect: String::new(),
        chain: None,
        file: None,
        line: None,
        rule: None,
    }
}
