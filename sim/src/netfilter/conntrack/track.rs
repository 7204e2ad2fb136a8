//! Associates packets with their entries.

use super::icmp::{self, IcmpKind};
use super::sctp::{self, SctpTrack, sctp_packet};
use super::tcp::{self, TcpTrack, TrackedSegment, tcp_packet};
use super::udp::{UdpTrack, udp_packet};
use super::verdict::ProtocolVerdict;
use super::{ConntrackSettings, Entry, ProtocolState};
use crate::ct::{CtInfo, CtStatus, PacketCt, TcpState};
use crate::draws::Purpose;
use crate::drop_reason::DropReason;
use crate::hook::{Hook, Verdict};
use crate::ids::EntryId;
use crate::netfilter::EvalCtx;
use crate::packet::Packet;
use crate::time::Instant;
use crate::trace::{ConntrackEvent, Event};
use crate::tuple::{Direction, Tuple};
use crate::wire::{Headers, L4, checksum, protocol};

/// Finds or creates the entry of a packet (`nf_conntrack_in`, net/netfilter/nf_conntrack_core.c).
///
/// Runs at PREROUTING and OUTPUT. An INVALID packet continues without an entry. Drops only if the table is full.
// Part of `run_entry`, it would slow down the entries that do little.
#[inline(never)]
pub fn nf_conntrack_in(ctx: &mut EvalCtx, packet: &mut Packet) -> Verdict {
    match packet.meta.ct {
        PacketCt::None => {}
        PacketCt::Untracked => {
            ctx.cx.record(Some(packet.id), || Event::Conntrack(ConntrackEvent::Untracked));
            return Verdict::Accept;
        }
        // Already tracked: received through the loopback device, or a reply that was associated with its flow.
        PacketCt::Entry { .. } => return Verdict::Accept,
    }
    let Some(headers) = packet.headers() else {
        return invalid(ctx, packet, "a malformed IP header");
    };
    // Linux: ipv4_conntrack_local, net/netfilter/nf_conntrack_proto.c. The sender requested no defragmentation.
    if ctx.state.hook == Hook::Output && headers.is_fragment {
        return Verdict::Accept;
    }
    let verify = ctx.sysctls.conntrack.checksum && ctx.state.hook == Hook::Prerouting;
    if headers.protocol == protocol::ICMP {
        match icmp::classify(&packet.ip(), verify, ctx.conntrack, ctx.cx.now) {
            IcmpKind::Query => {}
            IcmpKind::Error(ct) => return attach_error(ctx, packet, ct),
            IcmpKind::Refused(why) => {
                ctx.conntrack.counters.icmp_error += 1;
                record_invalid(ctx, packet, why);
                return Verdict::Accept;
            }
        }
    }
    let Some(tuple) = Tuple::of_packet(&headers) else {
        return invalid(ctx, packet, "a packet whose ports cannot be read");
    };
    if let Some(why) = malformed(&headers, packet, verify) {
        return invalid(ctx, packet, why);
    }
    loop {
        let (id, direction) = match resolve_normal_ct(ctx, packet, &tuple) {
            Ok(found) => found,
            Err(stopped) => return stopped,
        };
        if let Some(verdict) = handle_packet(ctx, packet, id, direction) {
            return verdict;
        }
    }
}

/// An ICMP error belongs to the flow that it refers to.
fn attach_error(ctx: &mut EvalCtx, packet: &mut Packet, ct: PacketCt) -> Verdict {
    packet.meta.ct = ct;
    ctx.conntrack.hold(packet);
    if let PacketCt::Entry { id, info } = ct {
        record_found(ctx, packet, id, info);
    }
    Verdict::Accept
}

/// Checks of each protocol before lookup (`tcp_error`, `udp_error`, `sctp_error`).
fn malformed(headers: &Headers, packet: &Packet, verify: bool) -> Option<&'static str> {
    let ip = packet.ip();
    let l4 = ip.payload();
    let is_right = || checksum::is_transport_valid(ip.src(), ip.dst(), headers.protocol, l4);
    match headers.l4 {
        L4::Tcp { .. } if verify && !is_right() => Some("a TCP segment with a wrong checksum"),
        L4::Tcp { flags, .. } => {
            (!tcp::has_valid_flags(flags)).then_some("a TCP segment with flags that exclude each other")
        }
        L4::Udp { .. } => (verify && !is_right()).then_some("a UDP datagram with a wrong checksum"),
        L4::Sctp { .. } => (verify && !is_right()).then_some("an SCTP packet with a wrong checksum"),
        L4::Icmp { .. } | L4::Other | L4::Fragment | L4::Truncated => None,
    }
}

