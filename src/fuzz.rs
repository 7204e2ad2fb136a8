//! `hairpin fuzz`.

mod hunt;

use crate::cli::{Against, FuzzArgs};
use crate::exit::{Exit, Stop};
use crate::kernel;
use crate::progress::Progress;
use conformance::arm::kernel::Backend;
use conformance::random::Examined;
use hunt::{Caught, Hunt, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::thread::available_parallelism;
use std::time::Instant;

/// Labs at a time, for each processor: most of a world's time is spent waiting.
const LABS_PER_PROCESSOR: usize = 6;

pub(crate) fn run(args: &FuzzArgs, out: &mut dyn Write) -> Result<Exit, Stop> {
    let examined = examined(args)?;
    let hunt =
        Hunt { seed: args.seed, examined: &examined, shrink_tries: args.shrink, machine: RwLock::new(()) };
    let indexes = match args.only {
        Some(only) => only..only.saturating_add(1),
        None => 0..args.runs,
    };
    let count = indexes.end - indexes.start;
    let mut telling = Telling {
        args,
        name: &|index| hunt.name(index),
        out,
        progress: Progress::new(usize::try_from(count).unwrap_or(usize::MAX), false),
        started: Instant::now(),
        waiting: BTreeMap::new(),
        next: indexes.start,
        ended: 0,
        bad: 0,
        once: 0,
    };
    hunt.over(indexes, jobs(args), |index, verdict| telling.take(index, verdict))?;
    telling.end(count)
}

/// By what worlds are run.
fn examined(args: &FuzzArgs) -> Result<Vec<Examined>, Stop> {
    match args.against {
        Against::Sim => Ok(vec![Examined::Sim]),
        Against::Kernel => {
            let backends = Backend::parse(&args.backend).map_or(Backend::ALL.to_vec(), |one| vec![one]);
            kernel::ready_for(&backends)?;
            Ok(backends.into_iter().map(Examined::Kernel).collect())
        }
    }
}

fn jobs(args: &FuzzArgs) -> usize {
    let processors = available_parallelism().map_or(1, std::num::NonZero::get);
    let usual = match args.against {
        Against::Sim => processors,
        Against::Kernel => processors * LABS_PER_PROCESSOR,
    };
    args.jobs.map_or(usual, std::num::NonZero::get)
}

/// Of so many worlds one may go wrong once and never again. If more do, that is no accident.
const WORLDS_PER_ACCIDENT: u64 = 100;

/// Tells of worlds in the order of their numbers, in whatever order they end.
struct Telling<'a> {
    args: &'a FuzzArgs,
    /// The name of a world.
    name: &'a dyn Fn(u64) -> String,
    out: &'a mut dyn Write,
    progress: Progress,
    started: Instant,
    /// Worlds that ended before an earlier one did.
    waiting: BTreeMap<u64, Verdict>,
    next: u64,
    ended: u64,
    bad: u64,
    /// Those of them that went wrong once and never again.
    once: u64,
}

