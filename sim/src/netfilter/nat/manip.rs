//! Rewrites packets according to the bindings of their flow (net/netfilter/nf_nat_proto.c).

use crate::ct::{CtInfo, CtStatus, PacketCt};
use crate::drop_reason::DropReason;
use crate::hook::Verdict;
use crate::ids::EntryId;
use crate::mutation::Mutation;
use crate::netfilter::EvalCtx;
use crate::packet::Packet;
use crate::trace::{Event, NatEvent};
use crate::tuple::{Direction, Tuple};
use crate::wire::icmpv4::icmp_type;
use crate::wire::rewrite::{self, Side};
use crate::wire::{ETHERNET_HEADER_LEN, Icmpv4, icmpv4};
use std::net::IpAddr;

/// Translates one side of a packet, if its flow is translated on that side (`nf_nat_packet`,
/// net/netfilter/nf_nat_core.c). The destination of a reply is the client's source, and vice versa.
pub(super) fn nat_packet(ctx: &mut EvalCtx, packet: &mut Packet, manip: Side) -> Verdict {
    let PacketCt::Entry { id, info } = packet.meta.ct else { return Verdict::Accept };
    let direction = info.direction();
    if Mutation::NatReplyUntranslated.is_on() && direction == Direction::Reply {
        return Verdict::Accept;
    }
    let Some(entry) = ctx.conntrack.entry(id) else { return Verdict::Accept };
    if !entry.status().contains(status_bit(manip, direction)) {
        return Verdict::Accept;
    }
    // Packets are rewritten to the inverse of the opposite tuple.
    let (opposite, side) = (entry.tuple(direction.opposite()), manip.opposite());
    let target = (opposite.addr(side), opposite.port(side));
    translate(ctx, packet, target, manip, direction)
}

/// The status bit for translation of packets in that direction on that side.
const fn status_bit(manip: Side, direction: Direction) -> CtStatus {
    match direction {
        Direction::Original => CtStatus::translated(manip),
        Direction::Reply => CtStatus::translated(manip.opposite()),
    }
}

/// Linux: `nf_nat_manip_pkt`.
fn translate(
    ctx: &mut EvalCtx,
    packet: &mut Packet,
    (addr, port): (IpAddr, u16),
    manip: Side,
    direction: Direction,
) -> Verdict {
    let from = ctx.cx.trace.is_recording().then(|| end_of(packet, manip));
    if !rewrite::manip_pkt(packet.l3_mut(), manip, addr, port) {
        return Verdict::Drop(DropReason::NatFailed);
    }
    if let Some(from) = from {
        let to = end_of(packet, manip);
        ctx.cx.record(Some(packet.id), || Event::Nat(NatEvent::Translated { manip, direction, from, to }));
    }
    Verdict::Accept
}

/// Address and port of one side, as currently in the packet.
fn end_of(packet: &Packet, side: Side) -> (IpAddr, u16) {
    let ip = packet.ip();
    let addr = match side {
        Side::Src => ip.src(),
        Side::Dst => ip.dst(),
    };
    let tuple = packet.headers().as_ref().and_then(Tuple::of_packet);
    (addr, tuple.map_or(0, |tuple| tuple.port(side)))
}

/// Translates an ICMP error about a translated flow: the quoted packet, and one of the error's own addresses
/// (`nf_nat_icmp_reply_translation`). The quoted packet went in the opposite direction, so its opposite side is
/// translated.
pub(super) fn nf_nat_icmp_reply_translation(
    ctx: &mut EvalCtx,
    packet: &mut Packet,
    id: EntryId,
    info: CtInfo,
    manip: Side,
) -> Result<(), DropReason> {
    let direction = info.direction();
    let Some(entry) = ctx.conntrack.entry(id) else { return Ok(()) };
    let status = entry.status();
    let opposite = *entry.tuple(direction.opposite());
    let ip = packet.ipv4();
    let header_len = ip.header_len();
    let icmp = Icmpv4::new_checked(ip.payload()).filter(|icmp| icmp.is_checksum_valid());
    let Some(icmp) = icmp else { return Err(DropReason::NatIcmpRefused) };
    // A redirect names a gateway, which would be wrong after translation.
    if icmp.icmp_type() == icmp_type::REDIRECT
        && !Mutation::NatRedirectPasses.is_on()
        && (!status.contains(CtStatus::NAT_DONE) || status.intersects(CtStatus::NAT))
    {
        return Err(DropReason::NatIcmpRefused);
    }
    if !status.contains(status_bit(manip, direction)) {
        return Ok(());
    }
    let quoted = manip.opposite();
    let Some(target) = opposite.reply() else { return Ok(()) };
    let end = usize::from(ip.total_len());
    let l3 = &mut packet.l3_mut()[..end];
    let (_, message) = l3.split_at_mut(header_len);
    if !Mutation::NatQuoteUntranslated.is_on()
        && !rewrite::manip_pkt(
            &mut message[icmpv4::ICMP_HEADER_LEN..],
            quoted,
            opposite.addr(quoted),
            opposite.port(quoted),
        )
    {
        return Err(DropReason::NatIcmpRefused);
    }
    icmpv4::fill_checksum(message);
    ctx.cx.record(Some(packet.id), || Event::Nat(NatEvent::QuoteTranslated { manip: quoted }));
    let from = end_of(packet, manip);
    rewrite::set_addr(&mut packet.bytes[ETHERNET_HEADER_LEN..], manip, target.addr(manip));
    let to = end_of(packet, manip);
    ctx.cx.record(Some(packet.id), || Event::Nat(NatEvent::Translated { manip, direction, from, to }));
    Ok(())
}
