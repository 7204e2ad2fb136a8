//! `behaviour/persistence`: clients that return to their server.
//!
//! Rows with `"conntrack": 1` are equal to those without: templates do not depend on it. They are compared as well.

use crate::lab::{
    Lab, Packet, flags, listed_servers, masqueraded, recorded_fate, same_connections, server, service,
};
use crate::recording::{number, rows, text};
use serde_json::Value;
use sim::ipvs::{Persistence, Protocol, SchedulerKind, ServiceFlags, ServiceKey, ServiceSpec, Transport};
use sim::time::Duration;
use std::net::{IpAddr, SocketAddr};

const HOST: [u8; 4] = [255; 4];

fn persistent(key: ServiceKey, seconds: u64, netmask: [u8; 4]) -> ServiceSpec {
    ServiceSpec {
        key,
        scheduler: SchedulerKind::Rr,
        flags: ServiceFlags::default(),
        persistence: Some(Persistence {
            timeout: Duration::from_secs(seconds),
            netmask: IpAddr::from(netmask),
        }),
    }
}

/// A service at this port of 10.96.0.1 with three servers at that port.
fn three_servers(lab: &mut Lab, spec: ServiceSpec, server_port: u16) {
    lab.ipvs.add_service(lab.clock, spec).unwrap();
    for number in [11, 12, 13] {
        lab.add(spec.key, masqueraded(SocketAddr::new([10, 244, 0, number].into(), server_port), 1)).unwrap();
    }
}

fn virtual_addr(port: u16) -> ServiceKey {
    ServiceKey::Addr { protocol: Protocol::Tcp, addr: SocketAddr::new([10, 96, 0, 1].into(), port) }
}

#[test]
fn clients_return_to_their_server() {
    let rows = rows("behaviour/persistence.jsonl");
    for row in &rows {
        let mut lab = Lab::new();
        match text(row, "case") {
            "-p 50, host" => three_servers(&mut lab, persistent(virtual_addr(80), 50, HOST), 8080),
            "-p 50 -M 255.255.255.0" => {
                three_servers(&mut lab, persistent(virtual_addr(80), 50, [255, 255, 255, 0]), 8080);
            }
            "port 0: every port of the VIP" => {
                three_servers(&mut lab, persistent(virtual_addr(0), 50, HOST), 0);
            }
            "fwmark 9, ports 80 and 443, -p 100" => {
                let key = ServiceKey::Mark { is_ipv6: false, mark: 9 };
                three_servers(&mut lab, persistent(key, 100, HOST), 0);
            }
            "quiescent" => quiescent_lab(&mut lab, row),
            "two services on one VIP, both -p 100" => two_services(&mut lab),
            // Its own test.
            _ => continue,
        }
        for step in row["steps"].as_array().unwrap() {
            persistence_step(&mut lab, row, step);
        }
    }
}

fn quiescent_lab(lab: &mut Lab, row: &Value) {
    lab.ipvs.settings.expire_quiescent_template = number(row, "expire_quiescent_template") == 1;
    lab.ipvs.settings.expire_nodest_conn = number(row, "expire_nodest_conn") == 1;
    three_servers(lab, persistent(virtual_addr(80), 300, HOST), 8080);
}

/// Two services of one address with two servers each.
fn two_services(lab: &mut Lab) {
    for (port, server_port) in [(80, 8080), (443, 8443)] {
        let spec = persistent(virtual_addr(port), 100, HOST);
        lab.ipvs.add_service(lab.clock, spec).unwrap();
        for number in [11, 12] {
            let addr = SocketAddr::new([10, 244, 0, number].into(), server_port);
            lab.add(spec.key, masqueraded(addr, 1)).unwrap();
        }
    }
}