/// The entry of a tuple and the packet's direction, or a new entry (`resolve_normal_ct`). Otherwise the verdict on a
/// packet that cannot have one.
fn resolve_normal_ct(
    ctx: &mut EvalCtx,
    packet: &Packet,
    tuple: &Tuple,
) -> Result<(EntryId, Direction), Verdict> {
    let now = ctx.cx.now;
    if let Some(found) = ctx.conntrack.find(tuple, now) {
        return Ok(found);
    }
    let Some(reply) = tuple.reply() else {
        return Err(invalid(ctx, packet, "an ICMP message that has no answer"));
    };
    let protocol = match begin(ctx, packet, tuple) {
        Ok(protocol) => protocol,
        Err(why) => return Err(invalid(ctx, packet, why)),
    };
    let (limit, buckets) = (ctx.sysctls.conntrack.max, ctx.sysctls.conntrack.buckets);
    let key = || ctx.cx.draws.u32(ctx.cx.netns, Purpose::ConntrackHash);
    if !ctx.conntrack.has_room(limit, now) && !ctx.conntrack.early_drop(tuple, buckets, key) {
        ctx.conntrack.counters.drop += 1;
        return Err(Verdict::Drop(DropReason::ConntrackTableFull));
    }
    let id = ctx.conntrack.allocate(*tuple, reply, protocol);
    ctx.cx.record(Some(packet.id), || Event::Conntrack(ConntrackEvent::New { entry: id, original: *tuple }));
    Ok((id, Direction::Original))
}

/// The protocol state of a new flow, or why this packet cannot start one.
fn begin(ctx: &EvalCtx, packet: &Packet, original: &Tuple) -> Result<ProtocolState, &'static str> {
    let ip = packet.ip();
    match original.protocol {
        protocol::TCP => {
            let segment = TrackedSegment::parse(ip.payload()).ok_or("a TCP segment without its header")?;
            Ok(ProtocolState::Tcp(TcpTrack::begin(&segment, &ctx.sysctls.conntrack)?))
        }
        protocol::UDP => Ok(ProtocolState::Udp(UdpTrack::begin(ctx.cx.now))),
        protocol::SCTP => sctp::SctpPacket::parse(ip.payload())
            .and_then(|chunks| SctpTrack::begin(&chunks))
            .map(ProtocolState::Sctp)
            .ok_or("an SCTP packet that cannot begin an association"),
        protocol::ICMP if !icmp::may_start_flow(original) => Err("an ICMP answer to no known question"),
        _ => Ok(ProtocolState::Stateless),
    }
}

/// Associates the packet with the entry, lets the protocol tracker check it, and applies the result. `None`: look up
/// again.
fn handle_packet(
    ctx: &mut EvalCtx,
    packet: &mut Packet,
    id: EntryId,
    direction: Direction,
) -> Option<Verdict> {
    let now = ctx.cx.now;
    ctx.conntrack.hold_entry(id);
    let entry = ctx.conntrack.entry_mut(id)?;
    let info = match direction {
        Direction::Reply => CtInfo::EstablishedReply,
        Direction::Original if entry.status.contains(CtStatus::SEEN_REPLY) => CtInfo::Established,
        Direction::Original => CtInfo::New,
    };
    let state_before = entry.tcp_state();
    match judge(entry, packet, direction, &ctx.sysctls.conntrack, now) {
        ProtocolVerdict::Accept { refresh } => {
            if let Some(timeout) = refresh {
                entry.refresh(timeout, now);
            }
            if direction == Direction::Reply {
                entry.status.insert(CtStatus::SEEN_REPLY);
            }
            let deadline = entry.deadline();
            ctx.conntrack.note_deadline(deadline);
        }
        ProtocolVerdict::Kill => {
            delete(ctx, packet, id);
            if direction == Direction::Reply {
                ctx.conntrack.entry_mut(id)?.status.insert(CtStatus::SEEN_REPLY);
            }
        }
        ProtocolVerdict::Repeat => {
            delete(ctx, packet, id);
            ctx.conntrack.release_entry(id);
            return None;
        }
        ProtocolVerdict::Invalid(why) => return Some(refuse(ctx, packet, id, why)),
        ProtocolVerdict::InvalidWithTimeout(why, timeout) => {
            if let Some(timeout) = timeout {
                entry.set_timeout(timeout, now);
                let deadline = entry.deadline();
                ctx.conntrack.note_deadline(deadline);
            }
            return Some(refuse(ctx, packet, id, why));
        }
    }
    packet.meta.ct = PacketCt::Entry { id, info };
    record_found(ctx, packet, id, info);
    record_tcp_state(ctx, packet, id, state_before);
    Some(Verdict::Accept)
}

