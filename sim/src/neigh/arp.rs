//! Receives ARP (`arp_rcv` and `arp_process`, net/ipv4/arp.c).

use super::entry::{NeighKey, NeighState, Neighbour};
use super::queue::transmit;
use super::solicit::set_timer;
use super::table::NeighTable;
use crate::context::{Context, Effect};
use crate::device::Scope;
use crate::drop_reason::DropReason;
use crate::fib::{InputKey, OutputKey, Routing, confirm_address, route_input, route_output};
use crate::ids::{DeviceId, PacketId};
use crate::mutation::Mutation;
use crate::packet::{Origin, Packet, PacketType, QueuedPacket};
use crate::route::RouteKind;
use crate::sysctl::DeviceSetting;
use crate::trace::{Event, NeighEvent, Terminal};
use crate::wire::arp::{Arp, ArpOperation};
use crate::wire::{MacAddr, build};
use std::net::IpAddr;

/// The inputs for processing an ARP packet.
struct Received<'a> {
    routing: Routing<'a>,
    device: DeviceId,
    arp: Arp,
    packet: PacketId,
    packet_type: PacketType,
}

impl NeighTable {
    /// Processes an ARP frame: replies, learns from it, or ignores it. Always consumes the packet.
    pub fn arp_rcv(&mut self, cx: &mut Context<'_>, routing: Routing<'_>, device: DeviceId, packet: Packet) {
        let packet_type = packet.meta.packet_type;
        let is_ignored = !routing.devices.get(device).has_arp() || packet_type == PacketType::OtherHost;
        let terminal = match Arp::parse(packet.l3()) {
            _ if is_ignored => Terminal::Dropped(DropReason::ArpNotForUs),
            None => Terminal::Dropped(DropReason::ArpHeader),
            Some(arp) => {
                let received = Received { routing, device, arp, packet: packet.id, packet_type };
                if self.arp_process(cx, &received, &packet) {
                    Terminal::Consumed
                } else {
                    Terminal::Dropped(DropReason::ArpNotForUs)
                }
            }
        };
        cx.end(packet, terminal);
    }

    /// Returns true if the packet had any effect.
    fn arp_process(&mut self, cx: &mut Context<'_>, received: &Received<'_>, packet: &Packet) -> bool {
        let Received { routing: Routing { fib, sysctls, .. }, device, arp, .. } = received;
        let (sender, target) = (arp.sender_ip, arp.target_ip);
        let is_request = arp.operation == ArpOperation::Request;
        // D-42.
        if target.is_multicast() || (target.is_loopback() && !sysctls.route_localnet(*device)) {
            return false;
        }
        if sender.is_unspecified() {
            // A probe for address conflicts (RFC 5227).
            let answers = is_request
                && fib.addr_type(target) == RouteKind::Local
                && !received.is_ignored_by_arp_ignore();
            if answers {
                reply(cx, received, packet);
            }
            return answers;
        }
        if is_request {
            match received.request() {
                Request::Answered => {
                    if !self.learn_asker(cx, received) {
                        return false;
                    }
                    reply(cx, received, packet);
                    return true;
                }
                Request::Refused => return false,
                Request::NotOurs => {}
            }
        }
        self.learn_unasked(cx, received)
    }

    /// The sender of a request for one of our addresses will be a peer: creates or refreshes its entry as stale.
    /// Linux: neigh_event_ns, net/core/neighbour.c.
    fn learn_asker(&mut self, cx: &mut Context<'_>, received: &Received<'_>) -> bool {
        if Mutation::ArpAskersUnlearned.is_on() {
            return true;
        }
        let key = NeighKey(received.device, received.arp.sender_ip.into());
        if !self.entries.contains_key(&key) {
            if !self.make_room(cx.now, received.routing.sysctls) {
                return false;
            }
            self.entries.insert(key, Neighbour::new(cx.now));
        }
        self.update(cx, received, NeighState::Stale, true);
        true
    }

    /// Refreshes the entry of a known sender, or of one that arp_accept admits.
    fn learn_unasked(&mut self, cx: &mut Context<'_>, received: &Received<'_>) -> bool {
        let Received { routing: Routing { sysctls, .. }, device, arp, packet_type, .. } = received;
        let key = NeighKey(*device, arp.sender_ip.into());
        let is_gratuitous = received.is_gratuitous();
        if !self.entries.contains_key(&key) {
            let is_reply = arp.operation == ArpOperation::Reply;
            let is_new = received.is_accepted_unsolicited()
                && (is_gratuitous
                    || (is_reply && received.routing.fib.addr_type(arp.sender_ip) == RouteKind::Unicast));
            if !is_new || !self.make_room(cx.now, sysctls) {
                return false;
            }
            self.entries.insert(key, Neighbour::new(cx.now));
        }
        let entry = &self.entries[&key];
        // The first of several replies is used: it comes from the fastest responder.
        let locktime = sysctls.neigh_time(DeviceSetting::Locktime, *device);
        let may_override = is_gratuitous || cx.now > entry.updated_at + locktime;
        let is_answer = arp.operation == ArpOperation::Reply && *packet_type == PacketType::Host;
        let state = if is_answer { NeighState::Reachable } else { NeighState::Stale };
        self.update(cx, received, state, may_override);
        true
    }

