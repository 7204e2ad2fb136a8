//! UDP and ICMP echo.

use super::pair::*;
use crate::drop_reason::DropReason;
use crate::ids::FlowId;
use crate::socket::{ClientProtocol, Delivery, Request, SendAgainError, Server};
use crate::time::{Duration, Instant};
use crate::trace::Outcome;
use crate::wire::build::{self, Ipv4Fields};
use crate::wire::{Ipv4, Udp, protocol};
use std::net::Ipv4Addr;

fn request(flow: u32) -> Request {
    Request { flow: FlowId(flow), bytes: b"again\n".to_vec(), deadline: Duration::from_secs(1) }
}

fn packet(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, l4: &[u8]) -> Vec<u8> {
    let fields = Ipv4Fields { src, dst, protocol, ttl: 64, tos: 0, ident: 0, dont_fragment: true };
    build::ipv4(fields, l4).split_off(14)
}

#[test]
fn a_request_is_answered_by_the_one_who_was_asked() {
    let mut pair = Pair::with_server(identify());
    pair.connect(client(ClientProtocol::Udp, 1));
    pair.run();
    let result = pair.hosts[CLIENT].flow_result(FlowId(1)).unwrap();
    assert_eq!(result.outcome, Outcome::Connected);
    assert_eq!(result.reply_from, Some((ADDRS[SERVER], PORT)));
    let line = format!("web-0 10.1.0.1:{} 10.1.0.2:{PORT}\n", result.local.1);
    assert_eq!(result.reply.as_deref(), Some(line.as_bytes()));
    assert_eq!(pair.open_sockets(), [0, 2]);
}

#[test]
fn a_datagram_that_nobody_answers_times_out() {
    let mut pair = Pair::with_server(Server::Discard);
    pair.connect(client(ClientProtocol::Udp, 1));
    pair.run();
    assert_eq!(pair.outcome(1), Some(Outcome::Timeout));
    assert_eq!(pair.now, Instant::START + Duration::from_secs(5));
    assert_eq!(pair.frames.len(), 1, "nothing is retransmitted");
}

#[test]
fn an_echo_comes_back_as_it_went() {
    let mut pair = Pair::with_server(Server::Echo);
    for (flow, protocol) in [(1, ClientProtocol::Udp), (2, ClientProtocol::Tcp)] {
        let mut spec = client(protocol, flow);
        // Without a newline, TCP recognizes its end by the request.
        spec.request.bytes = b"no newline".to_vec();
        pair.connect(spec);
        pair.run();
        let result = pair.hosts[CLIENT].flow_result(FlowId(flow)).unwrap();
        assert_eq!((result.outcome, result.reply.as_deref()), (Outcome::Connected, Some(&b"no newline"[..])));
    }
}

#[test]
fn a_socket_that_is_kept_open_sends_again_from_the_same_port() {
    for protocol in [ClientProtocol::Udp, ClientProtocol::Tcp] {
        let mut pair = Pair::with_server(identify());
        let mut spec = client(protocol, 1);
        spec.is_kept_open = true;
        let socket = pair.connect(spec);
        let pending = pair.call(CLIENT, |sockets, io| sockets.send_again(io, socket, request(2)));
        assert_eq!(pending, Err(SendAgainError::Pending));
        pair.run();
        pair.call(CLIENT, |sockets, io| sockets.send_again(io, socket, request(2))).unwrap();
        pair.run();
        let results = [1, 2].map(|flow| pair.hosts[CLIENT].flow_result(FlowId(flow)).unwrap());
        assert_eq!(results[0].local, results[1].local);
        assert_eq!(results.map(|result| result.outcome), [Outcome::Connected; 2]);
        assert_eq!(results.map(|result| result.socket), [socket; 2]);
        let later = pair.frames.iter().filter(|frame| frame.flow == Some(FlowId(2))).count();
        assert!(later >= 2, "frames belong to the flow that caused them");
        pair.call(CLIENT, |sockets, io| sockets.close(io, socket));
        pair.run();
        let closed = pair.call(CLIENT, |sockets, io| sockets.send_again(io, socket, request(3)));
        assert_eq!(closed, Err(SendAgainError::Closed), "{protocol:?}");
        assert_eq!(pair.open_sockets(), [0, 2]);
    }
}

#[test]
fn a_connected_socket_hears_its_peer_only() {
    let mut pair = Pair::new();
    pair.connect(client(ClientProtocol::Udp, 1));
    let port = {
        let l4 = &pair.frames[0].l3[20..];
        u16::from_be_bytes([l4[0], l4[1]])
    };
    let stranger = Ipv4Addr::new(10, 1, 0, 9);
    for (from, expected) in [
        ((stranger, PORT), Delivery::NoSocket),
        ((V4[SERVER], PORT + 1), Delivery::NoSocket),
        ((V4[SERVER], PORT), Delivery::Delivered(crate::ids::SocketId(0))),
        // The flow is over, and the socket with it.
        ((V4[SERVER], PORT), Delivery::NoSocket),
    ] {
        let l4 = build::udp(from, (V4[CLIENT], port), b"hello");
        let l3 = packet(from.0, V4[CLIENT], protocol::UDP, &l4);
        assert_eq!(pair.inject(CLIENT, &l3, None), expected, "{from:?}");
    }
    assert_eq!(pair.outcome(1), Some(Outcome::Connected));
}

