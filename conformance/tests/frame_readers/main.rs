//! Three readers parse every frame of the scenarios, and must agree on every field and checksum: the simulator's own
//! headers (`sim::wire`), `etherparse` and `pnet_packet`. The latter two share no code with the simulator or with each
//! other.

mod etherparse;
mod fields;
mod frames;
mod pnet;
mod wire;

use fields::{Fields, is_valid};
use frames::{Emitted, of_built_in_scenarios, of_random_clusters};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Fields that `sim::wire` does not parse, because the simulator does not need them.
const UNREAD: [&str; 3] = ["tcp reserved", "tcp urgent pointer", "ipv4 reserved flag"];

/// Differences between the readers, as a table of fields; `None` if all agree and all checksums are right, or may be
/// wrong.
fn disagreement(frame: &[u8], may_be_bad: bool) -> Option<String> {
    let (wire, etherparse, pnet) = (wire::read(frame), etherparse::read(frame), pnet::read(frame));
    let names: BTreeSet<&String> = wire.keys().chain(etherparse.keys()).chain(pnet.keys()).collect();
    let value = |fields: &Fields, name: &str| fields.get(name).cloned().unwrap_or_else(|| "-".to_owned());
    let mut table = String::new();
    for name in names {
        let values = [&wire, &etherparse, &pnet].map(|fields| value(fields, name));
        let is_unread = !wire.contains_key(name) && UNREAD.iter().any(|unread| name.ends_with(unread));
        let is_alike = values[1] == values[2] && (values[0] == values[1] || is_unread);
        if !is_alike || !is_valid(name, &values[1]) && !may_be_bad {
            let [wire, etherparse, pnet] = values;
            let _ = writeln!(table, "  {name:32} {wire:24} {etherparse:24} {pnet}");
        }
    }
    (!table.is_empty()).then(|| {
        let hex: Vec<String> = frame.chunks(16).map(|line| format!("  {line:02x?}")).collect();
        let head = format!("  {:32} {:24} {:24} {}", "field", "sim::wire", "etherparse", "pnet_packet");
        format!("{head}\n{table}{}\n", hex.join("\n"))
    })
}

/// Checks all frames. `kinds` are protocols and kinds of packets that must occur, each by a field that only it has.
fn assert_all_read_alike(emitted: &[Emitted], kinds: &[&str]) {
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for Emitted { scenario, frames, may_be_bad } in emitted {
        for frame in frames {
            if let Some(table) = disagreement(frame, *may_be_bad) {
                panic!("{scenario}: the readers of a frame disagree, or a checksum is wrong\n{table}");
            }
            seen.extend(etherparse::read(frame).into_keys());
            count += 1;
        }
    }
    for kind in kinds {
        assert!(seen.contains(*kind), "none of {count} frames has the field {kind}: {seen:?}");
    }
}

#[test]
fn frames_of_built_in_scenarios() {
    let emitted = of_built_in_scenarios();
    let kinds = [
        "arp operation",
        "tcp options",
        "udp length",
        "icmp echo id",
        "icmp quoted ipv4 source",
        "icmp quoted tcp source port",
        "icmp quoted udp source port",
    ];
    assert_all_read_alike(&emitted, &kinds);
}

#[test]
fn frames_of_random_clusters() {
    assert_all_read_alike(&of_random_clusters(40), &["arp operation", "tcp options", "udp length"]);
}

/// An IPv4 packet with options, in fragments, which no scenario has.
#[test]
fn options_and_fragments() {
    for frame in frames::with_options_and_fragments() {
        assert_eq!(disagreement(&frame, false), None);
    }
}

#[test]
fn a_corrupted_frame_is_found() {
    let emitted = of_built_in_scenarios();
    let frames = emitted.iter().flat_map(|emitted| &emitted.frames);
    let with = |field: &str| {
        let has_field = |frame: &&Vec<u8>| etherparse::read(frame).contains_key(field);
        frames.clone().find(has_field).unwrap_or_else(|| panic!("a frame with {field}")).clone()
    };
    // (a field of the frame, the byte to change, the field that the table must contain)
    let cases = [
        ("tcp window", 14 + 8, "ipv4 checksum is valid"),
        ("tcp window", 14 + 20 + 15, "tcp checksum is valid"),
        ("udp length", 14 + 20 + 1, "udp checksum is valid"),
        ("icmp echo id", 14 + 20 + 4, "icmp checksum is valid"),
    ];
    for (field, byte, named) in cases {
        let mut frame = with(field);
        assert_eq!(disagreement(&frame, true), None);
        frame[byte] ^= 1;
        let table = disagreement(&frame, false)
            .unwrap_or_else(|| panic!("{field}: byte {byte}: no difference found"));
        assert!(table.contains(named), "{table}");
    }
}
