//! Sets up the bindings of flows.

use super::unique::get_unique_tuple;
use super::{NatRange, is_initialised};
use crate::ct::{CtStatus, PacketCt};
use crate::device::Scope;
use crate::drop_reason::DropReason;
use crate::fib::select_source;
use crate::hook::{Hook, Verdict};
use crate::mutation::Mutation;
use crate::netfilter::EvalCtx;
use crate::packet::Packet;
use crate::trace::{Event, NatEvent};
use crate::tuple::Direction;
use crate::wire::rewrite::Side;
use std::net::{IpAddr, Ipv4Addr};

/// Binds one side of a flow within `range` (`nf_nat_setup_info`, net/netfilter/nf_nat_core.c). Does nothing for a flow
/// that is already in the table. The packet itself is changed later, by `nat_packet`.
pub fn setup_info(ctx: &mut EvalCtx, packet: &Packet, range: &NatRange, manip: Side) -> Verdict {
    let PacketCt::Entry { id, .. } = packet.meta.ct else { return Verdict::Accept };
    let Some(entry) = ctx.conntrack.entry(id) else { return Verdict::Accept };
    if entry.is_confirmed() {
        return Verdict::Accept;
    }
    let old_reply = *entry.tuple(Direction::Reply);
    let (false, Some(current)) = (is_initialised(entry, manip), old_reply.reply()) else {
        return Verdict::Drop(DropReason::NatFailed);
    };
    let wanted = get_unique_tuple(ctx, id, current, range, manip);
    let new_reply = wanted.reply().unwrap_or(old_reply);
    let Some(entry) = ctx.conntrack.entry_mut(id) else { return Verdict::Accept };
    if new_reply != old_reply {
        entry.alter_reply(new_reply);
        entry.status_mut().insert(CtStatus::translated(manip));
    }
    entry.status_mut().insert(CtStatus::bound(manip));
    if manip == Side::Src {
        ctx.conntrack.note_source(id);
    }
    ctx.cx.record(Some(packet.id), || Event::Nat(NatEvent::Bound { entry: id, manip, old_reply, new_reply }));
    Verdict::Accept
}

/// Binds one side of a flow to its current value, because no rule matched (`nf_nat_alloc_null_binding`). The source
/// port may still change if another flow uses it. Does nothing for a flow that has a binding.
pub(super) fn null_binding(ctx: &mut EvalCtx, packet: &Packet, manip: Side) -> Verdict {
    let PacketCt::Entry { id, .. } = packet.meta.ct else { return Verdict::Accept };
    let Some(entry) = ctx.conntrack.entry(id) else { return Verdict::Accept };
    if is_initialised(entry, manip) {
        return Verdict::Accept;
    }
    let reply = entry.tuple(Direction::Reply);
    // The current value, which differs from the original if an earlier hook has bound it (for a locally generated
    // packet).
    let kept = match manip {
        Side::Src => reply.dst,
        Side::Dst => reply.src,
    };
    setup_info(ctx, packet, &NatRange::to_addr(kept), manip)
}

/// Binds the source to an address of the output device (`nf_nat_masquerade_ipv4`, net/netfilter/nf_nat_masquerade.c).
/// For POSTROUTING.
pub fn masquerade(ctx: &mut EvalCtx, packet: &Packet, range: &NatRange) -> Verdict {
    let PacketCt::Entry { id, .. } = packet.meta.ct else { return Verdict::Accept };
    let Some(entry) = ctx.conntrack.entry(id) else { return Verdict::Accept };
    // A host without an address requests one (DHCP).
    if entry.tuple(Direction::Original).src.is_unspecified() {
        return Verdict::Accept;
    }
    let Some(device) = ctx.state.out_dev else { return Verdict::Drop(DropReason::NatFailed) };
    // Linux: rt_nexthop, include/net/route.h.
    let gateway = packet.meta.route.and_then(|route| route.gateway);
    let next_hop = match gateway {
        Some(IpAddr::V4(gateway)) => gateway,
        Some(IpAddr::V6(_)) | None => packet.ipv4().dst(),
    };
    let addr = match Mutation::MasqueradeTakesFirstDevice.is_on() {
        true => ctx
            .devices
            .iter()
            .filter(|device| !device.is_loopback())
            .find_map(|device| device.addrs.first())
            .map(|held| held.net.addr()),
        false => select_source(ctx.devices, ctx.sysctls, device, Some(next_hop), Scope::Universe),
    };
    let Some(addr) = addr else {
        return Verdict::Drop(DropReason::NatFailed);
    };
    if let Some(entry) = ctx.conntrack.entry_mut(id).filter(|entry| !entry.is_confirmed()) {
        entry.masquerade_device = Some(device);
    }
    let range = NatRange { min_addr: Some(addr.into()), max_addr: Some(addr.into()), ..*range };
    setup_info(ctx, packet, &range, Side::Src)
}

/// Binds the destination to this netns (`nf_nat_redirect_ipv4`, net/netfilter/nf_nat_redirect.c): to 127.0.0.1 for
/// locally generated packets, else to the first address of the input device, whatever its scope. For PREROUTING and
/// OUTPUT.
pub fn redirect(ctx: &mut EvalCtx, packet: &Packet, range: &NatRange) -> Verdict {
    let addr = if ctx.state.hook == Hook::Output {
        Some(Ipv4Addr::LOCALHOST)
    } else {
        let device = ctx.state.in_dev.or(packet.meta.in_dev);
        device.and_then(|device| ctx.devices.get(device).addrs.first()).map(|held| held.net.addr())
    };
    let Some(addr) = addr.filter(|addr| !addr.is_unspecified()) else {
        return Verdict::Drop(DropReason::NatFailed);
    };
    let range = NatRange { min_addr: Some(addr.into()), max_addr: Some(addr.into()), ..*range };
    setup_info(ctx, packet, &range, Side::Dst)
}
