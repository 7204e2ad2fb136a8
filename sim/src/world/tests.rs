//! Small end-to-end networks. Rule text is tested in `tests/rules.rs`, whole clusters by scenarios.

mod cluster;
mod destinations;
mod devices;
mod ipvs;
mod laws;
mod neighbours;
mod path_mtu;
mod raw;
mod redirects;

use super::{ConnectSpec, RunLimit, VethEnd, World, WorldOptions};
use crate::drop_reason::DropReason;
use crate::fib::Route;
use crate::ids::{FlowId, NetnsId};
use crate::ipset::IpsetOptions;
use crate::link::Link;
use crate::socket::{ClientProtocol, Responder, Server};
use crate::time::Duration;
use crate::trace::{DeviceEvent, Event, Kept, Level, Outcome, PacketEvent, Refusal, Terminal, Unreachable};
use crate::wire::{ETHERNET_HEADER_LEN, Ipv4, MacAddr, Tcp, TcpFlags};
use crate::xtables::{RestoreOptions, RuleErrorKind};
use std::net::Ipv4Addr;

/// client 10.0.1.2 - eth0/10.0.1.1 router eth1/10.0.2.1 - 10.0.2.2 server
struct Line {
    world: World,
    client: NetnsId,
    router: NetnsId,
    server: NetnsId,
}

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

fn addr(text: &str) -> Ipv4Addr {
    text.parse().expect("an IPv4 address")
}

fn line() -> Line {
    let mut world = World::new(WorldOptions { seed: 0, level: Level::Everything });
    let [client, router, server] = ["client", "router", "server"].map(|name| world.add_netns(name));
    let mut join = |a: NetnsId, b_name: &str, subnet: u8, host: NetnsId| {
        let host_end = VethEnd { netns: host, name: "eth0", mac: mac(subnet * 2) };
        let router_end = VethEnd { netns: a, name: b_name, mac: mac(subnet * 2 + 1) };
        let (host_dev, router_dev) =
            world.add_veth(host_end, router_end, Link::default()).expect("fresh names");
        world.add_address(host, host_dev, format!("10.0.{subnet}.2/24").parse().unwrap()).unwrap();
        world.add_address(a, router_dev, format!("10.0.{subnet}.1/24").parse().unwrap()).unwrap();
        let default = Route::via("0.0.0.0/0".parse().unwrap(), addr(&format!("10.0.{subnet}.1")));
        world.add_route(host, default).unwrap();
    };
    join(router, "eth0", 1, client);
    join(router, "eth1", 2, server);
    world.set_sysctl(router, "net.ipv4.ip_forward", "1").unwrap();
    Line { world, client, router, server }
}

fn spec(protocol: ClientProtocol, dst: &str, dst_port: u16) -> ConnectSpec {
    ConnectSpec {
        protocol,
        src_port: None,
        dst: addr(dst).into(),
        dst_port,
        request: b"hello\n".to_vec(),
        deadline: Duration::from_secs(10),
        is_kept_open: false,
        may_broadcast: false,
    }
}

fn run(world: &mut World, from: NetnsId, spec: ConnectSpec) -> (FlowId, Outcome, Option<String>) {
    let flow = world.connect(from, spec).expect("a source port is free");
    let until = world.now() + Duration::from_secs(300);
    world.run_until_finished(&[flow], until);
    let result = world.flow_result(flow).expect("the deadline has passed");
    let reply = result.reply.clone().map(|bytes| String::from_utf8(bytes).expect("text"));
    (flow, result.outcome, reply)
}

