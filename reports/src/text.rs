//! A run as terminal text: header, flows of each step, expectations and failures.

pub(crate) mod disagreements;
pub(crate) mod failures;
mod flows;
mod shares;
pub(crate) mod steps;

use crate::palette::{Palette, Tone};
use crate::reproduce::Reproduce;
use conformance::arm::vm::Guest;
use conformance::result::{ArmKind, RunResult, StepResult};
use conformance::settings::{LAB_SETTINGS, LabSetting};
use std::fmt::{self, Display, Formatter};

/// Aspects that no simulation covers. Printed in every header so that readers do not mistake silence for a result.
pub const OUT_OF_MODEL: &str = "segmentation and receive offload (TSO, GRO), fast retransmit, real time";

/// How a lab on a kernel differs from a real node, one setting per line.
pub(crate) struct LabSettings;

impl Display for LabSettings {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "on both sides, unlike on a real node:")?;
        LAB_SETTINGS.iter().try_for_each(|LabSetting { name, value, reason, .. }| {
            writeln!(f, "  {name} = {value}: {reason}")
        })
    }
}

/// A run, ready to print.
#[derive(Clone, Copy, Debug)]
pub struct RunText<'a> {
    run: &'a RunResult,
    reproduce: Reproduce<'a>,
    palette: Palette,
}

impl<'a> RunText<'a> {
    /// Prepares a run for printing. `argument` is the scenario as given on the command line.
    pub fn new(run: &'a RunResult, argument: &'a str, palette: Palette) -> Self {
        Self { run, reproduce: Reproduce::new(run, argument), palette }
    }

    fn paint(&self, tone: Tone, text: impl Display) -> String {
        let style = self.palette.style(tone);
        format!("{style}{text}{style:#}")
    }

    fn header(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let run = self.run;
        let intent = if run.intent.is_empty() { String::new() } else { format!("  {}", run.intent) };
        writeln!(f, "{}{intent}", self.paint(Tone::Heading, &run.scenario))?;
        let backend = run.backend.map(|backend| format!(", back end {backend}")).unwrap_or_default();
        let arm = ArmName { arm: run.arm, guest: run.guest.clone() };
        writeln!(f, "mode {}{backend}, family {}, seed {}, on {arm}", run.mode, run.family, run.seed)?;
        match run.arm {
            ArmKind::Sim => writeln!(f, "{}", self.paint(Tone::Dim, format!("not modelled: {OUT_OF_MODEL}"))),
            ArmKind::Kernel | ArmKind::Vm => write!(f, "{}", self.paint(Tone::Dim, LabSettings)),
        }
    }

    fn step(&self, f: &mut Formatter<'_>, number: usize, step: &StepResult) -> fmt::Result {
        let heading = self.paint(Tone::Heading, format!("step {number}"));
        writeln!(f, "\n{heading}  {}", step.name)?;
        flows::write(f, self.palette, &step.flows)?;
        shares::write(f, &step.shares)
    }

    /// A hint where to find details of a failure.
    fn hint(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.run.arm {
            ArmKind::Sim if !self.run.steps.iter().all(StepResult::passed) => {
                writeln!(f, "\npacket trace: {} --trace", self.reproduce)
            }
            ArmKind::Sim | ArmKind::Kernel | ArmKind::Vm => Ok(()),
        }
    }

    fn footer(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let passed = self.run.steps.iter().filter(|step| step.passed()).count();
        let total = self.run.steps.len();
        let verdict = if self.run.passed() {
            self.paint(Tone::Good, format!("passed: {passed} of {total} steps"))
        } else {
            let steps = (passed < total).then(|| format!("{} of {total} steps", total - passed));
            let differences = self.run.disagreements.len();
            let arms = (differences > 0).then(|| format!("{differences} differences from the kernel"));
            let what: Vec<_> = steps.into_iter().chain(arms).collect();
            self.paint(Tone::Bad, format!("failed: {}", what.join(", ")))
        };
        writeln!(f, "\n{verdict}")?;
        writeln!(f, "{}", self.paint(Tone::Dim, format!("reproduce: {}", self.reproduce)))?;
        match self.run.trace_hash {
            Some(hash) => writeln!(f, "{}", self.paint(Tone::Dim, format!("trace: {hash:016x}"))),
            None => Ok(()),
        }
    }
}

impl Display for RunText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.header(f)?;
        for (index, step) in self.run.steps.iter().enumerate() {
            self.step(f, index + 1, step)?;
        }
        steps::write(f, &self.run.steps)?;
        failures::write(f, self.palette, &self.run.steps)?;
        self.hint(f)?;
        disagreements::write(f, self.palette, &self.run.disagreements)?;
        self.footer(f)
    }
}

/// Where a run takes place, in words.
pub(crate) struct ArmName {
    pub(crate) arm: ArmKind,
    pub(crate) guest: Option<Guest>,
}

impl Display for ArmName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.arm {
            ArmKind::Sim => f.write_str("the simulator"),
            ArmKind::Kernel => f.write_str("this machine's kernel, with the simulator beside it"),
            ArmKind::Vm => {
                let release = self.guest.as_ref().map_or("unknown", |guest| guest.release.as_str());
                write!(f, "Linux {release} in a virtual machine, with the simulator beside it")
            }
        }
    }
}

#[cfg(test)]
mod tests;
