//! The network of the tests.

use super::super::*;
use crate::context::Effect;
use crate::device::Devices;
use crate::draws::Draws;
use crate::fib::{Fib, Routing};
use crate::ids::NetnsId;
use crate::packet::Origin;
use crate::sysctl::Sysctls;
use crate::time::Duration;
use crate::trace::{Level, Outcome, Trace};
use crate::wire::build::{Ipv4Fields, push_ipv4};
use crate::wire::{Ipv4, Tcp, TcpFlags, Udp, protocol};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

pub(super) const CLIENT: usize = 0;
pub(super) const SERVER: usize = 1;
/// Addresses of client and server, as an IPv4 header has them.
pub(super) const V4: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 2)];
/// The same, as sockets have them.
pub(super) const ADDRS: [IpAddr; 2] = [IpAddr::V4(V4[CLIENT]), IpAddr::V4(V4[SERVER])];
pub(super) const PORT: u16 = 80;
/// The default receive buffer.
pub(super) const RCVBUF: u32 = 131_072;
pub(super) const LATENCY: Duration = Duration::from_micros(500);

/// The fate of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Deliver,
    Drop,
    Duplicate,
    /// Delivered with this additional delay.
    Delay(Duration),
}

#[derive(Clone, Debug)]
enum Happening {
    Arrival { host: usize, bytes: Vec<u8>, flow: Option<FlowId> },
    Timer { host: usize, timer: SocketTimer },
}

/// A frame as sent.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) at: Instant,
    pub(super) from: usize,
    /// From the IP header on.
    pub(super) l3: Vec<u8>,
    pub(super) flow: Option<FlowId>,
    pub(super) cause: Option<PacketId>,
}

/// Decides the fate of a frame by its number and contents.
type Script = dyn FnMut(usize, &Frame) -> Fate;

pub(super) struct Pair {
    pub(super) hosts: [Sockets; 2],
    pub(super) settings: [SocketSettings; 2],
    pub(super) now: Instant,
    pub(super) frames: Vec<Frame>,
    /// Decides the fate of frames, numbered from 0 in order of sending; by default they are delivered.
    pub(super) script: Box<Script>,
    /// IP ID of each frame, as requested.
    pub(super) idents: Vec<Option<u16>>,
    /// The results of packets received by each host, in order.
    pub(super) deliveries: Vec<(usize, Delivery)>,
    draws: Draws,
    pub(super) trace: Trace,
    queue: BTreeMap<(Instant, u64), Happening>,
    seq: u64,
}

impl Pair {
    pub(super) fn new() -> Self {
        Self {
            hosts: [Sockets::default(), Sockets::default()],
            settings: [SocketSettings::default(); 2],
            now: Instant::START,
            frames: Vec::new(),
            script: Box::new(|_, _| Fate::Deliver),
            idents: Vec::new(),
            deliveries: Vec::new(),
            draws: Draws::seeded(0),
            trace: Trace::new(Level::Flows),
            queue: BTreeMap::new(),
            seq: 0,
        }
    }

    /// A network in which the server host serves the port over TCP and UDP.
    pub(super) fn with_server(server: Server) -> Self {
        let mut pair = Self::new();
        pair.hosts[SERVER].tcp_listen(None, PORT, server.clone(), RCVBUF).unwrap();
        pair.hosts[SERVER].udp_bind(None, PORT, server).unwrap();
        pair
    }

    /// Calls a function of a host's sockets, and carries out its effects.
    pub(super) fn call<R>(
        &mut self,
        host: usize,
        work: impl FnOnce(&mut Sockets, &mut SocketIo<'_, '_>) -> R,
    ) -> R {
        let mut effects: Vec<Effect> = Vec::new();
        let mut out = Vec::new();
        let mut cx = Context {
            now: self.now,
            netns: NetnsId(u32::try_from(host).unwrap()),
            draws: &mut self.draws,
            trace: &mut self.trace,
            effects: &mut effects,
        };
        // Frames are exchanged without routes.
        let (devices, fib, sysctls) = <(Devices, Fib, Sysctls)>::default();
        let routing = Routing { devices: &devices, fib: &fib, sysctls: &sysctls };
        let mut io = SocketIo { cx: &mut cx, out: &mut out, settings: self.settings[host], routing };
        let result = work(&mut self.hosts[host], &mut io);
        for effect in out {
            self.execute(host, effect);
        }
        result
    }

