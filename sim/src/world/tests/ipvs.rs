//! Virtual services on the packet path. Recorded rows of a kernel are replayed in `conformance/tests/ipvs_recordings`.

use super::*;
use crate::ipvs::ListOrder;
use crate::netns::TapPlace;
use crate::tuple::Direction;
use crate::wire::{build, protocol};

/// The VIPs of TCP and UDP services, on a device that is down.
const VIPS: &str = "link add kube-ipvs0 type dummy
address add 10.96.0.1/32 dev kube-ipvs0
address add 10.96.0.2/32 dev kube-ipvs0
";

/// A line whose router balances 10.96.0.1:80 and 10.96.0.2:53 to `servers`, options of ipvsadm.
fn balanced(tcp: &[&str], udp: &[&str]) -> Line {
    let mut line = line();
    let Line { world, server, router, .. } = &mut line;
    world.tcp_listen(*server, None, 8080, Server::Identify { name: "web".into() }).unwrap();
    world.udp_bind(*server, None, 5353, Server::Identify { name: "dns".into() }).unwrap();
    world.ip_batch(*router, "ip.batch", VIPS).unwrap();
    let mut text = "-A -t 10.96.0.1:80 -s rr\n-A -u 10.96.0.2:53 -s rr\n".to_owned();
    for (service, servers) in [("-t 10.96.0.1:80", tcp), ("-u 10.96.0.2:53", udp)] {
        for one in servers {
            text += &format!("-a {service} -r {one}\n");
        }
    }
    line.world.ipvsadm_restore(line.router, "ipvs.rules", &text).unwrap();
    line
}

fn masqueraded() -> Line {
    balanced(&["10.0.2.2:8080 -m"], &["10.0.2.2:5353 -m"])
}

const MASQUERADE: &str = "*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n";

fn load(line: &mut Line, rules: &str) {
    line.world.iptables_restore(line.router, "rules", rules, RestoreOptions::default()).unwrap();
}

/// Outcome and answer of a connection to each service, from the client or from the router itself.
fn ask(line: &mut Line, from: NetnsId) -> [(Outcome, Option<String>); 2] {
    let mut ask = |protocol, dst, port| {
        let spec = ConnectSpec { src_port: Some(40_000), ..spec(protocol, dst, port) };
        let (_, outcome, reply) = run(&mut line.world, from, spec);
        (outcome, reply)
    };
    [ask(ClientProtocol::Tcp, "10.96.0.1", 80), ask(ClientProtocol::Udp, "10.96.0.2", 53)]
}

fn connected(seen: [&str; 2]) -> [(Outcome, Option<String>); 2] {
    let [web, dns] = seen;
    [
        (Outcome::Connected, Some(format!("web {web} 10.0.2.2:8080\n"))),
        (Outcome::Connected, Some(format!("dns {dns} 10.0.2.2:5353\n"))),
    ]
}

fn conntrack(line: &Line) -> Vec<String> {
    let ns = line.world.netns(line.router);
    let show = |tuple: &crate::tuple::Tuple| tuple.to_string();
    let entries = ns.conntrack.iter_sorted(line.world.now());
    entries
        .iter()
        .map(|entry| {
            format!("{} / {}", show(entry.tuple(Direction::Original)), show(entry.tuple(Direction::Reply)))
        })
        .collect()
}

#[test]
fn a_service_forwards_and_its_replies_come_from_it() {
    // Without conntrack, nothing masquerades: the packets are exempt.
    for (has_conntrack, rules, seen) in [
        (false, "", "10.0.1.2:40000"),
        (false, MASQUERADE, "10.0.1.2:40000"),
        (true, "", "10.0.1.2:40000"),
        (true, MASQUERADE, "10.0.2.1:40000"),
    ] {
        let mut line = masqueraded();
        load(&mut line, rules);
        let value = u32::from(has_conntrack).to_string();
        line.world.set_sysctl(line.router, "net.ipv4.vs.conntrack", &value).unwrap();
        let client = line.client;
        assert_eq!(ask(&mut line, client), connected([seen, seen]), "{has_conntrack} {rules:?}");
        let expected: &[&str] = match (has_conntrack, rules) {
            (true, MASQUERADE) => &[
                "10.0.1.2:40000 -> 10.96.0.1:80 / 10.0.2.2:8080 -> 10.0.2.1:40000",
                "10.0.1.2:40000 -> 10.96.0.2:53 / 10.0.2.2:5353 -> 10.0.2.1:40000",
            ],
            _ => &[],
        };
        assert_eq!(conntrack(&line), expected, "{has_conntrack} {rules:?}");
        quiesce(&mut line.world);
        assert!(conntrack(&line).is_empty());
        assert!(line.world.netns(line.router).ipvs.connections().is_empty());
    }
}

