//! ICMP redirects: which ones a host follows, and for how long. A kernel (Linux 6.18) gave the expected results.

use super::cluster::{Cluster, cluster};
use super::{addr, run, spec};
use crate::arrivals::{Arrival, Seen};
use crate::fib::{OutputKey, REDIRECT_LIFETIME, Route, route_output};
use crate::release::Release;
use crate::socket::{ClientProtocol, Server};
use crate::time::Duration;
use crate::trace::{DeviceEvent, Event, Level};
use crate::wire::build::{self, Ipv4Fields};
use crate::wire::icmpv4::icmp_type;
use crate::wire::{ETHERNET_HEADER_LEN, Ipv4, protocol};
use crate::world::{VethEnd, World};
use std::net::Ipv4Addr;

const CLIENT: &str = "192.168.0.100";
const NODE_1: &str = "192.168.0.11";
/// The gateway of the client.
const NODE_2: &str = "192.168.0.12";
/// A Pod on node-1.
const POD: &str = "10.244.1.9";
/// The port of the client's UDP socket.
const PORT: u16 = 5555;

/// The cluster, with a default route of the client. It has resolved the addresses of both nodes.
fn lan() -> Cluster {
    let mut lan = cluster(0);
    lan.world.set_level(Level::Nothing);
    default_route(&mut lan, NODE_2);
    lan.world.udp_bind(lan.client, None, PORT, Server::Identify { name: "client".into() }).unwrap();
    for node in [NODE_1, NODE_2] {
        run(&mut lan.world, lan.client, spec(ClientProtocol::IcmpEcho, node, 0));
    }
    lan
}

fn default_route(lan: &mut Cluster, gateway: &str) {
    let route = Route::via("0.0.0.0/0".parse().unwrap(), addr(gateway));
    lan.world.add_route(lan.client, route).unwrap();
}

/// A redirect, with what it quotes.
#[derive(Clone, Copy)]
struct Redirect<'a> {
    from: &'a str,
    to: &'a str,
    code: u8,
    /// Protocol, and the first four bytes behind the quoted IP header.
    quote: (u8, [u8; 4]),
}

/// The redirect that is followed unless a setting forbids it.
const FOLLOWED: Redirect<'_> =
    Redirect { from: NODE_2, to: NODE_1, code: 1, quote: (protocol::UDP, ports(PORT)) };

const fn ports(src: u16) -> [u8; 4] {
    let [a, b] = src.to_be_bytes();
    [a, b, 0x1e, 0x61]
}

fn send(lan: &mut Cluster, redirect: Redirect<'_>) {
    let fields = |src: &str, dst: &str, protocol| Ipv4Fields {
        src: addr(src),
        dst: addr(dst),
        protocol,
        ttl: 64,
        tos: 0,
        ident: 0,
        dont_fragment: true,
    };
    let (quoted_protocol, start) = redirect.quote;
    let l4 = [start, [0, 8, 0, 0]].concat();
    let quoted = build::ipv4(fields(CLIENT, POD, quoted_protocol), &l4).split_off(ETHERNET_HEADER_LEN);
    let gateway = addr(redirect.to).octets();
    let message = build::icmpv4(5, redirect.code, gateway, &quoted);
    let packet = build::ipv4(fields(redirect.from, CLIENT, protocol::ICMP), &message);
    let flow = lan.world.raw_flow();
    lan.world.send_raw(lan.node_2, flow, &packet[ETHERNET_HEADER_LEN..]).unwrap();
    lan.world.run_until(lan.world.now() + Duration::from_millis(50));
}

/// The gateway that the client uses.
fn gateway(world: &World, lan: &Cluster) -> String {
    let ns = world.netns(lan.client);
    let route = route_output(&ns.fib, &ns.devices, &ns.sysctls, &OutputKey::to(addr(POD))).unwrap();
    route.gateway.map_or_else(String::new, |gateway| gateway.to_string())
}

fn check(name: &str, settings: &[(&str, &str)], redirect: Redirect<'_>, expected: &str) {
    let mut lan = lan();
    for (leaf, value) in settings {
        lan.world.set_sysctl(lan.client, &format!("net.ipv4.{leaf}"), value).unwrap();
    }
    send(&mut lan, redirect);
    assert_eq!(gateway(&lan.world, &lan), expected, "{name}");
}

