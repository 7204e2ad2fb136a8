//! The driver in the guest: reads a sequence of events from standard input, carries them out on the real IPVS of a new namespace,
//! and writes them with times and results.

use conformance::arm::kernel::capture::Capture;
use conformance::arm::kernel::lab::{Lab, LabNetns};
use conformance::frame::{Frame, FrameDirection};
use etherparse::PacketBuilder;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;

/// The rest after what sets timers off: a given-up entry goes with the next tick.
const REST: Duration = Duration::from_millis(12);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_millis(2);

/// Both sides of the node are in one namespace: clients behind `c1`, servers behind `s1`.
const SETUP: &str = "\
link add c0 address 02:00:00:00:00:01 type veth peer name c1 address 02:00:00:00:00:02 netns PEER
link add s0 address 02:00:00:00:00:03 type veth peer name s1 address 02:00:00:00:00:04 netns PEER
addr add 10.255.0.1/30 dev c0
addr add 10.255.1.1/30 dev s0
addr add 10.96.0.1/32 dev lo
link set lo up
link set c0 up
link set s0 up
neigh add 10.255.0.2 lladdr 02:00:00:00:00:02 dev c0 nud permanent
neigh add 10.255.1.2 lladdr 02:00:00:00:00:04 dev s0 nud permanent
route add 172.16.0.0/12 via 10.255.0.2
route add 10.244.0.0/16 via 10.255.1.2
";
const PEER_SETUP: &str = "\
addr add 10.255.0.2/30 dev c1
addr add 10.255.1.2/30 dev s1
link set c1 up
link set s1 up
neigh add 10.255.0.1 lladdr 02:00:00:00:00:01 dev c1 nud permanent
neigh add 10.255.1.1 lladdr 02:00:00:00:00:03 dev s1 nud permanent
route add 10.96.0.0/12 via 10.255.0.1
route add 172.16.0.0/12 via 10.255.1.1
";

pub(crate) fn run() {
    let lab = Lab::create(["node", "peer"]).unwrap();
    let (node, peer) = (lab.netns("node"), lab.netns("peer"));
    let setup = SETUP.replace("PEER", peer.system_name());
    node.run("ip", &["-batch", "-"], setup.as_bytes()).unwrap();
    peer.run("ip", &["-batch", "-"], PEER_SETUP.as_bytes()).unwrap();
    node.set_sysctls([("net.ipv4.ip_forward", "1"), ("net.ipv4.icmp_ratelimit", "0")]).unwrap();
    node.run("ipvsadm", &["-L"], b"").unwrap();
    let socket = peer
        .enter(|| socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw))
        .unwrap()
        .unwrap();
    let capture = Capture::open(peer).unwrap();
    let mut driver = Driver { node, peer, socket, capture, service: String::new(), connections: Vec::new() };
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let mut row: Value = serde_json::from_str(&line.unwrap()).unwrap();
        driver.carry_out(&mut row);
        writeln!(out, "{row}").unwrap();
    }
}

struct Driver<'a> {
    node: &'a LabNetns,
    peer: &'a LabNetns,
    socket: OwnedFd,
    capture: Capture,
    /// The virtual service, as ipvsadm names it.
    service: String,
    connections: Vec<Connection>,
}

struct Connection {
    client: SocketAddrV4,
    server: Option<SocketAddrV4>,
}

const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 1), 80);

