//! Raw sockets and taps.

use super::{Line, addr, line, quiesce};
use crate::netns::TapPlace;
use crate::socket::SendError;
use crate::socket::Server;
use crate::time::{Duration, Instant};
use crate::timer_wheel::TimerWheel;
use crate::trace::Level;
use crate::wire::build::{self, Ipv4Fields};
use crate::wire::{ETHERNET_HEADER_LEN, Ipv4, protocol};
use crate::world::{BuildError, RawSendError, RunLimit};
use std::net::Ipv4Addr;

/// A datagram to a closed port, including its IP header.
fn datagram(src: &str, dst: &str, (ident, dont_fragment): (u16, bool), len: usize) -> Vec<u8> {
    let (src, dst) = (addr(src), addr(dst));
    let l4 = build::udp((src, 4000), (dst, 9), &vec![b'x'; len]);
    let fields = Ipv4Fields { src, dst, protocol: protocol::UDP, ttl: 9, tos: 0, ident, dont_fragment };
    build::ipv4(fields, &l4).split_off(ETHERNET_HEADER_LEN)
}

#[test]
fn the_kernel_fills_in_what_a_raw_sender_leaves_open() {
    // Source, identification and DF as sent and as received; `None` for a random identification.
    let cases = [
        ("0.0.0.0", (0, true), "10.0.1.2", Some(0)),
        ("0.0.0.0", (0, false), "10.0.1.2", None),
        ("0.0.0.0", (7, true), "10.0.1.2", Some(7)),
        ("192.0.2.1", (7, false), "192.0.2.1", Some(7)),
    ];
    for level in [Level::Everything, Level::Nothing] {
        for (src, ident, src_seen, ident_seen) in cases {
            let Line { mut world, client, router, .. } = line();
            world.set_level(level);
            world.open_tap(router, TapPlace::Devices);
            let flow = world.raw_flow();
            let mut packet = datagram(src, "10.0.2.2", ident, 3);
            // The kernel overwrites the sender's length and checksum.
            packet[2..4].copy_from_slice(&[0xff, 0xff]);
            packet[10..12].copy_from_slice(&[0xab, 0xcd]);
            assert_eq!(world.send_raw(client, flow, &packet), Ok(()));
            let until = world.now() + Duration::from_secs(1);
            // The first frame is the ARP request for the router's address.
            assert_eq!(world.run_until_tapped(router, until), RunLimit::Done);
            assert_eq!(world.take_tapped(router).len(), 1);
            assert_eq!(world.run_until_tapped(router, until), RunLimit::Done);
            let frames = world.take_tapped(router);
            let [frame] = &frames[..] else { panic!("{frames:?}") };
            let ip = Ipv4::new_checked(&frame[ETHERNET_HEADER_LEN..]).expect("an IPv4 packet");
            assert_eq!((ip.src(), ip.total_len(), ip.ttl()), (addr(src_seen), 31, 9));
            assert!(ip.is_checksum_valid());
            match ident_seen {
                Some(expected) => assert_eq!(ip.ident(), expected, "{src} {ident:?}"),
                // The seed is fixed, and does not give zero.
                None => assert_ne!(ip.ident(), 0, "{src} {ident:?}"),
            }
            world.close_tap(router);
            quiesce(&mut world);
            assert!(world.take_tapped(router).is_empty());
        }
    }
}

/// 0.0.0.0 is the sender itself, which answers from its address: with a RST, and with an ICMP error.
#[test]
fn answers_to_0_0_0_0_come_from_an_address_of_the_sender() {
    let (src, dst) = (addr("10.0.1.2"), Ipv4Addr::UNSPECIFIED);
    let mut syn = vec![0; 20];
    syn[..4].copy_from_slice(&[0x0f, 0xa0, 0, 9]);
    syn[12..14].copy_from_slice(&[0x50, 0x02]);
    build::finish_transport_checksum(src, dst, protocol::TCP, &mut syn);
    let udp = build::udp((src, 4000), (dst, 9), b"x");
    for (number, l4, answer) in [(protocol::TCP, syn, protocol::TCP), (protocol::UDP, udp, protocol::ICMP)] {
        let Line { mut world, client, .. } = line();
        world.open_tap(client, TapPlace::Devices);
        let flow = world.raw_flow();
        let fields =
            Ipv4Fields { src, dst, protocol: number, ttl: 64, tos: 0, ident: 0, dont_fragment: true };
        let packet = build::ipv4(fields, &l4).split_off(ETHERNET_HEADER_LEN);
        assert_eq!(world.send_raw(client, flow, &packet), Ok(()));
        quiesce(&mut world);
        let seen: Vec<_> = world
            .take_tapped(client)
            .iter()
            .filter_map(|frame| Ipv4::new_checked(&frame[ETHERNET_HEADER_LEN..]))
            .map(|ip| (ip.src(), ip.dst(), ip.protocol()))
            .collect();
        assert_eq!(seen, [(src, dst, number), (src, src, answer)]);
    }
}

