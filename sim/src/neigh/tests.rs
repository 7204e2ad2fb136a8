use super::*;
use crate::context::{Context, Effect};
use crate::device::{DeviceKind, Devices, Scope};
use crate::draws::Draws;
use crate::fib::{Fib, Route, Routing, TableId, add_address};
use crate::ids::{DeviceId, NetnsId};
use crate::packet::{Origin, PacketType, QueuedPacket};
use crate::sysctl::Sysctls;
use crate::time::{Duration, Instant};
use crate::trace::{Event, Level, PacketEvent, Terminal, Trace};
use crate::wire::arp::{Arp, ArpOperation};
use crate::wire::build::{self, Ipv4Fields};
use crate::wire::{EtherType, Ethernet, Ipv4, MacAddr};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

mod answers;
mod states;

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);

/// A netns whose frames are logged.
struct Bench {
    devices: Devices,
    fib: Fib,
    sysctls: Sysctls,
    table: NeighTable,
    draws: Draws,
    trace: Trace,
    now: Instant,
    timers: BTreeSet<(Instant, DeviceId, IpAddr)>,
    log: String,
    told: usize,
}

impl Bench {
    /// `eth0` with 10.0.0.1/24 and its secondary 10.0.0.3, `eth1` with 10.1.0.1/24, and a default route via 10.0.0.254.
    fn new() -> Self {
        let mut devices = Devices::default();
        let mut fib = Fib::default();
        let veth = DeviceKind::Veth { peer_netns: NetnsId(1), peer: DeviceId(2) };
        devices.add("lo", MacAddr::ZERO, u16::MAX, DeviceKind::Loopback);
        let eth0 = devices.add("eth0", OWN, 1500, veth.clone());
        let eth1 = devices.add("eth1", MacAddr([2, 0, 0, 0, 1, 1]), 1500, veth);
        let dummy = devices.add("kube-ipvs0", MacAddr([2, 0, 0, 0, 2, 1]), 1500, DeviceKind::Dummy);
        for (device, net, scope) in [
            (DeviceId::LOOPBACK, "127.0.0.1/8", Scope::Host),
            (eth0, "10.0.0.1/24", Scope::Universe),
            (eth0, "10.0.0.3/24", Scope::Universe),
            (eth1, "10.1.0.1/24", Scope::Universe),
            (dummy, "10.96.0.10/32", Scope::Universe),
        ] {
            add_address(&mut devices, &mut fib, device, net.parse().unwrap(), scope).unwrap();
        }
        let default = Route::via("0.0.0.0/0".parse().unwrap(), addr("10.0.0.254"));
        fib.add(&devices, TableId::Main, default).unwrap();
        Self {
            devices,
            fib,
            sysctls: Sysctls::default(),
            table: NeighTable::default(),
            draws: Draws::seeded(0),
            trace: Trace::new(Level::Everything),
            now: Instant::START,
            timers: BTreeSet::new(),
            log: String::new(),
            told: 0,
        }
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.sysctls.set(&self.devices, name, value).unwrap();
        self
    }

    /// Runs `act` now, and logs its effects and the packets it ended.
    fn act<T>(&mut self, act: impl FnOnce(&mut NeighTable, &mut Context<'_>, Routing<'_>) -> T) -> T {
        let mut effects = Vec::new();
        let mut cx = Context {
            now: self.now,
            netns: NetnsId(0),
            draws: &mut self.draws,
            trace: &mut self.trace,
            effects: &mut effects,
        };
        let routing = Routing { devices: &self.devices, fib: &self.fib, sysctls: &self.sysctls };
        let result = act(&mut self.table, &mut cx, routing);
        for effect in effects {
            match effect {
                Effect::Transmit { device, packet: QueuedPacket(packet) } => {
                    self.tell(&format!("{} {}", self.devices.get(device).name, show(&packet.bytes)));
                    self.trace.end(self.now, NetnsId(1), packet, Terminal::Consumed);
                }
                Effect::NeighTimer { at, device, addr } => {
                    self.timers.insert((at, device, addr));
                }
                Effect::IcmpUnreachable { original, code } => {
                    let ip = Ipv4::new_unchecked(&original.bytes[..]);
                    self.tell(&format!("icmp unreachable {code} to {} about {}", ip.src(), ip.dst()));
                }
                Effect::End { packet: QueuedPacket(packet), terminal } => {
                    self.trace.end(self.now, NetnsId(0), packet, terminal);
                }
                Effect::Link { .. }
                | Effect::DefragTimer { .. }
                | Effect::TcpReset { .. }
                | Effect::SocketTimer { .. } => {
                    unreachable!("not from here")
                }
            }
        }
        self.tell_drops();
        result
    }

