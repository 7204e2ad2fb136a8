use super::*;
use crate::arm::kernel::server::{Listener, Servers};
use crate::arm::kernel::testing::{can_run, pair};

fn request(protocol: Transport, to: &str) -> ClientRequest {
    ClientRequest {
        protocol,
        to: to.parse().expect("an address and a port"),
        source_port: Some(40_000),
        bytes: b"?\n".to_vec(),
        timeout: Duration::from_millis(300),
        is_kept: false,
    }
}

/// The client's report as text.
fn check(netns: &LabNetns, protocol: Transport, to: &str) -> String {
    let (report, _) = exchange(netns, &request(protocol, to), &Prompt::start("clients").expect("a thread"))
        .expect("a socket");
    let reply = String::from_utf8_lossy(&report.reply).trim_end().to_owned();
    format!("{:?} {} {reply:?} {:?}", report.end, report.local, report.icmp_errors)
}

#[test]
fn clients_report_what_sockets_are_told() {
    if !can_run("clients_report_what_sockets_are_told") {
        return;
    }
    let lab = pair();
    let mut servers = Servers::start().expect("a thread");
    for protocol in [Transport::Tcp, Transport::Udp] {
        let listener =
            Listener { protocol, address: None, port: 80, name: "web".to_owned(), zone: None, page: None };
        servers.open(lab.netns("b"), &listener).expect("opened");
    }
    let rules = "*filter\n-A INPUT -p tcp --dport 81 -j REJECT\n-A INPUT -p tcp --dport 82 -j DROP\n\
                 -A INPUT -p udp --dport 81 -j REJECT --reject-with icmp-admin-prohibited\n\
                 -A INPUT -p udp --dport 82 -j REJECT --reject-with icmp-host-unreachable\nCOMMIT\n";
    lab.netns("b").run("iptables-legacy-restore", &["-w", "5"], rules.as_bytes()).expect("loaded");
    let from_a = |protocol, to| check(lab.netns("a"), protocol, to);
    let (tcp, udp, icmp) = (Transport::Tcp, Transport::Udp, Transport::Icmp);
    let told = "10.0.0.1:40000";
    let line = "web 10.0.0.1:40000 10.0.0.2:80";
    assert_eq!(from_a(tcp, "10.0.0.2:80"), format!("Answered {told} {line:?} []"));
    assert_eq!(from_a(tcp, "10.0.0.2:79"), format!("Failed(ECONNREFUSED) {told} \"\" []"));
    assert_eq!(from_a(tcp, "10.0.0.2:81"), format!("Failed(ECONNREFUSED) {told} \"\" []"));
    assert_eq!(from_a(tcp, "10.0.0.2:82"), format!("TimedOut {told} \"\" []"));
    assert_eq!(from_a(tcp, "10.9.0.2:80"), "Failed(ENETUNREACH) 0.0.0.0:40000 \"\" []");
    assert_eq!(from_a(udp, "10.0.0.2:80"), format!("Answered {told} {line:?} []"));
    assert_eq!(from_a(udp, "10.0.0.2:79"), format!("Failed(ECONNREFUSED) {told} \"\" [(3, 3)]"));
    assert_eq!(from_a(udp, "10.0.0.2:81"), format!("Failed(EHOSTUNREACH) {told} \"\" [(3, 13)]"));
    // Not fatal: the socket keeps waiting.
    assert_eq!(from_a(udp, "10.0.0.2:82"), format!("TimedOut {told} \"\" [(3, 1)]"));
    assert_eq!(from_a(udp, "10.9.0.2:80"), "Failed(ENETUNREACH) 0.0.0.0:40000 \"\" []");
    assert_eq!(from_a(icmp, "10.0.0.2:0"), format!("Answered {told} \"?\" []"));
    assert_eq!(from_a(icmp, "10.0.0.3:0"), format!("TimedOut {told} \"\" []"));
    // A member of the group replies from its own address.
    lab.netns("a").run("ip", &["route", "add", "224.0.0.0/4", "dev", "eth0"], b"").expect("a route");
    lab.netns("b").run("sysctl", &["-qw", "net.ipv4.icmp_echo_ignore_broadcasts=0"], b"").expect("written");
    assert_eq!(from_a(icmp, "224.0.0.1:0"), format!("Answered {told} \"?\" []"));
}

