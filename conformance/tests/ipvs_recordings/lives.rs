//! `behaviour/lifetimes`: how long connections last.
//!
//! Kernel timers are late by up to an eighth, depending on the tick in which they are set. The recording does not say which
//! that was: some position of the wheel must explain each row.

use crate::lab::{Lab, round_robin, same_connections, server};
use crate::recording::{number, rows, text};
use serde_json::Value;
use sim::ipvs::{Protocol, Timeouts};
use sim::time::Duration;

/// The cases with their ports and packets.
const CASES: [(u16, &str, &[&str]); 9] = [
    (4000, "SYN_RECV", &["c S"]),
    (4001, "ESTABLISHED", &["c S", "s SA", "c A"]),
    (4002, "FIN_WAIT", &["c S", "s SA", "c A", "s FA"]),
    (4003, "CLOSE_WAIT", &["c S", "s SA", "c A", "c FA"]),
    (4004, "LAST_ACK", &["c S", "s SA", "c A", "c FA", "s FA"]),
    (4005, "TIME_WAIT", &["c S", "s SA", "c A", "s FA", "c FA"]),
    (4006, "CLOSE", &["c S", "s SA", "c A", "c RA"]),
    (4100, "UDP unanswered", &["c udp"]),
    (4101, "UDP answered", &["c udp", "s udp"]),
];

/// The wheel repeats itself for timers up to 900 s after this time.
const REVOLUTION_MS: u64 = 16_384;
const STEP_MS: u64 = 100;
/// The recording looked every half second, and less often after some minutes.
fn pause_before(seconds: f64) -> f64 {
    if seconds < 200.0 { 0.7 } else { 2.1 }
}

fn lab(start: Duration) -> Lab {
    let mut lab = Lab::new();
    lab.sleep(start);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        lab.ipvs.add_service(lab.clock, round_robin(protocol)).unwrap();
        lab.add_servers(protocol, &[11, 12]);
    }
    lab
}

/// Opens the connection of a case.
fn open(lab: &mut Lab, port: u16, packets: &[&str]) {
    let protocol = if port < 4100 { Protocol::Tcp } else { Protocol::Udp };
    // The servers alternate, beginning with the last one added.
    let number = if port.is_multiple_of(2) { 12 } else { 11 };
    lab.play(port, server(protocol, number), packets);
}

#[test]
fn connections_last_as_long_as_recorded() {
    let rows: Vec<Value> = rows("behaviour/lifetimes.jsonl");
    let ends: Vec<&Value> = rows
        .iter()
        .filter(|row| !row["goneAfterSeconds"].is_null() && number(row, "conntrack") == 0)
        .collect();
    assert_eq!(ends.len(), CASES.len(), "a row for each case");
    for row in ends {
        let gone = row["goneAfterSeconds"].as_f64().unwrap();
        let explains = |step: u64| {
            let mut lab = lab(Duration::from_millis(step * STEP_MS));
            for (port, _, packets) in CASES {
                open(&mut lab, port, packets);
            }
            let begin = lab.clock.now;
            let mut is_there = |seconds: f64| {
                lab.clock.now = begin + Duration::from_secs_f64(seconds);
                lab.connections().iter().any(|entry| entry.contains(&format!(":{} ", row["port"])))
            };
            is_there(gone - pause_before(gone)) && !is_there(gone)
        };
        assert!((0..REVOLUTION_MS / STEP_MS).any(explains), "no position of the timer wheel explains {row}");
    }
}

#[test]
fn connections_begin_with_the_recorded_timeouts() {
    let rows: Vec<Value> = rows("behaviour/lifetimes.jsonl");
    for row in rows.iter().filter(|row| !row["conn"].is_null() && number(row, "conntrack") == 0) {
        let mut lab = lab(Duration::ZERO);
        if !row["set"].is_null() {
            let (tcp, tcp_fin, udp) = (20, 15, 25);
            assert_eq!(text(row, "set"), format!("--set {tcp} {tcp_fin} {udp}"));
            let seconds = Duration::from_secs;
            lab.ipvs.timeouts = Timeouts { tcp: seconds(tcp), tcp_fin: seconds(tcp_fin), udp: seconds(udp) };
        }
        for (port, _, packets) in CASES {
            open(&mut lab, port, packets);
        }
        let case = text(row, "case");
        let name = if case == "udp" { "UDP unanswered" } else { case };
        let (port, ..) = CASES.into_iter().find(|one| one.1 == name).unwrap();
        let mut entries = lab.connections();
        entries.retain(|entry| entry.contains(&format!(":{port} ")));
        assert!(same_connections(&row["conn"], &entries, 1), "{entries:?} {row}");
    }
}
