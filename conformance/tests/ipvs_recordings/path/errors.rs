//! `behaviour/icmp_nat`: ICMP errors through the translation in both directions, TTL, MTU and fragments.

use crate::lab::same_connections;
use crate::network::{CLIENT, Network, Shape, Side, datagram, frames, ipv4};
use crate::recording::{number, rows, text};
use serde_json::Value;
use sim::wire::build;
use sim::wire::icmpv4::icmp_type;
use sim::wire::{ETHERNET_HEADER_LEN, Ipv4, protocol};
use std::net::Ipv4Addr;

const TCP_VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
const UDP_VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 11);
/// Ports of the two established flows.
const TCP_FLOW: u16 = 14_000;
const UDP_FLOW: u16 = 14_001;

#[test]
fn errors_and_limits_have_the_recorded_effects() {
    let rows = rows("behaviour/icmp_nat.jsonl");
    for rows in rows.chunk_by(|a, b| number(a, "conntrack") == number(b, "conntrack")) {
        let mut network = Network::with_servers(&[11]);
        network.set_conntrack(&rows[0]);
        for port in [TCP_FLOW, 14_200] {
            network.play(port, 11, &["c S", "s SA", "c A"]);
        }
        network.play(UDP_FLOW, 11, &["c udp"]);
        for row in rows {
            replay(&mut network, row);
        }
    }
}

fn replay(network: &mut Network, row: &Value) {
    let has = |field: &str| !row[field].is_null();
    if has("error") {
        error(network, row);
    } else if has("echo request to VIP") {
        let message = build::icmpv4(icmp_type::ECHO_REQUEST, 0, [0, 1, 0, 1], b"ping");
        let seen = network.transmit(Side::Client, &packet(CLIENT, TCP_VIP, protocol::ICMP, &message));
        assert_eq!(seen.client, frames(&row["echo request to VIP"], "got"), "{row}");
    } else if has("udp of 2000 bytes in two fragments") {
        fragments(network, &row["udp of 2000 bytes in two fragments"]);
    } else {
        limit(network, row);
    }
}

/// An error about an established flow, or about one that does not exist.
fn error(network: &mut Network, row: &Value) {
    let is_from_server = text(row, "direction") == "server side -> client";
    let (name, is_unknown) = match text(row, "error").split_once(", unknown flow") {
        Some((name, _)) => (name, true),
        None => (text(row, "error"), false),
    };
    let about = if is_unknown { "tcp" } else { text(row, "about") };
    let (vip, number, flow, service, server) = match about {
        "tcp" => (TCP_VIP, protocol::TCP, TCP_FLOW, 80, 8_080),
        _ => (UDP_VIP, protocol::UDP, UDP_FLOW, 53, 5_353),
    };
    let client = (CLIENT, if is_unknown { 999 } else { flow });
    let (side, (from, to)) = if is_from_server {
        (Side::Server, (client, (SERVER, server)))
    } else {
        (Side::Client, ((vip, service), client))
    };
    let is_router = row["who"].as_str() == Some("from a router");
    let src = match (is_from_server, is_router) {
        (true, false) => SERVER,
        (true, true) => Ipv4Addr::new(169, 254, 0, 2),
        (false, false) => CLIENT,
        (false, true) => Ipv4Addr::new(192, 168, 0, 2),
    };
    let dst = if is_from_server { CLIENT } else { vip };
    let message = message(name, &quote(from, to, number));
    let seen = network.transmit(side, &packet(src, dst, protocol::ICMP, &message));
    assert_eq!(seen.at(side.other()), frames(row, "got"), "{row}");
    assert_eq!(seen.at(side), frames(row, "back"), "{row}");
}

