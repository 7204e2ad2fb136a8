//! What holds after any sequence of changes, packets and time.

use super::addr;
use crate::draws::Draws;
use crate::ids::NetnsId;
use crate::ipvs::{
    Clock, Forward, Ipvs, Persistence, Protocol, Reply, SchedulerKind, Segment, ServerSpec, ServiceFlags,
    ServiceKey, ServiceSpec, State, Transport,
};
use crate::time::{Duration, Instant};
use crate::timer_wheel::TimerWheel;
use crate::wire::TcpFlags;
use proptest::prelude::*;
use proptest::sample::select;
use std::net::SocketAddr;

/// Longer than every timer that can be running.
const FOREVER: Duration = Duration::from_secs(100_000);

/// An event; numbers select one of a few services, servers and clients.
#[derive(Clone, Debug)]
enum Event {
    AddService { service: u16, scheduler: SchedulerKind, persistent: bool, one_packet: bool },
    EditService { service: u16, scheduler: SchedulerKind, persistent: bool },
    DeleteService(u16),
    AddServer { service: u16, server: ServerSpec },
    EditServer { service: u16, server: ServerSpec },
    DeleteServer { service: u16, server: SocketAddr },
    FromClient { client: u16, service: u16, flags: TcpFlags, has_confirmed_entry: bool },
    FromServer { client: u16, server: SocketAddr, flags: TcpFlags },
    Set { nodest: bool, quiescent: bool, mode: u32, drop_entry: u32, drop_packet: u32, conntrack: bool },
    Sleep(Duration),
}

fn scheduler() -> impl Strategy<Value = SchedulerKind> {
    select(SchedulerKind::ALL.to_vec())
}

fn flags() -> impl Strategy<Value = TcpFlags> {
    let (syn, ack, fin, rst) = (TcpFlags::SYN, TcpFlags::ACK, TcpFlags::FIN, TcpFlags::RST);
    select(vec![syn, syn, ack, syn.union(ack), fin.union(ack), rst.union(ack), TcpFlags(0)])
}

fn server() -> impl Strategy<Value = SocketAddr> {
    (1..5_u8, select(vec![0, 80, 8080]))
        .prop_map(|(last, port)| SocketAddr::new([10, 244, 0, last].into(), port))
}

fn server_spec() -> impl Strategy<Value = ServerSpec> {
    let forward = select(vec![Forward::Masquerade, Forward::Masquerade, Forward::Route, Forward::Tunnel]);
    (server(), forward, select(vec![0, 1, 2, 7]), 0..4_u32, 0..3_u32)
        .prop_map(|(addr, forward, weight, upper, lower)| ServerSpec { addr, forward, weight, upper, lower })
}

fn event() -> impl Strategy<Value = Event> {
    let service = || 0..4_u16;
    prop_oneof![
        2 => (service(), scheduler(), any::<bool>(), any::<bool>()).prop_map(|(service, scheduler, persistent, one_packet)| {
            Event::AddService { service, scheduler, persistent, one_packet }
        }),
        1 => (service(), scheduler(), any::<bool>())
            .prop_map(|(service, scheduler, persistent)| Event::EditService { service, scheduler, persistent }),
        1 => service().prop_map(Event::DeleteService),
        5 => (service(), server_spec()).prop_map(|(service, server)| Event::AddServer { service, server }),
        2 => (service(), server_spec()).prop_map(|(service, server)| Event::EditServer { service, server }),
        2 => (service(), server()).prop_map(|(service, server)| Event::DeleteServer { service, server }),
        12 => (0..6_u16, service(), flags(), any::<bool>()).prop_map(|(client, service, flags, has_confirmed_entry)| {
            Event::FromClient { client, service, flags, has_confirmed_entry }
        }),
        6 => (0..6_u16, server(), flags()).prop_map(|(client, server, flags)| Event::FromServer { client, server, flags }),
        1 => (any::<[bool; 3]>(), 0..4_u32, 0..4_u32, 0..4_u32).prop_map(|(on, mode, drop_entry, drop_packet)| {
            Event::Set { nodest: on[0], quiescent: on[1], mode, drop_entry, drop_packet, conntrack: on[2] }
        }),
        4 => select(vec![0, 1, 11, 61, 130, 400]).prop_map(|seconds| Event::Sleep(Duration::from_secs(seconds))),
    ]
}

struct Run {
    ipvs: Ipvs,
    clock: Clock,
    draws: Draws,
}

impl Run {
    fn new(has_wheel: bool) -> Self {
        let wheel = has_wheel.then(|| TimerWheel::new(250, 1_000, 0));
        let clock = Clock { now: Instant::START, wheel };
        Self { ipvs: Ipvs::default(), clock, draws: Draws::seeded(0) }
    }