/// Linux: `nf_conntrack_handle_packet`.
fn judge(
    entry: &mut Entry,
    packet: &Packet,
    direction: Direction,
    settings: &ConntrackSettings,
    now: Instant,
) -> ProtocolVerdict {
    let ip = packet.ip();
    let remaining = entry.remaining(now);
    let number = entry.tuples[0].protocol;
    match &mut entry.protocol {
        ProtocolState::Tcp(track) => match TrackedSegment::parse(ip.payload()) {
            Some(segment) => tcp_packet(track, &mut entry.status, &segment, direction, settings, remaining),
            None => ProtocolVerdict::Invalid("a TCP segment without its header"),
        },
        ProtocolState::Udp(track) => udp_packet(*track, &mut entry.status, &settings.timeouts, now),
        ProtocolState::Sctp(track) => match sctp::SctpPacket::parse(ip.payload()) {
            Some(chunks) => sctp_packet(track, &mut entry.status, &chunks, direction, settings),
            None => ProtocolVerdict::Invalid("an SCTP packet whose chunks cannot stand together"),
        },
        ProtocolState::Stateless => {
            let timeouts = &settings.timeouts;
            let timeout = if number == protocol::ICMP { timeouts.icmp } else { timeouts.generic };
            ProtocolVerdict::Accept { refresh: Some(super::settings::seconds(timeout)) }
        }
    }
}

fn refuse(ctx: &mut EvalCtx, packet: &Packet, id: EntryId, why: &'static str) -> Verdict {
    ctx.conntrack.release_entry(id);
    invalid(ctx, packet, why)
}

/// INVALID is not a verdict: the packet continues without an entry.
fn invalid(ctx: &mut EvalCtx, packet: &Packet, why: &'static str) -> Verdict {
    ctx.conntrack.counters.invalid += 1;
    record_invalid(ctx, packet, why);
    Verdict::Accept
}

/// Removes an entry from the table and records the event.
pub(crate) fn delete(ctx: &mut EvalCtx, packet: &Packet, id: EntryId) {
    let Some(original) = ctx.conntrack.entry(id).map(|entry| *entry.tuple(Direction::Original)) else {
        return;
    };
    if ctx.conntrack.delete(id) {
        ctx.cx.record(Some(packet.id), || Event::Conntrack(ConntrackEvent::Deleted { entry: id, original }));
    }
}

fn record_invalid(ctx: &mut EvalCtx, packet: &Packet, why: &'static str) {
    ctx.cx.record(Some(packet.id), || Event::Conntrack(ConntrackEvent::Invalid { why }));
}

fn record_found(ctx: &mut EvalCtx, packet: &Packet, entry: EntryId, info: CtInfo) {
    let Some(found) = ctx.conntrack.entry(entry) else { return };
    ctx.cx.record(Some(packet.id), || {
        let [original, reply] = found.tuples;
        Event::Conntrack(ConntrackEvent::Found { entry, info, original, reply })
    });
}

/// Records a change of the TCP state of an entry since `before`.
fn record_tcp_state(ctx: &mut EvalCtx, packet: &Packet, id: EntryId, before: Option<TcpState>) {
    let after = ctx.conntrack.entry(id).and_then(Entry::tcp_state);
    if let (Some(from), Some(to)) = (before, after)
        && from != to
    {
        ctx.cx.record(Some(packet.id), || {
            Event::Conntrack(ConntrackEvent::TcpStateChanged { entry: id, from, to })
        });
    }
}

#[cfg(test)]
mod tests;
