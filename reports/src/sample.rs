//! Hand-made packets and events for tests.

pub(crate) mod run;
pub(crate) mod suite;

use sim::hook::{Family, Hook};
use sim::ids::{DeviceId, FlowId, NetnsId, PacketId};
use sim::packet::Origin;
use sim::route::{RouteKind, RouteResult};
use sim::time::Instant;
use sim::trace::{
    DeviceEvent, Event, HookEvent, PacketEvent, RuleAction, RuleEvent, RuleRef, RuleSource, Terminal,
    TraceEvent,
};
use sim::tuple::{L4Key, Tuple};
use sim::wire::{TcpFlags, build, protocol};
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) type Addr = (IpAddr, u16);

fn ip(src: Addr, dst: Addr, protocol: u8, l4: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (src.0, dst.0) else { panic!("samples are of IPv4") };
    let fields = build::Ipv4Fields { src, dst, protocol, ttl: 64, tos: 0, ident: 0, dont_fragment: true };
    build::ipv4(fields, l4)
}

/// A TCP segment in a packet whose Ethernet header is not filled in yet.
pub(crate) fn segment(src: Addr, dst: Addr, flags: TcpFlags, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
    let mut l4 = Vec::new();
    l4.extend_from_slice(&src.1.to_be_bytes());
    l4.extend_from_slice(&dst.1.to_be_bytes());
    l4.extend_from_slice(&seq.to_be_bytes());
    l4.extend_from_slice(&ack.to_be_bytes());
    l4.extend_from_slice(&[0x50, flags.0]);
    l4.extend_from_slice(&64240_u16.to_be_bytes());
    l4.extend_from_slice(&[0; 4]);
    l4.extend_from_slice(payload);
    build::finish_transport_checksum(src.0, dst.0, protocol::TCP, &mut l4);
    ip(src, dst, protocol::TCP, &l4)
}

/// A UDP datagram in a packet whose Ethernet header is not filled in yet.
pub(crate) fn udp(src: Addr, dst: Addr, payload: &[u8]) -> Vec<u8> {
    ip(src, dst, protocol::UDP, &build::udp(src, dst, payload))
}

/// The tuple of a TCP flow.
pub(crate) fn tuple(src: Addr, dst: Addr) -> Tuple {
    Tuple { src: src.0, dst: dst.0, protocol: protocol::TCP, l4: L4Key::Ports { src: src.1, dst: dst.1 } }
}

/// A unicast route without a gateway.
pub(crate) const fn route(kind: RouteKind, device: u16, source: IpAddr) -> RouteResult {
    RouteResult { kind, device: DeviceId(device), gateway: None, source, pmtu: None }
}

/// Builder of an event stream.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) events: Vec<TraceEvent>,
    at: u64,
    netns: u32,
    packet: Option<PacketId>,
}

impl Script {
    /// Advances the time.
    pub(crate) fn wait_micros(&mut self, micros: u64) -> &mut Self {
        self.at += micros * 1_000;
        self
    }

    /// Sets the netns of the following events.
    pub(crate) fn netns(&mut self, netns: u32) -> &mut Self {
        self.netns = netns;
        self
    }

    /// Sets the packet of the following events, or none.
    pub(crate) fn packet(&mut self, packet: Option<u64>) -> &mut Self {
        self.packet = packet.map(PacketId);
        self
    }

    pub(crate) fn event(&mut self, event: Event) -> &mut Self {
        self.events.push(TraceEvent {
            at: Instant::from_nanos(self.at),
            netns: NetnsId(self.netns),
            packet: self.packet,
            event,
        });
        self
    }

    pub(crate) fn created(
        &mut self,
        id: u64,
        origin: Origin,
        cause: Option<u64>,
        flow: Option<u32>,
        frame: &[u8],
    ) -> &mut Self {
        self.packet(Some(id)).event(Event::Packet(PacketEvent::Created {
            origin,
            cause: cause.map(PacketId),
            flow: flow.map(FlowId),
            frame: frame.into(),
        }))
    }

    pub(crate) fn ended(&mut self, flow: Option<u32>, terminal: Terminal) -> &mut Self {
        self.event(Event::Packet(PacketEvent::Ended { flow: flow.map(FlowId), terminal }))
    }

    pub(crate) fn received(&mut self, device: u16, frame: &[u8]) -> &mut Self {
        self.event(Event::Device(DeviceEvent::Received { device: DeviceId(device), frame: frame.into() }))
    }

    pub(crate) fn transmitted(&mut self, device: u16, frame: &[u8]) -> &mut Self {
        self.event(Event::Device(DeviceEvent::Transmitted { device: DeviceId(device), frame: frame.into() }))
    }

    pub(crate) fn entered(&mut self, hook: Hook, in_dev: Option<u16>, out_dev: Option<u16>) -> &mut Self {
        self.event(Event::Hook(HookEvent::Entered {
            family: Family::Ipv4,
            hook,
            in_dev: in_dev.map(DeviceId),
            out_dev: out_dev.map(DeviceId),
        }))
    }

    pub(crate) fn accepted(&mut self, hook: Hook) -> &mut Self {
        self.event(Event::Hook(HookEvent::Accepted { hook }))
    }

    pub(crate) fn matched(
        &mut self,
        table: &'static str,
        line: u32,
        text: &str,
        action: RuleAction,
    ) -> &mut Self {
        let chain = text.split(' ').nth(1).unwrap_or_default();
        self.event(Event::Rule(RuleEvent::Matched {
            rule: RuleRef {
                family: Family::Ipv4,
                table,
                chain: chain.into(),
                number: 1,
                source: Arc::new(RuleSource { file: "rules".into(), line, text: text.into() }),
            },
            action,
        }))
    }
}