#[test]
fn malformed_datagrams_are_dropped() {
    let good = build::udp((ADDRS[CLIENT], 5000), (ADDRS[SERVER], PORT), b"hello");
    let mut no_checksum = good.clone();
    no_checksum[6..8].fill(0);
    let mut bad_checksum = good.clone();
    bad_checksum[6] ^= 1;
    let mut too_long = good.clone();
    too_long[5] += 1;
    let truncated = good[..7].to_vec();
    let dropped = Delivery::Dropped(DropReason::UdpChecksum);
    for (l4, is_taken) in
        [(good, true), (no_checksum, true), (bad_checksum, false), (too_long, false), (truncated, false)]
    {
        let mut pair = Pair::with_server(identify());
        let l3 = packet(V4[CLIENT], V4[SERVER], protocol::UDP, &l4);
        let delivery = pair.inject(SERVER, &l3, None);
        assert_eq!(matches!(delivery, Delivery::Delivered(_)), is_taken, "{l4:?}");
        assert_eq!(delivery == dropped, !is_taken, "{l4:?}");
        assert_eq!(pair.frames.len(), usize::from(is_taken), "{l4:?}");
    }
}

#[test]
fn a_datagram_to_a_closed_port_finds_no_socket() {
    let mut pair = Pair::new();
    pair.connect(client(ClientProtocol::Udp, 1));
    pair.run();
    assert_eq!(pair.deliveries, [(SERVER, Delivery::NoSocket)]);
    assert_eq!(pair.frames.len(), 1, "the ICMP error is for the stack to send");
}

/// Turns echo requests into replies, as the other host's stack does.
fn pong(request: &[u8]) -> Vec<u8> {
    let ip = Ipv4::new_checked(request).unwrap();
    let icmp = ip.payload();
    let reply = build::icmpv4(0, 0, icmp[4..8].try_into().unwrap(), &icmp[8..]);
    packet(ip.dst(), ip.src(), protocol::ICMP, &reply)
}

#[test]
fn a_ping_takes_the_reply_to_its_last_request() {
    let mut pair = Pair::new();
    pair.script = Box::new(|_, _| Fate::Drop);
    let mut spec = client(ClientProtocol::IcmpEcho, 1);
    spec.is_kept_open = true;
    let socket = pair.connect(spec);
    let first = pong(&pair.frames[0].l3);
    pair.run();
    assert_eq!(pair.outcome(1), Some(Outcome::Timeout));
    pair.call(CLIENT, |sockets, io| sockets.send_again(io, socket, request(2))).unwrap();
    let second = pong(&pair.frames[1].l3);
    let mut other = second.clone();
    other[24] ^= 1;
    assert_eq!(pair.inject(CLIENT, &other, None), Delivery::NoSocket, "another identifier");
    assert!(matches!(pair.inject(CLIENT, &first, None), Delivery::Delivered(_)));
    assert_eq!(pair.outcome(2), None, "the reply to the first request comes too late");
    assert!(matches!(pair.inject(CLIENT, &second, None), Delivery::Delivered(_)));
    let result = pair.hosts[CLIENT].flow_result(FlowId(2)).unwrap();
    assert_eq!((result.outcome, result.reply.as_deref()), (Outcome::Connected, Some(&b"again\n"[..])));
    assert_eq!(result.reply_from, Some((ADDRS[SERVER], 0)));
}

#[test]
fn identifications_count_in_connected_sockets_and_are_left_open_in_others() {
    let mut pair = Pair::with_server(identify());
    let mut spec = client(ClientProtocol::Udp, 1);
    spec.is_kept_open = true;
    let socket = pair.connect(spec);
    pair.run();
    pair.call(CLIENT, |sockets, io| sockets.send_again(io, socket, request(2))).unwrap();
    pair.run();
    let idents: Vec<Option<u16>> = pair.idents.clone();
    let [Some(first), None, Some(second), None] = idents[..] else { panic!("{idents:?}") };
    assert_eq!(second, first.wrapping_add(1));
}

#[test]
fn a_datagram_has_a_checksum() {
    let mut pair = Pair::new();
    pair.connect(client(ClientProtocol::Udp, 1));
    let ip = Ipv4::new_checked(&pair.frames[0].l3[..]).unwrap();
    let udp = Udp::new_checked(ip.payload()).unwrap();
    assert_ne!(udp.checksum(), 0);
    assert_eq!(udp.payload(), b"hairpin\n");
}
