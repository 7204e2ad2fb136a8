//! Resolves next hops, and handles timers of unresolved ones.

use super::entry::{NeighKey, NeighState, Neighbour};
use super::queue::{enqueue, fail_queue, report_failure, transmit};
use super::solicit::{probes_max, retrans_time, set_timer, solicit};
use crate::context::{Context, Effect};
use crate::device::{Device, Devices};
use crate::drop_reason::DropReason;
use crate::fib::Routing;
use crate::ids::DeviceId;
use crate::packet::{Packet, QueuedPacket};
use crate::route::RouteKind;
use crate::sysctl::{DeviceSetting, Setting, Sysctls};
use crate::time::{Duration, Instant};
use crate::trace::{Event, NeighEvent, Terminal};
use crate::wire::MacAddr;
use rustc_hash::FxHashMap;
use std::net::IpAddr;

/// The neighbours of a netns.
#[derive(Clone, Debug, Default)]
pub struct NeighTable {
    /// In unspecified order.
    pub(super) entries: FxHashMap<NeighKey, Neighbour>,
    /// The last garbage collection (`last_flush`).
    collected_at: Instant,
}

/// The result of resolving the next hop of a packet.
#[derive(Debug)]
#[must_use]
pub enum Resolution {
    /// The MAC address. The caller writes the Ethernet header and transmits.
    Resolved(MacAddr, Packet),
    /// The packet is queued for a reply, and will be sent or dropped from here.
    Queued,
    /// The packet was dropped.
    Dropped,
}

impl NeighTable {
    /// Resolves the MAC address of `next_hop` for a packet about to leave through `device`.
    /// Linux: ip_finish_output2, net/ipv4/ip_output.c; neigh_resolve_output, net/core/neighbour.c.
    pub fn resolve(
        &mut self,
        cx: &mut Context<'_>,
        routing: Routing<'_>,
        device: DeviceId,
        next_hop: IpAddr,
        packet: Packet,
    ) -> Resolution {
        let sysctls = routing.sysctls;
        let key = NeighKey(device, next_hop);
        let link = routing.devices.get(device);
        if !link.has_arp() {
            return Resolution::Resolved(address_without_arp(link, next_hop), packet);
        }
        // The type of the next hop's address is determined when its entry is created, and not again
        // (`arp_constructor`).
        let Some(entry) = self.entries.get_mut(&key) else {
            if let Some(mac) = group_address(routing, next_hop) {
                return Resolution::Resolved(mac, packet);
            }
            if !self.make_room(cx.now, sysctls) {
                cx.effects.push(Effect::End {
                    packet: QueuedPacket(packet),
                    terminal: Terminal::Dropped(DropReason::NeighTableFull),
                });
                return Resolution::Dropped;
            }
            self.entries.insert(key, Neighbour::new(cx.now));
            return self.ask(cx, routing, key, packet);
        };
        entry.age(cx.now, sysctls.neigh_time(DeviceSetting::BaseReachableTimeMs, device));
        match entry.state {
            NeighState::Reachable | NeighState::Permanent | NeighState::Delay | NeighState::Probe => {
                entry.has_header = true;
                Resolution::Resolved(entry.mac, packet)
            }
            NeighState::Stale => {
                let wait = sysctls.neigh_time(DeviceSetting::DelayFirstProbeTime, device);
                entry.state = NeighState::Delay;
                entry.has_header = true;
                entry.updated_at = cx.now;
                set_timer(cx, entry, key, cx.now + wait);
                Resolution::Resolved(entry.mac, packet)
            }
            NeighState::Incomplete => {
                enqueue(cx, sysctls, device, entry, packet);
                Resolution::Queued
            }
            NeighState::Failed => self.ask(cx, routing, key, packet),
        }
    }

    /// The MAC address and state of a neighbour, as in `ip neigh`.
    pub fn get(
        &self,
        now: Instant,
        sysctls: &Sysctls,
        device: DeviceId,
        addr: IpAddr,
    ) -> Option<(MacAddr, NeighState)> {
        let mut entry = self.entries.get(&NeighKey(device, addr))?.clone();
        entry.age(now, sysctls.neigh_time(DeviceSetting::BaseReachableTimeMs, device));
        Some((entry.mac, entry.state))
    }

