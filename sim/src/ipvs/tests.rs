//! What the recordings of a kernel do not cover; those are compared in `conformance/tests/ipvs_recordings`.

mod laws;
mod text;

use super::*;
use crate::draws::Draws;
use crate::ids::NetnsId;
use crate::time::{Duration, Instant};
use crate::wire::TcpFlags;
use std::net::SocketAddr;

const VIP: &str = "10.96.0.1:80";
const CLIENT: &str = "192.0.2.1:40000";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn key(protocol: Protocol, text: &str) -> ServiceKey {
    ServiceKey::Addr { protocol, addr: addr(text) }
}

fn clock() -> Clock {
    Clock::exact(Instant::START)
}

fn spec(key: ServiceKey, scheduler: SchedulerKind) -> ServiceSpec {
    ServiceSpec { key, scheduler, flags: ServiceFlags::default(), persistence: None }
}

fn server(text: &str) -> ServerSpec {
    ServerSpec { addr: addr(text), forward: Forward::Masquerade, weight: 1, upper: 0, lower: 0 }
}

/// A service with these servers.
fn service(ipvs: &mut Ipvs, spec: ServiceSpec, servers: &[&str]) {
    ipvs.add_service(clock(), spec).unwrap();
    for one in servers {
        ipvs.add_server(clock(), spec.key, server(one)).unwrap();
    }
}

fn segment(src: &str, dst: &str, transport: Transport) -> Segment {
    let (src, dst) = (addr(src), addr(dst));
    Segment { src, dst, transport, mark: 0, is_local: false, has_confirmed_entry: false }
}

fn syn(src: &str, dst: &str) -> Segment {
    segment(src, dst, Transport::Tcp(TcpFlags::SYN))
}

fn input(ipvs: &mut Ipvs, segment: &Segment) -> Result<Forwarding, Refusal> {
    ipvs.input(clock(), &mut Draws::seeded(0), NetnsId(0), segment)
}

/// The server of a packet, as text; `-` if it passes on.
fn chosen(ipvs: &mut Ipvs, segment: &Segment) -> String {
    match input(ipvs, segment) {
        Ok(forwarding) => forwarding.server.to_string(),
        Err(Refusal::Pass(_)) => "-".to_owned(),
        Err(refusal) => panic!("{refusal:?}"),
    }
}

#[test]
fn an_association_is_followed_chunk_by_chunk() {
    use SctpEvent::{CookieAck, CookieEcho, Data, Init, InitAck, Shutdown, ShutdownAck, ShutdownComplete};
    let mut ipvs = Ipvs::default();
    service(&mut ipvs, spec(key(Protocol::Sctp, VIP), SchedulerKind::Rr), &["10.244.0.1:9"]);
    let mut draws = Draws::seeded(0);
    for (from_client, event, state, seconds, active) in [
        (true, Init, "INIT1", 4, 0),
        (false, InitAck, "C-SENT", 61, 0),
        (true, CookieEcho, "C-REPLIED", 61, 0),
        (false, CookieAck, "ESTABLISHED", 900, 1),
        (true, Data, "ESTABLISHED", 900, 1),
        (true, Shutdown, "S-RECEIVED", 61, 0),
        (false, ShutdownAck, "S-ACK-SENT", 61, 0),
        (true, ShutdownComplete, "CLOSED", 61, 0),
    ] {
        let transport = Transport::Sctp(event);
        if from_client {
            input(&mut ipvs, &segment(CLIENT, VIP, transport)).unwrap();
        } else {
            let reply = segment("10.244.0.1:9", CLIENT, transport);
            let seen = ipvs.output(clock(), &mut draws, NetnsId(0), &reply);
            assert!(matches!(seen, Reply::Translate(to) if to.flow.peer == addr(VIP)), "{seen:?}");
        }
        let (_, entry) = ipvs.connections().iter().next().unwrap();
        assert_eq!((entry.state.name(), entry.seconds_left(clock())), (state, seconds), "{event:?}");
        assert_eq!(ipvs.server(entry.server_id).unwrap().active, active, "{event:?}");
    }
    let stray = segment("192.0.2.9:1", VIP, Transport::Sctp(Data));
    assert_eq!(input(&mut ipvs, &stray), Err(Refusal::NoAssociation));
}

