//! The walk of a whole run: one heading per scenario step, followed by its packets.

use super::{Repeats, WalkText};
use crate::names::Names;
use crate::palette::{Palette, Tone};
use crate::walk::Folder;
use conformance::result::{Recording, StepResult};
use sim::trace::TraceEvent;
use std::fmt::{self, Display, Formatter};

/// The walk of a run, grouped by step.
#[derive(Clone, Copy, Debug)]
pub struct StepsText<'a> {
    steps: &'a [StepResult],
    recording: &'a Recording,
    names: Names<'a>,
    repeats: Repeats,
    palette: Palette,
}

impl<'a> StepsText<'a> {
    /// Prepares a recording for printing.
    pub const fn new(
        steps: &'a [StepResult],
        recording: &'a Recording,
        names: Names<'a>,
        repeats: Repeats,
        palette: Palette,
    ) -> Self {
        Self { steps, recording, names, repeats, palette }
    }

    /// The events of a step; the first step has index 0.
    fn events(&self, step: usize) -> &'a [TraceEvent] {
        let Recording { events, step_starts, .. } = self.recording;
        let start = step_starts.get(step).copied().unwrap_or(events.len());
        let end = step_starts.get(step + 1).copied().unwrap_or(events.len());
        &events[start..end]
    }
}

impl Display for StepsText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut folder = Folder::default();
        for (index, step) in self.steps.iter().enumerate() {
            let walk = folder.fold(self.events(index));
            let style = self.palette.style(Tone::Heading);
            writeln!(f, "{style}step {}: {}{style:#}\n", index + 1, step.name)?;
            write!(f, "{}", WalkText::new(&walk, self.names, self.repeats, self.palette))?;
            writeln!(f)?;
        }
        Ok(())
    }
}