    /// The MAC address of a neighbour that is connected and whose Ethernet header is cached (`NUD_CONNECTED` and
    /// `hh_len`), for callers that bypass resolution.
    pub fn connected(
        &self,
        now: Instant,
        sysctls: &Sysctls,
        device: DeviceId,
        addr: IpAddr,
    ) -> Option<MacAddr> {
        let has_header = self.entries.get(&NeighKey(device, addr))?.has_header;
        let (mac, state) = self.get(now, sysctls, device, addr)?;
        let is_connected = match state {
            NeighState::Reachable | NeighState::Permanent => true,
            NeighState::Incomplete
            | NeighState::Stale
            | NeighState::Delay
            | NeighState::Probe
            | NeighState::Failed => false,
        };
        (has_header && is_connected).then_some(mac)
    }

    /// Adds a permanent entry, as `ip neigh replace ADDR lladdr MAC dev DEVICE nud permanent` does. Packets queued for
    /// it are sent.
    pub fn add_permanent(
        &mut self,
        cx: &mut Context<'_>,
        devices: &Devices,
        device: DeviceId,
        addr: IpAddr,
        mac: MacAddr,
    ) {
        let entry = self.entries.entry(NeighKey(device, addr)).or_insert_with(|| Neighbour::new(cx.now));
        entry.state = NeighState::Permanent;
        entry.mac = mac;
        entry.timer = None;
        entry.confirmed_at = Some(cx.now);
        entry.updated_at = cx.now;
        for QueuedPacket(packet) in std::mem::take(&mut entry.queue) {
            transmit(cx, devices, device, mac, packet);
        }
    }

    /// Deletes a neighbour, as `ip neigh del` does. Packets queued for it are dropped, with an ICMP error to their
    /// senders.
    pub fn remove(&mut self, cx: &mut Context<'_>, device: DeviceId, addr: IpAddr) -> bool {
        let Some(entry) = self.entries.remove(&NeighKey(device, addr)) else { return false };
        fail_queue(cx, device, entry);
        true
    }

    /// Deletes all neighbours on a device that went down. Queued packets are dropped silently (`neigh_ifdown`).
    pub fn on_device_down(&mut self, cx: &mut Context<'_>, device: DeviceId) {
        self.flush(cx, device, |_| true);
    }

    /// Deletes all neighbours on a device that lost its carrier, except permanent ones. Queued packets are dropped silently
    /// (`neigh_carrier_down`).
    pub fn on_carrier_down(&mut self, cx: &mut Context<'_>, device: DeviceId) {
        self.flush(cx, device, |entry| entry.state != NeighState::Permanent);
    }

    /// Linux: neigh_flush_dev, net/core/neighbour.c.
    fn flush(&mut self, cx: &mut Context<'_>, device: DeviceId, is_meant: fn(&Neighbour) -> bool) {
        let is_gone = |(NeighKey(on, _), entry): &(&NeighKey, &Neighbour)| *on == device && is_meant(entry);
        let mut gone: Vec<_> = self.entries.iter().filter(is_gone).map(|(key, _)| *key).collect();
        gone.sort_unstable();
        for entry in gone.iter().filter_map(|key| self.entries.remove(key)) {
            for QueuedPacket(packet) in entry.queue {
                cx.effects.push(Effect::End {
                    packet: QueuedPacket(packet),
                    terminal: Terminal::Dropped(DropReason::DeviceDown),
                });
            }
        }
    }

    /// Confirms a neighbour because a connection made progress through it (`sock_confirm_neigh`, include/net/sock.h).
    pub fn confirm(&mut self, now: Instant, sysctls: &Sysctls, device: DeviceId, addr: IpAddr) {
        if let Some(entry) = self.entries.get_mut(&NeighKey(device, addr)) {
            entry.age(now, sysctls.neigh_time(DeviceSetting::BaseReachableTimeMs, device));
            entry.confirmed_at = Some(now);
        }
    }

