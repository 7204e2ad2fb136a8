use super::*;

/// Checks whether a request is answered on `eth0`, and whether its sender is known afterwards.
fn check(settings: &[(&str, &str)], target: &str, sender: &str, expected: (bool, bool)) {
    let mut bench = Bench::new();
    for (name, value) in settings {
        bench = bench.set(name, value);
    }
    bench.receive(who_has(target, sender), PacketType::Broadcast);
    let is_known = bench.table.get(bench.now, &bench.sysctls, ETH0, addr(sender).into()).is_some();
    let is_answered = bench.log.contains("is-at");
    assert_eq!((is_answered, is_known), expected, "{settings:?}: who-has {target} tell {sender}");
    if is_answered {
        assert!(
            bench.log.contains(&format!("> {PEER} arp {target} is-at {OWN} (to {sender})")),
            "{}",
            bench.log
        );
    }
    bench.finish();
}

const ANSWERED: (bool, bool) = (true, true);
const IGNORED: (bool, bool) = (false, false);

/// D-45: any local address, on any device.
#[test]
fn d45_any_local_address_is_answered_for() {
    for target in ["10.0.0.1", "10.0.0.3", "10.1.0.1", "10.96.0.10"] {
        check(&[], target, "10.0.0.2", ANSWERED);
    }
    for target in ["10.0.0.2", "10.0.0.9", "10.1.0.9", "8.8.8.8", "10.0.0.255"] {
        check(&[], target, "10.0.0.2", IGNORED);
    }
    let mut bench = Bench::new();
    bench
        .fib
        .add(
            &bench.devices,
            TableId::Local,
            Route::local("192.0.2.0/24".parse().unwrap(), DeviceId::LOOPBACK),
        )
        .unwrap();
    bench.receive(who_has("192.0.2.77", "10.0.0.2"), PacketType::Broadcast);
    assert!(bench.log.contains("192.0.2.77 is-at"), "{}", bench.log);
}

#[test]
fn d45_arp_ignore() {
    let ignore = |value| [("net.ipv4.conf.all.arp_ignore", value)];
    for (value, target, sender, expected) in [
        // 1: only addresses of the receiving device.
        ("1", "10.0.0.1", "10.0.0.2", ANSWERED),
        ("1", "10.0.0.3", "10.9.9.9", ANSWERED),
        ("1", "10.1.0.1", "10.0.0.2", IGNORED),
        ("1", "10.96.0.10", "10.0.0.2", IGNORED),
        // 2: and only for senders in the same subnet.
        ("2", "10.0.0.1", "10.0.0.2", ANSWERED),
        ("2", "10.0.0.1", "10.9.9.9", IGNORED),
        ("2", "10.1.0.1", "10.0.0.2", IGNORED),
        // 3: not those with scope host.
        ("3", "10.1.0.1", "10.0.0.2", ANSWERED),
        // 8: none. Values between are reserved, and mean 0.
        ("8", "10.0.0.1", "10.0.0.2", IGNORED),
        ("5", "10.1.0.1", "10.0.0.2", ANSWERED),
    ] {
        check(&ignore(value), target, sender, expected);
    }
    let localnet = ("net.ipv4.conf.all.route_localnet", "1");
    check(&[localnet], "127.0.0.1", "10.0.0.2", ANSWERED);
    // With route_localnet, addresses with scope host count as those of the link.
    check(&[localnet, ignore("3")[0]], "127.0.0.1", "10.0.0.2", ANSWERED);
}

/// D-42.
#[test]
fn d42_loopback_addresses_are_not_answered_for() {
    check(&[], "127.0.0.1", "10.0.0.2", IGNORED);
    check(&[], "224.0.0.1", "10.0.0.2", IGNORED);
    check(&[("net.ipv4.conf.eth0.route_localnet", "1")], "127.0.0.1", "10.0.0.2", ANSWERED);
    check(&[("net.ipv4.conf.eth1.route_localnet", "1")], "127.0.0.1", "10.0.0.2", IGNORED);
}

#[test]
fn senders_are_judged_as_those_of_packets_are() {
    // Our own address as sender: no reply, and nothing learned.
    check(&[], "10.0.0.1", "10.0.0.3", IGNORED);
    check(&[], "10.0.0.1", "127.0.0.1", IGNORED);
    check(&[("net.ipv4.conf.all.rp_filter", "1")], "10.0.0.1", "10.0.0.2", ANSWERED);
    check(&[("net.ipv4.conf.all.rp_filter", "1")], "10.0.0.1", "10.1.0.2", IGNORED);
    check(&[("net.ipv4.conf.all.rp_filter", "2")], "10.0.0.1", "10.1.0.2", ANSWERED);
    check(&[], "10.0.0.1", "10.1.0.2", ANSWERED);
    check(&[("net.ipv4.conf.eth0.arp_filter", "1")], "10.0.0.1", "10.1.0.2", IGNORED);
    check(&[("net.ipv4.conf.eth0.arp_filter", "1")], "10.0.0.1", "10.0.0.2", ANSWERED);
}

