//! Lost, duplicated and reordered frames: the exchange still completes.

use super::pair::*;
use crate::socket::ClientProtocol;
use crate::time::{Duration, Instant};
use crate::trace::Outcome;

/// Runs one exchange in which the frame with that number meets the given fate, and checks that it succeeds and that
/// both hosts become idle: no connection, handshake or active timer remains.
fn check(number: usize, fate: Fate) -> Pair {
    let mut pair = Pair::with_server(identify());
    pair.script = Box::new(move |sent, _| if sent == number { fate } else { Fate::Deliver });
    pair.connect(client(ClientProtocol::Tcp, 1));
    pair.run();
    assert_eq!(pair.outcome(1), Some(Outcome::Connected), "{fate:?} {number}\n{}", pair.tcpdump());
    assert_eq!(pair.open_sockets(), [0, 2], "{fate:?} {number}\n{}", pair.tcpdump());
    pair
}

#[test]
fn each_lost_frame_is_made_good() {
    for number in 0..10 {
        let pair = check(number, Fate::Drop);
        assert!(!pair.tcpdump().contains("[R"), "unexpected RST:\n{}", pair.tcpdump());
    }
}

#[test]
fn each_doubled_frame_does_no_harm() {
    for number in 0..10 {
        check(number, Fate::Duplicate);
    }
}

#[test]
fn each_delayed_frame_does_no_harm() {
    for number in 0..10 {
        for millis in [1, 3, 150, 700] {
            check(number, Fate::Delay(Duration::from_millis(millis)));
        }
    }
}

#[test]
fn both_hosts_come_to_rest_after_time_wait() {
    let mut pair = Pair::with_server(identify());
    pair.connect(client(ClientProtocol::Tcp, 1));
    pair.run_until(Instant::START + Duration::from_secs(59));
    assert_eq!(pair.open_sockets(), [1, 2]);
    pair.run_until(Instant::START + Duration::from_secs(61));
    assert_eq!(pair.open_sockets(), [0, 2]);
}
