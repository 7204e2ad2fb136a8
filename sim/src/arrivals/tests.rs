use super::*;
use crate::wire::ETHERNET_HEADER_LEN;
use crate::wire::build::{self, Ipv4Fields};

const ROUTER: NetnsId = NetnsId(1);

fn at(millis: u64) -> Instant {
    Instant::START + Duration::from_millis(millis)
}

/// A datagram from that port, with a random identification.
fn datagram(src_port: u16, ident: u16) -> Vec<u8> {
    let (src, dst) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let fields =
        Ipv4Fields { src, dst, protocol: protocol::UDP, ttl: 64, tos: 0, ident, dont_fragment: true };
    build::ipv4(fields, &build::udp((src, src_port), (dst, 53), b"?")).split_off(ETHERNET_HEADER_LEN)
}

#[test]
fn an_arrival_is_recognized_by_netns_ends_and_time() {
    let packet = datagram(1_000, 7);
    let mut arrivals = Arrivals::default();
    assert_eq!(arrivals.lateness(ROUTER, at(500), Seen::Packet(&packet)), 0, "no kernel is followed");
    let arrived = |millis| Arrival { netns: ROUTER, at: at(millis), what: Seen::Packet(&packet) };
    arrivals.add(at(0), [arrived(500), arrived(540), arrived(900)]);
    for (now, expected_ms) in
        [(400, 100), (399, 0), (495, 5), (515, -15), (525, 15), (640, -100), (641, 0), (900, 0), (5_000, 0)]
    {
        // The identification differs from the kernel's.
        let late = arrivals.lateness(ROUTER, at(now), Seen::Packet(&datagram(1_000, 99)));
        assert_eq!(late, expected_ms * 1_000_000, "received at {now} ms");
    }
    assert_eq!(arrivals.lateness(NetnsId(2), at(495), Seen::Packet(&packet)), 0, "another netns");
    assert_eq!(arrivals.lateness(ROUTER, at(495), Seen::Packet(&datagram(1_001, 7))), 0, "another port");
    assert_eq!(arrivals.lateness(ROUTER, at(495), Seen::Packet(&packet[..10])), 0, "no packet");
}

#[test]
fn old_arrivals_are_forgotten() {
    let (packet, mut arrivals) = (datagram(1_000, 7), Arrivals::default());
    arrivals.add(at(0), [Arrival { netns: ROUTER, at: at(500), what: Seen::Packet(&packet) }]);
    arrivals.add(at(600), []);
    assert_eq!(arrivals.lateness(ROUTER, at(600), Seen::Packet(&packet)), -100_000_000);
    arrivals.add(at(601), []);
    assert!(arrivals.times.is_empty());
}

#[test]
fn a_request_is_recognized_by_its_target() {
    let mut arrivals = Arrivals::default();
    let what = Seen::Request(Ipv4Addr::new(10, 0, 0, 9));
    arrivals.add(at(0), [Arrival { netns: ROUTER, at: at(520), what }]);
    assert_eq!(arrivals.lateness(ROUTER, at(500), what), 20_000_000);
    assert_eq!(
        arrivals.lateness(ROUTER, at(500), Seen::Request(Ipv4Addr::new(10, 0, 0, 8))),
        0,
        "another target"
    );
    assert_eq!(arrivals.lateness(NetnsId(2), at(500), what), 0, "another netns");
}
