//! `packets/`: the texts of kube-proxy's IPVS mode on a node, and connections from everywhere.
//!
//! Where the port of a masqueraded connection is random, only its address is compared. Connections that `node-b` does not route
//! are left out: they never reach IPVS, and when they fail depends on the rate limit of ICMP errors.

use crate::lab::{entry_text, same_connections};
use crate::recording::{files, folder, number, rows_where, text};
use serde_json::Value;
use sim::fib::{Route, Selector};
use sim::ids::{DeviceId, NetnsId};
use sim::ipset::IpsetOptions;
use sim::link::Link;
use sim::socket::{ClientProtocol, Server};
use sim::time::Duration;
use sim::trace::{Level, Outcome, Unreachable};
use sim::wire::MacAddr;
use sim::world::{ConnectSpec, VethEnd, World, WorldOptions};
use sim::xtables::RestoreOptions;
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

#[test]
fn connections_reach_the_recorded_endpoints() {
    let mut probes = 0;
    for case in files("packets") {
        let mut cluster = Cluster::new(&case);
        let is_routed = |row: &Value| text(row, "outcome") != "ENETUNREACH";
        for row in rows_where(&format!("packets/{case}/probes.jsonl"), is_routed) {
            cluster.probe(&case, &row);
            probes += 1;
        }
    }
    assert!(probes > 0, "no connection was compared");
}

/// A client, two nodes and their pods. `node-a` has the texts; `node-b` routes service addresses to it.
struct Cluster {
    world: World,
    netns: BTreeMap<String, NetnsId>,
    devices: u8,
}

impl Cluster {
    fn new(case: &str) -> Self {
        let world = World::new(WorldOptions { seed: 0, level: Level::Nothing });
        let mut cluster = Self { world, netns: BTreeMap::new(), devices: 0 };
        cluster.add_hosts();
        let servers = servers(&loaded(case, "ipvsadm.txt"));
        cluster.add_pods(&servers, case.ends_with("hairpin-1"));
        for name in ["client", "node-a", "node-b"] {
            cluster.configure(name, &loaded(case, &format!("net-{name}.txt")));
        }
        cluster.load(case);
        cluster.listen(&servers);
        cluster
    }

    fn add(&mut self, name: &str) -> NetnsId {
        let id = self.world.add_netns(name);
        self.netns.insert(name.to_owned(), id);
        id
    }

    fn mac(&mut self) -> MacAddr {
        self.devices += 1;
        MacAddr([2, 0, 0, 0, 0, self.devices])
    }

    /// Connects `eth0` of a netns to a bridge of another, and returns both ends.
    fn join(&mut self, leaf: NetnsId, to: NetnsId, bridge: &str, port: &str) -> (DeviceId, DeviceId) {
        let a = VethEnd { netns: leaf, name: "eth0", mac: self.mac() };
        let b = VethEnd { netns: to, name: port, mac: self.mac() };
        let (eth0, port) = self.world.add_veth(a, b, Link::default()).unwrap();
        let bridge = self.world.device(to, bridge).unwrap();
        self.world.set_master(to, port, Some(bridge));
        (eth0, port)
    }

    fn add_hosts(&mut self) {
        let lan = self.add("lan");
        let mac = self.mac();
        self.world.add_bridge(lan, "lan0", mac).unwrap();
        for name in ["client", "node-a", "node-b"] {
            let host = self.add(name);
            self.join(host, lan, "lan0", name);
            if name != "client" {
                let mac = self.mac();
                self.world.add_bridge(host, "cni0", mac).unwrap();
            }
        }
        let node = self.netns["node-a"];
        self.world
            .ip_batch(
                node,
                "devices",
                "link add docker0 type dummy\nlink set docker0 up\nlink add kube-ipvs0 type dummy\n",
            )
            .unwrap();
    }

