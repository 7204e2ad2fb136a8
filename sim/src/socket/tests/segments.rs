//! A host against a peer with scripted segments, as in packetdrill.
//!
//! `segments.txt` was recorded on Linux 6.18 between two network namespaces connected by a veth. The host is one of
//! them, with this crate's `Server::Identify` or client written in a few lines of Python; the peer is a raw socket in
//! the other one, whose kernel is prevented from sending RSTs. `tcp_rmem[2]` is 6291456 as in 6.12, the
//! sockets use CUBIC, `tcp_no_metrics_save` is 1, and offloads are off. The lines:
//!
//! - `== NAME` starts a case on a new connection.
//! - `port N`: the host's port; 80, the server's port, by default.
//! - `connect [DEADLINE [LENGTH]]`: the host opens a client connection with a request of this length.
//! - `listen`: the host's server listens on the port of its own connection as well.
//! - `close`: the host's server closes its listener and its connections.
//! - `< [FLAGS] …`: the peer sends a segment. `length N` is N bytes of which the last is a newline, `part N` has none; `urg N` is
//!   the urgent pointer, `tos N` the type of service, zero by default.
//! - `icmp TYPE CODE seq N`: the peer sends an ICMP error about the host's segment with that sequence number.
//! - `> [FLAGS] …`: what the host sent within 30 ms of the line before, or during a `wait`.
//! - `wait MS`, `outcome NAME`, `# comment`.
//!
//! Sequence numbers are relative to each side's SYN, and the peer's timestamps to a base; the host's own are omitted.

use super::pair::*;
use crate::ids::{FlowId, SocketId};
use crate::socket::{ClientProtocol, ClientSpec, ConnectError, Request};
use crate::time::Duration;
use crate::trace::{Outcome, Refusal};
use crate::wire::build::{self, Ipv4Fields};
use crate::wire::{Ipv4, Tcp, TcpFlags, protocol};
use std::fmt::Write;

const PEER_ISN: u32 = 1_000_000;
const PEER_TIMESTAMPS: u32 = 5000;
const FLAGS: [(char, TcpFlags); 8] = [
    ('F', TcpFlags::FIN),
    ('S', TcpFlags::SYN),
    ('R', TcpFlags::RST),
    ('P', TcpFlags::PSH),
    ('U', TcpFlags::URG),
    ('.', TcpFlags::ACK),
    ('E', TcpFlags::ECE),
    ('W', TcpFlags::CWR),
];

