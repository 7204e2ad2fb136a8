//! The simulator as it follows another arm: connections one at a time, along a path of decisions, and what was seen.

use std::time::Duration;

use sim::device::NetnsId;
use sim::draws::{Enumerate, Purpose, Recorded};
use sim::trace::{DeviceEvent, Event, Level, TraceEvent};

use super::{PATHS_MAX, SETTLING, SimArm, run_flow};
use crate::arm::{ArmError, RawFlow};
use crate::frame::{Direction, Frame};
use crate::prepare::FlowPlan;

/// One way in which a connection can go.
#[derive(Debug)]
pub(crate) struct Alternative {
    /// Decisions that led there.
    path: Enumerate,
    /// What its client saw.
    pub(crate) flow: RawFlow,
    /// Every frame on every device.
    pub(crate) frames: Vec<Frame>,
}

impl SimArm {
    /// Ways in which one connection of the plan can go, as things are now, until one is the one that is looked for; that one
    /// is the last. `nat_port` is what a search for a free port begins with on each node. Nothing changes.
    pub(crate) fn alternatives(
        &self,
        plan: &FlowPlan,
        nat_port: Option<u32>,
        mut is_wanted: impl FnMut(&Alternative) -> bool,
    ) -> Result<Vec<Alternative>, ArmError> {
        let netns = self.id(&plan.from)?;
        let mut alternatives = Vec::new();
        let mut next = Some(Enumerate::first());
        while let Some(path) = next.take().filter(|_| alternatives.len() < PATHS_MAX) {
            let mut world = self.world.clone();
            let start = world.trace().events().len();
            world.set_level(Level::Everything);
            world.draws_mut().follow(path.clone(), self.nat_ports(nat_port));
            let (_, flow) = run_flow(&mut world, netns, plan)?;
            next = world.draws().enumerated().and_then(Enumerate::next_path);
            let frames = self.frames_of(&world.trace().events()[start..]);
            alternatives.push(Alternative { path, flow, frames });
            if alternatives.last().is_some_and(&mut is_wanted) {
                break;
            }
        }
        Ok(alternatives)
    }

    /// One connection, along the path of an alternative.
    pub(crate) fn follow(
        &mut self,
        plan: &FlowPlan,
        alternative: &Alternative,
        nat_port: Option<u32>,
    ) -> Result<RawFlow, ArmError> {
        let netns = self.id(&plan.from)?;
        let recorded = self.nat_ports(nat_port);
        self.world.draws_mut().follow(alternative.path.clone(), recorded);
        let result = run_flow(&mut self.world, netns, plan);
        // Whatever comes later is drawn from the seed again.
        self.world.draws_mut().replay([]);
        result.map(|(_, flow)| flow)
    }

    /// The network is left alone until nothing of the last connection is under way.
    pub(crate) fn settle(&mut self) {
        let until = self.world.now() + SETTLING;
        self.world.run_until(until);
    }

    /// How many events there have been so far.
    pub(crate) fn event_count(&self) -> usize {
        self.world.trace().events().len()
    }

    /// Frames on devices since so many events.
    pub(crate) fn frames_since(&self, event_count: usize) -> Vec<Frame> {
        self.frames_of(&self.world.trace().events()[event_count..])
    }

    /// The number with which every search for a free port begins, on whichever node it is.
    fn nat_ports(&self, value: Option<u32>) -> Vec<Recorded> {
        let owners = self.ids.values();
        let recorded =
            |owner: &NetnsId| value.map(|value| Recorded { owner: *owner, purpose: Purpose::NatPort, value });
        owners.filter_map(recorded).collect()
    }

    fn frames_of(&self, events: &[TraceEvent]) -> Vec<Frame> {
        let frame = |event: &TraceEvent| {
            let Event::Device(device_event) = &event.event else { return None };
            let (device, bytes, direction) = match device_event {
                DeviceEvent::Received { device, frame } => (*device, frame, Direction::Received),
                DeviceEvent::Transmitted { device, frame } => (*device, frame, Direction::Transmitted),
            };
            Some(Frame {
                at: Duration::from_nanos(event.at.as_nanos()),
                netns: self.world.netns(event.netns).name.to_string(),
                device: plan_name(self.world.device_name(event.netns, device)).to_owned(),
                direction,
                bytes: bytes.clone(),
            })
        };
        events.iter().filter_map(frame).collect()
    }
}

/// The name that a device has in the plan. A Pod that came back under its old address has a port with a letter behind it.
fn plan_name(name: &str) -> &str {
    const PORT_NAME_LEN: usize = "veth00000000".len();
    match name.starts_with("veth") {
        true => name.get(..PORT_NAME_LEN).unwrap_or(name),
        false => name,
    }
}