#[test]
fn redirects_are_followed_if_they_come_from_the_gateway_and_name_another_host() {
    for code in 0..16 {
        // The upper bits of the code are ignored.
        let expected = if code & 7 < 4 { NODE_1 } else { NODE_2 };
        check(&format!("code {code}"), &[], Redirect { code, ..FOLLOWED }, expected);
    }
    check("from another router", &[], Redirect { from: NODE_1, to: "192.168.0.77", ..FOLLOWED }, NODE_2);
    for to in [NODE_2, CLIENT, "224.0.0.5", "255.255.255.255", "192.168.0.255", "0.0.0.0"] {
        check(to, &[], Redirect { to, ..FOLLOWED }, NODE_2);
    }
    let stranger = Redirect { quote: (protocol::UDP, ports(PORT + 1)), ..FOLLOWED };
    check("no such socket", &[], stranger, NODE_2);
    let mut older = lan();
    older.world.set_release(Release::new(6, 12));
    send(&mut older, stranger);
    assert_eq!(gateway(&older.world, &older), NODE_1, "no such socket, on an older release");
    let echo_reply = Redirect { quote: (protocol::ICMP, [0, 0, 0, 0]), ..FOLLOWED };
    check("about the kernel's own echo reply", &[], echo_reply, NODE_1);
    check("about another protocol", &[], Redirect { quote: (47, [0; 4]), ..FOLLOWED }, NODE_2);
}

#[test]
fn accept_redirects_needs_both_settings_on_routers_and_one_on_hosts() {
    for forward in ["0", "1"] {
        for all in ["0", "1"] {
            for own in ["0", "1"] {
                let settings = [
                    ("ip_forward", forward),
                    ("conf.all.accept_redirects", all),
                    ("conf.eth0.accept_redirects", own),
                ];
                let is_accepted =
                    if forward == "1" { [all, own] == ["1"; 2] } else { [all, own] != ["0"; 2] };
                let expected = if is_accepted { NODE_1 } else { NODE_2 };
                check(&format!("{settings:?}"), &settings, FOLLOWED, expected);
            }
        }
    }
    check("a router ignores them by default", &[("ip_forward", "1")], FOLLOWED, NODE_2);
}

#[test]
fn without_shared_media_the_gateway_is_in_the_same_subnet_and_known() {
    let off = [("conf.all.shared_media", "0"), ("conf.eth0.shared_media", "0")];
    let insecure = [("conf.all.secure_redirects", "0"), ("conf.eth0.secure_redirects", "0")];
    let both: Vec<_> = off.into_iter().chain(insecure).collect();
    check("secure", &off, FOLLOWED, NODE_2);
    check("insecure", &both, FOLLOWED, NODE_1);
    check("secure, with shared media", &insecure[..1], FOLLOWED, NODE_1);
    let mut lan = lan();
    for (leaf, value) in off {
        lan.world.set_sysctl(lan.client, &format!("net.ipv4.{leaf}"), value).unwrap();
    }
    let other = Route::via("10.99.0.0/24".parse().unwrap(), addr(NODE_1));
    lan.world.add_route(lan.client, other).unwrap();
    send(&mut lan, FOLLOWED);
    assert_eq!(gateway(&lan.world, &lan), NODE_1, "the gateway of a route");
}

#[test]
fn a_gateway_whose_address_is_unknown_is_resolved_first() {
    let mut lan = lan();
    let late: Ipv4Addr = addr("192.168.0.50");
    let redirect = Redirect { to: "192.168.0.50", ..FOLLOWED };
    send(&mut lan, redirect);
    assert_eq!(gateway(&lan.world, &lan), NODE_2, "nobody has this address");
    lan.world.run_until(lan.world.now() + Duration::from_secs(10));
    let host = lan.world.add_netns("late");
    let switch = lan.world.all_netns().find(|netns| &*netns.name == "lan").unwrap().id;
    let host_end = VethEnd { netns: host, name: "eth0", mac: super::mac(200) };
    let port_end = VethEnd { netns: switch, name: "port200", mac: super::mac(201) };
    let (eth0, port) = lan.world.add_veth(host_end, port_end, crate::link::Link::default()).unwrap();
    let bridge = lan.world.device(switch, "br0").unwrap();
    lan.world.set_master(switch, port, Some(bridge));
    lan.world.add_address(host, eth0, format!("{late}/24").parse().unwrap()).unwrap();
    send(&mut lan, redirect);
    assert_eq!(gateway(&lan.world, &lan), NODE_2, "this redirect only asks for the address");
    send(&mut lan, redirect);
    assert_eq!(gateway(&lan.world, &lan), "192.168.0.50");
}