    /// What an event does; changes of what does not exist are refused.
    fn run(&mut self, event: &Event) {
        let clock = self.clock;
        match *event {
            Event::AddService { service, scheduler, persistent, one_packet } => {
                self.ipvs.add_service(clock, spec(service, scheduler, persistent, one_packet)).ok();
            }
            Event::EditService { service, scheduler, persistent } => {
                self.ipvs.edit_service(clock, spec(service, scheduler, persistent, false)).ok();
            }
            Event::DeleteService(service) => {
                self.ipvs.delete_service(clock, key(service)).ok();
            }
            Event::AddServer { service, server } => {
                self.ipvs.add_server(clock, key(service), server).ok();
            }
            Event::EditServer { service, server } => {
                self.ipvs.edit_server(clock, key(service), server).ok();
            }
            Event::DeleteServer { service, server } => {
                self.ipvs.delete_server(clock, key(service), server).ok();
            }
            Event::FromClient { client, service, flags, has_confirmed_entry } => {
                let segment = segment(self::client(client), dst(service), transport(service, flags));
                let segment = Segment { has_confirmed_entry, ..segment };
                self.ipvs.input(clock, &mut self.draws, NetnsId(0), &segment).ok();
            }
            Event::FromServer { client, server, flags } => {
                let segment = segment(server, self::client(client), Transport::Tcp(flags));
                let reply = self.ipvs.output(clock, &mut self.draws, NetnsId(0), &segment);
                if let Reply::Translate(to) = reply {
                    assert_eq!((to.server, to.flow.client), (segment.src, segment.dst));
                }
            }
            Event::Set { nodest, quiescent, mode, drop_entry, drop_packet, conntrack } => {
                let settings = &mut self.ipvs.settings;
                settings.expire_nodest_conn = nodest;
                settings.expire_quiescent_template = quiescent;
                settings.conn_reuse_mode = mode;
                settings.drop_entry = drop_entry;
                settings.drop_packet = drop_packet;
                settings.conntrack = conntrack;
            }
            Event::Sleep(time) => {
                self.clock.now = self.clock.now + time;
                self.ipvs.advance(self.clock, &mut self.draws, NetnsId(0));
            }
        }
    }

    /// Servers count their connections and templates; templates count their connections.
    fn check(&self) {
        let entries = || self.ipvs.connections().iter();
        for (id, server) in self.ipvs.servers.iter() {
            let count = |is_wanted: fn(&super::Connection) -> bool| {
                let own = entries().filter(|(_, entry)| entry.server_id == id && is_wanted(entry));
                u32::try_from(own.count()).unwrap()
            };
            let is_active = |entry: &super::Connection| !entry.is_template() && !entry.is_inactive;
            let is_inactive = |entry: &super::Connection| !entry.is_template() && entry.is_inactive;
            let counts = (count(is_active), count(is_inactive), count(super::Connection::is_template));
            assert_eq!((server.active, server.inactive, server.persistent), counts, "{:?}", server.spec.addr);
        }
        for (id, entry) in entries() {
            let controlled = entries().filter(|(_, other)| other.template == Some(id)).count();
            assert_eq!(entry.controlled as usize, controlled, "{}", entry.flow);
            assert!(matches!(entry.state, State::Template { .. }) || controlled == 0);
        }
    }
}

fn key(service: u16) -> ServiceKey {
    let protocol = if service == 3 { Protocol::Udp } else { Protocol::Tcp };
    ServiceKey::Addr { protocol, addr: dst(service) }
}

fn dst(service: u16) -> SocketAddr {
    SocketAddr::new([10, 96, 0, 1].into(), 80 + service)
}

fn client(number: u16) -> SocketAddr {
    let mut addr = addr("192.0.2.0:40000");
    addr.set_ip([192, 0, 2, u8::try_from(number % 3).unwrap()].into());
    addr.set_port(40_000 + number / 3);
    addr
}

const fn transport(service: u16, flags: TcpFlags) -> Transport {
    if service == 3 { Transport::Udp } else { Transport::Tcp(flags) }
}

const fn segment(src: SocketAddr, dst: SocketAddr, transport: Transport) -> Segment {
    Segment { src, dst, transport, mark: 0, is_local: false, has_confirmed_entry: false }
}

fn spec(service: u16, scheduler: SchedulerKind, persistent: bool, one_packet: bool) -> ServiceSpec {
    let netmask = [255, 255, 255, 255].into();
    ServiceSpec {
        key: key(service),
        scheduler,
        flags: ServiceFlags { one_packet, flag1: one_packet, ..ServiceFlags::default() },
        persistence: persistent.then_some(Persistence { timeout: Duration::from_secs(100), netmask }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn counters_agree_and_everything_ends(events in prop::collection::vec(event(), 1..80), has_wheel: bool) {
        let mut run = Run::new(has_wheel);
        for event in &events {
            run.run(event);
            run.check();
        }
        run.ipvs.flush(run.clock);
        run.run(&Event::Sleep(FOREVER));
        prop_assert!(run.ipvs.connections().is_empty(), "{} entries are left", run.ipvs.connections().len());
        prop_assert!(run.ipvs.servers.is_empty(), "{} servers are left", run.ipvs.servers.len());
    }
}