#[test]
fn an_address_that_is_about_to_be_taken_is_defended() {
    check(&[], "10.0.0.1", "0.0.0.0", (true, false));
    check(&[], "10.0.0.9", "0.0.0.0", IGNORED);
    check(&[("net.ipv4.conf.all.arp_ignore", "8")], "10.0.0.1", "0.0.0.0", IGNORED);
    check(&[("net.ipv4.conf.all.arp_ignore", "1")], "10.1.0.1", "0.0.0.0", IGNORED);
}

#[test]
fn proxy_arp_answers_for_what_is_routed_elsewhere() {
    let forward = ("net.ipv4.ip_forward", "1");
    let proxy = ("net.ipv4.conf.eth0.proxy_arp", "1");
    check(&[forward, proxy], "10.1.0.9", "10.0.0.2", ANSWERED);
    // Not for its own link, and not without forwarding.
    check(&[forward, proxy], "10.0.0.9", "10.0.0.2", IGNORED);
    check(&[forward, proxy], "8.8.8.8", "10.0.0.2", IGNORED);
    check(&[proxy], "10.1.0.9", "10.0.0.2", IGNORED);
    check(&[forward], "10.1.0.9", "10.0.0.2", IGNORED);
}

#[test]
fn unsolicited_arp_makes_entries_only_where_it_is_accepted() {
    let announcement = who_has("10.0.0.2", "10.0.0.2");
    let announced_by_reply =
        Arp { operation: ArpOperation::Reply, target_mac: PEER, ..who_has("10.0.0.2", "10.0.0.2") };
    let foreign = who_has("10.9.0.2", "10.9.0.2");
    for (arp, accept, expected) in [
        (announcement, "0", false),
        (announcement, "1", true),
        (announcement, "2", true),
        (announced_by_reply, "0", false),
        (announced_by_reply, "1", true),
        (is_at("10.0.0.2", PEER), "0", false),
        (is_at("10.0.0.2", PEER), "1", true),
        (foreign, "1", true),
        (foreign, "2", false),
        // A request for another host announces nothing.
        (who_has("10.0.0.9", "10.0.0.2"), "1", false),
    ] {
        let mut bench = Bench::new().set("net.ipv4.conf.eth0.arp_accept", accept);
        bench.receive(arp, PacketType::Broadcast);
        let known = bench.table.get(bench.now, &bench.sysctls, ETH0, arp.sender_ip.into());
        assert_eq!(known.is_some(), expected, "arp_accept {accept}: {arp:?}");
        assert!(known.is_none_or(|(_, state)| state == NeighState::Stale));
        bench.finish();
    }
}

/// The sender address announced for a packet from `src` to 10.0.0.2.
fn check_announced(announce: &str, src: &str, expected: &str) {
    let mut bench = Bench::new().set("net.ipv4.conf.all.arp_announce", announce);
    bench.send(src, "10.0.0.2");
    let line = bench.log.lines().next().unwrap_or_default();
    assert!(line.ends_with(&format!("who-has 10.0.0.2 tell {expected}")), "{announce} {src}: {line}");
}

#[test]
fn arp_announce() {
    for (announce, src, expected) in [
        ("0", "10.0.0.3", "10.0.0.3"),
        // The VIP of kube-ipvs0 is announced unless kube-proxy sets arp_announce to 2.
        ("0", "10.96.0.10", "10.96.0.10"),
        ("0", "10.1.0.1", "10.1.0.1"),
        // Forwarded for another host.
        ("0", "10.244.0.5", "10.0.0.1"),
        ("1", "10.0.0.3", "10.0.0.3"),
        ("1", "10.1.0.1", "10.0.0.1"),
        ("2", "10.0.0.3", "10.0.0.1"),
        ("2", "10.96.0.10", "10.0.0.1"),
    ] {
        check_announced(announce, src, expected);
    }
}

#[test]
fn frames_that_are_not_for_us_or_no_arp() {
    let mut bench = Bench::new();
    bench.receive(who_has("10.0.0.1", "10.0.0.2"), PacketType::OtherHost);
    bench.receive_on(DeviceId(4), who_has("10.96.0.10", "10.0.0.2"), PacketType::Broadcast);
    bench.act(|table, cx, routing| {
        let packet = cx.create(Origin::Injected, None, None, vec![0; 30]);
        table.arp_rcv(cx, routing, ETH0, packet);
    });
    insta::assert_snapshot!(bench.finish());
}