/// The drops and rejections of a flow's packets, in order.
fn losses(world: &World, flow: FlowId) -> Vec<(String, DropReason)> {
    world
        .trace()
        .events()
        .iter()
        .filter_map(|event| {
            let Event::Packet(PacketEvent::Ended { flow: of, terminal }) = &event.event else { return None };
            match terminal {
                Terminal::Dropped(reason) | Terminal::Rejected(reason) if *of == Some(flow) => {
                    Some((world.netns(event.netns).name.to_string(), *reason))
                }
                Terminal::Dropped(_)
                | Terminal::Rejected(_)
                | Terminal::Delivered { .. }
                | Terminal::Consumed
                | Terminal::Reassembled { .. }
                | Terminal::Fragmented => None,
            }
        })
        .collect()
}

fn quiesce(world: &mut World) {
    let until = world.now() + Duration::from_secs(100_000);
    world.run_until(until);
    assert_eq!(world.trace().ledger().in_flight(), 0, "an idle world has no packet in flight");
}

#[test]
fn a_request_crosses_a_router_and_the_server_sees_its_client() {
    let Line { mut world, client, server, .. } = line();
    world.tcp_listen(server, None, 80, Server::Identify { name: "web".into() }).unwrap();
    world.udp_bind(server, None, 53, Server::Identify { name: "dns".into() }).unwrap();
    for (protocol, port, name) in [(ClientProtocol::Tcp, 80, "web"), (ClientProtocol::Udp, 53, "dns")] {
        let (flow, outcome, reply) = run(&mut world, client, spec(protocol, "10.0.2.2", port));
        assert_eq!(outcome, Outcome::Connected);
        let local = world.flow_result(flow).unwrap().local;
        assert_eq!(reply, Some(format!("{name} {}:{} 10.0.2.2:{port}\n", local.0, local.1)));
    }
    let (_, outcome, _) = run(&mut world, client, spec(ClientProtocol::IcmpEcho, "10.0.2.2", 0));
    assert_eq!(outcome, Outcome::Connected);
    quiesce(&mut world);
}

/// MSS and window scale of every SYN that leaves a device of `netns`, and of every SYN/ACK that arrives there.
fn announced(world: &World, netns: NetnsId) -> Vec<(bool, u16, u8)> {
    let syn = |frame: &[u8]| {
        let tcp = Tcp::new_checked(&frame[ETHERNET_HEADER_LEN + 20..])?;
        match (tcp.flags().contains(TcpFlags::SYN), tcp.options()) {
            (true, [2, 4, a, b, 4, 2, 8, 10, .., 1, 3, 3, scale]) => {
                Some((tcp.flags().contains(TcpFlags::ACK), u16::from_be_bytes([*a, *b]), *scale))
            }
            _ => None,
        }
    };
    let events = world.trace().events().iter().filter(|event| event.netns == netns);
    let announced = events.filter_map(|event| {
        let Event::Device(event) = &event.event else { return None };
        let (frame, is_received) = match event {
            DeviceEvent::Transmitted { frame, .. } => (frame, false),
            DeviceEvent::Received { frame, .. } => (frame, true),
        };
        syn(frame).filter(|(is_answer, ..)| *is_answer == is_received)
    });
    announced.collect()
}

