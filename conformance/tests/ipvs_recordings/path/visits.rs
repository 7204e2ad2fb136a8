//! The chains that packets visit, from the events of a run.

use sim::hook::Hook;
use sim::ids::{DeviceId, NetnsId, PacketId};
use sim::trace::{
    DeviceEvent, Event, HookEvent, IpvsEvent, NatEvent, PacketEvent, RuleAction, RuleEvent, TraceEvent,
};
use sim::wire::rewrite::{Side as End, set_addr, set_port};
use sim::wire::{ETHERNET_HEADER_LEN, Headers, Ipv4, L4, TcpFlags};
use sim::world::World;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// `raw/PREROUTING in=c0 out= 172.16.0.9:16000 > 10.96.0.1:80 tcp SYN ttl=64`
pub(super) fn normal(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().skip(2).collect();
    let is_hidden = |word: &&str| words[0].ends_with("POSTROUTING") && word.starts_with("in=");
    words.iter().copied().filter(|word| !is_hidden(word)).collect::<Vec<_>>().join(" ")
}

/// Follows the packets of the node from chain to chain.
pub(super) struct Visits {
    node: NetnsId,
    names: BTreeMap<DeviceId, String>,
    packets: BTreeMap<PacketId, Visit>,
    lines: Vec<String>,
}

/// A packet at its current hook.
#[derive(Default)]
struct Visit {
    bytes: Vec<u8>,
    hook: Option<(Hook, Option<DeviceId>, Option<DeviceId>)>,
    mark: u32,
}

impl Visits {
    /// The lines that LOG rules at the head of every chain would print.
    pub(super) fn of(world: &World, node: NetnsId, events: &[TraceEvent]) -> Vec<String> {
        let devices = world.netns(node).devices.iter();
        let names = devices.map(|device| (device.id, device.name.to_string())).collect();
        let mut visits = Self { node, names, packets: BTreeMap::new(), lines: Vec::new() };
        for event in events {
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
