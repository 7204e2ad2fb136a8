//! `behaviour/hook_order`: the chains that each packet visits, and what it looks like there.
//!
//! Two things are not compared. The input device of POSTROUTING, which the kernel's LOG target prints and which no rule can
//! match. And the security table of iptables-nft, which that tool registers at another priority than the kernel's own
//! iptables (150, nft.c of iptables), and the simulator at the kernel's.

use crate::lab::same_connections;
use crate::network::{CLIENT, Network, Shape, Side, frames, ipv4, same_conntrack};
use crate::recording::{number, rows, text};
use serde_json::Value;
use sim::hook::Hook;
use sim::ids::{DeviceId, NetnsId, PacketId};
use sim::trace::{
    DeviceEvent, Event, HookEvent, IpvsEvent, NatEvent, PacketEvent, RuleAction, RuleEvent, TraceEvent,
};
use sim::wire::rewrite::{Side as End, set_addr, set_port};
use sim::wire::{ETHERNET_HEADER_LEN, Headers, Ipv4, L4, TcpFlags, build, protocol};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 11);

#[test]
fn packets_visit_the_recorded_chains() {
    for row in rows("behaviour/hook_order.jsonl") {
        let mut network = Network::with_servers(&[11]);
        network.load(text(&row, "iptables-save"));
        network.set("conntrack", number(&row, "conntrack"));
        let is_nft = text(&row, "iptables") == "iptables";
        for step in row["steps"].as_array().unwrap() {
            replay(&mut network, step, is_nft, &row);
        }
    }
}

fn replay(network: &mut Network, step: &Value, is_nft: bool, row: &Value) {
    let name = text(step, "step");
    let place = format!(
        "{name}: iptables {}, conntrack {}, masquerade {}",
        row["iptables"], row["conntrack"], row["masquerade"]
    );
    if name == "SYN to a service without servers" {
        network.ipvsadm("-d -t 10.96.0.1:80 -r 10.244.0.11:8080\n");
    }
    let (side, bytes) = packet(network, step);
    let seen = network.transmit(side, &bytes);
    assert_eq!(seen.at(side.other()), frames(step, "got"), "{place}");
    assert_eq!(seen.at(side), frames(step, "back"), "{place}");
    let is_compared = |line: &String| !(is_nft && line.starts_with("security/"));
    let recorded: Vec<String> =
        frames(step, "hooks").iter().map(|line| normal(line)).filter(is_compared).collect();
    let here: Vec<String> = Visits::of(network).into_iter().filter(is_compared).collect();
    assert_eq!(here, recorded, "{place}");
    if !step["conn"].is_null() {
        let mut connections = network.connections();
        let port = format!(":{} ", if name.starts_with("UDP") { 16_001 } else { 16_000 });
        connections.retain(|line| line.contains(&port));
        assert!(same_connections(&step["conn"], &connections, 1), "{connections:?} {place}");
    }
    if let Some(entries) = step["conntrack"].as_array() {
        let mut own = network.conntrack();
        let ports: Vec<&str> = match name {
            _ if name.starts_with("UDP") => vec!["sport=16001"],
            "SYN to a service without servers" => vec!["sport=16002"],
            "SYN to a port that is no service" => vec!["sport=16003"],
            "ACK of an unknown flow to the service" => vec!["sport=16004"],
            _ => vec!["sport=16000"],
        };
        own.retain(|line| ports.iter().any(|port| line.contains(port)));
        assert!(same_conntrack(&entries.clone().into(), &own, 1), "{own:?} {place}");
    }
}

/// The packet of a step.
fn packet(network: &mut Network, step: &Value) -> (Side, Vec<u8>) {
    let server_is = |network: &Network| {
        // With masquerading, the server answers to the node.
        network.conntrack().iter().any(|line| line.contains("dst=169.254.0.1"))
    };
    let is_masqueraded = server_is(network);
    let shape = Shape { to: is_masqueraded.then_some(Ipv4Addr::new(169, 254, 0, 1)), ..Shape::PLAIN };
    let port_81 = Shape { service_port: Some(81), ..Shape::PLAIN };
    match text(step, "step") {
        "UDP" | "UDP again" => network.flows.shaped(16_001, 11, "c udp", Shape::PLAIN),
        "UDP answer" => network.flows.shaped(16_001, 11, "s udp", shape),
        "ICMP port unreachable from the server" => {
            let client = shape.to.unwrap_or(CLIENT);
            let l4 = [16_001_u16.to_be_bytes(), 5_353_u16.to_be_bytes(), [0, 12], [0, 0]].concat();
            let quote = ipv4(client, SERVER, protocol::UDP, Shape::PLAIN, &l4).split_off(ETHERNET_HEADER_LEN);
            let message = build::icmpv4(3, 3, [0; 4], &quote);
            (Side::Server, ipv4(SERVER, client, protocol::ICMP, Shape::PLAIN, &message))
        }
        "SYN to a service without servers" => network.flows.shaped(16_002, 11, "c S", Shape::PLAIN),
        "SYN to a port that is no service" => network.flows.shaped(16_003, 11, "c S", port_81),
        "ACK of an unknown flow to the service" => network.flows.shaped(16_004, 11, "c A", Shape::PLAIN),
        _ => {
            let packet = text(step, "send");
            let shape = if packet.starts_with('s') { shape } else { Shape::PLAIN };
            network.flows.shaped(16_000, 11, packet, shape)
        }
    }
}

/// `raw/PREROUTING in=c0 out= 172.16.0.9:16000 > 10.96.0.1:80 tcp SYN ttl=64`
fn normal(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().skip(2).collect();
    let is_hidden = |word: &&str| words[0].ends_with("POSTROUTING") && word.starts_with("in=");
    words.iter().copied().filter(|word| !is_hidden(word)).collect::<Vec<_>>().join(" ")
}

