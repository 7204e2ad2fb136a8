//! New connections.

use super::Ipvs;
use super::connection::{Connection, ConnectionId, Timer};
use super::decision::{PassReason, Path};
use super::scheduler::{Ask, Why};
use super::segment::{FlowKey, Segment};
use super::server::{Forward, ServerId, ServiceKey};
use super::service::Persistence;
use super::state::State;
use crate::time::Duration;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A service on this port receives data connections too, on any port (`FTPPORT`, include/net/ip_vs.h).
pub(super) const FTP: u16 = 21;
/// The port from which a server opens data connections (`FTPDATA`).
const FTP_DATA: u16 = 20;
/// The first port that any process may use (`net.ipv4.ip_unprivileged_port_start`).
const UNPRIVILEGED: u16 = 1_024;
/// Timeout of an entry before its first packet sets the state (`ip_vs_conn_new`).
const INITIAL: Duration = Duration::from_secs(3);

/// The result of scheduling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheduled {
    /// A new connection.
    Connection(ConnectionId, Why),
    /// The packet is not scheduled, and goes on.
    Pass(PassReason),
    /// No server can take the connection.
    NoServer,
}

impl Ipvs {
    /// The service of a packet (`ip_vs_service_find`, net/netfilter/ipvs/ip_vs_ctl.c): by mark, by address and port, then
    /// those with port 21 or 0.
    pub(super) fn find_service(&self, segment: &Segment) -> Option<usize> {
        let (protocol, dst) = (segment.transport.protocol(), segment.dst);
        let find = |key: ServiceKey| self.by_key.get(&key).copied();
        let on = |port: u16| find(ServiceKey::Addr { protocol, addr: SocketAddr::new(dst.ip(), port) });
        let is_data = dst.port() == FTP_DATA || dst.port() >= UNPRIVILEGED;
        let marked = || {
            let is_ipv6 = dst.is_ipv6();
            (segment.mark != 0).then(|| find(ServiceKey::Mark { is_ipv6, mark: segment.mark })).flatten()
        };
        let ftp = || {
            let is_tcp = protocol == super::Protocol::Tcp;
            if is_tcp && is_data { on(FTP) } else { None }
        };
        marked().or_else(|| on(dst.port())).or_else(ftp).or_else(|| on(0))
    }

    /// Selects a server and creates the connection (`ip_vs_schedule`, net/netfilter/ipvs/ip_vs_core.c).
    pub(super) fn schedule(&mut self, path: &mut Path<'_>, service: usize, segment: &Segment) -> Scheduled {
        if segment.src.port() == FTP_DATA {
            return Scheduled::Pass(PassReason::FtpData);
        }
        // A reply of a server on this node, whose connection is known from the other side.
        let reversed = FlowKey { client: segment.dst, peer: segment.src, ..segment.client_flow() };
        if segment.is_local && self.connections.find(&reversed).is_some() {
            return Scheduled::Pass(PassReason::LocalReply);
        }
        let spec = self.services[service].spec;
        if let Some(persistence) = spec.persistence {
            return self.schedule_persistent(path, service, persistence, segment);
        }
        let is_other_port = spec.key.port() != segment.dst.port();
        if matches!(spec.key, ServiceKey::Addr { .. }) && is_other_port {
            return Scheduled::NoServer;
        }
        let Some((server, why)) = self.select(path, service, segment) else {
            return Scheduled::NoServer;
        };
        let port = self.port_of(server, segment.dst.port());
        let id = self.create(path, segment, service, server, port);
        Scheduled::Connection(id, why)
    }

    /// As [`Ipvs::schedule`], by the client's template, which is created with the first connection
    /// (`ip_vs_sched_persist`, net/netfilter/ipvs/ip_vs_core.c).
    fn schedule_persistent(
        &mut self,
        path: &mut Path<'_>,
        service: usize,
        persistence: Persistence,
        segment: &Segment,
    ) -> Scheduled {
        let key = self.services[service].spec.key;
        let flow = template_flow(key, persistence, segment);
        let found = self.connections.template(&flow).filter(|id| self.is_usable_template(*id));
        let (template, server, why) = match found {
            Some(id) => (id, self.connections.get_mut(id).server_id, Why::Template),
            None => {
                let Some((server, why)) = self.select(path, service, segment) else {
                    return Scheduled::NoServer;
                };
                let port = if flow.peer.port() == 0 { 0 } else { self.servers[server].port() };
                (self.create_template(path, flow, server, port, persistence.timeout), server, why)
            }
        };
        let is_service_port = segment.dst.port() == key.port();
        let port =
            if is_service_port { self.port_of(server, segment.dst.port()) } else { segment.dst.port() };
        let id = self.create(path, segment, service, server, port);
        self.connections.get_mut(id).template = Some(template);
        self.connections.get_mut(template).controlled += 1;
        self.connections.restart(template, path.clock);
        Scheduled::Connection(id, why)
    }

