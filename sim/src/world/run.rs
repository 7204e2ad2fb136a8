//! The event loop: handles events in order, carries out effects, and decides when to stop.

use super::event::{Scheduled, WorldEvent};
use super::{World, index};
use crate::context::Effect;
use crate::device::DeviceKind;
use crate::drop_reason::DropReason;
use crate::ids::{DeviceId, FlowId, NetnsId, TimerKind};
use crate::packet::{Origin, Packet, QueuedPacket};
use crate::socket::{self};
use crate::stack::{defrag, dev, ip_output, transport};
use crate::time::Instant;
use crate::trace::Terminal;
use crate::wire::ETHERNET_HEADER_LEN;
use smallvec::SmallVec;

/// A packet that crosses more links than this is in a loop. At layer 3 the TTL stops it earlier; at layer 2 nothing
/// else would.
const CROSSINGS_MAX: u32 = 1_000;

/// Default maximum number of events per wait. A connection takes about a hundred, a broadcast to 10,000 Pods about
/// 30,000; more indicates endless traffic.
pub const EVENTS_MAX: u64 = 1_000_000;

/// Why a run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunLimit {
    /// The event queue is empty.
    Idle,
    /// The given time was reached.
    Time,
    /// The awaited condition was met.
    Done,
    /// The maximum number of events per wait was reached before the time: packets are in a loop, or are answered
    /// forever.
    Events,
}

impl World {
    /// Handles every event up to `until`, and advances the time to it, unless there are too many
    /// ([`RunLimit::Events`]).
    pub fn run_until(&mut self, until: Instant) -> RunLimit {
        self.run(until, |_| false)
    }

    /// Sends a frame unchanged on a device, as a packet socket does (`packet_snd`, net/packet/af_packet.c). `mark` is
    /// its `SO_MARK`.
    ///
    /// # Panics
    /// If the frame is shorter than an Ethernet header.
    pub fn send_frame(&mut self, netns: NetnsId, device: DeviceId, frame: Vec<u8>, mark: u32) {
        assert!(frame.len() >= ETHERNET_HEADER_LEN, "a frame of {} bytes", frame.len());
        self.with_netns(netns, |ns, cx| {
            let mut packet = cx.create(Origin::Injected, None, None, frame);
            packet.meta.mark = mark;
            dev::dev_queue_xmit(ns, cx, device, packet);
        });
    }

    /// Runs until all these flows are finished, `until` is reached, or the event queue is empty.
    pub fn run_until_finished(&mut self, flows: &[FlowId], until: Instant) -> RunLimit {
        let with_netns = |flow: &FlowId| (*flow, self.flows.get(flow).copied());
        let mut open: SmallVec<[(FlowId, Option<NetnsId>); 4]> = flows.iter().map(with_netns).collect();
        self.run(until, |world| {
            while let Some((flow, netns)) = open.last() {
                let result = netns.and_then(|netns| world.netns(netns).sockets.flow_result(*flow));
                if result.is_none() {
                    return false;
                }
                open.pop();
            }
            true
        })
    }

    pub(super) fn run(&mut self, until: Instant, is_done: impl FnMut(&Self) -> bool) -> RunLimit {
        let limit = self.handle_events(until, is_done);
        self.expire_ipvs();
        limit
    }

    /// Ends the IPVS connections whose time has come, with their conntrack entries: no event does.
    pub(super) fn expire_ipvs(&mut self) {
        for index in 0..self.with_ipvs.len() {
            let netns = self.with_ipvs[index];
            if self.netns(netns).ipvs.is_due(self.now) {
                self.with_netns(netns, |_, _| {});
            }
        }
    }

    fn handle_events(&mut self, until: Instant, mut is_done: impl FnMut(&Self) -> bool) -> RunLimit {
        let mut budget = self.events_max;
        loop {
            if is_done(self) {
                return RunLimit::Done;
            }
            let place = match self.queue.next() {
                Some((at, place)) if at <= until => place,
                Some(_) => {
                    self.now = self.now.max(until);
                    return RunLimit::Time;
                }
                None => {
                    self.now = self.now.max(until);
                    return RunLimit::Idle;
                }
            };
            if budget == 0 {
                return RunLimit::Events;
            }
            budget -= 1;
            let next = self.queue.take(place);
            self.handle(next);
        }
    }

