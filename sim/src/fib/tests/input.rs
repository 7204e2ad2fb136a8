use super::*;
use crate::ids::DeviceId;
use crate::route::{RouteKind, RouteResult};

/// `eth0` leads to 10.0.0.0/24 and everything else, `eth1` to 10.1.0.0/24; `eth2` has no address. Forwarding is on.
fn router() -> Host {
    let mut host = Host::new(&[
        ("eth0", &["10.0.0.1/24", "10.0.0.2/24"]),
        ("eth1", &["10.1.0.1/24"]),
        ("eth2", &[]),
        ("kube-ipvs0", &["10.96.0.10/32"]),
    ]);
    let eth1 = host.id("eth1");
    for route in [
        Route::via(net("0.0.0.0/0"), addr("10.0.0.254")),
        Route::via(net("10.244.1.0/24"), addr("10.1.0.2")),
        Route::direct(net("10.1.5.0/24"), eth1),
        Route::refusing(RouteKind::Unreachable, net("10.7.0.0/16")),
        Route::refusing(RouteKind::Prohibit, net("10.8.0.0/16")),
        Route::refusing(RouteKind::Blackhole, net("10.9.0.0/16")),
    ] {
        host.route(route).unwrap();
    }
    host.set("net.ipv4.ip_forward", "1")
}

fn route(host: &Host, in_dev: &str, src: &str, dst: &str) -> String {
    let key = InputKey { in_dev: host.id(in_dev), src: addr(src), dst: addr(dst), tos: 0, mark: 0 };
    match route_input(&host.fib, &host.devices, &host.sysctls, &key) {
        Ok(RouteResult { kind, device, gateway, source, pmtu: _ }) => {
            let via = gateway.map_or(String::new(), |gateway| format!(" via {gateway}"));
            format!("{kind:?}{via} dev {} src {source}", host.devices.get(device).name)
        }
        Err(reason) => format!("{reason:?}"),
    }
}

fn check(host: &Host, in_dev: &str, src: &str, dst: &str, expected: &str) {
    assert_eq!(route(host, in_dev, src, dst), expected, "from {src} to {dst} iif {in_dev}");
}

#[test]
fn where_packets_go() {
    let host = router();
    check(&host, "eth0", "10.0.0.9", "10.0.0.1", "Local dev lo src 10.0.0.1");
    check(&host, "eth0", "10.0.0.9", "10.0.0.2", "Local dev lo src 10.0.0.2");
    // A local address of any device is local on every device.
    check(&host, "eth0", "10.0.0.9", "10.1.0.1", "Local dev lo src 10.1.0.1");
    check(&host, "eth0", "10.0.0.9", "10.96.0.10", "Local dev lo src 10.96.0.10");
    check(&host, "eth0", "10.0.0.9", "10.1.0.9", "Unicast dev eth1 src 10.1.0.1");
    check(&host, "eth0", "10.0.0.9", "10.244.1.9", "Unicast via 10.1.0.2 dev eth1 src 10.1.0.1");
    check(&host, "eth1", "10.1.0.9", "8.8.8.8", "Unicast via 10.0.0.254 dev eth0 src 10.0.0.1");
    check(&host, "eth0", "10.0.0.9", "10.0.0.255", "Broadcast dev lo src 10.0.0.1");
    check(&host, "eth0", "10.0.0.9", "255.255.255.255", "Broadcast dev lo src 10.0.0.1");
    check(&host, "eth0", "0.0.0.0", "255.255.255.255", "Broadcast dev lo src 10.0.0.1");
    check(&host, "eth0", "10.0.0.9", "224.0.0.1", "Multicast dev lo src 10.0.0.1");
    check(&host, "eth0", "10.0.0.9", "224.0.0.5", "NotForUs");
}

#[test]
fn refusals_that_are_told_to_the_sender() {
    let mut host = router();
    check(&host, "eth0", "10.0.0.9", "10.7.0.1", "RouteUnreachable");
    check(&host, "eth0", "10.0.0.9", "10.8.0.1", "RouteProhibited");
    check(&host, "eth0", "10.0.0.9", "10.9.0.1", "RouteBlackhole");
    host.fib.remove(TableId::Main, net("0.0.0.0/0"), Selector::default()).unwrap();
    check(&host, "eth0", "10.0.0.9", "8.8.8.8", "IpNoRouteIn");
    let host = host.set("net.ipv4.conf.eth0.forwarding", "0");
    for dst in ["10.7.0.1", "8.8.8.8", "10.1.0.9"] {
        check(&host, "eth0", "10.0.0.9", dst, "ForwardingOff");
    }
    check(&host, "eth0", "10.0.0.9", "10.0.0.1", "Local dev lo src 10.0.0.1");
    check(&host, "eth1", "10.1.0.9", "10.0.0.9", "Unicast dev eth0 src 10.0.0.1");
}