    /// True if the address of a neighbour is known; else its resolution starts, without a packet that waits for it.
    /// Linux: neigh_event_send without a packet, net/core/neighbour.c.
    pub fn probe(
        &mut self,
        cx: &mut Context<'_>,
        routing: Routing<'_>,
        device: DeviceId,
        addr: IpAddr,
    ) -> bool {
        let key = NeighKey(device, addr);
        if !routing.devices.get(device).has_arp() || group_address(routing, addr).is_some() {
            return true;
        }
        if !self.entries.contains_key(&key) {
            if !self.make_room(cx.now, routing.sysctls) {
                return false;
            }
            self.entries.insert(key, Neighbour::new(cx.now));
        }
        let state = self.entries.get(&key).map(|entry| entry.state);
        if state == Some(NeighState::Failed) && self.begin(cx, routing, key) {
            self.request(cx, routing, key);
        }
        state.is_some_and(NeighState::is_valid)
    }

    /// Handles an expired timer. Sends another request, or gives up: then it returns true, and the caller ends the queued
    /// packets by [`NeighTable::neigh_invalidate`].
    /// Linux: neigh_timer_handler. The event of a timer that was reset meanwhile is ignored.
    pub fn on_timer(
        &mut self,
        cx: &mut Context<'_>,
        routing: Routing<'_>,
        device: DeviceId,
        addr: IpAddr,
    ) -> bool {
        let key = NeighKey(device, addr);
        let sysctls = routing.sysctls;
        let Some(entry) = self.entries.get_mut(&key) else { return false };
        // Timers may expire late, never early.
        if entry.timer.is_none_or(|at| cx.now < at) {
            return false;
        }
        entry.timer = None;
        match entry.state {
            NeighState::Delay => {
                let window = sysctls.neigh_time(DeviceSetting::DelayFirstProbeTime, device);
                entry.updated_at = cx.now;
                if entry.confirmed_at.is_some_and(|at| cx.now <= at + window) {
                    entry.state = NeighState::Reachable;
                    return false;
                }
                entry.state = NeighState::Probe;
                entry.probes = 0;
            }
            NeighState::Incomplete | NeighState::Probe => {}
            NeighState::Reachable | NeighState::Stale | NeighState::Failed | NeighState::Permanent => {
                return false;
            }
        }
        if entry.probes < probes_max(sysctls, device, entry.state) {
            let wait = retrans_time(sysctls, device);
            set_timer(cx, entry, key, cx.now + wait);
            solicit(cx, routing, key, entry);
            return false;
        }
        entry.state = NeighState::Failed;
        entry.updated_at = cx.now;
        cx.record(None, || Event::Neigh(NeighEvent::Failed { device, addr }));
        true
    }

    /// Ends the next packet that waits for a neighbour that has failed, with [`DropReason::NeighFailed`] and an
    /// [`Effect::IcmpUnreachable`] to its sender. False if none is left. Such an error may itself need the neighbour, which
    /// is then resolved again: the packets behind it, and the error, end without a report.
    /// Linux: neigh_invalidate, net/core/neighbour.c.
    pub fn neigh_invalidate(&mut self, cx: &mut Context<'_>, device: DeviceId, addr: IpAddr) -> bool {
        let Some(entry) = self.entries.get_mut(&NeighKey(device, addr)) else { return false };
        if entry.state == NeighState::Failed {
            let next = entry.queue.pop_front();
            let is_one = next.is_some();
            next.into_iter().for_each(|QueuedPacket(packet)| report_failure(cx, device, packet));
            return is_one;
        }
        let terminal = Terminal::Dropped(DropReason::NeighFailed);
        cx.effects.extend(
            std::mem::take(&mut entry.queue).into_iter().map(|packet| Effect::End { packet, terminal }),
        );
        false
    }

    /// Starts the resolution of a neighbour: queues the packet, and sends the first request immediately.
    /// Linux: __neigh_event_send.
    fn ask(
        &mut self,
        cx: &mut Context<'_>,
        routing: Routing<'_>,
        key: NeighKey,
        packet: Packet,
    ) -> Resolution {
        if !self.begin(cx, routing, key) {
            cx.effects.push(Effect::End {
                packet: QueuedPacket(packet),
                terminal: Terminal::Dropped(DropReason::NeighFailed),
            });
            return Resolution::Dropped;
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            enqueue(cx, routing.sysctls, key.0, entry, packet);
        }
        self.request(cx, routing, key);
        Resolution::Queued
    }

