//! The whole stack: a node with two Pods and a Service, and an external client. For any frames, nothing panics, every
//! packet ends exactly once, and the same frames give the same events.
//!
//! The input is a list of records: one byte with sender, options and pause, one byte with a length, and a frame of that
//! length.

use sim::fib::Route;
use sim::ids::{DeviceId, NetnsId, PacketId};
use sim::link::Link;
use sim::socket::Server;
use sim::time::Duration;
use sim::trace::{Event, Level, PacketEvent};
use sim::wire::{ETHERNET_HEADER_LEN, Ipv4, MacAddr, checksum, protocol};
use sim::world::{RunLimit, VethEnd, World, WorldOptions};
use sim::xtables::RestoreOptions;
use std::collections::BTreeMap;

/// Maximum number of frames per input.
const FRAMES_MAX: usize = 40;

/// Maximum number of packets that one frame causes: retransmissions, bridge floods, errors, fragments.
const PACKETS_PER_FRAME: u64 = 400;

/// Bits of a record's first byte. The rest, shifted by [`PAUSE_SHIFT`], is the pause before it.
const SENDER: u8 = 0b11;
/// The bytes are an IPv4 packet, and get the sender's Ethernet header.
const IS_PACKET: u8 = 1 << 2;
/// Lengths and checksums are corrected.
const IS_REPAIRED: u8 = 1 << 3;
const PAUSE_SHIFT: u8 = 4;

const RULES: &str = "\
*raw
-A PREROUTING -p udp -m udp --dport 9 -j CT --notrack
COMMIT
*mangle
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j MARK --set-xmark 0x1/0x1
COMMIT
*filter
:LIMITED - [0:0]
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -p tcp -m tcp --dport 81 -j REJECT --reject-with tcp-reset
-A FORWARD -p udp -m udp --dport 81 -j REJECT
-A FORWARD -p icmp -j LIMITED
-A INPUT -p udp -m udp --dport 82 -j REJECT --reject-with icmp-host-prohibited
-A LIMITED -m limit --limit 2/sec -j RETURN
-A LIMITED -m recent --name pings --rcheck --seconds 10 --hitcount 3 -j DROP
-A LIMITED -m recent --name pings --set
COMMIT
*nat
:SERVICES - [0:0]
:ENDPOINT-A - [0:0]
:ENDPOINT-B - [0:0]
-A PREROUTING -j SERVICES
-A OUTPUT -j SERVICES
-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE --random-fully
-A SERVICES -d 10.96.0.10/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.244.1.3:53
-A SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x4000/0x4000
-A SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -m statistic --mode random --probability 0.5 -j ENDPOINT-A
-A SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j ENDPOINT-B
-A SERVICES -p tcp -m addrtype --dst-type LOCAL -m tcp --dport 30080 -j ENDPOINT-A
-A ENDPOINT-A -p tcp -j DNAT --to-destination 10.244.1.2:8080
-A ENDPOINT-B -p tcp -j DNAT --to-destination 10.244.1.3:8080
COMMIT
";

/// A sender: its netns, its device, its address, and that of its gateway.
struct Sender {
    netns: NetnsId,
    device: DeviceId,
    mac: MacAddr,
    gateway: MacAddr,
}

/// Records as described above.
pub(crate) fn run(bytes: &[u8]) {
    let (world, frames) = play(bytes);
    let ledger = world.trace().ledger();
    assert_eq!(ledger.in_flight(), 0, "long after the last frame, no packet is in flight");
    assert!(
        ledger.created <= (frames + 1) * PACKETS_PER_FRAME,
        "{} packets of {frames} frames",
        ledger.created
    );
    let mut has_ended: BTreeMap<PacketId, bool> = BTreeMap::new();
    for event in world.trace().events() {
        let (Event::Packet(life), Some(packet)) = (&event.event, event.packet) else { continue };
        let before = match life {
            PacketEvent::Created { .. } => has_ended.insert(packet, false).is_none(),
            PacketEvent::Ended { .. } => has_ended.insert(packet, true) == Some(false),
        };
        assert!(before, "{packet:?} begins once, and then ends once: {life:?}");
    }
    assert!(has_ended.values().all(|has_ended| *has_ended), "every packet ends");
    assert_eq!(has_ended.len() as u64, ledger.created, "every packet is in the events");
    let (again, _) = play(bytes);
    assert_eq!(again.trace().hash(), world.trace().hash(), "the same frames give the same events");
}

/// Sends the frames, and waits until everything has timed out.
fn play(bytes: &[u8]) -> (World, u64) {
    let (mut world, senders) = cluster();
    let mut rest = bytes;
    let mut frames = 0;
    while let [how, len, after @ ..] = rest {
        let (payload, after) = after.split_at(after.len().min(usize::from(*len)));
        rest = after;
        if frames == FRAMES_MAX {
            break;
        }
        frames += 1;
        let pause = how >> PAUSE_SHIFT;
        if pause > 0 {
            let until = world.now() + Duration::from_millis(1 << pause);
            world.run_until(until);
        }
        let sender = &senders[usize::from(how & SENDER)];
        world.send_frame(sender.netns, sender.device, frame(*how, sender, payload), 0);
    }
    let until = world.now() + Duration::from_secs(1_000_000);
    assert_ne!(world.run_until(until), RunLimit::Events, "no frames cause endless traffic");
    (world, frames as u64)
}

