//! `behaviour/local`: real sockets outside of the node, on it, and on the server itself.
//!
//! Rows whose client is bound to an address are left out: clients of the simulator are not.

use super::visits::{Visits, normal};
use crate::lab::{entry_text, same_connections};
use crate::network::same_conntrack;
use crate::recording::{number, rows_where, text};
use serde_json::Value;
use sim::fib::Route;
use sim::ids::NetnsId;
use sim::link::Link;
use sim::socket::{ClientProtocol, Server};
use sim::time::{Duration, Instant};
use sim::trace::{Level, Outcome, TraceEvent, Unreachable};
use sim::wire::MacAddr;
use sim::world::{ConnectSpec, VethEnd, World, WorldOptions};
use sim::xtables::RestoreOptions;
use std::collections::BTreeMap;

const ADDRESSES: &str = "link add kube-ipvs0 type dummy
address add 10.96.0.1/32 dev kube-ipvs0
address add 10.96.0.3/32 dev kube-ipvs0
";

const SERVICES: &str = "-A -t 10.96.0.1:80 -s rr
-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m
-A -t 10.96.0.1:81 -s rr
-A -t 10.96.0.1:82 -s rr
-a -t 10.96.0.1:82 -r 10.244.1.2:8099 -m
-A -t 10.96.0.1:83 -s rr
-a -t 10.96.0.1:83 -r 127.0.0.1:9090 -m
-A -t 10.96.0.3:80 -s rr
-a -t 10.96.0.3:80 -r 192.168.1.10:9090 -m
-A -t 192.168.1.10:30080 -s rr
-a -t 192.168.1.10:30080 -r 10.244.1.2:8080 -m
-A -u 10.96.0.1:53 -s rr
-a -u 10.96.0.1:53 -r 10.244.1.2:5353 -m
-A -u 10.96.0.1:54 -s rr
-a -u 10.96.0.1:54 -r 10.244.1.2:5399 -m
-A -u 10.96.0.1:55 -s rr
";

#[test]
fn sockets_reach_the_recorded_servers() {
    let rows = rows_where("behaviour/local.jsonl", |row| row["src"].is_null());
    let case = |row: &Value| (number(row, "conntrack"), text(row, "rules").to_owned());
    for rows in rows.chunk_by(|a, b| case(a) == case(b)) {
        // The last row of a case has its rules.
        let Some(rules) = rows.iter().find_map(|row| row["iptables-save"].as_str()) else {
            panic!("no rules")
        };
        let mut node = Node::new(number(&rows[0], "conntrack"), rules);
        for row in rows.iter().filter(|row| !row["client"].is_null()) {
            node.replay(row);
        }
    }
}

/// A client, a node with a bridge, and a server behind it.
struct Node {
    world: World,
    node: NetnsId,
    clients: BTreeMap<&'static str, NetnsId>,
}

impl Node {
    fn new(conntrack: u32, rules: &str) -> Self {
        let mut world = World::new(WorldOptions { seed: 0, level: Level::Everything });
        let [client, node, server] = ["client", "node", "rs1"].map(|name| world.add_netns(name));
        let mac = |last: u8| MacAddr([2, 0, 0, 0, 0, last]);
        let mut join = |leaf: NetnsId, name: &str, port: &str, macs: u8| {
            let a = VethEnd { netns: leaf, name, mac: mac(macs) };
            let b = VethEnd { netns: node, name: port, mac: mac(macs + 1) };
            world.add_veth(a, b, Link::default()).unwrap()
        };
        let (outside, eth0) = join(client, "eth0", "eth0", 1);
        let (inside, port) = join(server, "eth0", "veth1", 3);
        let cni0 = world.add_bridge(node, "cni0", mac(7)).unwrap();
        world.set_master(node, port, Some(cni0));
        for (netns, device, net) in [
            (client, outside, "192.168.1.100/24"),
            (node, eth0, "192.168.1.10/24"),
            (node, cni0, "10.244.1.1/24"),
            (server, inside, "10.244.1.2/24"),
        ] {
            world.add_address(netns, device, net.parse().unwrap()).unwrap();
        }
        for (netns, gateway) in [(client, "192.168.1.10"), (server, "10.244.1.1")] {
            world
                .add_route(netns, Route::via("0.0.0.0/0".parse().unwrap(), gateway.parse().unwrap()))
                .unwrap();
        }
        for (name, value) in [
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv4.icmp_ratelimit", "0"),
            ("net.bridge.bridge-nf-call-iptables", "0"),
            ("net.ipv4.vs.conntrack", &conntrack.to_string()),
        ] {
            world.set_sysctl(node, name, value).unwrap();
        }
        world.ip_batch(node, "ip.batch", ADDRESSES).unwrap();
        world.ipvsadm_restore(node, "ipvs.rules", SERVICES).unwrap();
        world
            .iptables_restore(node, "rules", rules, RestoreOptions { noflush: true, counters: true })
            .unwrap();
        let named = |name: &str| Server::Identify { name: name.into() };
        world.tcp_listen(server, None, 8080, named("rs1")).unwrap();
        world.udp_bind(server, None, 5353, named("rs1")).unwrap();
        world.tcp_listen(node, None, 9090, named("node-9090")).unwrap();
        let clients = BTreeMap::from([("client", client), ("node", node), ("rs1", server)]);
        Self { world, node, clients }
    }

