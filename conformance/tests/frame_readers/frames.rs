//! The frames that scenarios emit.

use conformance::diagnostic::Source;
use conformance::manifest::load;
use conformance::prepare::{Prepared, prepare};
use conformance::random::{Time, generate};
use conformance::result::Run;
use conformance::runner::{RunOptions, run_sim};
use conformance::scenario::ProxyMode;
use conformance::suite::SCENARIOS;
use sim::trace::{DeviceEvent, Event, PacketEvent};
use sim::wire::checksum;
use std::collections::BTreeSet;

/// All distinct frames of a scenario.
pub(crate) struct Emitted {
    pub(crate) scenario: String,
    pub(crate) frames: BTreeSet<Vec<u8>>,
    /// True for scripts of raw packets, which may have wrong checksums, and where Linux makes one wrong.
    pub(crate) may_be_bad: bool,
}

pub(crate) fn of_built_in_scenarios() -> Vec<Emitted> {
    SCENARIOS.iter().map(|scenario| emitted(scenario.name, scenario.text)).collect()
}

/// Frames of the first clusters of seed 0.
pub(crate) fn of_random_clusters(count: u64) -> Vec<Emitted> {
    let texts = (0..count).map(|index| {
        let name = format!("random-{index}");
        (generate(ProxyMode::Iptables, 0, index, Time::Virtual).current().text(&name), name)
    });
    texts.map(|(text, name)| emitted(&name, &text)).collect()
}

fn emitted(name: &str, text: &str) -> Emitted {
    let source = Source { name: name.to_owned(), text: text.to_owned() };
    let prepared = prepare(load(vec![source])).unwrap_or_else(|refused| panic!("{name}: {refused:?}"));
    let frames = prepared.modes.iter().flat_map(|mode| frames(&prepared, &RunOptions::new(*mode))).collect();
    let may_be_bad = text.contains("bad-checksum") || name == "tcp-mss-odd-offset";
    Emitted { scenario: name.to_owned(), frames, may_be_bad }
}

/// Frames when they were created, when a device transmitted them, and when one received them.
fn frames(prepared: &Prepared, options: &RunOptions) -> BTreeSet<Vec<u8>> {
    let Run { recording, .. } = run_sim(prepared, options).expect("a scenario that can run");
    let events = recording.expect("the simulator records").events;
    let frame = |event: &Event| {
        let (Event::Packet(PacketEvent::Created { frame, .. })
        | Event::Device(DeviceEvent::Received { frame, .. } | DeviceEvent::Transmitted { frame, .. })) =
            event
        else {
            return None;
        };
        Some(frame.to_vec())
    };
    // A socket's packet has no Ethernet header until it is sent.
    events.iter().filter_map(|event| frame(&event.event)).filter(|frame| frame[12..14] != [0, 0]).collect()
}

/// A UDP datagram with IPv4 options (router alert and padding), whole and in two fragments.
pub(crate) fn with_options_and_fragments() -> Vec<Vec<u8>> {
    let (src, dst) = ([192, 168, 0, 100], [10, 96, 0, 10]);
    let mut datagram = vec![0x9c, 0x40, 0, 53, 0, 48, 0, 0];
    datagram.extend(0..40);
    let sum = checksum::pseudo_header(src, dst, 17, 48) + checksum::sum(&datagram);
    datagram[6..8].copy_from_slice(&checksum::finish(sum).to_be_bytes());
    [(&datagram[..], 0x4000_u16), (&datagram[..24], 0x2000), (&datagram[24..], 3)]
        .map(|(payload, part)| {
            let mut header = vec![0x47, 0xb8, 0, 28 + payload.len() as u8, 0x12, 0x34];
            header.extend(part.to_be_bytes());
            header.extend([64, 17, 0, 0]);
            header.extend(src.into_iter().chain(dst));
            header.extend([0x94, 4, 0, 0, 1, 1, 1, 0]);
            let sum = checksum::finish(checksum::sum(&header));
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0][..], &header, payload].concat()
        })
        .to_vec()
}
