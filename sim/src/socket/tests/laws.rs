//! Properties that hold whatever the network or the peer does.

use super::pair::*;
use crate::ids::FlowId;
use crate::socket::{ClientProtocol, ClientSpec, Request, Server};
use crate::time::{Duration, Instant};
use crate::trace::Outcome;
use crate::wire::build::{self, Ipv4Fields};
use crate::wire::protocol;
use proptest::prelude::*;
use std::net::Ipv4Addr;

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Deliver),
        2 => Just(Fate::Drop),
        1 => Just(Fate::Duplicate),
        1 => (1_u64..3000).prop_map(|millis| Fate::Delay(Duration::from_millis(millis))),
    ]
}

#[derive(Clone, Debug)]
struct Flow {
    protocol: ClientProtocol,
    after: Duration,
    length: usize,
    deadline: Duration,
}

fn flow() -> impl Strategy<Value = Flow> {
    let protocol = prop_oneof![3 => Just(ClientProtocol::Tcp), 1 => Just(ClientProtocol::Udp)];
    (protocol, 0_u64..2000, 0_usize..5000, 1_u64..300).prop_map(|(protocol, millis, length, seconds)| Flow {
        protocol,
        after: Duration::from_millis(millis),
        length: if protocol == ClientProtocol::Udp { length % 1400 } else { length },
        deadline: Duration::from_secs(seconds),
    })
}

fn server() -> impl Strategy<Value = Server> {
    prop_oneof![4 => Just(identify()), 1 => Just(Server::Echo), 1 => Just(Server::Discard)]
}

proptest! {
    /// However frames are lost, duplicated and reordered, each flow has an outcome, and in the end only servers remain.
    /// A server keeps a connection only if its client, which has closed, has given up retransmitting its FIN.
    #[test]
    fn every_flow_ends_and_both_hosts_come_to_rest(
        fates in prop::collection::vec(fate(), 1..40),
        flows in prop::collection::vec(flow(), 1..5),
        server in server(),
    ) {
        let mut pair = Pair::with_server(server.clone());
        let is_clean = fates.iter().all(|fate| matches!(fate, Fate::Deliver | Fate::Duplicate));
        let script = fates.clone();
        pair.script = Box::new(move |number, _| script.get(number).copied().unwrap_or(Fate::Deliver));
        for (flow, id) in flows.iter().zip(0..) {
            pair.run_for(flow.after);
            pair.connect(spec(flow, id));
        }
        pair.run();
        let [clients, servers] = pair.open_sockets();
        let may_have_given_up = pair.now - Instant::START > Duration::from_secs(100);
        prop_assert_eq!(clients, 0, "{}", pair.tcpdump());
        prop_assert!(servers == 2 || may_have_given_up, "{}", pair.tcpdump());
        for (flow, id) in flows.iter().zip(0..) {
            let outcome = pair.outcome(id);
            prop_assert!(outcome.is_some(), "{:?}", flow);
            if is_clean && server != Server::Discard {
                prop_assert_eq!(outcome, Some(Outcome::Connected), "{:?}\n{}", flow, pair.tcpdump());
            }
        }
    }

    /// Whatever a peer sends, nothing panics and the host becomes idle: no timer runs forever.
    #[test]
    fn any_segments_are_survived(events in prop::collection::vec(event(), 1..60)) {
        let mut pair = Pair::new();
        pair.script = Box::new(|_, _| Fate::Drop);
        pair.hosts[SERVER].tcp_listen(None, PORT, identify(), RCVBUF).unwrap();
        let mut flows = 0;
        for event in &events {
            match event {
                Event::Connect => {
                    // This may fail if the port is still in use.
                    let spec = ClientSpec { is_kept_open: flows % 3 == 2, ..hosts_client(flows) };
                    flows += u32::from(pair.call(SERVER, |sockets, io| sockets.connect(io, spec)).is_ok());
                }
                Event::Pass(duration) => pair.run_for(*duration),
                Event::Segment(segment) => inject(&mut pair, segment),
            }
        }
        pair.run();
        for flow in 0..flows {
            prop_assert!(pair.hosts[SERVER].flow_result(FlowId(flow)).is_some());
        }
    }

    /// Arbitrary bytes are survived too.
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..80), number in 0_usize..3) {
        let mut pair = Pair::with_server(identify());
        let number = [protocol::TCP, protocol::UDP, protocol::ICMP][number];
        let fields = fields(number);
        pair.inject(SERVER, &build::ipv4(fields, &bytes)[14..], None);
        let mut checked = bytes;
        // With a valid checksum, the rest is parsed.
        if number == protocol::TCP && checked.len() >= 20 {
            checked[16..18].fill(0);
            build::finish_transport_checksum(ADDRS[CLIENT], ADDRS[SERVER], number, &mut checked);
            pair.inject(SERVER, &build::ipv4(fields, &checked)[14..], None);
        }
        pair.call(SERVER, |sockets, io| sockets.icmp_err(io, 3, 3, &checked));
    }
}