/// Follows the packets of the node from chain to chain.
struct Visits<'a> {
    node: NetnsId,
    names: BTreeMap<DeviceId, String>,
    packets: BTreeMap<PacketId, Visit>,
    lines: Vec<String>,
    events: &'a [TraceEvent],
}

/// A packet at its current hook.
#[derive(Default)]
struct Visit {
    bytes: Vec<u8>,
    hook: Option<(Hook, Option<DeviceId>, Option<DeviceId>)>,
    mark: u32,
}

impl<'a> Visits<'a> {
    fn of(network: &'a Network) -> Vec<String> {
        let devices = network.world.netns(network.node).devices.iter();
        let names = devices.map(|device| (device.id, device.name.to_string())).collect();
        let (packets, lines) = (BTreeMap::new(), Vec::new());
        let mut visits = Self { node: network.node, names, packets, lines, events: network.events() };
        for event in visits.events {
            visits.take(event);
        }
        visits.lines
    }

    fn take(&mut self, event: &TraceEvent) {
        let Some(id) = event.packet.filter(|_| event.netns == self.node) else { return };
        let visit = self.packets.entry(id).or_default();
        match &event.event {
            Event::Packet(PacketEvent::Created { frame, .. })
            | Event::Device(DeviceEvent::Received { frame, .. }) => {
                visit.bytes = frame[ETHERNET_HEADER_LEN..].to_vec();
            }
            Event::Hook(HookEvent::Entered { hook, in_dev, out_dev, .. }) => {
                // Forwarding costs a hop, and so does IPVS, which sends a packet that was at another hook before.
                if matches!(hook, Hook::Forward) || (matches!(hook, Hook::Output) && visit.hook.is_some()) {
                    Ipv4::new_unchecked(&mut visit.bytes[..]).decrement_ttl();
                }
                visit.hook = Some((*hook, *in_dev, *out_dev));
            }
            Event::Nat(NatEvent::Translated { manip, to: (addr, port), .. }) => {
                visit.translate(*manip, *addr, *port)
            }
            Event::Ipvs(IpvsEvent::Translated { side, to, .. } | IpvsEvent::ErrorTranslated { side, to }) => {
                visit.translate(*side, to.ip(), to.port());
            }
            Event::Rule(RuleEvent::Matched { rule, action }) => {
                if let RuleAction::Mark { new, .. } = action {
                    visit.mark = *new;
                }
                let logged = rule.source.text.split_once("--log-prefix \"@").map(|(_, rest)| rest);
                if let Some(prefix) = logged.and_then(|rest| rest.split_once([' ', '"'])) {
                    let line = visit.line(prefix.0, &self.names);
                    self.lines.push(line);
                }
            }
            Event::Packet(PacketEvent::Ended { .. })
            | Event::Device(DeviceEvent::Transmitted { .. })
            | Event::Hook(HookEvent::Accepted { .. } | HookEvent::Dropped { .. })
            | Event::Nat(NatEvent::Bound { .. } | NatEvent::QuoteTranslated { .. })
            | Event::Rule(RuleEvent::Policy { .. })
            | Event::Ipvs(_)
            | Event::Bridge(_)
            | Event::Conntrack(_)
            | Event::Route(_)
            | Event::Neigh(_)
            | Event::Socket(_) => {}
        }
    }
}

impl Visit {
    fn translate(&mut self, end: End, addr: IpAddr, port: u16) {
        set_addr(&mut self.bytes, end, addr);
        set_port(&mut self.bytes, end, port);
    }

    fn line(&self, chain: &str, names: &BTreeMap<DeviceId, String>) -> String {
        let Some((_, in_dev, out_dev)) = self.hook else { unreachable!("rules are at hooks") };
        let name = |device: Option<DeviceId>| device.map_or("", |device| names[&device].as_str());
        let mut text = chain.to_owned();
        if !chain.ends_with("POSTROUTING") {
            text += &format!(" in={}", name(in_dev));
        }
        text += &format!(" out={} {}", name(out_dev), ends(&self.bytes));
        if self.mark != 0 {
            text += &format!(" mark={:#x}", self.mark);
        }
        text
    }
}

fn ends(bytes: &[u8]) -> String {
    let headers = Headers::parse(bytes).unwrap();
    let (src, dst, ttl) = (headers.src, headers.dst, headers.ttl);
    let with_ports =
        |from: u16, to: u16| format!("{} > {}", SocketAddr::new(src, from), SocketAddr::new(dst, to));
    match headers.l4 {
        L4::Tcp { src_port, dst_port, flags } => {
            format!("{} tcp {} ttl={ttl}", with_ports(src_port, dst_port), names_of(flags))
        }
        L4::Udp { src_port, dst_port } => format!("{} udp ttl={ttl}", with_ports(src_port, dst_port)),
        L4::Icmp { icmp_type, code, .. } => {
            format!("{src} > {dst} icmp type {icmp_type} code {code} ttl={ttl}")
        }
        L4::Sctp { .. } | L4::Other | L4::Fragment | L4::Truncated => panic!("unexpected {headers:?}"),
    }
}

/// In the order of the LOG target (`dump_ipv4_packet`, net/netfilter/nf_log_syslog.c).
fn names_of(flags: TcpFlags) -> String {
    let all = [
        (TcpFlags::ACK, "ACK"),
        (TcpFlags::PSH, "PSH"),
        (TcpFlags::RST, "RST"),
        (TcpFlags::SYN, "SYN"),
        (TcpFlags::FIN, "FIN"),
    ];
    all.into_iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .map(|(_, name)| name)
        .collect::<Vec<_>>()
        .join(" ")
}
