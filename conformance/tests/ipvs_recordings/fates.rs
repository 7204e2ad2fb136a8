//! `behaviour/reuse`, `nodest`, `no_server`, `trash`, `drops` and `ops`: what becomes of packets whose connection is closed
//! or whose server is gone.
//!
//! Rows with `"conntrack": 1` need conntrack, which the engine alone does not have: see `path::tracked`.

use crate::lab::{
    Fate, Lab, Packet, client, masqueraded, recorded_fate, recorded_source, round_robin, same_connections,
    server, service,
};
use crate::recording::{number, rows, rows_where, text};
use serde_json::Value;
use sim::ipvs::{Protocol, SchedulerKind, ServerSpec, ServiceFlags, ServiceSpec, Transport};
use sim::time::Duration;

/// The packets that lead to each state of `reuse`, in the order of the ports.
pub(crate) const STATES: [(&str, &[&str]); 9] = [
    ("SYN_RECV", &["c S"]),
    ("ESTABLISHED", &["c S", "s SA", "c A"]),
    ("FIN_WAIT", &["c S", "s SA", "c A", "s FA"]),
    ("CLOSE_WAIT", &["c S", "s SA", "c A", "c FA"]),
    ("LAST_ACK", &["c S", "s SA", "c A", "c FA", "s FA"]),
    ("TIME_WAIT", &["c S", "s SA", "c A", "s FA", "c FA"]),
    ("CLOSE", &["c S", "s SA", "c A", "c RA"]),
    ("TIME_WAIT, last ACK seen", &["c S", "s SA", "c A", "s FA", "c FA", "s A"]),
    ("CLOSE_WAIT then TIME_WAIT, last ACK seen", &["c S", "s SA", "c A", "c FA", "s FA", "c A"]),
];

/// The time between a change and the first look at it.
const MOMENT: Duration = Duration::from_millis(50);
/// Longer than a tick.
const TICK: Duration = Duration::from_millis(8);

fn without_conntrack(name: &str) -> Vec<Value> {
    rows_where(name, |row| number(row, "conntrack") == 0)
}

#[test]
fn a_syn_on_an_existing_connection_has_the_recorded_fate() {
    let rows = without_conntrack("behaviour/reuse.jsonl");
    let case = |row: &Value| {
        let settings = (number(row, "conn_reuse_mode"), number(row, "expire_nodest_conn"));
        (settings, text(row, "server").to_owned())
    };
    for rows in rows.chunk_by(|a, b| case(a) == case(b)) {
        let mut lab = reuse_lab(&rows[0]);
        for row in rows {
            let state = STATES.iter().position(|(state, _)| *state == text(row, "state"));
            reuse(&mut lab, 5000 + u16::try_from(state.expect("a known state")).unwrap(), row);
        }
    }
}

/// One server with a connection in every state, then two more servers, then what happens to the first.
fn reuse_lab(row: &Value) -> Lab {
    let mut lab = Lab::with_servers(round_robin, &[11]);
    lab.ipvs.settings.conn_reuse_mode = number(row, "conn_reuse_mode");
    lab.ipvs.settings.expire_nodest_conn = number(row, "expire_nodest_conn") == 1;
    let first = server(Protocol::Tcp, 11);
    for (port, (_, packets)) in (5000..).zip(STATES) {
        lab.play(port, first, packets);
    }
    lab.add_servers(Protocol::Tcp, &[12, 13]);
    match text(row, "server") {
        "ok" => {}
        "weight0" => lab.edit(service(Protocol::Tcp), masqueraded(first, 0)).unwrap(),
        "deleted" => lab.delete(service(Protocol::Tcp), first).unwrap(),
        other => panic!("unknown fate {other}"),
    }
    lab.sleep(MOMENT);
    lab
}

fn reuse(lab: &mut Lab, port: u16, row: &Value) {
    for syn in row["syns"].as_array().unwrap() {
        let fate = lab.send(port, server(Protocol::Tcp, 11), text(syn, "send")).unwrap();
        assert_eq!(fate, recorded_fate(syn), "port {port} at {syn} in {row}");
        assert!(has_entries(lab, port, &syn["conn"]), "{:?} at {syn} in {row}", lab.connections());
        lab.sleep(Duration::from_secs(1));
    }
}

/// True if the client's entries are the recorded ones. A connection that was given up is listed until the next tick, which
/// the recording may show or not.
fn has_entries(lab: &mut Lab, port: u16, recorded: &Value) -> bool {
    let mut look = || {
        let mut entries = lab.connections();
        entries.retain(|entry| entry.contains(&format!("172.16.0.9:{port} ")));
        let is_equal = same_connections(recorded, &entries, 1);
        lab.sleep(TICK);
        is_equal
    };
    look() || look()
}

