//! Port allocation and socket lookup.

use super::pair::*;
use crate::ids::{FlowId, SocketId};
use crate::socket::{AddressInUse, ClientProtocol, ConnectError, Server, SocketSettings};
use crate::time::{Duration, Instant};
use crate::trace::Outcome;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

const A: Option<IpAddr> = Some(ADDRS[SERVER]);
const B: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(10, 1, 0, 3)));

#[test]
fn what_may_be_bound_beside_what() {
    for (first, second, is_free) in
        [(None, None, false), (None, A, false), (A, None, false), (A, A, false), (A, B, true)]
    {
        let mut pair = Pair::new();
        let sockets = &mut pair.hosts[SERVER];
        sockets.tcp_listen(first, PORT, identify(), RCVBUF).unwrap();
        sockets.udp_bind(first, PORT, identify()).unwrap();
        assert_eq!(
            sockets.tcp_listen(second, PORT, identify(), RCVBUF).is_ok(),
            is_free,
            "{first:?} {second:?}"
        );
        assert_eq!(sockets.udp_bind(second, PORT, identify()).is_ok(), is_free, "{first:?} {second:?}");
        assert!(sockets.tcp_listen(second, PORT + 1, identify(), RCVBUF).is_ok());
    }
}

#[test]
fn a_closed_listener_frees_its_port() {
    let mut pair = Pair::new();
    for _ in 0..2 {
        let tcp = pair.hosts[SERVER].tcp_listen(None, PORT, identify(), RCVBUF).unwrap();
        let udp = pair.hosts[SERVER].udp_bind(None, PORT, identify()).unwrap();
        assert_eq!(pair.hosts[SERVER].tcp_listen(None, PORT, identify(), RCVBUF), Err(AddressInUse));
        for socket in [tcp, udp] {
            pair.call(SERVER, |sockets, io| sockets.close(io, socket));
        }
        assert_eq!(pair.open_sockets(), [0, 0]);
    }
}

fn named(name: &str) -> Server {
    Server::Identify { name: name.into() }
}

#[test]
fn a_server_on_the_address_goes_before_one_on_all() {
    for protocol in [ClientProtocol::Tcp, ClientProtocol::Udp] {
        let mut pair = Pair::new();
        // They cannot be bound together without SO_REUSEADDR, but each is found alone.
        for (addr, expected) in [(A, Some("own")), (None, Some("own")), (B, None)] {
            let mut pair = std::mem::replace(&mut pair, Pair::new());
            pair.hosts[SERVER].tcp_listen(addr, PORT, named("own"), RCVBUF).unwrap();
            pair.hosts[SERVER].udp_bind(addr, PORT, named("own")).unwrap();
            pair.connect(client(protocol, 1));
            pair.run();
            let reply = pair.hosts[CLIENT].flow_result(FlowId(1)).unwrap().reply.clone();
            let reply = reply.map(|bytes| String::from_utf8(bytes).unwrap());
            let name = reply.as_deref().and_then(|line| line.split(' ').next());
            assert_eq!(name, expected, "{protocol:?} {addr:?}");
        }
    }
}

/// A client host with two to eight ephemeral ports.
fn with_ports(first: u16, last: u16) -> Pair {
    let mut pair = Pair::with_server(identify());
    pair.settings[CLIENT] = SocketSettings { ephemeral_ports: (first, last), ..SocketSettings::default() };
    pair
}

#[test]
fn tcp_takes_ports_of_the_first_parity_first() {
    let mut pair = with_ports(40_000, 40_007);
    let mut ports = Vec::new();
    for flow in 0..8 {
        pair.connect(client(ClientProtocol::Tcp, flow));
        ports.push(source_port(&pair));
    }
    assert!(ports[..4].iter().all(|port| port % 2 == 0), "{ports:?}");
    assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 8, "{ports:?}");
    let refused = pair.call(CLIENT, |sockets, io| sockets.connect(io, client(ClientProtocol::Tcp, 8)));
    assert_eq!(refused, Err(ConnectError::AddressNotAvailable));
    // The same ports can be used for another destination.
    let mut other = client(ClientProtocol::Tcp, 9);
    other.dst_port = PORT + 1;
    pair.connect(other);
    pair.run();
    assert!((0..8).all(|flow| pair.outcome(flow) == Some(Outcome::Connected)));
}

fn source_port(pair: &Pair) -> u16 {
    let l4 = &pair.frames.last().unwrap().l3[20..];
    u16::from_be_bytes([l4[0], l4[1]])
}

#[test]
fn udp_and_ping_run_out_of_ports_too() {
    let mut pair = with_ports(40_000, 40_001);
    for flow in 0..2 {
        pair.connect(client(ClientProtocol::Udp, flow));
    }
    let refused = pair.call(CLIENT, |sockets, io| sockets.connect(io, client(ClientProtocol::Udp, 2)));
    assert_eq!(refused, Err(ConnectError::AddressNotAvailable));
    for wanted in [ClientProtocol::Udp, ClientProtocol::IcmpEcho] {
        let mut spec = client(wanted, 3);
        spec.src_port = Some(40_100);
        pair.connect(spec.clone());
        spec.request.flow = FlowId(4);
        let refused = pair.call(CLIENT, |sockets, io| sockets.connect(io, spec));
        assert_eq!(refused, Err(ConnectError::AddressInUse), "{wanted:?}");
    }
}

