//! Clients that are kept open: how their connections end, and the flow that closes them.

use super::pair::*;
use crate::ids::{FlowId, SocketId};
use crate::socket::{ClientProtocol, ClientSpec, Request, SendAgainError};
use crate::time::Duration;
use crate::trace::Outcome;

fn request(flow: u32) -> Request {
    Request { flow: FlowId(flow), bytes: b"again\n".to_vec(), deadline: Duration::from_secs(1) }
}

fn kept(protocol: ClientProtocol) -> ClientSpec {
    ClientSpec { is_kept_open: true, ..client(protocol, 1) }
}

/// The client reads the end of the stream, as an event loop does, and closes.
#[test]
fn a_connection_that_is_kept_open_ends_with_its_server() {
    let mut pair = Pair::with_server(identify());
    let socket = pair.connect(kept(ClientProtocol::Tcp));
    pair.run();
    assert_eq!(pair.hosts[CLIENT].ended(socket), None);
    // The TCP server is the first socket.
    pair.call(SERVER, |sockets, io| sockets.exit(io, SocketId(0)));
    pair.run();
    assert_eq!(pair.hosts[CLIENT].ended(socket), Some(Outcome::Reset));
    assert_eq!(pair.tcpdump().lines().filter(|line| line.contains("[F.]")).count(), 2, "{}", pair.tcpdump());
    let closed = pair.call(CLIENT, |sockets, io| sockets.close_kept(io, socket, FlowId(2)));
    assert_eq!(closed, Err(SendAgainError::Closed));
}

#[test]
fn closing_what_is_kept_open_is_a_flow_of_its_own() {
    for protocol in [ClientProtocol::Udp, ClientProtocol::Tcp] {
        let mut pair = Pair::with_server(identify());
        let socket = pair.connect(kept(protocol));
        let pending = pair.call(CLIENT, |sockets, io| sockets.close_kept(io, socket, FlowId(2)));
        assert_eq!(pending, Err(SendAgainError::Pending));
        pair.run();
        pair.call(CLIENT, |sockets, io| sockets.close_kept(io, socket, FlowId(2))).unwrap();
        pair.run();
        assert_eq!(pair.outcome(2), Some(Outcome::Connected));
        let frames = pair.frames.iter().filter(|frame| frame.flow == Some(FlowId(2))).count();
        assert_eq!(frames > 0, protocol == ClientProtocol::Tcp, "a datagram socket sends nothing");
        assert_eq!(pair.hosts[CLIENT].ended(socket), None, "the client ended it");
    }
}

/// A late response could be taken for that of the next request.
#[test]
fn a_request_without_response_ends_a_connection_that_is_kept_open() {
    let mut pair = Pair::with_server(identify());
    let socket = pair.connect(kept(ClientProtocol::Tcp));
    pair.run();
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.call(CLIENT, |sockets, io| sockets.send_again(io, socket, request(2))).unwrap();
    pair.run_for(Duration::from_secs(20));
    assert_eq!(pair.outcome(2), Some(Outcome::Timeout));
    assert_eq!(pair.hosts[CLIENT].ended(socket), Some(Outcome::Timeout));
}
