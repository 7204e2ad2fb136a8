//! Path MTUs that a host learns from ICMP errors. A kernel (Linux 6.18) gave the expected results.

use super::addr;
use super::cluster::{Cluster, cluster};
use crate::fib::{OutputKey, Route, route_output};
use crate::release::Release;
use crate::route::PathMtu;
use crate::socket::Server;
use crate::time::Duration;
use crate::trace::Level;
use crate::wire::build::{self, Ipv4Fields};
use crate::wire::{ETHERNET_HEADER_LEN, protocol};

const CLIENT: &str = "192.168.0.100";
/// The gateway of the client.
const NODE_2: &str = "192.168.0.12";
/// A Pod on node-1.
const POD: &str = "10.244.1.9";
/// The port of the client's UDP socket.
const PORT: u16 = 5555;

fn lan() -> Cluster {
    let mut lan = cluster(0);
    lan.world.set_level(Level::Nothing);
    let default = Route::via("0.0.0.0/0".parse().unwrap(), addr(NODE_2));
    lan.world.add_route(lan.client, default).unwrap();
    lan.world.udp_bind(lan.client, None, PORT, Server::Identify { name: "client".into() }).unwrap();
    lan
}

/// Reports an MTU to the client, about a datagram from that port.
fn report(lan: &mut Cluster, mtu: u16, port: u16) {
    let fields = |src: &str, dst: &str, protocol| Ipv4Fields {
        src: addr(src),
        dst: addr(dst),
        protocol,
        ttl: 64,
        tos: 0,
        ident: 0,
        dont_fragment: true,
    };
    let l4 = [port.to_be_bytes(), [0, 53], [5, 0], [0, 0]].concat();
    let quoted = build::ipv4(fields(CLIENT, POD, protocol::UDP), &l4).split_off(ETHERNET_HEADER_LEN);
    let [high, low] = mtu.to_be_bytes();
    let message = build::icmpv4(3, 4, [0, 0, high, low], &quoted);
    let packet = build::ipv4(fields(NODE_2, CLIENT, protocol::ICMP), &message);
    let flow = lan.world.raw_flow();
    lan.world.send_raw(lan.node_2, flow, &packet[ETHERNET_HEADER_LEN..]).unwrap();
    lan.world.run_until(lan.world.now() + Duration::from_millis(50));
}

/// The path MTU to a destination, as `ip route get` prints it.
fn learned(lan: &Cluster, to: &str) -> String {
    let ns = lan.world.netns(lan.client);
    let route = route_output(&ns.fib, &ns.devices, &ns.sysctls, &OutputKey::to(addr(to))).unwrap();
    match route.pmtu {
        Some(PathMtu { bytes, is_locked: false }) => format!("mtu {bytes}"),
        Some(PathMtu { bytes, is_locked: true }) => format!("mtu lock {bytes}"),
        None => String::new(),
    }
}

#[test]
fn a_report_lowers_the_mtu_but_never_below_552() {
    let cases: [(&[u16], &str); 13] = [
        (&[1400], "mtu 1400"),
        (&[1500], "mtu 1500"),
        (&[1501], ""),
        (&[552], "mtu 552"),
        (&[551], "mtu lock 552"),
        (&[0], "mtu lock 552"),
        (&[68], "mtu lock 552"),
        (&[1400, 1300], "mtu 1300"),
        (&[1400, 1450], "mtu 1400"),
        (&[0, 1400], "mtu lock 552"),
        (&[0, 500], "mtu lock 552"),
        (&[1400, 0], "mtu lock 552"),
        (&[600, 0], "mtu lock 552"),
    ];
    for (messages, expected) in cases {
        let mut lan = lan();
        messages.iter().for_each(|mtu| report(&mut lan, *mtu, PORT));
        assert_eq!(learned(&lan, POD), expected, "{messages:?}");
        assert_eq!(learned(&lan, "10.244.1.10"), "", "only for the destination of the quoted packet");
    }
    let mut lan = lan();
    report(&mut lan, 1400, PORT + 1);
    assert_eq!(learned(&lan, POD), "", "no socket sent it");
    lan.world.set_release(Release::new(6, 12));
    report(&mut lan, 1400, PORT + 1);
    assert_eq!(learned(&lan, POD), "mtu 1400", "older releases do not ask for a socket");
}

#[test]
fn a_learned_mtu_is_forgotten() {
    let mut lan = lan();
    lan.world.set_sysctl(lan.client, "net.ipv4.route.mtu_expires", "10").unwrap();
    report(&mut lan, 1400, PORT);
    for (seconds, expected) in [(9, "mtu 1400"), (2, "")] {
        lan.world.run_until(lan.world.now() + Duration::from_secs(seconds));
        // Only what the netns does reveals the time to it.
        report(&mut lan, 1501, PORT);
        assert_eq!(learned(&lan, POD), expected);
    }
}

#[test]
fn a_learned_mtu_follows_that_of_the_device() {
    for (reported, changes) in [
        (1400, [(1450, "mtu 1400"), (1380, "mtu 1380"), (1500, "mtu 1500")]),
        (0, [(700, "mtu lock 552"), (500, "mtu 500"), (1500, "mtu 1500")]),
    ] {
        let mut lan = lan();
        report(&mut lan, reported, PORT);
        let devices = &lan.world.netns(lan.client).devices;
        let eth0 = devices.iter().find(|device| !device.is_loopback()).unwrap().id;
        for (mtu, expected) in changes {
            lan.world.set_mtu(lan.client, eth0, mtu).unwrap();
            assert_eq!(learned(&lan, POD), expected, "device {mtu}");
        }
    }
}
