//! Detects and describes endless traffic.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use sim::packet::Origin;
use sim::time::Duration;
use sim::trace::{DeviceEvent, Event, Kept, Level, PacketEvent, TraceEvent};
use sim::wire::{ETHERNET_HEADER_LEN, Headers, protocol};
use sim::world::{RunLimit, World};

use crate::arm::ArmError;

/// Number of events to sample once traffic is known to be endless.
const SAMPLE: u64 = 2_000;

/// Maximum number of kinds of packets, and of devices, in the message.
const NAMED_MAX: usize = 6;

/// Rejects a scenario whose packets take more events than one wait may ([`RunLimit::Events`]).
///
/// # Errors
/// [`ArmError::Refused`], with the recurring packets and the devices that they traverse.
pub(super) fn check(world: &World, limit: RunLimit) -> Result<(), ArmError> {
    match limit {
        RunLimit::Idle | RunLimit::Time | RunLimit::Done => Ok(()),
        RunLimit::Events => Err(ArmError::Refused(described(world))),
    }
}

fn described(world: &World) -> String {
    let mut sample = world.fork();
    sample.set_level(Level::Everything);
    sample.set_kept(Kept::All);
    sample.set_events_max(SAMPLE);
    sample.run_until(world.now() + Duration::from_secs(60));
    let mut packets: BTreeMap<String, usize> = BTreeMap::new();
    let mut devices: Vec<String> = Vec::new();
    for event in sample.trace().events() {
        if let Some(packet) = created(event) {
            let sender = &world.netns(event.netns).name;
            *packets.entry(format!("{packet}, sent by {sender}")).or_default() += 1;
        }
        if let Event::Device(DeviceEvent::Transmitted { device, .. }) = &event.event {
            let netns = world.netns(event.netns);
            let name = format!("{} {}", netns.name, netns.devices.get(*device).name);
            if !devices.contains(&name) {
                devices.push(name);
            }
        }
    }
    let mut packets: Vec<(String, usize)> = packets.into_iter().collect();
    packets.sort_by(|(left, left_count), (right, right_count)| {
        right_count.cmp(left_count).then_with(|| left.cmp(right))
    });
    let mut text = format!(
        "endless traffic: {} events in one wait, not finished at {} s of virtual time",
        world.events_max(),
        world.now()
    );
    for (packet, count) in packets.iter().take(NAMED_MAX) {
        let _ = write!(text, "\n  {packet}: {count} of the next {SAMPLE} events");
    }
    devices.truncate(NAMED_MAX);
    let _ = write!(
        text,
        "\n  through {}\nhelp: servers that reply to every datagram keep replying to each other; send from a port on which no \
         server listens",
        devices.join(", ")
    );
    text
}

/// A packet that a socket or the kernel created, in tcpdump's notation.
fn created(event: &TraceEvent) -> Option<String> {
    let Event::Packet(PacketEvent::Created { origin, frame, .. }) = &event.event else { return None };
    match origin {
        Origin::Socket | Origin::Kernel => {}
        Origin::Clone | Origin::Fragment | Origin::Injected => return None,
    }
    let headers = Headers::parse(frame.get(ETHERNET_HEADER_LEN..)?)?;
    let name = match headers.protocol {
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        protocol::ICMP => "icmp",
        _ => "packet",
    };
    let (src, dst) = match headers.l4.ports() {
        Some((src, dst)) => {
            (SocketAddr::new(headers.src, src).to_string(), SocketAddr::new(headers.dst, dst).to_string())
        }
        None => (headers.src.to_string(), headers.dst.to_string()),
    };
    Some(format!("{name} {src} > {dst}"))
}