#[test]
fn a_host_answers_as_a_real_kernel() {
    let recorded = include_str!("segments.txt");
    let cases: Vec<&str> =
        recorded.split("\n== ").map(|case| case.trim_start_matches("== ").trim_end()).collect();
    assert!(cases.len() > 60, "the file is complete");
    let mut differences = String::new();
    for case in cases {
        let actual = Drill::run(case);
        if without_offload_marks(&actual) != without_offload_marks(case) {
            writeln!(differences, "recorded:\n{case}\n\nsimulated:\n{actual}\n").unwrap();
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

/// A kernel sets PSH on segments split from one large buffer, to flush the receiver's GRO (`__tcp_transmit_skb`); this
/// is offload, which is not modelled.
fn without_offload_marks(text: &str) -> String {
    let line = |line: &str| match line.rsplit_once("length ").map(|(_, length)| length.parse::<u32>()) {
        Some(Ok(500..)) => line.replace("> [P.]", "> [.]"),
        _ => line.to_owned(),
    };
    text.lines().map(|one| line(one) + "\n").collect()
}

struct Drill {
    pair: Pair,
    server: SocketId,
    host_port: u16,
    peer_port: u16,
    host_isn: Option<u32>,
    host_timestamp: u32,
    /// Number of frames already processed.
    seen: usize,
    transcript: String,
}

impl Drill {
    fn run(case: &str) -> String {
        let mut pair = Pair::new();
        pair.script = Box::new(|_, _| Fate::Drop);
        let server = pair.hosts[SERVER].tcp_listen(None, 80, identify(), RCVBUF).unwrap();
        let mut drill = Self {
            pair,
            server,
            host_port: 80,
            peer_port: 20_001,
            host_isn: None,
            host_timestamp: 0,
            seen: 0,
            transcript: String::new(),
        };
        for (number, line) in case.lines().enumerate() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                _ if number == 0 => {}
                ">" => continue,
                "" | "#" => {}
                "port" => drill.host_port = words[1].parse().unwrap(),
                "connect" => drill.connect(&words),
                "listen" => drill.listen(),
                "close" => drill.close(),
                "<" => drill.send(&line[2..]),
                "icmp" => drill.send_icmp_error(&words),
                "wait" => drill.pass(words[1].parse().unwrap()),
                "outcome" => drill.check_outcome(words[1]),
                other => panic!("{other}: {line}"),
            }
            writeln!(drill.transcript, "{line}").unwrap();
            if matches!(words[0], "connect" | "listen" | "close" | "<" | "icmp") {
                drill.pass(30);
            }
            drill.note_frames();
        }
        drill.transcript.trim_end().to_owned()
    }

    fn pass(&mut self, millis: u64) {
        self.pair.run_for(Duration::from_millis(millis));
    }

    fn connect(&mut self, words: &[&str]) {
        (self.host_port, self.peer_port) = (30_001, 90);
        let seconds: f64 = words.get(1).map_or(5.0, |word| word.parse().unwrap());
        let length: usize = words.get(2).map_or(8, |word| word.parse().unwrap());
        let spec = ClientSpec {
            protocol: ClientProtocol::Tcp,
            src: ADDRS[SERVER],
            src_port: Some(self.host_port),
            dst: ADDRS[CLIENT],
            dst_port: self.peer_port,
            request: Request {
                flow: FlowId(1),
                bytes: data(length, true),
                deadline: Duration::from_secs_f64(seconds),
            },
            is_kept_open: false,
        };
        // Failure means that the port is in use; the recording shows it by the absence of a SYN.
        let result = self.pair.call(SERVER, |sockets, io| sockets.connect(io, spec));
        assert!(matches!(result, Ok(_) | Err(ConnectError::AddressNotAvailable)), "{result:?}");
    }

    fn listen(&mut self) {
        self.pair.hosts[SERVER].tcp_listen(None, self.host_port, identify(), RCVBUF).unwrap();
    }

    fn close(&mut self) {
        self.pair.call(SERVER, |sockets, io| sockets.exit(io, self.server));
    }

    fn check_outcome(&self, name: &str) {
        let result = self.pair.hosts[SERVER].flow_result(FlowId(1));
        let expected = match name {
            "connected" => Outcome::Connected,
            "refused" => Outcome::Refused(Refusal::TcpReset),
            "timeout" => Outcome::Timeout,
            "reset" => Outcome::Reset,
            other => panic!("{other}"),
        };
        assert_eq!(result.map(|result| result.outcome), Some(expected), "{}", self.transcript);
    }

    fn send(&mut self, text: &str) {
        let flags = text[1..text.find(']').unwrap()].chars().fold(TcpFlags(0), |flags, letter| {
            flags.union(FLAGS.iter().find(|(other, _)| *other == letter).unwrap().1)
        });
        let head = text.split(", options [").next().unwrap();
        let seq = PEER_ISN.wrapping_add_signed(number(head, "seq ").unwrap());
        let ack = number(head, "ack ").map_or(0, |ack| self.host_isn.unwrap_or(0).wrapping_add_signed(ack));
        let window = u16::try_from(number(head, "win ").unwrap()).unwrap();
        let options = self.options(text);
        let payload = match (number(text, "length "), number(text, "part ")) {
            (Some(length), _) => data(usize::try_from(length).unwrap(), true),
            (None, Some(length)) => data(usize::try_from(length).unwrap(), false),
            (None, None) => Vec::new(),
        };
        let mut l4 = Vec::new();
        l4.extend(self.peer_port.to_be_bytes());
        l4.extend(self.host_port.to_be_bytes());
        l4.extend(seq.to_be_bytes());
        l4.extend(ack.to_be_bytes());
        l4.extend([u8::try_from(5 + options.len() / 4).unwrap() << 4, flags.0]);
        l4.extend(window.to_be_bytes());
        l4.extend([0; 2]);
        l4.extend(u16::try_from(number(text, "urg ").unwrap_or(0)).unwrap().to_be_bytes());
        l4.extend(options);
        l4.extend(payload);
        build::finish_transport_checksum(ADDRS[CLIENT], ADDRS[SERVER], protocol::TCP, &mut l4);
        let fields = Ipv4Fields {
            src: V4[CLIENT],
            dst: V4[SERVER],
            protocol: protocol::TCP,
            ttl: 64,
            tos: u8::try_from(number(text, "tos ").unwrap_or(0)).unwrap(),
            ident: 0,
            dont_fragment: true,
        };
        self.pair.inject(SERVER, &build::ipv4(fields, &l4)[14..], None);
    }

    fn send_icmp_error(&mut self, words: &[&str]) {
        let seq = self.host_isn.unwrap().wrapping_add(words[4].parse().unwrap());
        let l4 =
            [&self.host_port.to_be_bytes()[..], &self.peer_port.to_be_bytes(), &seq.to_be_bytes()].concat();
        let fields = Ipv4Fields {
            src: V4[SERVER],
            dst: V4[CLIENT],
            protocol: protocol::TCP,
            ttl: 64,
            tos: 0,
            ident: 0,
            dont_fragment: true,
        };
        let (icmp_type, code) = (words[1].parse().unwrap(), words[2].parse().unwrap());
        let quoted = &build::ipv4(fields, &l4)[14..];
        self.pair.call(SERVER, |sockets, io| sockets.icmp_err(io, icmp_type, code, quoted));
    }

    fn options(&self, text: &str) -> Vec<u8> {
        let Some((_, tail)) = text.split_once("options [") else { return Vec::new() };
        let mut bytes = Vec::new();
        for option in tail.split(']').next().unwrap().split(',') {
            match option.split(' ').next().unwrap() {
                "mss" => {
                    bytes.extend([2, 4]);
                    bytes.extend(u16::try_from(number(option, "mss ").unwrap()).unwrap().to_be_bytes());
                }
                "sackOK" => bytes.extend([4, 2]),
                "nop" => bytes.push(1),
                "wscale" => bytes.extend([3, 3, u8::try_from(number(option, "wscale ").unwrap()).unwrap()]),
                "TS" => {
                    let value = PEER_TIMESTAMPS.wrapping_add_signed(number(option, "val ").unwrap());
                    let echo =
                        option.split("ecr ").nth(1).map_or(self.host_timestamp, |echo| echo.parse().unwrap());
                    bytes.extend([8, 10]);
                    bytes.extend(value.to_be_bytes());
                    bytes.extend(echo.to_be_bytes());
                }
                other => panic!("{other}"),
            }
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn note_frames(&mut self) {
        for frame in &self.pair.frames[self.seen..] {
            let ip = Ipv4::new_checked(&frame.l3[..]).unwrap();
            let tcp = Tcp::new_checked(ip.payload()).unwrap();
            if tcp.flags().contains(TcpFlags::SYN) {
                self.host_isn.get_or_insert(tcp.sequence());
            }
            let seq = match self.host_isn {
                // A RST in reply to a segment without ACK has sequence number zero.
                Some(isn) if tcp.sequence() != 0 => tcp.sequence().wrapping_sub(isn),
                Some(_) | None => tcp.sequence(),
            };
            let flags: String = FLAGS
                .iter()
                .filter(|(_, bit)| tcp.flags().contains(*bit))
                .map(|(letter, _)| letter)
                .collect();
            write!(self.transcript, "> [{flags}] seq {}", seq.cast_signed()).unwrap();
            if tcp.flags().contains(TcpFlags::ACK) {
                let ack = tcp.acknowledgment().wrapping_sub(PEER_ISN).cast_signed();
                write!(self.transcript, ", ack {ack}").unwrap();
            }
            write!(self.transcript, ", win {}", tcp.window()).unwrap();
            let (options, timestamp) = describe_options(tcp.options());
            self.host_timestamp = timestamp.unwrap_or(self.host_timestamp);
            if !options.is_empty() {
                write!(self.transcript, ", options [{options}]").unwrap();
            }
            if !tcp.payload().is_empty() {
                write!(self.transcript, ", length {}", tcp.payload().len()).unwrap();
            }
            if ip.tos() != 0 {
                write!(self.transcript, ", tos {}", ip.tos()).unwrap();
            }
            self.transcript.push('\n');
        }
        self.seen = self.pair.frames.len();
    }
}

fn describe_options(bytes: &[u8]) -> (String, Option<u32>) {
    let mut timestamp = None;
    let mut names = Vec::new();
    for (kind, data) in tcp_options(bytes) {
        names.push(match kind {
            1 => "nop".to_owned(),
            2 => format!("mss {}", u16::from_be_bytes([data[0], data[1]])),
            3 => format!("wscale {}", data[0]),
            4 => "sackOK".to_owned(),
            5 => {
                let edge = |at: usize| word(&data[at..]).wrapping_sub(PEER_ISN).cast_signed();
                let blocks: Vec<String> =
                    (0..data.len()).step_by(8).map(|at| format!("{}:{}", edge(at), edge(at + 4))).collect();
                format!("sack {}", blocks.join(" "))
            }
            8 => {
                timestamp = Some(word(data));
                let echo = word(&data[4..]);
                format!("TS ecr {}", if echo == 0 { 0 } else { echo - PEER_TIMESTAMPS })
            }
            other => format!("kind {other}"),
        });
    }
    (names.join(","), timestamp)
}

fn data(length: usize, is_line: bool) -> Vec<u8> {
    let mut bytes = vec![b'h'; length];
    if is_line && let Some(last) = bytes.last_mut() {
        *last = b'\n';
    }
    bytes
}

/// The number after a word.
fn number(text: &str, word: &str) -> Option<i32> {
    let tail = text.split(word).nth(1)?;
    let end = tail.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(tail.len());
    tail[..end].parse().ok()
}
