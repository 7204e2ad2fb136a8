//! Confirms a new entry when its first packet has passed all rules.

use super::udp::allows_clash;
use crate::ct::{CtInfo, CtStatus, PacketCt};
use crate::drop_reason::DropReason;
use crate::hook::Verdict;
use crate::ids::EntryId;
use crate::mutation::Mutation;
use crate::netfilter::EvalCtx;
use crate::packet::Packet;
use crate::time::Duration;
use crate::trace::{ConntrackEvent, Event};
use crate::tuple::Direction;

/// Lifetime of an entry that lost a clash.
const CLASH_TIMEOUT: Duration = Duration::from_secs(1);

/// Inserts the entry of a packet into the table, unless it is there (`nf_confirm`). Runs last at INPUT and POSTROUTING.
///
/// Only then do replies match it. A packet dropped before leaves no entry, so that the next packet of its flow is NEW
/// again.
pub fn nf_conntrack_confirm(ctx: &mut EvalCtx, packet: &mut Packet) -> Verdict {
    let PacketCt::Entry { id, info } = packet.meta.ct else { return Verdict::Accept };
    let Some(entry) = ctx.conntrack.entry(id) else { return Verdict::Accept };
    // A RST or ICMP error from this netns does not confirm the entry of the rejected packet.
    if Mutation::LocalFlowsUnconfirmed.is_on() && ctx.state.hook == crate::hook::Hook::Input {
        return Verdict::Accept;
    }
    if entry.is_confirmed() || info.direction() == Direction::Reply {
        return Verdict::Accept;
    }
    confirm(ctx, packet, id, info)
}

/// Linux: `__nf_conntrack_confirm`.
// Once per flow.
#[inline(never)]
fn confirm(ctx: &mut EvalCtx, packet: &mut Packet, id: EntryId, info: CtInfo) -> Verdict {
    let now = ctx.cx.now;
    let Some(entry) = ctx.conntrack.entry(id) else { return Verdict::Accept };
    if entry.is_dying() {
        ctx.conntrack.counters.insert_failed += 1;
        return Verdict::Drop(DropReason::ConntrackInsertFailed);
    }
    let [original, reply] = entry.tuples;
    let winner = ctx
        .conntrack
        .find(&original, now)
        .or_else(|| ctx.conntrack.find(&reply, now))
        .map(|(winner, _)| winner);
    match winner {
        None => ctx.conntrack.insert(id, now),
        Some(winner) => {
            if !resolve_clash(ctx, packet, id, winner) {
                ctx.conntrack.counters.drop += 1;
                ctx.conntrack.counters.insert_failed += 1;
                return Verdict::Drop(DropReason::ConntrackInsertFailed);
            }
            ctx.conntrack.counters.clash_resolve += 1;
            if packet.meta.ct != (PacketCt::Entry { id, info }) {
                return Verdict::Accept;
            }
        }
    }
    ctx.cx.record(Some(packet.id), || {
        Event::Conntrack(ConntrackEvent::Confirmed { entry: id, original, reply })
    });
    Verdict::Accept
}

/// Resolves a conflict between two entries with the same tuples (`nf_ct_resolve_clash`). True if the packet may
/// continue.
///
/// Packets are processed one at a time here, so this happens only if an entry stays unconfirmed while another packet
/// passes: behind a flooding bridge, or when two translated flows get the same tuple.
fn resolve_clash(ctx: &mut EvalCtx, packet: &mut Packet, loser: EntryId, winner: EntryId) -> bool {
    let now = ctx.cx.now;
    let Some(entry) = ctx.conntrack.entry(loser) else { return false };
    let [original, reply] = entry.tuples;
    if !allows_clash(original.protocol) {
        return false;
    }
    if merge(ctx, packet, loser, winner) {
        return true;
    }
    // The reply tuple must be unique, unless the other entry is the same flow.
    if let Some((other, _)) = ctx.conntrack.find(&reply, now) {
        return merge(ctx, packet, loser, other);
    }
    let Some(entry) = ctx.conntrack.entry_mut(loser) else { return false };
    entry.set_timeout(CLASH_TIMEOUT, now);
    entry.status_mut().insert(CtStatus::FIXED_TIMEOUT);
    entry.status_mut().insert(CtStatus::NAT_CLASH);
    ctx.conntrack.insert_reply_only(loser, now);
    true
}

/// If both entries are the same flow, associates the packet with the one in the table, with its current relation.
fn merge(ctx: &mut EvalCtx, packet: &mut Packet, loser: EntryId, winner: EntryId) -> bool {
    let (Some(ours), Some(theirs)) = (ctx.conntrack.entry(loser), ctx.conntrack.entry(winner)) else {
        return false;
    };
    let PacketCt::Entry { info, .. } = packet.meta.ct else { return false };
    if !theirs.can_merge(ours) {
        return false;
    }
    ctx.conntrack.release_entry(loser);
    ctx.conntrack.hold_entry(winner);
    packet.meta.ct = PacketCt::Entry { id: winner, info };
    true
}

#[cfg(test)]
mod tests;