impl Driver<'_> {
    fn carry_out(&mut self, row: &mut Value) {
        if row["seq"].is_string() {
            return self.begin(row);
        }
        row["t"] = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap()).as_secs_f64().into();
        let op = row["op"].as_str().unwrap().to_owned();
        match &*op {
            "add" | "edit" => {
                let option = if op == "add" { "-a" } else { "-e" };
                self.ipvsadm(&format!(
                    "{option} SERVICE -r {} -m -w {}\n",
                    row["server"].as_str().unwrap(),
                    row["weight"]
                ));
            }
            "del" => {
                self.ipvsadm(&format!("-d SERVICE -r {}\n", row["server"].as_str().unwrap()));
                sleep(REST);
            }
            "sleep" => sleep(Duration::from_secs(row["s"].as_u64().unwrap())),
            "state" => row["servers"] = self.servers(),
            "open" => {
                let client = row["client"].as_str().unwrap().parse().unwrap();
                self.connections.push(Connection { client, server: None });
                self.open(row, self.connections.len() - 1);
            }
            _ => self.of_connection(&op, row),
        }
    }

    fn begin(&mut self, row: &Value) {
        self.service = "-t 10.96.0.1:80".to_owned();
        let numbers: Vec<&str> =
            row["flags"].as_array().unwrap().iter().map(|flag| flag.as_str().unwrap()).collect();
        let flags = if numbers.is_empty() { String::new() } else { format!(" -b {}", numbers.join(",")) };
        self.ipvsadm(&format!("-A SERVICE -s {}{flags}\n", row["scheduler"].as_str().unwrap()));
    }

    fn ipvsadm(&self, line: &str) {
        let line = line.replace("SERVICE", &self.service);
        self.node.run("ipvsadm", &["--restore"], line.as_bytes()).unwrap();
    }

    /// Address, weight, active and inactive connections, in the kernel's order.
    fn servers(&self) -> Value {
        let list =
            self.node.enter(|| std::fs::read_to_string("/proc/thread-self/net/ip_vs")).unwrap().unwrap();
        let line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let ["->", address, "Masq", weight, active, inactive] = *words else { return None };
            let (ip, port) = address.split_once(':')?;
            let ip = Ipv4Addr::from_bits(u32::from_str_radix(ip, 16).ok()?);
            let port = u16::from_str_radix(port, 16).ok()?;
            let number = |text: &str| text.parse::<u32>().unwrap();
            Some(json!([
                SocketAddrV4::new(ip, port).to_string(),
                number(weight),
                number(active),
                number(inactive)
            ]))
        };
        list.lines().filter_map(line).collect()
    }

    fn of_connection(&mut self, op: &str, row: &mut Value) {
        let index = usize::try_from(row["conn"].as_u64().unwrap()).unwrap();
        if self.connections[index].server.is_none() {
            row["skipped"] = true.into();
            return;
        }
        match op {
            "reopen" => self.open(row, index),
            "est" => {
                if let Some(seen) = self.server(index, "SA").filter(|seen| *seen != VIP) {
                    row["replyFrom"] = seen.to_string().into();
                }
                self.client_result(row, index, "A");
            }
            "again" => {
                self.client_result(row, index, "PA");
            }
            "rst" if row["by"] == "client" => drop(self.client(index, "RA")),
            "rst" => drop(self.server(index, "RA")),
            "fin" => self.fin(index, row["first"] == "client", row["full"] == true),
            other => panic!("unknown event {other}"),
        }
        if ["reopen", "rst", "fin"].contains(&op) {
            sleep(REST);
        }
    }

    fn fin(&mut self, index: usize, is_client_first: bool, is_full: bool) {
        let all: &[(bool, &str)] = match is_client_first {
            true => &[(true, "FA"), (false, "A"), (false, "FA"), (true, "A")],
            false => &[(false, "FA"), (true, "A"), (true, "FA"), (false, "A")],
        };
        for (is_client, flags) in &all[..if is_full { 4 } else { 1 }] {
            if *is_client {
                self.client(index, flags);
            } else {
                self.server(index, flags);
            }
        }
    }

    fn open(&mut self, row: &mut Value, index: usize) {
        let server = self.client_result(row, index, "S");
        self.connections[index].server = server;
    }

    /// Sends a packet of the client, and notes which server got it, or what came back.
    fn client_result(&mut self, row: &mut Value, index: usize, flags: &str) -> Option<SocketAddrV4> {
        let frames = self.client(index, flags);
        let server =
            frames.iter().find_map(|frame| (frame.device == "s1").then(|| tcp(&frame.bytes)).flatten());
        match &server {
            Some(server) => row["server"] = server.destination.to_string().into(),
            None => row["answer"] = answer(&frames).into(),
        }
        server.map(|server| server.destination)
    }

    fn client(&mut self, index: usize, flags: &str) -> Vec<Frame> {
        let client = self.connections[index].client;
        self.send(client, VIP, flags);
        self.received()
    }

    /// Sends a packet of the server; returns the source that the client sees.
    fn server(&mut self, index: usize, flags: &str) -> Option<SocketAddrV4> {
        let Connection { client, server } = self.connections[index];
        self.send(server.unwrap(), client, flags);
        let frames = self.received();
        frames
            .iter()
            .find_map(|frame| (frame.device == "c1").then(|| tcp(&frame.bytes)).flatten())
            .map(|tcp| tcp.source)
    }

    fn send(&self, from: SocketAddrV4, to: SocketAddrV4, flags: &str) {
        let mut builder = PacketBuilder::ipv4(from.ip().octets(), to.ip().octets(), 64).tcp(
            from.port(),
            to.port(),
            1_000,
            65_000,
        );
        for flag in flags.chars() {
            builder = match flag {
                'S' => builder.syn(),
                'A' => builder.ack(2_000),
                'P' => builder.psh(),
                'F' => builder.fin(),
                'R' => builder.rst(),
                other => panic!("unknown flag {other}"),
            };
        }
        let mut bytes = Vec::new();
        builder.write(&mut bytes, &[]).unwrap();
        sendto(self.socket.as_raw_fd(), &bytes, &SockaddrIn::from(to), MsgFlags::empty()).unwrap();
    }

    /// The frames that arrived at clients and servers since the last packet.
    fn received(&mut self) -> Vec<Frame> {
        for _ in 0..2 {
            let mut frames = self.capture.drain(self.peer).unwrap();
            frames
                .retain(|frame| frame.direction == FrameDirection::Received && is_of_the_test(&frame.bytes));
            if !frames.is_empty() {
                return frames;
            }
            sleep(ANSWER);
        }
        Vec::new()
    }
}