#[test]
fn the_listings_show_a_closed_and_an_idle_connection() {
    let mut line = masqueraded();
    let (router, client) = (line.router, line.client);
    ask(&mut line, client);
    let world = &mut line.world;
    insta::assert_snapshot!(format!(
        "{}\n{}\n{}",
        world.ipvsadm_save(router),
        world.ipvsadm_list(router, ListOrder::Sorted),
        world.ipvsadm_list_connections(router),
    ));
    // TIME_WAIT ends after 120 s, UDP after 300 s; nothing happens in the meantime.
    for (seconds, left) in [(119, 2), (2, 1), (180, 0)] {
        world.run_until(world.now() + Duration::from_secs(seconds));
        assert_eq!(world.netns(router).ipvs.connections().len(), left, "{seconds} s later");
    }
}

/// A conntrack entry would last for days, but ends with the connection.
#[test]
fn the_conntrack_entry_ends_with_the_connection() {
    let mut line = masqueraded();
    load(&mut line, MASQUERADE);
    line.world.set_sysctl(line.router, "net.ipv4.vs.conntrack", "1").unwrap();
    let spec = ConnectSpec { is_kept_open: true, ..spec(ClientProtocol::Tcp, "10.96.0.1", 80) };
    run(&mut line.world, line.client, spec);
    for (seconds, entries) in [(800, 1), (101, 0)] {
        line.world.run_until(line.world.now() + Duration::from_secs(seconds));
        assert_eq!(conntrack(&line).len(), entries, "{seconds} s later");
    }
}

#[test]
fn a_service_without_servers_refuses() {
    let mut line = balanced(&[], &["10.0.2.2:5353 -m -w 0"]);
    let (client, router) = (line.client, line.router);
    let port_unreachable = Outcome::Refused(Refusal::IcmpPortUnreachable);
    assert_eq!(ask(&mut line, client), [(port_unreachable, None), (port_unreachable, None)]);
    // A process of the node learns of it from the same error, or from sendto(2).
    let not_permitted = Outcome::Unreachable(Unreachable::Prohibited);
    assert_eq!(ask(&mut line, router), [(port_unreachable, None), (not_permitted, None)]);
    quiesce(&mut line.world);
}

/// The source of a process of the node is the VIP; without masquerading, the server answers to that.
#[test]
fn a_process_of_the_node_reaches_a_service() {
    for (rules, seen) in [("", ["10.96.0.1:40000", "10.96.0.2:40000"]), (MASQUERADE, ["10.0.2.1:40000"; 2])] {
        let mut line = masqueraded();
        load(&mut line, rules);
        line.world.set_sysctl(line.router, "net.ipv4.vs.conntrack", "1").unwrap();
        let router = line.router;
        assert_eq!(ask(&mut line, router), connected(seen), "{rules:?}");
        quiesce(&mut line.world);
    }
}

/// On its way to the server, a packet of the node passes OUTPUT again, where NAT routes it with the mark that rules have
/// set. An exempt packet has no entry that names the server, and keeps its route.
#[test]
fn the_mark_of_a_nodes_packet_decides_the_way_to_the_server() {
    const MARKED: &str = "*nat\n-A OUTPUT -j MARK --set-mark 0x4000\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n";
    for (has_conntrack, expected) in [("0", Outcome::Connected), ("1", Outcome::Timeout)] {
        let mut line = masqueraded();
        let router = line.router;
        load(&mut line, MARKED);
        line.world.set_sysctl(router, "net.ipv4.vs.conntrack", has_conntrack).unwrap();
        line.world.ip_rule_add(router, "rules", 1, "fwmark 0x4000/0x4000 lookup 100").unwrap();
        // No host has this address.
        line.world.ip_route_add(router, "routes", 1, "default via 10.0.1.9 table 100").unwrap();
        let (flow, outcome, _) = run(&mut line.world, router, spec(ClientProtocol::Udp, "10.96.0.2", 53));
        assert_eq!(outcome, expected, "{has_conntrack}");
        let is_lost = losses(&line.world, flow).iter().any(|(_, reason)| *reason == DropReason::NeighFailed);
        assert_eq!(is_lost, has_conntrack == "1");
        quiesce(&mut line.world);
    }
}

#[test]
fn the_node_itself_is_a_server() {
    for (server, is_reached_from_outside) in [("10.0.2.1:9090 -m", true), ("127.0.0.1:9090 -m", false)] {
        let mut line = balanced(&[server], &[]);
        let (router, client) = (line.router, line.client);
        line.world.tcp_listen(router, None, 9090, Server::Identify { name: "own".into() }).unwrap();
        let (_, outcome, reply) = run(&mut line.world, router, spec(ClientProtocol::Tcp, "10.96.0.1", 80));
        assert_eq!(outcome, Outcome::Connected, "{server}: {reply:?}");
        let (flow, outcome, _) = run(&mut line.world, client, spec(ClientProtocol::Tcp, "10.96.0.1", 80));
        let expected = if is_reached_from_outside { Outcome::Connected } else { Outcome::Timeout };
        assert_eq!(outcome, expected, "{server}");
        let lost = losses(&line.world, flow).into_iter().map(|(_, reason)| reason);
        assert!(is_reached_from_outside || lost.into_iter().all(|it| it == DropReason::IpvsLocalBoundary));
        quiesce(&mut line.world);
    }
}

