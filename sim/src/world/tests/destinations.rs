//! Destinations without another host: broadcast and multicast addresses, and the sender itself.

use super::{ConnectSpec, Line, addr, line, run, spec};
use crate::socket::ClientProtocol::{self, IcmpEcho, Tcp, Udp};
use crate::socket::Server;
use crate::trace::{DeviceEvent, Event, Outcome, PacketEvent, Terminal, TraceEvent, Unreachable};
use crate::wire::{ETHERNET_HEADER_LEN, Ipv4};
use crate::world::World;

/// Packets created since the trace had `start` events.
fn made(world: &World, start: usize) -> usize {
    let events = world.trace().events()[start..].iter();
    events.filter(|event| matches!(event.event, Event::Packet(PacketEvent::Created { .. }))).count()
}

#[test]
fn connections_to_many_hosts_are_refused_at_once() {
    const NETWORK: Outcome = Outcome::Unreachable(Unreachable::Network);
    const PROHIBITED: Outcome = Outcome::Unreachable(Unreachable::Prohibited);
    let cases: [(ClientProtocol, &str, Outcome); 8] = [
        (Tcp, "10.0.1.255", NETWORK),
        (Tcp, "255.255.255.255", NETWORK),
        (Tcp, "127.255.255.255", NETWORK),
        (Tcp, "239.1.2.3", NETWORK),
        (Udp, "10.0.1.255", PROHIBITED),
        (Udp, "255.255.255.255", PROHIBITED),
        (IcmpEcho, "10.0.1.255", PROHIBITED),
        (IcmpEcho, "255.255.255.255", PROHIBITED),
    ];
    let Line { mut world, client, .. } = line();
    for (protocol, dst, expected) in cases {
        let (start, began) = (world.trace().events().len(), world.now());
        let (_, outcome, _) = run(&mut world, client, spec(protocol, dst, 80));
        assert_eq!((outcome, made(&world, start)), (expected, 0), "{protocol:?} to {dst}");
        assert_eq!(world.now(), began, "{protocol:?} to {dst}");
    }
}

#[test]
fn a_socket_that_asked_for_it_sends_to_all() {
    let Line { mut world, client, .. } = line();
    let start = world.trace().events().len();
    let spec = ConnectSpec { may_broadcast: true, ..spec(Udp, "10.0.1.255", 80) };
    assert_eq!(run(&mut world, client, spec.clone()).1, Outcome::Timeout);
    assert_eq!(made(&world, start), 2, "the datagram, and a copy for its own netns");
    // Its own server receives the copy. The answer is not from the address to which the client is connected.
    let received = |world: &World| {
        let is_delivered = |event: &&TraceEvent| match event.event {
            Event::Packet(PacketEvent::Ended { terminal: Terminal::Delivered { .. }, .. }) => {
                event.netns == client
            }
            Event::Packet(_)
            | Event::Device(_)
            | Event::Bridge(_)
            | Event::Hook(_)
            | Event::Rule(_)
            | Event::Conntrack(_)
            | Event::Nat(_)
            | Event::Ipvs(_)
            | Event::Route(_)
            | Event::Neigh(_)
            | Event::Socket(_) => false,
        };
        world.trace().events().iter().filter(is_delivered).count()
    };
    assert_eq!(received(&world), 0);
    world.udp_bind(client, None, 80, Server::Echo).unwrap();
    assert_eq!(run(&mut world, client, spec).1, Outcome::Timeout);
    assert_eq!(received(&world), 1);
}

#[test]
fn whoever_connects_to_the_unspecified_address_meets_himself() {
    let Line { mut world, client, .. } = line();
    world.tcp_listen(client, None, 80, Server::Echo).unwrap();
    world.udp_bind(client, None, 80, Server::Echo).unwrap();
    for protocol in [Tcp, Udp, IcmpEcho] {
        let (flow, outcome, reply) = run(&mut world, client, spec(protocol, "0.0.0.0", 80));
        assert_eq!((outcome, reply.as_deref()), (Outcome::Connected, Some("hello\n")), "{protocol:?}");
        let from = world.flow_result(flow).and_then(|result| result.reply_from).map(|(from, _)| from);
        assert_eq!(from, Some(addr("127.0.0.1").into()), "{protocol:?}");
    }
}

#[test]
fn what_a_socket_sends_to_a_group_stays_in_the_subnet() {
    let Line { mut world, client, .. } = line();
    for (protocol, dst, ttl) in [(Udp, "239.1.2.3", 1), (IcmpEcho, "239.1.2.3", 1), (Udp, "10.0.2.2", 64)] {
        let start = world.trace().events().len();
        run(&mut world, client, spec(protocol, dst, 80));
        let sent = world.trace().events()[start..].iter().find_map(|event| {
            let Event::Device(DeviceEvent::Transmitted { frame, .. }) = &event.event else { return None };
            let ip = Ipv4::new_checked(&frame[ETHERNET_HEADER_LEN..])?;
            (ip.dst() == addr(dst)).then(|| ip.ttl())
        });
        assert_eq!(sent, Some(ttl), "{protocol:?} to {dst}");
    }
}

/// The error that an application gets if policy routing leads nowhere, and how a mark that OUTPUT sets counts.
#[test]
fn policy_routing_of_the_sender() {
    const MARK: &str = "iptables -t mangle -A OUTPUT -d 10.0.2.2 -j MARK --set-mark 1";
    const BLACKHOLE: &str = "blackhole default table 100";
    const PROHIBIT: &str = "prohibit default table 100";
    const LOCAL: &str = "local 203.0.113.0/24 dev lo table 100";
    let network = Outcome::Unreachable(Unreachable::Network);
    let prohibited = Outcome::Unreachable(Unreachable::Prohibited);
    let (marked, of_lo) = ("fwmark 1 lookup 100", "iif lo lookup 100");
    for (route, rule, protocol, dst, expected) in [
        (BLACKHOLE, marked, Udp, "10.0.2.2", network),
        (PROHIBIT, marked, Udp, "10.0.2.2", prohibited),
        // TCP tries again until the deadline.
        (BLACKHOLE, marked, Tcp, "10.0.2.2", Outcome::Timeout),
        (BLACKHOLE, of_lo, Tcp, "10.0.2.2", network),
        // The source that the route implies is local in this table, but not in table local.
        (LOCAL, of_lo, Tcp, "203.0.113.1", network),
        (LOCAL, of_lo, Udp, "203.0.113.1", network),
        // The first lookup has no source yet, the second has.
        (PROHIBIT, "from 10.0.1.2 lookup 100", Tcp, "10.0.2.2", prohibited),
    ] {
        let Line { mut world, client, .. } = line();
        world.ip_route_add(client, "x", 1, route).expect("a route");
        world.ip_rule_add(client, "x", 1, rule).expect("a rule");
        world.iptables_command(client, "x", 1, MARK).expect("a rule");
        let (_, outcome, _) = run(&mut world, client, spec(protocol, dst, 53));
        assert_eq!(outcome, expected, "{rule}, {route}: {protocol:?} to {dst}");
    }
}

#[test]
fn an_ipv6_destination_is_refused() {
    let Line { mut world, client, .. } = line();
    for protocol in [Tcp, Udp, IcmpEcho] {
        let spec = ConnectSpec { dst: "fd00::1".parse().unwrap(), ..spec(protocol, "10.0.2.2", 80) };
        let error = world.connect(client, spec).unwrap_err();
        assert_eq!(error.to_string(), "the destination is an IPv6 address, and IPv6 is not executed");
    }
}