    fn replay(&mut self, row: &Value) {
        let (addr, port) = text(row, "to").split_once(':').unwrap();
        let spec = ConnectSpec {
            protocol: if text(row, "proto") == "tcp" { ClientProtocol::Tcp } else { ClientProtocol::Udp },
            src_port: Some(u16::try_from(number(row, "sport")).unwrap()),
            dst: addr.parse().unwrap(),
            dst_port: port.parse().unwrap(),
            request: b"hello\n".to_vec(),
            deadline: Duration::from_millis(1_500),
            is_kept_open: false,
            may_broadcast: false,
        };
        self.wait(row);
        self.world.take_events();
        let flow = self.world.connect(self.clients[text(row, "from")], spec).unwrap();
        self.world.run_until_finished(&[flow], self.world.now() + Duration::from_secs(2));
        self.world.run_until(self.world.now() + Duration::from_millis(5));
        let result = self.world.take_flow_result(flow).unwrap();
        let outcome = match result.outcome {
            Outcome::Connected if text(row, "proto") == "udp" => "answered",
            Outcome::Connected => "connected",
            Outcome::Refused(_) => "ECONNREFUSED",
            Outcome::Unreachable(Unreachable::Prohibited) => "send:EPERM",
            Outcome::Timeout => "timeout",
            Outcome::Unreachable(_) | Outcome::Reset => panic!("{:?} in {row}", result.outcome),
        };
        assert_eq!(outcome, text(row, "outcome"), "{row}");
        let reply = result.reply.map(|bytes| String::from_utf8(bytes).unwrap()).unwrap_or_default();
        let mut words = reply.split_whitespace();
        assert_eq!(words.next(), row["endpoint"].as_str(), "{row}");
        assert_eq!(words.next(), row["sourceSeen"].as_str(), "{row}");
        let events = self.world.take_events();
        self.compare_hooks(&events, row);
        self.compare_tables(row);
    }

    /// Lets time pass until the recorded connection: redirects are limited.
    fn wait(&mut self, row: &Value) {
        let first = row["hooks"][0].as_str().and_then(|line| line.split_whitespace().next());
        let micros = first.and_then(|word| word.parse().ok()).unwrap_or(0);
        let until = Instant::START + Duration::from_micros(micros);
        self.world.run_until(until.max(self.world.now()));
    }

    /// The chains that the first packets visit: later ones depend on when programs read and write.
    fn compare_hooks(&self, events: &[TraceEvent], row: &Value) {
        let is_compared = |line: &String| !line.starts_with("security/") && is_early(line);
        let recorded = row["hooks"].as_array().unwrap().iter().map(|line| normal(line.as_str().unwrap()));
        let recorded: Vec<String> = recorded.filter(is_compared).collect();
        let here: Vec<String> =
            Visits::of(&self.world, self.node, events).into_iter().filter(is_compared).collect();
        assert_eq!(here, recorded, "{} to {} in {}", row["client"], row["to"], row["rules"]);
    }

    fn compare_tables(&mut self, row: &Value) {
        let port = number(row, "sport");
        let ns = self.world.netns(self.node);
        let clock = ns.clock(self.world.now());
        let mut connections: Vec<String> =
            ns.ipvs.connections().iter().map(|(_, entry)| entry_text(entry, clock)).collect();
        connections.retain(|line| line.contains(&format!(":{port} ")));
        let listing = ns.conntrack.listing(self.world.now());
        let mut entries: Vec<String> = listing.iter().map(ToString::to_string).collect();
        entries.retain(|line| line.contains(&format!("sport={port} ")));
        let closed = &row["closed"];
        assert!(same_connections(&closed["ipvs"], &connections, 1), "{connections:?} {row}");
        assert!(same_conntrack(&closed["conntrack"], &entries, 1), "{entries:?} {row}");
    }
}

fn is_early(line: &str) -> bool {
    line.contains(" udp ") || line.contains(" icmp ") || line.contains("SYN")
}