#[test]
fn a_learned_gateway_may_be_replaced_and_expires() {
    let mut lan = lan();
    send(&mut lan, FOLLOWED);
    send(&mut lan, Redirect { from: NODE_2, to: "192.168.0.77", ..FOLLOWED });
    assert_eq!(gateway(&lan.world, &lan), NODE_1, "no longer from the gateway");
    send(&mut lan, Redirect { from: NODE_1, to: NODE_2, ..FOLLOWED });
    assert_eq!(gateway(&lan.world, &lan), NODE_2, "the new gateway may redirect back");
    let learned_at = lan.world.now();
    send(&mut lan, FOLLOWED);
    let margin = Duration::from_secs(1);
    for (age, expected) in [(REDIRECT_LIFETIME - margin, NODE_1), (REDIRECT_LIFETIME + margin, NODE_2)] {
        lan.world.run_until(learned_at + age);
        run(&mut lan.world, lan.client, spec(ClientProtocol::IcmpEcho, NODE_1, 0));
        assert_eq!(gateway(&lan.world, &lan), expected, "after {age:?}");
    }
}

#[test]
fn a_learned_gateway_belongs_to_the_next_hop_of_a_route() {
    let mut lan = lan();
    send(&mut lan, FOLLOWED);
    let net = |text: &str| text.parse().unwrap();
    let remove = |lan: &mut Cluster, dst: &str| {
        let fib = &mut lan.world.netns_mut(lan.client).fib;
        fib.remove(crate::fib::TableId::Main, net(dst), crate::fib::Selector::default()).unwrap();
    };
    lan.world.add_route(lan.client, Route::via(net("10.244.0.0/16"), addr(NODE_2))).unwrap();
    assert_eq!(gateway(&lan.world, &lan), NODE_1, "the same next hop");
    remove(&mut lan, "0.0.0.0/0");
    default_route(&mut lan, NODE_2);
    assert_eq!(gateway(&lan.world, &lan), NODE_1, "one of two routes is left");
    remove(&mut lan, "10.244.0.0/16");
    lan.world.add_route(lan.client, Route::via(net("10.244.0.0/16"), addr(NODE_2)).with_metric(5)).unwrap();
    assert_eq!(gateway(&lan.world, &lan), NODE_2, "another metric is another next hop");
    remove(&mut lan, "10.244.0.0/16");
    assert_eq!(gateway(&lan.world, &lan), NODE_1);
    remove(&mut lan, "0.0.0.0/0");
    default_route(&mut lan, NODE_2);
    assert_eq!(gateway(&lan.world, &lan), NODE_2, "lost with the last route");
}

/// A node that sees one direction of a connection drops everything after the SYN. The redirect about the SYN is dropped by
/// its NAT, that about the loss probe is followed, unless a system call is in progress.
#[test]
fn a_connection_changes_to_the_better_gateway() {
    for (call_duration, is_followed) in [(Duration::ZERO, true), (Duration::from_millis(500), false)] {
        let mut lan = lan();
        lan.world.set_call_duration(call_duration);
        lan.world
            .iptables_command(
                lan.node_2,
                "own",
                1,
                "iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP",
            )
            .unwrap();
        let to_pod = crate::world::ConnectSpec {
            deadline: Duration::from_millis(300),
            ..spec(ClientProtocol::Tcp, "10.244.1.2", 8080)
        };
        let (_, outcome, _) = run(&mut lan.world, lan.client, to_pod.clone());
        assert_eq!(outcome, crate::trace::Outcome::Timeout);
        let (_, outcome, _) = run(&mut lan.world, lan.client, to_pod);
        assert_eq!(outcome == crate::trace::Outcome::Connected, is_followed, "{call_duration:?}");
    }
}

