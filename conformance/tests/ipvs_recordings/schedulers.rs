//! `sched/*.jsonl`: which server each new connection gets, step by step.

use crate::lab::{Fate, Lab, Packet, flags, masqueraded};
use crate::recording::{files, number, rows, text};
use serde_json::Value;
use sim::ipvs::{
    ListOrder, Persistence, Protocol, SchedulerKind, ServerSpec, ServiceFlags, ServiceKey, ServiceSpec,
    Transport,
};
use sim::time::Duration;
use std::net::{Ipv4Addr, SocketAddr};

/// Sequences that are not reproduced. Each must differ.
const GAPS: [(&str, &str); 6] = [
    ("twos", RANDOM),
    ("persist-01", TEMPLATE),
    ("persist-09", TEMPLATE),
    ("persist-13", TEMPLATE),
    ("persist-15", TEMPLATE),
    ("persist-21", TEMPLATE),
];
const RANDOM: &str = "the scheduler draws random numbers, which the recording does not show";
const TEMPLATE: &str = "a template whose timer was set again and again by its own expiry ends somewhere within the slack of \
    the timer wheel, which depends on when the processor was idle";

/// A sequence in progress.
struct Sequence {
    name: String,
    lab: Lab,
    key: ServiceKey,
    is_udp: bool,
    connections: Vec<Connection>,
}

/// A client's connection.
struct Connection {
    client: SocketAddr,
    dst: SocketAddr,
    /// The server of the last packet that opened it.
    server: Option<SocketAddr>,
}

