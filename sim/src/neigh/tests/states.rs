use super::*;
use crate::neigh::entry::NeighKey;

#[test]
fn nobody_answers() {
    let mut bench = Bench::new();
    bench.send("10.0.0.1", "10.0.0.2");
    bench.run_until(500);
    bench.send("10.0.0.3", "10.0.0.2");
    bench.run_until(10_000);
    bench.tell_state("10.0.0.2");
    // The next packet starts a new resolution.
    bench.send("10.0.0.1", "10.0.0.2");
    bench.run_until(20_000);
    insta::assert_snapshot!(bench.finish());
}

#[test]
fn an_answer_releases_what_waits() {
    let mut bench = Bench::new();
    bench.send("10.0.0.1", "10.0.0.2");
    bench.send("10.0.0.3", "10.0.0.2");
    bench.run_until(1_200);
    bench.receive(is_at("10.0.0.2", PEER), PacketType::Host);
    bench.tell_state("10.0.0.2");
    bench.send("10.0.0.1", "10.0.0.2");
    bench.run_until(31_200);
    bench.tell_state("10.0.0.2");
    bench.run_until(31_201);
    bench.tell_state("10.0.0.2");
    assert!(bench.timers.is_empty(), "an idle world terminates");
    insta::assert_snapshot!(bench.finish());
}

/// A stale neighbour is used immediately, and probed by unicast unless confirmed within five seconds.
#[test]
fn a_stale_neighbour_is_probed_after_use() {
    let mut bench = Bench::new();
    bench.receive(who_has("10.0.0.1", "10.0.0.2"), PacketType::Broadcast);
    bench.tell_state("10.0.0.2");
    bench.send("10.0.0.1", "10.0.0.2");
    bench.tell_state("10.0.0.2");
    bench.run_until(5_500);
    bench.tell_state("10.0.0.2");
    bench.receive(is_at("10.0.0.2", PEER), PacketType::Host);
    bench.tell_state("10.0.0.2");
    bench.run_until(60_000);
    bench.send("10.0.0.1", "10.0.0.2");
    bench.run_until(66_500);
    // Packets are still sent while it is being probed.
    bench.send("10.0.0.1", "10.0.0.2");
    bench.run_until(70_000);
    bench.tell_state("10.0.0.2");
    assert!(bench.timers.is_empty());
    insta::assert_snapshot!(bench.finish());
}

#[test]
fn progress_of_a_connection_spares_the_probe() {
    let mut bench = Bench::new();
    bench.receive(who_has("10.0.0.1", "10.0.0.2"), PacketType::Broadcast);
    bench.send("10.0.0.1", "10.0.0.2");
    bench.run_until(1_000);
    bench.table.confirm(bench.now, &bench.sysctls, ETH0, addr("10.0.0.2").into());
    bench.run_until(5_000);
    bench.tell_state("10.0.0.2");
    insta::assert_snapshot!(bench.finish());
}

/// A request from the neighbour being resolved releases queued packets; it is probed later.
#[test]
fn a_request_from_the_neighbour_releases_what_waits() {
    let mut bench = Bench::new();
    bench.send("10.0.0.1", "10.0.0.2");
    bench.receive(who_has("10.0.0.1", "10.0.0.2"), PacketType::Broadcast);
    bench.tell_state("10.0.0.2");
    bench.run_until(5_000);
    bench.tell_state("10.0.0.2");
    insta::assert_snapshot!(bench.finish());
}

#[test]
fn who_moves_is_believed_after_the_locktime() {
    let mut bench = Bench::new();
    bench.send("10.0.0.1", "10.0.0.2");
    bench.receive(is_at("10.0.0.2", PEER), PacketType::Host);
    bench.run_until(1_000);
    // The second of two replies within a second is ignored.
    bench.receive(is_at("10.0.0.2", OTHER), PacketType::Host);
    bench.tell_state("10.0.0.2");
    bench.run_until(1_001);
    bench.receive(is_at("10.0.0.2", OTHER), PacketType::Host);
    bench.tell_state("10.0.0.2");
    // An announcement is accepted immediately, but the neighbour is probed.
    let announcement = Arp { sender_mac: PEER, ..who_has("10.0.0.2", "10.0.0.2") };
    bench.receive(announcement, PacketType::Broadcast);
    bench.tell_state("10.0.0.2");
    insta::assert_snapshot!(bench.finish());
}

#[test]
fn permanent_entries_neither_age_nor_change() {
    let mut bench = Bench::new();
    bench.send("10.0.0.1", "10.0.0.2");
    bench.act(|table, cx, routing| {
        table.add_permanent(cx, routing.devices, ETH0, addr("10.0.0.2").into(), OTHER);
    });
    bench.run_until(100_000);
    bench.receive(is_at("10.0.0.2", PEER), PacketType::Host);
    bench.tell_state("10.0.0.2");
    bench.send("10.0.0.1", "10.0.0.2");
    assert!(bench.act(|table, cx, _| table.remove(cx, ETH0, addr("10.0.0.2").into())));
    bench.tell_state("10.0.0.2");
    insta::assert_snapshot!(bench.finish());
}

