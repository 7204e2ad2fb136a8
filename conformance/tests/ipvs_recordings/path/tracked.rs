//! `behaviour/conntrack_hooks`, `reuse` and `nodest`, packet by packet with conntrack: frames, connections and entries.

use crate::fates::STATES;
use crate::lab::same_connections;
use crate::network::{Network, Side, frames, same_conntrack};
use crate::recording::{number, rows, text};
use serde_json::Value;
use sim::time::Duration;

/// The time between a change and the first look at it.
const MOMENT: Duration = Duration::from_millis(50);
/// Longer than a tick.
const TICK: Duration = Duration::from_millis(8);

/// Sends the packet of a step; the frames that arrived, and those that came back if the row has them, must be the recorded
/// ones.
fn send(network: &mut Network, port: u16, server: u8, step: &Value, row: &Value) {
    let packet = text(step, "send");
    let seen = network.send(port, server, packet);
    let from = if packet.starts_with('c') { Side::Client } else { Side::Server };
    assert_eq!(seen.at(from.other()), frames(step, "got"), "{step} in {row}");
    if !step["back"].is_null() {
        assert_eq!(seen.at(from), frames(step, "back"), "{step} in {row}");
    }
}

/// The entries of both tables whose lines have `word` must be the recorded ones. A connection that was given up is listed
/// until the next tick, which the recording may show or not; with conntrack, its entry goes then.
fn compare_tables(network: &mut Network, word: &str, step: &Value, row: &Value) {
    let is_given_up = |line: &str| line.ends_with(" 0");
    network.sleep(TICK);
    let mut connections = network.connections();
    connections.retain(|line| line.contains(word) && !is_given_up(line));
    let mut entries = network.conntrack();
    entries.retain(|line| line.contains(word));
    let shown = format!("{connections:#?}\n{entries:#?}\n{step}\nin {row}");
    if let Some(recorded) = step["conn"].as_array() {
        let is_kept = |line: &&Value| !is_given_up(line.as_str().unwrap());
        let recorded: Value = recorded.iter().filter(is_kept).cloned().collect();
        assert!(same_connections(&recorded, &connections, 1), "{shown}");
    }
    let has_entries = step["conntrack"].is_null() || same_conntrack(&step["conntrack"], &entries, 1);
    assert!(has_entries, "{shown}");
}

#[test]
fn connections_have_the_recorded_entries() {
    for row in rows("behaviour/conntrack_hooks.jsonl") {
        let mut network = Network::with_servers(&[11, 12]);
        network.load(match text(&row, "rule") {
            "no rule" => "",
            "empty nat rule" => "*nat\n-A POSTROUTING -s 1.2.3.4\nCOMMIT\n",
            "nat rule with MASQUERADE that never matches" => {
                "*nat\n-A POSTROUTING -s 1.2.3.4 -j MASQUERADE\nCOMMIT\n"
            }
            "-m conntrack rule" => "*filter\n-A FORWARD -m conntrack --ctstate INVALID\nCOMMIT\n",
            "filter rule without conntrack match" => "*filter\n-A FORWARD -s 1.2.3.4\nCOMMIT\n",
            other => panic!("unknown rule {other}"),
        });
        network.set("conntrack", number(&row, "vs.conntrack"));
        for step in row["steps"].as_array().unwrap() {
            let port = if text(step, "send") == "c udp" { 4501 } else { 4500 };
            send(&mut network, port, 12, step, &row);
            compare_tables(&mut network, &format!("{port} "), step, &row);
            if !step["answer"].is_null() {
                let seen = network.send(port, 12, "s udp");
                assert_eq!(seen.client, frames(step, "answer"), "{row}");
                let tables = serde_json::json!({ "conntrack": step["conntrackAfterAnswer"] });
                compare_tables(&mut network, &format!("{port} "), &tables, &row);
            }
        }
    }
}

#[test]
fn a_syn_on_an_existing_connection_has_the_recorded_fate() {
    let rows = rows("behaviour/reuse.jsonl");
    let case = |row: &Value| {
        let number = |field| number(row, field);
        let settings = (number("conntrack"), number("conn_reuse_mode"), number("expire_nodest_conn"));
        (settings, text(row, "server").to_owned())
    };
    for rows in rows.chunk_by(|a, b| case(a) == case(b)) {
        let mut network = reuse_network(&rows[0]);
        for row in rows {
            let state = STATES.iter().position(|(state, _)| *state == text(row, "state"));
            let port = 5000 + u16::try_from(state.expect("a known state")).unwrap();
            for syn in row["syns"].as_array().unwrap() {
                send(&mut network, port, 11, syn, row);
                compare_tables(&mut network, &format!("{port} "), syn, row);
                network.sleep(Duration::from_secs(1));
            }
        }
    }
}

/// One server with a connection in every state, then two more servers, then what happens to the first.
fn reuse_network(row: &Value) -> Network {
    let mut network = Network::with_servers(&[11]);
    network.set_conntrack(row);
    for name in ["conn_reuse_mode", "expire_nodest_conn"] {
        network.set(name, number(row, name));
    }
    for (port, (_, packets)) in (5000..).zip(STATES) {
        network.play(port, 11, packets);
    }
    network.add_servers(&[12, 13]);
    match text(row, "server") {
        "ok" => {}
        "weight0" => network.ipvsadm("-e -t 10.96.0.1:80 -r 10.244.0.11:8080 -m -w 0\n"),
        "deleted" => network.ipvsadm("-d -t 10.96.0.1:80 -r 10.244.0.11:8080\n"),
        other => panic!("unknown fate {other}"),
    }
    network.sleep(MOMENT);
    network
}

#[test]
fn flows_whose_server_goes_away_have_the_recorded_fate() {
    for row in rows("behaviour/nodest.jsonl") {
        let mut network = Network::with_servers(&[11, 12]);
        network.set_conntrack(&row);
        network.set("expire_nodest_conn", number(&row, "expire_nodest_conn"));
        for step in row["steps"].as_array().unwrap() {
            match step["do"].as_str() {
                Some("flow established") if text(&row, "proto") == "tcp" => {
                    network.play(6000, 12, &["c S", "s SA", "c A"]);
                }
                Some("flow established") => network.play(6000, 12, &["c udp", "s udp"]),
                Some(change) => network.ipvsadm(&commands(change, &row)),
                None => send(&mut network, 6000, 12, step, &row),
            }
            compare_tables(&mut network, "", step, &row);
            network.sleep(MOMENT);
        }
    }
}

/// What happens to the server, or to its service.
fn commands(change: &str, row: &Value) -> String {
    let (service, server) = match text(row, "proto") {
        "tcp" => ("-t 10.96.0.1:80", "10.244.0.12:8080"),
        _ => ("-u 10.96.0.2:53", "10.244.0.12:5353"),
    };
    match (change, text(row, "event")) {
        ("weight0", _) => format!("-e {service} -r {server} -m -w 0\n"),
        ("deleted", _) => format!("-d {service} -r {server}\n"),
        ("service-deleted", _) => format!("-D {service}\n"),
        ("server back with weight 1", "weight0") => format!("-e {service} -r {server} -m -w 1\n"),
        ("server back with weight 1", "deleted") => format!("-a {service} -r {server} -m\n"),
        ("server back with weight 1", _) => format!("-A {service} -s rr\n-a {service} -r {server} -m\n"),
        (other, _) => panic!("unknown step {other}"),
    }
}