    /// The pods: `ep-1.2` is 10.244.1.2. The network 10.244.1.0/24 is on `node-a`, others are on `node-b`.
    fn add_pods(&mut self, servers: &[(ClientProtocol, SocketAddr)], is_hairpin: bool) {
        let mut addrs: Vec<Ipv4Addr> = vec![[10, 244, 1, 200].into(), [10, 244, 2, 200].into()];
        // Endpoints that no service has any more are clients.
        addrs.extend(
            [
                [10, 244, 1, 2],
                [10, 244, 1, 3],
                [10, 244, 2, 2],
                [10, 244, 2, 4],
                [10, 244, 3, 3],
                [10, 244, 3, 6],
            ]
            .map(Ipv4Addr::from),
        );
        addrs.extend(servers.iter().filter_map(|(_, addr)| match addr.ip() {
            IpAddr::V4(addr) if addr.octets()[..2] == [10, 244] => Some(addr),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }));
        addrs.sort();
        addrs.dedup();
        for addr in addrs {
            let [_, _, net, host] = addr.octets();
            let node = self.netns[if net == 1 { "node-a" } else { "node-b" }];
            let name = match (net, host) {
                (1, 200) => "pod-a".to_owned(),
                (2, 200) => "pod-b".to_owned(),
                _ => format!("ep-{net}.{host}"),
            };
            let pod = self.add(&name);
            let (eth0, port) = self.join(pod, node, "cni0", &format!("v-{name}"));
            self.world.set_hairpin(node, port, is_hairpin);
            self.world.add_address(pod, eth0, format!("{addr}/24").parse().unwrap()).unwrap();
            let gateway = Ipv4Addr::new(10, 244, net, 1);
            self.world.add_route(pod, Route::via("0.0.0.0/0".parse().unwrap(), gateway)).unwrap();
        }
    }

