//! Virtual machines, each of which runs one scenario after the other.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::agent::{self, Agent};
use super::boot::{LIMITS, Limits, Machine};
use super::image::Image;
use super::message::{Execute, Executed, Ran, Request, Response, RunRequest, TraceDetail};
use super::{Guest, GuestTime};
use crate::arm::ArmError;
use crate::arm::kernel::tool::find;
use crate::backend::Backend;
use crate::prepare::Prepared;
use crate::random::Anomaly;
use crate::result::ArmKind;
use crate::runner::RunOptions;

/// The program that runs virtual machines, and its package; one name if Debian and Fedora agree, else both.
const QEMU: (&str, &str) = ("qemu-system-x86_64", "qemu-system-x86 (Fedora: qemu-system-x86-core)");

/// Virtual machines with the same image. They boot when they are needed.
#[derive(Debug)]
pub struct Machines {
    program: PathBuf,
    image: Image,
    /// The archive that guests unpack.
    root: File,
    agent: Agent,
    time: GuestTime,
    limits: Limits,
    idle: Mutex<Vec<Machine>>,
}

impl Machines {
    /// Machines with the image of a cache folder.
    ///
    /// # Errors
    /// [`ArmError::Missing`] if there is no QEMU or no image, [`ArmError::Failed`] if the image cannot be read.
    pub fn new(cache: &Path, time: GuestTime) -> Result<Self, ArmError> {
        let (program, package) = QEMU;
        let lacks = |what: String| Err(ArmError::Missing(what));
        let Some(program) = find(program) else {
            return lacks(format!("`{program}` is missing: install the package {package}"));
        };
        let Some(image) = Image::find(cache)? else {
            return lacks("the image of this version is missing: run `hairpin lab vm prepare`".to_owned());
        };
        Self::with(program, image, time, LIMITS)
    }

    fn with(program: PathBuf, image: Image, time: GuestTime, limits: Limits) -> Result<Self, ArmError> {
        let (root, agent) = agent::root(&image)?;
        Ok(Self { program, image, root, agent, time, limits, idle: Mutex::new(Vec::new()) })
    }

    /// The kernel of the machines, and how their time passes.
    pub fn guest(&self) -> Guest {
        Guest { release: self.image.description.release.clone(), time: self.time }
    }

    /// Runs a scenario on a guest's kernel, beside the simulator.
    ///
    /// # Errors
    /// See [`ArmError`].
    pub fn run(
        &self,
        prepared: &Prepared,
        options: &RunOptions,
        backend: Backend,
        trace: Option<TraceDetail>,
    ) -> Result<Ran, ArmError> {
        let RunOptions { mode, family, seed, .. } = *options;
        let sources = prepared.sources.clone();
        match self.ask(&Request::Run(RunRequest { sources, mode, family, seed, backend, trace }))? {
            Response::Ran(ran) => {
                let mut ran = ran?;
                ran.result.arm = ArmKind::Vm;
                ran.result.guest = Some(self.guest());
                for (step, prepared) in ran.result.steps.iter_mut().zip(&prepared.steps) {
                    step.action = prepared.keyword;
                }
                Ok(ran)
            }
            Response::Ready { .. } | Response::Examined(_) | Response::Executed(_) => Err(unexpected()),
        }
    }

    /// Runs a random cluster on a guest's kernel; `None` if nothing is wrong.
    ///
    /// # Errors
    /// See [`ArmError`].
    pub fn examine(&self, text: &str, backend: Backend) -> Result<Option<Anomaly>, ArmError> {
        match self.ask(&Request::Examine { text: text.to_owned(), backend })? {
            Response::Examined(examined) => examined,
            Response::Ready { .. } | Response::Ran(_) | Response::Executed(_) => Err(unexpected()),
        }
    }

    /// Runs a program in a guest.
    ///
    /// # Errors
    /// See [`ArmError`]; [`ArmError::Missing`] if the guest has no such program.
    pub fn execute(&self, execute: Execute) -> Result<Executed, ArmError> {
        match self.ask(&Request::Execute(execute))? {
            Response::Executed(executed) => executed,
            Response::Ready { .. } | Response::Ran(_) | Response::Examined(_) => Err(unexpected()),
        }
    }

    /// Asks an idle machine, or a new one. A machine that does not answer is not used again.
    fn ask(&self, request: &Request) -> Result<Response, ArmError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut machine = match idle {
            Some(machine) => machine,
            None => {
                let Self { program, image, root, agent, time, limits, .. } = self;
                Machine::boot(program, image, root, *agent, *time, *limits)?
            }
        };
        let response = machine.ask(request)?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(machine);
        Ok(response)
    }
}

fn unexpected() -> ArmError {
    ArmError::Internal("the guest answered something else".to_owned())
}

impl PartialEq for Machines {
    /// Machines have an identity.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

#[cfg(test)]
mod tests;