    /// False if the server of a template was deleted, or has no weight while `expire_quiescent_template` is set. The
    /// template is invalid from then on (`ip_vs_check_template`, net/netfilter/ipvs/ip_vs_conn.c).
    fn is_usable_template(&mut self, id: ConnectionId) -> bool {
        let server = &self.servers[self.connections.get_mut(id).server_id];
        let is_quiescent = self.settings.expire_quiescent_template && server.spec.weight == 0;
        if server.is_available && !is_quiescent {
            return true;
        }
        self.connections.invalidate_template(id);
        false
    }

    /// Asks the scheduler of a service.
    fn select(&mut self, path: &mut Path<'_>, service: usize, segment: &Segment) -> Option<(ServerId, Why)> {
        let service = &mut self.services[service];
        let flags = service.spec.flags;
        let mut ask = Ask {
            flow: segment.client_flow(),
            has_fallback: flags.flag1,
            uses_port: flags.flag2,
            settings: &self.settings,
            clock: path.clock,
            draws: path.draws,
            netns: path.netns,
        };
        service.schedule(&self.servers, &mut ask)
    }

    /// The port of a server for packets to that port.
    fn port_of(&self, server: ServerId, port: u16) -> u16 {
        match self.servers[server].port() {
            0 => port,
            own => own,
        }
    }

    /// Creates a connection (`ip_vs_conn_new` and `ip_vs_bind_dest`, net/netfilter/ipvs/ip_vs_conn.c).
    fn create(
        &mut self,
        path: &Path<'_>,
        segment: &Segment,
        service: usize,
        server_id: ServerId,
        port: u16,
    ) -> ConnectionId {
        let protocol = segment.transport.protocol();
        let is_one_packet = self.services[service].spec.flags.one_packet && protocol == super::Protocol::Udp;
        let server = &mut self.servers[server_id];
        server.inactive += 1;
        server.bound();
        let forward = server.spec.forward;
        let entry = Connection {
            flow: segment.client_flow(),
            server: SocketAddr::new(server.addr(), port),
            server_id,
            forward,
            state: State::new(protocol),
            mark: segment.mark,
            owns_conntrack: self.settings.conntrack,
            is_one_packet,
            has_no_output: forward != Forward::Masquerade,
            is_inactive: true,
            template: None,
            controlled: 0,
            in_packets: 0,
            timeout: INITIAL,
            timer: Timer::new(path.clock.now),
        };
        self.connections.insert(entry)
    }

    fn create_template(
        &mut self,
        path: &Path<'_>,
        flow: FlowKey,
        server_id: ServerId,
        port: u16,
        timeout: Duration,
    ) -> ConnectionId {
        let server = &mut self.servers[server_id];
        server.persistent += 1;
        server.bound();
        let entry = Connection {
            flow,
            server: SocketAddr::new(server.addr(), port),
            server_id,
            forward: server.spec.forward,
            state: State::Template { is_assured: false },
            mark: 0,
            owns_conntrack: false,
            is_one_packet: false,
            has_no_output: false,
            is_inactive: false,
            template: None,
            controlled: 0,
            in_packets: 0,
            timeout,
            timer: Timer::new(path.clock.now),
        };
        self.connections.insert(entry)
    }
}

/// The key of a client's template: the masked client without port, and the virtual address with the port of the service.
/// A service by mark has its mark in place of the address, for all protocols.
fn template_flow(key: ServiceKey, persistence: Persistence, segment: &Segment) -> FlowKey {
    let client = SocketAddr::new(persistence.mask(segment.src.ip()), 0);
    let protocol = Some(segment.transport.protocol());
    match key {
        ServiceKey::Mark { is_ipv6, mark } => {
            let addr: IpAddr = if is_ipv6 {
                Ipv6Addr::from_bits(u128::from(mark) << 96).into()
            } else {
                Ipv4Addr::from_bits(mark).into()
            };
            FlowKey { protocol: None, client, peer: SocketAddr::new(addr, 0) }
        }
        ServiceKey::Addr { .. } => {
            let is_own_port = segment.dst.port() == key.port() && key.port() != FTP;
            let port = if is_own_port { segment.dst.port() } else { 0 };
            FlowKey { protocol, client, peer: SocketAddr::new(segment.dst.ip(), port) }
        }
    }
}