/// A client that connects to itself announces the MSS of the loopback, even if a rule then redirects the SYN elsewhere;
/// the scenario `nodeport-on-localhost` shows the same for a kernel.
#[test]
fn what_a_syn_announces_is_what_its_route_takes() {
    let own = "*nat\n-A OUTPUT -p tcp --dport 81 -j DNAT --to-destination 10.0.2.2:80\nCOMMIT\n";
    let cases = [
        ("10.0.2.2", 80, 1_500, "", [(false, 1_460, 7), (true, 1_360, 7)]),
        ("10.0.2.2", 80, 100, "", [(false, 256, 7), (true, 1_360, 7)]),
        ("10.0.1.2", 81, 1_500, "", [(false, 65_495, 7), (true, 1_360, 7)]),
        ("127.0.0.1", 82, 1_500, "", [(false, 65_495, 7), (true, 65_495, 7)]),
        ("10.0.2.2", 80, 1_500, "4096 131072 33554432", [(false, 1_460, 10), (true, 1_360, 7)]),
    ];
    for (dst, port, mtu, rmem, expected) in cases {
        let Line { mut world, client, server, .. } = line();
        let server_name = || Server::Identify { name: "web".into() };
        world.tcp_listen(server, None, 80, server_name()).unwrap();
        world.tcp_listen(client, None, 82, server_name()).unwrap();
        let eth0 = |world: &World, netns| world.netns(netns).devices.by_name("eth0").unwrap().id;
        let (client_eth0, server_eth0) = (eth0(&world, client), eth0(&world, server));
        world.set_mtu(client, client_eth0, mtu).expect("it is large enough");
        world.set_mtu(server, server_eth0, 1_400).expect("it is large enough");
        if !rmem.is_empty() {
            world.set_sysctl(client, "net.ipv4.tcp_rmem", rmem).unwrap();
        }
        world.iptables_restore(client, "rules", own, RestoreOptions::default()).unwrap();
        let (_, outcome, _) = run(&mut world, client, spec(ClientProtocol::Tcp, dst, port));
        assert_eq!(outcome, Outcome::Connected, "{dst}:{port}");
        assert_eq!(announced(&world, client), expected, "{dst}:{port}, MTU {mtu}, tcp_rmem {rmem:?}");
    }
}

#[test]
fn a_router_lets_through_what_its_sets_have_while_they_have_it() {
    let Line { mut world, client, router, server } = line();
    world.tcp_listen(server, None, 80, Server::Identify { name: "web".into() }).unwrap();
    let sets = "create open hash:ip,port timeout 60\nadd open 10.0.2.2,tcp:80\n";
    world.ipset_restore(router, "sets", sets, IpsetOptions::default()).unwrap();
    let rules = "*filter\n:FORWARD DROP\n-A FORWARD -m set --match-set open dst,dst -j ACCEPT\n\
                 -A FORWARD -m set --match-set open src,src -j ACCEPT\nCOMMIT\n";
    world.iptables_restore(router, "rules", rules, RestoreOptions::default()).unwrap();
    let refused = world.ipset_restore(router, "sets", "destroy open\n", IpsetOptions::default()).unwrap_err();
    assert_eq!(refused.kind, RuleErrorKind::SetInUse);
    let (_, outcome, _) = run(&mut world, client, spec(ClientProtocol::Tcp, "10.0.2.2", 80));
    assert_eq!(outcome, Outcome::Connected);
    let until = world.now() + Duration::from_secs(30);
    world.run_until(until);
    let saved = world.ipset_save(router);
    assert!(saved.contains("add open 10.0.2.2,tcp:80 timeout 2"), "{saved}");
    let until = world.now() + Duration::from_secs(31);
    world.run_until(until);
    let (_, outcome, _) = run(&mut world, client, spec(ClientProtocol::Tcp, "10.0.2.2", 80));
    assert_eq!(outcome, Outcome::Timeout);
}

#[test]
fn who_refuses_and_how() {
    let cases = [
        (ClientProtocol::Tcp, "10.0.2.2", Outcome::Refused(Refusal::TcpReset)),
        (ClientProtocol::Udp, "10.0.2.2", Outcome::Refused(Refusal::IcmpPortUnreachable)),
        // The router has no route.
        (ClientProtocol::Tcp, "10.9.9.9", Outcome::Unreachable(Unreachable::Network)),
        // A UDP socket ignores transient errors (icmp_err_convert).
        (ClientProtocol::Udp, "10.9.9.9", Outcome::Timeout),
        // The router cannot resolve the neighbour.
        (ClientProtocol::Tcp, "10.0.2.77", Outcome::Unreachable(Unreachable::Host)),
        // The client cannot resolve the neighbour.
        (ClientProtocol::Tcp, "10.0.1.77", Outcome::Unreachable(Unreachable::Host)),
        (ClientProtocol::Tcp, "127.0.0.1", Outcome::Refused(Refusal::TcpReset)),
        (ClientProtocol::Tcp, "10.0.1.2", Outcome::Refused(Refusal::TcpReset)),
    ];
    for (protocol, dst, expected) in cases {
        let Line { mut world, client, .. } = line();
        let (_, outcome, _) = run(&mut world, client, spec(protocol, dst, 81));
        assert_eq!(outcome, expected, "{protocol:?} to {dst}");
        quiesce(&mut world);
    }
}