    fn execute(&mut self, host: usize, effect: SocketOut) {
        match effect {
            // There are no neighbours between these two.
            SocketOut::Timer { at, timer } => self.enqueue(at, Happening::Timer { host, timer }),
            SocketOut::Send {
                src,
                dst,
                protocol,
                mut buffer,
                tos,
                dont_fragment,
                ident,
                flow,
                cause,
                ..
            } => {
                self.idents.push(ident);
                let ident = ident.unwrap_or(0);
                let (IpAddr::V4(src), IpAddr::V4(dst)) = (src, dst) else { panic!("{src} to {dst}") };
                let fields = Ipv4Fields { src, dst, protocol, ttl: 64, tos, ident, dont_fragment };
                push_ipv4(fields, &mut buffer);
                let l3 = buffer.split_off(14);
                self.send(Frame { at: self.now, from: host, l3, flow, cause });
            }
        }
    }

    fn send(&mut self, frame: Frame) {
        let fate = (self.script)(self.frames.len(), &frame);
        let (copies, delay) = match fate {
            Fate::Deliver => (1, Duration::ZERO),
            Fate::Drop => (0, Duration::ZERO),
            Fate::Duplicate => (2, Duration::ZERO),
            Fate::Delay(delay) => (1, delay),
        };
        for _ in 0..copies {
            let (bytes, flow) = (frame.l3.clone(), frame.flow);
            self.enqueue(
                self.now + LATENCY + delay,
                Happening::Arrival { host: 1 - frame.from, bytes, flow },
            );
        }
        self.frames.push(frame);
    }

    fn enqueue(&mut self, at: Instant, happening: Happening) {
        self.queue.insert((at, self.seq), happening);
        self.seq += 1;
    }

    /// Delivers a packet to a host. Returns the result.
    pub(super) fn inject(&mut self, host: usize, l3: &[u8], flow: Option<FlowId>) -> Delivery {
        let mut bytes = vec![0; 14];
        bytes.extend_from_slice(l3);
        let (now, netns) = (self.now, NetnsId(u32::try_from(host).unwrap()));
        let packet = self.trace.create(now, netns, Origin::Injected, None, flow, bytes);
        let delivery = self.call(host, |sockets, io| match packet.ipv4().protocol() {
            protocol::TCP => sockets.tcp_v4_rcv(io, &packet),
            protocol::UDP => sockets.udp_rcv(io, &packet),
            protocol::ICMP => sockets.icmp_rcv_echo_reply(io, &packet),
            other => unreachable!("protocol {other}"),
        });
        self.deliveries.push((host, delivery));
        delivery
    }

    /// The time of the next relevant event.
    fn next_at(&mut self) -> Option<Instant> {
        while let Some(entry) = self.queue.first_entry() {
            match entry.get() {
                Happening::Timer { host, timer } if !self.hosts[*host].is_armed(*timer) => entry.remove(),
                Happening::Timer { .. } | Happening::Arrival { .. } => return Some(entry.key().0),
            };
        }
        None
    }

    /// Advances to the next relevant event. False if there are none.
    pub(super) fn step(&mut self) -> bool {
        let Some(at) = self.next_at() else { return false };
        assert!(at >= self.now, "nothing happens in the past");
        self.now = at;
        match self.queue.pop_first() {
            Some((_, Happening::Timer { host, timer })) => {
                self.call(host, |sockets, io| sockets.on_timer(io, timer));
            }
            Some((_, Happening::Arrival { host, bytes, flow })) => {
                self.inject(host, &bytes, flow);
            }
            None => {}
        }
        true
    }

    /// Runs until there are no more events.
    pub(super) fn run(&mut self) {
        for _ in 0..100_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the network never becomes idle");
    }

    /// Runs for a duration.
    pub(super) fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// Runs until a point in time.
    pub(super) fn run_until(&mut self, end: Instant) {
        while self.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
    }

    pub(super) fn connect(&mut self, spec: ClientSpec) -> SocketId {
        self.call(CLIENT, |sockets, io| sockets.connect(io, spec)).unwrap()
    }

    pub(super) fn outcome(&self, flow: u32) -> Option<Outcome> {
        self.hosts[CLIENT].flow_result(FlowId(flow)).map(|result| result.outcome)
    }

    /// The number of sockets of each host, of all kinds.
    pub(super) fn open_sockets(&self) -> [usize; 2] {
        [CLIENT, SERVER].map(|host| self.hosts[host].table.len())
    }