#[test]
fn services_are_found_by_mark_then_port_then_the_ports_21_and_0() {
    let mut ipvs = Ipvs::default();
    let persistence =
        Some(Persistence { timeout: Duration::from_secs(60), netmask: [255, 255, 255, 255].into() });
    for (key, one) in [
        (ServiceKey::Mark { is_ipv6: false, mark: 7 }, "10.244.0.7:7"),
        (key(Protocol::Tcp, VIP), "10.244.0.1:1"),
        (key(Protocol::Tcp, "10.96.0.1:0"), "10.244.0.2:0"),
        (key(Protocol::Tcp, "10.96.0.2:21"), "10.244.0.3:21"),
    ] {
        service(&mut ipvs, ServiceSpec { persistence, ..spec(key, SchedulerKind::Rr) }, &[one]);
    }
    for (dst, mark, expected) in [
        (VIP, 7, "10.244.0.7:80"),
        (VIP, 8, "10.244.0.1:1"),
        (VIP, 0, "10.244.0.1:1"),
        ("10.96.0.1:443", 0, "10.244.0.2:443"),
        ("10.96.0.2:21", 0, "10.244.0.3:21"),
        ("10.96.0.2:50000", 0, "10.244.0.3:50000"),
        ("10.96.0.2:80", 0, "-"),
        ("10.96.0.3:80", 0, "-"),
    ] {
        let segment = Segment { mark, ..syn(&format!("192.0.2.1:{}", 1000 + mark), dst) };
        assert_eq!(chosen(&mut ipvs, &segment), expected, "{dst} with mark {mark}");
    }
}

#[test]
fn ipv6_clients_are_masked_and_hashed() {
    let mut ipvs = Ipvs::default();
    let netmask = "ffff:ffff:ffff:ffff::".parse().unwrap();
    let persistence = Some(Persistence { timeout: Duration::from_secs(60), netmask });
    let vip = "[fd00::1]:80";
    let spec = ServiceSpec { persistence, ..spec(key(Protocol::Tcp, vip), SchedulerKind::Rr) };
    service(&mut ipvs, spec, &["[fd01::1]:80", "[fd01::2]:80"]);
    let first = chosen(&mut ipvs, &syn("[2001:db8::1]:1", vip));
    assert_eq!(chosen(&mut ipvs, &syn("[2001:db8::2]:1", vip)), first, "the same /64");
    assert_ne!(chosen(&mut ipvs, &syn("[2001:db8:0:1::1]:1", vip)), first, "another /64");
}

#[test]
fn connections_to_routed_servers_have_no_replies() {
    let mut ipvs = Ipvs::default();
    let vip = key(Protocol::Tcp, VIP);
    ipvs.add_service(clock(), spec(vip, SchedulerKind::Rr)).unwrap();
    let routed = ServerSpec { forward: Forward::Route, ..server("10.244.0.1:80") };
    ipvs.add_server(clock(), vip, routed).unwrap();
    input(&mut ipvs, &syn(CLIENT, VIP)).unwrap();
    let fin = segment(CLIENT, VIP, Transport::Tcp(TcpFlags::FIN.union(TcpFlags::ACK)));
    let ack = segment(CLIENT, VIP, Transport::Tcp(TcpFlags::ACK));
    assert_eq!(input(&mut ipvs, &ack).unwrap().state, State::Tcp(TcpState::Established));
    assert_eq!(input(&mut ipvs, &fin).unwrap().state, State::Tcp(TcpState::FinWait));
    let reply = segment("10.244.0.1:80", CLIENT, Transport::Tcp(TcpFlags::ACK));
    assert_eq!(ipvs.output(clock(), &mut Draws::seeded(0), NetnsId(0), &reply), Reply::Pass);
    // FIN_WAIT may be replaced in mode 2, because nobody here sees the server's half.
    ipvs.settings.conn_reuse_mode = 2;
    assert!(input(&mut ipvs, &syn(CLIENT, VIP)).unwrap().why.is_some());
}

#[test]
fn a_syn_that_belongs_to_a_conntrack_entry_is_dropped_once() {
    let mut ipvs = Ipvs::default();
    ipvs.settings.conntrack = true;
    service(&mut ipvs, spec(key(Protocol::Tcp, VIP), SchedulerKind::Rr), &["10.244.0.1:80"]);
    input(&mut ipvs, &syn(CLIENT, VIP)).unwrap();
    let fin = segment(CLIENT, VIP, Transport::Tcp(TcpFlags::FIN));
    assert_eq!(input(&mut ipvs, &fin).unwrap().state, State::Tcp(TcpState::TimeWait));
    let again = Segment { has_confirmed_entry: true, ..syn(CLIENT, VIP) };
    assert_eq!(input(&mut ipvs, &again), Err(Refusal::OldConntrack));
    assert!(input(&mut ipvs, &again).unwrap().why.is_some(), "the entry is gone");
}

#[test]
fn replies_of_a_server_on_this_node_are_not_scheduled() {
    let mut ipvs = Ipvs::default();
    service(&mut ipvs, spec(key(Protocol::Tcp, VIP), SchedulerKind::Rr), &["10.244.0.1:80"]);
    service(&mut ipvs, spec(key(Protocol::Tcp, CLIENT), SchedulerKind::Rr), &["10.244.0.2:80"]);
    input(&mut ipvs, &syn(CLIENT, VIP)).unwrap();
    let reply = Segment { is_local: true, ..syn(VIP, CLIENT) };
    assert_eq!(input(&mut ipvs, &reply), Err(Refusal::Pass(PassReason::LocalReply)));
}