#[test]
fn where_packets_end() {
    type Change = fn(&mut Line);
    let cases: [(&str, Change, &str, DropReason); 3] = [
        (
            "a router that does not forward is silent",
            |line| line.world.set_sysctl(line.router, "net.ipv4.ip_forward", "0").unwrap(),
            "router",
            DropReason::ForwardingOff,
        ),
        (
            "strict reverse path filter",
            |line| {
                // The route back to the client uses another device.
                line.world
                    .add_route(line.router, Route::via("10.0.1.2/32".parse().unwrap(), addr("10.0.2.2")))
                    .unwrap();
                line.world.set_sysctl(line.router, "net.ipv4.conf.all.rp_filter", "1").unwrap();
            },
            "router",
            DropReason::IpRpFilter,
        ),
        (
            "a sender that uses the receiver's own address",
            |line| {
                let eth1 = line.world.device(line.router, "eth1").unwrap();
                line.world.add_address(line.router, eth1, "10.0.1.2/32".parse().unwrap()).unwrap();
            },
            "router",
            DropReason::IpLocalSource,
        ),
    ];
    for (name, change, place, reason) in cases {
        let mut line = line();
        // Resolves neighbours first: ARP is routed as well, and would fail first.
        run(&mut line.world, line.client, spec(ClientProtocol::IcmpEcho, "10.0.2.2", 0));
        change(&mut line);
        let (flow, outcome, _) = run(&mut line.world, line.client, spec(ClientProtocol::Udp, "10.0.2.2", 53));
        assert_eq!(outcome, Outcome::Timeout, "{name}");
        assert_eq!(losses(&line.world, flow), [(place.to_owned(), reason)], "{name}");
    }
}

#[test]
fn a_ttl_that_runs_out_is_reported_by_the_router() {
    let Line { mut world, client, .. } = line();
    world.set_sysctl(client, "net.ipv4.ip_default_ttl", "1").unwrap();
    let (flow, outcome, _) = run(&mut world, client, spec(ClientProtocol::Tcp, "10.0.2.2", 80));
    assert_eq!(outcome, Outcome::Unreachable(Unreachable::Host));
    assert_eq!(losses(&world, flow)[0], ("router".to_owned(), DropReason::TtlExpired));
    assert_eq!(world.flow_result(flow).unwrap().icmp_errors[0], (11, 0));
}

#[test]
fn a_lost_segment_is_sent_again() {
    let Line { mut world, client, server, router } = line();
    world.tcp_listen(server, None, 80, Server::Identify { name: "web".into() }).unwrap();
    let eth1 = world.device(router, "eth1").unwrap();
    world.link_mut(router, eth1).loss = crate::link::Probability::per_million(300_000).unwrap();
    let (_, outcome, _) = run(
        &mut world,
        client,
        ConnectSpec { deadline: Duration::from_secs(120), ..spec(ClientProtocol::Tcp, "10.0.2.2", 80) },
    );
    assert_eq!(outcome, Outcome::Connected);
    quiesce(&mut world);
}

