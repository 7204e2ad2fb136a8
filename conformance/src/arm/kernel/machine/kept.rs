//! Connections that a step keeps open for later ones.

use std::thread;

use crate::arm::ArmError;
use crate::arm::kernel::client::{End, Keeper, KeptId, KeptSocket};
use crate::arm::kernel::failure::failed;
use crate::frame::Frame;
use crate::netns::NetnsName;
use crate::observation::{Outcome, RawFlow};
use crate::prepare::{FlowPlan, KeptAction, KeptPlan};

use super::{KernelArm, ON_ITS_WAY, raw_flow, request};

/// The connections of one name.
#[derive(Debug)]
pub(super) struct KeptConnections {
    from: NetnsName,
    connections: Vec<KeptConnection>,
}

/// A connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeptConnection {
    /// `None` if it was never open.
    id: Option<KeptId>,
    /// The outcome of its first exchange.
    outcome: Outcome,
}

impl KernelArm {
    /// Keeps a connection, if the plan says so. `socket` is that of its client, if it is open.
    pub(super) fn keep(
        &mut self,
        plan: &FlowPlan,
        socket: Option<KeptSocket>,
        outcome: Outcome,
    ) -> Result<(), ArmError> {
        let Some(name) = &plan.keep else { return Ok(()) };
        let id = match socket {
            None => None,
            Some(socket) => {
                let keeper = &mut self.running_mut()?.keeper;
                let keeper = match keeper {
                    Some(keeper) => keeper,
                    None => keeper.insert(Keeper::start().map_err(|error| failed(&error))?),
                };
                Some(keeper.keep(socket))
            }
        };
        let none = || KeptConnections { from: plan.from.clone(), connections: Vec::new() };
        let kept = self.kept.entry(name.clone()).or_insert_with(none);
        kept.connections.push(KeptConnection { id, outcome });
        Ok(())
    }

    /// The connections of a step. Those that it closes are forgotten.
    pub(crate) fn kept_connections(&mut self, plan: &KeptPlan) -> Vec<KeptConnection> {
        let kept = match plan.action {
            KeptAction::Send => self.kept.get(&plan.name).map(|kept| kept.connections.clone()),
            KeptAction::Close => self.kept.remove(&plan.name).map(|kept| kept.connections),
        };
        kept.unwrap_or_default()
    }

    /// Sends a request on a connection, or closes it, and returns the frames captured meanwhile.
    pub(crate) fn run_kept(
        &mut self,
        plan: &KeptPlan,
        connection: KeptConnection,
    ) -> Result<(RawFlow, Vec<Frame>), ArmError> {
        let nothing =
            |outcome| RawFlow { outcome, answer: None, reply_from: None, resolved: None, fetched: None };
        let (Some(id), Some(keeper)) = (connection.id, &self.running()?.keeper) else {
            return Ok((nothing(connection.outcome), Vec::new()));
        };
        let request = request(&plan.opened)?;
        let start = self.frames.len();
        let report = match plan.action {
            KeptAction::Send => Some(keeper.send(id, request.bytes.clone(), request.timeout)),
            KeptAction::Close => keeper.close(id),
        };
        let seen = self.seen_since(start, report.as_ref().map_or(End::Closed, |report| report.end))?;
        let flow = match report {
            Some(report) => raw_flow(&request, &report, &plan.opened.from.to_string(), &seen),
            // It was open until now.
            None => nothing(Outcome::Connected),
        };
        Ok((flow, seen))
    }

    /// Ends the clients of a network namespace, which closes the connections that they keep. What its servers sent when they
    /// ended arrives first.
    pub(super) fn end_clients(&mut self, netns: &NetnsName) -> Result<(), ArmError> {
        let ended: Vec<_> = self.kept.extract_if(.., |_, kept| kept.from == *netns).collect();
        if ended.is_empty() {
            return Ok(());
        }
        thread::sleep(ON_ITS_WAY);
        let Some(keeper) = &self.running()?.keeper else { return Ok(()) };
        for KeptConnection { id, .. } in ended.into_iter().flat_map(|(_, kept)| kept.connections) {
            if let Some(id) = id {
                keeper.close(id);
            }
        }
        Ok(())
    }
}