#[test]
fn icmp_codes_of_refusals() {
    for (reason, code) in [
        (DropReason::IpNoRouteIn, Some(0)),
        (DropReason::RouteUnreachable, Some(1)),
        (DropReason::RouteProhibited, Some(13)),
        (DropReason::RouteBlackhole, None),
        (DropReason::ForwardingOff, None),
        (DropReason::IpRpFilter, None),
    ] {
        assert_eq!(error_code(reason), code, "{reason:?}");
    }
}

#[test]
fn martians() {
    let host = router();
    for (src, dst, expected) in [
        ("224.0.0.1", "10.0.0.1", "IpInvalidSource"),
        ("255.255.255.255", "10.0.0.1", "IpInvalidSource"),
        ("0.0.0.0", "10.0.0.1", "IpInvalidSource"),
        ("10.0.0.9", "0.0.0.0", "IpInvalidDestination"),
        ("224.0.0.1", "224.0.0.1", "IpInvalidSource"),
        ("127.0.0.1", "224.0.0.1", "IpLocalnet"),
    ] {
        check(&host, "eth0", src, dst, expected);
    }
}

/// D-42.
#[test]
fn d42_loopback_addresses_from_the_wire() {
    let host = router();
    check(&host, "eth0", "127.0.0.1", "10.0.0.1", "IpLocalnet");
    check(&host, "eth0", "10.0.0.9", "127.0.0.1", "IpLocalnet");
    let host = host.set("net.ipv4.conf.eth0.route_localnet", "1");
    check(&host, "eth0", "10.0.0.9", "127.0.0.1", "Local dev lo src 127.0.0.1");
    check(&host, "eth1", "10.1.0.9", "127.0.0.1", "IpLocalnet");
    // It is a local address nevertheless.
    check(&host, "eth0", "127.0.0.1", "10.0.0.1", "IpLocalSource");
    let host = host.set("net.ipv4.conf.all.route_localnet", "1");
    check(&host, "eth1", "10.1.0.9", "127.0.0.1", "Local dev lo src 127.0.0.1");
}

/// D-41.
#[test]
fn d41_own_addresses_as_sources() {
    let host = router();
    for src in ["10.0.0.1", "10.0.0.2", "10.1.0.1", "10.96.0.10"] {
        for dst in ["10.0.0.1", "10.1.0.9", "10.0.0.9", "10.0.0.255"] {
            check(&host, "eth0", src, dst, "IpLocalSource");
        }
    }
    let host = host.set("net.ipv4.conf.eth0.accept_local", "1");
    check(&host, "eth0", "10.1.0.1", "10.0.0.1", "Local dev lo src 10.0.0.1");
    check(&host, "eth1", "10.0.0.1", "10.1.0.1", "IpLocalSource");
    let host = host.set("net.ipv4.conf.eth0.rp_filter", "1");
    // The reverse path to a local address is `lo`... for strict mode that is another device.
    check(&host, "eth0", "10.1.0.1", "10.0.0.1", "IpRpFilter");
}

/// D-43; also D-40: the larger of `all` and the device's own value applies.
#[test]
fn d43_strict_wants_the_same_way_back_and_loose_any() {
    let cases: &[(&str, &str, &str, [&str; 3])] = &[
        // device, source, destination; off, strict, loose
        ("eth0", "10.0.0.9", "10.0.0.1", ["Local", "Local", "Local"]),
        ("eth0", "10.1.0.9", "10.0.0.1", ["Local", "IpRpFilter", "Local"]),
        ("eth1", "8.8.8.8", "10.0.0.1", ["Local", "IpRpFilter", "Local"]),
        ("eth0", "8.8.8.8", "10.1.0.9", ["Unicast", "Unicast", "Unicast"]),
        ("eth1", "8.8.8.8", "10.0.0.9", ["Unicast", "IpRpFilter", "Unicast"]),
        // No reverse path at all.
        ("eth0", "10.7.0.1", "10.0.0.1", ["Local", "IpRpFilter", "IpRpFilter"]),
        ("eth0", "10.9.0.1", "10.1.0.9", ["Unicast", "IpRpFilter", "IpRpFilter"]),
        // On a device without an address the reverse path must use that device.
        ("eth2", "10.0.0.9", "10.0.0.1", ["Local", "IpRpFilter", "IpRpFilter"]),
        // A broadcast address is rejected where sources are validated.
        ("eth0", "10.0.0.255", "10.0.0.1", ["Local", "IpInvalidSource", "IpInvalidSource"]),
        ("eth0", "10.0.0.9", "10.0.0.255", ["Broadcast", "Broadcast", "Broadcast"]),
        ("eth1", "10.0.0.9", "10.1.0.255", ["Broadcast", "IpRpFilter", "Broadcast"]),
    ];
    for (in_dev, src, dst, expected) in cases {
        for (value, expected) in expected.iter().enumerate() {
            for place in ["all", in_dev] {
                let name = format!("net.ipv4.conf.{place}.rp_filter");
                let host = router().set(&name, &value.to_string());
                let routed = route(&host, in_dev, src, dst);
                let got = routed.split(' ').next().unwrap_or_default();
                assert_eq!(got, *expected, "from {src} to {dst} iif {in_dev}, {name} = {value}");
            }
        }
    }
}

