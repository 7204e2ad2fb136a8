//! IPVS between silent clients and servers, as in the lab in which the kernel was recorded.

use serde_json::Value;
use sim::draws::Draws;
use sim::ids::NetnsId;
use sim::ipvs::{
    Clock, ConfigError, Connection, Forward, Ipvs, ListOrder, Protocol, Refusal, Reply, SchedulerKind,
    Segment, ServerSpec, ServiceFlags, ServiceKey, ServiceSpec, Transport,
};
use sim::time::{Duration, Instant};
use sim::timer_wheel::TimerWheel;
use sim::wire::TcpFlags;
use std::net::SocketAddr;

/// Ticks per second of the recorded kernel, and its first tick (`INITIAL_JIFFIES`, include/linux/jiffies.h).
const HZ: u32 = 250;
const INITIAL_JIFFIES: u64 = (1 << 32) - 300 * HZ as u64;

/// IPVS with a clock.
pub(crate) struct Lab {
    pub(crate) ipvs: Ipvs,
    pub(crate) clock: Clock,
    draws: Draws,
}

/// What happened to a packet of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// This server got it.
    Server(SocketAddr),
    /// Answered with ICMP port unreachable.
    PortUnreachable,
    /// Answered with a RST by the node itself.
    Reset,
    /// Nothing happened.
    Silence,
}

impl Fate {
    /// As the recordings say it: the server, or the answer.
    pub(crate) fn server(&self) -> Option<String> {
        match self {
            Self::Server(server) => Some(server.to_string()),
            Self::PortUnreachable | Self::Reset | Self::Silence => None,
        }
    }

    pub(crate) const fn answer(&self) -> Option<&'static str> {
        match self {
            Self::Server(_) => None,
            Self::PortUnreachable => Some("icmp-3-3"),
            Self::Reset => Some("rst"),
            Self::Silence => Some("silent"),
        }
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self {
            ipvs: Ipvs::default(),
            clock: Clock { now: Instant::START, wheel: Some(TimerWheel::new(HZ, INITIAL_JIFFIES, 0)) },
            draws: Draws::seeded(0),
        }
    }

    /// Sets the clock to seconds since the start of the kernel.
    pub(crate) fn set_time(&mut self, seconds: f64) {
        self.clock.now = Instant::START + Duration::from_secs_f64(seconds);
    }

    /// Time passes.
    pub(crate) fn sleep(&mut self, time: Duration) {
        self.clock.now = self.clock.now + time;
    }

    /// A packet from a client.
    pub(crate) fn client(&mut self, packet: Packet) -> Fate {
        let segment = packet.segment();
        match self.ipvs.input(self.clock, &mut self.draws, NetnsId(0), &segment) {
            Ok(forwarding) => Fate::Server(forwarding.server),
            Err(Refusal::NoServer(_)) => Fate::PortUnreachable,
            Err(Refusal::DropRate | Refusal::ServerGone | Refusal::OldConntrack | Refusal::NoAssociation) => {
                Fate::Silence
            }
            Err(Refusal::Pass(_)) => local_answer(packet.transport),
        }
    }

    /// A packet from a server; returns the source address with which it reaches the client.
    pub(crate) fn server(&mut self, packet: Packet) -> SocketAddr {
        match self.ipvs.output(self.clock, &mut self.draws, NetnsId(0), &packet.segment()) {
            Reply::Translate(forwarding) => forwarding.flow.peer,
            Reply::Follow(_) | Reply::Pass | Reply::NoConnection => packet.src,
        }
    }

    /// Lets time act.
    pub(crate) fn advance(&mut self) {
        self.ipvs.advance(self.clock, &mut self.draws, NetnsId(0));
    }

    pub(crate) fn add(&mut self, key: ServiceKey, spec: ServerSpec) -> Result<(), ConfigError> {
        self.ipvs.add_server(self.clock, key, spec)
    }

    pub(crate) fn edit(&mut self, key: ServiceKey, spec: ServerSpec) -> Result<(), ConfigError> {
        self.ipvs.edit_server(self.clock, key, spec)
    }

    pub(crate) fn delete(&mut self, key: ServiceKey, addr: SocketAddr) -> Result<(), ConfigError> {
        self.ipvs.delete_server(self.clock, key, addr)
    }

    /// Address, weight, active and inactive connections of the servers, in list order.
    pub(crate) fn servers(&mut self, key: ServiceKey) -> Vec<(String, u32, u32, u32)> {
        self.advance();
        let service = self.ipvs.service(key).expect("the service exists");
        let server = |id: &_| {
            let server = self.ipvs.server(*id).expect("a listed server exists");
            (server.spec.addr.to_string(), server.spec.weight, server.active, server.inactive)
        };
        service.servers().iter().map(server).collect()
    }

    /// The entries as `TCP 172.16.0.9:4000 10.96.0.1:80 10.244.0.12:8080 SYN_RECV 59`, sorted.
    pub(crate) fn connections(&mut self) -> Vec<String> {
        self.advance();
        let show = |(_, entry): (_, &Connection)| entry_text(entry, self.clock);
        let mut all: Vec<String> = self.ipvs.connections().iter().map(show).collect();
        all.sort();
        all
    }
}

