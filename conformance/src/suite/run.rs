//! Runs a suite: selects the runs, executes them, and collects their verdicts.

use std::num::NonZeroUsize;
use std::time::Duration;

use rayon::ThreadPoolBuilder;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::filter::{Candidate, Filter};
use super::known::{CaseStatus, KnownDifference};
use super::shard::Shard;
use crate::arm::ArmError;
use crate::arm::kernel::{side_by_side, timed};
use crate::arm::vm::{GuestTime, Machines};
use crate::backend::Backend;
use crate::caught::caught;
use crate::prepare::Prepared;
use crate::result::{Run, RunResult};
use crate::runner::{RunOptions, run_against_kernel, run_sim};
use crate::scenario::{IpFamilies, ModeChoice, ProxyMode};

/// A scenario of a suite.
#[derive(Debug, Clone, PartialEq)]
pub struct SuiteMember {
    /// Its name in reports: the scenario's name, extended if another scenario of the suite has the same.
    pub name: String,
    /// The command-line argument that selects it alone.
    pub argument: String,
    /// The scenario.
    pub prepared: Prepared,
}

/// Selects the runs of a suite.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// The modes of each scenario.
    pub mode: ModeChoice,
    /// Address families.
    pub family: IpFamilies,
    /// iptables back ends on a kernel; empty for the simulator.
    pub backends: Vec<Backend>,
    /// Only matching runs.
    pub filter: Option<Filter>,
    /// Only a part of the matching runs.
    pub shard: Option<Shard>,
}

/// One run of a suite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case<'a> {
    /// The scenario.
    pub member: &'a SuiteMember,
    /// How kube-proxy implements Services.
    pub mode: ProxyMode,
    /// Address families.
    pub family: IpFamilies,
    /// The seed of every random decision.
    pub seed: u64,
    /// The iptables back end on a kernel; `None` for the simulator.
    pub backend: Option<Backend>,
    /// Virtual machines whose kernels are used instead of this machine's.
    pub machines: Option<&'a Machines>,
}

/// A finished run of a suite.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished<'a> {
    /// The run.
    pub case: Case<'a>,
    /// The result, or why the run could not be completed.
    pub outcome: Result<RunResult, ArmError>,
    /// The verdict.
    pub verdict: CaseStatus,
    /// Results of earlier attempts, in order; none of them was as expected.
    pub earlier: Vec<Result<RunResult, ArmError>>,
    /// The duration; `None` on the simulator, where nothing depends on the machine.
    pub elapsed: Option<Duration>,
}

impl Selection {
    /// All runs of these scenarios, ordered by scenario, mode and back end.
    pub fn cases<'a>(&self, members: &'a [SuiteMember], seed: u64) -> Vec<Case<'a>> {
        let backends: Vec<Option<Backend>> = match &self.backends[..] {
            [] => vec![None],
            backends => backends.iter().copied().map(Some).collect(),
        };
        let mut cases = Vec::new();
        for member in members {
            for mode in member.prepared.modes.iter().copied().filter(|mode| self.means(member, *mode)) {
                let family = self.family;
                let case = |&backend: &_| Case { member, mode, family, seed, backend, machines: None };
                cases.extend(backends.iter().map(case));
            }
        }
        let mut index = 0..;
        cases.retain(|_| index.next().is_some_and(|index| self.shard.is_none_or(|shard| shard.has(index))));
        cases
    }

    fn means(&self, member: &SuiteMember, mode: ProxyMode) -> bool {
        let scenario = &member.prepared.scenario;
        let subject = Candidate { name: &scenario.name, requirements: &scenario.requirements, mode };
        member.prepared.is_meant(self.mode, mode)
            && self.filter.as_ref().is_none_or(|filter| filter.matches(&subject))
    }
}