#[test]
fn a_server_that_is_closed_refuses() {
    if !can_run("a_server_that_is_closed_refuses") {
        return;
    }
    let lab = pair();
    let mut servers = Servers::start().expect("a thread");
    let listener = Listener {
        protocol: Transport::Tcp,
        address: None,
        port: 80,
        name: "web".to_owned(),
        zone: None,
        page: None,
    };
    let id = servers.open(lab.netns("b"), &listener).expect("opened");
    assert!(servers.open(lab.netns("b"), &listener).is_err(), "the port is taken");
    servers.close(id).expect("closed");
    let refused = || check(lab.netns("a"), Transport::Tcp, "10.0.0.2:80").starts_with("Failed(ECONNREFUSED)");
    // The socket is closed by another thread.
    assert!((0..100).any(|_| refused()));
}

/// What a kept connection reports: `END REPLY`.
fn told(report: &Report) -> String {
    format!("{:?} {:?}", report.end, String::from_utf8_lossy(&report.reply))
}

#[test]
fn kept_connections_answer_and_notice_their_end() {
    if !can_run("kept_connections_answer_and_notice_their_end") {
        return;
    }
    let lab = pair();
    let mut servers = Servers::start().expect("a thread");
    let mut keeper = Keeper::start().expect("a thread");
    let clients = Prompt::start("clients").expect("a thread");
    let mut open = Vec::new();
    for protocol in [Transport::Tcp, Transport::Udp] {
        let listener =
            Listener { protocol, address: None, port: 80, name: "web".to_owned(), zone: None, page: None };
        let server = servers.open(lab.netns("b"), &listener).expect("opened");
        for port in [40_000, 40_001] {
            let request =
                ClientRequest { source_port: Some(port), is_kept: true, ..request(protocol, "10.0.0.2:80") };
            let (report, socket) = exchange(lab.netns("a"), &request, &clients).expect("a socket");
            assert_eq!(report.end, End::Answered);
            open.push((protocol, port, keeper.keep(socket.expect("it is open"))));
        }
        let send = |id| told(&keeper.send(id, b"?\n".to_vec(), Duration::from_secs(2)));
        for (_, port, id) in open.iter().filter(|(known, ..)| *known == protocol) {
            assert_eq!(send(*id), format!("Answered \"web 10.0.0.1:{port} 10.0.0.2:80\\n\""));
        }
        servers.close(server).expect("closed");
    }
    // A server that closes ends its connections. Datagrams find no server.
    let ended = [(Transport::Tcp, "Closed \"\""), (Transport::Udp, "Failed(ECONNREFUSED) \"\"")];
    for (protocol, _, id) in &open {
        let (_, expected) = ended.iter().find(|(known, _)| known == protocol).expect("one of both");
        assert_eq!(told(&keeper.send(*id, b"?\n".to_vec(), Duration::from_secs(2))), *expected);
        let ended = keeper.close(*id).as_ref().map(told);
        assert_eq!(ended.as_deref(), (*protocol == Transport::Tcp).then_some(*expected));
    }
}

/// A request without response ends a stream, and a keeper that stops leaves no connection behind.
#[test]
fn kept_connections_end_by_a_timeout_or_with_their_keeper() {
    if !can_run("kept_connections_end_by_a_timeout_or_with_their_keeper") {
        return;
    }
    let lab = pair();
    let mut servers = Servers::start().expect("a thread");
    let listener = Listener {
        protocol: Transport::Tcp,
        address: None,
        port: 80,
        name: "web".to_owned(),
        zone: None,
        page: None,
    };
    servers.open(lab.netns("b"), &listener).expect("opened");
    let mut keeper = Keeper::start().expect("a thread");
    let clients = Prompt::start("clients").expect("a thread");
    let ids = [40_000, 40_001].map(|port| {
        let request = ClientRequest {
            source_port: Some(port),
            is_kept: true,
            ..request(Transport::Tcp, "10.0.0.2:80")
        };
        let (_, socket) = exchange(lab.netns("a"), &request, &clients).expect("a socket");
        keeper.keep(socket.expect("it is open"))
    });
    let rules = "*filter\n-A INPUT -p tcp --sport 40000 -j DROP\nCOMMIT\n";
    lab.netns("b").run("iptables-legacy-restore", &["-w", "5"], rules.as_bytes()).expect("loaded");
    let report = keeper.send(ids[0], b"?\n".to_vec(), Duration::from_millis(100));
    assert_eq!(told(&report), "TimedOut \"\"");
    assert_eq!(keeper.close(ids[0]).as_ref().map(told).as_deref(), Some("TimedOut \"\""));
    drop(keeper);
    // The second one was aborted: no socket is left but those of the server's side.
    let sockets = lab.netns("a").run("ss", &["-Htan", "sport = :40001"], b"").expect("ss(8)");
    assert_eq!(sockets, "");
}
