use super::*;
use crate::device::{AddrError, DeviceKind, Scope};
use crate::drop_reason::DropReason;
use crate::ids::{DeviceId, NetnsId};
use crate::route::RouteKind;
use crate::wire::MacAddr;
use ipnet::Ipv4Net;
use proptest::prelude::*;
use std::net::Ipv4Addr;

mod input;
mod output;

/// A netns under construction.
#[derive(Clone, Debug, Default)]
struct Host {
    devices: Devices,
    fib: Fib,
    sysctls: Sysctls,
}

impl Host {
    /// `lo`, and the given devices: name and addresses.
    fn new(devices: &[(&str, &[&str])]) -> Self {
        let mut host = Self::default();
        host.devices.add("lo", MacAddr::ZERO, u16::MAX, DeviceKind::Loopback);
        host.address("lo", "127.0.0.1/8");
        for (name, addrs) in devices {
            let kind = match *name {
                "kube-ipvs0" => DeviceKind::Dummy,
                _ => DeviceKind::Veth { peer_netns: NetnsId(1), peer: DeviceId(2) },
            };
            host.devices.add(name, MacAddr::ZERO, 1500, kind);
            for addr in *addrs {
                host.address(name, addr);
            }
        }
        host
    }

    fn id(&self, name: &str) -> DeviceId {
        self.devices.by_name(name).unwrap_or_else(|| panic!("{name}")).id
    }

    fn address(&mut self, device: &str, addr: &str) {
        let id = self.id(device);
        let scope = if addr.starts_with("127.") { Scope::Host } else { Scope::Universe };
        add_address(&mut self.devices, &mut self.fib, id, net(addr), scope).unwrap();
    }

    fn remove_address(&mut self, device: &str, addr: &str) -> Result<(), AddrError> {
        let id = self.id(device);
        remove_address(&mut self.devices, &mut self.fib, &self.sysctls, id, net(addr))
    }

    fn route(&mut self, route: Route) -> Result<(), FibError> {
        let table = if route.kind == RouteKind::Local { TableId::Local } else { TableId::Main };
        self.fib.add(&self.devices, table, route)
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.sysctls.set(&self.devices, name, value).unwrap();
        self
    }

    /// `ip route show table all`, without the standard routes of `lo`.
    fn show(&self) -> String {
        let lines: Vec<_> = [TableId::Main, TableId::Local]
            .into_iter()
            .flat_map(|table| self.fib.routes(table))
            .filter(|entry| entry.device != Some(DeviceId::LOOPBACK))
            .map(|entry| self.show_entry(entry))
            .collect();
        lines.join("\n")
    }

    fn show_entry(&self, entry: &FibEntry) -> String {
        let Route { dst, kind, scope, via, source, metric, .. } = entry.route;
        let mut words = Vec::new();
        if kind != RouteKind::Unicast {
            words.push(format!("{kind:?}").to_lowercase());
        }
        words.push(if dst.prefix_len() == 32 { dst.addr().to_string() } else { dst.to_string() });
        words.extend(via.map(|via| format!("via {via}")));
        words.extend(entry.device.map(|device| format!("dev {}", self.devices.get(device).name)));
        words.extend((entry.table == TableId::Local).then(|| "table local".to_owned()));
        words.extend(entry.is_kernel.then(|| "proto kernel".to_owned()));
        words.extend((scope != Scope::Universe).then(|| format!("scope {scope:?}").to_lowercase()));
        words.extend(source.map(|source| format!("src {source}")));
        words.extend((metric != 0).then(|| format!("metric {metric}")));
        words.join(" ")
    }
}

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