#[test]
fn every_connection_gets_the_server_that_the_kernel_chose() {
    let (mut sequences, mut compared) = (0, 0);
    for file in files("sched") {
        let rows = rows(&format!("sched/{file}"));
        for sequence in rows.chunk_by(|_, next| next["seq"].is_null()) {
            sequences += 1;
            let (steps, difference) = run(sequence);
            compared += steps;
            let name = text(&sequence[0], "seq");
            match (GAPS.iter().find(|gap| name.starts_with(gap.0)), difference) {
                (None, Some(difference)) => panic!("{difference}"),
                (Some((_, reason)), None) => panic!("{name} is reproduced, against expectation: {reason}"),
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
    }
    assert!(compared > 0, "no step of {sequences} sequences was compared");
}

/// Runs a sequence up to the first difference; returns the number of equal steps.
pub(crate) fn run(rows: &[Value]) -> (usize, Option<String>) {
    let (header, events) = rows.split_first().expect("a sequence has a header");
    let mut sequence = Sequence::start(header, &events[0]);
    for (index, event) in events.iter().enumerate() {
        sequence.lab.set_time(event["t"].as_f64().expect("a time"));
        let actual = sequence.step(event);
        let expected = Outcome::recorded(event);
        let are_connections_equal = text(event, "op") != "end" || sequence.has_connections(event);
        if actual != expected || !are_connections_equal {
            let (n, op) = (number(event, "n"), text(event, "op"));
            let difference = format!("{} step {n} {op}: {actual:?}, not {expected:?}", sequence.name);
            return (index, Some(difference));
        }
    }
    (events.len(), None)
}

/// What a step shows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    server: Option<String>,
    answer: Option<String>,
    reply_from: Option<String>,
    is_skipped: bool,
    servers: Vec<(String, u32, u32, u32)>,
    /// `ipvsadm -Ln`
    listing: Option<String>,
}

impl Outcome {
    fn recorded(event: &Value) -> Self {
        if ["add", "edit", "del"].contains(&text(event, "op")) {
            return Self::default();
        }
        let field = |name: &str| event[name].as_str().map(str::to_owned);
        let servers = event["servers"].as_array().into_iter().flatten().map(|server| {
            let count = |index: usize| u32::try_from(server[index].as_u64().unwrap()).unwrap();
            (server[0].as_str().unwrap().to_owned(), count(1), count(2), count(3))
        });
        Self {
            server: field("server"),
            answer: field("answer"),
            reply_from: field("replyFrom"),
            is_skipped: event["skipped"].as_bool().unwrap_or(false),
            servers: servers.collect(),
            listing: field("ipvsadm"),
        }
    }

    fn of(fate: &Fate) -> Self {
        Self { server: fate.server(), answer: fate.answer().map(str::to_owned), ..Self::default() }
    }

    fn skipped() -> Self {
        Self { is_skipped: true, ..Self::default() }
    }
}

impl Sequence {
    fn start(header: &Value, first: &Value) -> Self {
        let mut lab = Lab::new();
        lab.set_time(first["t"].as_f64().unwrap());
        let key = key(text(header, "service"));
        let has = |flag: &str| header["flags"].as_array().unwrap().iter().any(|one| one == flag);
        let persistence = has("persistent").then(|| Persistence {
            timeout: Duration::from_secs(u64::from(number(header, "timeout"))),
            netmask: text(header, "netmask").parse().unwrap(),
        });
        let spec = ServiceSpec {
            key,
            scheduler: SchedulerKind::by_name(text(header, "scheduler")).unwrap(),
            flags: ServiceFlags {
                one_packet: has("ops"),
                flag1: has("flag-1"),
                flag2: has("flag-2"),
                flag3: false,
            },
            persistence,
        };
        lab.ipvs.add_service(lab.clock, spec).unwrap();
        let is_udp = text(header, "service").ends_with("/udp");
        Self { name: text(header, "seq").to_owned(), lab, key, is_udp, connections: Vec::new() }
    }

    fn step(&mut self, event: &Value) -> Outcome {
        match text(event, "op") {
            "set" => self.set(event),
            "add" => self.lab.add(self.key, server(event)).unwrap(),
            "edit" => self.lab.edit(self.key, server(event)).unwrap(),
            "del" => self.lab.delete(self.key, text(event, "server").parse().unwrap()).unwrap(),
            "sleep" => {}
            "open" => return self.open(event),
            "state" => {
                return Outcome { servers: self.lab.servers(self.key), ..Outcome::default() };
            }
            "end" => {
                let servers = self.lab.servers(self.key);
                let listing = Some(self.lab.ipvs.list(ListOrder::Sorted));
                return Outcome { servers, listing, ..Outcome::default() };
            }
            op => return self.packets(op, event),
        }
        Outcome::default()
    }

    fn set(&mut self, event: &Value) {
        let value = Duration::from_secs(text(event, "value").parse().unwrap());
        match text(event, "file").rsplit_once('/').unwrap().1 {
            "lblc_expiration" => self.lab.ipvs.settings.lblc_expiration = value,
            "lblcr_expiration" => self.lab.ipvs.settings.lblcr_expiration = value,
            other => panic!("unknown sysctl {other}"),
        }
    }

    fn open(&mut self, event: &Value) -> Outcome {
        let dst = event["dst"].as_str().map_or_else(
            || match self.key {
                ServiceKey::Addr { addr, .. } => addr,
                ServiceKey::Mark { .. } => panic!("a mark has no address"),
            },
            |dst| dst.parse().unwrap(),
        );
        let client = text(event, "client").parse().unwrap();
        assert_eq!(self.connections.len(), event["conn"].as_u64().unwrap() as usize);
        self.connections.push(Connection { client, dst, server: None });
        self.reopen(self.connections.len() - 1)
    }

    fn reopen(&mut self, index: usize) -> Outcome {
        let fate = self.client(index, "S");
        self.connections[index].server = match fate {
            Fate::Server(server) => Some(server),
            Fate::PortUnreachable | Fate::Reset | Fate::Silence => None,
        };
        Outcome::of(&fate)
    }

    /// An event of a connection that exists.
    fn packets(&mut self, op: &str, event: &Value) -> Outcome {
        let index = usize::try_from(event["conn"].as_u64().unwrap()).unwrap();
        if self.connections[index].server.is_none() {
            return Outcome::skipped();
        }
        match op {
            "reopen" => self.reopen(index),
            "est" => {
                let reply_from = self.server(index, "SA");
                Outcome { reply_from, ..Outcome::of(&self.client(index, "A")) }
            }
            "again" => Outcome::of(&self.client(index, "PA")),
            "reply" => Outcome { reply_from: self.server(index, "PA"), ..Outcome::default() },
            "rst" if event["by"] == "client" => self.silent(index, &["c RA"]),
            "rst" => self.silent(index, &["s RA"]),
            "fin" => self.silent(index, fin(event)),
            other => panic!("unknown op {other}"),
        }
    }

    /// Packets of which the recording does not show what became of them.
    fn silent(&mut self, index: usize, packets: &[&str]) -> Outcome {
        for packet in packets {
            match packet.split_once(' ').unwrap() {
                ("c", flags) => drop(self.client(index, flags)),
                (_, flags) => drop(self.server(index, flags)),
            }
        }
        Outcome::default()
    }

    fn transport(&self, text: &str) -> Transport {
        if self.is_udp { Transport::Udp } else { Transport::Tcp(flags(text)) }
    }

    fn client(&mut self, index: usize, text: &str) -> Fate {
        let Connection { client, dst, .. } = self.connections[index];
        let mark = match self.key {
            ServiceKey::Mark { mark, .. } => mark,
            ServiceKey::Addr { .. } => 0,
        };
        self.lab.client(Packet { src: client, dst, transport: self.transport(text), mark })
    }

    /// A packet of the server; returns the source that the client sees if it is not the virtual address.
    fn server(&mut self, index: usize, text: &str) -> Option<String> {
        let Connection { client, dst, server } = self.connections[index];
        let src = server.expect("the connection has a server");
        let transport = self.transport(text);
        let seen = self.lab.server(Packet { src, dst: client, transport, mark: 0 });
        (seen != dst).then(|| seen.to_string())
    }

    /// True if the table has the recorded entries, each with the seconds that it has now or when the listing was complete.
    fn has_connections(&mut self, event: &Value) -> bool {
        let expected = proc_connections(text(event, "conns"));
        let first = self.lab.connections();
        self.lab.sleep(LISTING);
        let last = self.lab.connections();
        let is_equal =
            |(expected, (first, last)): (&String, (&String, &String))| expected == first || expected == last;
        expected.len() == first.len()
            && first.len() == last.len()
            && expected.iter().zip(first.iter().zip(&last)).all(is_equal)
    }
}

/// The time in which the listing at the end of a sequence was read.
const LISTING: Duration = Duration::from_millis(20);

/// The packets of a FIN.
fn fin(event: &Value) -> &'static [&'static str] {
    match (text(event, "first"), event["full"].as_bool().unwrap()) {
        ("client", true) => &["c FA", "s A", "s FA", "c A"],
        ("client", false) => &["c FA"],
        (_, true) => &["s FA", "c A", "c FA", "s A"],
        (_, false) => &["s FA"],
    }
}