#[test]
fn flows_whose_server_goes_away_have_the_recorded_fate() {
    for row in without_conntrack("behaviour/nodest.jsonl") {
        let protocol = if text(&row, "proto") == "tcp" { Protocol::Tcp } else { Protocol::Udp };
        let mut lab = Lab::with_servers(round_robin, &[11, 12]);
        lab.ipvs.settings.expire_nodest_conn = number(&row, "expire_nodest_conn") == 1;
        for step in row["steps"].as_array().unwrap() {
            nodest_step(&mut lab, protocol, text(&row, "event"), step);
            lab.sleep(MOMENT);
        }
    }
}

fn nodest_step(lab: &mut Lab, protocol: Protocol, event: &str, step: &Value) {
    let (key, addr) = (service(protocol), server(protocol, 12));
    match step["do"].as_str() {
        Some("flow established") if protocol == Protocol::Tcp => {
            lab.play(6000, addr, &["c S", "s SA", "c A"])
        }
        Some("flow established") => lab.play(6000, addr, &["c udp"]),
        Some("weight0") => lab.edit(key, masqueraded(addr, 0)).unwrap(),
        Some("deleted") => lab.delete(key, addr).unwrap(),
        Some("service-deleted") => lab.ipvs.delete_service(lab.clock, key).unwrap(),
        Some("server back with weight 1") => match event {
            "weight0" => lab.edit(key, masqueraded(addr, 1)).unwrap(),
            "deleted" => lab.add_servers(protocol, &[12]),
            _ => {
                lab.ipvs.add_service(lab.clock, round_robin(protocol)).unwrap();
                lab.add_servers(protocol, &[12]);
            }
        },
        Some(other) => panic!("unknown step {other}"),
        None => match lab.send(6000, addr, text(step, "send")) {
            Ok(fate) => assert_eq!(fate, recorded_fate(step), "{step}"),
            Err(source) => assert_eq!(Some(source), recorded_source(step), "{step}"),
        },
    }
    // The listing is that of another process.
    lab.sleep(Duration::from_micros(1));
    if let Some(listing) = step["list"].as_str() {
        assert_eq!(lab.list(), listing, "{event} {step}");
    }
    if !step["conn"].is_null() {
        let connections = lab.connections();
        assert!(same_connections(&step["conn"], &connections, 1), "{connections:?} {event} {step}");
    }
}

#[test]
fn services_that_no_server_can_serve_answer_as_recorded() {
    for row in without_conntrack("behaviour/no_server.jsonl") {
        let kind = SchedulerKind::by_name(text(&row, "scheduler")).unwrap();
        let mut lab =
            Lab::with_servers(|protocol| ServiceSpec { scheduler: kind, ..round_robin(protocol) }, &[]);
        let (weight, upper) = match text(&row, "case") {
            "all weight 0" => (0, 0),
            _ => (1, 1),
        };
        if text(&row, "case") != "no servers" {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                for number in [11, 12] {
                    let spec = ServerSpec { upper, ..masqueraded(server(protocol, number), weight) };
                    lab.add(service(protocol), spec).unwrap();
                }
            }
        }
        for (index, got) in row["before"].as_array().into_iter().flatten().enumerate() {
            let port = 7100 + u16::try_from(index / 2).unwrap();
            let packet = if index % 2 == 0 { "c S" } else { "c udp" };
            let fate = lab.send(port, server(Protocol::Tcp, 11), packet).unwrap();
            let recorded = serde_json::json!({ "got": got });
            assert_eq!(fate.server(), recorded_fate(&recorded).server(), "{packet} {port} {row}");
        }
        for (field, port, packet) in
            [("tcpSyn", 7000, "c S"), ("udp", 7000, "c udp"), ("tcpAck", 7001, "c A")]
        {
            let fate = lab.send(port, server(Protocol::Tcp, 11), packet).unwrap();
            assert_eq!(fate, recorded_fate(&row[field]), "{field} {row}");
        }
    }
}

#[test]
fn a_deleted_server_returns_with_its_connections() {
    let rows = rows("behaviour/trash.jsonl");
    for row in rows {
        let mut lab = Lab::new();
        lab.ipvs.add_service(lab.clock, round_robin(Protocol::Tcp)).unwrap();
        lab.add_servers(Protocol::Tcp, &[11, 12, 13]);
        for port in 18_000..18_009 {
            let Ok(Fate::Server(addr)) = lab.send(port, client(port), "c S") else { panic!("a server") };
            if port < 18_006 {
                lab.play(port, addr, &["s SA", "c A"]);
            }
        }
        let (key, addr) = (service(Protocol::Tcp), server(Protocol::Tcp, 12));
        for step in row["steps"].as_array().unwrap() {
            match step["do"].as_str() {
                None => {}
                Some(change) if change.starts_with("delete") => lab.delete(key, addr).unwrap(),
                Some(_) => {
                    lab.sleep(Duration::from_secs(u64::from(number(&row, "gap"))));
                    lab.add(key, masqueraded(addr, 5)).unwrap();
                }
            }
            assert_eq!(lab.list(), text(step, "list"), "{row}");
            if !step["conns"].is_null() {
                let connections = lab.connections();
                assert!(same_connections(&step["conns"], &connections, 1), "{connections:?} {row}");
            }
            lab.sleep(MOMENT);
        }
    }
}