#[test]
fn a_device_that_goes_down_forgets() {
    let mut bench = Bench::new();
    bench.send("10.0.0.1", "10.0.0.2");
    bench.act(|table, cx, _| table.on_device_down(cx, ETH0));
    bench.tell_state("10.0.0.2");
    bench.run_until(10_000);
    insta::assert_snapshot!(bench.finish());
}

/// The number of 600 datagrams that are queued, as measured on a 6.18 kernel.
#[test]
fn the_queue_holds_as_many_packets_as_the_kernels() {
    for (payload, expected) in [(0, 256), (1, 256), (100, 256), (400, 166), (700, 92), (1_400, 92)] {
        let mut bench = Bench::new();
        for _ in 0..600 {
            bench.send_bytes("10.0.0.1", "10.0.0.2", payload + 8);
        }
        let waiting = bench.table.entries[&NeighKey(ETH0, addr("10.0.0.2").into())].queue.len();
        assert_eq!(waiting, expected, "{payload} bytes");
        assert_eq!(bench.log.matches("dropped NeighQueueFull").count(), 600 - expected);
    }
}

#[test]
fn next_hops_that_are_not_asked_for() {
    let mut bench = Bench::new();
    for next_hop in ["10.0.0.255", "255.255.255.255", "224.0.0.1", "239.129.2.3"] {
        bench.send("10.0.0.1", next_hop);
    }
    for (device, next_hop, expected) in [
        (DeviceId::LOOPBACK, "10.0.0.9", MacAddr::ZERO),
        (DeviceId(4), "10.0.0.9", MacAddr([2, 0, 0, 0, 2, 1])),
        (DeviceId(4), "fd00::9", MacAddr([2, 0, 0, 0, 2, 1])),
        (DeviceId(4), "ff02::1:ff00:9", MacAddr([0x33, 0x33, 0xff, 0, 0, 9])),
        (ETH0, "ff02::1:ff00:9", MacAddr([0x33, 0x33, 0xff, 0, 0, 9])),
    ] {
        bench.act(|table, cx, routing| {
            let packet = cx.create(Origin::Injected, None, None, vec![0; 34]);
            match table.resolve(cx, routing, device, next_hop.parse().unwrap(), packet) {
                Resolution::Resolved(mac, packet) => {
                    assert_eq!(mac, expected);
                    cx.end(packet, Terminal::Consumed);
                }
                Resolution::Queued | Resolution::Dropped => panic!("{next_hop} on {device:?} is asked for"),
            }
        });
    }
    insta::assert_snapshot!(bench.finish());
}

/// D-48.
#[test]
fn d48_a_full_table_drops() {
    let mut bench = Bench::new()
        .set("net.ipv4.neigh.default.gc_thresh2", "2")
        .set("net.ipv4.neigh.default.gc_thresh3", "3");
    for host in 10..14 {
        bench.send("10.0.0.1", &format!("10.0.0.{host}"));
    }
    bench.tell_state("10.0.0.13");
    // Failed entries are removed.
    bench.run_until(4_000);
    bench.send("10.0.0.1", "10.0.0.14");
    for host in 10..15 {
        bench.tell_state(&format!("10.0.0.{host}"));
    }
    insta::assert_snapshot!(bench.finish());
}

#[test]
fn sysctls_change_the_rhythm() {
    let mut bench = Bench::new()
        .set("net.ipv4.neigh.eth0.retrans_time_ms", "200")
        .set("net.ipv4.neigh.eth0.mcast_solicit", "2")
        .set("net.ipv4.neigh.eth0.unres_qlen_bytes", "900");
    bench.send("10.0.0.1", "10.0.0.2");
    bench.send("10.0.0.3", "10.0.0.2");
    bench.run_until(2_000);
    insta::assert_snapshot!(bench.finish());
    let mut never = Bench::new().set("net.ipv4.neigh.eth0.mcast_solicit", "0");
    never.send("10.0.0.1", "10.0.0.2");
    insta::assert_snapshot!(never.finish(), @"  0.000000 dropped NeighFailed");
}

/// The end of the first packet is the same whatever happens to an outdated timer.
#[test]
fn an_outdated_timer_does_nothing() {
    let mut bench = Bench::new();
    bench.send("10.0.0.1", "10.0.0.2");
    bench.run_until(500);
    bench.receive(is_at("10.0.0.2", PEER), PacketType::Host);
    let before = bench.log.clone();
    bench.run_until(5_000);
    assert_eq!(bench.log, before);
    assert_eq!(bench.now.saturating_since(Instant::START), Duration::from_secs(5));
}