/// A server that has the VIP answers itself. If the node is its router, the answer seems to come from the node's own address.
#[test]
fn direct_routing_keeps_the_virtual_address() {
    let mut line = balanced(&["10.0.2.2:80 -g"], &["10.0.2.2:53 -g"]);
    let (server, client) = (line.server, line.client);
    line.world.tcp_listen(server, None, 80, Server::Identify { name: "web".into() }).unwrap();
    line.world.udp_bind(server, None, 53, Server::Identify { name: "dns".into() }).unwrap();
    line.world.ip_batch(server, "ip.batch", VIPS).unwrap();
    let (flow, outcome, _) = run(&mut line.world, client, spec(ClientProtocol::Udp, "10.96.0.2", 53));
    assert_eq!(outcome, Outcome::Timeout);
    assert_eq!(losses(&line.world, flow), [("router".to_owned(), DropReason::IpLocalSource)]);
    line.world.set_sysctl(line.router, "net.ipv4.conf.all.accept_local", "1").unwrap();
    assert_eq!(
        ask(&mut line, client),
        [
            (Outcome::Connected, Some("web 10.0.1.2:40000 10.96.0.1:80\n".to_owned())),
            (Outcome::Connected, Some("dns 10.0.1.2:40000 10.96.0.2:53\n".to_owned())),
        ]
    );
    quiesce(&mut line.world);
}

#[test]
fn texts_are_refused_with_their_place() {
    let mut line = line();
    let router = line.router;
    let mut problems = String::new();
    for text in [
        "address add 10.96.0.1/32 dev kube-ipvs0",
        "link add kube-ipvs0 type dummy\nlink add kube-ipvs0 type dummy",
        "address add 10.96.0.1/33 dev kube-ipvs0",
        "address add 2001:db8::1/128 dev kube-ipvs0",
        "address add 10.96.0.1/32 dev kube-ipvs0\naddress add 10.96.0.1/32 dev kube-ipvs0",
        "address change 10.96.0.1/32 dev kube-ipvs0",
        "address del 10.96.0.9/32 dev kube-ipvs0",
        "link add cni0 type bridge",
        "link set kube-ipvs0 mtu 1400",
        "neigh add 10.0.0.1 dev eth0",
    ] {
        let error = line.world.ip_batch(router, "ip.batch", text).unwrap_err();
        problems += &format!("{error}\n");
    }
    let error =
        line.world.ipvsadm_restore(router, "ipvs.rules", "-A -t 10.96.0.1:80 -s rr\n-a -t x").unwrap_err();
    problems += &format!("{error}\n");
    for (name, value) in
        [("cache_bypass", "1"), ("drop_entry", "4"), ("sync_threshold", "5 50"), ("nothing", "1")]
    {
        let error = line.world.set_sysctl(router, &format!("net.ipv4.vs.{name}"), value).unwrap_err();
        problems += &format!("{error}\n");
    }
    insta::assert_snapshot!(problems);
}

/// The server, which has no tunnel device, refuses the outer packet; the node is not the sender that the client asked.
#[test]
fn a_tunnel_wraps_the_packet() {
    let mut line = balanced(&[], &["10.0.2.2:53 -i"]);
    let (flow, outcome, _) = run(&mut line.world, line.client, spec(ClientProtocol::Udp, "10.96.0.2", 53));
    assert_eq!(outcome, Outcome::Timeout);
    assert_eq!(losses(&line.world, flow), [("server".to_owned(), DropReason::ProtocolUnknown)]);
    let server = line.server;
    let events = line.world.trace().events().iter().filter(|event| event.netns == server);
    let mut tunnelled = events.filter_map(|event| {
        let Event::Device(DeviceEvent::Received { frame, .. }) = &event.event else { return None };
        Ipv4::new_checked(&frame[ETHERNET_HEADER_LEN..]).filter(|outer| outer.protocol() == protocol::IPIP)
    });
    let outer = tunnelled.next().map(|outer| {
        let inner = Ipv4::new_unchecked(outer.payload());
        let inner = (inner.src(), inner.dst(), inner.ttl(), inner.is_checksum_valid());
        ((outer.src(), outer.dst(), outer.ttl(), outer.dont_fragment()), inner)
    });
    let (whole, inner) = outer.expect("the server received it");
    assert_eq!(whole, (addr("10.0.2.1"), addr("10.0.2.2"), 63, true));
    assert_eq!(inner, (addr("10.0.1.2"), addr("10.96.0.2"), 63, true));
    quiesce(&mut line.world);
}

