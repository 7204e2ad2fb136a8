//! What the conntrack of a real kernel made of packets, replayed. The recordings are in sim/recordings, with the script that
//! made them.

use super::conntrack::{ConntrackSettings, Direction, ProtocolState, Status};
use super::fixture::{Fixture, Path, Rules, Seg, end, ip, ipv4};
use crate::time::Duration;
use crate::wire::{build, checksum, protocol};
use std::fmt::Write as _;

const LEFT: &str = "10.0.0.1";
const RIGHT: &str = "192.168.0.1";
const PORTS: [&str; 2] = ["10.0.0.1:20000", "192.168.0.1:80"];
/// Between two packets of a recording lies some milliseconds of real time.
const STEP: Duration = Duration::from_millis(5);

/// Replays a recording; where the simulator differs, the line is given twice.
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
            // Whatever follows a difference differs as well.
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

fn number_of(name: &str) -> u8 {
    match name {
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        "sctp" => protocol::SCTP,
        "icmp" => protocol::ICMP,
        other => panic!("no protocol {other}"),
    }
}

fn packet(number: &str, [src, dst]: [&str; 2], words: &[&str]) -> Vec<u8> {
    let (from, to) = (end(src), end(dst));
    match number {
        "tcp" => tcp(src, dst, words),
        "udp" => {
            let data = vec![b'x'; words[0].parse().unwrap()];
            ipv4(from.0, to.0, protocol::UDP, &build::udp(from, to, &data))
        }
        "sctp" => ipv4(from.0, to.0, protocol::SCTP, &sctp(from.1, to.1, words)),
        "icmp" => icmp(src, dst, words),
        other => panic!("no protocol {other}"),
    }
}

fn tcp(src: &str, dst: &str, words: &[&str]) -> Vec<u8> {
    let flags = if words[0] == "-" { "" } else { words[0] };
    let mut options = Vec::new();
    for option in words.get(5).into_iter().flat_map(|list| list.split(',')) {
        if let Some(scale) = option.strip_prefix("ws") {
            options.extend([1, 3, 3, scale.parse().unwrap()]);
        } else if option == "sok" {
            options.extend([1, 1, 4, 2]);
        } else if let Some((left, right)) =
            option.strip_prefix("sack").and_then(|block| block.split_once('-'))
        {
            options.extend([1, 1, 5, 10]);
            options.extend(left.parse::<u32>().unwrap().to_be_bytes());
            options.extend(right.parse::<u32>().unwrap().to_be_bytes());
        } else {
            panic!("no option {option}");
        }
    }
    Seg::new(src, dst, flags)
        .seq(words[1].parse().unwrap(), words[2].parse().unwrap())
        .window(words[3].parse().unwrap())
        .len(words[4].parse().unwrap())
        .options(&options)
        .bytes()
}

fn sctp(src: u16, dst: u16, words: &[&str]) -> Vec<u8> {
    let mut l4 = Vec::new();
    l4.extend(src.to_be_bytes());
    l4.extend(dst.to_be_bytes());
    l4.extend(words[0].parse::<u32>().unwrap().to_be_bytes());
    l4.extend([0; 4]);
    for word in &words[1..] {
        let (kind, tag) = word.split_once(':').map_or((*word, None), |(kind, tag)| (kind, Some(tag)));
        let (kind, is_reflected) = kind.strip_suffix("+T").map_or((kind, 0), |kind| (kind, 1));
        let mut body = vec![0; 4];
        if let Some(tag) = tag {
            body = tag.parse::<u32>().unwrap().to_be_bytes().to_vec();
            body.extend([0, 0, 5, 220, 0, 1, 0, 1, 0, 0, 0, 1]);
        }
        l4.extend([kind.parse().unwrap(), is_reflected, 0, u8::try_from(4 + body.len()).unwrap()]);
        l4.extend(body);
    }
    checksum::fill_sctp(&mut l4);
    l4
}

fn icmp(src: &str, dst: &str, words: &[&str]) -> Vec<u8> {
    let [icmp_type, code] = [words[0], words[1]].map(|word| word.parse().unwrap());
    let (from, to) = (end(src), end(dst));
    let (rest, body) = if let Some(quoted) = words.get(3) {
        let ports = [to.1.to_be_bytes(), from.1.to_be_bytes(), [0; 2], [0; 2]].concat();
        ([0; 4], ipv4(to.0, from.0, number_of(quoted), &ports))
    } else {
        let [high, low] = words[2].parse::<u16>().unwrap().to_be_bytes();
        ([high, low, 0, 0], b"ping".to_vec())
    };
    assert_eq!(from.0, ip(if src == PORTS[0] { LEFT } else { RIGHT }));
    ipv4(from.0, to.0, protocol::ICMP, &build::icmpv4(icmp_type, code, rest, &body))
}

/// The entries of a protocol, as the recorder shows them.
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
        if !entry.status().contains(Status::SEEN_REPLY) {
            row.push('U');
        }
        if entry.status().contains(Status::ASSURED) {
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

/// Equal, but for a second: a timer that the kernel has set less than a tick ago is shown as one second more.
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
    check(include_str!("../../recordings/tcp.txt"));
}

/// Walks of segments drawn near the window, and far from it.
#[test]
fn random_tcp_is_tracked_as_by_the_kernel() {
    check(include_str!("../../recordings/tcp-random.txt"));
}

#[test]
fn udp_and_icmp_are_tracked_as_by_the_kernel() {
    check(include_str!("../../recordings/udp-icmp.txt"));
}

#[test]
fn sctp_is_tracked_as_by_the_kernel() {
    check(include_str!("../../recordings/sctp.txt"));
}

/// A test of the test: with another timeout, the recording does not fit.
#[test]
fn a_difference_is_noticed() {
    let recording = "# walk\n> udp 10 | NEW >-/29/U\n";
    assert_eq!(replay(recording).len(), 1);
    assert_eq!(ConntrackSettings::default().timeouts.udp, 30);
}