    fn tell_drops(&mut self) {
        let new: Vec<_> = self.trace.events()[self.told..].to_vec();
        self.told += new.len();
        for event in new {
            if let Event::Packet(PacketEvent::Ended {
                terminal: Terminal::Dropped(reason) | Terminal::Rejected(reason),
                ..
            }) = event.event
            {
                self.tell(&format!("dropped {reason:?}"));
            }
        }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.log, "{:>10} {line}", self.now.to_string()).unwrap();
    }

    /// Sends a packet through `eth0`; if the neighbour is resolved, it is transmitted.
    fn send(&mut self, src: &str, next_hop: &str) {
        self.send_bytes(src, next_hop, 0);
    }

    fn send_bytes(&mut self, src: &str, next_hop: &str, payload: usize) {
        let fields = Ipv4Fields {
            src: addr(src),
            dst: addr(next_hop),
            protocol: 17,
            ttl: 64,
            tos: 0,
            ident: 0,
            dont_fragment: true,
        };
        let bytes = build::ipv4(fields, &vec![0; payload]);
        self.act(|table, cx, routing| {
            let packet = cx.create(Origin::Injected, None, None, bytes);
            if let Resolution::Resolved(mac, packet) =
                table.resolve(cx, routing, ETH0, addr(next_hop).into(), packet)
            {
                queue::transmit(cx, routing.devices, ETH0, mac, packet);
            }
        });
    }

    fn receive(&mut self, arp: Arp, packet_type: PacketType) {
        self.receive_on(ETH0, arp, packet_type);
    }

    fn receive_on(&mut self, device: DeviceId, arp: Arp, packet_type: PacketType) {
        self.tell(&format!("{} < {}", self.devices.get(device).name, show_arp(&arp)));
        self.act(|table, cx, routing| {
            let bytes = build::arp_frame(MacAddr::BROADCAST, arp.sender_mac, &arp);
            let mut packet = cx.create(Origin::Injected, None, None, bytes);
            packet.meta.packet_type = packet_type;
            table.arp_rcv(cx, routing, device, packet);
        });
    }

    /// Advances the time, with timers.
    fn run_until(&mut self, millis: u64) {
        let end = Instant::from_nanos(millis * 1_000_000);
        while let Some((at, device, addr)) = self.timers.first().copied().filter(|(at, ..)| *at <= end) {
            self.timers.pop_first();
            self.now = at;
            self.act(|table, cx, routing| {
                if table.on_timer(cx, routing, device, addr) {
                    while table.neigh_invalidate(cx, device, addr) {}
                }
            });
        }
        self.now = end;
    }

    fn tell_state(&mut self, of: &str) {
        let state = match self.table.get(self.now, &self.sysctls, ETH0, addr(of).into()) {
            Some((mac, state)) => format!("{of} lladdr {mac} {state:?}"),
            None => format!("{of} unknown"),
        };
        self.tell(&state);
    }

    /// The log, after checking that every packet has ended or is queued.
    fn finish(self) -> String {
        let waiting: usize = self.table.entries.values().map(|entry| entry.queue.len()).sum();
        assert_eq!(self.trace.ledger().in_flight(), waiting as u64, "packets were lost:\n{}", self.log);
        self.log
    }
}

const ETH0: DeviceId = DeviceId(2);

fn addr(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn who_has(target: &str, sender: &str) -> Arp {
    Arp {
        operation: ArpOperation::Request,
        sender_mac: PEER,
        sender_ip: addr(sender),
        target_mac: MacAddr::ZERO,
        target_ip: addr(target),
    }
}

fn is_at(sender: &str, mac: MacAddr) -> Arp {
    Arp {
        operation: ArpOperation::Reply,
        sender_mac: mac,
        sender_ip: addr(sender),
        target_mac: OWN,
        target_ip: addr("10.0.0.1"),
    }
}

fn show(frame: &[u8]) -> String {
    let ethernet = Ethernet::new_checked(frame).unwrap();
    let what = match ethernet.ethertype() {
        EtherType::Arp => show_arp(&Arp::parse(&frame[14..]).unwrap()),
        EtherType::Ipv4 => {
            let ip = Ipv4::new_unchecked(&frame[14..]);
            format!("ip {} > {}", ip.src(), ip.dst())
        }
        EtherType::Ipv6 | EtherType::Other(_) => unreachable!("not from here"),
    };
    format!("> {} {what}", ethernet.dst())
}

fn show_arp(arp: &Arp) -> String {
    match arp.operation {
        ArpOperation::Request => format!("arp who-has {} tell {}", arp.target_ip, arp.sender_ip),
        ArpOperation::Reply => {
            format!("arp {} is-at {} (to {})", arp.sender_ip, arp.sender_mac, arp.target_ip)
        }
    }
}