/// Rules see the connection on the way to the server, and that IPVS handled a reply.
#[test]
fn rules_match_the_service_of_a_packet() {
    let mut line = masqueraded();
    let conditions = [
        // OUTPUT, to the server; mangle POSTROUTING of the reply.
        ("--ipvs", [true, true]),
        ("! --ipvs", [false, false]),
        ("--vproto 6 --vaddr 10.96.0.1 --vport 80", [true, false]),
        ("--vaddr 10.96.0.0/24 --vmethod MASQ", [true, false]),
        ("! --vaddr 10.96.0.1", [false, false]),
        ("! --vport 81 --vdir ORIGINAL", [true, false]),
        ("--vdir REPLY", [false, false]),
        ("--vproto 17", [false, false]),
        ("--vmethod GATE", [false, false]),
        ("--vportctl 80", [false, false]),
        ("! --vportctl 80", [true, false]),
    ];
    let rules = |chain: &str| -> String {
        conditions.iter().map(|(condition, _)| format!("-A {chain} -m ipvs {condition}\n")).collect()
    };
    let (output, postrouting) = (rules("OUTPUT"), rules("POSTROUTING -s 10.96.0.1"));
    load(
        &mut line,
        &format!(
            "*mangle\n{postrouting}COMMIT\n*filter\n{output}-A OUTPUT -m conntrack --ctstate NEW\nCOMMIT\n"
        ),
    );
    line.world.set_sysctl(line.router, "net.ipv4.vs.conntrack", "1").unwrap();
    let client = line.client;
    run(&mut line.world, client, spec(ClientProtocol::Tcp, "10.96.0.1", 80));
    let saved = line.world.netns(line.router).xtables.save(crate::hook::Family::Ipv4, true);
    for (condition, expected) in conditions {
        let has_matched = |chain: &str| {
            let rule = format!("-A {chain} -m ipvs {condition}");
            let counted =
                saved.lines().find(|line| line.ends_with(&rule)).unwrap_or_else(|| panic!("{rule}\n{saved}"));
            !counted.starts_with("[0:0]")
        };
        let seen = [has_matched("OUTPUT"), has_matched("POSTROUTING -s 10.96.0.1/32")];
        assert_eq!(seen, expected, "{condition}");
    }
}

/// An ICMP error from the client's side, about a connection that this node does not know: after a failover, for instance.
#[test]
fn an_error_opens_a_connection_if_the_sysctl_says_so() {
    for (schedules, connections) in [("0", 0), ("1", 1)] {
        let mut line = masqueraded();
        line.world.set_sysctl(line.router, "net.ipv4.vs.schedule_icmp", schedules).unwrap();
        let fields = |src: &str, dst: &str, protocol: u8| build::Ipv4Fields {
            src: addr(src),
            dst: addr(dst),
            protocol,
            ttl: 64,
            tos: 0,
            ident: 1,
            dont_fragment: false,
        };
        let ports = [0, 80, 0x9c, 0x40, 0, 0, 0, 0];
        let quote = build::ipv4(fields("10.96.0.1", "10.0.1.2", protocol::TCP), &ports);
        let error = build::icmpv4(3, 4, 1_200_u32.to_be_bytes(), &quote[ETHERNET_HEADER_LEN..]);
        let packet = build::ipv4(fields("10.0.1.2", "10.96.0.1", protocol::ICMP), &error);
        let flow = line.world.raw_flow();
        line.world.open_tap(line.server, TapPlace::Devices);
        line.world.send_raw(line.client, flow, &packet[ETHERNET_HEADER_LEN..]).unwrap();
        line.world.run_until(line.world.now() + Duration::from_secs(1));
        let ns = line.world.netns(line.router);
        assert_eq!(ns.ipvs.connections().len(), connections);
        assert!(ns.ipvs.connections().iter().all(|(_, entry)| entry.state.name() == "NONE"));
        let quoted = |frame: &[u8]| {
            let ip = Ipv4::new_checked(&frame[ETHERNET_HEADER_LEN..])?;
            let quote = Ipv4::new_quoted(ip.payload().get(8..)?)?;
            (ip.protocol() == protocol::ICMP).then(|| (ip.src(), ip.dst(), quote.src(), quote.dst()))
        };
        let seen: Vec<_> =
            line.world.take_tapped(line.server).iter().filter_map(|frame| quoted(frame)).collect();
        let translated = (addr("10.0.1.2"), addr("10.0.2.2"), addr("10.0.2.2"), addr("10.0.1.2"));
        assert_eq!(seen, vec![translated; connections]);
        quiesce(&mut line.world);
    }
}