/// `TCP 172.16.0.9:4000 10.96.0.1:80 10.244.0.12:8080 SYN_RECV 59`
pub(crate) fn entry_text(entry: &Connection, clock: Clock) -> String {
    let protocol = entry.flow.protocol.map_or("IP", Protocol::name);
    let (client, virtual_addr, server) = (entry.flow.client, entry.flow.peer, entry.server);
    let (state, left) = (entry.state.name(), entry.seconds_left(clock));
    format!("{protocol} {client} {virtual_addr} {server} {state} {left}")
}

/// The answer of a node to a packet that IPVS passes on, if nothing listens on the port.
fn local_answer(transport: Transport) -> Fate {
    match transport {
        Transport::Tcp(flags) if flags.contains(TcpFlags::RST) => Fate::Silence,
        Transport::Tcp(_) => Fate::Reset,
        Transport::Udp => Fate::PortUnreachable,
        Transport::Sctp(_) => Fate::Silence,
    }
}

/// A packet in the lab.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) transport: Transport,
    pub(crate) mark: u32,
}

impl Packet {
    const fn segment(self) -> Segment {
        Segment {
            src: self.src,
            dst: self.dst,
            transport: self.transport,
            mark: self.mark,
            is_local: false,
            has_confirmed_entry: false,
        }
    }
}

/// `S`, `SA`, `PA`, … as flags; the empty text as none.
pub(crate) fn flags(text: &str) -> TcpFlags {
    text.chars().fold(TcpFlags(0), |flags, letter| {
        flags.union(match letter {
            'S' => TcpFlags::SYN,
            'A' => TcpFlags::ACK,
            'P' => TcpFlags::PSH,
            'F' => TcpFlags::FIN,
            'R' => TcpFlags::RST,
            _ => panic!("unknown flag {letter}"),
        })
    })
}

/// A masqueraded server.
pub(crate) const fn masqueraded(addr: SocketAddr, weight: u32) -> ServerSpec {
    ServerSpec { addr, forward: Forward::Masquerade, weight, upper: 0, lower: 0 }
}

/// The client of most recordings, with this port.
pub(crate) fn client(port: u16) -> SocketAddr {
    SocketAddr::new([172, 16, 0, 9].into(), port)
}

/// The two services of most recordings: 10.96.0.1:80 (TCP) and 10.96.0.2:53 (UDP).
pub(crate) fn service(protocol: Protocol) -> ServiceKey {
    let addr = match protocol {
        Protocol::Tcp | Protocol::Sctp => SocketAddr::new([10, 96, 0, 1].into(), 80),
        Protocol::Udp => SocketAddr::new([10, 96, 0, 2].into(), 53),
    };
    ServiceKey::Addr { protocol, addr }
}

/// A server of these services: 10.244.0.NUMBER, port 8080 or 5353.
pub(crate) fn server(protocol: Protocol, number: u8) -> SocketAddr {
    let port = match protocol {
        Protocol::Tcp | Protocol::Sctp => 8080,
        Protocol::Udp => 5353,
    };
    SocketAddr::new([10, 244, 0, number].into(), port)
}

