//! Connections that a step keeps open for later ones.

use std::time::Duration;

use sim::ids::{FlowId, NetnsId};
use sim::socket::SendAgainError;
use sim::world::World;

use super::follow::Exchange;
use super::{ArmError, KeptSocket, SimArm, endless, finished, raw_flow};
use crate::frame::FlowStart;
use crate::netns::NetnsName;
use crate::observation::{RawFlow, Transport};
use crate::prepare::{FlowPlan, KeptAction, KeptPlan};

/// Longer than the segments that close a connection take on links without configured latency.
const CLOSING: Duration = Duration::from_millis(2);

/// The connections of one name.
#[derive(Debug, Clone)]
pub(super) struct KeptSockets {
    from: NetnsName,
    sockets: Vec<KeptSocket>,
}

/// A request on a connection that is open, or its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeptExchange<'a> {
    plan: &'a KeptPlan,
    socket: KeptSocket,
}

impl KeptExchange<'_> {
    /// Runs it to completion. The flow is that of its packets.
    pub(super) fn run_in(&self, world: &mut World, netns: NetnsId) -> Result<(FlowId, RawFlow), ArmError> {
        match self.plan.action {
            KeptAction::Send => self.send(world, netns),
            KeptAction::Close => self.close(world, netns),
        }
    }

    fn send(&self, world: &mut World, netns: NetnsId) -> Result<(FlowId, RawFlow), ArmError> {
        let FlowPlan { request, timeout, .. } = &self.plan.opened;
        let sent = world.send_again(netns, self.socket.id, request.clone(), *timeout);
        self.seen(world, netns, sent)
    }

    fn close(&self, world: &mut World, netns: NetnsId) -> Result<(FlowId, RawFlow), ArmError> {
        let closed = world.close(netns, self.socket.id);
        let limit = world.run_until(world.now() + CLOSING);
        endless::check(world, limit)?;
        self.seen(world, netns, closed)
    }

    /// What a connection shows. One that has ended shows how.
    fn seen(
        &self,
        world: &mut World,
        netns: NetnsId,
        done: Result<FlowId, SendAgainError>,
    ) -> Result<(FlowId, RawFlow), ArmError> {
        match done {
            Ok(flow) => {
                let result = finished(world, flow, &self.plan.opened)?;
                Ok((flow, raw_flow(&result)))
            }
            Err(SendAgainError::Closed) => {
                let outcome = world.ended(netns, self.socket.id).unwrap_or(self.socket.outcome);
                Ok((
                    world.raw_flow(),
                    RawFlow { outcome, answer: None, reply_from: None, resolved: None, fetched: None },
                ))
            }
            Err(error @ SendAgainError::Pending) => Err(ArmError::Internal(error.to_string())),
        }
    }
}

impl Exchange for KeptExchange<'_> {
    type Seen = RawFlow;
    type Rest = ();

    fn from(&self) -> &NetnsName {
        &self.plan.opened.from
    }

    fn transport(&self) -> Transport {
        self.plan.opened.transport
    }

    fn source_port(&self) -> u16 {
        self.socket.port
    }

    fn opening(&self) -> FlowStart<'_> {
        FlowStart::Continued(&self.plan.opened.request, self.socket.port)
    }

    fn describe(seen: &RawFlow) -> String {
        seen.to_string()
    }

    fn run(&self, world: &mut World, netns: NetnsId) -> Result<(RawFlow, ()), ArmError> {
        self.run_in(world, netns).map(|(_, flow)| (flow, ()))
    }
}

impl SimArm {
    /// Keeps the socket of a connection, if the plan says so.
    pub(crate) fn keep(&mut self, plan: &FlowPlan, socket: KeptSocket) {
        if let Some(name) = &plan.keep {
            let none = || KeptSockets { from: plan.from.clone(), sockets: Vec::new() };
            self.kept.entry(name.clone()).or_insert_with(none).sockets.push(socket);
        }
    }

    /// The exchanges of a step, one for each connection. Closed connections are forgotten.
    pub(crate) fn kept_exchanges<'a>(&mut self, plan: &'a KeptPlan) -> Vec<KeptExchange<'a>> {
        let kept = match plan.action {
            KeptAction::Send => self.kept.get(&plan.name).cloned(),
            KeptAction::Close => self.kept.remove(&plan.name),
        };
        let exchange = |socket| KeptExchange { plan, socket };
        kept.into_iter().flat_map(|kept| kept.sockets).map(exchange).collect()
    }

    /// Ends the clients of a network namespace, which closes the connections that they keep. Its servers have ended before, and
    /// what they sent arrives first, as on a kernel: close(2) of a server returns when its FIN has crossed the loopback device
    /// (drivers/net/loopback.c, loopback_xmit).
    pub(super) fn end_clients(&mut self, netns: &NetnsName) -> Result<(), ArmError> {
        if !self.kept.values().any(|kept| kept.from == *netns) {
            return Ok(());
        }
        self.run_until(self.world.now() + CLOSING)?;
        let id = self.id(netns)?;
        let ended = self.kept.extract_if(.., |_, kept| kept.from == *netns);
        let ended: Vec<KeptSocket> = ended.flat_map(|(_, kept)| kept.sockets).collect();
        for socket in ended {
            // One that has ended is closed already.
            if let Ok(flow) = self.world.close(id, socket.id) {
                self.world.take_flow_result(flow);
            }
        }
        Ok(())
    }
}