impl Case<'_> {
    /// True if a run does not depend on how busy this machine is.
    fn is_exact(&self) -> bool {
        match self.backend {
            None => true,
            Some(_) => self.machines.is_some_and(|machines| machines.guest().time == GuestTime::Virtual),
        }
    }

    fn run(&self) -> Result<RunResult, ArmError> {
        let options =
            RunOptions { family: self.family, seed: self.seed, ..RunOptions::unrecorded(self.mode) };
        let prepared = &self.member.prepared;
        let result = |Run { result, recording: _ }| result;
        let run = || match (self.backend, self.machines) {
            (None, _) => run_sim(prepared, &options).map(result),
            (Some(backend), None) => run_against_kernel(prepared, &options, backend).map(result),
            (Some(backend), Some(machines)) => {
                machines.run(prepared, &options, backend, None).map(|ran| ran.result)
            }
        };
        // An assertion that fails here does not affect the other runs.
        let panicked = |message| Err(ArmError::Internal(format!("an assertion failed: {message}")));
        caught(run).unwrap_or_else(panicked)
    }
}

impl<'a> Finished<'a> {
    /// A case after its first attempt.
    fn first(case: &Case<'a>, known: &[KnownDifference]) -> Self {
        let (outcome, elapsed) = match case.backend {
            None => (case.run(), None),
            Some(_) => {
                let (outcome, elapsed) = timed(|| case.run());
                (outcome, Some(elapsed))
            }
        };
        let verdict =
            CaseStatus::of(&outcome, &case.member.prepared.scenario.name, case.mode, case.backend, known);
        Self { case: *case, outcome, verdict, earlier: Vec::new(), elapsed }
    }

    /// Number of attempts.
    pub const fn tries(&self) -> usize {
        self.earlier.len() + 1
    }

    /// True if it should be retried: a busy machine may be the reason.
    fn needs_retry(&self, retries: usize) -> bool {
        self.earlier.len() < retries && !self.case.is_exact() && !self.verdict.is_as_expected()
    }

    /// Retries while needed, then calls `is_done`.
    fn retried(
        mut self,
        retries: usize,
        known: &[KnownDifference],
        is_done: &(dyn Fn(&Case<'a>) + Sync),
    ) -> Self {
        while self.needs_retry(retries) {
            let next = Self::first(&self.case, known);
            self.earlier.push(self.outcome);
            self = Self { earlier: self.earlier, ..next };
        }
        if self.tries() > 1 {
            is_done(&self.case);
        }
        self
    }
}

/// Runs all cases, `jobs` in parallel (by default a number suited to the machine). On a kernel, failed cases are
/// retried up to `retries` times after all others have ended, because a busy machine may be late, and is not busy then.
/// Results are in the order of the cases, and on the simulator independent of `jobs`. `is_done` is called for every
/// case after its last attempt.
///
/// # Errors
/// If the machine is out of threads. Errors of a run are part of its outcome.
pub fn run_all<'a>(
    cases: &[Case<'a>],
    jobs: Option<NonZeroUsize>,
    retries: usize,
    known: &[KnownDifference],
    is_done: &(dyn Fn(&Case<'a>) + Sync),
) -> Result<Vec<Finished<'a>>, ArmError> {
    let run = |case: &Case<'a>| {
        let finished = Finished::first(case, known);
        if !finished.needs_retry(retries) {
            is_done(case);
        }
        finished
    };
    let is_on_kernel = |case: &Case<'_>| case.backend.is_some();
    let finished = if cases.iter().any(is_on_kernel) {
        // Not on rayon's threads: a thread that waits for a part of its own run would start another run meanwhile,
        // while the clock of the first continues.
        side_by_side(cases.len(), jobs, |index| run(&cases[index]))
    } else {
        // 0: the number of processors.
        let threads = jobs.map_or(0, |jobs| jobs.get().min(cases.len()));
        let threads = ThreadPoolBuilder::new().num_threads(threads).build();
        let threads = threads.map_err(|error| ArmError::Failed(error.to_string()))?;
        threads.install(|| cases.par_iter().map(run).collect())
    };
    let retried = |finished: Finished<'a>| finished.retried(retries, known, is_done);
    Ok(finished.into_iter().map(retried).collect())
}

#[cfg(test)]
mod tests;