fn persistence_step(lab: &mut Lab, row: &Value, step: &Value) {
    let first = server(Protocol::Tcp, 13);
    match step["do"].as_str() {
        Some("weight0") => lab.edit(service(Protocol::Tcp), masqueraded(first, 0)).unwrap(),
        Some("weight 1") => lab.edit(service(Protocol::Tcp), masqueraded(first, 1)).unwrap(),
        Some("deleted") => lab.delete(service(Protocol::Tcp), first).unwrap(),
        Some(other) => panic!("unknown step {other}"),
        None => {}
    }
    if let Some(sent) = step["send"].as_str() {
        let packet = packet(row, step, sent);
        assert_eq!(lab.client(packet), recorded_fate(step), "{step} in {row}");
        if text(row, "case") == "quiescent" && packet.src.port() == 8200 && sent == "c S" {
            let reply =
                Packet { src: first, dst: packet.src, transport: Transport::Tcp(flags("SA")), mark: 0 };
            lab.server(reply);
            lab.client(Packet { transport: Transport::Tcp(flags("A")), ..packet });
        }
    }
    // The listing is that of another process.
    lab.sleep(Duration::from_micros(1));
    if let Some(listing) = step["list"].as_str() {
        let mut listed = listed_servers(listing);
        // The UDP service of the lab is of no interest here.
        listed.retain(|server| !server.0.ends_with(":5353"));
        assert_eq!(lab.all_servers(), listed, "{step} in {row}");
    }
    if let Some(listing) = step["lnc"].as_str() {
        assert_eq!(
            without_time(&lab.ipvs.list_connections(lab.clock)),
            without_time(listing),
            "{step} in {row}"
        );
    }
    if !step["conns"].is_null() {
        let connections = lab.connections();
        assert!(same_connections(&step["conns"], &connections, 1), "{connections:#?} at {step} in {row}");
    }
    lab.sleep(Duration::from_millis(20));
}

/// The lines of `ipvsadm -Lnc` without the time that is left, which passed between two looks. The kernel's order is random.
fn without_time(listing: &str) -> Vec<String> {
    let mut lines: Vec<String> = listing
        .lines()
        .map(|line| match line.split_once(':') {
            Some((before, after)) if line.starts_with(['T', 'U', 'I']) && after.len() > 2 => {
                format!("{}{}", &before[..before.len() - 2], &after[2..])
            }
            Some(_) | None => line.to_owned(),
        })
        .collect();
    lines.sort();
    lines
}

/// The packet of a step. Where the row does not name client and port, the frame that the server got does.
fn packet(row: &Value, step: &Value, sent: &str) -> Packet {
    let frame = |field: &str| step[field][0].as_str();
    let src: SocketAddr = match (step["client"].as_str(), frame("got"), frame("back")) {
        (Some(client), ..) => client.parse().unwrap(),
        (None, Some(got), _) => got.split_whitespace().next().unwrap().parse().unwrap(),
        (None, None, Some(back)) => back.split_whitespace().nth(2).unwrap().parse().unwrap(),
        (None, None, None) => SocketAddr::new([172, 16, 0, 9].into(), 8200),
    };
    let case = text(row, "case");
    let port = match (step["vport"].as_u64(), src.port()) {
        (Some(port), _) => u16::try_from(port).unwrap(),
        // The connections of these cases alternate between the two ports.
        (None, 8301 | 8303 | 8401 | 8403) => 443,
        (None, _) => 80,
    };
    let mark = if case.starts_with("fwmark") { 9 } else { 0 };
    let kind = sent.strip_prefix("c ").expect("packets of clients");
    let dst = SocketAddr::new([10, 96, 0, 1].into(), port);
    Packet { src, dst, transport: Transport::Tcp(flags(kind)), mark }
}

/// A template lives 60 s at a time while it has connections. When exactly depends on the position of the timer wheel, which
/// the recording does not name: one must explain all looks.
#[test]
fn a_template_outlives_its_connections() {
    let rows = rows("behaviour/persistence.jsonl");
    let case = rows.iter().find(|row| text(row, "case").starts_with("template over time"));
    let steps = case.expect("the case exists")["steps"].as_array().unwrap();
    let explains = |start_ms: u64| {
        let mut lab = Lab::new();
        lab.sleep(Duration::from_millis(start_ms));
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            lab.ipvs.add_service(lab.clock, persistent(service(protocol), 50, HOST)).unwrap();
            lab.add_servers(protocol, &[11, 12]);
        }
        lab.play(8100, server(Protocol::Tcp, 12), &["c S", "c udp"]);
        let begin = lab.clock.now;
        steps.iter().all(|step| {
            lab.clock.now = begin + Duration::from_secs(u64::from(number(step, "t"))) + LOOK;
            same_connections(&step["conns"], &lab.connections(), 1)
        })
    };
    assert!((0..16_384).step_by(64).any(explains), "no position of the timer wheel explains {steps:#?}");
}

/// The time between the packets and the first look.
const LOOK: Duration = Duration::from_millis(10);
