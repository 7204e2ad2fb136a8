//! Retransmission times, and when sockets give up.

use super::pair::*;
use crate::socket::{ClientProtocol, Server, SocketSettings};
use crate::time::{Duration, Instant};
use crate::trace::Outcome;
use crate::wire::{Ipv4, Tcp};

/// Times in milliseconds at which a host sent frames with that payload length, relative to the first one.
fn sent(pair: &Pair, host: usize, payload: usize) -> Vec<u128> {
    let is_wanted = |frame: &&Frame| {
        let ip = Ipv4::new_checked(&frame.l3[..]).unwrap();
        frame.from == host && Tcp::new_checked(ip.payload()).unwrap().payload().len() == payload
    };
    let times: Vec<Instant> = pair.frames.iter().filter(is_wanted).map(|frame| frame.at).collect();
    times.iter().map(|at| (*at - times[0]).as_millis()).collect()
}

fn patient(protocol: ClientProtocol) -> crate::socket::ClientSpec {
    let mut spec = client(protocol, 1);
    spec.request.deadline = Duration::from_secs(24 * 3600);
    spec
}

/// Measured on Linux 6.18, by the timestamps of the SYNs: 0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67 s and a failure after 134
/// s, with a timer wheel whose delay grows with the timeout.
#[test]
fn a_syn_is_sent_ten_times_more() {
    let mut pair = Pair::with_server(identify());
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.connect(patient(ClientProtocol::Tcp));
    pair.run();
    let seconds: Vec<u128> = sent(&pair, CLIENT, 0).iter().map(|millis| millis / 1000).collect();
    assert_eq!(seconds, [0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67]);
    assert_eq!(pair.outcome(1), Some(Outcome::Timeout));
    assert_eq!(pair.now, Instant::START + Duration::from_secs(131));
}

#[test]
fn older_kernels_double_every_interval() {
    let mut pair = Pair::with_server(identify());
    pair.settings[CLIENT] = SocketSettings { tcp_syn_linear_timeouts: 0, ..SocketSettings::default() };
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.connect(patient(ClientProtocol::Tcp));
    pair.run();
    let seconds: Vec<u128> = sent(&pair, CLIENT, 0).iter().map(|millis| millis / 1000).collect();
    assert_eq!(seconds, [0, 1, 3, 7, 15, 31, 63]);
    assert_eq!(pair.now, Instant::START + Duration::from_secs(127));
}

/// Measured: 1.0, 3.0, 7.2, 15.4, 31.6 s.
#[test]
fn a_syn_ack_is_sent_five_times_more() {
    let mut pair = Pair::with_server(identify());
    // Only the first SYN of the client is delivered.
    pair.script = Box::new(|number, frame| match number == 0 || frame.from == SERVER {
        true => Fate::Deliver,
        false => Fate::Drop,
    });
    pair.connect(client(ClientProtocol::Tcp, 1));
    pair.run_until(Instant::START + Duration::from_secs(62));
    assert_eq!(pair.open_sockets()[SERVER], 3);
    pair.run_until(Instant::START + Duration::from_secs(64));
    assert_eq!(pair.open_sockets()[SERVER], 2);
    assert_eq!(sent(&pair, SERVER, 0), [0, 1000, 3000, 7000, 15000, 31000]);
}

/// Measured: 202, 410, 838, 1666, 3298, 6754, 13410, 26466, 52578 ms and so on: a loss probe comes first.
#[test]
fn data_is_sent_again_for_a_quarter_of_an_hour() {
    let mut pair = Pair::with_server(identify());
    pair.script = Box::new(|number, _| if number < 3 { Fate::Deliver } else { Fate::Drop });
    pair.connect(patient(ClientProtocol::Tcp));
    pair.run_until(Instant::START + Duration::from_secs(900));
    let times = sent(&pair, CLIENT, 8);
    // The round trip takes one millisecond, and a timeout is a whole number of ticks.
    assert_eq!(times[..8], [0, 202, 406, 814, 1630, 3262, 6526, 13054]);
    assert_eq!(times[times.len() - 1] - times[times.len() - 2], 120_000, "the interval has a limit");
    assert_eq!(pair.outcome(1), None);
    pair.run();
    assert_eq!(pair.outcome(1), Some(Outcome::Timeout));
    // `tcp_retries2` 15 corresponds to 924.6 seconds from the first retransmission, after which a timeout must expire.
    let lasted =
        (pair.hosts[CLIENT].flow_result(crate::ids::FlowId(1)).unwrap().finished - Instant::START).as_secs();
    assert!((924..=924 + 120).contains(&lasted), "{lasted}");
}

/// Measured: 208, 420, 844, 1676, 3340, 6700, 13356, 26668, 54572 ms.
#[test]
fn a_fin_is_sent_again_for_less_long() {
    let mut pair = Pair::with_server(identify());
    pair.script = Box::new(|number, _| if number < 7 { Fate::Deliver } else { Fate::Drop });
    pair.connect(client(ClientProtocol::Tcp, 1));
    pair.run();
    let fins = sent(&pair, CLIENT, 0).split_off(3);
    let times: Vec<u128> = fins.iter().map(|millis| millis - fins[0]).collect();
    assert_eq!(times[..9], [0, 202, 406, 814, 1630, 3262, 6526, 13054, 26110]);
    assert_eq!(pair.open_sockets()[CLIENT], 0);
    // `tcp_orphan_retries` 8 corresponds to 102.2 seconds.
    assert!(pair.now - Instant::START < Duration::from_secs(210));
}

#[test]
fn the_deadline_ends_a_flow_and_its_socket() {
    // How many frames are delivered, and the sockets that the client keeps.
    for (through, left) in [(0, 0), (2, 1), (5, 1)] {
        let mut pair = Pair::with_server(Server::Discard);
        pair.script = Box::new(move |number, _| if number < through { Fate::Deliver } else { Fate::Drop });
        pair.connect(client(ClientProtocol::Tcp, 1));
        pair.run_until(Instant::START + Duration::from_millis(4999));
        assert_eq!(pair.outcome(1), None);
        pair.run_until(Instant::START + Duration::from_millis(5001));
        assert_eq!(pair.outcome(1), Some(Outcome::Timeout));
        // SYN_SENT is removed; an established connection sends its FIN and waits for the ACK.
        assert_eq!(pair.open_sockets()[CLIENT], left, "{through}");
        pair.run();
        assert_eq!(pair.open_sockets()[CLIENT], 0, "{through}");
    }
}

#[test]
fn a_half_closed_connection_waits_a_minute_for_the_peer() {
    let mut pair = Pair::with_server(Server::Discard);
    // Every FIN of the server is lost.
    pair.script = Box::new(|_, frame| {
        let ip = Ipv4::new_checked(&frame.l3[..]).unwrap();
        let has_fin = Tcp::new_checked(ip.payload()).unwrap().flags().0 & 1 == 1;
        if frame.from == SERVER && has_fin { Fate::Drop } else { Fate::Deliver }
    });
    pair.connect(client(ClientProtocol::Tcp, 1));
    pair.run();
    assert_eq!(pair.outcome(1), Some(Outcome::Timeout));
    assert_eq!(pair.open_sockets(), [0, 2]);
}