fn message(name: &str, quote: &[u8]) -> Vec<u8> {
    let (icmp_type, code, word) = match name {
        "host unreachable" => (3, 1, 0),
        "port unreachable" => (3, 3, 0),
        "fragmentation needed, mtu 1200" => (3, 4, 1_200),
        "time exceeded" => (11, 0, 0),
        "source quench" => (4, 0, 0),
        "redirect" => (5, 1, u32::from(SERVER)),
        "parameter problem" => (12, 0, 0),
        other => panic!("unknown error {other}"),
    };
    build::icmpv4(icmp_type, code, u32::to_be_bytes(word), quote)
}

/// An IP header and the first eight bytes of a TCP segment or datagram.
fn quote(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), number: u8) -> Vec<u8> {
    let mut l4 = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    l4.extend_from_slice(&[0, 12, 0, 0]);
    packet(from.0, to.0, number, &l4).split_off(ETHERNET_HEADER_LEN)
}

fn packet(src: Ipv4Addr, dst: Ipv4Addr, number: u8, l4: &[u8]) -> Vec<u8> {
    ipv4(src, dst, number, Shape::PLAIN, l4)
}

/// A packet whose TTL ends, or that exceeds the MTU of the server side.
fn limit(network: &mut Network, row: &Value) {
    let mtu = u16::try_from(number(row, "mtu of the server side")).unwrap();
    let s0 = network.world.device(network.node, "s0").unwrap();
    network.world.set_mtu(network.node, s0, if mtu == 0 { 1_500 } else { mtu }).unwrap();
    network.set("pmtu_disc", if row["pmtu_disc"].is_null() { 1 } else { number(row, "pmtu_disc") });
    let ttl = row["SYN with ttl"].as_u64().or(row["reply with ttl"].as_u64()).unwrap_or(64);
    let ttl = u8::try_from(ttl).unwrap();
    let size = row["tcp payload"].as_u64().or(row["udp payload"].as_u64());
    let payload = size.map(|size| vec![b'x'; usize::try_from(size).unwrap()]);
    let dont_fragment = row["df"].as_bool().unwrap_or(true);
    let shape = Shape { ttl, dont_fragment, payload: payload.as_deref(), ..Shape::PLAIN };
    let (port, kind) = if !row["SYN with ttl"].is_null() {
        (14_100 + u16::from(ttl), "c S")
    } else if !row["reply with ttl"].is_null() {
        (TCP_FLOW, "s PA")
    } else if !row["tcp payload"].is_null() {
        (14_200, "c PA")
    } else {
        (14_201, "c udp")
    };
    let (side, bytes) = network.flows.shaped(port, 11, kind, shape);
    let seen = network.transmit(side, &bytes);
    assert_eq!(seen.at(side.other()), frames(row, "got"), "{row}");
    assert_eq!(seen.at(side), frames(row, "back"), "{row}");
    if !row["conn"].is_null() {
        let mut connections = network.connections();
        connections.retain(|line| line.contains(&format!(":{port} ")));
        assert!(same_connections(&row["conn"], &connections, 1), "{connections:?} {row}");
    }
    network.world.set_mtu(network.node, s0, 1_500).unwrap();
}

/// A datagram in two fragments.
fn fragments(network: &mut Network, row: &Value) {
    let payload = vec![b'x'; 2_000];
    let shape = Shape { dont_fragment: false, payload: Some(&payload), ..Shape::PLAIN };
    let whole = datagram((CLIENT, 14_300), (UDP_VIP, 53), shape);
    let (header, l4) = whole.split_at(ETHERNET_HEADER_LEN + 20);
    let (first, second) = l4.split_at(1_480);
    let part = |data: &[u8], offset: u32| {
        let mut bytes = [header, data].concat();
        let len = u16::try_from(20 + data.len()).unwrap();
        Ipv4::new_unchecked(&mut bytes[ETHERNET_HEADER_LEN..]).set_part(len, offset, offset == 0, false);
        bytes
    };
    let seen = network.transmit(Side::Client, &part(first, 0));
    assert_eq!(seen.server, frames(row, "after the first"));
    let seen = network.transmit(Side::Client, &part(second, 1_480));
    assert_eq!(seen.server, frames(row, "after the second"));
    assert_eq!(seen.client, frames(row, "back"));
}
