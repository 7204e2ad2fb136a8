//! Socket events of a run, and the association of packets with flows.

use super::pair::*;
use crate::ids::FlowId;
use crate::socket::ClientProtocol;
use crate::trace::Event;
use std::fmt::Write;

#[test]
fn the_events_of_flows() {
    let mut pair = Pair::with_server(identify());
    for (flow, protocol) in
        [(1, ClientProtocol::Tcp), (2, ClientProtocol::Udp), (3, ClientProtocol::IcmpEcho)]
    {
        let mut spec = client(protocol, flow);
        spec.src_port = Some(40_000 + u16::try_from(flow).unwrap());
        if protocol == ClientProtocol::IcmpEcho {
            pair.script = Box::new(|_, _| Fate::Drop);
        }
        pair.connect(spec);
        pair.run();
    }
    let mut text = String::new();
    for entry in pair.trace.events() {
        if let Event::Socket(event) = &entry.event {
            writeln!(text, "{} netns {} {event:?}", entry.at, entry.netns.0).unwrap();
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn answers_belong_to_the_flow_that_they_answer() {
    let mut pair = Pair::with_server(identify());
    pair.connect(client(ClientProtocol::Tcp, 7));
    pair.connect(client(ClientProtocol::Udp, 7));
    // There is no listener.
    let mut refused = client(ClientProtocol::Tcp, 7);
    refused.dst_port = PORT + 1;
    pair.connect(refused);
    pair.run();
    assert_eq!(pair.frames.len(), 10 + 2 + 2);
    assert!(pair.frames.iter().all(|frame| frame.flow == Some(FlowId(7))));
}

#[test]
fn a_segment_names_the_packet_that_caused_it() {
    let mut pair = Pair::with_server(identify());
    pair.connect(client(ClientProtocol::Tcp, 1));
    pair.run();
    let causes: Vec<bool> = pair.frames.iter().map(|frame| frame.cause.is_some()).collect();
    // The SYN has no cause; every other packet answers another one, directly or through the application.
    assert_eq!(causes, [false, true, true, true, true, true, true, true, true, true]);
}