    /// Adds the addresses and routes of the output of `ip addr` and `ip route`. The kernel adds the other routes.
    fn configure(&mut self, name: &str, text: &str) {
        let netns = self.netns[name];
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["inet", net, "scope", "global", .., device] if device != "lo" => {
                    let device = self.world.device(netns, device).unwrap();
                    self.world.add_address(netns, device, net.parse().unwrap()).unwrap();
                }
                [net, "via", ..] => {
                    let line = line.trim();
                    self.world
                        .ip_route_add(netns, "routes", 1, line)
                        .unwrap_or_else(|error| panic!("{net}: {error}"));
                }
                _ => {}
            }
        }
    }

    fn load(&mut self, case: &str) {
        let node = self.netns["node-a"];
        for name in ["node-a", "node-b"] {
            self.world.set_sysctl(self.netns[name], "net.ipv4.ip_forward", "1").unwrap();
        }
        for line in loaded(case, "sysctls.txt").lines() {
            let (name, value) = line.split_once('=').unwrap();
            self.world.set_sysctl(node, name.trim(), value.trim()).unwrap();
        }
        self.world.set_sysctl(node, "net.ipv4.icmp_ratelimit", "0").unwrap();
        if case.ends_with("bnf-0") {
            self.world.set_sysctl(node, "net.bridge.bridge-nf-call-iptables", "0").unwrap();
        }
        self.world
            .ipset_restore(node, "ipset.txt", &loaded(case, "ipset.txt"), IpsetOptions::default())
            .unwrap();
        for (number, line) in (1..).zip(loaded(case, "jumps.txt").lines()) {
            self.world.iptables_command(node, "jumps.txt", number, &format!("iptables {line}")).unwrap();
        }
        let options = RestoreOptions { noflush: true, counters: true };
        self.world.iptables_restore(node, "iptables.txt", &loaded(case, "iptables.txt"), options).unwrap();
        self.world.ipvsadm_restore(node, "ipvsadm.txt", &loaded(case, "ipvsadm.txt")).unwrap();
    }

    /// Every server listens, and says its name.
    fn listen(&mut self, servers: &[(ClientProtocol, SocketAddr)]) {
        for (protocol, addr) in servers {
            let IpAddr::V4(ip) = addr.ip() else { continue };
            let [_, _, net, host] = ip.octets();
            let Some(netns) = self.netns.get(&format!("ep-{net}.{host}")) else { continue };
            let server = Server::Identify { name: format!("ep-{net}.{host}").into() };
            if *protocol == ClientProtocol::Tcp {
                self.world.tcp_listen(*netns, None, addr.port(), server).unwrap();
            } else {
                self.world.udp_bind(*netns, None, addr.port(), server).unwrap();
            }
        }
    }

    fn probe(&mut self, case: &str, row: &Value) {
        let (addr, port) = text(row, "to").split_once(':').unwrap();
        let sport = u16::try_from(number(row, "sport")).unwrap();
        self.bind(row);
        let spec = ConnectSpec {
            protocol: if text(row, "proto") == "tcp" { ClientProtocol::Tcp } else { ClientProtocol::Udp },
            src_port: Some(sport),
            dst: addr.parse().unwrap(),
            dst_port: port.parse().unwrap(),
            request: b"hello\n".to_vec(),
            deadline: Duration::from_millis(1_500),
            is_kept_open: false,
            may_broadcast: false,
        };
        let flow = self.world.connect(self.netns[text(row, "from")], spec).unwrap();
        self.world.run_until_finished(&[flow], self.world.now() + Duration::from_secs(2));
        self.world.run_until(self.world.now() + Duration::from_millis(5));
        let result = self.world.take_flow_result(flow).unwrap();
        let place = format!("{case}, probe {}: {} to {}", row["probe"], row["who"], row["to"]);
        let outcome = match result.outcome {
            Outcome::Connected => "connected",
            Outcome::Refused(_) => "ECONNREFUSED",
            Outcome::Unreachable(Unreachable::Prohibited) => "send:EPERM",
            Outcome::Unreachable(Unreachable::Network) => "ENETUNREACH",
            Outcome::Timeout => "timeout",
            Outcome::Unreachable(_) => "unreachable",
            Outcome::Reset => "reset",
        };
        // A handshake without an answer is not a connection here.
        let recorded = if row["answer"] == "None" { "timeout" } else { text(row, "outcome") };
        assert_eq!(outcome, recorded, "{place} {row}");
        let reply = result.reply.map(|bytes| String::from_utf8(bytes).unwrap()).unwrap_or_default();
        let mut words = reply.split_whitespace();
        assert_eq!(words.next(), row["endpoint"].as_str(), "{place} {row}");
        let seen = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (here, there) = (words.next().map(seen), row["sourceSeen"].as_str().map(seen));
        assert_eq!(here.map(|addr| addr.ip()), there.map(|addr| addr.ip()), "{place} {row}");
        let is_kept = |addr: Option<SocketAddr>| addr.is_none_or(|addr| addr.port() == sport);
        assert!(is_kept(here) || !is_kept(there), "{place}: {here:?} {there:?}");
        self.compare_connections(sport, &place, row);
    }

    /// A client that is bound to one of its addresses has it as the source of its routes.
    fn bind(&mut self, row: &Value) {
        if text(row, "from") != "client" {
            return;
        }
        let client = self.netns["client"];
        let (addr, _) = text(row, "to").split_once(':').unwrap();
        while self.world.remove_route(client, format!("{addr}/32").parse().unwrap(), Selector::default()) {}
        let gateway = if addr.starts_with("192.168.1.") { "" } else { " via 192.168.1.10" };
        let source = row["src"].as_str().map_or_else(String::new, |source| format!(" src {source}"));
        let route = format!("{addr}/32{gateway} dev eth0{source}");
        self.world.ip_route_add(client, "routes", 1, &route).unwrap();
    }

    fn compare_connections(&self, port: u16, place: &str, row: &Value) {
        let Some(recorded) = row["closed"]["ipvs"].as_array() else { return };
        // Templates belong to several connections.
        let port = format!(":{port} ");
        let is_meant = |line: &&Value| line.as_str().unwrap().contains(&port);
        let recorded: Value = recorded.iter().filter(is_meant).cloned().collect();
        let ns = self.world.netns(self.netns["node-a"]);
        let clock = ns.clock(self.world.now());
        let mut connections: Vec<String> =
            ns.ipvs.connections().iter().map(|(_, entry)| entry_text(entry, clock)).collect();
        connections.retain(|line| line.contains(&port));
        assert!(same_connections(&recorded, &connections, 2), "{place}: {connections:?} {row}");
    }
}

fn loaded(case: &str, file: &str) -> String {
    fs::read_to_string(folder().join("packets").join(case).join("loaded").join(file)).unwrap()
}

/// Protocol and address of every server in a text of ipvsadm.
fn servers(text: &str) -> Vec<(ClientProtocol, SocketAddr)> {
    let mut servers = Vec::new();
    for line in text.lines() {
        if let ["-a", kind, _, "-r", addr, ..] = line.split_whitespace().collect::<Vec<_>>()[..] {
            let protocol = if kind == "-t" { ClientProtocol::Tcp } else { ClientProtocol::Udp };
            let server = (protocol, addr.parse().unwrap());
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
    }
    servers
}