/// A server may not send to a broadcast address, even if a datagram claims to be from there. The answer to 10.0.1.2 causes an ICMP
/// error, because its port is closed.
#[test]
fn a_server_does_not_answer_to_a_broadcast_address() {
    for (src, answers) in [("10.0.1.255", 0), ("255.255.255.255", 0), ("10.0.1.2", 2)] {
        let Line { mut world, client, .. } = line();
        world.udp_bind(client, None, 53, Server::Echo).expect("a free port");
        world.open_tap(client, TapPlace::Devices);
        let (src, dst) = (addr(src), addr("10.0.1.2"));
        let l4 = build::udp((src, 4000), (dst, 53), b"x\n");
        let fields =
            Ipv4Fields { src, dst, protocol: protocol::UDP, ttl: 64, tos: 0, ident: 1, dont_fragment: true };
        let packet = build::ipv4(fields, &l4).split_off(ETHERNET_HEADER_LEN);
        let flow = world.raw_flow();
        assert_eq!(world.send_raw(client, flow, &packet), Ok(()));
        quiesce(&mut world);
        assert_eq!(world.take_tapped(client).len(), 1 + answers, "{src}");
    }
}

#[test]
fn what_a_raw_socket_refuses() {
    let Line { mut world, client, .. } = line();
    world.iptables_command(client, "x", 1, "iptables -A OUTPUT -d 10.0.2.7 -j DROP").expect("a rule");
    let mut short = datagram("0.0.0.0", "10.0.2.2", (1, true), 3);
    short[0] = 0x44;
    let mut long = datagram("0.0.0.0", "10.0.2.2", (1, true), 3);
    long[0] = 0x4f;
    let cases = [
        (Vec::new(), RawSendError::InvalidHeader),
        (short, RawSendError::InvalidHeader),
        (long, RawSendError::InvalidHeader),
        (datagram("0.0.0.0", "10.0.2.2", (1, true), 1473), RawSendError::MessageSize),
        (datagram("0.0.0.0", "10.0.1.255", (1, true), 3), RawSendError::Broadcast),
        (datagram("0.0.0.0", "255.255.255.255", (1, true), 3), RawSendError::Broadcast),
        (datagram("0.0.0.0", "10.0.2.7", (1, true), 3), RawSendError::Refused(SendError::NotPermitted)),
    ];
    let flow = world.raw_flow();
    for (packet, expected) in cases {
        assert_eq!(world.send_raw(client, flow, &packet), Err(expected));
    }
    assert_eq!(world.send_raw(client, flow, &datagram("0.0.0.0", "10.0.2.2", (1, true), 1472)), Ok(()));
    let lonely = world.add_netns("lonely");
    let refused = world.send_raw(lonely, flow, &datagram("0.0.0.0", "10.0.2.2", (1, true), 3));
    assert_eq!(refused, Err(RawSendError::Refused(SendError::NetworkUnreachable)));
    quiesce(&mut world);
}

/// A second has 250 ticks: timers started in tick 1,000 expire in tick 1,256, when the second level of the wheel
/// advances.
#[test]
fn fragments_are_given_up_when_the_timer_wheel_moves() {
    let Line { mut world, client, server, .. } = line();
    world.set_timer_wheel(TimerWheel::new(250, 1_000, 0));
    world.set_sysctl(server, "net.ipv4.ipfrag_time", "1").unwrap();
    let mut first = datagram("0.0.0.0", "10.0.2.2", (1, false), 8);
    first[6] |= 0x20;
    let flow = world.raw_flow();
    assert_eq!(world.send_raw(client, flow, &first), Ok(()));
    world.run_until(Instant::START + Duration::from_millis(500));
    world.open_tap(client, TapPlace::Devices);
    assert_eq!(world.run_until_tapped(client, Instant::START + Duration::from_secs(5)), RunLimit::Done);
    // The links take a tenth of a millisecond.
    assert_eq!(world.now().as_nanos() / 1_000_000, 1_024);
}

#[test]
fn an_mtu_has_room_for_the_largest_header() {
    let Line { mut world, client, .. } = line();
    let eth0 = world.device(client, "eth0").unwrap();
    assert_eq!(world.set_mtu(client, eth0, 68), Ok(()));
    let refused = world.set_mtu(client, eth0, 67);
    assert!(matches!(refused, Err(BuildError::MtuTooSmall { mtu: 67, .. })), "{refused:?}");
}
