//! The host in the simulator.

use super::frame::{mac, parse_mac};
use super::{DEVICES, Outcome, Step, show};
use sim::device::DeviceKind;
use sim::fib::{Route, Selector, TableId};
use sim::hook::Family;
use sim::ids::{DeviceId, NetnsId};
use sim::link::Link;
use sim::netfilter::conntrack::ConntrackStats;
use sim::socket::{ClientProtocol, Server};
use sim::time::Duration;
use sim::trace::{DeviceEvent, Event, Level};
use sim::wire::MacAddr;
use sim::world::{ConnectSpec, VethEnd, World, WorldOptions};
use std::net::SocketAddrV4;

/// Long enough for a frame to leave again.
const STEP: Duration = Duration::from_millis(5);

pub(super) struct Host {
    world: World,
    host: NetnsId,
    /// The other end of each device.
    wire: NetnsId,
    events_seen: usize,
}

impl Host {
    pub(super) fn new() -> Self {
        let mut world = World::new(WorldOptions { seed: 0, level: Level::Everything });
        let (host, wire) = (world.add_netns("host"), world.add_netns("wire"));
        world.set_sysctl(host, "net.ipv4.ip_forward", "1").unwrap();
        for (number, device) in DEVICES.iter().enumerate() {
            let end = VethEnd { netns: host, name: device, mac: mac(device, 1) };
            let other = VethEnd { netns: wire, name: device, mac: mac(device, 0xff) };
            let (id, _) = world.add_veth(end, other, Link::default()).unwrap();
            world.add_address(host, id, format!("10.{number}.0.1/24").parse().unwrap()).unwrap();
            for last in 2..10 {
                let addr = format!("10.{number}.0.{last}").parse().unwrap();
                world.add_neighbour(host, id, addr, mac(device, last));
            }
        }
        Self { world, host, wire, events_seen: 0 }
    }

