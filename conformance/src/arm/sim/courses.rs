//! Every course that a connection may take.

use sim::draws::{Enumerate, Weight};
use sim::trace::{Kept, Level};

use super::{PATHS_MAX, Ran, SETTLING, SimArm, endless, netns_names, run_flow};
use crate::arm::ArmError;
use crate::observation::RawFlow;
use crate::prepare::FlowPlan;
use crate::result::Recording;

impl SimArm {
    /// Runs every course of a connection, each in a copy of this world, and passes on its probability, what the client saw,
    /// and the recording. In IPVS mode there is one, without a probability.
    ///
    /// # Errors
    /// See [`ArmError`]; also if there are more than [`PATHS_MAX`] courses.
    pub(crate) fn courses(
        &self,
        plan: &FlowPlan,
        mut each: impl FnMut(Option<Weight>, RawFlow, Recording),
    ) -> Result<(), ArmError> {
        let netns = self.id(&plan.from)?;
        let mut next = Some(Enumerate::first());
        let mut tried = 0;
        while let Some(path) = next {
            tried += 1;
            if tried > PATHS_MAX {
                return Err(ArmError::Refused(format!(
                    "the connection may take more than {PATHS_MAX} courses"
                )));
            }
            let mut world = self.world.fork();
            world.set_level(Level::Everything);
            world.set_kept(Kept::All);
            world.draws_mut().enumerate(path);
            let Ran { flow, .. } = run_flow(&mut world, netns, plan)?;
            let path = world.draws().enumerated().cloned();
            let limit = world.run_until(world.now() + SETTLING);
            endless::check(&world, limit)?;
            let events = world.take_events();
            let recording = Recording { events, netns: netns_names(&world), step_starts: vec![0] };
            let weight = path.as_ref().and_then(Enumerate::weight);
            each(weight.filter(|_| !self.has_ipvs), flow, recording);
            next = path.filter(|_| !self.has_ipvs).and_then(|path| path.next_path());
        }
        Ok(())
    }
}