#[test]
fn a_packet_of_a_server_without_connection_is_refused_if_the_sysctl_says_so() {
    let mut ipvs = Ipvs::default();
    service(&mut ipvs, spec(key(Protocol::Tcp, VIP), SchedulerKind::Rr), &["10.244.0.1:80"]);
    let mut draws = Draws::seeded(0);
    for (src, is_set, expected) in [
        ("10.244.0.1:80", false, Reply::Pass),
        ("10.244.0.1:80", true, Reply::NoConnection),
        ("10.244.0.1:81", true, Reply::Pass),
        ("10.244.0.2:80", true, Reply::Pass),
    ] {
        ipvs.settings.nat_icmp_send = is_set;
        let reply = segment(src, CLIENT, Transport::Tcp(TcpFlags::ACK));
        assert_eq!(ipvs.output(clock(), &mut draws, NetnsId(0), &reply), expected, "{src} {is_set}");
    }
}

#[test]
fn invalid_changes_are_refused() {
    let mut ipvs = Ipvs::default();
    let (vip, other) = (key(Protocol::Tcp, VIP), key(Protocol::Udp, VIP));
    service(&mut ipvs, spec(vip, SchedulerKind::Wlc), &["10.244.0.1:80"]);
    let one = server("10.244.0.1:80");
    let unknown = server("10.244.0.9:80");
    assert_eq!(ipvs.add_service(clock(), spec(vip, SchedulerKind::Rr)), Err(ConfigError::ServiceExists));
    assert_eq!(ipvs.edit_service(clock(), spec(other, SchedulerKind::Rr)), Err(ConfigError::NoSuchService));
    assert_eq!(ipvs.delete_service(clock(), other), Err(ConfigError::NoSuchService));
    assert_eq!(ipvs.add_server(clock(), other, one), Err(ConfigError::NoSuchService));
    assert_eq!(ipvs.add_server(clock(), vip, one), Err(ConfigError::ServerExists));
    assert_eq!(ipvs.edit_server(clock(), vip, unknown), Err(ConfigError::NoSuchServer));
    assert_eq!(ipvs.delete_server(clock(), vip, unknown.addr), Err(ConfigError::NoSuchServer));
    let crossed = ServerSpec { upper: 1, lower: 2, ..unknown };
    assert_eq!(ipvs.add_server(clock(), vip, crossed), Err(ConfigError::OutOfRange));
    ipvs.flush(clock());
    assert!(ipvs.services().is_empty());
}

/// Servers that nobody refers to are forgotten after the second check of the trash that finds them so.
#[test]
fn deleted_servers_are_forgotten() {
    let mut ipvs = Ipvs::default();
    let vip = key(Protocol::Tcp, VIP);
    service(&mut ipvs, spec(vip, SchedulerKind::Rr), &["10.244.0.1:80"]);
    let id = ipvs.service(vip).unwrap().servers()[0];
    ipvs.delete_server(clock(), vip, addr("10.244.0.1:80")).unwrap();
    for (seconds, is_known) in [(0, true), (60, true), (179, true), (180, false)] {
        ipvs.expire(Clock::exact(Instant::START + Duration::from_secs(seconds)));
        assert_eq!(ipvs.server(id).is_some(), is_known, "after {seconds} s");
    }
}

/// Linux: `ip_vs_enqueue_expire_nodest_conns`: a work queue ends the connections of servers that are still deleted then.
#[test]
fn a_server_that_returns_at_once_keeps_its_connections() {
    let later = Clock::exact(Instant::START + Duration::from_millis(1));
    for (returns, expected) in [(true, 1), (false, 0)] {
        let mut ipvs = Ipvs::default();
        ipvs.settings.expire_nodest_conn = true;
        let vip = key(Protocol::Tcp, VIP);
        service(&mut ipvs, spec(vip, SchedulerKind::Rr), &["10.244.0.1:80"]);
        input(&mut ipvs, &syn(CLIENT, VIP)).unwrap();
        ipvs.delete_server(clock(), vip, addr("10.244.0.1:80")).unwrap();
        if returns {
            ipvs.add_server(clock(), vip, server("10.244.0.1:80")).unwrap();
        }
        ipvs.expire(clock());
        assert_eq!(ipvs.connections().iter().count(), 1, "the work has not run yet");
        assert!(ipvs.is_due(later.now));
        ipvs.expire(later);
        assert_eq!(ipvs.connections().iter().count(), expected, "returns: {returns}");
    }
}

#[test]
fn the_power_of_two_choices_takes_the_less_loaded_server() {
    let mut ipvs = Ipvs::default();
    service(
        &mut ipvs,
        spec(key(Protocol::Tcp, VIP), SchedulerKind::Twos),
        &["10.244.0.1:80", "10.244.0.2:80"],
    );
    let mut draws = Draws::seeded(0);
    for port in 1_000..2_000 {
        let segment = syn(&format!("192.0.2.1:{port}"), VIP);
        ipvs.input(clock(), &mut draws, NetnsId(0), &segment).unwrap();
    }
    let service = &ipvs.services()[0];
    let counts = service.servers().iter().map(|id| ipvs.server(*id).unwrap().active);
    assert!(counts.clone().all(|count| count > 400), "{:?}", counts.collect::<Vec<_>>());
}
