//! Conntrack results: the state of each packet, and the table after it.

use super::packets::{number_of, packet};
use crate::ct::CtStatus;
use crate::netfilter::conntrack::{ConntrackSettings, ProtocolState};
use crate::netfilter::fixture::{Fixture, Path, Rules, ip};
use crate::time::Duration;
use crate::tuple::Direction;
use std::fmt::Write as _;

const LEFT: &str = "10.0.0.1";
const PORTS: [&str; 2] = ["10.0.0.1:20000", "192.168.0.1:80"];
/// Packets of a recording are some milliseconds of real time apart.
const STEP: Duration = Duration::from_millis(5);

/// Replays a recording; returns each line that differs, in both versions.
fn replay(recording: &str) -> Vec<String> {
    let mut netns = Fixture::new();
    netns.has_nat = false;
    let (mut walk, mut has_differed, mut differences) = ("", false, Vec::new());
    for line in recording.lines() {
        let (input, recorded) = line.split_once(" | ").unwrap_or((line, ""));
        let words: Vec<&str> = input.split_whitespace().collect();
        match words[..] {
            [] | ["#", ..] => {
                if !line.is_empty() {
                    walk = line;
                }
                (netns, has_differed) = (Fixture::new(), false);
                netns.has_nat = false;
            }
            // Everything after a difference differs as well.
            _ if has_differed => {}
            ["sleep", seconds] => netns.sleep(seconds.parse().unwrap()),
            ["set", name, value] => netns.sysctls.conntrack.set(name, value).unwrap(),
            [direction, number, ..] => {
                let ends = if direction == ">" { PORTS } else { [PORTS[1], PORTS[0]] };
                let bytes = packet(number, ends, &words[2..]);
                let state = netns.pass(&bytes, Path::Forward, &Rules::NONE).state();
                netns.now = netns.now + STEP;
                let shown = if let ["icmp", _, _, _, quoted] = words[1..] { quoted } else { number };
                let id = if shown == "icmp" { words[4].parse().ok() } else { None };
                let seen = format!("{state} {}", table(&netns, number_of(shown), id));
                if !is_same(recorded, &seen) {
                    differences.push(format!("{walk}: {input}\n  kernel: {recorded}\n     sim: {seen}"));
                    has_differed = true;
                }
            }
            [_] => panic!("what is {line}?"),
        }
    }
    differences
}

/// The entries of a protocol, in the recorder's format.
fn table(netns: &Fixture, number: u8, id: Option<u16>) -> String {
    let mut rows: Vec<String> = Vec::new();
    for entry in netns.conntrack.iter_sorted(netns.now) {
        let original = entry.tuple(Direction::Original);
        if original.protocol != number || id.is_some_and(|id| id != original.src_port()) {
            continue;
        }
        let mut row = if original.src == ip(LEFT) { ">".to_owned() } else { "<".to_owned() };
        row.push_str(match entry.protocol() {
            ProtocolState::Tcp(track) => track.state().name(),
            ProtocolState::Sctp(track) => track.state().name(),
            ProtocolState::Udp(_) | ProtocolState::Stateless => "-",
        });
        let remaining = entry.remaining(netns.now);
        write!(row, "/{}/", remaining.as_secs() + u64::from(remaining.subsec_nanos() > 0)).unwrap();
        let flags = row.len();
        if !entry.status().contains(CtStatus::SEEN_REPLY) {
            row.push('U');
        }
        if entry.status().contains(CtStatus::ASSURED) {
            row.push('A');
        }
        if row.len() == flags {
            row.push('-');
        }
        rows.push(row);
    }
    rows.sort();
    if rows.is_empty() { "none".to_owned() } else { rows.join(" ") }
}

/// True if equal up to one second: the kernel shows a timer set less than a tick ago as one second more.
fn is_same(recorded: &str, seen: &str) -> bool {
    let parts = |text: &str| text.split([' ', '/']).map(str::to_owned).collect::<Vec<_>>();
    let (recorded, seen) = (parts(recorded), parts(seen));
    recorded.len() == seen.len()
        && recorded.iter().zip(&seen).all(|(kernel, sim)| {
            kernel == sim
                || matches!((kernel.parse::<u64>(), sim.parse::<u64>()), (Ok(kernel), Ok(sim)) if kernel == sim + 1)
        })
}

fn check(recording: &str) {
    let packets = recording.lines().filter(|line| line.contains(" | ")).count();
    assert!(packets > 30, "a recording of {packets} packets");
    let differences = replay(recording);
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn tcp_is_tracked_as_by_the_kernel() {
    check(include_str!("../../../recordings/tcp.txt"));
}

/// Segments drawn near the window, and far from it.
#[test]
fn random_tcp_is_tracked_as_by_the_kernel() {
    check(include_str!("../../../recordings/tcp-random.txt"));
}

#[test]
fn udp_and_icmp_are_tracked_as_by_the_kernel() {
    check(include_str!("../../../recordings/udp-icmp.txt"));
}

#[test]
fn sctp_is_tracked_as_by_the_kernel() {
    check(include_str!("../../../recordings/sctp.txt"));
}

/// Checks that the test can fail: with another timeout, the recording does not match.
#[test]
fn a_difference_is_noticed() {
    let recording = "# walk\n> udp 10 | NEW >-/29/U\n";
    assert_eq!(replay(recording).len(), 1);
    assert_eq!(ConntrackSettings::default().timeouts.udp, 30);
}
