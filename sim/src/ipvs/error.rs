//! ICMP errors about connections.

use super::Ipvs;
use super::clock::Clock;
use super::decision::{Forwarding, Path, Refusal};
use super::segment::{FlowKey, Segment};
use crate::draws::Draws;
use crate::ids::NetnsId;

impl Ipvs {
    /// The connection of an error from the client's side, which quotes a packet of the service to the client
    /// (`ip_vs_in_icmp`, net/netfilter/ipvs/ip_vs_core.c). `about` is a packet with which that client would open it. An error
    /// does not refresh the connection. With `schedule_icmp`, it opens an unknown one, which has no state then.
    ///
    /// # Errors
    /// If the error is dropped, because it should open a connection and cannot.
    pub fn input_error(
        &mut self,
        clock: Clock,
        draws: &mut Draws,
        netns: NetnsId,
        about: &Segment,
    ) -> Result<Option<Forwarding>, Refusal> {
        self.advance(clock, draws, netns);
        if let Some(id) = self.connections.find(&about.client_flow()) {
            return Ok(Some(Forwarding::of(id, self.connections.get_mut(id), None)));
        }
        if !self.settings.schedule_icmp {
            return Ok(None);
        }
        match self.try_to_schedule(&mut Path { clock, draws, netns }, about) {
            Ok((id, why)) => {
                let forwarding = Forwarding::of(id, self.connections.get_mut(id), Some(why));
                if forwarding.is_one_packet {
                    self.connection_expired(clock, id);
                } else {
                    self.connections.restart(id, clock);
                }
                Ok(Some(forwarding))
            }
            Err(Refusal::Pass(_)) => Ok(None),
            Err(refusal) => Err(refusal),
        }
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