/// If the packet leaves through its ingress device, the source is looked up even without rp_filter, because of
/// redirects.
#[test]
fn a_broadcast_source_is_noticed_where_a_redirect_may_be_due() {
    let host = router();
    check(&host, "eth0", "10.0.0.255", "8.8.8.8", "IpInvalidSource");
    let host =
        host.set("net.ipv4.conf.all.send_redirects", "0").set("net.ipv4.conf.eth0.send_redirects", "0");
    check(&host, "eth0", "10.0.0.255", "8.8.8.8", "Unicast via 10.0.0.254 dev eth0 src 10.0.0.1");
}

/// A local route added by the user disables the short cut that checks addresses only.
#[test]
fn sources_within_a_local_route_are_own_addresses() {
    let mut host = router();
    host.route(Route::local(net("192.0.2.0/24"), DeviceId::LOOPBACK)).unwrap();
    check(&host, "eth0", "192.0.2.1", "10.0.0.1", "IpLocalSource");
}

fn check_redirect(host: &Host, in_dev: &str, src: &str, dst: &str, expected: bool) {
    let in_dev = host.id(in_dev);
    let key = InputKey { in_dev, src: addr(src), dst: addr(dst), tos: 0, mark: 0 };
    let route = route_input(&host.fib, &host.devices, &host.sysctls, &key).unwrap();
    let routing = Routing { devices: &host.devices, fib: &host.fib, sysctls: &host.sysctls };
    assert_eq!(is_redirect_due(routing, &key, &route), expected, "from {src} to {dst}");
}

#[test]
fn redirects_are_due_where_sender_and_next_hop_share_a_link() {
    let host = router();
    check_redirect(&host, "eth0", "10.0.0.9", "8.8.8.8", true);
    check_redirect(&host, "eth0", "10.0.0.9", "10.0.0.8", true);
    // Through another device, or from behind a gateway.
    check_redirect(&host, "eth0", "10.0.0.9", "10.1.0.9", false);
    check_redirect(&host, "eth0", "9.9.9.9", "8.8.8.8", false);
    // The reverse path to 10.1.5.9 is the link of eth1, not that of eth0.
    check_redirect(&host, "eth0", "10.1.5.9", "8.8.8.8", false);
    check_redirect(&host, "eth1", "10.1.5.9", "10.244.1.9", true);
    let off = |host: Host| {
        host.set("net.ipv4.conf.all.send_redirects", "0").set("net.ipv4.conf.eth0.send_redirects", "0")
    };
    check_redirect(&off(router()), "eth0", "10.0.0.9", "8.8.8.8", false);
    let strangers =
        host.set("net.ipv4.conf.all.shared_media", "0").set("net.ipv4.conf.eth1.shared_media", "0");
    check_redirect(&strangers, "eth1", "10.1.0.9", "10.244.1.9", true);
    // Without shared media, sender and next hop must be in one subnet of the device.
    check_redirect(&strangers, "eth1", "10.1.5.9", "10.244.1.9", false);
}

proptest! {
    /// The cache never shows: not for keys that share a slot, and not after a change of routes, addresses or sysctls.
    #[test]
    fn cached_decisions_are_current(steps in prop::collection::vec((0..8_u32, 0..1_000_u32, 0..3_usize), 1..60)) {
        let mut host = router();
        let mut cache = InputCache::default();
        for (change, dst, in_dev) in steps {
            match change {
                0 => host = host.set("net.ipv4.ip_forward", if dst % 2 == 0 { "0" } else { "1" }),
                1 => _ = host.remove_address("eth1", "10.1.0.1/24"),
                2 if host.devices.get(host.id("eth1")).addrs.is_empty() => host.address("eth1", "10.1.0.1/24"),
                3 => _ = host.fib.remove(TableId::Main, net("0.0.0.0/0"), Selector::default()),
                _ => {}
            }
            let in_dev = host.id(["eth0", "eth1", "eth2"][in_dev]);
            let dst = Ipv4Addr::from(u32::from(addr("10.0.255.0")) + dst);
            for src in ["10.0.0.9", "10.1.0.9"].map(addr) {
                let key = InputKey { in_dev, src, dst, tos: 0, mark: 0 };
                let routing = Routing { devices: &host.devices, fib: &host.fib, sysctls: &host.sysctls };
                let current = route_input(&host.fib, &host.devices, &host.sysctls, &key);
                prop_assert_eq!(cache.route_input(routing, &key), current);
                prop_assert_eq!(cache.route_input(routing, &key), current);
            }
        }
    }
}
