//! `behaviour/no_server`, `nat_icmp_send` and `ops`: packets that are answered, or not translated.

use crate::lab::same_connections;
use crate::network::{Network, Shape, frames};
use crate::recording::{number, rows, text};

#[test]
fn services_that_no_server_can_serve_answer_as_recorded() {
    for row in rows("behaviour/no_server.jsonl") {
        let scheduler = text(&row, "scheduler");
        let mut network = Network::new(crate::network::DUMMY);
        network.set_conntrack(&row);
        network.ipvsadm(&format!("-A -t 10.96.0.1:80 -s {scheduler}\n-A -u 10.96.0.2:53 -s {scheduler}\n"));
        let options = match text(&row, "case") {
            "no servers" => None,
            "all weight 0" => Some("-w 0"),
            _ => Some("-w 1 -x 1"),
        };
        for (service, port) in [("-t 10.96.0.1:80", 8080), ("-u 10.96.0.2:53", 5353)] {
            for server in [11, 12] {
                if let Some(options) = options {
                    network.ipvsadm(&format!("-a {service} -r 10.244.0.{server}:{port} -m {options}\n"));
                }
            }
        }
        for (index, got) in row["before"].as_array().into_iter().flatten().enumerate() {
            let port = 7100 + u16::try_from(index / 2).unwrap();
            let seen = network.send(port, 11, if index % 2 == 0 { "c S" } else { "c udp" });
            let got = serde_json::json!({ "got": got });
            assert_eq!(seen.server, frames(&got, "got"), "packet {index} in {row}");
        }
        for (field, port, packet) in
            [("tcpSyn", 7000, "c S"), ("udp", 7000, "c udp"), ("tcpAck", 7001, "c A")]
        {
            let seen = network.send(port, 11, packet);
            assert_eq!(seen.server, frames(&row[field], "got"), "{field} in {row}");
            // Before the first of them, the recording has an answer to the last packet of `before`.
            let back = frames(&row[field], "back");
            let late = back.len().saturating_sub(1);
            assert_eq!(seen.client, back[late..], "{field} in {row}");
        }
        let mut connections = network.connections();
        connections.retain(|line| line.contains(":7000 "));
        assert!(same_connections(&row["conn"], &connections, 1), "{connections:?} in {row}");
    }
}

#[test]
fn packets_of_a_server_without_connection_are_answered_as_recorded() {
    for row in rows("behaviour/nat_icmp_send.jsonl") {
        let mut network = Network::with_servers(&[11]);
        network.set_conntrack(&row);
        network.set("nat_icmp_send", number(&row, "nat_icmp_send"));
        for (name, recorded) in row.as_object().unwrap() {
            let (port, server, packet, shape) = match name.as_str() {
                "server udp without entry" => (9_001, 11, "s udp".to_owned(), Shape::PLAIN),
                name if name.starts_with("tcp from a port") => {
                    (9_002, 11, "s SA".to_owned(), Shape { server_port: Some(7_777), ..Shape::PLAIN })
                }
                name if name.starts_with("tcp from an address") => {
                    (9_003, 13, "s SA".to_owned(), Shape::PLAIN)
                }
                name => match name.strip_prefix("server tcp ").and_then(|rest| rest.split_once(' ')) {
                    Some((flags, _)) => (9_000, 11, format!("s {flags}"), Shape::PLAIN),
                    None => continue,
                },
            };
            let (side, bytes) = network.flows.shaped(port, server, &packet, shape);
            let seen = network.transmit(side, &bytes);
            assert_eq!(seen.client, frames(recorded, "client got"), "{name} in {row}");
            assert_eq!(seen.server, frames(recorded, "server got"), "{name} in {row}");
        }
    }
}

#[test]
fn one_packet_services_schedule_every_datagram() {
    for row in rows("behaviour/ops.jsonl") {
        let mut network = Network::new(crate::network::DUMMY);
        let flags = text(&row, "flags");
        network.ipvsadm(&format!("-A -t 10.96.0.1:80 -s rr\n-A -u 10.96.0.2:53 -s rr {flags}\n"));
        network.add_servers(&[11, 12, 13]);
        for datagram in row["datagrams"].as_array().unwrap() {
            let seen = network.send(19_000, 11, "c udp");
            assert_eq!(seen.server, frames(datagram, "got"), "{row}");
            let connections = network.connections();
            assert!(same_connections(&datagram["conn"], &connections, 1), "{connections:?} {row}");
            let server = seen.server[0].split(" > 10.244.0.").nth(1).and_then(|rest| rest.split(':').next());
            let seen = network.send(19_000, server.unwrap().parse().unwrap(), "s udp");
            assert_eq!(seen.client, frames(datagram, "reply reaches the client as"), "{row}");
        }
    }
}
