//! `behaviour/tcp_states`: every continuation of a SYN by three packets; `first_packet`: which packets open a connection.

use crate::lab::{Fate, Lab, recorded_fate, round_robin, same_connections, server};
use crate::recording::{number, rows, text};
use serde_json::Value;
use sim::ipvs::Protocol;
use sim::time::Duration;

/// The states and seconds are read a moment after each packet.
const SLACK: u64 = 1;
/// Longer than a tick.
const TICK: Duration = Duration::from_millis(8);

#[test]
fn every_sequence_of_packets_leads_to_the_recorded_states() {
    let rows = rows("behaviour/tcp_states.jsonl");
    for row in &rows {
        let mut lab = Lab::with_servers(round_robin, &[11]);
        lab.ipvs.settings.secure_tcp = number(row, "secure_tcp");
        let list = |field: &str| row[field].as_array().unwrap().clone();
        let steps = list("packets").into_iter().zip(list("states")).zip(list("timers"));
        for (step, ((packet, state), seconds)) in steps.enumerate() {
            lab.play(4000, server(Protocol::Tcp, 11), &[packet.as_str().unwrap()]);
            // A closed connection that was replaced ends with the next tick.
            lab.sleep(TICK);
            let connections = lab.connections();
            let expected = format!(
                "TCP 172.16.0.9:4000 10.96.0.1:80 10.244.0.11:8080 {} {seconds}",
                state.as_str().unwrap()
            );
            let expected = Value::from(vec![expected]);
            assert!(
                same_connections(&expected, &connections, SLACK),
                "step {step}: {connections:?} in {row}"
            );
        }
    }
}

#[test]
fn the_recorded_packets_open_connections() {
    let rows = rows("behaviour/first_packet.jsonl");
    let settings = |row: &Value| (number(row, "sloppy_tcp"), number(row, "conntrack"));
    for rows in rows.chunk_by(|a, b| settings(a) == settings(b)) {
        let mut lab = Lab::with_servers(round_robin, &[11, 12]);
        lab.ipvs.settings.sloppy_tcp = number(&rows[0], "sloppy_tcp") == 1;
        for (port, row) in (3000..).zip(rows) {
            let fate = lab.send(port, server(Protocol::Tcp, 11), text(row, "send")).unwrap();
            assert_eq!(fate, recorded_fate(row), "{row}");
            let mut connections = lab.connections();
            connections.retain(|entry| entry.contains(&format!("172.16.0.9:{port} ")));
            assert!(same_connections(&row["conn"], &connections, SLACK), "{connections:?}: {row}");
            assert_eq!(connections.is_empty(), !matches!(fate, Fate::Server(_)), "{row}");
        }
    }
}