#[test]
fn a_fork_copies_only_what_it_changes() {
    let Line { mut world, client, server, .. } = line();
    world.tcp_listen(server, None, 80, Server::Identify { name: "web".into() }).unwrap();
    for index in 0..100 {
        world.add_netns(&format!("bystander-{index}"));
    }
    let mut fork = world.fork();
    let all = world.all_netns().count();
    assert_eq!(world.shared_netns(&fork), all);
    let flow = fork.connect(client, spec(ClientProtocol::Tcp, "10.0.2.2", 80)).unwrap();
    fork.run_until_finished(&[flow], fork.now() + Duration::from_secs(20));
    assert_eq!(world.shared_netns(&fork), all - 3, "client, router and server");
    assert_eq!(fork.take_flow_result(flow).map(|result| result.outcome), Some(Outcome::Connected));
    assert_eq!(fork.take_flow_result(flow), None);
}

#[test]
fn a_wait_that_takes_too_many_events_stops() {
    let Line { mut world, client, server, .. } = line();
    world.tcp_listen(server, None, 80, Server::Identify { name: "web".into() }).unwrap();
    let flow = world.connect(client, spec(ClientProtocol::Tcp, "10.0.2.2", 80)).unwrap();
    let until = world.now() + Duration::from_secs(20);
    world.set_events_max(5);
    assert_eq!(world.run_until_finished(&[flow], until), RunLimit::Events);
    assert!(world.now() < until);
    world.set_events_max(1_000);
    assert_eq!(world.run_until_finished(&[flow], until), RunLimit::Done, "the rest continues");
}

#[test]
fn the_hash_is_over_all_events_whatever_is_kept() {
    let hash_and_kept = |kept| {
        let Line { mut world, client, .. } = line();
        world.set_kept(kept);
        // Without a listener, the SYN is rejected.
        let flow = world.connect(client, spec(ClientProtocol::Tcp, "10.0.2.2", 80)).unwrap();
        world.run_until_finished(&[flow], world.now() + Duration::from_secs(20));
        (world.trace().hash(), world.take_events().len())
    };
    let ((all, all_kept), (drops, drops_kept)) = (hash_and_kept(Kept::All), hash_and_kept(Kept::Drops));
    assert_eq!(all, drops);
    assert!(all_kept > 40, "{all_kept}");
    assert_eq!(drops_kept, 1);
}

#[test]
fn a_fork_goes_its_own_way() {
    let Line { mut world, client, server, .. } = line();
    world.tcp_listen(server, None, 80, Server::Identify { name: "web".into() }).unwrap();
    let flow = world.connect(client, spec(ClientProtocol::Tcp, "10.0.2.2", 80)).unwrap();
    world.run_until(world.now() + Duration::from_micros(30));
    assert!(world.trace().ledger().in_flight() > 0, "forked with a packet in flight");
    let mut fork = world.clone();
    let until = world.now() + Duration::from_secs(20);
    world.run_until(until);
    assert!(fork.flow_result(flow).is_none());
    fork.run_until(until);
    assert_eq!(fork.flow_result(flow), world.flow_result(flow));
    assert_eq!(fork.trace().hash(), world.trace().hash());
}

#[test]
fn a_server_answers_as_its_function_says() {
    let Line { mut world, client, server, .. } = line();
    let answer = |request: &[u8], identity: &str| {
        (request == b"hello\n").then(|| format!("good day from {identity}").into_bytes())
    };
    for name in ["polite", "silent"] {
        let responder = match name {
            "polite" => Responder::new(answer),
            _ => Responder::new(|_, _| None),
        };
        let port = if name == "polite" { 53 } else { 54 };
        let server_of = Server::Respond { name: name.into(), responder };
        world.udp_bind(server, None, port, server_of).unwrap();
        let (flow, outcome, reply) = run(&mut world, client, spec(ClientProtocol::Udp, "10.0.2.2", port));
        let local = world.flow_result(flow).unwrap().local;
        match name {
            "polite" => {
                let line = format!("good day from polite {}:{} 10.0.2.2:53\n", local.0, local.1);
                assert_eq!((outcome, reply), (Outcome::Connected, Some(line)));
            }
            _ => assert_eq!(outcome, Outcome::Timeout),
        }
    }
}
