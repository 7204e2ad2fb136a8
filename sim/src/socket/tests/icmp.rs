//! ICMP errors, by protocol and state.

use super::pair::*;
use crate::ids::FlowId;
use crate::socket::{ClientProtocol, FlowResult, SendError};
use crate::time::{Duration, Instant};
use crate::trace::{Outcome, Refusal, Unreachable};

const NETWORK: Outcome = Outcome::Unreachable(Unreachable::Network);
const HOST: Outcome = Outcome::Unreachable(Unreachable::Host);
const PROTOCOL: Outcome = Outcome::Unreachable(Unreachable::Protocol);
const PROHIBITED: Outcome = Outcome::Unreachable(Unreachable::Prohibited);
const REFUSED: Outcome = Outcome::Refused(Refusal::IcmpPortUnreachable);

/// Type and code; the outcome of a TCP connect(2); the outcome of a recv(2) on connected UDP. `None`: the socket keeps
/// waiting. The comment has the errno that Linux 6.18 returned to TCP for a hand-made error.
const ERRORS: [(u8, u8, Option<Outcome>, Option<Outcome>); 22] = [
    (3, 0, Some(NETWORK), None),                                        // ENETUNREACH
    (3, 1, Some(HOST), None),                                           // EHOSTUNREACH
    (3, 2, Some(PROTOCOL), Some(PROTOCOL)),                             // ENOPROTOOPT
    (3, 3, Some(REFUSED), Some(REFUSED)),                               // ECONNREFUSED
    (3, 4, None, Some(Outcome::Unreachable(Unreachable::MessageSize))), // EMSGSIZE, to UDP
    (3, 5, Some(HOST), None),                                           // EOPNOTSUPP
    (3, 6, Some(NETWORK), Some(NETWORK)),                               // ENETUNREACH
    (3, 7, Some(HOST), Some(HOST)),                                     // EHOSTDOWN
    (3, 8, Some(HOST), Some(HOST)),                                     // ENONET
    (3, 9, Some(PROHIBITED), Some(PROHIBITED)),                         // ENETUNREACH
    (3, 10, Some(PROHIBITED), Some(PROHIBITED)),                        // EHOSTUNREACH
    (3, 11, Some(NETWORK), None),                                       // ENETUNREACH
    (3, 12, Some(HOST), None),                                          // EHOSTUNREACH
    (3, 13, Some(PROHIBITED), Some(PROHIBITED)),                        // EHOSTUNREACH
    (3, 14, Some(HOST), Some(HOST)),                                    // EHOSTUNREACH
    (3, 15, Some(HOST), Some(HOST)),                                    // EHOSTUNREACH
    (3, 16, None, None),
    (4, 0, None, None),
    (5, 1, None, None),
    (11, 0, Some(HOST), None), // EHOSTUNREACH
    (11, 1, None, None),
    (12, 0, Some(PROTOCOL), Some(PROTOCOL)), // EPROTO
];

/// A network that loses everything.
fn void() -> Pair {
    let mut pair = Pair::new();
    pair.script = Box::new(|_, _| Fate::Drop);
    pair
}

/// Delivers an ICMP error to the client about its last frame, quoting header and eight bytes.
fn error(pair: &mut Pair, icmp_type: u8, code: u8) {
    let quoted = pair.frames.iter().rfind(|frame| frame.from == CLIENT).unwrap().l3[..28].to_vec();
    pair.call(CLIENT, |sockets, io| sockets.icmp_err(io, icmp_type, code, &quoted));
}

fn result(pair: &Pair, flow: u32) -> &FlowResult {
    pair.hosts[CLIENT].flow_result(FlowId(flow)).unwrap()
}

#[test]
fn what_an_error_means_to_a_socket_that_waits() {
    for (icmp_type, code, tcp, udp) in ERRORS {
        for (protocol, expected) in [(ClientProtocol::Tcp, tcp), (ClientProtocol::Udp, udp)] {
            let mut pair = void();
            pair.connect(client(protocol, 1));
            error(&mut pair, icmp_type, code);
            assert_eq!(pair.outcome(1), expected, "{protocol:?} {icmp_type} {code}");
            pair.run();
            assert_eq!(pair.outcome(1), expected.or(Some(Outcome::Timeout)));
            assert_eq!(pair.open_sockets(), [0, 0]);
        }
    }
}

#[test]
fn an_error_that_does_not_end_a_datagram_flow_is_noted() {
    let mut pair = void();
    pair.connect(client(ClientProtocol::Udp, 1));
    error(&mut pair, 3, 1);
    pair.run();
    assert_eq!(result(&pair, 1).outcome, Outcome::Timeout);
    assert_eq!(result(&pair, 1).icmp_errors, [(3, 1)]);
}

