//! Packets of servers.

use super::Ipvs;
use super::clock::Clock;
use super::decision::{Forwarding, Reply};
use super::segment::Segment;
use super::server::Forward;
use super::state::Way;
use crate::draws::Draws;
use crate::ids::NetnsId;

impl Ipvs {
    /// Decides about a packet that may reply to a client (`ip_vs_out_hook`, `handle_response`,
    /// net/netfilter/ipvs/ip_vs_core.c).
    pub fn output(&mut self, clock: Clock, draws: &mut Draws, netns: NetnsId, segment: &Segment) -> Reply {
        self.advance(clock, draws, netns);
        let Some(id) = self.connections.find_reply(&segment.server_flow()) else {
            let is_answered =
                self.settings.nat_icmp_send && !segment.transport.is_abort() && self.is_server(segment);
            return if is_answered { Reply::NoConnection } else { Reply::Pass };
        };
        self.set_state(id, segment.transport, Way::Out);
        self.connections.restart(id, clock);
        let forwarding = Forwarding::of(id, self.connections.get_mut(id), None);
        match forwarding.forward {
            Forward::Masquerade => Reply::Translate(forwarding),
            Forward::Route | Forward::Tunnel => Reply::Follow(forwarding),
        }
    }

    /// True if a masqueraded server has the source address and port of a packet (`ip_vs_has_real_service`,
    /// net/netfilter/ipvs/ip_vs_ctl.c).
    fn is_server(&self, segment: &Segment) -> bool {
        let is_one = |server: &super::RealServer| {
            let protocol = match server.service {
                super::ServiceKey::Addr { protocol, .. } => Some(protocol),
                super::ServiceKey::Mark { .. } => None,
            };
            server.spec.addr == segment.src
                && server.spec.forward == Forward::Masquerade
                && protocol.is_none_or(|protocol| protocol == segment.transport.protocol())
        };
        let mut servers = self.services.iter().flat_map(|service| service.servers());
        servers.any(|id| is_one(&self.servers[*id]))
    }
}