#[test]
fn drop_packet_drops_the_recorded_packets() {
    for row in &rows_where("behaviour/drops.jsonl", |row| !row["drop_packet"].is_null()) {
        let mut lab = Lab::with_servers(round_robin, &[11]);
        lab.ipvs.settings.drop_packet = number(row, "drop_packet");
        lab.ipvs.settings.am_droprate = number(row, "am_droprate");
        let kinds = [("new TCP connections: 1 passed, 0 dropped", "c S"), ("new UDP", "c udp")];
        for (field, packet) in kinds {
            for (index, passed) in text(row, field).chars().enumerate() {
                let port = 10_000 + u16::try_from(index).unwrap();
                let fate = lab.send(port, client(port), packet).unwrap();
                let expected =
                    if passed == '1' { matches!(fate, Fate::Server(_)) } else { fate == Fate::Silence };
                assert!(expected, "{packet} {index}: {fate:?} in {row}");
            }
        }
        // Packets of a connection that exists are never dropped.
        lab.ipvs.settings.drop_packet = 0;
        lab.play(20_000, server(Protocol::Tcp, 11), &["c S", "s SA", "c A"]);
        lab.ipvs.settings.drop_packet = number(row, "drop_packet");
        for _ in text(row, "packets of one established connection").chars() {
            let fate = lab.send(20_000, client(20_000), "c PA").unwrap();
            assert!(matches!(fate, Fate::Server(_)), "{fate:?}");
        }
    }
}

/// `drop_entry` 3 searches random buckets, so that the recorded numbers cannot be reproduced: like the kernel's, the
/// number of half-open connections falls steadily, and others stay.
#[test]
fn drop_entry_removes_half_open_connections_only() {
    for row in &rows_where("behaviour/drops.jsonl", |row| !row["drop_entry"].is_null()) {
        let mut lab = Lab::with_servers(round_robin, &[11]);
        for port in 0..300 {
            lab.play(10_000 + port, client(port), &["c S", "c udp"]);
            lab.play(20_000 + port, server(Protocol::Tcp, 11), &["c S", "s SA", "c A"]);
        }
        lab.ipvs.settings.drop_entry = number(row, "drop_entry");
        lab.advance();
        for look in row["timeline"].as_array().unwrap() {
            let count = |state: &str| u32::try_from(look["left"][state].as_u64().unwrap_or(0)).unwrap();
            let entries = lab.connections();
            let here = |state: &str| entries.iter().filter(|entry| entry.contains(state)).count() as u32;
            let is_random = number(row, "drop_entry") == 3;
            // Some of the recorded connections were idle for a minute, after which a few are removed.
            for (state, name, slack) in [
                (" ESTABLISHED ", "TCP ESTABLISHED", 30),
                (" UDP ", "UDP UDP", 30),
                (" SYN_RECV ", "TCP SYN_RECV", 60),
            ] {
                let allowed = if is_random { slack } else { 0 };
                assert!(here(state).abs_diff(count(name)) <= allowed, "{} {name} at {look}", here(state));
            }
            lab.sleep(Duration::from_secs(1));
        }
    }
}

#[test]
fn one_packet_services_schedule_every_datagram() {
    let rows = rows("behaviour/ops.jsonl");
    for row in rows {
        let one_packet = text(&row, "flags") == "-o";
        let flags = ServiceFlags { one_packet, ..ServiceFlags::default() };
        let mut lab =
            Lab::with_servers(|protocol| ServiceSpec { flags, ..round_robin(protocol) }, &[11, 12, 13]);
        for datagram in row["datagrams"].as_array().unwrap() {
            let fate = lab.send(19_000, client(0), "c udp").unwrap();
            assert_eq!(fate, recorded_fate(datagram), "{row}");
            let connections = lab.connections();
            assert!(same_connections(&datagram["conn"], &connections, 1), "{connections:?} {row}");
            let Fate::Server(src) = fate else { panic!("a server") };
            let reply = Packet { src, dst: client(19_000), transport: Transport::Udp, mark: 0 };
            let seen = serde_json::json!({ "got": datagram["reply reaches the client as"] });
            assert_eq!(Some(lab.server(reply)), recorded_source(&seen), "{row}");
        }
    }
}