#[test]
fn ping_reports_every_error() {
    let mut pair = void();
    pair.connect(client(ClientProtocol::IcmpEcho, 1));
    error(&mut pair, 3, 1);
    assert_eq!(pair.outcome(1), Some(HOST));
    assert_eq!(result(&pair, 1).icmp_errors, [(3, 1)]);
    assert_eq!(pair.open_sockets(), [0, 0]);
}

#[test]
fn an_error_about_a_sequence_number_that_is_not_in_flight_is_ignored() {
    let mut pair = void();
    pair.connect(client(ClientProtocol::Tcp, 1));
    let mut quoted = pair.frames[0].l3[..28].to_vec();
    quoted[24] ^= 0x80;
    pair.call(CLIENT, |sockets, io| sockets.icmp_err(io, 3, 1, &quoted));
    assert_eq!(pair.outcome(1), None);
}

#[test]
fn an_error_that_quotes_too_little_is_ignored() {
    let mut pair = void();
    pair.connect(client(ClientProtocol::Tcp, 1));
    for length in 0..28 {
        let quoted = pair.frames[0].l3[..length].to_vec();
        pair.call(CLIENT, |sockets, io| sockets.icmp_err(io, 3, 1, &quoted));
    }
    assert_eq!(pair.outcome(1), None);
}

#[test]
fn an_established_connection_outlives_errors() {
    let mut pair = Pair::with_server(identify());
    // The request is lost once, so it is still in flight when the error arrives.
    pair.script = Box::new(|number, _| if number == 3 { Fate::Drop } else { Fate::Deliver });
    pair.connect(client(ClientProtocol::Tcp, 1));
    pair.run_for(Duration::from_millis(10));
    for (icmp_type, code, ..) in ERRORS {
        error(&mut pair, icmp_type, code);
    }
    pair.run();
    assert_eq!(pair.outcome(1), Some(Outcome::Connected));
    assert_eq!(result(&pair, 1).icmp_errors.len(), ERRORS.len());
}

#[test]
fn an_error_is_what_a_connection_is_told_when_it_times_out() {
    let mut pair = Pair::with_server(identify());
    pair.script = Box::new(|number, _| if number >= 3 { Fate::Drop } else { Fate::Deliver });
    let mut spec = client(ClientProtocol::Tcp, 1);
    spec.request.deadline = Duration::from_secs(3600);
    pair.connect(spec);
    pair.run_for(Duration::from_secs(1));
    error(&mut pair, 3, 1);
    pair.run();
    assert_eq!(pair.outcome(1), Some(HOST));
}

#[test]
fn only_some_errors_end_a_handshake() {
    for (icmp_type, code, ..) in ERRORS {
        let mut pair = Pair::with_server(identify());
        // SYN|ACKs are lost.
        pair.script = Box::new(|_, frame| if frame.from == SERVER { Fate::Drop } else { Fate::Deliver });
        pair.connect(client(ClientProtocol::Tcp, 1));
        pair.run_for(Duration::from_millis(10));
        let before = pair.open_sockets()[SERVER];
        let quoted = pair.frames.iter().rfind(|frame| frame.from == SERVER).unwrap().l3[..28].to_vec();
        pair.call(SERVER, |sockets, io| sockets.icmp_err(io, icmp_type, code, &quoted));
        let has_ended = pair.open_sockets()[SERVER] < before;
        let is_fatal = matches!((icmp_type, code), (3, 0 | 1) | (11, 0) | (12, 0));
        assert_eq!(has_ended, is_fatal, "{icmp_type} {code}");
    }
}

#[test]
fn a_failure_to_send_ends_a_datagram_flow_but_not_a_connection() {
    for (error, expected) in [
        (SendError::NetworkUnreachable, NETWORK),
        (SendError::InvalidRoute, NETWORK),
        (SendError::HostUnreachable, HOST),
        (SendError::NotPermitted, PROHIBITED),
        (SendError::MessageSize, Outcome::Unreachable(Unreachable::MessageSize)),
    ] {
        for protocol in [ClientProtocol::Tcp, ClientProtocol::Udp, ClientProtocol::IcmpEcho] {
            let mut pair = void();
            let socket = pair.connect(client(protocol, 1));
            pair.call(CLIENT, |sockets, io| sockets.fail(io, socket, error));
            let expected = if protocol == ClientProtocol::Tcp { None } else { Some(expected) };
            assert_eq!(pair.outcome(1), expected, "{protocol:?} {error:?}");
        }
    }
}

#[test]
fn a_connect_without_a_route_fails_at_once() {
    let mut pair = void();
    pair.call(CLIENT, |sockets, io| {
        sockets.connect_failed(io, client(ClientProtocol::Tcp, 1), SendError::NetworkUnreachable)
    });
    assert_eq!(pair.outcome(1), Some(NETWORK));
    assert_eq!(result(&pair, 1).finished, Instant::START);
    assert!(pair.frames.is_empty());
}
