//! Sends requests for a neighbour: timing, sender address, and number.

use super::entry::{NeighKey, NeighState, Neighbour};
use crate::arrivals::Seen;
use crate::context::{Context, Effect};
use crate::device::Scope;
use crate::fib::{Routing, select_source};
use crate::ids::DeviceId;
use crate::mutation::Mutation;
use crate::packet::{Origin, Packet, QueuedPacket};
use crate::route::RouteKind;
use crate::sysctl::{DeviceSetting, Sysctls};
use crate::time::{Duration, Instant};
use crate::trace::{Event, NeighEvent};
use crate::wire::arp::{Arp, ArpOperation};
use crate::wire::{Ipv4, MacAddr, build};
use std::net::{IpAddr, Ipv4Addr};

/// Sends a request: broadcast, or unicast to the known address while it is being probed.
/// Linux: neigh_probe, net/core/neighbour.c; arp_solicit, net/ipv4/arp.c.
pub(super) fn solicit(
    cx: &mut Context<'_>,
    routing: Routing<'_>,
    NeighKey(device, addr): NeighKey,
    entry: &mut Neighbour,
) {
    let IpAddr::V4(target_ip) = addr else { unreachable!("nothing sends to an IPv6 neighbour") };
    let Routing { devices, sysctls, .. } = routing;
    let last = entry.queue.back().map(|QueuedPacket(packet)| packet);
    let sender_ip = announced_source(routing, device, target_ip, last);
    let is_unicast = entry.probes < sysctls.neigh_count(DeviceSetting::UcastSolicit, device);
    let to = if is_unicast { entry.mac } else { MacAddr::BROADCAST };
    let arp = Arp {
        operation: ArpOperation::Request,
        sender_mac: devices.get(device).mac,
        sender_ip,
        target_mac: MacAddr::ZERO,
        target_ip,
    };
    entry.probes += 1;
    let (cause, flow) = (last.map(|packet| packet.id), last.and_then(|packet| packet.flow));
    cx.record(cause, || Event::Neigh(NeighEvent::Solicited { device, addr }));
    let bytes = build::arp_frame(to, devices.get(device).mac, &arp);
    let packet = cx.create(Origin::Kernel, cause, flow, bytes);
    cx.effects.push(Effect::Transmit { device, packet: QueuedPacket(packet) });
    follow_kernel(cx, entry, NeighKey(device, addr), target_ip);
}

/// If a kernel that is followed sent this request earlier or later, its next one, or its error, is earlier or later too; see
/// [`crate::arrivals`]. Less than half an interval: otherwise it is another request of the same resolution.
fn follow_kernel(cx: &mut Context<'_>, entry: &mut Neighbour, key: NeighKey, target: Ipv4Addr) {
    let Some(at) = entry.timer else { return };
    let lateness = cx.draws.lateness(cx.netns, Seen::Request(target));
    let half = at.saturating_since(cx.now) / 2;
    if lateness != 0 && Duration::from_nanos(lateness.unsigned_abs()) < half {
        set_timer(cx, entry, key, Instant::from_nanos(at.as_nanos().saturating_add_signed(lateness)));
    }
}

/// The sender address of a request: that of the last queued packet, if arp_announce permits.
fn announced_source(
    routing: Routing<'_>,
    device: DeviceId,
    target: Ipv4Addr,
    packet: Option<&Packet>,
) -> Ipv4Addr {
    let Routing { devices, fib, sysctls } = routing;
    let own = packet
        .and_then(|packet| Ipv4::new_checked(packet.l3()))
        .map(|ip| ip.src())
        .filter(|src| fib.addr_type(*src) == RouteKind::Local);
    let announced = match Mutation::ArpAnnounceUnread.or(0, sysctls.arp_announce(device)) {
        1 => own.filter(|src| devices.get(device).is_on_link(target, Some(*src))),
        2 => None,
        _ => own,
    };
    announced
        .or_else(|| select_source(devices, sysctls, device, Some(target), Scope::Link))
        .unwrap_or(Ipv4Addr::UNSPECIFIED)
}

/// Sets the timer of an entry; the event of an earlier timer becomes outdated.
pub(super) fn set_timer(
    cx: &mut Context<'_>,
    entry: &mut Neighbour,
    NeighKey(device, addr): NeighKey,
    at: Instant,
) {
    entry.timer = Some(at);
    cx.effects.push(Effect::NeighTimer { at, device, addr });
}

// Linux: neigh_max_probes. There is no user-space prober (`app_solicit`).
pub(super) fn probes_max(sysctls: &Sysctls, device: DeviceId, state: NeighState) -> u32 {
    let more =
        if state == NeighState::Probe { DeviceSetting::McastResolicit } else { DeviceSetting::McastSolicit };
    sysctls.neigh_count(DeviceSetting::UcastSolicit, device) + sysctls.neigh_count(more, device)
}

/// The interval between requests; at least 10 ms, as in the kernel.
pub(super) fn retrans_time(sysctls: &Sysctls, device: DeviceId) -> Duration {
    sysctls.neigh_time(DeviceSetting::RetransTimeMs, device).max(Duration::from_millis(10))
}