/// The times in milliseconds at which datagrams to the Pod reach node-2, on the kernel that is followed as well, and the number
/// of redirects that it sends. Its NAT drops the one about the first datagram, but that counts.
#[test]
fn the_pause_between_redirects_is_measured_by_the_clock_of_a_kernel_that_is_followed() {
    for (sent_at, kernel_received_at, expected) in [
        ([0, 1, 2], None, 0),
        ([0, 30, 60], None, 1),
        ([0, 1, 2], Some([0, 30, 60]), 1),
        ([0, 1, 2], Some([90, 95, 99]), 0),
        ([0, 45, 60], Some([10, 45, 60]), 1),
        ([0, 45, 50], Some([10, 45, 50]), 0),
        // Another packet's arrival.
        ([0, 1, 2], Some([0, 30, 160]), 0),
    ] {
        let mut lan = lan();
        lan.world.set_sysctl(lan.client, "net.ipv4.conf.all.accept_redirects", "0").unwrap();
        lan.world.set_sysctl(lan.client, "net.ipv4.conf.eth0.accept_redirects", "0").unwrap();
        lan.world.set_level(Level::Everything);
        let begun = lan.world.now();
        let at = |millis| begun + Duration::from_millis(millis);
        let packets = [1, 2, 3].map(datagram);
        for (packet, at) in packets.iter().zip(kernel_received_at.into_iter().flatten().map(at)) {
            lan.world.draws_mut().add_arrivals([Arrival {
                netns: lan.node_2,
                at,
                what: Seen::Packet(packet),
            }]);
        }
        for (packet, at) in packets.iter().zip(sent_at.map(at)) {
            lan.world.run_until(at);
            let flow = lan.world.raw_flow();
            lan.world.send_raw(lan.client, flow, packet).unwrap();
        }
        lan.world.run_until(at(200));
        let found = redirects_received(&lan);
        assert_eq!(found, expected, "sent at {sent_at:?}, received at {kernel_received_at:?}");
    }
}

/// The router redirects the client to a gateway that does not reply, and reports that three seconds later, which delays the
/// next redirect. NAT drops the first redirect. The time of that report is when the kernel that is followed sent its last request, plus a second.
#[test]
fn a_failed_neighbour_counts_from_the_last_request_of_the_kernel_that_is_followed() {
    let gone = addr("192.168.0.77");
    for (second_at, last_request_at, expected) in [
        (3030, None, 0),
        (3060, None, 1),
        (3030, Some(1970), 1),
        (3060, Some(2040), 0),
        // Another resolution's request.
        (3060, Some(2140), 1),
    ] {
        let mut lan = lan();
        for setting in ["net.ipv4.conf.all.accept_redirects", "net.ipv4.conf.eth0.accept_redirects"] {
            lan.world.set_sysctl(lan.client, setting, "0").unwrap();
        }
        lan.world.add_route(lan.node_2, Route::via("10.244.1.9/32".parse().unwrap(), gone)).unwrap();
        lan.world.set_level(Level::Everything);
        let begun = lan.world.now();
        let at = |millis| begun + Duration::from_millis(millis);
        let request = |millis| Arrival { netns: lan.node_2, at: at(millis), what: Seen::Request(gone) };
        let requests = last_request_at.map(request);
        for (millis, packet) in [(0, datagram(1)), (second_at, datagram(2))] {
            lan.world.run_until(at(millis));
            let flow = lan.world.raw_flow();
            lan.world.send_raw(lan.client, flow, &packet).unwrap();
            lan.world.draws_mut().add_arrivals(requests);
        }
        lan.world.run_until(at(3_500));
        assert_eq!(
            redirects_received(&lan),
            expected,
            "sent at {second_at} ms, requested at {last_request_at:?}"
        );
    }
}

/// A datagram of the client to the Pod, with payload of this length.
fn datagram(len: usize) -> Vec<u8> {
    let (src, dst) = (addr(CLIENT), addr(POD));
    let fields =
        Ipv4Fields { src, dst, protocol: protocol::UDP, ttl: 64, tos: 0, ident: 1, dont_fragment: true };
    let udp = build::udp((src, PORT), (dst, PORT), &vec![0; len]);
    build::ipv4(fields, &udp).split_off(ETHERNET_HEADER_LEN)
}

/// The number of redirects that the client received.
fn redirects_received(lan: &Cluster) -> usize {
    let is_redirect = |frame: &[u8]| {
        let ip = Ipv4::new_checked(&frame[ETHERNET_HEADER_LEN..]);
        ip.is_some_and(|ip| ip.protocol() == protocol::ICMP && ip.payload()[0] == icmp_type::REDIRECT)
    };
    let events = lan.world.trace().events().iter().filter(|event| event.netns == lan.client);
    events
        .filter(|event| matches!(&event.event, Event::Device(DeviceEvent::Received { frame, .. }) if is_redirect(frame)))
        .count()
}
