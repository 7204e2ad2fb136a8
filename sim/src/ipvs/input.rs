//! Packets of clients.

use super::Ipvs;
use super::clock::Clock;
use super::connection::{Connection, ConnectionId};
use super::decision::{Forwarding, PassReason, Path, Refusal};
use super::schedule::{FTP, Scheduled};
use super::scheduler::Why;
use super::segment::{Segment, Transport};
use super::state::{SctpState, State, TcpState, Way};
use crate::draws::Draws;
use crate::ids::NetnsId;
use crate::wire::TcpFlags;

impl Ipvs {
    /// Finds or opens the connection of a packet that may belong to a service (`ip_vs_in_hook`,
    /// net/netfilter/ipvs/ip_vs_core.c).
    ///
    /// # Errors
    /// If the packet is not sent to a real server: the reason, and with it what happens to it.
    pub fn input(
        &mut self,
        clock: Clock,
        draws: &mut Draws,
        netns: NetnsId,
        segment: &Segment,
    ) -> Result<Forwarding, Refusal> {
        self.advance(clock, draws, netns);
        let mut path = Path { clock, draws, netns };
        let (id, why) = match self.known(clock, segment)? {
            Some(id) => (id, None),
            None => self.try_to_schedule(&mut path, segment).map(|(id, why)| (id, Some(why)))?,
        };
        self.set_state(id, segment.transport, Way::In);
        let entry = self.connections.get_mut(id);
        let forwarding = Forwarding::of(id, entry, why);
        let (is_one_packet, template) = (entry.is_one_packet, entry.template);
        if !is_one_packet {
            entry.in_packets += 1;
            self.connections.restart(id, clock);
            return Ok(forwarding);
        }
        if let Some(template) = template {
            self.connections.get_mut(template).in_packets += 1;
        }
        self.connection_expired(clock, id);
        Ok(forwarding)
    }

    /// The connection of a packet, unless the packet opens another one in its place or its server was deleted.
    fn known(&mut self, clock: Clock, segment: &Segment) -> Result<Option<ConnectionId>, Refusal> {
        let Some(id) = self.connections.find(&segment.client_flow()) else {
            return Ok(None);
        };
        if segment.transport.opens_connection() && self.is_replaced(id, segment) {
            self.give_up(clock, id, segment)?;
            return Ok(None);
        }
        if self.servers[self.connections.get_mut(id).server_id].is_available {
            return Ok(Some(id));
        }
        if !self.settings.expire_nodest_conn {
            return Err(Refusal::ServerGone);
        }
        self.give_up(clock, id, segment)?;
        Ok(None)
    }

    /// True if a packet that opens a connection is scheduled although there is one: if its server has weight 0 and
    /// `expire_nodest_conn` is set, or if it is closed and `conn_reuse_mode` is set.
    fn is_replaced(&mut self, id: ConnectionId, segment: &Segment) -> bool {
        let (mode, expires) = (self.settings.conn_reuse_mode, self.settings.expire_nodest_conn);
        let entry = self.connections.get_mut(id);
        if expires && self.servers[entry.server_id].spec.weight == 0 {
            return true;
        }
        // A connection that controls others stays while it is referred to, if it has a conntrack entry.
        let may_go = entry.controlled == 0 || !uses_old_conntrack(entry, segment);
        mode != 0 && is_reusable(entry, mode) && may_go
    }

    /// Ends a connection, which a new one replaces. If the packet belongs to its conntrack entry, the packet is dropped,
    /// because that entry must end first.
    fn give_up(&mut self, clock: Clock, id: ConnectionId, segment: &Segment) -> Result<(), Refusal> {
        let entry = self.connections.get_mut(id);
        let has_old = uses_old_conntrack(entry, segment);
        if !has_old {
            entry.owns_conntrack = false;
        }
        if entry.controlled == 0 {
            self.connections.expire_now(id, clock);
        }
        if has_old { Err(Refusal::OldConntrack) } else { Ok(()) }
    }

    /// Opens a connection (`ip_vs_try_to_schedule`, `tcp_conn_schedule`, `udp_conn_schedule`, `sctp_conn_schedule`).
    pub(super) fn try_to_schedule(
        &mut self,
        path: &mut Path<'_>,
        segment: &Segment,
    ) -> Result<(ConnectionId, Why), Refusal> {
        match segment.transport {
            Transport::Tcp(flags) => {
                let opens = flags.contains(TcpFlags::SYN) || self.settings.sloppy_tcp;
                if flags.contains(TcpFlags::RST) || !opens {
                    return Err(Refusal::Pass(PassReason::OpensNothing));
                }
            }
            Transport::Sctp(_) => {
                if !segment.transport.opens_connection() && !self.settings.sloppy_sctp {
                    return Err(Refusal::NoAssociation);
                }
            }
            Transport::Udp => {}
        }
        let Some(service) = self.find_service(segment) else {
            return Err(Refusal::Pass(PassReason::NoService));
        };
        if self.drops_packet() {
            return Err(Refusal::DropRate);
        }
        match self.schedule(path, service, segment) {
            Scheduled::Connection(id, why) => Ok((id, why)),
            Scheduled::Pass(reason) => Err(Refusal::Pass(reason)),
            Scheduled::NoServer => {
                let key = self.services[service].spec.key;
                let is_ftp = key.port() == FTP && segment.dst.port() != FTP;
                Err(if is_ftp { Refusal::Pass(PassReason::NoFtpServer) } else { Refusal::NoServer(key) })
            }
        }
    }

    /// Changes the state of a connection after a packet, and the counters of its server (`set_tcp_state`,
    /// `udp_state_transition`, `set_sctp_state`, net/netfilter/ipvs).
    pub(super) fn set_state(&mut self, id: ConnectionId, transport: Transport, way: Way) {
        let is_secure = self.settings.secure_tcp == super::settings::ALWAYS;
        let entry = self.connections.get_mut(id);
        let way = if entry.has_no_output && way == Way::In { Way::InOnly } else { way };
        if way == Way::Out {
            entry.has_no_output = false;
        }
        let before = entry.state;
        entry.state = before.after(transport, way, is_secure);
        if let Some(timeout) = entry.state.timeout(&self.timeouts) {
            entry.timeout = timeout;
        }
        let state = entry.state;
        if entry.is_inactive == state.is_active() {
            entry.is_inactive = !state.is_active();
            let server = &mut self.servers[entry.server_id];
            let (from, to) = if state.is_active() {
                (&mut server.inactive, &mut server.active)
            } else {
                (&mut server.active, &mut server.inactive)
            };
            *from -= 1;
            *to += 1;
        }
        if let Some(template) = entry.template
            && state.assures(before, way)
        {
            self.connections.get_mut(template).state = State::Template { is_assured: true };
        }
    }
}

/// True if a closed connection may be replaced (`is_new_conn_expected`, net/netfilter/ipvs/ip_vs_core.c).
fn is_reusable(entry: &Connection, mode: u32) -> bool {
    if entry.template.is_some() {
        return false;
    }
    match entry.state {
        State::Tcp(TcpState::TimeWait | TcpState::Close) | State::Sctp(SctpState::Closed) => true,
        State::Tcp(TcpState::FinWait) => mode & 2 != 0 && entry.has_no_output,
        State::Tcp(_) | State::Sctp(_) | State::Udp | State::Template { .. } => false,
    }
}

/// Linux: ip_vs_conn_uses_old_conntrack, include/net/ip_vs.h.
const fn uses_old_conntrack(entry: &Connection, segment: &Segment) -> bool {
    entry.owns_conntrack && segment.has_confirmed_entry
}
