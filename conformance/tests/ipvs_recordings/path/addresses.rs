//! `behaviour/vip_kinds`: on which routes a virtual address may be.

use crate::lab::same_connections;
use crate::network::{CLIENT, Network, Seen, Shape, Side, datagram, frames, ipv4};
use crate::recording::{rows, text};
use serde_json::Value;
use sim::socket::ClientProtocol;
use sim::time::Duration;
use sim::wire::icmpv4::icmp_type;
use sim::wire::{build, protocol};
use sim::world::ConnectSpec;
use std::net::Ipv4Addr;

/// Without a route, the recorded kernel reports it for the first packet only: any ICMP error took all tokens of its receiver
/// with `icmp_ratelimit` 0. Linux 6.18 and the simulator leave them (`inet_peer_xrlim_allow`, net/ipv4/inetpeer.c), so that the
/// next packets are not compared.
const MISSING: &str = "nothing";

const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

#[test]
fn services_work_on_the_recorded_kinds_of_addresses() {
    for row in rows("behaviour/vip_kinds.jsonl") {
        let mut network = network(&row);
        network.ipvsadm("-A -t 10.96.0.1:80 -s rr\n-A -u 10.96.0.2:53 -s rr\n");
        network.add_servers(&[11]);
        let seen = network.send(15_000, 11, "c S");
        compare(&seen, &row["tcp"], "got", "back", &row);
        if text(&row, "vip") == MISSING {
            connect(&mut network, &row);
            continue;
        }
        let seen = network.send(15_001, 11, "c udp");
        compare(&seen, &row["udp"], "got", "back", &row);
        let ping = build::icmpv4(icmp_type::ECHO_REQUEST, 0, [0, 1, 0, 1], b"ping");
        let seen = network.transmit(Side::Client, &ipv4(CLIENT, VIP, protocol::ICMP, Shape::PLAIN, &ping));
        compare(&seen, &row["ping"], "server side got", "client got", &row);
        let shape = Shape { service_port: Some(81), ..Shape::PLAIN };
        let (side, bytes) = network.flows.shaped(15_002, 11, "c S", shape);
        let seen = network.transmit(side, &bytes);
        compare(&seen, field(&row, "tcp to a port"), "server side got", "client got", &row);
        let seen = network.transmit(Side::Client, &datagram((CLIENT, 15_003), (VIP, 81), Shape::PLAIN));
        compare(&seen, field(&row, "udp to a port"), "server side got", "client got", &row);
        connect(&mut network, &row);
    }
}

/// The field whose name begins so.
fn field<'a>(row: &'a Value, name: &str) -> &'a Value {
    row.as_object().unwrap().iter().find(|(field, _)| field.starts_with(name)).unwrap().1
}

fn compare(seen: &Seen, recorded: &Value, server: &str, client: &str, row: &Value) {
    assert_eq!(seen.server, frames(recorded, server), "{recorded} in {row}");
    assert_eq!(seen.client, frames(recorded, client), "{recorded} in {row}");
}

/// A process of the node connects; the server is silent.
fn connect(network: &mut Network, row: &Value) {
    let recorded = &row["connect from the node itself"];
    let port = row["conn"].as_array().unwrap().first().map(|line| {
        let line = line.as_str().unwrap();
        line.split([' ', ':']).nth(2).unwrap().parse().unwrap()
    });
    let spec = ConnectSpec {
        protocol: ClientProtocol::Tcp,
        src_port: port,
        dst: VIP.into(),
        dst_port: 80,
        request: b"hello\n".to_vec(),
        deadline: Duration::from_millis(1_500),
        is_kept_open: false,
        may_broadcast: false,
    };
    let flow = network.world.connect(network.node, spec);
    let seen = network.settle();
    match recorded["outcome"].as_str() {
        Some("timeout") => {
            let result = network.world.flow_result(flow.expect("a port is free"));
            assert!(result.is_none(), "{row}");
            assert_eq!(seen.server.first(), frames(row, "server side got").first(), "{row}");
            let mut connections = network.connections();
            connections.retain(|line| !line.contains(&CLIENT.to_string()));
            assert!(same_connections(&recorded["closed"]["ipvs"], &connections, 1), "{connections:?} {row}");
        }
        _ => {
            let outcome = flow.ok().and_then(|flow| network.world.flow_result(flow).map(|it| it.outcome));
            assert_eq!(format!("{outcome:?}"), "Some(Unreachable(Network))", "{row}");
        }
    }
}

/// The lab with the virtual addresses where the row says they are.
fn network(row: &Value) -> Network {
    let dummy = "link add kube-ipvs0 type dummy\n";
    let addresses = "address add 10.96.0.1/32 dev DEVICE\naddress add 10.96.0.2/32 dev DEVICE\n";
    let on = |device: &str| addresses.replace("DEVICE", device);
    let (batch, routes): (String, &[&str]) = match text(row, "vip") {
        "dummy down" => (format!("{dummy}{}", on("kube-ipvs0")), &[]),
        "dummy up" => (format!("{dummy}link set kube-ipvs0 up\n{}", on("kube-ipvs0")), &[]),
        "address on lo" => (on("lo"), &[]),
        "local route only" => (String::new(), &["local 10.96.0.1/32 dev lo", "local 10.96.0.2/32 dev lo"]),
        "local prefix route" => (String::new(), &["local 10.96.0.0/24 dev lo"]),
        "plain route to the server side" => (String::new(), &["10.96.0.0/24 via 169.254.0.2"]),
        "no route but default via server side" => (String::new(), &["default via 169.254.0.2"]),
        "nothing" => (String::new(), &[]),
        other => panic!("unknown kind {other}"),
    };
    let mut network = Network::new(&batch);
    for (number, line) in (1..).zip(routes) {
        network.world.ip_route_add(network.node, "routes", number, line).unwrap();
    }
    network
}
