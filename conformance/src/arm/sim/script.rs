//! Scripts of raw packets on the simulator.

use std::net::Ipv4Addr;
use std::slice;
use std::time::Duration;

use sim::ids::{FlowId, NetnsId, SocketId};
use sim::netns::TapPlace;
use sim::socket::Server;
use sim::time::Instant;
use sim::world::World;
use sim::xtables::RestoreOptions;

use super::super::script::{ScriptState, Silence, Wire, play, silencer};
use super::{ArmError, endless};
use crate::observation::{Mismatch, Transport};
use crate::prepare::ScriptPlan;

/// Runs the script of a step to completion. The tap and the silence of a connection last from its first step to its last.
/// Lines send when those of another arm did, as far as `pace` has their times.
pub(super) fn run_script(
    world: &mut World,
    netns: NetnsId,
    plan: &ScriptPlan,
    state: &mut ScriptState,
    pace: &[Duration],
) -> Result<(FlowId, Option<Mismatch>), ArmError> {
    if !plan.is_continuation {
        silence(world, netns, plan, Silence::Begins)?;
        state.port_keeper = port_keeper(world, netns, plan)?;
        world.open_tap(netns, if plan.is_from_node() { TapPlace::LocalDelivery } else { TapPlace::Devices });
    }
    let flow = world.raw_flow();
    let mismatch = play(
        plan,
        state,
        &mut SimWire { world, netns, flow, pace: pace.iter(), settled_at: Duration::ZERO },
    )?;
    if !plan.stays_open {
        world.close_tap(netns);
        if let Some(socket) = state.port_keeper.take() {
            world.exit(netns, socket);
        }
        silence(world, netns, plan, Silence::Ends)?;
    }
    Ok((flow, mismatch))
}

/// A socket on the port of a node's script over UDP.
fn port_keeper(world: &mut World, netns: NetnsId, plan: &ScriptPlan) -> Result<Option<SocketId>, ArmError> {
    if !plan.is_from_node() || plan.transport != Transport::Udp {
        return Ok(None);
    }
    let bound = world.udp_bind(netns, None, plan.source_port, Server::Discard);
    bound.map(Some).map_err(|error| {
        ArmError::Refused(format!("{} cannot use port {}: {error}", plan.from_text, plan.source_port))
    })
}

fn silence(world: &mut World, netns: NetnsId, plan: &ScriptPlan, action: Silence) -> Result<(), ArmError> {
    let Some(rules) = silencer(plan, action) else { return Ok(()) };
    let options = RestoreOptions { noflush: true, counters: false };
    let done = world.iptables_restore(netns, "script", &rules, options);
    done.map_err(|error| ArmError::Internal(error.to_string()))
}

/// Longer than a packet and its answers take on links without configured latency.
const SETTLING: Duration = Duration::from_millis(2);

struct SimWire<'a> {
    world: &'a mut World,
    netns: NetnsId,
    flow: FlowId,
    /// When the next lines send.
    pace: slice::Iter<'a, Duration>,
    /// When the last packet, and the answers to it, have arrived.
    settled_at: Duration,
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

    fn wait_to_send(&mut self, delay: Duration) -> Result<(), ArmError> {
        match self.pace.next() {
            // The other arm was quiet then; on links with latency, that takes longer.
            Some(at) => {
                let until = (*at).max(self.settled_at);
                self.settled_at = until + SETTLING;
                self.wait(until.saturating_sub(self.now()))
            }
            None => self.wait(delay),
        }
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

#[cfg(test)]
mod tests {
    use sim::trace::Level;

    use crate::arm::Arm;
    use crate::arm::sim::{Exchange, SimArm};
    use crate::frame::{Frame, FrameDirection};
    use crate::prepare::{Prepared, PreparedAction, prepare};
    use crate::suite;
    use crate::topology::Topology;
    use std::time::Duration;

    #[test]
    fn lines_send_when_those_of_another_arm_did() {
        let built_in = suite::find("tcp-min-snd-mss").expect("a built-in scenario");
        let Ok(Prepared { cluster, steps, .. }) = prepare(built_in.load()) else { panic!("it is valid") };
        let PreparedAction::Script(plan) = &steps[0].action else { panic!("it begins with a script") };
        let mut sim = SimArm::new(0, Level::Everything);
        sim.build(&Topology::of(&cluster)).expect("a world");
        // The last of four lines waits for 0.3 s, as written.
        let sent_at = [100, 130, 250].map(Duration::from_millis);
        let netns = sim.id(&plan.from).expect("the client");
        let exchange = sim.script_exchange(plan, sent_at.to_vec());
        exchange.run(&mut sim.world, netns).expect("a script");
        let is_sent = |frame: &&Frame| {
            frame.netns == plan.from.to_string()
                && frame.direction == FrameDirection::Transmitted
                && frame.ipv4().is_some()
        };
        let millis: Vec<_> =
            sim.take_frames().iter().filter(is_sent).map(|frame| frame.at.as_millis()).collect();
        assert_eq!(millis, [100, 130, 250, 550]);
    }
}