    /// The TCP frames in tcpdump's format, with relative sequence numbers. Each starts with the milliseconds since the
    /// first frame of the same host, according to its timestamps.
    pub(super) fn tcpdump(&self) -> String {
        let mut starts: BTreeMap<(usize, u16, u16), u32> = BTreeMap::new();
        let mut first = [None; 2];
        let mut text = String::new();
        for frame in &self.frames {
            let first = first[frame.from].get_or_insert(frame.at);
            let millis = (frame.at - *first).as_millis();
            let described = describe(frame, &mut starts);
            writeln!(text, "{millis} {} {described}", ["c>s", "s>c"][frame.from]).unwrap();
        }
        text
    }
}

/// A client of the server host's port.
pub(super) fn client(protocol: ClientProtocol, flow: u32) -> ClientSpec {
    ClientSpec {
        protocol,
        src: ADDRS[CLIENT],
        src_port: None,
        dst: ADDRS[SERVER],
        dst_port: PORT,
        request: Request {
            flow: FlowId(flow),
            bytes: b"hairpin\n".to_vec(),
            deadline: Duration::from_secs(5),
        },
        is_kept_open: false,
    }
}

pub(super) fn identify() -> Server {
    Server::Identify { name: "web-0".into() }
}

fn describe(frame: &Frame, starts: &mut BTreeMap<(usize, u16, u16), u32>) -> String {
    let ip = Ipv4::new_checked(&frame.l3[..]).unwrap();
    match ip.protocol() {
        protocol::TCP => describe_tcp(frame.from, &Tcp::new_checked(ip.payload()).unwrap(), starts),
        protocol::UDP => {
            let udp = Udp::new_checked(ip.payload()).unwrap();
            format!("UDP, length {}", udp.payload().len())
        }
        _ => format!("protocol {}, length {}", ip.protocol(), ip.payload().len()),
    }
}

fn describe_tcp(from: usize, tcp: &Tcp<&[u8]>, starts: &mut BTreeMap<(usize, u16, u16), u32>) -> String {
    let (flags, length) = (tcp.flags(), tcp.payload().len());
    let own = (from, tcp.src_port(), tcp.dst_port());
    let other = (1 - from, tcp.dst_port(), tcp.src_port());
    if flags.contains(TcpFlags::SYN) {
        starts.entry(own).or_insert(tcp.sequence());
    }
    let relative = |key, value: u32| value.wrapping_sub(starts.get(&key).copied().unwrap_or(0));
    let mut text = format!("Flags [{flags}]");
    let seq = relative(own, tcp.sequence());
    if length > 0 {
        write!(text, ", seq {seq}:{}", seq + u32::try_from(length).unwrap()).unwrap();
    } else if flags.intersects(TcpFlags(0x07)) {
        write!(text, ", seq {seq}").unwrap();
    }
    if flags.contains(TcpFlags::ACK) {
        write!(text, ", ack {}", relative(other, tcp.acknowledgment())).unwrap();
    }
    write!(text, ", win {}", tcp.window()).unwrap();
    let options = describe_options(tcp.options(), |value| relative(other, value));
    if !options.is_empty() {
        write!(text, ", options [{options}]").unwrap();
    }
    write!(text, ", length {length}").unwrap();
    text
}

fn describe_options(bytes: &[u8], relative: impl Fn(u32) -> u32) -> String {
    let names: Vec<String> = tcp_options(bytes)
        .into_iter()
        .map(|(kind, data)| match kind {
            1 => "nop".to_owned(),
            2 => format!("mss {}", u16::from_be_bytes([data[0], data[1]])),
            3 => format!("wscale {}", data[0]),
            4 => "sackOK".to_owned(),
            5 => {
                let edge = |at: usize| relative(word(&data[at..]));
                let blocks: Vec<String> = (0..data.len())
                    .step_by(8)
                    .map(|at| format!("{{{}:{}}}", edge(at), edge(at + 4)))
                    .collect();
                format!("sack {} {}", blocks.len(), blocks.concat())
            }
            8 => "TS".to_owned(),
            other => format!("kind {other}"),
        })
        .collect();
    names.join(",")
}

/// Kinds and data of well-formed TCP options.
pub(super) fn tcp_options(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut options = Vec::new();
    while let [kind, rest @ ..] = bytes {
        let length = if *kind == 1 { 1 } else { usize::from(rest[0]) };
        options.push((*kind, bytes.get(2..length).unwrap_or_default()));
        bytes = &bytes[length..];
    }
    options
}

/// The big-endian number at the start.
pub(super) fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
