//! Scripts of raw packets on the simulator.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use sim::ids::{FlowId, NetnsId};
use sim::time::Instant;
use sim::world::World;
use sim::xtables::RestoreOptions;

use super::super::script::{Silence, Wire, play, silencer};
use super::{ArmError, endless};
use crate::observation::Mismatch;
use crate::prepare::ScriptPlan;

/// Runs a script of the plan to completion.
pub(super) fn run_script(
    world: &mut World,
    netns: NetnsId,
    plan: &ScriptPlan,
) -> Result<(FlowId, Option<Mismatch>), ArmError> {
    silence(world, netns, plan, Silence::Begins)?;
    world.open_tap(netns);
    let flow = world.raw_flow();
    let mut wire = SimWire { world, netns, flow, arrived: VecDeque::new() };
    let mismatch = play(plan, &mut wire)?;
    world.close_tap(netns);
    silence(world, netns, plan, Silence::Ends)?;
    Ok((flow, mismatch))
}

fn silence(world: &mut World, netns: NetnsId, plan: &ScriptPlan, action: Silence) -> Result<(), ArmError> {
    let options = RestoreOptions { noflush: true, counters: false };
    let done = world.iptables_restore(netns, "script", &silencer(plan, action), options);
    done.map_err(|error| ArmError::Internal(error.to_string()))
}

struct SimWire<'a> {
    world: &'a mut World,
    netns: NetnsId,
    flow: FlowId,
    /// Received frames that were not consumed yet.
    arrived: VecDeque<Box<[u8]>>,
}

impl Wire for SimWire<'_> {
    fn send(&mut self, packet: &[u8], _to: Ipv4Addr) -> Result<bool, ArmError> {
        Ok(self.world.send_raw(self.netns, self.flow, packet).is_ok())
    }

    fn receive(&mut self, within: Duration) -> Result<Option<Box<[u8]>>, ArmError> {
        if self.arrived.is_empty() {
            let until = self.world.now() + within;
            let limit = self.world.run_until_tapped(self.netns, until);
            endless::check(self.world, limit)?;
            self.arrived.extend(self.world.take_tapped(self.netns));
        }
        Ok(self.arrived.pop_front())
    }

    fn wait(&mut self, duration: Duration) -> Result<(), ArmError> {
        let until = self.world.now() + duration;
        let limit = self.world.run_until(until);
        endless::check(self.world, limit)
    }

    fn now(&self) -> Duration {
        self.world.now().saturating_since(Instant::START)
    }
}
