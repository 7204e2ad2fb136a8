//! Listings as ipvsadm 1.31 and ipset 7.17 print them.

use proxy_core::ipvs::VirtualService;

use super::*;

const SERVICES: &str = "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.96.0.10:80 rr
  -> 10.244.1.2:8080              Masq    1      2          3         
  -> 10.244.2.2:8080              Masq    0      0          0         
UDP  10.96.0.11:53 mh (mh-port) persistent 10800
";

const CONNECTIONS: &str = "IPVS connection entries
pro expire state       source             virtual            destination
TCP 14:59  ESTABLISHED 192.0.2.1:40000    10.96.0.10:80      10.244.1.2:8080
UDP 04:57  UDP         192.0.2.1:40001    10.96.0.11:53      10.244.1.3:53
UDP 179:00 NONE        192.0.2.1:0        10.96.0.11:53      10.244.1.3:53
";

const SETS: &str = "create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x2b2e3bb5
add KUBE-CLUSTER-IP 10.96.0.10,tcp:80
create KUBE-NODE-PORT-TCP bitmap:port range 0-65535
";

fn observed() -> IpvsObservation {
    let addresses = BTreeSet::from(["10.96.0.10".parse().expect("an address")]);
    IpvsObservation::read(SERVICES, CONNECTIONS, SETS, addresses).expect("listings")
}

#[test]
fn listings_are_read() {
    let nothing = IpvsObservation::default();
    let (lines, none) = IpvsObservation::apart(&observed(), &nothing);
    assert_eq!(none, [""; 0]);
    assert_eq!(
        lines,
        [
            "TCP 10.96.0.10:80 rr",
            "TCP 10.96.0.10:80 -> 10.244.1.2:8080 Masq weight 1, 2 active, 3 inactive",
            "TCP 10.96.0.10:80 -> 10.244.2.2:8080 Masq weight 0, 0 active, 0 inactive",
            "UDP 10.96.0.11:53 mh (mh-port) persistent 10800",
            "add KUBE-CLUSTER-IP 10.96.0.10,tcp:80",
            "create KUBE-CLUSTER-IP hash:ip,port family inet",
            "create KUBE-NODE-PORT-TCP bitmap:port range 0-65535",
            "address 10.96.0.10 of kube-ipvs0",
            "TCP 899 ESTABLISHED 192.0.2.1:40000 -> 10.96.0.10:80 -> 10.244.1.2:8080",
            "UDP 297 UDP 192.0.2.1:40001 -> 10.96.0.11:53 -> 10.244.1.3:53",
            "UDP 10740 NONE 192.0.2.1:0 -> 10.96.0.11:53 -> 10.244.1.3:53",
        ]
    );
}

#[test]
fn a_line_of_another_form_is_an_error() {
    for (services, connections) in [
        (SERVICES.replace("10.96.0.10:80 rr", "10.96.0.10:80"), CONNECTIONS.to_owned()),
        (SERVICES.replace("TCP  10.96.0.10:80 rr\n", ""), CONNECTIONS.to_owned()),
        (SERVICES.replace("Masq    0 ", "Masq"), CONNECTIONS.to_owned()),
        (SERVICES.to_owned(), CONNECTIONS.replace("14:59", "899")),
        (SERVICES.to_owned(), CONNECTIONS.replace("192.0.2.1:40000", "192.0.2.1")),
    ] {
        let read = IpvsObservation::read(&services, &connections, SETS, BTreeSet::new());
        assert!(read.is_err_and(|message| message.starts_with("unexpected line ")));
    }
}

#[test]
fn the_connections_of_a_server_are_both_counts() {
    let server = |port, protocol, address: &str| {
        let service = VirtualService { address: "10.96.0.10".parse().expect("an address"), port, protocol };
        RealServer { service, address: address.into() }
    };
    for (server, expected) in [
        (server(80, Protocol::Tcp, "10.244.1.2:8080"), Some(5)),
        (server(80, Protocol::Tcp, "10.244.2.2:8080"), Some(0)),
        (server(80, Protocol::Tcp, "10.244.3.2:8080"), None),
        (server(80, Protocol::Udp, "10.244.1.2:8080"), None),
        (server(81, Protocol::Tcp, "10.244.1.2:8080"), None),
    ] {
        assert_eq!(observed().connections_of(&server), expected, "{server}");
    }
}

#[test]
fn a_few_seconds_are_no_difference() {
    let later = |seconds| {
        let mut later = observed();
        later.connections[0].expires_in -= Duration::from_secs(seconds);
        IpvsObservation::apart(&observed(), &later)
    };
    assert_eq!(later(3), (Vec::new(), Vec::new()));
    let (left, right) = later(4);
    assert_eq!((left.len(), right.len()), (1, 1));
    let mut twice = observed();
    twice.connections.push(twice.connections[1].clone());
    let (left, right) = IpvsObservation::apart(&observed(), &twice);
    assert_eq!((left.len(), right.len()), (0, 1));
}
