//! The lab in which the kernel was recorded, as a network: a node between a silent client side and a silent server side.
//!
//! ```text
//!   client 172.16.0.9 ── 192.168.0.2 ── c0 node s0 ── 169.254.0.2 ── servers 10.244.0.N
//! ```
//!
//! Packets pass the whole stack of the node. Both sides are one netns, which answers nothing.

mod frame;
mod segment;

pub(crate) use frame::describe;
pub(crate) use segment::{CLIENT, Flows, Shape, datagram, ipv4};

use crate::recording::number;
use serde_json::Value;
use sim::fib::Route;
use sim::ids::{DeviceId, NetnsId};
use sim::link::Link;
use sim::time::{Duration, Instant};
use sim::timer_wheel::TimerWheel;
use sim::trace::{DeviceEvent, Event, Level, TraceEvent};
use sim::wire::{EtherType, Ethernet, MacAddr};
use sim::world::{VethEnd, World, WorldOptions};
use sim::xtables::RestoreOptions;

/// Ticks per second of the recorded kernel, and its first tick (`INITIAL_JIFFIES`, include/linux/jiffies.h).
const HZ: u32 = 250;
const INITIAL_JIFFIES: u64 = (1 << 32) - 300 * HZ as u64;

/// A rule that switches conntrack on, as in the recordings.
const CONNTRACK: &str = "*filter\n-A FORWARD -m conntrack --ctstate INVALID\nCOMMIT\n";

/// The virtual addresses of most recordings.
pub(crate) const DUMMY: &str = "link add kube-ipvs0 type dummy
address add 10.96.0.1/32 dev kube-ipvs0
address add 10.96.0.2/32 dev kube-ipvs0
";

/// Where a packet comes from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What a packet led to: frames as text, by the side that received them.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) client: Vec<String>,
    pub(crate) server: Vec<String>,
}

impl Seen {
    pub(crate) fn at(&self, side: Side) -> &[String] {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }
}

/// The lab.
pub(crate) struct Network {
    pub(crate) world: World,
    pub(crate) node: NetnsId,
    peer: NetnsId,
    client: DeviceId,
    server: DeviceId,
    pub(crate) flows: Flows,
    /// What the latest packet led to.
    events: Vec<TraceEvent>,
}

const fn mac(side: u8, end: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, side, end])
}

impl Network {
    /// Without services. Virtual addresses and routes are those of `commands`, lines for `ip -batch`.
    pub(crate) fn new(commands: &str) -> Self {
        let mut world = World::new(WorldOptions { seed: 0, level: Level::Everything });
        world.set_timer_wheel(TimerWheel::new(HZ, INITIAL_JIFFIES, 0));
        let (node, peer) = (world.add_netns("node"), world.add_netns("peer"));
        let mut join = |side: u8, name: &str, net: &str, gateway: &str| {
            let a = VethEnd { netns: node, name, mac: mac(side, 1) };
            let b = VethEnd { netns: peer, name, mac: mac(side, 2) };
            let (own, theirs) = world.add_veth(a, b, Link::default()).unwrap();
            world.add_address(node, own, net.parse().unwrap()).unwrap();
            world.add_neighbour(node, own, gateway.parse().unwrap(), mac(side, 2));
            theirs
        };
        let client = join(0, "c0", "192.168.0.1/24", "192.168.0.2");
        let server = join(1, "s0", "169.254.0.1/24", "169.254.0.2");
        for (net, gateway) in [("10.244.0.0/16", "169.254.0.2"), ("172.16.0.0/12", "192.168.0.2")] {
            world.add_route(node, Route::via(net.parse().unwrap(), gateway.parse().unwrap())).unwrap();
        }
        for (name, value) in [("net.ipv4.ip_forward", "1"), ("net.ipv4.icmp_ratelimit", "0")] {
            world.set_sysctl(node, name, value).unwrap();
        }
        world.ip_batch(node, "ip.batch", commands).unwrap();
        Self { world, node, peer, client, server, flows: Flows::default(), events: Vec::new() }
    }

    /// With the virtual addresses on a dummy device, and both services with these servers, of weight 1.
    pub(crate) fn with_servers(servers: &[u8]) -> Self {
        let mut network = Self::new(DUMMY);
        network.ipvsadm("-A -t 10.96.0.1:80 -s rr\n-A -u 10.96.0.2:53 -s rr\n");
        network.add_servers(servers);
        network
    }

    pub(crate) fn add_servers(&mut self, servers: &[u8]) {
        for number in servers {
            let text = format!(
                "-a -t 10.96.0.1:80 -r 10.244.0.{number}:8080 -m\n-a -u 10.96.0.2:53 -r 10.244.0.{number}:5353 -m\n"
            );
            self.ipvsadm(&text);
        }
    }

