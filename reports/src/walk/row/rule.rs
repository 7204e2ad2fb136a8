//! Hooks and the rules attached to them.

use super::{Row, RowContext, at_hook};
use crate::palette::Tone;
use crate::walk::WalkStep;
use sim::drop_reason::DropReason;
use sim::hook::Family;
use sim::ids::{DeviceId, NetnsId};
use sim::trace::{HookEvent, RuleAction, RuleEvent, RuleRef};

pub(super) fn hook(words: &RowContext<'_>, netns: NetnsId, event: &HookEvent) -> Row {
    match *event {
        HookEvent::Entered { family, hook, in_dev, out_dev } => {
            let place = match family {
                Family::Ipv4 | Family::Ipv6 => hook.to_string(),
                Family::Bridge => format!("bridge {hook}"),
            };
            Row::new(place, devices(words, netns, in_dev, out_dev))
        }
        HookEvent::Accepted { hook } => Row::new(hook.to_string(), "accept"),
        HookEvent::Dropped { hook, reason } => {
            Row::new(hook.to_string(), format!("drop{}", kernel_name(reason))).tone(Tone::Bad)
        }
    }
}

/// `in eth0 out cni0`, as iptables matches them.
fn devices(
    words: &RowContext<'_>,
    netns: NetnsId,
    in_dev: Option<DeviceId>,
    out_dev: Option<DeviceId>,
) -> String {
    let name = |way: &str, device: Option<DeviceId>| {
        device.map(|device| format!("{way} {}", words.device(netns, device)))
    };
    [name("in", in_dev), name("out", out_dev)].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// `NO_SOCKET: no socket is bound to the port`; the name is the kernel's.
pub(super) fn drop_reason(reason: DropReason) -> String {
    reason.kernel_name().map_or_else(|| reason.text().to_owned(), |name| format!("{name}: {}", reason.text()))
}

/// ` (NETFILTER_DROP)`; the row for the packet's end follows and explains it.
fn kernel_name(reason: DropReason) -> String {
    reason.kernel_name().map_or_else(String::new, |name| format!(" ({name})"))
}

pub(super) fn rule(step: &WalkStep<'_>, event: &RuleEvent) -> Row {
    match event {
        RuleEvent::Matched { rule, action } => Row {
            place: at_hook(step.hook, rule.table),
            source: Some(format!("{}:{}", rule.source.file, rule.source.line)),
            text: format!("{:indent$}{}", "", rule.source.text, indent = 2 * step.depth),
            effect: effect(rule, action),
            tone: tone(action),
        },
        RuleEvent::Policy { family: _, table, chain, is_accept } => {
            let (verdict, tone) = if *is_accept { ("accept", Tone::Dim) } else { ("drop", Tone::Bad) };
            Row::new(at_hook(step.hook, table), format!("{chain}: policy {verdict}")).tone(tone)
        }
    }
}

/// The effect of the target. A verdict that the rule text spells out, such as `-j ACCEPT`, is not repeated; one that a
/// map selected is.
fn effect(rule: &RuleRef, action: &RuleAction) -> Option<String> {
    let is_chosen_by_map = rule.source.text.contains(" vmap ");
    let unless_written = |word: &str| {
        let says_so = rule.source.text.split([' ', ';']).any(|it| it.eq_ignore_ascii_case(word));
        (is_chosen_by_map || !says_so).then(|| word.to_owned())
    };
    match action {
        RuleAction::Continue | RuleAction::Nat | RuleAction::NoTrack => None,
        RuleAction::Accept => unless_written("accept"),
        RuleAction::Drop => unless_written("drop"),
        RuleAction::Reject => unless_written("reject"),
        RuleAction::Return => unless_written("return"),
        RuleAction::Jump(chain) => unless_written(chain).map(|chain| format!("jump {chain}")),
        RuleAction::Goto(chain) => unless_written(chain).map(|chain| format!("goto {chain}")),
        RuleAction::Mark { old, new } => Some(format!("mark {old:#x} -> {new:#x}")),
        RuleAction::CtMark { old, new } => Some(format!("ct mark {old:#x} -> {new:#x}")),
        RuleAction::Mss { old: Some(old), new } => Some(format!("MSS {old} -> {new}")),
        RuleAction::Mss { old: None, new } => Some(format!("MSS {new} added")),
    }
}

const fn tone(action: &RuleAction) -> Tone {
    match action {
        RuleAction::Drop | RuleAction::Reject => Tone::Bad,
        RuleAction::Nat | RuleAction::Mss { .. } => Tone::Change,
        RuleAction::Continue
        | RuleAction::Accept
        | RuleAction::Jump(_)
        | RuleAction::Goto(_)
        | RuleAction::Return
        | RuleAction::Mark { .. }
        | RuleAction::CtMark { .. }
        | RuleAction::NoTrack => Tone::Plain,
    }
}