fn spec(flow: &Flow, id: u32) -> ClientSpec {
    let mut spec = client(flow.protocol, id);
    spec.request.bytes = vec![b'x'; flow.length];
    spec.request.bytes.push(b'\n');
    spec.request.deadline = flow.deadline;
    spec
}

#[derive(Clone, Debug)]
enum Event {
    Connect,
    Pass(Duration),
    Segment(Segment),
}

/// A segment near what a connection expects, or not.
#[derive(Clone, Debug)]
struct Segment {
    to_listener: bool,
    flags: u8,
    seq: i32,
    ack: i32,
    window: u16,
    timestamp: Option<u32>,
    length: usize,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => Just(Event::Connect),
        2 => (0_u64..2_000_000).prop_map(|micros| Event::Pass(Duration::from_micros(micros))),
        6 => segment().prop_map(Event::Segment),
    ]
}

fn segment() -> impl Strategy<Value = Segment> {
    let flags = prop_oneof![
        4 => Just(0x10_u8),
        4 => Just(0x18),
        2 => Just(0x02),
        2 => Just(0x12),
        2 => Just(0x11),
        1 => Just(0x04),
        1 => Just(0x14),
        1 => any::<u8>(),
    ];
    let near = || prop_oneof![4 => -3_i32..50, 1 => any::<i32>()];
    let window = prop_oneof![3 => Just(502_u16), 1 => Just(0), 1 => any::<u16>()];
    let timestamp = prop::option::of(0_u32..20);
    (any::<bool>(), flags, near(), near(), window, timestamp, 0_usize..60).prop_map(
        |(to_listener, flags, seq, ack, window, timestamp, length)| Segment {
            to_listener,
            flags,
            seq,
            ack,
            window,
            timestamp,
            length: length.saturating_sub(20),
        },
    )
}

const PEER_PORT: u16 = 90;
const HOST_PORT: u16 = 40_001;

fn hosts_client(flow: u32) -> ClientSpec {
    ClientSpec {
        protocol: ClientProtocol::Tcp,
        src: ADDRS[SERVER],
        src_port: Some(HOST_PORT),
        dst: ADDRS[CLIENT],
        dst_port: PEER_PORT,
        request: Request {
            flow: FlowId(flow),
            bytes: vec![b'x'; 10 + usize::try_from(flow).unwrap() * 1000],
            deadline: Duration::from_secs(3),
        },
        is_kept_open: false,
    }
}

fn fields(protocol: u8) -> Ipv4Fields {
    let (src, dst): (Ipv4Addr, Ipv4Addr) = (V4[CLIENT], V4[SERVER]);
    Ipv4Fields { src, dst, protocol, ttl: 64, tos: 0, ident: 0, dont_fragment: true }
}

fn inject(pair: &mut Pair, segment: &Segment) {
    let port = if segment.to_listener { PORT } else { HOST_PORT };
    // The last segment sent to this peer reveals the host's sequence numbers.
    let sent = pair.frames.iter().rfind(|frame| frame.l3[20..22] == port.to_be_bytes());
    let host_seq = sent.map_or(0, |frame| word(&frame.l3[24..]));
    let mut l4 = Vec::new();
    l4.extend(PEER_PORT.to_be_bytes());
    l4.extend(port.to_be_bytes());
    l4.extend(1000_u32.wrapping_add_signed(segment.seq).to_be_bytes());
    l4.extend(host_seq.wrapping_add_signed(segment.ack).to_be_bytes());
    l4.extend([if segment.timestamp.is_some() { 0x80 } else { 0x50 }, segment.flags]);
    l4.extend(segment.window.to_be_bytes());
    l4.extend([0; 4]);
    if let Some(timestamp) = segment.timestamp {
        l4.extend([1, 1, 8, 10]);
        l4.extend(timestamp.to_be_bytes());
        l4.extend([0; 4]);
    }
    l4.resize(l4.len() + segment.length, b'x');
    build::finish_transport_checksum(ADDRS[CLIENT], ADDRS[SERVER], protocol::TCP, &mut l4);
    pair.inject(SERVER, &build::ipv4(fields(protocol::TCP), &l4)[14..], None);
}