    fn update(
        &mut self,
        cx: &mut Context<'_>,
        received: &Received<'_>,
        state: NeighState,
        may_override: bool,
    ) {
        let Received { routing: Routing { devices, sysctls, .. }, device, arp, .. } = received;
        let (device, addr, mac) = (*device, IpAddr::V4(arp.sender_ip), arp.sender_mac);
        let entry = self.entries.get_mut(&NeighKey(device, addr)).expect("the caller created the entry");
        entry.age(cx.now, sysctls.neigh_time(DeviceSetting::BaseReachableTimeMs, device));
        if !entry.update(cx.now, mac, state, may_override) {
            return;
        }
        cx.record(Some(received.packet), || Event::Neigh(NeighEvent::Resolved { device, addr, mac }));
        if entry.queue.is_empty() {
            return;
        }
        if entry.state == NeighState::Stale {
            // Queued packets are sent like any packet to a stale neighbour, which will be probed.
            entry.state = NeighState::Delay;
            let wait = sysctls.neigh_time(DeviceSetting::DelayFirstProbeTime, device);
            set_timer(cx, entry, NeighKey(device, addr), cx.now + wait);
        }
        entry.has_header |= !entry.queue.is_empty();
        for QueuedPacket(waiting) in std::mem::take(&mut entry.queue) {
            transmit(cx, devices, device, mac, waiting);
        }
    }
}

/// How to handle a request.
enum Request {
    Answered,
    /// For us, but a sysctl forbids a reply.
    Refused,
    NotOurs,
}

impl Received<'_> {
    // D-45: replies for any local address on any device, unless arp_ignore or arp_filter forbid it. The sender is
    // validated like that of a packet, so martians and rp_filter apply.
    fn request(&self) -> Request {
        let Self { routing: Routing { devices, fib, sysctls }, device, arp, .. } = self;
        let key = InputKey { in_dev: *device, src: arp.sender_ip, dst: arp.target_ip, tos: 0, mark: 0 };
        let Ok(route) = route_input(fib, devices, sysctls, &key) else { return Request::NotOurs };
        match route.kind {
            RouteKind::Local if self.is_ignored_by_arp_ignore() || self.is_filtered() => Request::Refused,
            RouteKind::Local
                if Mutation::ArpAnswersForOwnDevice.is_on()
                    && !devices.get(*device).addrs.iter().any(|held| held.net.addr() == arp.target_ip) =>
            {
                Request::Refused
            }
            RouteKind::Local => Request::Answered,
            // Deviation: the kernel delays proxy replies by a random time up to `proxy_delay`.
            RouteKind::Unicast if route.device != *device && sysctls.proxy_arp(*device) => Request::Answered,
            RouteKind::Unicast
            | RouteKind::Broadcast
            | RouteKind::Multicast
            | RouteKind::Unreachable
            | RouteKind::Prohibit
            | RouteKind::Blackhole => Request::NotOurs,
        }
    }

    // Linux: arp_ignore.
    fn is_ignored_by_arp_ignore(&self) -> bool {
        let Self { routing: Routing { devices, sysctls, .. }, device, arp, .. } = self;
        let sender = Some(arp.sender_ip).filter(|sender| !sender.is_unspecified());
        if Mutation::ArpIgnoreUnread.is_on() {
            return false;
        }
        let (device, peer, scope) = match sysctls.arp_ignore(*device) {
            1 => (Some(*device), None, Scope::Host),
            2 => (Some(*device), sender, Scope::Host),
            3 => (None, None, Scope::Link),
            8 => return true,
            _ => return false,
        };
        confirm_address(devices, sysctls, device, peer, Some(arp.target_ip), scope).is_none()
    }

    // Linux: arp_filter.
    fn is_filtered(&self) -> bool {
        let Self { routing: Routing { devices, fib, sysctls }, device, arp, .. } = self;
        let key = OutputKey::to(arp.sender_ip).from(arp.target_ip);
        sysctls.arp_filter(*device)
            && route_output(fib, devices, sysctls, &key).map_or(true, |route| route.device != *device)
    }

    // Linux: arp_is_garp.
    fn is_gratuitous(&self) -> bool {
        let Arp { operation, sender_mac, sender_ip, target_mac, target_ip } = self.arp;
        sender_ip == target_ip
            && (operation == ArpOperation::Request || target_mac == sender_mac)
            && self.routing.fib.addr_type(sender_ip) == RouteKind::Unicast
    }

    // Linux: arp_accept.
    fn is_accepted_unsolicited(&self) -> bool {
        let Self { routing: Routing { devices, sysctls, .. }, device, arp, .. } = self;
        match sysctls.arp_accept(*device) {
            1 => true,
            2 => {
                let peer = Some(arp.sender_ip);
                confirm_address(devices, sysctls, Some(*device), peer, None, Scope::Link).is_some()
            }
            _ => false,
        }
    }
}

/// Replies with the device's own MAC address.
fn reply(cx: &mut Context<'_>, received: &Received<'_>, request: &Packet) {
    let Received { routing: Routing { devices, .. }, device, arp, .. } = received;
    let own: MacAddr = devices.get(*device).mac;
    let answer = Arp {
        operation: ArpOperation::Reply,
        sender_mac: own,
        sender_ip: arp.target_ip,
        target_mac: arp.sender_mac,
        target_ip: arp.sender_ip,
    };
    let bytes = build::arp_frame(arp.sender_mac, own, &answer);
    let packet = cx.create(Origin::Kernel, Some(request.id), request.flow, bytes);
    cx.effects.push(Effect::Transmit { device: *device, packet: QueuedPacket(packet) });
}
