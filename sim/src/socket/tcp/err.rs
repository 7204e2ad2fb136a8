//! ICMP errors about segments of a connection.
//!
//! Linux: `tcp_v4_err`, `tcp_v4_mtu_reduced`, net/ipv4/tcp_ipv4.c.

use super::connection::{Connection, State, WriteTimer};
use super::seq::Seq;
use crate::socket::flow::Flows;
use crate::socket::icmp::{Message, icmp_error};
use crate::socket::{SenderRoute, SocketIo};
use crate::time::Duration;
use crate::trace::{IgnoredRedirect, Outcome};

impl Connection {
    /// An error about the segment with that sequence number.
    pub(in crate::socket) fn icmp_err(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        flows: &mut Flows,
        message: &Message,
        sequence: u32,
    ) {
        if !Seq(sequence).is_between(self.snd.snd_una, self.snd.snd_nxt) {
            return;
        }
        self.note_icmp_error(message);
        if message.is_fragmentation_needed() {
            self.mtu_reduced(io);
            return;
        }
        if message.is_net_or_host_unreachable() {
            self.revert_back_off(io, flows, Seq(sequence));
        }
        let Some(error) = icmp_error(message.icmp_type, message.code) else { return };
        match self.state {
            // Any error ends a connection attempt.
            State::SynSent | State::SynReceived => self.abort(io, flows, error.outcome),
            // The connection continues; the error is reported if it times out.
            State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck => self.soft_error = Some(error.outcome),
            State::TimeWait(_) | State::Closed => {}
        }
    }

    /// A router cannot reach the peer. A retransmission was then not lost by congestion, so the last doubling of the timeout is
    /// taken back (RFC 6069; `tcp_ld_RTO_revert`).
    fn revert_back_off(&mut self, io: &mut SocketIo<'_, '_>, flows: &mut Flows, sequence: Seq) {
        let Some(sent) = self.snd.in_flight.front().map(|head| head.sent) else { return };
        if sequence != self.snd.snd_una || self.retransmits == 0 || !self.rtt.revert_back_off() {
            return;
        }
        let left = (sent + self.rtt.rto) - io.cx.now;
        if left.is_zero() {
            self.retransmit_timeout(io, flows);
        } else {
            self.arm_write_timer(io, WriteTimer::Retransmit, left);
        }
    }

    /// The cached route, if a redirect about the segment with that sequence number may change it: if no system call is in
    /// progress on the socket (`sock_owned_by_user`).
    pub(in crate::socket) fn redirected(
        &self,
        io: &SocketIo<'_, '_>,
        sequence: u32,
        call_duration: Duration,
    ) -> Result<SenderRoute, IgnoredRedirect> {
        let is_own = Seq(sequence).is_between(self.snd.snd_una, self.snd.snd_nxt);
        let route = self.dst.get(io.routing).filter(|_| is_own).ok_or(IgnoredRedirect::NoSocket)?;
        if io.cx.now < self.called_at + call_duration {
            return Err(IgnoredRedirect::SocketLocked);
        }
        Ok(SenderRoute::Cached(route))
    }

    /// The route of the segment with that sequence number, if it is in flight.
    pub(in crate::socket) fn sender_route(
        &self,
        io: &SocketIo<'_, '_>,
        sequence: u32,
    ) -> Option<SenderRoute> {
        let is_own = Seq(sequence).is_between(self.snd.snd_una, self.snd.snd_nxt);
        is_own.then(|| self.dst.get(io.routing).map_or(SenderRoute::ByLookup, SenderRoute::Cached))
    }

    /// The path may pass smaller packets only, as the route tells by now (`tcp_v4_mtu_reduced`).
    fn mtu_reduced(&mut self, io: &mut SocketIo<'_, '_>) {
        let before = self.pmtu;
        self.sync_mss(io);
        if self.pmtu < before {
            self.simple_retransmit(io);
        }
    }

    /// What is too large for the path is lost, and sent again in smaller segments. The congestion window stays
    /// (`tcp_simple_retransmit`, net/ipv4/tcp_input.c).
    fn simple_retransmit(&mut self, io: &mut SocketIo<'_, '_>) {
        if matches!(self.state, State::SynSent | State::SynReceived) || !self.snd.lose_large(self.mss()) {
            return;
        }
        self.congestion.enter_loss_of_large(self.snd.snd_nxt);
        self.retransmit_lost(io);
        if self.snd.in_flight.front().is_some_and(|head| head.is_resent) {
            self.arm_write_timer(io, WriteTimer::Retransmit, self.rtt.rto);
        }
    }

    /// The error's outcome, used at the timeout.
    pub(super) fn timeout_outcome(&self) -> Outcome {
        self.soft_error.unwrap_or(Outcome::Timeout)
    }
}
