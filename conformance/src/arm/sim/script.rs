//! Scripts of raw packets on the simulator.

use std::net::Ipv4Addr;
use std::time::Duration;

use sim::ids::{FlowId, NetnsId};
use sim::time::Instant;
use sim::world::World;
use sim::xtables::RestoreOptions;

use super::super::script::{ScriptState, Silence, Wire, play, silencer};
use super::{ArmError, endless};
use crate::observation::Mismatch;
use crate::prepare::ScriptPlan;

/// Runs the script of a step to completion. The tap and the silence of a connection last from its first step to its last.
pub(super) fn run_script(
    world: &mut World,
    netns: NetnsId,
    plan: &ScriptPlan,
    state: &mut ScriptState,
) -> Result<(FlowId, Option<Mismatch>), ArmError> {
    if !plan.is_continuation {
        silence(world, netns, plan, Silence::Begins)?;
        world.open_tap(netns);
    }
    let flow = world.raw_flow();
    let mismatch = play(plan, state, &mut SimWire { world, netns, flow })?;
    if !plan.stays_open {
        world.close_tap(netns);
        silence(world, netns, plan, Silence::Ends)?;
    }
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
}

impl Wire for SimWire<'_> {
    fn send(&mut self, packet: &[u8], _to: Ipv4Addr) -> Result<bool, ArmError> {
        Ok(self.world.send_raw(self.netns, self.flow, packet).is_ok())
    }

    fn receive(&mut self, within: Duration) -> Result<Vec<Box<[u8]>>, ArmError> {
        let until = self.world.now() + within;
        let limit = self.world.run_until_tapped(self.netns, until);
        endless::check(self.world, limit)?;
        Ok(self.world.take_tapped(self.netns))
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