#[test]
fn a_port_in_time_wait_is_not_taken_again_unless_it_goes_over_the_loopback() {
    for (addr, wait, is_free) in [
        (ADDRS[CLIENT], 10, false),
        (Ipv4Addr::LOCALHOST.into(), 0, false),
        (Ipv4Addr::LOCALHOST.into(), 10, true),
    ] {
        let mut pair = with_ports(40_000, 40_000);
        let mut spec = client(ClientProtocol::Tcp, 1);
        spec.src = addr;
        pair.connect(spec.clone());
        pair.run_for(Duration::from_secs(wait));
        assert_eq!(pair.outcome(1), if wait == 0 { None } else { Some(Outcome::Connected) });
        spec.request.flow = FlowId(2);
        let second = pair.call(CLIENT, |sockets, io| sockets.connect(io, spec));
        assert_eq!(second.is_ok(), is_free, "{addr} {wait}");
        pair.run();
        assert_eq!(pair.outcome(2), is_free.then_some(Outcome::Connected));
    }
}

#[test]
fn a_listening_or_bound_port_is_no_ephemeral_port() {
    let mut pair = with_ports(40_000, 40_003);
    pair.hosts[CLIENT].tcp_listen(None, 40_000, identify(), RCVBUF).unwrap();
    let mut bound = client(ClientProtocol::Tcp, 1);
    bound.src_port = Some(40_002);
    pair.connect(bound);
    let ports: BTreeSet<u16> = (2..4)
        .map(|flow| {
            pair.connect(client(ClientProtocol::Tcp, flow));
            source_port(&pair)
        })
        .collect();
    assert_eq!(ports, BTreeSet::from([40_001, 40_003]));
    let mut wanted = client(ClientProtocol::Tcp, 5);
    wanted.src_port = Some(40_000);
    let refused = pair.call(CLIENT, |sockets, io| sockets.connect(io, wanted));
    assert_eq!(refused, Err(ConnectError::AddressInUse));
}

#[test]
fn a_full_queue_of_handshakes_drops_syns() {
    let mut pair = Pair::with_server(identify());
    pair.settings[SERVER] = SocketSettings { listen_backlog: 2, ..SocketSettings::default() };
    // SYN|ACKs are lost for a while, so handshakes accumulate.
    let until = Instant::START + Duration::from_millis(500);
    pair.script = Box::new(move |_, frame| match frame.from == SERVER && frame.at < until {
        true => Fate::Drop,
        false => Fate::Deliver,
    });
    for flow in 0..3 {
        pair.connect(client(ClientProtocol::Tcp, flow));
    }
    pair.run_for(Duration::from_millis(10));
    assert_eq!(pair.open_sockets()[SERVER], 4);
    pair.run();
    assert!((0..3).all(|flow| pair.outcome(flow) == Some(Outcome::Connected)));
    let dropped = pair.deliveries.iter().filter(|(_, delivery)| is_overflow(*delivery)).count();
    // The third SYN finds the queue full, and again when all three are retransmitted at the same moment.
    assert_eq!(dropped, 2);
}

fn is_overflow(delivery: crate::socket::Delivery) -> bool {
    delivery == crate::socket::Delivery::Dropped(crate::drop_reason::DropReason::TcpListenOverflow)
}

#[test]
fn closing_a_listener_forgets_its_handshakes_but_not_its_connections() {
    let mut pair = Pair::new();
    let listener = pair.hosts[SERVER].tcp_listen(None, PORT, identify(), RCVBUF).unwrap();
    let mut kept = client(ClientProtocol::Tcp, 1);
    kept.is_kept_open = true;
    let socket = pair.connect(kept);
    pair.run_for(Duration::from_millis(10));
    pair.script = Box::new(|_, frame| if frame.from == SERVER { Fate::Drop } else { Fate::Deliver });
    pair.connect(client(ClientProtocol::Tcp, 2));
    pair.run_for(Duration::from_millis(10));
    assert_eq!(pair.open_sockets()[SERVER], 3);
    pair.call(SERVER, |sockets, io| sockets.close(io, listener));
    assert_eq!(pair.open_sockets()[SERVER], 1);
    pair.script = Box::new(|_, _| Fate::Deliver);
    let again = crate::socket::Request {
        flow: FlowId(3),
        bytes: b"again\n".to_vec(),
        deadline: Duration::from_secs(1),
    };
    pair.call(CLIENT, |sockets, io| sockets.send_again(io, socket, again)).unwrap();
    pair.run();
    assert_eq!(pair.outcome(3), Some(Outcome::Connected));
    // The retransmitted SYN found no listener.
    assert_eq!(pair.outcome(2), Some(Outcome::Refused(crate::trace::Refusal::TcpReset)));
}

#[test]
fn socket_ids_are_never_used_again() {
    let mut pair = Pair::with_server(identify());
    let ids: Vec<SocketId> = (0..5)
        .map(|flow| {
            let id = pair.connect(client(ClientProtocol::Tcp, flow));
            pair.run();
            id
        })
        .collect();
    assert!(ids.windows(2).all(|two| two[0] < two[1]), "{ids:?}");
}
