//! Runs random clusters in parallel, and shrinks those that fail.

use crate::exit::Stop;
use conformance::arm::ArmError;
use conformance::random::{Anomaly, AnomalyKind, Examined, Time, generate, shrink};
use conformance::scenario::ProxyMode;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{PoisonError, RwLock};
use std::thread;

/// How often a failing cluster is run again, alone on the machine.
const RUN_AGAIN: u32 = 3;

/// In how many of these runs a kernel failure must recur; otherwise it is attributed to a late machine. Where an ICMP
/// rate limit and a timer expire at nearly the same moment, even an idle machine may occasionally be late.
const AGAIN_ON_KERNEL: u32 = 2;

/// Runs a scenario text; [`conformance::random::examine`], except in tests.
type Examine<'a> = dyn Fn(&str, Examined) -> Result<Option<Anomaly>, ArmError> + Sync + 'a;

/// Which clusters to run, and how.
pub(super) struct Hunt<'a> {
    pub(super) mode: ProxyMode,
    pub(super) seed: u64,
    /// The arms, used in turn.
    pub(super) examined: &'a [Examined],
    pub(super) examine: &'a Examine<'a>,
    /// Maximum number of smaller clusters to try.
    pub(super) shrink_tries: usize,
    /// True if a run does not depend on how busy the machine is: on the simulator, and in virtual time.
    pub(super) is_exact: bool,
    /// Every run takes a read lock; a run that must be alone takes a write lock.
    pub(super) machine: RwLock<()>,
}

/// The result of a cluster.
pub(super) enum HuntResult {
    Good,
    Bad(Box<Caught>),
}

/// A failure.
pub(super) struct Caught {
    /// The arm that it ran on.
    pub(super) examined: Examined,
    /// The failure of the smallest cluster.
    pub(super) finding: Anomaly,
    /// The scenario text of the smallest cluster.
    pub(super) text: String,
    pub(super) recurrence: Recurrence,
}

/// Whether a failure occurred again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recurrence {
    /// It occurred again; this is the smallest of `worlds` failing clusters.
    Again { worlds: usize },
    /// It did not recur reliably, and a late machine does not explain it.
    SeldomUnexplained,
    /// It did not recur reliably: the machine was late.
    SeldomAsMachineWasLate,
}

impl Recurrence {
    /// Classifies a failure that occurred once. An exact run does not depend on how busy the machine is. On this machine's kernel, a late
    /// machine makes observations differ and tools fail, but it fails no assertion, and does not affect the simulator's
    /// events.
    const fn of_once(is_exact: bool, kind: AnomalyKind) -> Self {
        match (is_exact, kind) {
            (true, _)
            | (
                false,
                AnomalyKind::Refused
                | AnomalyKind::Panicked
                | AnomalyKind::Indeterminate
                | AnomalyKind::PacketLife,
            ) => Self::SeldomUnexplained,
            (
                false,
                AnomalyKind::Stopped
                | AnomalyKind::Flow
                | AnomalyKind::Frame
                | AnomalyKind::Conntrack
                | AnomalyKind::Counters
                | AnomalyKind::Ipvs
                | AnomalyKind::Choices,
            ) => Self::SeldomAsMachineWasLate,
        }
    }
}