fn frame(how: u8, sender: &Sender, payload: &[u8]) -> Vec<u8> {
    if how & IS_PACKET == 0 {
        let mut frame = payload.to_vec();
        frame.resize(frame.len().max(ETHERNET_HEADER_LEN), 0);
        return frame;
    }
    let mut frame = [&sender.gateway.0[..], &sender.mac.0[..], &[0x08, 0x00], payload].concat();
    if how & IS_REPAIRED != 0 {
        repair(&mut frame[ETHERNET_HEADER_LEN..]);
    }
    frame
}

/// Corrects version, lengths and checksums of an IPv4 packet, as far as present.
fn repair(packet: &mut [u8]) {
    let Ok(len) = u16::try_from(packet.len()) else { return };
    if len < 20 {
        return;
    }
    let words = (packet[0] & 0x0f).clamp(5, 15).min(packet.len() as u8 / 4);
    packet[0] = 0x40 | words;
    let mut ip = Ipv4::new_unchecked(&mut *packet);
    let (ident, src, dst, number) = (ip.ident(), ip.src(), ip.dst(), ip.protocol());
    ip.finish(len, ident, src);
    let l4 = &mut packet[usize::from(words) * 4..];
    let field = match number {
        protocol::TCP => 16..18,
        protocol::UDP => 6..8,
        protocol::ICMP => 2..4,
        _ => return,
    };
    if l4.len() < field.end {
        return;
    }
    l4[field.clone()].fill(0);
    let l4_len = u16::try_from(l4.len()).expect("shorter than the packet");
    let mut sum = checksum::sum(l4);
    match number {
        protocol::UDP => {
            l4[4..6].copy_from_slice(&l4_len.to_be_bytes());
            sum = checksum::sum(l4) + checksum::pseudo_header(src, dst, number, l4_len);
        }
        protocol::TCP => sum += checksum::pseudo_header(src, dst, number, l4_len),
        _ => {}
    }
    l4[field].copy_from_slice(&checksum::finish(sum).to_be_bytes());
}

/// The network: a client on the node's LAN, a node, and two Pods on its bridge.
fn cluster() -> (World, [Sender; 4]) {
    let mut world = World::new(WorldOptions { seed: 0, level: Level::Everything });
    let [client, node, pod_a, pod_b] = ["client", "node", "pod-a", "pod-b"].map(|name| world.add_netns(name));
    let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
    let end = |netns, name: &'static str, last| VethEnd { netns, name, mac: mac(last) };
    let (client_eth0, node_eth0) = world
        .add_veth(end(client, "eth0", 1), end(node, "eth0", 2), Link::default())
        .expect("names are free");
    world.add_address(client, client_eth0, "192.168.0.100/24".parse().expect("a CIDR")).expect("it is new");
    world.add_address(node, node_eth0, "192.168.0.11/24".parse().expect("a CIDR")).expect("it is new");
    let bridge = world.add_bridge(node, "cni0", mac(3)).expect("the name is free");
    world.add_address(node, bridge, "10.244.1.1/24".parse().expect("a CIDR")).expect("it is new");
    let default = "0.0.0.0/0".parse().expect("a CIDR");
    let via_node = Route::via(default, "192.168.0.11".parse().expect("an address"));
    world.add_route(client, via_node).expect("the gateway is reachable");
    let mut pod = |netns, port_name, last: u8| {
        let (eth0, port) = world
            .add_veth(end(netns, "eth0", last), end(node, port_name, last + 16), Link::default())
            .expect("names are free");
        world.set_master(node, port, Some(bridge));
        world.set_hairpin(node, port, true);
        let addr = format!("10.244.1.{}/24", last - 2).parse().expect("a CIDR");
        world.add_address(netns, eth0, addr).expect("it is new");
        let via_bridge = Route::via(default, "10.244.1.1".parse().expect("an address"));
        world.add_route(netns, via_bridge).expect("the gateway is reachable");
        let server = Server::Identify { name: port_name.into() };
        world.tcp_listen(netns, None, 8080, server).expect("the port is free");
        // It does not reply: two servers that reply to each other would never stop.
        world.udp_bind(netns, None, 53, Server::Discard).expect("the port is free");
        Sender { netns, device: eth0, mac: mac(last), gateway: mac(3) }
    };
    let pods = [pod(pod_a, "veth-a", 4), pod(pod_b, "veth-b", 5)];
    for (name, value) in [("net.ipv4.ip_forward", "1"), ("net.ipv4.conf.all.route_localnet", "1")] {
        world.set_sysctl(node, name, value).expect("a sysctl of every netns");
    }
    let options = RestoreOptions { noflush: false, counters: false };
    if let Err(error) = world.iptables_restore(node, "rules", RULES, options) {
        panic!("{error}");
    }
    let outside = Sender { netns: client, device: client_eth0, mac: mac(1), gateway: mac(2) };
    let itself = Sender { netns: node, device: node_eth0, mac: mac(2), gateway: mac(1) };
    let [a, b] = pods;
    (world, [outside, a, b, itself])
}