fn key(service: &str) -> ServiceKey {
    if let Some(mark) = service.strip_prefix("fwmark:") {
        return ServiceKey::Mark { is_ipv6: false, mark: mark.parse().unwrap() };
    }
    let (addr, protocol) = service.split_once('/').unwrap();
    let protocol = if protocol == "udp" { Protocol::Udp } else { Protocol::Tcp };
    ServiceKey::Addr { protocol, addr: addr.parse().unwrap() }
}

fn server(event: &Value) -> ServerSpec {
    ServerSpec {
        upper: number(event, "upper"),
        lower: number(event, "lower"),
        ..masqueraded(text(event, "server").parse().unwrap(), number(event, "weight"))
    }
}

/// The entries of /proc/net/ip_vs_conn, in the form of [`Lab::connections`].
fn proc_connections(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let addr = |at: usize| {
            let ip = Ipv4Addr::from_bits(u32::from_str_radix(words[at], 16).unwrap());
            SocketAddr::new(ip.into(), u16::from_str_radix(words[at + 1], 16).unwrap())
        };
        format!("{} {} {} {} {} {}", words[0], addr(1), addr(3), addr(5), words[7], words[8])
    };
    let mut lines: Vec<String> = text.lines().skip(1).map(line).collect();
    lines.sort();
    lines
}