impl Hunt<'_> {
    /// The name of a cluster, its scenario and its file.
    pub(super) fn name(&self, index: u64) -> String {
        match self.mode {
            ProxyMode::Iptables => format!("fuzz-{}-{index}", self.seed),
            mode @ (ProxyMode::Ipvs | ProxyMode::Nftables | ProxyMode::Userspace) => {
                format!("fuzz-{mode}-{}-{index}", self.seed)
            }
        }
    }

    /// Runs clusters, `jobs` in parallel. `take` receives their verdicts as they arrive, and returns false to stop.
    ///
    /// # Errors
    /// Those of `take`, and missing prerequisites of the machine.
    pub(super) fn over(
        &self,
        indexes: Range<u64>,
        jobs: usize,
        mut take: impl FnMut(u64, HuntResult) -> Result<bool, Stop>,
    ) -> Result<(), Stop> {
        let (next, is_over) = (AtomicU64::new(indexes.start), AtomicBool::new(false));
        let (send, verdicts) = channel();
        thread::scope(|scope| {
            let runs = usize::try_from(indexes.end.saturating_sub(indexes.start)).unwrap_or(usize::MAX);
            for started in 0..jobs.min(runs) {
                let send = send.clone();
                let work = || {
                    // A closed channel ends the loop as well.
                    let send = send;
                    while !is_over.load(Ordering::Relaxed) {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= indexes.end || send.send((index, self.world(index, &is_over))).is_err() {
                            break;
                        }
                    }
                };
                // If the machine has no more threads, the existing ones do the work.
                match thread::Builder::new().spawn_scoped(scope, work) {
                    Ok(_) => {}
                    Err(error) if started == 0 => return Err(Stop::lacking(&format!("no thread: {error}"))),
                    Err(_) => break,
                }
            }
            drop(send);
            let result = verdicts.iter().try_for_each(|(index, verdict)| {
                let verdict = verdict.map_err(|error| Some(Stop::lacking(&error)))?;
                if take(index, verdict).map_err(Some)? { Ok(()) } else { Err(None) }
            });
            is_over.store(true, Ordering::Relaxed);
            result.or_else(|stop| stop.map_or(Ok(()), Err))
        })
    }

    /// Runs a cluster beside others.
    fn run(&self, text: &str, examined: Examined) -> Result<Option<Anomaly>, ArmError> {
        let _shared = self.machine.read().unwrap_or_else(PoisonError::into_inner);
        (self.examine)(text, examined)
    }

    /// Reruns a cluster alone until it has failed again: once if runs are exact, else in most of the runs.
    fn again(&self, text: &str, examined: Examined) -> Result<Option<Anomaly>, ArmError> {
        let _alone = self.machine.write().unwrap_or_else(PoisonError::into_inner);
        let mut more = if self.is_exact { 1 } else { AGAIN_ON_KERNEL };
        for _ in 0..RUN_AGAIN {
            if let Some(finding) = (self.examine)(text, examined)? {
                more -= 1;
                if more == 0 {
                    return Ok(Some(finding));
                }
            }
        }
        Ok(None)
    }

    /// Runs one cluster; a failure is run again, then shrunk until `is_over`.
    fn world(&self, index: u64, is_over: &AtomicBool) -> Result<HuntResult, ArmError> {
        let turn = usize::try_from(index % self.examined.len() as u64).unwrap_or(0);
        let examined = self.examined[turn];
        let time = if self.is_exact { Time::Virtual } else { Time::Real };
        let mut tree = generate(self.mode, self.seed, index, time);
        let text = tree.current().text(&self.name(index));
        let Some(first) = self.run(&text, examined)? else { return Ok(HuntResult::Good) };
        let Some(again) = self.again(&text, examined)? else {
            // Smaller clusters would not be conclusive either.
            let recurrence = Recurrence::of_once(self.is_exact, first.kind);
            let caught = Caught { examined, finding: first, text, recurrence };
            return Ok(HuntResult::Bad(Box::new(caught)));
        };
        let mut finding = again;
        let mut fault = None;
        let shrunk = shrink(&mut *tree, self.shrink_tries, |_, text| {
            if is_over.load(Ordering::Relaxed) || fault.is_some() {
                return false;
            }
            match self.run(text, examined) {
                Ok(Some(found)) if found.kind == finding.kind => {
                    finding = found;
                    true
                }
                Ok(Some(_) | None) => false,
                Err(error) => {
                    fault = Some(error);
                    false
                }
            }
        });
        if let Some(fault) = fault {
            return Err(fault);
        }
        let text = shrunk.world.text(&self.name(index));
        let recurrence = Recurrence::Again { worlds: shrunk.tried + 1 };
        let caught = Caught { examined, finding, text, recurrence };
        Ok(HuntResult::Bad(Box::new(caught)))
    }
}

#[cfg(test)]
mod tests;