impl Telling<'_> {
    /// Takes a verdict; false if no more are wanted.
    fn take(&mut self, index: u64, verdict: Verdict) -> Result<bool, Stop> {
        self.ended += 1;
        self.progress.step(&self.rate());
        self.waiting.insert(index, verdict);
        while let Some(verdict) = self.waiting.remove(&self.next) {
            if let Verdict::Bad(caught) = verdict {
                self.bad += 1;
                self.once += u64::from(caught.is_flaky);
                self.tell(self.next, &caught)?;
            }
            self.next += 1;
            if self.bad - self.once == self.args.max_failures.get() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the scenario, and says what it shows and how to see it again.
    fn tell(&mut self, index: u64, caught: &Caught) -> Result<(), Stop> {
        let path = self.write(index, caught)?;
        let text = self.words(index, &path, caught);
        let out = &mut self.out;
        Ok(self.progress.suspend(|| out.write_all(text.as_bytes()).and_then(|()| out.flush()))?)
    }

    fn words(&self, index: u64, path: &Path, caught: &Caught) -> String {
        let Caught { finding, is_flaky, tried, examined, .. } = caught;
        let (seed, file) = (self.args.seed, path.display());
        let against = match examined {
            Examined::Sim => String::new(),
            Examined::Kernel(backend) => format!(" --against kernel --backend {backend}"),
        };
        let mut text = format!("world {index}: {}", finding.kind);
        let _ = match is_flaky {
            true => writeln!(text, ", once: whenever it was run again, it was as it should be"),
            false => writeln!(text, ", in the smallest of {} worlds", tried + 1),
        };
        for line in finding.text.lines() {
            let _ = writeln!(text, "  {line}");
        }
        let _ = writeln!(text, "  the world: {file}, run by");
        let _ = writeln!(text, "    hairpin scenario {file}{against}");
        let _ = writeln!(text, "  as it was drawn:");
        let _ = writeln!(text, "    hairpin fuzz --seed {seed} --only {index}{against}\n");
        text
    }

    /// The file has at its top what was found.
    fn write(&self, index: u64, caught: &Caught) -> Result<PathBuf, Stop> {
        let mut text = format!("# {}\n", caught.finding.kind);
        for line in caught.finding.text.lines() {
            let _ = writeln!(text, "{}", format!("#   {line}").trim_end());
        }
        text.push_str(&caught.text);
        let path = self.args.out.join(format!("{}.yaml", (self.name)(index)));
        let written = fs::create_dir_all(&self.args.out).and_then(|()| fs::write(&path, text));
        written.map_err(|error| {
            Stop::bad_input(format!("error: {} cannot be written: {error}", path.display()))
        })?;
        Ok(path)
    }

    fn rate(&self) -> String {
        let minutes = self.started.elapsed().as_secs_f64() / 60.0;
        #[expect(clippy::cast_precision_loss, reason = "a number to be looked at")]
        let rate = self.ended as f64 / minutes.max(f64::MIN_POSITIVE);
        format!("{rate:.0} worlds per minute")
    }

    fn end(self, count: u64) -> Result<Exit, Stop> {
        let Self { bad, once, ended, .. } = self;
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = self.rate();
        let of = if ended == count { String::new() } else { format!(" of {count}") };
        let worlds = if count == 1 { "world" } else { "worlds" };
        let only_once = if once == 0 { String::new() } else { format!(", {once} once and never again") };
        let steady = bad - once;
        writeln!(self.out, "{ended}{of} {worlds} in {seconds:.1} s, {rate}: {steady} went wrong{only_once}")?;
        if once > accidents_max(ended) {
            let told = format!("more than one in {WORLDS_PER_ACCIDENT} went wrong once: that is no accident");
            writeln!(self.out, "{told}")?;
        }
        Ok(exit(ended, steady, once))
    }
}

const fn exit(worlds: u64, steady: u64, once: u64) -> Exit {
    if steady == 0 && once <= accidents_max(worlds) { Exit::AsExpected } else { Exit::NotAsExpected }
}

/// How many of so many worlds may go wrong once: one at least.
const fn accidents_max(worlds: u64) -> u64 {
    1 + worlds / WORLDS_PER_ACCIDENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_worlds_may_go_wrong_once_and_none_for_good() {
        for (worlds, steady, once, expected) in [
            (1, 0, 0, Exit::AsExpected),
            (1, 0, 1, Exit::AsExpected),
            (1, 1, 0, Exit::NotAsExpected),
            (99, 0, 2, Exit::NotAsExpected),
            (100, 0, 2, Exit::AsExpected),
            (2000, 0, 21, Exit::AsExpected),
            (2000, 0, 22, Exit::NotAsExpected),
            (2000, 1, 0, Exit::NotAsExpected),
        ] {
            assert_eq!(exit(worlds, steady, once), expected, "{worlds} {steady} {once}");
        }
    }
}
