//! ICMP errors about connections.

use super::Ipvs;
use super::clock::Clock;
use super::decision::Forwarding;
use super::segment::FlowKey;
use crate::draws::Draws;
use crate::ids::NetnsId;

impl Ipvs {
    /// The connection of an error from the client's side, which quotes a packet of the service to the client
    /// (`ip_vs_in_icmp`, net/netfilter/ipvs/ip_vs_core.c). An error does not refresh the connection.
    pub fn input_error(
        &mut self,
        clock: Clock,
        draws: &mut Draws,
        netns: NetnsId,
        flow: &FlowKey,
    ) -> Option<Forwarding> {
        self.advance(clock, draws, netns);
        let id = self.connections.find(flow)?;
        Some(Forwarding::of(id, self.connections.get_mut(id), None))
    }

    /// The connection of an error from the server's side, which quotes a packet of the client to the server
    /// (`ip_vs_out_icmp`, net/netfilter/ipvs/ip_vs_core.c).
    pub fn output_error(
        &mut self,
        clock: Clock,
        draws: &mut Draws,
        netns: NetnsId,
        flow: &FlowKey,
    ) -> Option<Forwarding> {
        self.advance(clock, draws, netns);
        let id = self.connections.find_reply(flow)?;
        Some(Forwarding::of(id, self.connections.get_mut(id), None))
    }
}
