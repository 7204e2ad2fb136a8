//! Properties of every run.

use super::cluster::{Cluster, cluster};
use super::{run, spec};
use crate::socket::ClientProtocol;
use crate::time::Duration;
use crate::trace::{DeviceEvent, Event};
use crate::wire::{EtherType, Ethernet, Icmpv4, Ipv4, checksum, protocol};
use proptest::prelude::*;

/// Checks every checksum of a frame on a device.
fn check_frame(frame: &[u8]) {
    let ethernet = Ethernet::new_checked(frame).expect("a frame has a header");
    if ethernet.ethertype() != EtherType::Ipv4 {
        return;
    }
    let ip = Ipv4::new_checked(&frame[14..]).expect("an IPv4 packet");
    assert!(ip.is_checksum_valid(), "IP header checksum of {frame:02x?}");
    let sum = |protocol| {
        let len = u16::try_from(ip.payload().len()).expect("short");
        checksum::finish(
            checksum::pseudo_header(ip.src(), ip.dst(), protocol, len) + checksum::sum(ip.payload()),
        )
    };
    match ip.protocol() {
        protocol::TCP | protocol::UDP => {
            assert_eq!(sum(ip.protocol()), 0, "transport checksum of {frame:02x?}")
        }
        protocol::ICMP => assert!(Icmpv4::new_checked(ip.payload()).expect("a header").is_checksum_valid()),
        other => panic!("nobody sends protocol {other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// For any client, server, protocol and loss: checksums are right on every device, no packet is counted twice or
    /// lost, and the same seed gives the same trace.
    #[test]
    fn checksums_conservation_and_determinism(
        seed in any::<u64>(),
        asks in prop::collection::vec((0..5_usize, 0..3_usize, 0..6_usize), 1..6),
        loss in 0..200_000_u32,
    ) {
        let play = || {
            let Cluster { mut world, client, node_1, node_2, pod_a, pod_b } = cluster(seed);
            let uplink = world.device(node_1, "eth0").unwrap();
            world.link_mut(node_1, uplink).loss = crate::link::Probability::per_million(loss).unwrap();
            for (from, protocol, to) in &asks {
                let from = [client, node_1, node_2, pod_a, pod_b][*from];
                let protocol = [ClientProtocol::Tcp, ClientProtocol::Udp, ClientProtocol::IcmpEcho][*protocol];
                let (dst, port) = [
                    ("10.96.0.10", 80),
                    ("192.168.0.11", 30080),
                    ("192.168.0.12", 30080),
                    ("10.244.1.2", 8080),
                    ("10.244.2.2", 9),
                    ("127.0.0.1", 30080),
                ][*to];
                run(&mut world, from, spec(protocol, dst, port));
            }
            let until = world.now() + Duration::from_secs(1_000_000);
            world.run_until(until);
            world
        };
        let world = play();
        for event in world.trace().events() {
            if let Event::Device(DeviceEvent::Received { frame, .. } | DeviceEvent::Transmitted { frame, .. }) = &event.event {
                check_frame(frame);
            }
        }
        prop_assert_eq!(world.trace().ledger().in_flight(), 0);
        prop_assert_eq!(world.trace().hash(), play().trace().hash());
    }
}
