//! `behaviour/arp`: which requests for a virtual address are answered, and which address requests name as their sender.

use crate::recording::{number, rows_where, text};
use serde_json::Value;
use sim::context::{Context, Effect};
use sim::device::{DeviceKind, Devices, Scope};
use sim::draws::Draws;
use sim::fib::{Fib, Route, Routing, TableId, add_address};
use sim::ids::{DeviceId, NetnsId};
use sim::neigh::NeighTable;
use sim::packet::{Origin, PacketType};
use sim::sysctl::Sysctls;
use sim::time::Instant;
use sim::trace::{Level, Trace};
use sim::wire::arp::{Arp, ArpOperation};
use sim::wire::build::{self, Ipv4Fields};
use sim::wire::{ETHERNET_HEADER_LEN, MacAddr, protocol};
use std::net::Ipv4Addr;

const VIP: &str = "10.96.0.1/32";
/// The device on which requests arrive and leave.
const C0: &str = "c0";
/// Its address in the recording.
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const ASKING: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

#[test]
fn requests_for_a_virtual_address_are_answered_as_recorded() {
    for row in &rows_where("behaviour/arp.jsonl", |row| !row["arp_ignore"].is_null()) {
        let node = Node::new(row, "arp_ignore");
        for (question, replies) in row.as_object().unwrap() {
            let Some((target, sender)) =
                question.strip_prefix("ask ").and_then(|rest| rest.split_once(" as "))
            else {
                continue;
            };
            let here = node.ask(sender.parse().unwrap(), target.parse().unwrap());
            assert_eq!(Value::from(here), *replies, "{question} in {row}");
        }
    }
}

#[test]
fn requests_for_packets_from_a_virtual_address_name_the_recorded_sender() {
    for row in &rows_where("behaviour/arp.jsonl", |row| !row["arp_announce"].is_null()) {
        let mut words = text(row, "packet").split_whitespace();
        let (src, dst) = (words.next().unwrap(), words.nth(1).unwrap());
        let here = Node::new(row, "arp_announce").resolve(src.parse().unwrap(), dst.parse().unwrap());
        assert_eq!(Value::from(here), row["arp seen on c0"], "{row}");
    }
}

/// The recorded node, as far as ARP is concerned.
struct Node {
    devices: Devices,
    fib: Fib,
    sysctls: Sysctls,
}

impl Node {
    /// With the virtual address where the row says it is, and a setting of all devices.
    fn new(row: &Value, setting: &str) -> Self {
        let (mut devices, mut fib, mut sysctls) = (Devices::default(), Fib::default(), Sysctls::default());
        let veth = || DeviceKind::Veth { peer_netns: NetnsId(1), peer: DeviceId(2) };
        devices.add("lo", MacAddr::ZERO, u16::MAX, DeviceKind::Loopback);
        devices.add(C0, MAC, 1500, veth());
        devices.add("s0", MacAddr([2, 0, 0, 0, 1, 1]), 1500, veth());
        let dummy = devices.add("kube-ipvs0", MacAddr([2, 0, 0, 0, 2, 1]), 1500, DeviceKind::Dummy);
        let mut add = |device: &str, net: &str, scope| {
            let id = devices.by_name(device).unwrap().id;
            add_address(&mut devices, &mut fib, id, net.parse().unwrap(), scope).unwrap();
        };
        add("lo", "127.0.0.1/8", Scope::Host);
        add(C0, "192.168.0.1/24", Scope::Universe);
        add("s0", "169.254.0.1/24", Scope::Universe);
        let vip_on = text(row, "vip on");
        match vip_on {
            "dummy down" | "dummy up" => add("kube-ipvs0", VIP, Scope::Universe),
            "lo" => add("lo", VIP, Scope::Universe),
            "local route only" => {
                let route = Route::local(VIP.parse().unwrap(), DeviceId::LOOPBACK);
                fib.add(&devices, TableId::Local, route).unwrap();
            }
            other => panic!("unknown place {other}"),
        }
        devices.get_mut(dummy).is_up = vip_on == "dummy up";
        for (net, gateway) in [("10.244.0.0/16", "169.254.0.2"), ("172.16.0.0/12", "192.168.0.2")] {
            let route = Route::via(net.parse().unwrap(), gateway.parse().unwrap());
            fib.add(&devices, TableId::Main, route).unwrap();
        }
        let value = number(row, setting).to_string();
        sysctls.set(&devices, &format!("net.ipv4.conf.all.{setting}"), &value).unwrap();
        Self { devices, fib, sysctls }
    }

    /// The ARP packets that leave after a request.
    fn ask(&self, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Vec<String> {
        let operation = ArpOperation::Request;
        let arp = Arp { operation, sender_mac: ASKING, sender_ip, target_mac: MacAddr::ZERO, target_ip };
        self.effects(|node, table, cx| {
            let frame = build::arp_frame(MacAddr::BROADCAST, ASKING, &arp);
            let mut packet = cx.create(Origin::Injected, None, None, frame);
            packet.meta.packet_type = PacketType::Broadcast;
            table.arp_rcv(cx, node.routing(), node.c0(), packet);
        })
    }

    /// The ARP packets that leave if a packet goes to a neighbour that is not known.
    fn resolve(&self, src: Ipv4Addr, dst: Ipv4Addr) -> Vec<String> {
        self.effects(|node, table, cx| {
            let fields = Ipv4Fields {
                src,
                dst,
                protocol: protocol::UDP,
                ttl: 64,
                tos: 0,
                ident: 1,
                dont_fragment: false,
            };
            let frame = build::ipv4(fields, &build::udp((src, 53), (dst, 4000), b"answer"));
            let packet = cx.create(Origin::Injected, None, None, frame);
            drop(table.resolve(cx, node.routing(), node.c0(), dst.into(), packet));
        })
    }

    fn routing(&self) -> Routing<'_> {
        Routing { devices: &self.devices, fib: &self.fib, sysctls: &self.sysctls }
    }

    fn c0(&self) -> DeviceId {
        self.devices.by_name(C0).unwrap().id
    }

    /// The ARP packets that an action sends, as the recording writes them.
    fn effects(&self, act: impl FnOnce(&Self, &mut NeighTable, &mut Context<'_>)) -> Vec<String> {
        let (mut draws, mut trace, mut effects) = (Draws::seeded(0), Trace::new(Level::Nothing), Vec::new());
        let mut cx = Context {
            now: Instant::START,
            netns: NetnsId(0),
            draws: &mut draws,
            trace: &mut trace,
            effects: &mut effects,
        };
        act(self, &mut NeighTable::default(), &mut cx);
        effects.iter().filter_map(|effect| self.sent(effect)).collect()
    }

    fn sent(&self, effect: &Effect) -> Option<String> {
        let Effect::Transmit { device, packet } = effect else { return None };
        assert_eq!(*device, self.c0());
        let arp = Arp::parse(&packet.0.bytes[ETHERNET_HEADER_LEN..])?;
        let operation = match arp.operation {
            ArpOperation::Request => "request",
            ArpOperation::Reply => "reply",
        };
        Some(format!("{operation} sender {} {} target {}", arp.sender_ip, arp.sender_mac, arp.target_ip))
    }
}
