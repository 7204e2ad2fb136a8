//! Device and bridge events.

use super::{Row, RowContext};
use crate::palette::Tone;
use sim::ids::NetnsId;
use sim::trace::{BridgeEvent, DeviceEvent};

pub(super) fn device(words: &RowContext<'_>, netns: NetnsId, event: &DeviceEvent) -> Row {
    let (device, way, frame) = match event {
        DeviceEvent::Received { device, frame } => (device, "in", frame),
        DeviceEvent::Transmitted { device, frame } => (device, "out", frame),
    };
    Row::new(format!("{} {way}", words.device(netns, *device)), words.frame(frame))
}

pub(super) fn bridge(words: &RowContext<'_>, netns: NetnsId, event: &BridgeEvent) -> Row {
    let name = |port| words.device(netns, port);
    match event {
        BridgeEvent::Learned { port, mac } => {
            Row::new("bridge", format!("learns {mac} on {}", name(*port))).tone(Tone::Dim)
        }
        BridgeEvent::Forwarded { port } => Row::new("bridge", format!("to port {}", name(*port))),
        BridgeEvent::Flooded => Row::new("bridge", "to every port"),
        BridgeEvent::PassedUp => Row::new("bridge", "up to the bridge device"),
        BridgeEvent::NotDelivered { port } => {
            Row::new("bridge", format!("not forwarded to {}: ingress port, hairpin mode is off", name(*port)))
                .tone(Tone::Dim)
        }
        BridgeEvent::DnatBridged => {
            Row::new("bridge", "DNAT to another host on this bridge: bridged with its MAC")
        }
    }
}