    fn handle(&mut self, scheduled: Scheduled) {
        assert!(scheduled.at >= self.now, "time never moves backwards");
        self.now = scheduled.at;
        match scheduled.event {
            WorldEvent::Receive { device, packet: QueuedPacket(packet) } => {
                self.with_netns(scheduled.netns, |ns, cx| dev::netif_rx(ns, cx, device, packet));
            }
            // Most timers are replaced or cancelled before they are due.
            WorldEvent::SocketTimer(timer) if !self.netns(scheduled.netns).sockets.is_armed(timer) => {}
            WorldEvent::SocketTimer(timer) => {
                self.with_netns(scheduled.netns, |ns, cx| {
                    transport::with_sockets(ns, cx, |sockets: &mut socket::Sockets, io| {
                        sockets.on_timer(io, timer);
                    });
                });
            }
            WorldEvent::DefragTimer { due } => {
                self.with_netns(scheduled.netns, |ns, cx| defrag::ip_expire(ns, cx, due));
            }
            WorldEvent::NeighTimer { device, addr } => {
                self.with_netns(scheduled.netns, |ns, cx| ip_output::neigh_timer(ns, cx, device, addr));
            }
        }
    }

    /// Carries out the effects of a netns, and keeps the memory of the list.
    pub(super) fn carry_out(&mut self, netns: NetnsId, mut effects: Vec<Effect>) {
        for effect in effects.drain(..) {
            self.carry_out_one(netns, effect);
        }
        self.effects = effects;
    }

    // Inlined, so that effects are read where they are in the list.
    #[inline]
    fn carry_out_one(&mut self, netns: NetnsId, effect: Effect) {
        match effect {
            Effect::Link { device, packet: QueuedPacket(packet) } => self.transmit(netns, device, packet),
            Effect::SocketTimer { at, timer } => {
                // User-space timeouts do not use the kernel's timer wheel (hrtimers, kernel/time/hrtimer.c).
                let at = if timer.kind == TimerKind::Deadline { at } else { self.expiry(at) };
                self.queue.schedule(self.now, at, netns, WorldEvent::SocketTimer(timer));
            }
            Effect::DefragTimer { at } => {
                let event = WorldEvent::DefragTimer { due: at };
                self.queue.schedule(self.now, self.expiry(at), netns, event);
            }
            Effect::NeighTimer { at, device, addr } => {
                let at = self.expiry(at);
                self.queue.schedule(self.now, at, netns, WorldEvent::NeighTimer { device, addr });
            }
            Effect::Transmit { .. }
            | Effect::End { .. }
            | Effect::IcmpUnreachable { .. }
            | Effect::TcpReset { .. } => unreachable!("the stack carries these out itself"),
        }
    }

    fn expiry(&self, due: Instant) -> Instant {
        self.timer_wheel.map_or(due, |wheel| wheel.expiry(self.now, due))
    }

    /// Transmits a frame on the link of a device. The other end receives it after the latency; with loss or
    /// duplication, never or twice.
    fn transmit(&mut self, netns: NetnsId, device: DeviceId, mut packet: Packet) {
        packet.crossings += 1;
        if packet.crossings > CROSSINGS_MAX {
            let terminal = Terminal::Dropped(DropReason::LoopDetected);
            return self.trace.end(self.now, netns, packet, terminal);
        }
        let (to, to_device) = match self.netns[index(netns)].devices.get(device).kind {
            DeviceKind::Loopback => (netns, device),
            DeviceKind::Veth { peer_netns, peer } => (peer_netns, peer),
            DeviceKind::Bridge | DeviceKind::Dummy => unreachable!("handled inside the netns"),
        };
        if device == DeviceId::LOOPBACK {
            let event = WorldEvent::Receive { device, packet: QueuedPacket(packet) };
            return self.queue.schedule(self.now, self.now, netns, event);
        }
        let link = &self.links[&(netns, device)];
        if let Some(delay) = link.fixed_delay() {
            let event = WorldEvent::Receive { device: to_device, packet: QueuedPacket(packet) };
            return self.queue.schedule(self.now, self.now + delay, to, event);
        }
        let delays = link.deliveries(&mut self.draws, netns);
        let Some((last, earlier)) = delays.split_last() else {
            return self.trace.end(self.now, netns, packet, Terminal::Dropped(DropReason::LinkLoss));
        };
        for delay in earlier {
            let copy = self.trace.fork(self.now, netns, &packet);
            let event = WorldEvent::Receive { device: to_device, packet: QueuedPacket(copy) };
            self.queue.schedule(self.now, self.now + *delay, to, event);
        }
        let event = WorldEvent::Receive { device: to_device, packet: QueuedPacket(packet) };
        self.queue.schedule(self.now, self.now + *last, to, event);
    }
}