    /// Makes an entry incomplete and sets its timer. False if requests are turned off.
    fn begin(&mut self, cx: &mut Context<'_>, routing: Routing<'_>, key: NeighKey) -> bool {
        let NeighKey(device, _) = key;
        let sysctls = routing.sysctls;
        let entry = self.entries.get_mut(&key).expect("the caller created the entry");
        entry.updated_at = cx.now;
        if sysctls.neigh_count(DeviceSetting::McastSolicit, device) == 0 {
            return false;
        }
        entry.state = NeighState::Incomplete;
        // There is no address for unicast probes.
        entry.probes = sysctls.neigh_count(DeviceSetting::UcastSolicit, device);
        let wait = retrans_time(sysctls, device);
        set_timer(cx, entry, key, cx.now + wait);
        true
    }

    fn request(&mut self, cx: &mut Context<'_>, routing: Routing<'_>, key: NeighKey) {
        if let Some(entry) = self.entries.get_mut(&key) {
            solicit(cx, routing, key, entry);
        }
    }

    /// True if there is room for one more entry, after garbage collection.
    ///
    /// D-48. Deviations: the kernel counts the entries of all namespaces, here each netns counts its own; and the
    /// kernel drops the oldest entry first, here it is the lowest address.
    /// Linux: neigh_alloc and neigh_forced_gc.
    pub(super) fn make_room(&mut self, now: Instant, sysctls: &Sysctls) -> bool {
        const KEEP: Duration = Duration::from_secs(5);
        let [soft, hard] =
            [Setting::NeighGcThresh2, Setting::NeighGcThresh3].map(|setting| sysctls.value(setting) as usize);
        let counts = |entry: &&Neighbour| entry.state != NeighState::Permanent;
        let held = self.entries.values().filter(counts).count();
        let is_due = now > self.collected_at + KEEP;
        if held < soft || (held < hard && !is_due) {
            return true;
        }
        self.collected_at = now;
        let mut surplus = held + 1 - soft;
        let before = self.entries.len();
        let mut keys: Vec<_> = self.entries.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.age(now, sysctls.neigh_time(DeviceSetting::BaseReachableTimeMs, key.0));
            let is_old = entry.state == NeighState::Stale && now > entry.updated_at + KEEP;
            if surplus > 0 && (entry.state == NeighState::Failed || is_old) {
                surplus -= 1;
                self.entries.remove(&key);
            }
        }
        held < hard || self.entries.len() < before
    }
}

/// The hardware address of a multicast or broadcast next hop, which needs no resolution.
/// Linux: arp_constructor, net/ipv4/arp.c; ndisc_constructor, net/ipv6/ndisc.c.
fn group_address(routing: Routing<'_>, next_hop: IpAddr) -> Option<MacAddr> {
    let IpAddr::V4(addr) = next_hop else {
        return next_hop.is_multicast().then(|| multicast_mac(next_hop));
    };
    match routing.fib.addr_type(addr) {
        RouteKind::Multicast => Some(multicast_mac(next_hop)),
        RouteKind::Broadcast => Some(MacAddr::BROADCAST),
        RouteKind::Unicast
        | RouteKind::Local
        | RouteKind::Unreachable
        | RouteKind::Prohibit
        | RouteKind::Blackhole => None,
    }
}

/// The hardware address of any next hop on a device without ARP: the device's own, except for multicast, which the
/// loopback does not support.
/// Linux: arp_constructor.
fn address_without_arp(device: &Device, next_hop: IpAddr) -> MacAddr {
    if next_hop.is_multicast() && !device.is_loopback() { multicast_mac(next_hop) } else { device.mac }
}

/// Linux: `ip_eth_mc_map`, include/net/ip.h; `ipv6_eth_mc_map`, include/net/if_inet6.h.
const fn multicast_mac(group: IpAddr) -> MacAddr {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            MacAddr([0x33, 0x33, a, b, c, d])
        }
    }
}
