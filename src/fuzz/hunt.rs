//! Running random worlds, many at a time, and making small what goes wrong.

use crate::exit::Stop;
use conformance::arm::ArmError;
use conformance::random::{Examined, Finding, FindingKind, generate, shrink};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{PoisonError, RwLock};
use std::thread;

/// So often a world that went wrong is run again, with no other beside it.
const RUN_AGAIN: u32 = 3;

/// In so many of these runs it must go wrong on a kernel, or the machine was late. Where a limit of ICMP errors and the end of a
/// timer fall into nearly the same moment, a quiet machine may be late as well now and then.
const AGAIN_ON_KERNEL: u32 = 2;

/// Runs the scenario of a text; [`conformance::random::examine`], except in tests.
type Examine<'a> = dyn Fn(&str, Examined) -> Result<Option<Finding>, ArmError> + Sync + 'a;

/// Which worlds, and what happens to them.
pub(super) struct Hunt<'a> {
    pub(super) seed: u64,
    /// By what worlds are run: they take turns.
    pub(super) examined: &'a [Examined],
    pub(super) examine: &'a Examine<'a>,
    /// How many smaller worlds are tried.
    pub(super) shrink_tries: usize,
    /// Held by every run; for one that must be alone, to write.
    pub(super) machine: RwLock<()>,
}

/// What came of a world.
pub(super) enum Verdict {
    Good,
    Bad(Box<Caught>),
}

/// Something that went wrong.
pub(super) struct Caught {
    /// By what it was run.
    pub(super) examined: Examined,
    /// What went wrong in the smallest world.
    pub(super) finding: Finding,
    /// The smallest world.
    pub(super) text: String,
    pub(super) recurrence: Recurrence,
}

/// What came of running a world that went wrong again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recurrence {
    /// It went wrong again; this is the smallest of so many worlds that did.
    Again { worlds: usize },
    /// It seldom did, and no machine that was late explains the first time.
    SeldomUnexplained,
    /// It seldom did: the machine was late.
    SeldomAsMachineWasLate,
}

impl Recurrence {
    /// That of a world which went wrong once. Nothing in the simulator depends on the machine. Beside a kernel, lateness makes
    /// observations differ and tools fail, but no assertion, and nothing that is seen in the simulator's events alone.
    const fn of_once(examined: Examined, kind: FindingKind) -> Self {
        match (examined, kind) {
            (Examined::Sim, _)
            | (
                Examined::Kernel(_),
                FindingKind::Refused
                | FindingKind::Panicked
                | FindingKind::Indeterminate
                | FindingKind::PacketLife,
            ) => Self::SeldomUnexplained,
            (
                Examined::Kernel(_),
                FindingKind::Stopped
                | FindingKind::Flow
                | FindingKind::Frame
                | FindingKind::Conntrack
                | FindingKind::Counters
                | FindingKind::Choices,
            ) => Self::SeldomAsMachineWasLate,
        }
    }
}

impl Hunt<'_> {
    /// The name of a world: that of its scenario and of its file.
    pub(super) fn name(&self, index: u64) -> String {
        format!("fuzz-{}-{index}", self.seed)
    }

    /// Runs worlds, `jobs` at a time. `take` gets their verdicts as they come, and says whether more are wanted.
    ///
    /// # Errors
    /// Those of `take`, and what the machine lacks.
    pub(super) fn over(
        &self,
        indexes: Range<u64>,
        jobs: usize,
        mut take: impl FnMut(u64, Verdict) -> Result<bool, Stop>,
    ) -> Result<(), Stop> {
        let (next, is_over) = (AtomicU64::new(indexes.start), AtomicBool::new(false));
        let (send, verdicts) = channel();
        thread::scope(|scope| {
            for _ in 0..jobs {
                let send = send.clone();
                scope.spawn(|| {
                    // A closed channel ends it as well.
                    let send = send;
                    while !is_over.load(Ordering::Relaxed) {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= indexes.end || send.send((index, self.world(index, &is_over))).is_err() {
                            break;
                        }
                    }
                });
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

    /// Runs a world beside others.
    fn run(&self, text: &str, examined: Examined) -> Result<Option<Finding>, ArmError> {
        let _shared = self.machine.read().unwrap_or_else(PoisonError::into_inner);
        (self.examine)(text, examined)
    }

    /// Runs a world again, alone, until it has gone wrong again: on the simulator once, on a kernel more often than not.
    fn again(&self, text: &str, examined: Examined) -> Result<Option<Finding>, ArmError> {
        let _alone = self.machine.write().unwrap_or_else(PoisonError::into_inner);
        let mut more = match examined {
            Examined::Sim => 1,
            Examined::Kernel(_) => AGAIN_ON_KERNEL,
        };
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

    /// Runs one world; what goes wrong is run again, and then made smaller until `is_over`.
    fn world(&self, index: u64, is_over: &AtomicBool) -> Result<Verdict, ArmError> {
        let turn = usize::try_from(index % self.examined.len() as u64).unwrap_or(0);
        let examined = self.examined[turn];
        let mut tree = generate(self.seed, index);
        let text = tree.current().text(&self.name(index));
        let Some(first) = self.run(&text, examined)? else { return Ok(Verdict::Good) };
        let Some(again) = self.again(&text, examined)? else {
            // Nothing can be said about a smaller world either.
            let recurrence = Recurrence::of_once(examined, first.kind);
            let caught = Caught { examined, finding: first, text, recurrence };
            return Ok(Verdict::Bad(Box::new(caught)));
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
        Ok(Verdict::Bad(Box::new(caught)))
    }
}

#[cfg(test)]
mod tests;
