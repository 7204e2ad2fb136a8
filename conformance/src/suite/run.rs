//! Running a suite: which runs it has, all of them, and what each came to.

use std::num::NonZeroUsize;
use std::time::Duration;

use rayon::ThreadPoolBuilder;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::filter::{Candidate, Filter};
use super::known::{CaseStatus, KnownDifference};
use super::shard::Shard;
use crate::arm::ArmError;
use crate::arm::kernel::{side_by_side, timed};
use crate::backend::Backend;
use crate::caught::caught;
use crate::prepare::Prepared;
use crate::result::{Run, RunResult};
use crate::runner::{RunOptions, run_against_kernel, run_sim};
use crate::scenario::{IpFamilies, ProxyMode};

/// A scenario of a suite.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// What reports call it: its scenario's name, and more where another scenario of the suite has that name too.
    pub name: String,
    /// How it is named on the command line, to run it alone.
    pub argument: String,
    /// The scenario.
    pub prepared: Prepared,
}

/// Which runs a suite has.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// One mode, or every one that each scenario is about.
    pub mode: Option<ProxyMode>,
    /// Address families.
    pub family: IpFamilies,
    /// Back ends of iptables on this machine's kernel; none: on the simulator.
    pub backends: Vec<Backend>,
    /// Only what it means.
    pub filter: Option<Filter>,
    /// Only a part of what is left then.
    pub shard: Option<Shard>,
}

/// One run of a suite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case<'a> {
    /// The scenario.
    pub member: &'a Member,
    /// How kube-proxy implements Services.
    pub mode: ProxyMode,
    /// Address families.
    pub family: IpFamilies,
    /// The seed of every random decision.
    pub seed: u64,
    /// Which iptables loads the rules on this machine's kernel; `None`: it runs on the simulator alone.
    pub backend: Option<Backend>,
}

/// A run of a suite that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished<'a> {
    /// What was run.
    pub case: Case<'a>,
    /// What it says, or why it could not be run to its end.
    pub outcome: Result<RunResult, ArmError>,
    /// What that comes to.
    pub verdict: CaseStatus,
    /// What earlier runs of it came to, the first run first. None of them was as expected.
    pub earlier: Vec<Result<RunResult, ArmError>>,
    /// How long it took; `None` from the simulator, where nothing depends on the machine.
    pub elapsed: Option<Duration>,
}

impl Selection {
    /// The runs of these scenarios: scenario by scenario, then mode by mode, then back end by back end.
    pub fn cases<'a>(&self, members: &'a [Member], seed: u64) -> Vec<Case<'a>> {
        let backends: Vec<Option<Backend>> = match &self.backends[..] {
            [] => vec![None],
            backends => backends.iter().copied().map(Some).collect(),
        };
        let mut cases = Vec::new();
        for member in members {
            for mode in member.prepared.modes.iter().copied().filter(|mode| self.means(member, *mode)) {
                let family = self.family;
                cases.extend(backends.iter().map(|&backend| Case { member, mode, family, seed, backend }));
            }
        }
        let mut index = 0..;
        cases.retain(|_| index.next().is_some_and(|index| self.shard.is_none_or(|shard| shard.has(index))));
        cases
    }

    fn means(&self, member: &Member, mode: ProxyMode) -> bool {
        let scenario = &member.prepared.scenario;
        let subject = Candidate { name: &scenario.name, requirements: &scenario.requirements, mode };
        self.mode.is_none_or(|asked| asked == mode)
            && self.filter.as_ref().is_none_or(|filter| filter.matches(&subject))
    }
}

impl Case<'_> {
    fn run(&self) -> Result<RunResult, ArmError> {
        let options =
            RunOptions { family: self.family, seed: self.seed, ..RunOptions::unrecorded(self.mode) };
        let prepared = &self.member.prepared;
        let run = || match self.backend {
            None => run_sim(prepared, &options),
            Some(backend) => run_against_kernel(prepared, &options, backend),
        };
        // An assertion that fails here says nothing about the other runs.
        let panicked = |message| Err(ArmError::Internal(format!("an assertion failed: {message}")));
        caught(run).unwrap_or_else(panicked).map(|Run { result, recording: _ }| result)
    }
}

impl<'a> Finished<'a> {
    /// The case, after its first run.
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

    /// How often it was run.
    pub const fn tries(&self) -> usize {
        self.earlier.len() + 1
    }

    /// Whether it is to be run again. The simulator does the same every time.
    const fn needs_retry(&self, retries: usize) -> bool {
        self.earlier.len() < retries && self.case.backend.is_some() && !self.verdict.is_as_expected()
    }

    /// Runs it again while it needs that; `is_done` hears of it then.
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

/// Runs all cases, so many at a time as `jobs` says, or as the machine does well. On a kernel one that is not as expected is run
/// again up to `retries` times when all others have ended: a busy machine may be late, and then it is not busy. Results are in
/// the order of the cases, and on the simulator the same whatever the number. `is_done` hears of every case once no more runs
/// of it follow.
///
/// # Errors
/// If the machine has no threads left. What a single run meets is in its outcome.
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
        // Not on rayon's threads: one that waits for a part of its own run would take up a second run meanwhile, and the
        // clock of the first would go on.
        side_by_side(cases.len(), jobs, |index| run(&cases[index]))
    } else {
        // 0: as many as there are processors.
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
