//! Running a suite: which runs it has, all of them, and what each came to.

use std::num::NonZeroUsize;
use std::time::Duration;

use rayon::ThreadPoolBuilder;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use sim::trace::Level;

use super::filter::{Filter, Subject};
use super::known::{KnownDifference, Verdict};
use super::shard::Shard;
use crate::arm::ArmError;
use crate::arm::kernel::{Backend, side_by_side};
use crate::prepare::Prepared;
use crate::result::{Run, RunResult};
use crate::runner::{RunOptions, run_against_kernel, run_sim};
use crate::scenario::{Family, ProxyMode};

/// A scenario of a suite.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its name in the suite.
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
    pub family: Family,
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
    pub family: Family,
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
    pub verdict: Verdict,
    /// How often it was run to get there.
    pub tries: u32,
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
        let requirements = &member.prepared.scenario.requirements;
        let subject = Subject { name: &member.name, requirements, mode };
        self.mode.is_none_or(|asked| asked == mode)
            && self.filter.as_ref().is_none_or(|filter| filter.matches(&subject))
    }
}

impl Case<'_> {
    /// Runs it until it passes, on a kernel up to `retries` times more. The simulator does the same every time.
    fn run_with(&self, retries: u32) -> (Result<RunResult, ArmError>, u32) {
        let retries = if self.backend.is_some() { retries } else { 0 };
        let mut tries = 1;
        loop {
            let outcome = self.run();
            let has_passed = outcome.as_ref().is_ok_and(RunResult::passed);
            if has_passed || tries > retries {
                return (outcome, tries);
            }
            tries += 1;
        }
    }

    fn run(&self) -> Result<RunResult, ArmError> {
        let options =
            RunOptions { mode: self.mode, family: self.family, seed: self.seed, level: Level::Everything };
        let prepared = &self.member.prepared;
        let run = match self.backend {
            None => run_sim(prepared, &options),
            Some(backend) => run_against_kernel(prepared, &options, backend),
        };
        // Events are many, and a suite shows none.
        run.map(|Run { result, recording: _ }| result)
    }
}

/// Runs all cases, so many at a time as `jobs` says, or as the machine does well. On a kernel one that does not pass is run
/// again up to `retries` times: a busy machine may be late. Results are in the order of the cases,
/// and on the simulator the same whatever the number. `is_done` hears of every run as it ends.
///
/// # Errors
/// If the machine has no threads left. What a single run meets is in its outcome.
pub fn run_all<'a>(
    cases: &[Case<'a>],
    jobs: Option<NonZeroUsize>,
    retries: u32,
    known: &[KnownDifference],
    is_done: &(dyn Fn(&Case<'a>) + Sync),
) -> Result<Vec<Finished<'a>>, ArmError> {
    let run = |case: &Case<'a>| {
        let outcome = case.run_with(retries);
        is_done(case);
        outcome
    };
    let is_on_kernel = |case: &Case<'_>| case.backend.is_some();
    let outcomes = if cases.iter().any(is_on_kernel) {
        // Not on rayon's threads: one that waits for a part of its own run would take up a second run meanwhile, and the
        // clock of the first would go on.
        let timed = side_by_side(cases.len(), jobs, |index| run(&cases[index]));
        timed.into_iter().map(|(outcome, elapsed)| (outcome, Some(elapsed))).collect()
    } else {
        let threads = ThreadPoolBuilder::new().num_threads(jobs.map_or(0, NonZeroUsize::get)).build();
        let threads = threads.map_err(|error| ArmError::Failed(error.to_string()))?;
        threads.install(|| cases.par_iter().map(|case| (run(case), None)).collect::<Vec<_>>())
    };
    let finished = cases.iter().zip(outcomes).map(|(case, ((outcome, tries), elapsed))| {
        let verdict = Verdict::of(&outcome, &case.member.name, case.mode, case.backend, known);
        Finished { case: *case, outcome, verdict, tries, elapsed }
    });
    Ok(finished.collect())
}

#[cfg(test)]
mod tests;