/// IPv4, and not of the devices' own addresses: the peer's stack may say something too.
fn is_of_the_test(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[8, 0])
}

/// Source and destination of a TCP segment.
struct Tcp {
    source: SocketAddrV4,
    destination: SocketAddrV4,
    is_rst: bool,
}

fn tcp(frame: &[u8]) -> Option<Tcp> {
    let sliced = etherparse::SlicedPacket::from_ethernet(frame).ok()?;
    let Some(etherparse::NetSlice::Ipv4(ip)) = sliced.net else { return None };
    let Some(etherparse::TransportSlice::Tcp(tcp)) = sliced.transport else { return None };
    let header = ip.header();
    Some(Tcp {
        source: SocketAddrV4::new(header.source_addr(), tcp.source_port()),
        destination: SocketAddrV4::new(header.destination_addr(), tcp.destination_port()),
        is_rst: tcp.rst(),
    })
}

/// What the client got instead of a server.
fn answer(frames: &[Frame]) -> &'static str {
    let to_client = || frames.iter().filter(|frame| frame.device == "c1");
    let is_unreachable = |frame: &Frame| {
        let sliced = etherparse::SlicedPacket::from_ethernet(&frame.bytes).ok();
        matches!(sliced.and_then(|sliced| sliced.transport), Some(etherparse::TransportSlice::Icmpv4(icmp))
            if (icmp.type_u8(), icmp.code_u8()) == (3, 3))
    };
    if to_client().any(|frame| tcp(&frame.bytes).is_some_and(|tcp| tcp.is_rst)) {
        "rst"
    } else if to_client().any(is_unreachable) {
        "icmp-3-3"
    } else {
        "silent"
    }
}