    /// Sets `vs.conntrack` as the row says, and with it switches conntrack on.
    pub(crate) fn set_conntrack(&mut self, row: &Value) {
        if number(row, "conntrack") == 1 {
            self.load(CONNTRACK);
            self.set("conntrack", 1);
        }
    }

    pub(crate) fn load(&mut self, rules: &str) {
        let options = RestoreOptions { noflush: true, counters: true };
        self.world.iptables_restore(self.node, "rules", rules, options).unwrap();
    }

    pub(crate) fn ipvsadm(&mut self, text: &str) {
        self.world.ipvsadm_restore(self.node, "ipvs.rules", text).unwrap();
    }

    pub(crate) fn set(&mut self, name: &str, value: u32) {
        self.world.set_sysctl(self.node, &format!("net.ipv4.vs.{name}"), &value.to_string()).unwrap();
    }

    /// Sets the time to seconds since the start of the kernel.
    pub(crate) fn sleep(&mut self, time: Duration) {
        self.world.run_until(self.world.now() + time);
    }

    /// Sends `c S`, `s SA`, `c udp`, … of the client with this port and this server. What came back is first in what is
    /// returned, what arrived at the other side second.
    pub(crate) fn send(&mut self, port: u16, server: u8, packet: &str) -> Seen {
        let (side, bytes) = self.flows.packet(port, server, packet);
        self.transmit(side, &bytes)
    }

    pub(crate) fn play(&mut self, port: u16, server: u8, packets: &[&str]) {
        for packet in packets {
            self.send(port, server, packet);
        }
    }

    /// Sends an IP packet behind 14 bytes for the Ethernet header.
    pub(crate) fn transmit(&mut self, side: Side, bytes: &[u8]) -> Seen {
        let (device, number) = match side {
            Side::Client => (self.client, 0),
            Side::Server => (self.server, 1),
        };
        let mut frame = bytes.to_vec();
        Ethernet::new_checked(&mut frame[..]).unwrap().set(mac(number, 1), mac(number, 2), EtherType::Ipv4);
        self.world.take_events();
        self.world.send_frame(self.peer, device, frame, 0);
        self.settle()
    }

    /// Lets packets arrive, and reads what both sides received since events were taken.
    pub(crate) fn settle(&mut self) -> Seen {
        self.sleep(Duration::from_micros(500));
        self.events = self.world.take_events();
        let mut seen = Seen::default();
        for event in self.events.iter().filter(|event| event.netns == self.peer) {
            let Event::Device(DeviceEvent::Received { device, frame }) = &event.event else { continue };
            let Some(text) = describe(frame) else { continue };
            if *device == self.client { seen.client.push(text) } else { seen.server.push(text) }
        }
        seen
    }

    /// Events of the latest packet.
    pub(crate) fn events(&self) -> &[TraceEvent] {
        &self.events
    }

    pub(crate) const fn now(&self) -> Instant {
        self.world.now()
    }

    /// The entries as `TCP 172.16.0.9:4000 10.96.0.1:80 10.244.0.12:8080 SYN_RECV 59`, sorted.
    pub(crate) fn connections(&mut self) -> Vec<String> {
        let ns = self.world.netns(self.node);
        let clock = ns.clock(self.now());
        let mut all: Vec<String> =
            ns.ipvs.connections().iter().map(|(_, entry)| crate::lab::entry_text(entry, clock)).collect();
        all.sort();
        all
    }

    /// The entries as `conntrack -L` prints them, with single spaces, sorted.
    pub(crate) fn conntrack(&self) -> Vec<String> {
        let rows = self.world.netns(self.node).conntrack.listing(self.now());
        let mut all: Vec<String> =
            rows.iter().map(|row| row.to_string().split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        all.sort();
        all
    }
}

/// True if both lists have the same conntrack entries, with seconds that differ by `slack` at most.
pub(crate) fn same_conntrack(recorded: &Value, here: &[String], slack: u64) -> bool {
    let mut recorded: Vec<&str> =
        recorded.as_array().into_iter().flatten().map(|line| line.as_str().unwrap()).collect();
    recorded.sort_unstable();
    let split = |line: &str| {
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let seconds: u64 = words.remove(2).parse().unwrap();
        (words, seconds)
    };
    let mut pairs: Vec<_> = recorded.iter().map(|line| split(line)).collect();
    let mut own: Vec<_> = here.iter().map(|line| split(line)).collect();
    pairs.sort();
    own.sort();
    pairs.len() == own.len()
        && pairs
            .iter()
            .zip(&own)
            .all(|((entry, then), (other, now))| entry == other && then.abs_diff(*now) <= slack)
}

/// A list of frames in a row; empty if it is missing.
pub(crate) fn frames(row: &Value, field: &str) -> Vec<String> {
    row[field].as_array().into_iter().flatten().map(|frame| frame.as_str().unwrap().to_owned()).collect()
}