impl Lab {
    /// A lab with both services and these servers, added in this order.
    pub(crate) fn with_servers(spec: impl Fn(Protocol) -> ServiceSpec, servers: &[u8]) -> Self {
        let mut lab = Self::new();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            lab.ipvs.add_service(lab.clock, spec(protocol)).unwrap();
            lab.add_servers(protocol, servers);
        }
        lab
    }

    /// Adds servers of weight 1.
    pub(crate) fn add_servers(&mut self, protocol: Protocol, servers: &[u8]) {
        for number in servers {
            self.add(service(protocol), masqueraded(server(protocol, *number), 1)).unwrap();
        }
    }

    /// Sends packets of the client with this port and of a server: `c S`, `s SA`, `c udp`, ...
    pub(crate) fn play(&mut self, port: u16, from: SocketAddr, packets: &[&str]) {
        for packet in packets {
            drop(self.send(port, from, packet));
        }
    }

    /// Sends a packet of the client with this port, or of a server; returns what happened, or the source that the client sees.
    pub(crate) fn send(&mut self, port: u16, from: SocketAddr, packet: &str) -> Result<Fate, SocketAddr> {
        let (side, kind) = packet.split_once(' ').expect("c or s, a space, flags");
        let transport = if kind == "udp" { Transport::Udp } else { Transport::Tcp(flags(kind)) };
        let ServiceKey::Addr { addr, .. } = service(transport.protocol()) else { unreachable!() };
        match side {
            "c" => Ok(self.client(Packet { src: client(port), dst: addr, transport, mark: 0 })),
            _ => Err(self.server(Packet { src: from, dst: client(port), transport, mark: 0 })),
        }
    }
}

/// Round robin without flags.
pub(crate) fn round_robin(protocol: Protocol) -> ServiceSpec {
    ServiceSpec {
        key: service(protocol),
        scheduler: SchedulerKind::Rr,
        flags: ServiceFlags::default(),
        persistence: None,
    }
}

/// What the recording says about a packet of the client: `got` at the server, `back` at the client.
pub(crate) fn recorded_fate(row: &Value) -> Fate {
    if let Some(got) = frames(row, "got").first() {
        return Fate::Server(got.split_whitespace().nth(2).unwrap().parse().unwrap());
    }
    let back = frames(row, "back");
    if back.iter().any(|frame| frame.contains("icmp 3/3")) {
        Fate::PortUnreachable
    } else if back.iter().any(|frame| frame.contains(" tcp R")) {
        Fate::Reset
    } else {
        Fate::Silence
    }
}

/// The source of the server's packet that the client got.
pub(crate) fn recorded_source(row: &Value) -> Option<SocketAddr> {
    let frames = frames(row, "got");
    let frame = frames.first()?;
    Some(frame.split_whitespace().next().unwrap().parse().unwrap())
}

fn frames(row: &Value, field: &str) -> Vec<String> {
    row[field].as_array().into_iter().flatten().map(|frame| frame.as_str().unwrap().to_owned()).collect()
}

/// True if both lists have the same entries in the same states, with seconds that differ by `slack` at most.
pub(crate) fn same_connections(recorded: &Value, here: &[String], slack: u64) -> bool {
    let mut recorded: Vec<&str> =
        recorded.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    recorded.sort_unstable();
    let split = |line: &str| {
        let (entry, seconds) = line.rsplit_once(' ').unwrap();
        (entry.to_owned(), seconds.parse::<u64>().unwrap())
    };
    recorded.len() == here.len()
        && recorded.iter().zip(here).all(|(recorded, here)| {
            let ((entry, then), (other, now)) = (split(recorded), split(here));
            entry == other && then.abs_diff(now) <= slack
        })
}

/// Address, weight, active and inactive connections of every server in a listing of `ipvsadm -Ln`, sorted.
pub(crate) fn listed_servers(listing: &str) -> Vec<(String, u32, u32, u32)> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let count = |at: usize| words[at].parse().unwrap();
        (words[1].to_owned(), count(3), count(4), count(5))
    };
    let mut servers: Vec<_> = listing.lines().filter(|line| line.contains(" Masq ")).map(line).collect();
    servers.sort();
    servers
}

impl Lab {
    /// `ipvsadm -Ln`
    pub(crate) fn list(&mut self) -> String {
        self.advance();
        self.ipvs.list(ListOrder::Sorted)
    }

    /// As [`listed_servers`], of all services.
    pub(crate) fn all_servers(&mut self) -> Vec<(String, u32, u32, u32)> {
        let keys: Vec<ServiceKey> = self.ipvs.services().iter().map(|service| service.spec.key).collect();
        let mut servers: Vec<_> = keys.into_iter().flat_map(|key| self.servers(key)).collect();
        servers.sort();
        servers
    }
}