fn addr(text: &str) -> Ipv4Addr {
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn routes_that_come_with_addresses() {
    let mut host = Host::new(&[("eth0", &["10.0.0.1/24", "10.0.0.2/24", "10.1.1.1/32", "10.2.2.0/31"])]);
    insta::assert_snapshot!(host.show());
    host.remove_address("eth0", "10.0.0.1/24").unwrap();
    insta::assert_snapshot!(host.show());
}

#[test]
fn two_devices_in_one_subnet() {
    let mut host = Host::new(&[("eth0", &["10.0.0.1/24"]), ("eth1", &["10.0.0.2/24"])]);
    insta::assert_snapshot!(host.show());
    host.remove_address("eth0", "10.0.0.1/24").unwrap();
    insta::assert_snapshot!(host.show());
}

#[test]
fn promoted_secondaries_bring_their_own_routes() {
    let mut host = Host::new(&[("eth0", &["10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24"])])
        .set("net.ipv4.conf.all.promote_secondaries", "1");
    host.remove_address("eth0", "10.0.0.1/24").unwrap();
    insta::assert_snapshot!(host.show());
}

#[test]
fn a_route_that_prefers_an_address_goes_with_it() {
    let mut host = Host::new(&[("eth0", &["10.0.0.1/24", "10.0.5.5/32"])]);
    host.route(Route::via(net("0.0.0.0/0"), addr("10.0.0.254")).from(addr("10.0.5.5"))).unwrap();
    host.route(Route::direct(net("10.9.0.0/16"), host.id("eth0"))).unwrap();
    host.remove_address("eth0", "10.0.5.5/32").unwrap();
    insta::assert_snapshot!(host.show());
}

#[test]
fn a_device_that_goes_down_keeps_its_local_routes_only() {
    let mut host = Host::new(&[("eth0", &["10.0.0.1/24"])]);
    host.route(Route::via(net("0.0.0.0/0"), addr("10.0.0.254"))).unwrap();
    let eth0 = host.id("eth0");
    host.devices.get_mut(eth0).is_up = false;
    on_device_down(&mut host.fib, eth0);
    insta::assert_snapshot!(host.show());
    host.devices.get_mut(eth0).is_up = true;
    on_device_up(&mut host.fib, host.devices.get(eth0));
    insta::assert_snapshot!(host.show());
}

#[test]
fn addresses_that_a_device_does_not_take() {
    let mut host = Host::new(&[("eth0", &["10.0.0.1/24"])]);
    let eth0 = host.id("eth0");
    let mut add = |addr: &str, scope| {
        add_address(&mut host.devices, &mut host.fib, eth0, net(addr), scope).map(|added| added.is_secondary)
    };
    assert_eq!(add("10.0.0.1/24", Scope::Universe), Err(AddrError::Exists));
    assert_eq!(add("10.0.0.9/24", Scope::Link), Err(AddrError::InvalidScope));
    assert_eq!(add("10.0.0.1/32", Scope::Link), Ok(false));
    assert_eq!(add("10.0.0.2/24", Scope::Universe), Ok(true));
    assert_eq!(host.remove_address("eth0", "10.0.0.3/24"), Err(AddrError::NotFound));
}

#[test]
fn narrower_scopes_come_first_and_secondaries_last() {
    let mut host = Host::new(&[("eth0", &["10.0.0.1/24"])]);
    let eth0 = host.id("eth0");
    for (addr, scope) in [
        ("10.1.0.1/24", Scope::Link),
        ("10.0.0.2/24", Scope::Universe),
        ("10.2.0.1/24", Scope::Universe),
        ("10.3.0.1/24", Scope::Host),
    ] {
        add_address(&mut host.devices, &mut host.fib, eth0, net(addr), scope).unwrap();
    }
    let order: Vec<_> = host.devices.get(eth0).addrs.iter().map(|held| held.net.addr().to_string()).collect();
    assert_eq!(order, ["10.3.0.1", "10.1.0.1", "10.0.0.1", "10.2.0.1", "10.0.0.2"]);
}

fn check_refused(route: Route, expected: FibError) {
    let mut host = Host::new(&[("eth0", &["10.0.0.1/24"]), ("down0", &["10.5.0.1/24"])]);
    let down0 = host.id("down0");
    host.devices.get_mut(down0).is_up = false;
    on_device_down(&mut host.fib, down0);
    host.route(Route::via(net("10.7.0.0/16"), addr("10.0.0.7"))).unwrap();
    assert_eq!(host.route(route), Err(expected), "{route:?}");
}

#[test]
fn routes_that_ip_route_add_refuses() {
    let (eth0, down0) = (DeviceId(2), DeviceId(3));
    let dst = net("10.8.0.0/16");
    let gateway = addr("10.0.0.7");
    check_refused(Route::via(net("10.8.0.1/16"), gateway), FibError::HostBits);
    check_refused(Route::via(dst, addr("192.168.0.1")), FibError::InvalidGateway);
    // Reached through another gateway, hence not on-link.
    check_refused(Route::via(dst, addr("10.7.0.1")), FibError::InvalidGateway);
    check_refused(Route::via(dst, addr("10.0.0.255")), FibError::InvalidGateway);
    check_refused(Route::via(dst, gateway).on(down0), FibError::InvalidGateway);
    check_refused(Route::direct(dst, down0), FibError::DeviceDown);
    check_refused(Route::via(dst, gateway).on(down0).onlink(), FibError::OnlinkDeviceDown);
    check_refused(Route::via(dst, gateway).onlink(), FibError::NoDevice);
    check_refused(Route::via(dst, addr("10.0.0.1")).on(eth0).onlink(), FibError::InvalidGateway);
    check_refused(Route::direct(dst, eth0).onlink(), FibError::OnlinkWithoutGateway);
    check_refused(Route::direct(dst, eth0).from(addr("10.0.0.99")), FibError::InvalidSource);
    check_refused(Route::via(net("10.7.0.0/16"), gateway), FibError::Exists);
    check_refused(Route::refusing(RouteKind::Blackhole, net("10.7.0.0/16")), FibError::Exists);
    check_refused(Route::refusing(RouteKind::Prohibit, dst).on(eth0), FibError::RefusingRouteHasNextHop);
    check_refused(Route { via: Some(gateway), ..Route::local(dst, eth0) }, FibError::LocalRouteHasGateway);
    check_refused(Route { scope: Scope::Link, ..Route::local(dst, eth0) }, FibError::InvalidScope);
}

#[test]
fn routes_that_ip_route_add_takes() {
    let mut host = Host::new(&[("eth0", &["10.0.0.1/24"])]);
    let eth0 = host.id("eth0");
    for route in [
        Route::via(net("0.0.0.0/0"), addr("10.0.0.254")),
        Route::via(net("0.0.0.0/0"), addr("10.0.0.253")).with_metric(100),
        // The gateway's own address makes the route direct.
        Route::via(net("10.8.0.0/16"), addr("10.0.0.1")),
        Route::via(net("10.9.0.0/16"), addr("169.254.1.1")).on(eth0).onlink(),
        Route::direct(net("169.254.1.1/32"), eth0),
        Route::via(net("10.10.0.0/16"), addr("169.254.1.1")).on(eth0),
        Route::local(net("10.96.0.0/12"), DeviceId::LOOPBACK),
        Route::refusing(RouteKind::Unreachable, net("10.11.0.0/16")),
    ] {
        assert_eq!(host.route(route), Ok(()), "{route:?}");
    }
    insta::assert_snapshot!(host.show());
    let selector = Selector { metric: 100, ..Selector::default() };
    assert!(host.fib.remove(TableId::Main, net("0.0.0.0/0"), selector).is_ok());
    assert_eq!(host.fib.remove(TableId::Main, net("0.0.0.0/0"), selector), Err(FibError::NotFound));
    let gateway = |host: &Host| host.fib.lookup(addr("8.8.8.8")).map(|entry| entry.gateway());
    assert_eq!(gateway(&host), Ok(Some(addr("10.0.0.254"))));
    host.fib.replace(&host.devices, TableId::Main, Route::via(net("0.0.0.0/0"), addr("10.0.0.252"))).unwrap();
    assert_eq!(gateway(&host), Ok(Some(addr("10.0.0.252"))));
}

/// D-22: the type of an address is what the local table says, regardless of devices.
#[test]
fn d22_local_is_what_the_local_table_says() {
    let mut host = Host::new(&[("eth0", &["10.0.0.1/24"]), ("kube-ipvs0", &["10.96.0.10/32"])]);
    host.route(Route::local(net("192.0.2.0/24"), DeviceId::LOOPBACK)).unwrap();
    let (eth0, ipvs0) = (host.id("eth0"), host.id("kube-ipvs0"));
    for (text, kind, on) in [
        ("10.0.0.1", RouteKind::Local, Some(eth0)),
        ("10.96.0.10", RouteKind::Local, Some(ipvs0)),
        ("127.0.0.1", RouteKind::Local, Some(DeviceId::LOOPBACK)),
        ("127.9.9.9", RouteKind::Local, Some(DeviceId::LOOPBACK)),
        ("192.0.2.77", RouteKind::Local, Some(DeviceId::LOOPBACK)),
        ("10.0.0.255", RouteKind::Broadcast, Some(eth0)),
        ("127.255.255.255", RouteKind::Broadcast, Some(DeviceId::LOOPBACK)),
        ("10.0.0.0", RouteKind::Unicast, Some(eth0)),
        ("10.0.0.9", RouteKind::Unicast, Some(eth0)),
        ("8.8.8.8", RouteKind::Unicast, None),
    ] {
        assert_eq!(host.fib.addr_type(addr(text)), kind, "{text}");
        for device in [DeviceId::LOOPBACK, eth0, ipvs0] {
            let expected = if on == Some(device) { kind } else { RouteKind::Unicast };
            assert_eq!(host.fib.addr_type_on(addr(text), Some(device)), expected, "{text} {device:?}");
        }
    }
    for (text, kind) in [
        ("255.255.255.255", RouteKind::Broadcast),
        ("0.0.0.0", RouteKind::Broadcast),
        // Only 0.0.0.0 itself; the rest of 0.0.0.0/8 is unicast since 5.3.
        ("0.1.2.3", RouteKind::Unicast),
        ("224.0.0.1", RouteKind::Multicast),
        ("239.1.1.1", RouteKind::Multicast),
    ] {
        assert_eq!(host.fib.addr_type_on(addr(text), Some(eth0)), kind, "{text}");
    }
}

/// Without policy rules both tables are one trie: a longer prefix of the main table hides a local one.
#[test]
fn the_longest_prefix_wins_across_tables() {
    let mut host = Host::new(&[("eth0", &["10.0.0.1/24"])]);
    host.route(Route::local(net("10.96.0.0/12"), DeviceId::LOOPBACK)).unwrap();
    host.route(Route::via(net("10.97.0.0/16"), addr("10.0.0.7"))).unwrap();
    assert_eq!(host.fib.addr_type(addr("10.96.0.1")), RouteKind::Local);
    assert_eq!(host.fib.addr_type(addr("10.97.0.1")), RouteKind::Unicast);
    // Where the prefix is the same, the local table comes first.
    host.route(Route::via(net("10.96.0.0/12"), addr("10.0.0.7"))).unwrap();
    assert_eq!(host.fib.addr_type(addr("10.96.0.1")), RouteKind::Local);
}

/// D-06.
#[test]
fn d06_which_source_is_selected() {
    let mut host = Host::new(&[
        ("eth0", &["10.0.0.1/24", "10.0.0.2/24", "10.1.0.1/24", "10.1.0.2/24"]),
        ("eth1", &[]),
        ("eth2", &["10.2.0.1/24"]),
    ]);
    let select = |host: &Host, device, next_hop: &str, scope| {
        let next_hop = Some(next_hop).filter(|text| !text.is_empty()).map(addr);
        let selected = select_source(&host.devices, &host.sysctls, host.id(device), next_hop, scope);
        selected.map_or("none".into(), |addr| addr.to_string())
    };
    for (device, next_hop, scope, expected) in [
        ("eth0", "10.0.0.9", Scope::Universe, "10.0.0.1"),
        // The primary of the next hop's subnet, not the first of the device.
        ("eth0", "10.1.0.9", Scope::Universe, "10.1.0.1"),
        ("eth0", "8.8.8.8", Scope::Universe, "10.0.0.1"),
        ("eth0", "", Scope::Universe, "10.0.0.1"),
        // A device without addresses uses the first device that has one with a suitable scope.
        ("eth1", "8.8.8.8", Scope::Universe, "10.0.0.1"),
        ("eth1", "8.8.8.8", Scope::Host, "127.0.0.1"),
        ("lo", "", Scope::Universe, "10.0.0.1"),
        ("lo", "", Scope::Host, "127.0.0.1"),
    ] {
        assert_eq!(select(&host, device, next_hop, scope), expected, "{device} {next_hop} {scope:?}");
    }
    host = Host::new(&[("eth0", &[])]);
    assert_eq!(select(&host, "eth0", "8.8.8.8", Scope::Universe), "none");
    // With route_localnet, 127.0.0.1 is usable on links.
    assert_eq!(select(&host, "lo", "", Scope::Link), "none");
    host = host.set("net.ipv4.conf.lo.route_localnet", "1");
    assert_eq!(select(&host, "lo", "", Scope::Link), "127.0.0.1");
}

fn arbitrary_net() -> impl Strategy<Value = Ipv4Net> {
    // Few distinct bits, so that prefixes nest and collide.
    (0..=32_u8, prop::bits::u32::masked(0xf00f_0103))
        .prop_map(|(len, bits)| Ipv4Net::new_assert(Ipv4Addr::from(bits), len).trunc())
}

proptest! {
    /// Lookup equals a scan over all routes, also after removals.
    #[test]
    fn longest_prefix_equals_a_naive_scan(
        nets in prop::collection::vec((arbitrary_net(), 0..3_u32, any::<bool>()), 0..40),
        removed in prop::collection::vec(0..40_usize, 0..10),
        asked in prop::collection::vec(prop::bits::u32::masked(0xf00f_0107), 1..40),
    ) {
        let host = Host::new(&[("eth0", &[])]);
        let mut fib = Fib::default();
        let mut all = Vec::new();
        for (dst, metric, is_local) in nets {
            let (table, route) = if is_local {
                (TableId::Local, Route::local(dst, DeviceId::LOOPBACK).with_metric(metric))
            } else {
                (TableId::Main, Route::direct(dst, host.id("eth0")).with_metric(metric))
            };
            if fib.add(&host.devices, table, route).is_ok() {
                all.push((table, route));
            }
        }
        for index in removed {
            if index < all.len() {
                let (table, route) = all.remove(index);
                let selector = Selector { scope: Some(route.scope), ..Selector::default() };
                let gone = fib.remove(table, route.dst, Selector { metric: route.metric, ..selector });
                // Metric 0 matches any, so the first is removed; remove it from the model too.
                let gone = gone.map(|entry| (entry.table, entry.route)).unwrap();
                if gone != (table, route) {
                    all.push((table, route));
                    all.retain(|kept| *kept != gone);
                }
            }
        }
        for bits in asked {
            let dst = Ipv4Addr::from(bits);
            let naive = all
                .iter()
                .filter(|(_, route)| route.dst.contains(&dst))
                .min_by_key(|(table, route)| {
                    (std::cmp::Reverse(route.dst.prefix_len()), *table, route.metric)
                });
            let found = fib.lookup(dst).ok().map(|entry| (entry.table, entry.route));
            prop_assert_eq!(found, naive.copied());
        }
    }
}
