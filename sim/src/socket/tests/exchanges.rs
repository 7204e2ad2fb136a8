//! Complete TCP exchanges, compared with a real kernel frame by frame and millisecond by millisecond.
//!
//! `exchanges.txt` was recorded by tcpdump on the client's end of a veth between two network namespaces of Linux 6.18
//! (HZ 250, `tcp_rmem[2]` 6291456 as in 6.12). Client and server are a few lines of Python: connect, send, recv, close;
//! accept, recv, send, recv, close. One frame was dropped by an nft rule (`tcp dport 80 numgen inc mod 10000 == N
//! drop`, or `sport`) on the receiving side. Each line starts with the milliseconds since the first frame of the same
//! host, according to its timestamps option.
//!
//! Losses of the first SYN|ACK and of the server's FIN are omitted: both hosts then retransmit at the same moment, in
//! random order.

use super::pair::*;
use crate::ids::FlowId;
use crate::socket::{ClientProtocol, Request};
use crate::time::Duration;
use crate::trace::Outcome;

#[test]
fn exchanges_have_the_frames_of_a_real_kernel() {
    let recorded = include_str!("exchanges.txt");
    let mut count = 0;
    for case in recorded.split("\n== ") {
        let (name, frames) = case.trim_start_matches("== ").split_once('\n').unwrap();
        let words: Vec<&str> = name.split(' ').collect();
        let pair = match words[..] {
            ["lost", direction, number] => exchange_with_loss(direction, number.parse().unwrap()),
            ["requests", "with", "pauses"] => requests_with_pauses(),
            _ => panic!("{name}"),
        };
        check(name, frames, &pair.tcpdump());
        count += 1;
    }
    assert_eq!(count, 9);
}

/// Compares frames exactly, and times with a tolerance for a tick, for the timer wheel (which is up to an eighth late),
/// and for scheduling delays.
fn check(name: &str, recorded: &str, simulated: &str) {
    let split = |line: &str| {
        let (time, frame) = line.split_once(' ').unwrap();
        (time.parse::<i64>().unwrap(), frame.to_owned())
    };
    let recorded: Vec<_> = recorded.trim_end().lines().map(split).collect();
    let simulated: Vec<_> = simulated.lines().map(split).collect();
    let frames = |list: &[(i64, String)]| list.iter().map(|(_, frame)| frame.clone()).collect::<Vec<_>>();
    assert_eq!(frames(&recorded), frames(&simulated), "{name}");
    for ((real, frame), (virt, _)) in recorded.iter().zip(&simulated) {
        assert!((real - virt).abs() <= 15 + real / 8, "{name}: {frame}: {real} ms, simulated {virt} ms");
    }
}

fn exchange_with_loss(direction: &str, number: usize) -> Pair {
    let from = if direction == "c>s" { CLIENT } else { SERVER };
    let mut pair = Pair::with_server(identify());
    let mut sent = 0;
    pair.script = Box::new(move |_, frame| {
        sent += usize::from(frame.from == from);
        if frame.from == from && sent == number + 1 { Fate::Drop } else { Fate::Deliver }
    });
    pair.connect(client(ClientProtocol::Tcp, 1));
    pair.run();
    assert_eq!(pair.outcome(1), Some(Outcome::Connected));
    pair
}

/// Four requests over one connection: two immediately, one after 300 ms, one immediately; 300 ms later the client
/// closes.
fn requests_with_pauses() -> Pair {
    let mut pair = Pair::with_server(identify());
    let mut spec = client(ClientProtocol::Tcp, 0);
    spec.is_kept_open = true;
    let socket = pair.connect(spec);
    for flow in 1..4 {
        pair.run_for(Duration::from_millis(if flow == 2 { 302 } else { 2 }));
        assert_eq!(pair.outcome(flow - 1), Some(Outcome::Connected));
        let request =
            Request { flow: FlowId(flow), bytes: b"hairpin\n".to_vec(), deadline: Duration::from_secs(5) };
        pair.call(CLIENT, |sockets, io| sockets.send_again(io, socket, request)).unwrap();
    }
    pair.run_for(Duration::from_millis(302));
    pair.call(CLIENT, |sockets, io| sockets.close(io, socket));
    pair.run();
    pair
}