    pub(super) fn run(&mut self, step: &Step) -> Outcome {
        let mut lines = match step {
            Step::Command(words) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.command(&words)
            }
            Step::Frame { device, bytes, mark } => {
                let device = self.world.device(self.wire, device).unwrap();
                self.world.send_frame(self.wire, device, bytes.clone(), *mark);
                Vec::new()
            }
            Step::Listen(at) => {
                let server = Server::Identify { name: "dut".into() };
                self.world.udp_bind(self.host, Some((*at.ip()).into()), at.port(), server).unwrap();
                Vec::new()
            }
            Step::Send { port, to, len } => self.send(*port, *to, *len),
            Step::Sleep(millis) => {
                let until = self.world.now() + Duration::from_millis(*millis);
                self.world.run_until(until);
                Vec::new()
            }
            Step::Counters(table) => self.counters(table),
            Step::Conntrack { has_use } => self.conntrack(*has_use),
            Step::Statistics => self.statistics(),
        };
        let until = self.world.now() + STEP;
        self.world.run_until(until);
        lines.extend(self.frames(step.ident()));
        Outcome { lines }
    }

    /// Frames that left the host since the last call, by device.
    fn frames(&mut self, ident: Option<u16>) -> Vec<String> {
        let events = &self.world.trace().events()[self.events_seen..];
        self.events_seen += events.len();
        let devices = &self.world.netns(self.host).devices;
        let mut frames: Vec<(&str, String)> = Vec::new();
        for event in events.iter().filter(|event| event.netns == self.host) {
            let Event::Device(DeviceEvent::Transmitted { device, frame }) = &event.event else { continue };
            let device = devices.get(*device);
            let leaves =
                matches!(device.kind, DeviceKind::Veth { peer_netns, .. } if peer_netns == self.wire);
            if leaves {
                frames.push((&device.name, show::frame(&device.name, frame, ident)));
            }
        }
        frames.sort_by_key(|(device, _)| *device);
        frames.into_iter().map(|(_, text)| text).collect()
    }

    fn id(&self, device: &str) -> DeviceId {
        self.world.device(self.host, device).unwrap()
    }

    fn command(&mut self, words: &[&str]) -> Vec<String> {
        let (host, world) = (self.host, &mut self.world);
        match *words {
            ["iptables", ..] => {
                let line: Vec<String> = words
                    .iter()
                    .map(|word| if word.contains(' ') { format!("\"{word}\"") } else { (*word).to_owned() })
                    .collect();
                let outcome = world.iptables_command(host, "case", 1, &line.join(" "));
                return if outcome.is_ok() { Vec::new() } else { vec!["refused".to_owned()] };
            }
            ["sysctl", "-w", setting] => {
                let (name, value) = setting.split_once('=').unwrap();
                world.set_sysctl(host, name, value).unwrap();
            }
            ["ip", "addr", verb, net, "dev", device] => {
                let (id, net) = (self.id(device), net.parse().unwrap());
                match verb {
                    "add" => self.world.add_address(host, id, net).unwrap(),
                    "del" => self.world.remove_address(host, id, net).unwrap(),
                    _ => panic!("{words:?}"),
                }
            }
            ["ip", "link", ..] => self.link(&words[2..]),
            ["ip", "route", verb, ..] => self.route(verb, &words[3..]),
            ["ip", "neigh", "replace", addr, "lladdr", mac, "dev", device] => {
                let id = self.id(device);
                let mac = parse_mac(mac.trim_start_matches("02:00:00:00:"));
                self.world.add_neighbour(host, id, addr.parse().unwrap(), mac);
            }
            ["ip", "neigh", "del", addr, "dev", device] => {
                let id = self.id(device);
                self.world.remove_neighbour(host, id, addr.parse().unwrap());
            }
            ["bridge", "link", "set", "dev", device, "hairpin", state] => {
                let id = self.id(device);
                self.world.set_hairpin(host, id, state == "on");
            }
            _ => panic!("{words:?} is not a command of this test"),
        }
        Vec::new()
    }

    fn link(&mut self, words: &[&str]) {
        let host = self.host;
        match *words {
            ["add", name, "address", mac, "type", "bridge"] => {
                let mac = parse_mac(mac.trim_start_matches("02:00:00:00:"));
                let id = self.world.add_bridge(host, name, mac).unwrap();
                self.world.set_up(host, id, true);
            }
            ["add", a, "type", "veth", "peer", "name", b] => {
                let end = |name, last| VethEnd { netns: host, name, mac: MacAddr([2, 0, 0, 0, 9, last]) };
                self.world.add_veth(end(a, 1), end(b, 2), Link::default()).unwrap();
            }
            ["set", device, "master", bridge] => {
                let (port, bridge) = (self.id(device), self.id(bridge));
                self.world.set_master(host, port, Some(bridge));
            }
            ["set", device, "mtu", mtu] => {
                let id = self.id(device);
                self.world.set_mtu(host, id, mtu.parse().unwrap()).unwrap();
            }
            ["set", device, "promisc", state] => {
                let id = self.id(device);
                self.world.set_promiscuous(host, id, state == "on");
            }
            ["set", device, state @ ("up" | "down")] => {
                let id = self.id(device);
                self.world.set_up(host, id, state == "up");
            }
            _ => panic!("ip link {words:?} is not a command of this test"),
        }
    }

    fn route(&mut self, verb: &str, words: &[&str]) {
        let option = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
        if words[0] == "local" {
            let route = Route::local(words[1].parse().unwrap(), DeviceId::LOOPBACK);
            let ns = self.world.netns_mut(self.host);
            ns.fib.add(&ns.devices, TableId::Local, route).unwrap();
            return;
        }
        let dst = words[0].parse().unwrap();
        if verb == "del" {
            let ns = self.world.netns_mut(self.host);
            ns.fib.remove(TableId::Main, dst, Selector::default()).unwrap();
            return;
        }
        let mut route = match (option("via"), option("dev")) {
            (Some(via), _) => Route::via(dst, via.parse().unwrap()),
            (None, Some(device)) => Route::direct(dst, self.id(device)),
            (None, None) => panic!("ip route {words:?}"),
        };
        if let Some(source) = option("src") {
            route = route.from(source.parse().unwrap());
        }
        let ns = self.world.netns_mut(self.host);
        match verb {
            "add" => ns.fib.add(&ns.devices, TableId::Main, route).unwrap(),
            "replace" => ns.fib.replace(&ns.devices, TableId::Main, route).unwrap(),
            _ => panic!("ip route {verb}"),
        }
    }

    fn send(&mut self, port: u16, to: SocketAddrV4, len: usize) -> Vec<String> {
        let spec = ConnectSpec {
            protocol: ClientProtocol::Udp,
            src_port: (port != 0).then_some(port),
            dst: (*to.ip()).into(),
            dst_port: to.port(),
            request: vec![b'x'; len],
            deadline: Duration::from_secs(1000),
            is_kept_open: false,
            may_broadcast: true,
        };
        self.world.connect(self.host, spec).unwrap();
        Vec::new()
    }

    fn counters(&self, table: &str) -> Vec<String> {
        let saved = self.world.netns(self.host).xtables.save(Family::Ipv4, true);
        table_of(&saved, table)
    }

    fn statistics(&self) -> Vec<String> {
        let counters = self.world.netns(self.host).conntrack.counters();
        let ConntrackStats { found, invalid, insert_failed, drop, early_drop, icmp_error, clash_resolve } =
            *counters;
        let values = [found, invalid, insert_failed, drop, early_drop, icmp_error, clash_resolve];
        let words = STATISTICS.iter().zip(values).map(|(name, value)| format!("{name}={value}"));
        vec![words.collect::<Vec<_>>().join(" ")]
    }

    fn conntrack(&self, has_use: bool) -> Vec<String> {
        let rows = self.world.netns(self.host).conntrack.listing(self.world.now());
        let mut lines: Vec<String> = rows.iter().map(|row| plain_row(&row.to_string(), 1, has_use)).collect();
        lines.sort();
        lines
    }
}

/// The counters of `conntrack -S` that both sides have.
pub(super) const STATISTICS: [&str; 7] =
    ["found", "invalid", "insert_failed", "drop", "early_drop", "error", "clash_resolve"];

/// Policies and rules of one table of a saved text.
pub(super) fn table_of(saved: &str, table: &str) -> Vec<String> {
    let lines = saved.lines().skip_while(|line| *line != format!("*{table}")).skip(1);
    let lines = lines.take_while(|line| *line != "COMMIT");
    let plain = |line: &str| match line.split_once(" [") {
        // `iptables-legacy` zeroes the policy counters whenever it changes a table.
        Some((policy, _)) if line.starts_with(':') => policy.to_owned(),
        Some(_) | None => line.trim_end().to_owned(),
    };
    lines.filter(|line| line.starts_with([':', '['])).map(plain).collect()
}

/// A row of the conntrack table with marked timeouts; reference counts only on request. `round` is added to the
/// seconds: a timer set a moment ago has one second less, rounded down.
pub(super) fn plain_row(row: &str, round: u64, has_use: bool) -> String {
    let mut words: Vec<String> = row.split_whitespace().map(str::to_owned).collect();
    words.retain(|word| has_use || !word.starts_with("use="));
    words[2] = format!("timeout={}", words[2].parse::<u64>().unwrap() + round);
    words.join(" ")
}
