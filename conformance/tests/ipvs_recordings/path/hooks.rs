//! `behaviour/hook_order`: the chains that each packet visits, and what it looks like there.
//!
//! Two things are not compared. The input device of POSTROUTING, which the kernel's LOG target prints and which no rule can
//! match. And the security table of iptables-nft, which that tool registers at another priority than the kernel's own
//! iptables (150, nft.c of iptables), and the simulator at the kernel's.

use super::visits::{Visits, normal};
use crate::lab::same_connections;
use crate::network::{CLIENT, Network, Shape, Side, frames, ipv4, same_conntrack};
use crate::recording::{number, rows, text};
use serde_json::Value;
use sim::wire::{ETHERNET_HEADER_LEN, build, protocol};
use std::net::Ipv4Addr;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 11);

#[test]
fn packets_visit_the_recorded_chains() {
    for row in rows("behaviour/hook_order.jsonl") {
        let mut network = Network::with_servers(&[11]);
        network.load(text(&row, "iptables-save"));
        network.set("conntrack", number(&row, "conntrack"));
        let is_nft = text(&row, "iptables") == "iptables";
        for step in row["steps"].as_array().unwrap() {
            replay(&mut network, step, is_nft, &row);
        }
    }
}

fn replay(network: &mut Network, step: &Value, is_nft: bool, row: &Value) {
    let name = text(step, "step");
    let place = format!(
        "{name}: iptables {}, conntrack {}, masquerade {}",
        row["iptables"], row["conntrack"], row["masquerade"]
    );
    if name == "SYN to a service without servers" {
        network.ipvsadm("-d -t 10.96.0.1:80 -r 10.244.0.11:8080\n");
    }
    let (side, bytes) = packet(network, step);
    let seen = network.transmit(side, &bytes);
    assert_eq!(seen.at(side.other()), frames(step, "got"), "{place}");
    assert_eq!(seen.at(side), frames(step, "back"), "{place}");
    let is_compared = |line: &String| !(is_nft && line.starts_with("security/"));
    let recorded: Vec<String> =
        frames(step, "hooks").iter().map(|line| normal(line)).filter(is_compared).collect();
    let here: Vec<String> =
        Visits::of(&network.world, network.node, network.events()).into_iter().filter(is_compared).collect();
    assert_eq!(here, recorded, "{place}");
    if !step["conn"].is_null() {
        let mut connections = network.connections();
        let port = format!(":{} ", if name.starts_with("UDP") { 16_001 } else { 16_000 });
        connections.retain(|line| line.contains(&port));
        assert!(same_connections(&step["conn"], &connections, 1), "{connections:?} {place}");
    }
    if let Some(entries) = step["conntrack"].as_array() {
        let mut own = network.conntrack();
        let ports: Vec<&str> = match name {
            _ if name.starts_with("UDP") => vec!["sport=16001"],
            "SYN to a service without servers" => vec!["sport=16002"],
            _ if name.starts_with("SYN to a port") => vec!["sport=16003"],
            "ACK of an unknown flow to the service" => vec!["sport=16004"],
            _ => vec!["sport=16000"],
        };
        own.retain(|line| ports.iter().any(|port| line.contains(port)));
        assert!(same_conntrack(&entries.clone().into(), &own, 1), "{own:?} {place}");
    }
}

/// The packet of a step.
fn packet(network: &mut Network, step: &Value) -> (Side, Vec<u8>) {
    let server_is = |network: &Network| {
        // With masquerading, the server answers to the node.
        network.conntrack().iter().any(|line| line.contains("dst=169.254.0.1"))
    };
    let is_masqueraded = server_is(network);
    let shape = Shape { to: is_masqueraded.then_some(Ipv4Addr::new(169, 254, 0, 1)), ..Shape::PLAIN };
    let port_81 = Shape { service_port: Some(81), ..Shape::PLAIN };
    match text(step, "step") {
        "UDP" | "UDP again" => network.flows.shaped(16_001, 11, "c udp", Shape::PLAIN),
        "UDP answer" => network.flows.shaped(16_001, 11, "s udp", shape),
        "ICMP port unreachable from the server" => {
            let client = shape.to.unwrap_or(CLIENT);
            let l4 = [16_001_u16.to_be_bytes(), 5_353_u16.to_be_bytes(), [0, 12], [0, 0]].concat();
            let quote = ipv4(client, SERVER, protocol::UDP, Shape::PLAIN, &l4).split_off(ETHERNET_HEADER_LEN);
            let message = build::icmpv4(3, 3, [0; 4], &quote);
            (Side::Server, ipv4(SERVER, client, protocol::ICMP, Shape::PLAIN, &message))
        }
        "SYN to a service without servers" => network.flows.shaped(16_002, 11, "c S", Shape::PLAIN),
        name if name.starts_with("SYN to a port") => network.flows.shaped(16_003, 11, "c S", port_81),
        "ACK of an unknown flow to the service" => network.flows.shaped(16_004, 11, "c A", Shape::PLAIN),
        _ => {
            let packet = text(step, "send");
            let shape = if packet.starts_with('s') { shape } else { Shape::PLAIN };
            network.flows.shaped(16_000, 11, packet, shape)
        }
    }
}
