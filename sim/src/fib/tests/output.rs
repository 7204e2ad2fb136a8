use super::*;
use crate::route::{RouteKind, RouteResult};

fn node() -> Host {
    let mut host = Host::new(&[
        ("eth0", &["10.0.0.1/24", "10.0.0.2/24"]),
        ("cni0", &["10.244.0.1/24"]),
        ("eth2", &[]),
        ("kube-ipvs0", &["10.96.0.10/32"]),
    ]);
    for route in [
        Route::via(net("0.0.0.0/0"), addr("10.0.0.254")),
        Route::via(net("10.244.1.0/24"), addr("10.0.0.7")).from(addr("10.0.0.2")),
        Route::via(net("10.6.0.0/16"), addr("10.0.0.1")),
        Route::refusing(RouteKind::Unreachable, net("10.7.0.0/16")),
        Route::refusing(RouteKind::Prohibit, net("10.8.0.0/16")),
        Route::refusing(RouteKind::Blackhole, net("10.9.0.0/16")),
    ] {
        host.route(route).unwrap();
    }
    host
}

fn show(host: &Host, result: Result<RouteResult, DropReason>) -> String {
    match result {
        Ok(RouteResult { kind, device, gateway, source, pmtu: _ }) => {
            let via = gateway.map_or(String::new(), |gateway| format!(" via {gateway}"));
            format!("{kind:?}{via} dev {} src {source}", host.devices.get(device).name)
        }
        Err(reason) => format!("{reason:?}"),
    }
}

/// `src` and `oif` may be empty.
fn check(host: &Host, src: &str, dst: &str, oif: &str, expected: &str) {
    let key = OutputKey {
        src: Some(src).filter(|text| !text.is_empty()).map(addr),
        oif: Some(oif).filter(|text| !text.is_empty()).map(|name| host.id(name)),
        ..OutputKey::to(addr(dst))
    };
    let result = route_output(&host.fib, &host.devices, &host.sysctls, &key);
    assert_eq!(show(host, result), expected, "from {src:?} to {dst} oif {oif:?}");
}

#[test]
fn where_own_packets_go_and_with_which_source() {
    let host = node();
    for (src, dst, oif, expected) in [
        ("", "10.0.0.9", "", "Unicast dev eth0 src 10.0.0.1"),
        ("", "8.8.8.8", "", "Unicast via 10.0.0.254 dev eth0 src 10.0.0.1"),
        ("", "10.244.0.9", "", "Unicast dev cni0 src 10.244.0.1"),
        // The route specifies a source.
        ("", "10.244.1.9", "", "Unicast via 10.0.0.7 dev eth0 src 10.0.0.2"),
        // A gateway that is a local address is ignored.
        ("", "10.6.0.9", "", "Unicast dev eth0 src 10.0.0.1"),
        // Local addresses are reached through the loopback device, from themselves; a secondary from its primary.
        ("", "10.0.0.1", "", "Local dev lo src 10.0.0.1"),
        ("", "10.0.0.2", "", "Local dev lo src 10.0.0.1"),
        ("", "10.96.0.10", "", "Local dev lo src 10.96.0.10"),
        ("", "127.0.0.1", "", "Local dev lo src 127.0.0.1"),
        ("", "127.0.0.5", "", "Local dev lo src 127.0.0.1"),
        ("", "0.0.0.0", "", "Local dev lo src 127.0.0.1"),
        ("10.0.0.1", "0.0.0.0", "", "Local dev lo src 10.0.0.1"),
        ("10.244.0.1", "10.0.0.1", "", "Local dev lo src 10.244.0.1"),
        ("10.244.0.1", "8.8.8.8", "", "Unicast via 10.0.0.254 dev eth0 src 10.244.0.1"),
        ("", "10.0.0.255", "", "Broadcast dev eth0 src 10.0.0.1"),
        // The limited broadcast uses the default route's device, but not its gateway.
        ("", "255.255.255.255", "", "Broadcast dev eth0 src 10.0.0.1"),
        ("", "224.0.0.5", "", "Multicast dev eth0 src 10.0.0.1"),
    ] {
        check(&host, src, dst, oif, expected);
    }
}

#[test]
fn a_settled_device_narrows_the_choice() {
    let host = node();
    for (src, dst, oif, expected) in [
        ("", "8.8.8.8", "eth0", "Unicast via 10.0.0.254 dev eth0 src 10.0.0.1"),
        // Without a route on this device the destination is assumed to be on-link.
        ("", "8.8.8.8", "cni0", "Unicast dev cni0 src 10.244.0.1"),
        ("", "8.8.8.8", "eth2", "Unicast dev eth2 src 10.0.0.1"),
        ("", "10.7.0.1", "cni0", "Unicast dev cni0 src 10.244.0.1"),
        ("", "255.255.255.255", "cni0", "Broadcast dev cni0 src 10.244.0.1"),
        ("", "224.0.0.1", "cni0", "Multicast dev cni0 src 10.244.0.1"),
        // The source determines the device for link-local destinations.
        ("10.244.0.1", "255.255.255.255", "", "Broadcast dev cni0 src 10.244.0.1"),
    ] {
        check(&host, src, dst, oif, expected);
    }
}

#[test]
fn refusals() {
    let mut host = node();
    for (src, dst, expected) in [
        ("", "10.7.0.1", "RouteUnreachable"),
        ("", "10.8.0.1", "RouteProhibited"),
        ("", "10.9.0.1", "RouteBlackhole"),
        // A source that is not local.
        ("192.0.2.1", "8.8.8.8", "IpNoRouteOut"),
        ("224.0.0.1", "8.8.8.8", "IpInvalidSource"),
        // 127.0.0.1 must not leave.
        ("127.0.0.1", "8.8.8.8", "IpLocalnet"),
    ] {
        check(&host, src, dst, "", expected);
    }
    host.fib.remove(TableId::Main, net("0.0.0.0/0"), Selector::default()).unwrap();
    check(&host, "", "8.8.8.8", "", "IpNoRouteOut");
    let host = node().set("net.ipv4.conf.all.route_localnet", "1");
    check(&host, "127.0.0.1", "8.8.8.8", "", "Unicast via 10.0.0.254 dev eth0 src 127.0.0.1");
}

/// D-16: after DNAT in OUTPUT the packet is rerouted, and keeps its source.
#[test]
fn d16_rerouting_keeps_the_source() {
    let host = node();
    for (src, dst, expected) in [
        ("10.0.0.1", "10.244.0.9", "Unicast dev cni0 src 10.0.0.1"),
        ("10.96.0.10", "10.244.1.9", "Unicast via 10.0.0.7 dev eth0 src 10.96.0.10"),
        // `REJECT --reject-with tcp-reset` replies on behalf of another host.
        ("192.0.2.1", "10.0.0.9", "Unicast dev eth0 src 192.0.2.1"),
        // A socket bound to 127.0.0.1 that connects to a NodePort stays local unless route_localnet is on.
        ("127.0.0.1", "10.244.0.9", "IpLocalnet"),
        // Only an invalid source is selected anew.
        ("10.0.0.255", "10.244.0.9", "Unicast dev cni0 src 10.244.0.1"),
    ] {
        let key = OutputKey::to(addr(dst)).from(addr(src));
        let result = route_me_harder(&host.fib, &host.devices, &host.sysctls, &key);
        assert_eq!(show(&host, result), expected, "from {src} to {dst}");
    }
}
